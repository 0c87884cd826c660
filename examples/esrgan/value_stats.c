#include "value_stats.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define HAVE_AVX2_TARGET 1
#endif

enum {
    BLOCK = 4096, /* elements looked at together; a block with NaN or Inf is done slowly */
    MOST_THREADS = 64
};

/* What one thread has seen of its part. */
typedef struct running {
    double min, max, sum, squares;
    uint64_t nan, inf;
    uint32_t words, placed; /* the two halves of the hash */
} running;

uint64_t stats_position(uint64_t count, int k) {
    if (count <= STATS_SAMPLES) return (uint64_t)k;
    uint64_t piece = count / STATS_SAMPLES;
    uint64_t jitter = ((uint64_t)k * 2654435761u & 0xffffffffu) * piece >> 32;
    return (uint64_t)k * count / STATS_SAMPLES + jitter;
}

static double element(esrgan_dtype dtype, const void *data, uint64_t i) {
    switch (dtype) {
    case ESRGAN_F32: return ((const float *)data)[i];
    case ESRGAN_F64: return ((const double *)data)[i];
    default: return ((const uint8_t *)data)[i];
    }
}

static void add_word(running *r, uint32_t word, uint64_t place) {
    r->words += word;
    r->placed += word * (uint32_t)(2 * place + 1);
}

static void add_hash(running *r, esrgan_dtype dtype, const void *data, uint64_t i) {
    uint64_t wide;
    switch (dtype) {
    case ESRGAN_F32: add_word(r, ((const uint32_t *)data)[i], i); break;
    case ESRGAN_F64:
        memcpy(&wide, (const double *)data + i, sizeof wide);
        add_word(r, (uint32_t)wide, 2 * i);
        add_word(r, (uint32_t)(wide >> 32), 2 * i + 1);
        break;
    default: add_word(r, ((const uint8_t *)data)[i], i); break;
    }
}

static void add_slowly(running *r, esrgan_dtype dtype, const void *data, uint64_t from,
                       uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        double v = element(dtype, data, i);
        add_hash(r, dtype, data, i);
        if (isnan(v)) {
            r->nan++;
        } else if (isinf(v)) {
            r->inf++;
        } else {
            r->min = v < r->min ? v : r->min;
            r->max = v > r->max ? v : r->max;
            r->sum += v;
            r->squares += v * v;
        }
    }
}

/* ---- Blocks of finite floats ---- */

#define BLOCK_NAME block_plain
#define BLOCK_TARGET
#define LANES 4
#include "value_stats_block.h"

#ifdef HAVE_AVX2_TARGET
#define BLOCK_NAME   block_avx2
#define BLOCK_TARGET __attribute__((target("avx2,fma")))
#define LANES        8
#include "value_stats_block.h"
#endif

static int (*choose_block(void))(running *, const float *, uint64_t) {
#ifdef HAVE_AVX2_TARGET
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return block_avx2;
#endif
    return block_plain;
}

/* ---- Threads ---- */

typedef struct part {
    esrgan_dtype dtype;
    const void *data;
    uint64_t from, to;
    running r;
} part;

static void *run_part(void *context) {
    part *p = context;
    uint64_t i = p->from;
    p->r = (running){.min = INFINITY, .max = -INFINITY};
    if (p->dtype == ESRGAN_F32) {
        int (*block)(running *, const float *, uint64_t) = choose_block();
        for (; i + BLOCK <= p->to; i += BLOCK)
            if (!block(&p->r, p->data, i)) add_slowly(&p->r, p->dtype, p->data, i, i + BLOCK);
    }
    add_slowly(&p->r, p->dtype, p->data, i, p->to);
    return NULL;
}

static void join(running *to, const running *from) {
    to->min = from->min < to->min ? from->min : to->min;
    to->max = from->max > to->max ? from->max : to->max;
    to->sum += from->sum;
    to->squares += from->squares;
    to->nan += from->nan;
    to->inf += from->inf;
    to->words += from->words;
    to->placed += from->placed;
}

static running run_all(esrgan_dtype dtype, const void *data, uint64_t count, int threads) {
    enum { SMALL = 1 << 18 };
    part parts[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    bool own[MOST_THREADS] = {false};
    int n = count < SMALL || threads < 2 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    uint64_t step = (count / (uint64_t)n + BLOCK) / BLOCK * BLOCK;
    for (int i = 0; i < n; i++) {
        uint64_t from = step * (uint64_t)i, to = from + step;
        parts[i] =
            (part){dtype, data, from < count ? from : count, to < count ? to : count, {.nan = 0}};
        own[i] = i > 0 && pthread_create(&started[i], NULL, run_part, &parts[i]) == 0;
    }
    for (int i = 0; i < n; i++) {
        if (own[i])
            pthread_join(started[i], NULL);
        else
            run_part(&parts[i]);
        if (i > 0) join(&parts[0].r, &parts[i].r);
    }
    return parts[0].r;
}

void stats_compute(value_stats *stats, esrgan_dtype dtype, const void *data, uint64_t count,
                   int threads) {
    running r = run_all(dtype, data, count, threads);
    uint64_t finite = count - r.nan - r.inf;
    stats->count = count;
    stats->nan = r.nan;
    stats->inf = r.inf;
    stats->min = finite ? r.min : NAN;
    stats->max = finite ? r.max : NAN;
    stats->mean = finite ? r.sum / (double)finite : NAN;
    stats->rms = finite ? sqrt(r.squares / (double)finite) : NAN;
    stats->hash = (uint64_t)r.placed << 32 | r.words;
    stats->samples = count < STATS_SAMPLES ? (int)count : STATS_SAMPLES;
    for (int k = 0; k < stats->samples; k++)
        stats->sample[k] = element(dtype, data, stats_position(count, k));
}
