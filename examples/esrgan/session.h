/* The options that say which model runs and how, shared by the sub-commands; models found. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "esrgan.h"
#include "json.h"
#include "options.h"

typedef struct model_settings {
    const char *file;    /* -m */
    const char *name;    /* -n */
    const char *wrapper; /* --wrapper */
    int up_factor;
} model_settings;

typedef struct run_settings {
    int precision; /* esrgan_precision */
    int backend;   /* esrgan_backend */
    const char *isa;
    int threads;
    uint64_t max_memory;
} run_settings;

extern const option MODEL_OPTIONS[]; /* for model_settings */
extern const option RUN_OPTIONS[];   /* for run_settings */
extern const option QUIET_OPTIONS[]; /* -q: the global `quiet` is its settings */

/* Opens the model that was asked for, or the default one.  On failure NULL after a complaint.
 * *path, where not NULL, gets the file's path, to be freed. */
esrgan_model *model_open(const model_settings *settings, char **path);

/* The path of a model, to be freed: settings->file, the file that settings->name stands for in the
 * known folders, or the default model.  NULL after a complaint. */
char *model_find(const model_settings *settings);

/* Session options as asked for, with the progress bar as progress function. */
void run_options(const run_settings *settings, esrgan_session_options *options);

/* NULL after a complaint. */
esrgan_session *session_open(const esrgan_model *model, const run_settings *settings);

/* How a session computes, into the object that is open. */
void session_json(json *to, const esrgan_session *session);

/* Bytes as people read them: "1.5 GB" (powers of 1024). */
const char *bytes_text(uint64_t bytes, char buffer[32]);

/* Most memory this process has held, and what the machine has free; 0 where it does not say. */
uint64_t peak_rss(void);
uint64_t available_memory(void);

#endif
