/*
 * The direct convolution with BFMMLA: 2 positions x 2 channels of sums in a register, four products
 * to each in an instruction.  24 registers hold 6 positions x 16 channels.
 */
#include <stdbool.h>

#include "arm/direct_common.h"

#define VF              float32x4_t
#define vf_set1(x)      vdupq_n_f32(x)
#define vf_add(a, b)    vaddq_f32(a, b)
#define vf_sub(a, b)    vsubq_f32(a, b)
#define vf_mul(a, b)    vmulq_f32(a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#include "native_winograd.h"

#define PAIRS (ES_DIRECT_HALF / 2)

/* Four channels of two positions that follow one another. */
ES_INLINE bfloat16x8_t positions(const uint16_t *line) {
    return vreinterpretq_bf16_u16(vcombine_u16(vld1_u16(line), vld1_u16(line + ES_DIRECT_LANES)));
}

/* Four channels of outputs 4 o .. 4 o + 3: w holds pairs of channels, output by output. */
typedef struct columns {
    bfloat16x8_t low, high;
} columns;

ES_INLINE columns outputs(const uint16_t *w) {
    uint32x4_t first = vreinterpretq_u32_u16(vld1q_u16(w));
    uint32x4_t second = vreinterpretq_u32_u16(vld1q_u16(w + ES_DIRECT_LANES));
    return (columns){vreinterpretq_bf16_u32(vzip1q_u32(first, second)),
                     vreinterpretq_bf16_u32(vzip2q_u32(first, second))};
}

ES_INLINE void store(float32x4_t (*sum)[PAIRS], float *sums) {
    ES_UNROLL for (int p = 0; p < GROUP / 2; p++, sums += 2 * ES_DIRECT_HALF)
        ES_UNROLL for (int o = 0; o < PAIRS; o += 2) {
        float64x2_t low = vreinterpretq_f64_f32(sum[p][o]);
        float64x2_t high = vreinterpretq_f64_f32(sum[p][o + 1]);
        vst1q_f32(sums + 2 * o, vreinterpretq_f32_f64(vzip1q_f64(low, high)));
        vst1q_f32(sums + ES_DIRECT_HALF + 2 * o, vreinterpretq_f32_f64(vzip2q_f64(low, high)));
    }
}

static void group(const es_direct_product *p, const uint16_t *w, int first, float *sums) {
    float32x4_t sum[GROUP / 2][PAIRS];
    ES_UNROLL for (int i = 0; i < GROUP / 2; i++) ES_UNROLL for (int o = 0; o < PAIRS; o++)
        sum[i][o] = vdupq_n_f32(0);
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++)
            for (int j = 0; j < p->kw; j++, w += ES_DIRECT_PANEL) {
                const uint16_t *line =
                    p->rows[i] + (size_t)chunk * p->plane + (size_t)(first + j) * ES_DIRECT_LANES;
                for (int c = 0; c < ES_DIRECT_LANES; c += 4) {
                    bfloat16x8_t x[GROUP / 2];
                    ES_UNROLL for (int n = 0; n < GROUP / 2; n++) x[n] =
                        positions(line + 2 * n * ES_DIRECT_LANES + c);
                    ES_UNROLL for (int o = 0; o < PAIRS; o += 2) {
                        columns y = outputs(w + c * ES_DIRECT_HALF + o * 4);
                        ES_UNROLL for (int n = 0; n < GROUP / 2; n++) {
                            sum[n][o] = vbfmmlaq_f32(sum[n][o], x[n], y.low);
                            sum[n][o + 1] = vbfmmlaq_f32(sum[n][o + 1], x[n], y.high);
                        }
                    }
                }
            }
    store(sum, sums + first * ES_DIRECT_HALF);
}

/* Denormals become zero. */
ES_INLINE float32x4_t flushed(float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t normal = vtstq_u32(bits, vdupq_n_u32(0x7f800000));
    return vbslq_f32(normal, v, vreinterpretq_f32_u32(vandq_u32(bits, vdupq_n_u32(0x80000000))));
}

