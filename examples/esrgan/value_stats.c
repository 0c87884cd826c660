#include "value_stats.h"

#include <math.h>
#include <string.h>

typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef double v4d __attribute__((vector_size(32)));

enum { BLOCK = 4096 }; /* elements looked at together; a block with NaN or Inf is done slowly */

typedef struct running {
    double min, max, sum, squares;
    uint64_t nan, inf, hash;
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

static uint64_t bits(esrgan_dtype dtype, const void *data, uint64_t i) {
    switch (dtype) {
    case ESRGAN_F32: return ((const uint32_t *)data)[i];
    case ESRGAN_F64: return ((const uint64_t *)data)[i];
    default: return ((const uint8_t *)data)[i];
    }
}

static void add_slowly(running *r, esrgan_dtype dtype, const void *data, uint64_t from,
                       uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        double v = element(dtype, data, i);
        r->hash += (bits(dtype, data, i) + 1) * (2 * i + 1);
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

static v4f select4(v4i mask, v4f yes, v4f no) {
    return (v4f)((mask & (v4i)yes) | (~mask & (v4i)no));
}

/* BLOCK finite floats.  Returns 0, having added nothing, where one is not finite. */
static int add_block(running *r, const float *data, uint64_t from) {
    const float *p = data + from;
    v4i infinite = {0, 0, 0, 0};
    v4f low, high;
    v4d sum = {0, 0, 0, 0}, squares = sum;
    memcpy(&low, p, sizeof low);
    high = low;
    uint64_t hash = 0, factor = 2 * from + 1;
    for (int i = 0; i < BLOCK; i += 4, factor += 8) {
        v4f v;
        uint32_t word[4];
        memcpy(&v, p + i, sizeof v);
        memcpy(word, p + i, sizeof word);
        infinite |= ((v4i)v & 0x7f800000) == 0x7f800000;
        low = select4(v < low, v, low);
        high = select4(v > high, v, high);
        v4d d = __builtin_convertvector(v, v4d);
        sum += d;
        squares += d * d;
        hash += ((uint64_t)word[0] + 1) * factor + ((uint64_t)word[1] + 1) * (factor + 2) +
                ((uint64_t)word[2] + 1) * (factor + 4) + ((uint64_t)word[3] + 1) * (factor + 6);
    }
    if (infinite[0] | infinite[1] | infinite[2] | infinite[3]) return 0;
    for (int i = 0; i < 4; i++) {
        r->min = low[i] < r->min ? low[i] : r->min;
        r->max = high[i] > r->max ? high[i] : r->max;
        r->sum += sum[i];
        r->squares += squares[i];
    }
    r->hash += hash;
    return 1;
}

void stats_compute(value_stats *stats, esrgan_dtype dtype, const void *data, uint64_t count) {
    running r = {.min = INFINITY, .max = -INFINITY};
    uint64_t i = 0;
    if (dtype == ESRGAN_F32)
        for (; i + BLOCK <= count; i += BLOCK)
            if (!add_block(&r, data, i)) add_slowly(&r, dtype, data, i, i + BLOCK);
    add_slowly(&r, dtype, data, i, count);
    uint64_t finite = count - r.nan - r.inf;
    stats->count = count;
    stats->nan = r.nan;
    stats->inf = r.inf;
    stats->min = finite ? r.min : NAN;
    stats->max = finite ? r.max : NAN;
    stats->mean = finite ? r.sum / (double)finite : NAN;
    stats->rms = finite ? sqrt(r.squares / (double)finite) : NAN;
    stats->hash = r.hash;
    stats->samples = count < STATS_SAMPLES ? (int)count : STATS_SAMPLES;
    for (int k = 0; k < stats->samples; k++)
        stats->sample[k] = element(dtype, data, stats_position(count, k));
}
