#include "model.h"

#include <stdio.h>
#include <stdlib.h>

esrgan_model *model_of(const pth_rrdbnet *net, uint64_t seed) {
    pth_list list = {0};
    size_t size;
    pth_add_rrdbnet(&list, net);
    uint8_t *bytes = pth_write(&list, seed, &size);
    esrgan_open_options options;
    esrgan_open_options_init(&options);
    options.copy = 1;
    esrgan_model *model = NULL;
    esrgan_error error;
    if (esrgan_open_memory(bytes, size, "made on the spot", &options, &model, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    free(bytes);
    pth_clear(&list);
    return model;
}

esrgan_model *model_x4(void) {
    return model_of(&(pth_rrdbnet){PTH_BASICSR, 3, 3, 8, 4, 1, 2, 0}, 1);
}

esrgan_model *model_x2plus(void) {
    return model_of(&(pth_rrdbnet){PTH_BASICSR, 12, 3, 8, 4, 1, 2, 0}, 2);
}

esrgan_model *model_grey(void) {
    return model_of(&(pth_rrdbnet){PTH_ESRGAN, 1, 1, 8, 4, 1, 1, 0}, 3);
}

static void *ledger_alloc(void *context, size_t size, size_t alignment) {
    ledger *l = context;
    const int64_t call = __atomic_fetch_add(&l->calls, 1, __ATOMIC_RELAXED);
    void *p = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    if (call == l->fail_at || posix_memalign(&p, alignment, size) != 0) return NULL;
    const int64_t now = __atomic_add_fetch(&l->now, (int64_t)size, __ATOMIC_RELAXED);
    int64_t peak = __atomic_load_n(&l->peak, __ATOMIC_RELAXED);
    while (now > peak && !__atomic_compare_exchange_n(&l->peak, &peak, now, true, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {}
    return p;
}

static void ledger_release(void *context, void *pointer, size_t size) {
    ledger *l = context;
    __atomic_fetch_sub(&l->now, (int64_t)size, __ATOMIC_RELAXED);
    free(pointer);
}

void ledger_init(ledger *l) {
    *l = (ledger){.fail_at = -1, .allocator = {ledger_alloc, ledger_release, l}};
}

float *noise(size_t n, uint32_t seed) {
    float *x = malloc(n * sizeof *x);
    if (!x) abort();
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 24);
    }
    return x;
}
