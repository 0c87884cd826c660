#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

static void *default_alloc(void *context, size_t size, size_t alignment) {
    (void)context;
    void *pointer = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    return posix_memalign(&pointer, alignment, size) == 0 ? pointer : NULL;
}

static void default_release(void *context, void *pointer, size_t size) {
    (void)context, (void)size;
    free(pointer);
}

esrgan_allocator es_allocator(const esrgan_allocator *or_null) {
    if (or_null != NULL) return *or_null;
    return (esrgan_allocator){.alloc = default_alloc, .release = default_release, .context = NULL};
}

void *es_alloc(const esrgan_allocator *a, size_t size) {
    if (size == 0 || size > PTRDIFF_MAX) return NULL;
    return a->alloc(a->context, size, ES_ALIGN);
}

void *es_calloc(const esrgan_allocator *a, size_t count, size_t size) {
    size_t bytes;
    if (!es_mul(count, size, &bytes)) return NULL;
    void *pointer = es_alloc(a, bytes);
    if (pointer != NULL) memset(pointer, 0, bytes);
    return pointer;
}

void es_free(const esrgan_allocator *a, void *pointer, size_t size) {
    if (pointer != NULL) a->release(a->context, pointer, size);
}

void es_large_pages(void *pointer, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = (uintptr_t)1 << 21, start = (uintptr_t)pointer;
    uintptr_t from = (start + page - 1) / page * page, to = (start + size) / page * page;
    if (to > from) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)pointer, (void)size;
#endif
}

char *es_strdup(const esrgan_allocator *a, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = es_alloc(a, size);
    if (copy != NULL) memcpy(copy, text, size);
    return copy;
}

bool es_mul(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool es_add(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

/* The compiler's atomics rather than <stdatomic.h>: the header can stay plain C for everyone. */
static void *meter_alloc(void *context, size_t size, size_t alignment) {
    es_meter *meter = context;
    uint64_t now = __atomic_add_fetch(&meter->now, size, __ATOMIC_RELAXED);
    if (meter->limit != 0 && now > meter->limit) {
        __atomic_sub_fetch(&meter->now, size, __ATOMIC_RELAXED);
        __atomic_store_n(&meter->refused, true, __ATOMIC_RELAXED);
        return NULL;
    }
    void *pointer = meter->inner.alloc(meter->inner.context, size, alignment);
    if (pointer == NULL) {
        __atomic_sub_fetch(&meter->now, size, __ATOMIC_RELAXED);
        return NULL;
    }
    uint64_t peak = __atomic_load_n(&meter->peak, __ATOMIC_RELAXED);
    while (now > peak && !__atomic_compare_exchange_n(&meter->peak, &peak, now, true,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return pointer;
}

static void meter_release(void *context, void *pointer, size_t size) {
    es_meter *meter = context;
    __atomic_sub_fetch(&meter->now, size, __ATOMIC_RELAXED);
    meter->inner.release(meter->inner.context, pointer, size);
}

void es_meter_init(es_meter *meter, const esrgan_allocator *inner, uint64_t limit) {
    *meter = (es_meter){.inner = es_allocator(inner), .limit = limit};
    meter->allocator =
        (esrgan_allocator){.alloc = meter_alloc, .release = meter_release, .context = meter};
}
