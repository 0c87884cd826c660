/* esrgan upscale, in two parts: what is to be done (upscale.c), and doing it (upscale_batch.c). */
#ifndef UPSCALE_H
#define UPSCALE_H

#include "enlarge.h"
#include "json.h"

/* --ext: EXT_AUTO, or the format of this extension. */
enum { EXT_AUTO };
extern const char *const UPSCALE_EXTENSIONS[];

typedef struct upscale_settings {
    const char *out, *suffix;
    double factor;
    int tile, tile_pad;
    int extension, bits, quality, lossless;
    int recursive, skip_existing, json, fp32;
    int at_once; /* pictures; 0: as many as it takes to keep all threads busy */
} upscale_settings;

typedef struct job {
    char *in, *out;
    const char *clash; /* the input before it whose result has the same name, or NULL */
} job;

typedef struct batch {
    job *jobs;
    size_t count, room;
} batch;

/* How many of a batch's pictures are worked at side by side. */
int batch_at_once(const enlarger *e, const upscale_settings *s, const batch *b);

/* All of them with an open session; `missing` operands have failed already.  Reports on stderr and, where not
 * NULL, into the list that is open in `to`; returns the exit status. */
int batch_run(enlarger *e, const upscale_settings *s, const batch *b, size_t missing, json *to);

#endif
