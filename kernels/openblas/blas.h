/* OpenBLAS' functions, once they have been looked up (see kernels.h). */
#ifndef ES_KERNELS_BLAS_H
#define ES_KERNELS_BLAS_H

#include <cblas.h>

typedef struct es_blas {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(openblas_get_corename) *core;
} es_blas;

extern es_blas es_blas_bound;

#endif
