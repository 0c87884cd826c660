/* How far results are from what is right. */
#ifndef TEST_DECIBELS_H
#define TEST_DECIBELS_H

#include <math.h>
#include <stddef.h>

/* Signal to error in dB: the deviation of `truth` from its mean to x's from `truth`. */
static inline double decibels(const float *truth, const float *x, size_t n) {
    double mean = 0, signal = 0, error = 0;
    for (size_t i = 0; i < n; i++) mean += truth[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        signal += (truth[i] - mean) * (truth[i] - mean);
        error += ((double)truth[i] - x[i]) * ((double)truth[i] - x[i]);
    }
    return 10 * log10(signal / error);
}

#endif
