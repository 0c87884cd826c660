/*
 * What a session needs of an engine: how much memory a run takes, and the run itself.
 *
 * There are several engines over the same es_network:
 *   plain   op by op over planes (NCHW); backends reference and openblas, every precision, tracing
 *   native  the library's own vector kernels, fused, in bands of rows
 * Knows base, network and the kernels' contract headers; nothing of names in files.
 */
#ifndef ES_ENGINE_H
#define ES_ENGINE_H

#include "base/memory.h"
#include "base/threads.h"
#include "network/network.h"

/* Where a run's pixels come from and go to.  Both functions may be called by several members of
 * the team at once, for any rows, each row at least once. */
typedef struct es_io {
    /* Rows y .. y+rows-1 of the picture, channels one after the other: channel c's row r goes to
     * out + c * channel_stride + r * row_stride (in floats). */
    void (*read)(void *context, int y, int rows, float *out, size_t channel_stride,
                 size_t row_stride);
    /* Rows of the result, laid out likewise; every row is written exactly once. */
    void (*write)(void *context, int y, int rows, const float *in, size_t channel_stride,
                  size_t row_stride);
    void *context;
} es_io;

/* When the caller's progress function was last called, and with what. */
typedef struct es_progress_state {
    double said, seconds;
} es_progress_state;

/* All that an engine works with; belongs to the session, one run at a time. */
typedef struct es_context {
    const es_network *network;
    es_team *team;   /* NULL while estimating                                     */
    int members;     /* of the team; set while estimating too                     */
    es_meter *meter; /* all memory of the run comes from meter->allocator */
    esrgan_precision precision;
    esrgan_backend backend; /* resolved: never ESRGAN_AUTO */
    const char *isa;        /* native: tier asked for, or NULL */
    bool keep_weights;
    esrgan_progress_fn progress; /* called by member 0 only, through es_progress */
    void *progress_context;
    double progress_from, progress_to; /* the share of the whole call that this run is */
    es_progress_state *progress_state; /* the session's; said < 0 before the first call */
    esrgan_trace_fn trace;
    esrgan_trace_content trace_content;
    void *trace_context;
    const char *trace_filter;
    void *engine_state; /* the engine's own, kept between runs; freed by its release */
} es_context;

typedef struct es_engine {
    const char *name; /* "reference", "openblas", "native" */
    /* NULL where this engine can run the network at this precision on this CPU with context->isa;
     * otherwise one sentence that says why not. */
    const char *(*refuses)(const es_context *context);
    const char *(*tier)(const es_context *context);
    /* Peak bytes that run() takes from the meter for a picture of this size. */
    esrgan_status (*estimate)(const es_context *context, int height, int width, uint64_t *bytes,
                              esrgan_error *error);
    /* One picture of in_channels x height x width (multiples of network->unshuffle). */
    esrgan_status (*run)(es_context *context, int height, int width, const es_io *io,
                         esrgan_error *error);
    void (*release)(es_context *context); /* frees engine_state */
} es_engine;

extern const es_engine es_engine_reference, es_engine_openblas, es_engine_native;

/* Loads OpenBLAS, the first time it is called, and sets it to one thread: we bring our own, and
 * OpenBLAS' would only queue up behind each other.  To be called before its kernels are used.
 * Returns NULL or one sentence why it cannot be used. */
const char *es_openblas_load(void);

/* Not a backend of its own: what native uses for BF16 where direct convolution on matrix
 * instructions is the fastest, and where one of its tiers is asked for ("amx", "neonbf16", and
 * "avx512bf16" for networks without whole pairs of vectors; "neonfp16" for FP16). */
extern const es_engine es_engine_direct;

/* Reports progress within the run (0..1), from member 0 only; ESRGAN_E_CANCELLED where the caller
 * wants to stop.  May be called as often as there is something to say: calls that come too soon
 * after the last one are not passed on. */
esrgan_status es_progress(const es_context *context, double done, esrgan_error *error);

/* True where context->trace is set and the filter lets this name through. */
bool es_trace_wants(const es_context *context, const char *name);

/* Hands one value to the trace callback, with its data, its statistics or both, as asked for: data is
 * C x H x W floats (or doubles), contiguous. */
esrgan_status es_trace_emit(const es_context *context, int op_index, int height, int width,
                            esrgan_dtype dtype, const void *data, esrgan_error *error);

/* The same where the engine has taken the statistics (of floats) itself and there is no data. */
esrgan_status es_trace_emit_statistics(const es_context *context, int op_index, int height,
                                       int width, const esrgan_statistics *statistics,
                                       esrgan_error *error);

#endif
