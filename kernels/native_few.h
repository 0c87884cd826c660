/*
 * A convolution to few channels, part of native_template.h, whose macros it uses: plain sums.  Winograd's
 * transforms of many channels in would take longer than the products for a few channels out.
 *
 * Lanes are channels in.  Each tap is summed up apart; then the lanes of VL sums are added up at once,
 * turned, in double, always in the same order.
 */
#ifndef ES_KERNELS_NATIVE_FEW_H
#define ES_KERNELS_NATIVE_FEW_H

#include <string.h>

/* Pixels side by side whose sums are in registers. */
#ifndef FEW_PIXELS
#define FEW_PIXELS 2
#endif

enum { FEW_SUMS = ES_NATIVE_FEW_TILE * ES_NATIVE_FEW_TILE * ES_NATIVE_FEW + VL };

/* `count` pixels from `rows` on to sums[pixel][out]; those of the tile to the right are asked for. */
ES_INLINE void few_pixels(es_native_format format, int outs, int count, const char *const *rows,
                          ptrdiff_t step, int channels, const float *w, VF *sums) {
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    VF total[FEW_PIXELS][ES_NATIVE_FEW];
    ES_UNROLL for (int tap = 0; tap < 9; tap++, w += channels) {
        const char *row = rows[tap / 3] + tap % 3 * step;
        VF sum[FEW_PIXELS][ES_NATIVE_FEW];
        ES_UNROLL for (int p = 0; p < count; p++) ES_UNROLL for (int o = 0; o < outs; o++)
            sum[p][o] = vf_zero();
        for (int c = 0; c < channels; c += VL) {
            VF k[ES_NATIVE_FEW];
            ES_UNROLL for (int o = 0; o < outs; o++) k[o] = vf_load(w + o * 9 * channels + c);
            ES_UNROLL for (int p = 0; p < count; p++) {
                const char *pixel = row + p * step + c * size;
                const VF x = load(format, pixel);
                if (tap == 8) ES_NEAR(pixel + ES_NATIVE_FEW_TILE * step);
                ES_UNROLL for (int o = 0; o < outs; o++) sum[p][o] = vf_fma(x, k[o], sum[p][o]);
            }
        }
        ES_UNROLL for (int p = 0; p < count; p++) ES_UNROLL for (int o = 0; o < outs; o++)
            total[p][o] = tap == 0 ? sum[p][o] : vf_add(total[p][o], sum[p][o]);
    }
    ES_UNROLL for (int p = 0; p < count; p++) ES_UNROLL for (int o = 0; o < outs; o++)
        sums[p * outs + o] = total[p][o];
}

/* The lanes of VL sums added up, in double. */
ES_INLINE void few_lanes(const VF *sums, double *totals) {
    VF r[VL];
    ES_UNROLL for (int i = 0; i < VL; i++) r[i] = sums[i];
    vf_turn(r);
    VD low = vd_low(r[0]), high = vd_high(r[0]);
    ES_UNROLL for (int i = 1; i < VL; i++) {
        low += vd_low(r[i]);
        high += vd_high(r[i]);
    }
    memcpy(totals, &low, sizeof low);
    memcpy(totals + VL / 2, &high, sizeof high);
}

ES_INLINE void few(es_native_format format, int outs, const void *const *rows, ptrdiff_t step,
                   int channels, const float *w, const es_native_store *s) {
    VF sums[FEW_SUMS];
    double totals[FEW_SUMS];
    const int count = s->height * s->width * outs;
    VF *at = sums;
    for (int y = 0; y < s->height; y++) {
        const char *row[3] = {rows[y], rows[y + 1], rows[y + 2]};
        for (int x = 0, some; x < s->width; x += some, at += some * outs) {
            some = s->width - x < FEW_PIXELS ? 1 : FEW_PIXELS;
            if (some == 1)
                few_pixels(format, outs, 1, row, step, channels, w, at);
            else
                few_pixels(format, outs, FEW_PIXELS, row, step, channels, w, at);
            for (int i = 0; i < 3; i++) row[i] += some * step;
        }
    }
    for (int i = 0; i < VL; i++) at[i] = vf_zero();
    for (int i = 0; i < count; i += VL) few_lanes(sums + i, totals + i);
    const double *total = totals;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++, total += outs) {
            float *out = (float *)(void *)((char *)s->row[y] + x * s->step);
            for (int c = 0; c < ES_NATIVE_LANES; c += VL) vf_store(out + c, vf_zero());
            for (int o = 0; o < outs; o++) out[o] = (float)(total[o] + (double)s->bias[o]);
        }
}

#endif