ES_INLINE uint16x8_t narrow(eight v) {
    return vreinterpretq_u16_bf16(
        vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(flushed(v.low)), flushed(v.high)));
}

/* Four floats from their upper halves and the signed bytes after those. */
ES_INLINE float32x4_t join_four(uint16x4_t high, int16x4_t low) {
    uint32x4_t rest = vreinterpretq_u32_s32(vshll_n_s16(low, 8));
    return vreinterpretq_f32_u32(vaddq_u32(vshll_n_u16(high, 16), rest));
}

ES_INLINE eight join(const uint16_t *high, const int8_t *low) {
    uint16x8_t h = vld1q_u16(high);
    int16x8_t l = low ? vmovl_s8(vld1_s8(low)) : vdupq_n_s16(0);
    return (eight){join_four(vget_low_u16(h), vget_low_s16(l)),
                   join_four(vget_high_u16(h), vget_high_s16(l))};
}

/* What rounding to `high` left of v, in steps of a byte. */
ES_INLINE int16x4_t left_over(float32x4_t v, uint16x4_t high) {
    uint32x4_t rest = vsubq_u32(vreinterpretq_u32_f32(v), vshll_n_u16(high, 16));
    rest = vaddq_u32(rest, vdupq_n_u32(0x80));
    return vqmovn_s32(vshrq_n_s32(vreinterpretq_s32_u32(rest), 8));
}

ES_INLINE void leave(eight v, uint16_t *high, int8_t *low) {
    uint16x8_t h = narrow(v);
    vst1q_u16(high, h);
    if (low)
        vst1_s8(low, vqmovn_s16(vcombine_s16(left_over(v.low, vget_low_u16(h)),
                                             left_over(v.high, vget_high_u16(h)))));
}

static void pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                 uint16_t *packed) {
    for (int c = 0; c < ES_DIRECT_LANES; c += 2, packed += ES_DIRECT_LANES)
        for (int t = 0; t < taps; t++) {
            float even[ES_DIRECT_HALF], odd[ES_DIRECT_HALF];
            const float *at = weight + c * taps + t;
            column(at, stride, outputs, c < channels, even);
            column(at + taps, stride, outputs, c + 1 < channels, odd);
            for (int o = 0; o < ES_DIRECT_HALF; o += 8) {
                uint16x8x2_t both = {{narrow(load_eight(even + o)), narrow(load_eight(odd + o))}};
                vst2q_u16(packed + t * ES_DIRECT_PANEL + o * 2, both);
            }
        }
}

/* ---- F(4,3) along rows -------------------------------------------------------------------- */

static void expand(const uint16_t *lines, int tiles, uint16_t *points, size_t point_stride) {
    for (int t = 0; t < tiles; t++, lines += (ES_DIRECT_TILE - 1) * ES_DIRECT_LANES)
        for (int c = 0; c < ES_DIRECT_LANES; c += 8, lines += 8, points += 8) {
            float32x4_t d[2][ES_DIRECT_TILE + 2], v[2][ES_DIRECT_POINTS];
            ES_UNROLL for (int i = 0; i < ES_DIRECT_TILE + 2; i++) {
                eight pixel = join(lines + i * ES_DIRECT_LANES, NULL);
                d[0][i] = pixel.low;
                d[1][i] = pixel.high;
            }
            winograd_in4(d[0], v[0]);
            winograd_in4(d[1], v[1]);
            ES_UNROLL for (int p = 0; p < ES_DIRECT_POINTS; p++)
                vst1q_u16(points + (size_t)p * point_stride, narrow((eight){v[0][p], v[1][p]}));
        }
}

