/* What all parts of the reader share: the bytes, a metered allocator, where errors go. */
#ifndef ES_CHECKPOINT_SOURCE_H
#define ES_CHECKPOINT_SOURCE_H

#include "base/bytes.h"
#include "base/memory.h"
#include "base/status.h"

typedef struct es_source {
    const es_bytes *bytes;
    es_meter *meter;
    esrgan_error *error;
} es_source;

/* es_fail with the name of the file before it; a very long name keeps its end only. */
esrgan_status es_source_fail(const es_source *s, esrgan_status status, const char *format, ...)
    ES_PRINTF(3, 4);

/* After an allocation that failed: ESRGAN_E_LIMIT where max_bytes refused it, else E_MEMORY. */
esrgan_status es_source_no_memory(const es_source *s);

/* Makes room for `need` elements in a growing array, keeping `count`; `array` is the address of its
 * pointer.  `what` and `limit` word the refusal (ESRGAN_E_LIMIT). */
esrgan_status es_source_grow(const es_source *s, void *array, size_t *capacity, size_t count,
                             size_t need, size_t element, size_t limit, const char *what);

/* Precision and argument for "%.*s" of bytes out of a file, cut to what a message can bear. */
#define ES_SHOWN(bytes, size) (int)((size) < 120 ? (size) : 120), (const char *)(bytes)

/* Sorts indices in place, O(n log n) on any input and without allocating. */
typedef int (*es_compare)(const void *context, uint32_t a, uint32_t b);
void es_sort(uint32_t *index, size_t count, es_compare compare, const void *context);

/* As strcmp, for ranges of bytes. */
int es_compare_bytes(const void *a, size_t a_size, const void *b, size_t b_size);

#endif
