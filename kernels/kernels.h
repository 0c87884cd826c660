/*
 * The contract of the plain kernels: arithmetic on planes (NCHW), nothing else.  No memory is
 * taken (scratch is handed in, its size is asked first), no thread is started, nothing is read
 * but what is described here, and never beyond an array's end.
 *
 * A table is filled with the scalar functions and then overwritten by what a backend does better:
 *
 *     es_kernels table;
 *     es_kernels_scalar(&table, false);
 *     es_kernels_openblas(&table);
 *
 * Elements are float, or double throughout in a wide table.  "Planes" are height x width,
 * contiguous, row after row; "pixels" are positions in a plane, y * width + x.
 */
#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Cross-correlation, stride 1, zero padding kernel / 2, over planes that need not be neighbours. */
typedef struct es_conv {
    const void *const
        *in;            /* channels_in planes of (height / zoom) x (width / zoom)               */
    void *out;          /* channels planes of height x width, one after the other               */
    const void *weight; /* channels x channels_in x kernel x kernel                             */
    const void *bias;   /* channels, or NULL                                                    */
    int channels_in, channels;
    int kernel;        /* odd                                                                  */
    int height, width; /* of the result, and of the input once upsampled by zoom               */
    int zoom;          /* nearest upsampling of the input on the way: reads [y/zoom][x/zoom]   */
} es_conv;

typedef struct es_kernels {
    const char *name;
    bool wide; /* double */

    /* Where not NULL, puts the weight of a convolution in the order that conv wants, as many
     * elements at `out`; conv is then to be given that. */
    void (*arrange)(const es_conv *conv, void *out);
    /* How many pixels of a convolution to compute in one go.  Depends on the shape alone, and so
     * does a result: the same pixels in the same pieces are the same bits. */
    size_t (*conv_chunk)(const es_conv *conv);
    /* Bytes of scratch (aligned to 64) for a piece of `count` pixels.  Pointers are not looked at. */
    size_t (*conv_scratch)(const es_conv *conv, size_t count);
    /* Pixels first .. first+count-1 of every output channel. */
    void (*conv)(const es_conv *conv, size_t first, size_t count, void *scratch);

    /* Element by element; out may be an input. */
    void (*lrelu)(void *out, const void *in, size_t n, double alpha); /* x < 0 ? alpha*x : x */
    void (*scale)(void *out, const void *in, size_t n, double alpha); /* alpha*x */
    void (*add)(void *out, const void *a, const void *b, size_t n);   /* a + b */
    void (*residual)(void *out, const void *a, const void *b, size_t n,
                     double alpha); /* alpha*a + b, rounded after each */

    /* One row: out[x] = in[x / factor], and out[x] = in[x * factor]. */
    void (*repeat)(void *out, const void *in, size_t n, int factor);
    void (*pick)(void *out, const void *in, size_t n, int factor);
} es_kernels;

void es_kernels_scalar(es_kernels *table, bool wide);

/* Replaces the convolution by one that works through sgemm (not for a wide table). */
void es_kernels_openblas(es_kernels *table);

/* Looks up what is used of OpenBLAS and sets it to one thread, for the whole process.  `find` gives
 * the address of a function, or NULL.  To be called once before OpenBLAS' kernels are used, and not
 * while another thread is inside OpenBLAS.  Returns NULL or the name of a function that is missing. */
const char *es_openblas_bind(void *(*find)(void *library, const char *name), void *library);

/* The name of the core OpenBLAS has chosen its kernels for. */
const char *es_openblas_core(void);

/* Rounds floats to what binary16 or bfloat16 can hold: to nearest even, overflow to infinity,
 * small numbers kept as denormals, NaN stays NaN. */
void es_round_f16(float *x, size_t n);
void es_round_bf16(float *x, size_t n);

/* Samples of a picture (every step-th of an interleaved row) to [0, 1] and back: divided by 255
 * or 65535; clamped, multiplied and rounded to nearest even.  NaN becomes 0. */
void es_unpack_u8(float *out, const uint8_t *in, size_t n, size_t step);
void es_unpack_u16(float *out, const uint16_t *in, size_t n, size_t step);
void es_pack_u8(uint8_t *out, const float *in, size_t n, size_t step);
void es_pack_u16(uint16_t *out, const float *in, size_t n, size_t step);

#endif
