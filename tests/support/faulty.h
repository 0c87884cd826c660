/*
 * A deliberately bad backend: runs a network layer by layer with its own plain loops, breaks one
 * layer in a chosen way, and writes a trace as a tester's script would.  It shares no code with the
 * tool that has to find the fault.
 */
#ifndef TEST_FAULTY_H
#define TEST_FAULTY_H

#include <stdbool.h>

#include "esrgan.h"

typedef enum faulty_kind {
    FAULTY_NONE,
    FAULTY_ACTIVATION_SKIPPED,
    FAULTY_SLOPE, /* amount: the slope */
    FAULTY_BIAS_MISSING,
    FAULTY_SCALE_MISSING,
    FAULTY_SCALE, /* amount: the factor */
    FAULTY_SHORTCUT_MISSING,
    FAULTY_BRANCH_MISSING,
    FAULTY_REFLECT,
    FAULTY_REPLICATE,
    FAULTY_CIRCULAR,
    FAULTY_KERNEL_TURNED,
    FAULTY_KERNEL_TRANSPOSED,
    FAULTY_INPUTS_REVERSED,
    FAULTY_INPUT_MISSING,    /* the second of several */
    FAULTY_READS_CHW_AS_HWC, /* the layer reads its input so ... */
    FAULTY_READS_HWC_AS_CHW,
    FAULTY_CHW_AS_HWC, /* ... or its result comes out so */
    FAULTY_HWC_AS_CHW,
    FAULTY_BGR,
    FAULTY_TRANSPOSED,
    FAULTY_FLIPPED_X,
    FAULTY_FLIPPED_Y,
    FAULTY_SHIFTED, /* one pixel right */
    FAULTY_SHIFTED_DOWN,
    FAULTY_BILINEAR,
    FAULTY_BORDER,   /* noise in the outermost ring */
    FAULTY_TILES,    /* noise one pixel to each side of multiples of 16 in x */
    FAULTY_CHANNELS, /* noise in channels 2 and 3 */
    FAULTY_POWER,    /* zeros from element 2^10 on */
    FAULTY_NAN,      /* a NaN in the middle */
    FAULTY_OVERFLOW, /* the layer's result times amount in half precision: Inf past 65504 */
    FAULTY_PACKED,   /* channels packed by 4, written as planes */
    FAULTY_PERMUTED, /* channels 0, 1, 2 are 1, 2, 0 */
    FAULTY_ZEROS,
    FAULTY_GAIN, /* amount: all elements times it */
    FAULTY_HALF, /* the result rounded to FP16 */
    FAULTY_UNSHUFFLE_ORDER
} faulty_kind;

typedef struct faulty {
    faulty_kind kind;
    int layer; /* which one; -1: every one that it makes sense for */
    double amount;
    const char *rounding; /* "fp64", "fp32", "fp16", "bf16": of each value as it is kept */
    const char *dump; /* names that are written, separated by commas; a final '*' matches any rest;
                          NULL: all */
    bool nhwc;        /* values are written as H x W x C */
} faulty;

/* Runs `model` over input (in_channels x height x width) and writes the folder `path`.  The last
 * value, clamped, comes back in *output (free it) where that is not NULL.  False: could not. */
bool faulty_run(const esrgan_model *model, const double *input, int height, int width,
                const faulty *how, const char *path, double **output);

#endif
