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
    /* Sum over all i of (bits[i] + 1) * (2 i + 1) modulo 2^64, where bits[i] is element i as an
     * unsigned integer of its own size: equal values have equal hashes. */
    uint64_t hash;
    int samples; /* how many of sample[] are used: count where that is less than STATS_SAMPLES */
    double sample[STATS_SAMPLES];
} value_stats;

/* Where sample k of a value of `count` elements is taken, 0 <= k < STATS_SAMPLES: the k-th of
 * STATS_SAMPLES equal pieces, at a place in it that looks random but is always the same. */
uint64_t stats_position(uint64_t count, int k);

void stats_compute(value_stats *stats, esrgan_dtype dtype, const void *data, uint64_t count);

#endif
