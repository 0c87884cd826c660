/*
 * The direct convolution with FMLAL (FEAT_FHM): products of binary16, exact, added to sums in single.
 * 24 registers hold 6 positions x 16 channels, 6 eight channels of each position, which products take
 * lane by lane, one or two the weights: 22 loads for 192 products.
 *
 * FMLA on binary16 (FEAT_FP16) does twice as many products in an instruction, but rounds every sum.
 * Simulated in the networks of tests/golden, with runs of 2, 4 or 8 such products added up in single,
 * results are up to 1.10, 1.14, 1.18 times as far from the truth as tests/test_golden.c allows half
 * precision to be; with FMLAL they are within 0.82 of it.
 */
#include "arm/direct_common.h"

/* sum[0], sum[1] += eight weights * one channel of a position; the instruction wants a plain number. */
ES_INLINE void accumulate(float32x4_t sum[2], float16x8_t w, float16x8_t x, int lane) {
#define LANE(n)                                                                                    \
    case n:                                                                                        \
        sum[0] = vfmlalq_laneq_low_f16(sum[0], w, x, n);                                           \
        sum[1] = vfmlalq_laneq_high_f16(sum[1], w, x, n);                                          \
        break
    switch (lane) {
        LANE(0);
        LANE(1);
        LANE(2);
        LANE(3);
        LANE(4);
        LANE(5);
        LANE(6);
        LANE(7);
    }
#undef LANE
}

ES_INLINE float16x8_t load(const uint16_t *p) { return vreinterpretq_f16_u16(vld1q_u16(p)); }

static void group(const es_direct_product *p, const uint16_t *w, int first, float *sums) {
    float32x4_t sum[GROUP][4];
    ES_UNROLL for (int n = 0; n < GROUP; n++) ES_UNROLL for (int o = 0; o < 4; o++) sum[n][o] =
        vdupq_n_f32(0);
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++)
            for (int j = 0; j < p->kw; j++, w += ES_DIRECT_PANEL) {
                const uint16_t *line =
                    p->rows[i] + (size_t)chunk * p->plane + (size_t)(first + j) * ES_DIRECT_LANES;
                for (int c = 0; c < ES_DIRECT_LANES; c += 8) {
                    float16x8_t x[GROUP];
                    ES_UNROLL for (int n = 0; n < GROUP; n++) x[n] =
                        load(line + n * ES_DIRECT_LANES + c);
                    ES_UNROLL for (int k = 0; k < 8; k++) {
                        const uint16_t *weights = w + (c + k) * ES_DIRECT_HALF;
                        ES_UNROLL for (int o = 0; o < 2; o++) {
                            float16x8_t eight_outputs = load(weights + 8 * o);
                            ES_UNROLL for (int n = 0; n < GROUP; n++)
                                accumulate(sum[n] + 2 * o, eight_outputs, x[n], k);
                        }
                    }
                }
            }
    ES_UNROLL for (int n = 0; n < GROUP; n++) ES_UNROLL for (int o = 0; o < 4; o++)
        vst1q_f32(sums + (first + n) * ES_DIRECT_HALF + 4 * o, sum[n][o]);
}

ES_INLINE uint16x8_t narrow(eight v) {
    return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(v.low), v.high));
}

ES_INLINE eight join(const uint16_t *high, const int8_t *low) {
    (void)low;
    float16x8_t h = load(high);
    return (eight){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}

ES_INLINE void leave(eight v, uint16_t *high, int8_t *low) {
    (void)low;
    vst1q_u16(high, narrow(v));
}

static void pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                 uint16_t *packed) {
    for (int c = 0; c < ES_DIRECT_LANES; c++, packed += ES_DIRECT_HALF)
        for (int t = 0; t < taps; t++) {
            float each[ES_DIRECT_HALF];
            column(weight + c * taps + t, stride, outputs, c < channels, each);
            vst1q_u16(packed + t * ES_DIRECT_PANEL, narrow(load_eight(each)));
            vst1q_u16(packed + t * ES_DIRECT_PANEL + 8, narrow(load_eight(each + 8)));
        }
}

const es_direct_kernels es_direct_neonfp16 = {.tier = "neonfp16",
                                              .format = ES_DIRECT_F16,
                                              .begin = es_direct_nothing,
                                              .end = es_direct_nothing,
                                              .multiply = multiply,
                                              .finish = finish,
                                              .gather = gather,
                                              .pack = pack};
