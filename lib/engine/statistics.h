/*
 * Statistics of values, whoever takes them: sums that grow piece by piece, and what they come to.
 * Counts and hashes do not depend on the order of the pieces; sums do, so whoever adds them keeps to
 * one that follows from the value's shape.
 */
#ifndef ES_ENGINE_STATISTICS_H
#define ES_ENGINE_STATISTICS_H

#include "base/threads.h"
#include "native.h"

typedef struct es_sums {
    double min, max, sum, squares; /* of finite elements */
    uint64_t nan, inf;
    uint32_t words, placed; /* the two halves of the hash */
} es_sums;

void es_sums_init(es_sums *sums);

void es_tally_init(es_native_tally *tally);

/*
 * Adds what the kernels have seen of `lanes` channels, but for the totals.  The element that they
 * called p is element p + first[lane]; it stands for `times` elements of the value, whose places sum
 * up to that.
 */
void es_sums_add_tally(es_sums *sums, const es_native_tally *tally, int lanes,
                       const uint32_t first[ES_NATIVE_LANES], uint32_t times);

/* Everything but the samples. */
void es_sums_finish(const es_sums *sums, uint64_t count, esrgan_statistics *statistics);

/* Where sample k of a value of `count` elements is taken, k < es_sample_count(count). */
int es_sample_count(uint64_t count);
uint64_t es_sample_position(uint64_t count, int k);

/* All of it, of elements that lie one after the other; with the team, or on this thread for NULL. */
void es_statistics_planes(es_team *team, esrgan_dtype dtype, const void *data, uint64_t count,
                          esrgan_statistics *statistics);

#endif
