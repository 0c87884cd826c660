/* Writes a trace, value by value as they come: a folder or a .npz (see trace_file.h). */
#ifndef TRACE_WRITE_H
#define TRACE_WRITE_H

#include <stdbool.h>
#include <stdio.h>

#include "esrgan.h"
#include "npz.h"

typedef struct trace_writer {
    const char *path;
    bool packed, stats_only;
    npz_writer npz;
    FILE *list; /* the manifest's entries, collected in memory */
    char *text;
    size_t text_size;
    int count;
} trace_writer;

/* By the name's end: "x.npz" is a file, anything else a folder, made where it is not there. */
bool trace_write_begin(trace_writer *writer, const char *path, bool stats_only);

/* `data` may be NULL where the trace is of statistics only; `inputs`: names of what the value is made
 * of, ended by NULL. */
bool trace_write_value(trace_writer *writer, const char *name, const char *op, esrgan_dtype dtype,
                       const int64_t dims[4], const void *data, const esrgan_statistics *statistics,
                       const char *const *inputs);

/* `head` is the text of the manifest's first members: "\"precision\": \"fp32\", ...". */
bool trace_write_end(trace_writer *writer, const char *head);
void trace_write_abandon(trace_writer *writer);

#endif
