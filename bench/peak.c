/* What this machine can do at most: loops of nothing but the instruction in question. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#if defined(__x86_64__)
#include "x86/cpu.h"
#endif

#if defined(__x86_64__)
/* Twelve accumulators: more than latency times ports.  Registers are zero: no denormals. */
#define TWELVE(op, r)                                                                              \
    op " %%" r "0, %%" r "0, %%" r "1\n" op " %%" r "0, %%" r "0, %%" r "2\n" op " %%" r "0, %%" r \
       "0, %%" r "3\n" op " %%" r "0, %%" r "0, %%" r "4\n" op " %%" r "0, %%" r "0, %%" r         \
       "5\n" op " %%" r "0, %%" r "0, %%" r "6\n" op " %%" r "0, %%" r "0, %%" r "7\n" op " %%" r  \
       "0, %%" r "0, %%" r "8\n" op " %%" r "0, %%" r "0, %%" r "9\n" op " %%" r "0, %%" r         \
       "0, %%" r "10\n" op " %%" r "0, %%" r "0, %%" r "11\n" op " %%" r "0, %%" r "0, %%" r       \
       "12\n"
#define LOOP(op, r)                                                                                \
    __asm__ volatile("vzeroall\n1:\n" TWELVE(op, r) "dec %0\njnz 1b\nvzeroupper\n"                 \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",     \
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static double rate(int kind) {
    enum { ROUNDS = 100000 };
    static const double operations[] = {12 * 32, 12 * 16, 12 * 64};
    double best = 0;
    for (int i = 0; i < 6; i++) {
        long n = ROUNDS;
        double t = seconds();
        if (kind == 0)
            LOOP("vfmadd231ps", "zmm");
        else if (kind == 1)
            LOOP("vfmadd231ps", "ymm");
        else
            LOOP("vdpbf16ps", "zmm");
        t = seconds() - t;
        if (operations[kind] * ROUNDS / t > best) best = operations[kind] * ROUNDS / t;
    }
    return best;
}

static bool has(int kind) {
    static const unsigned needs[] = {ES_CPU_TIER_AVX512, ES_CPU_TIER_AVX2, ES_CPU_TIER_AVX512BF16};
    return (es_cpu_flags() & needs[kind]) == needs[kind];
}
#else
static double rate(int kind) { return (void)kind, 0; }
static bool has(int kind) { return (void)kind, false; }
#endif

static void *rate_on_thread(void *kind) {
    double *x = malloc(sizeof *x);
    if (x) *x = rate((int)(intptr_t)kind);
    return x;
}

static double rate_of_all(int kind, int threads) {
    pthread_t others[64];
    if (!has(kind)) return 0;
    if (threads > 64) threads = 64;
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, rate_on_thread, (void *)(intptr_t)kind) != 0) abort();
    double sum = rate(kind);
    for (int i = 1; i < threads; i++) {
        void *x;
        pthread_join(others[i], &x);
        if (x) sum += *(double *)x;
        free(x);
    }
    return sum / threads;
}

peaks measure_peaks(int threads) {
    return (peaks){rate_of_all(0, threads), rate_of_all(1, threads), rate_of_all(2, threads)};
}

double peak_fma(bool wide) { return has(!wide) ? rate(!wide) : 0; }

double read_bandwidth(size_t bytes) {
    uint64_t *p = aligned_alloc(64, bytes);
    if (!p) return 0;
    memset(p, 1, bytes);
    double best = 0;
    for (int round = 0; round < 5; round++) {
        int times = (int)((size_t)(64 << 20) / bytes) + 1;
        uint64_t sum[8] = {0};
        double t = seconds();
        for (int k = 0; k < times; k++)
            for (size_t i = 0; i < bytes / 8; i += 8)
                for (int j = 0; j < 8; j++) sum[j] += p[i + (size_t)j];
        t = seconds() - t;
        volatile uint64_t keep =
            sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
        (void)keep;
        if ((double)bytes * times / t > best) best = (double)bytes * times / t;
    }
    free(p);
    return best;
}

int bench_machine(output *to) {
    const peaks p = measure_peaks(2);
    const struct {
        const char *name, *unit;
        double value;
    } rows[] = {{"FP32 FMA, 512 bit", "GFLOP/s", p.fma512},
                {"FP32 FMA, 256 bit", "GFLOP/s", p.fma256},
                {"VDPBF16PS", "GFLOP/s", p.bf16dot},
                {"read, 1 MiB", "GB/s", read_bandwidth((size_t)1 << 20)},
                {"read, 8 MiB", "GB/s", read_bandwidth((size_t)8 << 20)},
                {"read, 1 GiB", "GB/s", read_bandwidth((size_t)1 << 30)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fprintf(to->markdown, "| %s | %.0f %s |\n", rows[i].name, rows[i].value / 1e9,
                rows[i].unit);
        fprintf(to->json, "{\"what\": \"%s\", \"per_second\": %.4g}\n", rows[i].name,
                rows[i].value);
    }
    return 0;
}
