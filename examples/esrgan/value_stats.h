/* What is kept of a traced value when the value itself is not: enough for triage. */
#ifndef VALUE_STATS_H
#define VALUE_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "esrgan.h"

enum { STATS_SAMPLES = 1024 };

typedef struct value_stats {
    uint64_t count;    /* elements */
    uint64_t nan, inf; /* the figures below leave both out */
    double min, max, mean, rms;
    /* Of the data as words w[i] (32 bits; doubles are two, the lower half first; bytes are one each):
     * the sum of all w[i] below, the sum of all w[i] * (2 i + 1) above, each modulo 2^32.  Equal
     * values have equal hashes. */
    uint64_t hash;
    int samples; /* how many of sample[] are used: count where that is less than STATS_SAMPLES */
    double sample[STATS_SAMPLES];
} value_stats;

/* Where sample k of a value of `count` elements is taken, 0 <= k < STATS_SAMPLES: the k-th of
 * STATS_SAMPLES equal pieces, at a place in it that looks random but is always the same. */
uint64_t stats_position(uint64_t count, int k);

/* On `threads` threads where there is enough to do. */
void stats_compute(value_stats *stats, esrgan_dtype dtype, const void *data, uint64_t count,
                   int threads);

#endif
