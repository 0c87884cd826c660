/*
 * A network's layers as the comparison sees them: those of esrgan.h, and behind them "output"
 * (conv_last clamped to 0..1) and "output.u8" (times 255, not rounded here).  Each can be recomputed in
 * double, rightly or with one fault on purpose.
 */
#ifndef GRAPH_H
#define GRAPH_H

#include <stdbool.h>

#include "esrgan.h"
#include "session.h"
#include "tensor.h"

typedef struct graph {
    esrgan_model *model;
    esrgan_model *other;       /* the same file's other weights (params for params_ema), or NULL */
    const char *other_wrapper; /* their wrapper */
    char *path;
    esrgan_model_info info;
    esrgan_layer *layers;
    int count;   /* with the two at the end */
    int threads; /* for recomputing convolutions */
} graph;

bool graph_open(graph *g, const model_settings *settings, int threads); /* complains */
void graph_close(graph *g);

/* Index by canonical name; -1 where there is none. */
int graph_find(const graph *g, const char *name);

/* A way of computing a layer wrongly. */
typedef enum fault_kind {
    FAULT_NONE,
    FAULT_ACTIVATION_SKIPPED,
    FAULT_SLOPE, /* value: the slope */
    FAULT_BIAS_MISSING,
    FAULT_FACTOR,           /* residual: value stands for alpha */
    FAULT_SHORTCUT_MISSING, /* residual, add: without the second input */
    FAULT_BRANCH_MISSING,   /* residual, add: without the first */
    FAULT_PADDING,          /* convolution: option is a padding */
    FAULT_ENLARGING,        /* nearest: option is an enlarging */
    FAULT_INPUT_READ,       /* option is a reading of all inputs, joined */
    FAULT_KERNEL_READ,      /* option is a reading: flipped, turned, transposed kernels */
    FAULT_INPUT_MISSING,    /* option: which input is taken as zeros */
    FAULT_INPUTS_REVERSED,  /* concatenated in reverse order */
    FAULT_OTHER_WEIGHTS,
    FAULT_UNSHUFFLE_ORDER, /* channels as (row, column, colour) in place of (colour, row, column) */
    FAULT_KIND_COUNT
} fault_kind;

typedef struct fault {
    fault_kind kind;
    int option;
    double value;
} fault;

/* Is this fault possible in this layer? */
bool fault_applies(const graph *g, int index, fault f);
/* "id" for JSON, and a sentence about a layer that is broken so. */
const char *fault_id(const graph *g, int index, fault f);
void fault_text(const graph *g, int index, fault f, char *text, size_t size);

/*
 * Computes layer `index` from its inputs (in order).  `bound` may be NULL: it receives the sum of
 * magnitudes that rounding is measured against.  A reading that does not fit the inputs changes nothing.
 * Complains, of inputs that do not fit the layer, too.
 */
bool graph_compute(const graph *g, int index, const tensor *inputs, fault f, tensor *out,
                   tensor *bound);

/* Products that one element sums: 9 * channels for a 3x3 convolution; 1 or 2 for others. */
double graph_terms(const graph *g, int index);

#endif
