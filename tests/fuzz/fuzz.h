/* What the fuzz targets share: a metered allocator that fails where the input says so. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/bytes.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/source.h"
#include "checkpoint/zip.h"

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

/* A copy of an archive with the checksums of its stored entries put right: a forger would do so, too, and
 * else hardly anything mutated would get past them.  free() */
static inline uint8_t *fuzz_with_checksums(const uint8_t *data, size_t size) {
    uint8_t *file = malloc(size + 1);
    if (size > 0) memcpy(file, data, size);
    es_meter meter;
    es_meter_init(&meter, NULL, FUZZ_LIMIT);
    const es_bytes bytes = {.data = file, .size = size, .name = (char *)"fuzz"};
    const es_source source = {.bytes = &bytes, .meter = &meter, .error = NULL};
    es_zip zip;
    if (es_zip_open(&zip, &source) != ESRGAN_OK) return file;
    for (size_t i = 0; i < zip.count; i++) {
        const es_zip_entry *e = &zip.entries[i];
        if (e->method != 0) continue;
        uint32_t crc = (uint32_t)crc32(0, e->payload, (uInt)e->payload_size);
        uint8_t *field = file + (e->name - file) - 46 + 16; /* of its central header */
        for (int b = 0; b < 4; b++) field[b] = (uint8_t)(crc >> 8 * b);
    }
    es_zip_close(&zip, &source);
    return file;
}

#endif
