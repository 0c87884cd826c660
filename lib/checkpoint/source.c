#include "checkpoint/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN 160

esrgan_status es_source_fail(const es_source *s, esrgan_status status, const char *format, ...) {
    char text[sizeof s->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = s->bytes->name;
    size_t length = strlen(name);
    bool cut = length > NAME_SHOWN;
    return es_fail(s->error, status, "%s%s: %s", cut ? "..." : "",
                   cut ? name + length - NAME_SHOWN : name, text);
}

esrgan_status es_source_no_memory(const es_source *s) {
    if (!__atomic_load_n(&s->meter->refused, __ATOMIC_RELAXED)) {
        return es_source_fail(s, ESRGAN_E_MEMORY, "out of memory while reading");
    }
    return es_source_fail(s, ESRGAN_E_LIMIT,
                          "reading would allocate more than the limit of %llu bytes",
                          (unsigned long long)s->meter->limit);
}

esrgan_status es_source_grow(const es_source *s, void *array, size_t *capacity, size_t count,
                             size_t need, size_t element, size_t limit, const char *what) {
    if (need <= *capacity) return ESRGAN_OK;
    if (need > limit) {
        return es_source_fail(s, ESRGAN_E_LIMIT, "more than %zu %s", limit, what);
    }
    size_t wanted = *capacity < 1024 ? 2048 : *capacity * 2, bytes;
    if (wanted < need) wanted = need;
    if (wanted > limit) wanted = limit;
    uint8_t *larger =
        es_mul(wanted, element, &bytes) ? es_alloc(&s->meter->allocator, bytes) : NULL;
    if (larger == NULL) return es_source_no_memory(s);
    void *old; /* copied: `array` points to a pointer of any type */
    memcpy(&old, array, sizeof old);
    if (count > 0) memcpy(larger, old, count * element);
    es_free(&s->meter->allocator, old, *capacity * element);
    memcpy(array, &larger, sizeof larger);
    *capacity = wanted;
    return ESRGAN_OK;
}

static void sift(uint32_t *index, size_t root, size_t count, es_compare compare,
                 const void *context) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(context, index[child], index[child + 1]) < 0) child++;
        if (compare(context, index[root], index[child]) >= 0) return;
        uint32_t t = index[root];
        index[root] = index[child];
        index[child] = t;
    }
}

void es_sort(uint32_t *index, size_t count, es_compare compare, const void *context) {
    size_t sorted = 1;
    while (sorted < count && compare(context, index[sorted - 1], index[sorted]) <= 0) sorted++;
    if (sorted >= count) return; /* the usual case for files, whose parts come in order */
    for (size_t i = count / 2; i-- > 0;) sift(index, i, count, compare, context);
    for (size_t end = count; --end > 0;) {
        uint32_t t = index[0];
        index[0] = index[end];
        index[end] = t;
        sift(index, 0, end, compare, context);
    }
}

int es_compare_bytes(const void *a, size_t a_size, const void *b, size_t b_size) {
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    if (order != 0) return order;
    return a_size < b_size ? -1 : a_size > b_size;
}