/* Channels o .. o + 7 of a tile: the first `pixels` of its pixels, from number x of the row on. */
ES_INLINE void finish_tile(const es_direct_row *r, const float *sums, size_t point_stride, int o,
                           int x, int pixels) {
    const eight bias = load_eight(r->bias + o);
    float32x4_t m[2][ES_DIRECT_POINTS], out[2][ES_DIRECT_TILE];
    ES_UNROLL for (int p = 0; p < ES_DIRECT_POINTS; p++) {
        eight sum = load_eight(sums + (size_t)p * point_stride);
        m[0][p] = sum.low;
        m[1][p] = sum.high;
    }
    winograd_out4(m[0], out[0]);
    winograd_out4(m[1], out[1]);
    for (int i = 0; i < ES_DIRECT_TILE && i < pixels; i++) {
        const size_t at = (size_t)((x + i) * ES_DIRECT_LANES + o);
        eight v = activated(sum_of((eight){out[0][i], out[1][i]}, bias), r->slope);
        if (r->near)
            v = added(v, r->near_scale, r->near + at, r->near_low ? r->near_low + at : NULL);
        if (r->far) v = added(v, r->far_scale, r->far + at, r->far_low ? r->far_low + at : NULL);
        leave(v, r->out + at, r->out_low ? r->out_low + at : NULL);
    }
}

static void finish_row(const es_direct_row *row, const float *sums, size_t point_stride) {
    for (int x = 0; x < row->pixels; x += ES_DIRECT_TILE, sums += ES_DIRECT_HALF)
        for (int o = 0; o < ES_DIRECT_LANES; o += 8)
            finish_tile(row, sums + o / ES_DIRECT_HALF * (ES_DIRECT_SUMS / 2) + o % ES_DIRECT_HALF,
                        point_stride, o, x, row->pixels - x);
}

/* The points of three weights side by side, each for all outputs. */
ES_INLINE void points_of(const float *at, size_t stride, int outputs, int there,
                         float (*points)[ES_DIRECT_HALF]) {
    float g[3][ES_DIRECT_HALF];
    for (int j = 0; j < 3; j++) column(at + (there ? j : 0), stride, outputs, there, g[j]);
    for (int o = 0; o < ES_DIRECT_HALF; o += 4) {
        const float32x4_t in[3] = {vld1q_f32(g[0] + o), vld1q_f32(g[1] + o), vld1q_f32(g[2] + o)};
        float32x4_t out[ES_DIRECT_POINTS];
        winograd_weights4(in, out);
        for (int p = 0; p < ES_DIRECT_POINTS; p++) vst1q_f32(points[p] + o, out[p]);
    }
}

static void pack_points(const float *weight, size_t stride, int outputs, int channels,
                        uint16_t *packed, size_t point_stride) {
    for (int c = 0; c < ES_DIRECT_LANES; c += 2, packed += ES_DIRECT_LANES)
        for (int i = 0; i < 3; i++) {
            float even[ES_DIRECT_POINTS][ES_DIRECT_HALF], odd[ES_DIRECT_POINTS][ES_DIRECT_HALF];
            const bool first = c < channels, second = c + 1 < channels;
            points_of(weight + (first ? c * 9 + i * 3 : 0), stride, outputs, first, even);
            points_of(weight + (second ? c * 9 + 9 + i * 3 : 0), stride, outputs, second, odd);
            for (int p = 0; p < ES_DIRECT_POINTS; p++)
                for (int o = 0; o < ES_DIRECT_HALF; o += 8) {
                    uint16x8x2_t both = {
                        {narrow(load_eight(even[p] + o)), narrow(load_eight(odd[p] + o))}};
                    vst2q_u16(packed + (size_t)p * point_stride + i * ES_DIRECT_PANEL + o * 2,
                              both);
                }
        }
}

static const es_direct_tiles tiles = {.expand = expand, .finish = finish_row, .pack = pack_points};

const es_direct_kernels es_direct_neonbf16 = {.tier = "neonbf16",
                                              .format = ES_DIRECT_BF16,
                                              .begin = es_direct_nothing,
                                              .end = es_direct_nothing,
                                              .multiply = multiply,
                                              .finish = finish,
                                              .gather = gather,
                                              .pack = pack,
                                              .tiles = &tiles};
