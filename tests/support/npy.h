/* Reading NumPy's .npy: little-endian float64, float32, float16, and uint16 taken for the bits of
 * bfloat16. */
#ifndef TEST_NPY_H
#define TEST_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NPY_MAX_DIMS 8

typedef struct npy {
    int ndim;
    int64_t shape[NPY_MAX_DIMS];
    size_t count;
    double *data; /* widened; free() */
} npy;

/* The next array of a file that may hold several, one after the other; false at anything odd. */
bool npy_read(FILE *file, npy *out);
void npy_free(npy *array);

#endif
