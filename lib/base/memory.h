/*
 * All memory of the library comes through here, so that a caller's allocator sees all of it and
 * tests can make any allocation fail.
 */
#ifndef ES_BASE_MEMORY_H
#define ES_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esrgan.h"

#define ES_ALIGN 64 /* a cache line, and the widest vector */

/* Bytes filled up to whole lines, so that what comes next is aligned, too. */
static inline size_t es_aligned(size_t bytes) {
    return (bytes + ES_ALIGN - 1) / ES_ALIGN * ES_ALIGN;
}

/* The allocator to use for options->allocator: a copy of it, or malloc and free for NULL. */
esrgan_allocator es_allocator(const esrgan_allocator *or_null);

/* `size` bytes aligned to ES_ALIGN, not cleared; NULL where size is 0 or nothing is left. */
void *es_alloc(const esrgan_allocator *a, size_t size);

/* The same, cleared, for count elements; NULL on overflow too. */
void *es_calloc(const esrgan_allocator *a, size_t count, size_t size);

/* Releases what es_alloc or es_calloc returned, with the size asked for.  NULL is fine. */
void es_free(const esrgan_allocator *a, void *pointer, size_t size);

/* Asks for large pages where the system has them: many streams through a block of memory are then
 * spared the walks through page tables. */
void es_large_pages(void *pointer, size_t size);

/* A copy of a string with its terminator (released with strlen + 1). */
char *es_strdup(const esrgan_allocator *a, const char *text);

/* a*b and a+b into *out; false on overflow. */
bool es_mul(size_t a, size_t b, size_t *out);
bool es_add(size_t a, size_t b, size_t *out);

/* An allocator that counts: bytes now, bytes at the peak.  With a limit (0: none) it refuses what
 * would pass it.  `allocator` is what to hand on; it must not outlive the struct. */
typedef struct es_meter {
    esrgan_allocator inner;
    esrgan_allocator allocator;
    uint64_t limit;
    uint64_t now, peak; /* changed atomically */
    bool refused;       /* the limit, not the inner allocator, said no */
} es_meter;

void es_meter_init(es_meter *meter, const esrgan_allocator *inner, uint64_t limit);

#endif
