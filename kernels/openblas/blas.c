#include "blas.h"

#include <string.h>

#include "kernels.h"

es_blas es_blas_bound;

const char *es_openblas_bind(void *(*find)(void *library, const char *name), void *library) {
    __typeof__(openblas_set_num_threads) *set_threads;
    const struct {
        const char *name;
        void *function; /* a pointer to a function, of whatever type */
    } wanted[] = {{"cblas_sgemm", &es_blas_bound.sgemm},
                  {"cblas_dgemm", &es_blas_bound.dgemm},
                  {"openblas_get_corename", &es_blas_bound.core},
                  {"openblas_set_num_threads", &set_threads}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = find(library, wanted[i].name);
        if (!found) return wanted[i].name;
        memcpy(wanted[i].function, &found, sizeof found);
    }
    set_threads(1);
    return NULL;
}

const char *es_openblas_core(void) { return es_blas_bound.core(); }
