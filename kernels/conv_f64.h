/*
 * A convolution in double over whole planes: what layers are recomputed with.  Stride 1, zero
 * padding of kernel / 2.  Products are summed by OpenBLAS' dgemm, so that recomputing a large
 * network is a matter of seconds.
 */
#ifndef ES_KERNELS_CONV_F64_H
#define ES_KERNELS_CONV_F64_H

#include <stdbool.h>
#include <stddef.h>

typedef struct es_conv_f64 {
    const double *weight;        /* channels_out x channels_in x kernel x kernel */
    const double *bias;          /* channels_out */
    const double *const *planes; /* channels_in pointers to height x width each */
    int channels_in, channels_out, kernel, height, width;
    bool absolute; /* take |plane| (weight and bias are the caller's to make absolute) */
    double *out;   /* channels_out x height x width */
} es_conv_f64;

/* Doubles of scratch that es_conv_f64_run needs. */
size_t es_conv_f64_scratch(const es_conv_f64 *conv);

void es_conv_f64_run(const es_conv_f64 *conv, double *scratch);

#endif
