/* Small models made on the spot, and an allocator that counts and fails on request. */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esrgan.h"
#include "pth.h"

/* An RRDBNet with weights that follow from the seed. */
esrgan_model *model_of(const pth_rrdbnet *net, uint64_t seed);

/* The usual ones: 3 channels, 8 features, growth 4, one block. */
esrgan_model *model_x4(void);
esrgan_model *model_x2plus(void); /* unshuffle 2 */
esrgan_model *model_grey(void);   /* one channel, x2 */

/* Counts bytes and calls; the call numbered fail_at (from 0) gets nothing, -1: none does. */
typedef struct ledger {
    int64_t now, peak, calls, fail_at;
    esrgan_allocator allocator;
} ledger;

void ledger_init(ledger *l);

/* n floats between 0 and 1.  free() */
float *noise(size_t n, uint32_t seed);

#endif
