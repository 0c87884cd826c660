/* What the fuzz targets share: a metered allocator that fails where the input says so. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* More than any input here needs, little enough not to swap. */
#define FUZZ_LIMIT ((uint64_t)64 << 20)

typedef struct fuzz_memory {
    es_meter meter;
    esrgan_allocator allocator;
    long left; /* allocations that succeed; -1: all */
} fuzz_memory;

static inline void *fuzz_alloc(void *context, size_t size, size_t alignment) {
    fuzz_memory *m = context;
    if (m->left == 0) return NULL;
    if (m->left > 0) m->left--;
    return m->meter.inner.alloc(m->meter.inner.context, size, alignment);
}

static inline void fuzz_release(void *context, void *pointer, size_t size) {
    fuzz_memory *m = context;
    m->meter.inner.release(m->meter.inner.context, pointer, size);
}

/* The last byte says which allocation fails; below 128 none does. */
static inline void fuzz_memory_init(fuzz_memory *m, const uint8_t *data, size_t size) {
    es_meter_init(&m->meter, NULL, 0);
    m->left = size > 0 && data[size - 1] >= 128 ? data[size - 1] - 128 : -1;
    m->allocator = (esrgan_allocator){fuzz_alloc, fuzz_release, m};
}

/* A failure has a status and a message, a success neither. */
static inline void fuzz_check(esrgan_status status, const esrgan_error *error) {
    if (status == ESRGAN_OK) return;
    if (error->status != status || error->message[0] == 0) abort();
    if (memchr(error->message, '\n', sizeof error->message) != NULL) abort();
}

/* Reads every element that a tensor says it has: outside of its storage, a sanitizer stops us. */
static inline void fuzz_read_tensor(const es_tensor *t) {
    if (t->numel > 1 << 16) return;
    float *values = malloc((size_t)t->numel * sizeof *values + 1);
    es_tensor_read_f32(t, values);
    free(values);
}

#endif
