/*
 * A trace on disk: a folder or a .npz of .npy files and manifest.json.  The manifest:
 *
 *   {"format": "esrgan-trace", "version": 1,          required
 *    "producer": ..., "precision": "fp32", "backend": ..., "tier": ..., "threads": ...,
 *    "model": {"file": ..., "sha256": ..., "wrapper": ...},
 *    "layout": "NHWC",                                where values are not NCHW
 *    "values": [{"name": "conv_first", "op": "conv", "shape": [1, 64, 32, 32], "dtype": "float32",
 *                "inputs": ["input"], "layout": "NHWC",
 *                "file": "conv_first.npy",             absent where only statistics were kept
 *                "stats": {"min": .., "max": .., "mean": .., "rms": .., "nan": 0, "inf": 0,
 *                          "hash": "16 hex digits", "samples": [..]}}, ...]}
 *
 * Of a value only the name is required; values stand in the order in which they came into being.
 */
#ifndef TRACE_FILE_H
#define TRACE_FILE_H

#include <stdbool.h>

#include "esrgan.h"
#include "json_read.h"
#include "layer_names.h"
#include "npz.h"
#include "tensor.h"

typedef struct trace_value {
    char name[LAYER_NAME_SIZE]; /* canonical */
    const char *raw;            /* as in the manifest */
    const char *op;             /* "" where unknown */
    const char *file;           /* NULL where there are statistics only */
    bool nhwc;
    int c, h, w; /* 0 where the manifest does not say */
    const json_node *about;
} trace_value;

typedef struct trace_file {
    const char *path;
    bool packed; /* a .npz */
    npz_reader npz;
    json_node *manifest;
    trace_value *values;
    int count;
    bool stats_only;                                /* no value has data */
    const char *precision, *backend, *model_sha256; /* "" where unknown */
} trace_file;

/* All of these complain where they fail: which file, what was expected. */
bool trace_open(trace_file *trace, const char *path, const name_map *map);
void trace_close(trace_file *trace);

/* Does `path` look like a trace: a folder, or a .npz with a manifest? */
bool trace_is(const char *path);

/* By canonical name; NULL (no complaint) where there is none. */
const trace_value *trace_find(const trace_file *trace, const char *name);

/* A value's data as NCHW.  `like` (may be NULL) decides between NCHW and NHWC where the manifest
 * does not say and the shape allows both. */
bool trace_load(const trace_file *trace, const trace_value *value, const tensor *like, tensor *to);

/* The statistics of the manifest; false (no complaint) where it has none. */
bool trace_stats(const trace_value *value, esrgan_statistics *stats);

/* Reads one .npy file (or a .npz of one array) as one picture's worth of NCHW. */
bool tensor_read(const char *path, const tensor *like, tensor *to);

#endif
