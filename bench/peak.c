/* What this machine can do at most: loops of nothing but the instruction in question. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bench.h"
#if defined(__x86_64__)
#include "direct.h"
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

/* Forty-eight products of tiles, and one stored: a longer run without that is slowed down. */
#define SIX                                                                                        \
    "tdpbf16ps %%tmm7, %%tmm6, %%tmm0\ntdpbf16ps %%tmm7, %%tmm6, %%tmm1\n"                         \
    "tdpbf16ps %%tmm7, %%tmm6, %%tmm2\ntdpbf16ps %%tmm7, %%tmm6, %%tmm3\n"                         \
    "tdpbf16ps %%tmm7, %%tmm6, %%tmm4\ntdpbf16ps %%tmm7, %%tmm6, %%tmm5\n"

static void tiles(long n) {
    static _Alignas(64) char stored[1024];
    es_direct_amx.begin();
    __asm__ volatile(
        "tilezero %%tmm0\ntilezero %%tmm1\ntilezero %%tmm2\ntilezero %%tmm3\n"
        "tilezero %%tmm4\ntilezero %%tmm5\ntilezero %%tmm6\ntilezero %%tmm7\n1:\n" SIX SIX SIX SIX
            SIX SIX SIX SIX "tilestored %%tmm0, (%1,%2,1)\ndec %0\njnz 1b\n"
        : "+r"(n)
        : "r"(stored), "r"(64l)
        : "memory");
    es_direct_amx.end();
}

/* Instructions that do nothing: how many a core takes in.  It is half of that where something else
 * runs on its other hardware thread, which multiplications alone do not show. */
static void nothing(long n) {
    __asm__ volatile("1:\n.rept 64\nnop\n.endr\ndec %0\njnz 1b\n" : "+r"(n));
}

static double rate(peak_kind kind) {
    static const long rounds[] = {100000, 100000, 100000, 8000, 100000};
    static const double operations[] = {12 * 32, 12 * 16, 12 * 64, 48 * 16384, 64};
    double best = 0;
    for (int i = 0; i < 6; i++) {
        long n = rounds[kind];
        double t = seconds();
        if (kind == PEAK_FMA512)
            LOOP("vfmadd231ps", "zmm");
        else if (kind == PEAK_FMA256)
            LOOP("vfmadd231ps", "ymm");
        else if (kind == PEAK_DOT)
            LOOP("vdpbf16ps", "zmm");
        else if (kind == PEAK_TILES)
            tiles(n);
        else
            nothing(n);
        t = seconds() - t;
        best = fmax(best, operations[kind] * (double)rounds[kind] / t);
    }
    return best;
}

static bool has(peak_kind kind) {
    static const unsigned needs[] = {ES_CPU_TIER_AVX512, ES_CPU_TIER_AVX2, ES_CPU_TIER_AVX512BF16,
                                     ES_CPU_TIER_AMX, 0};
    return (es_cpu_flags() & needs[kind]) == needs[kind] &&
           (kind != PEAK_TILES || es_cpu_amx_permitted());
}
#else
static double rate(peak_kind kind) { return (void)kind, 0; }
static bool has(peak_kind kind) { return (void)kind, false; }
#endif

static void *rate_on_thread(void *kind) {
    double *x = malloc(sizeof *x);
    if (x) *x = rate((peak_kind)(intptr_t)kind);
    return x;
}

double peak_of(peak_kind kind, int threads) {
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

double peak_fma(bool narrow, int threads) {
    return peak_of(narrow || !has(PEAK_FMA512) ? PEAK_FMA256 : PEAK_FMA512, threads);
}

void *large_pages(size_t bytes) {
    const size_t page = (size_t)1 << 21, whole = (bytes + page - 1) / page * page;
    void *p = aligned_alloc(page, whole);
    if (p) es_large_pages(p, whole);
    return p;
}

/* Eight loads at a time that wait for nothing: what bounds this is the memory. */
static uint64_t read_once(const char *p, size_t bytes) {
#if defined(__x86_64__)
    const char *end = has(PEAK_FMA512) ? p + bytes : p;
    bytes -= (size_t)(end - p);
    for (; p < end; p += 512)
        __asm__ volatile("vmovaps (%0), %%zmm0\nvmovaps 64(%0), %%zmm1\nvmovaps 128(%0), %%zmm2\n"
                         "vmovaps 192(%0), %%zmm3\nvmovaps 256(%0), %%zmm4\n"
                         "vmovaps 320(%0), %%zmm5\nvmovaps 384(%0), %%zmm6\n"
                         "vmovaps 448(%0), %%zmm7\n"
                         :
                         : "r"(p)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
#endif
    typedef uint64_t pair __attribute__((vector_size(16)));
    pair sum[8] = {{0}};
    for (size_t i = 0; i < bytes; i += sizeof sum) {
        const pair *from = (const pair *)(const void *)(p + i);
        sum[0] |= from[0], sum[1] |= from[1], sum[2] |= from[2], sum[3] |= from[3];
        sum[4] |= from[4], sum[5] |= from[5], sum[6] |= from[6], sum[7] |= from[7];
    }
    for (int i = 1; i < 8; i++) sum[0] |= sum[i];
    return sum[0][0] | sum[0][1];
}

double read_bandwidth(size_t bytes) {
    char *p = large_pages(bytes);
    if (!p) return 0;
    memset(p, 1, bytes);
    double best = 0;
    for (int round = 0; round < 5; round++) {
        const int times = (int)((size_t)(256 << 20) / bytes) + 1;
        volatile uint64_t keep = 0;
        double t = seconds();
        for (int k = 0; k < times; k++) keep = keep | read_once(p, bytes);
        t = seconds() - t;
        best = fmax(best, (double)bytes * times / t);
    }
    free(p);
    return best;
}

int bench_machine(output *to) {
    const struct {
        const char *name, *unit;
        double value;
    } rows[] = {{"FP32 FMA, 512 bit", "GFLOP/s a core", peak_of(PEAK_FMA512, 2)},
                {"FP32 FMA, 256 bit", "GFLOP/s a core", peak_of(PEAK_FMA256, 2)},
                {"VDPBF16PS", "GFLOP/s a core", peak_of(PEAK_DOT, 2)},
                {"TDPBF16PS (AMX)", "GFLOP/s a core", peak_of(PEAK_TILES, 2)},
                {"no-operations", "G/s a core", peak_of(PEAK_NOTHING, 2)},
                {"read, 1 MiB", "GB/s, one core", read_bandwidth((size_t)1 << 20)},
                {"read, 8 MiB", "GB/s, one core", read_bandwidth((size_t)8 << 20)},
                {"read, 1 GiB", "GB/s, one core", read_bandwidth((size_t)1 << 30)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].value == 0) continue; /* no such instruction */
        fprintf(to->markdown, "| %s | %.0f %s |\n", rows[i].name, rows[i].value / 1e9,
                rows[i].unit);
        fprintf(to->json, "{\"what\": \"%s\", \"per_second\": %.4g}\n", rows[i].name,
                rows[i].value);
    }
    return 0;
}
