/*
 * What the direct convolutions of AArch64 share: everything but products, the packing of weights and
 * the operands' format, which the file that includes this defines: see "hooks" below.
 */
#ifndef ES_ARM_DIRECT_COMMON_H
#define ES_ARM_DIRECT_COMMON_H

#include <arm_neon.h>

#include "direct.h"
#include "inline.h"

/* Moving loads up, before registers are given out, takes more of them than there are. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

#define GROUP 6 /* positions at a time */

typedef struct eight {
    float32x4_t low, high;
} eight;

/* ---- Hooks -------------------------------------------------------------------------------- */

/* Sums of positions first .. first + GROUP - 1 of one half of the channels out; w is its weights. */
static void group(const es_direct_product *p, const uint16_t *w, int first, float *sums);

/* Rounded to the format. */
ES_INLINE uint16x8_t narrow(eight v);

/* The opposite, with low bytes where there are any. */
ES_INLINE eight join(const uint16_t *high, const int8_t *low);

/* Stores v, rounded, and what that leaves of it where there is room for low bytes. */
ES_INLINE void leave(eight v, uint16_t *high, int8_t *low);

/* ---- Finishing ---------------------------------------------------------------------------- */

ES_INLINE eight load_eight(const float *p) { return (eight){vld1q_f32(p), vld1q_f32(p + 4)}; }

ES_INLINE eight sum_of(eight a, eight b) {
    return (eight){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}

ES_INLINE eight times(float scale, eight v) {
    return (eight){vmulq_n_f32(v.low, scale), vmulq_n_f32(v.high, scale)};
}

ES_INLINE float32x4_t larger(float32x4_t v, float32x4_t than) {
    return vbslq_f32(vcgtq_f32(than, v), than, v);
}

ES_INLINE eight activated(eight v, float slope) {
    eight less = times(slope, v);
    return (eight){larger(v.low, less.low), larger(v.high, less.high)};
}

/* scale * v, and what lies at `high`, with low bytes where there are any. */
ES_INLINE eight added(eight v, float scale, const uint16_t *high, const int8_t *low) {
    return sum_of(times(scale, v), join(high, low));
}

/* Channels o .. o + 7 of position p. */
ES_INLINE void finish_eight(const es_direct_finish *f, const float *sums, int p, int o) {
    const size_t at = (size_t)f->lines[p] * ES_DIRECT_LANES + (size_t)o;
    const float *from =
        sums + (o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF + o % ES_DIRECT_HALF;
    eight v = activated(sum_of(load_eight(from), load_eight(f->bias + o)), f->slope);
    if (f->near)
        v = added(v, f->near_scale, f->near + p * ES_DIRECT_LANES + o,
                  f->near_low ? f->near_low + at : NULL);
    if (f->far) v = added(v, f->far_scale, f->far + at, f->far_low ? f->far_low + at : NULL);
    leave(v, f->out + at, f->out_low ? f->out_low + at : NULL);
}

static void finish(const es_direct_finish *done, const float *done_sums) {
    for (int p = 0; p < ES_DIRECT_BLOCK; p++)
        for (int o = 0; o < ES_DIRECT_LANES; o += 8) finish_eight(done, done_sums, p, o);
}

/* ---- Products and pixels ------------------------------------------------------------------ */

static void multiply(const es_direct_product *product, float *sums, const es_direct_finish *done,
                     const float *done_sums) {
    if (done) finish(done, done_sums);
    for (int half = 0; half < product->halves; half++)
        for (int first = 0; first < product->positions; first += GROUP)
            group(product, product->weights + half * (ES_DIRECT_PANEL / 2), first,
                  sums + half * (ES_DIRECT_SUMS / 2));
}

static void gather(const float *planes, size_t plane_stride, int channels, int count,
                   uint16_t *lines) {
    for (int p = 0; p < count; p++, lines += ES_DIRECT_LANES) {
        float line[ES_DIRECT_LANES] = {0};
        for (int c = 0; c < channels; c++) line[c] = planes[(size_t)c * plane_stride + (size_t)p];
        for (int c = 0; c < ES_DIRECT_LANES; c += 8)
            vst1q_u16(lines + c, narrow(load_eight(line + c)));
    }
}

/* Weights of one input channel at one tap, for all outputs; zero where there is none. */
ES_INLINE void column(const float *weight, size_t stride, int outputs, int there, float *out) {
    for (int o = 0; o < ES_DIRECT_HALF; o++)
        out[o] = there && o < outputs ? weight[(size_t)o * stride] : 0;
}

#endif
