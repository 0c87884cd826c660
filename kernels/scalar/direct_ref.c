/* The direct convolution in plain C, see direct_template.h, for both formats of operands. */
#include <math.h>
#include <stdbool.h>

#include "direct.h"
#include "scalar/half.h"

/* ---- bfloat16 ----------------------------------------------------------------------------- */

/* As a product takes it: denormals count as zero. */
static float operand_bf16(uint16_t h) {
    return es_from_bits(((h & 0x7f80u) == 0 ? h & 0x8000u : (uint32_t)h) << 16);
}

/* To nearest, ties to even; NaN stays NaN, denormals become zero. */
static uint16_t narrow_bf16(float f) {
    uint32_t bits = es_to_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static int place_bf16(int c, int o) { return c / 2 * ES_DIRECT_LANES + o * 2 + c % 2; }

/* The float whose upper bits are `high`, and whose next eight, signed, are *low. */
static float join_bf16(uint16_t high, const int8_t *low) {
    return es_from_bits(((uint32_t)high << 16) + (low ? (uint32_t)((int32_t)*low * 256) : 0));
}

/* Rounds v and, where there is room for it, stores what that leaves of it. */
static void leave_bf16(float v, uint16_t *high, int8_t *low) {
    *high = narrow_bf16(v);
    if (!low) return;
    int32_t rest = (int32_t)(es_to_bits(v) - ((uint32_t)*high << 16) + 0x80u);
    rest = rest < 0 ? -((255 - rest) / 256) : rest / 256; /* towards minus infinity */
    *low = (int8_t)(rest < -128 ? -128 : rest > 127 ? 127 : rest);
}

/* ---- F(4,3) along rows -------------------------------------------------------------------- */

#define VF              float
#define vf_set1(x)      (x)
#define vf_add(a, b)    ((a) + (b))
#define vf_sub(a, b)    ((a) - (b))
#define vf_mul(a, b)    ((a) * (b))
#define vf_fma(a, b, c) fmaf(a, b, c)
#include "native_winograd.h"

static void expand_bf16(const uint16_t *lines, int tiles, uint16_t *points, size_t point_stride) {
    for (int t = 0; t < tiles; t++, lines += ES_DIRECT_TILE * ES_DIRECT_LANES)
        for (int c = 0; c < ES_DIRECT_LANES; c++) {
            float d[ES_DIRECT_TILE + 2], v[ES_DIRECT_POINTS];
            for (int i = 0; i < ES_DIRECT_TILE + 2; i++)
                d[i] = join_bf16(lines[i * ES_DIRECT_LANES + c], NULL);
            winograd_in4(d, v);
            for (int p = 0; p < ES_DIRECT_POINTS; p++)
                points[(size_t)p * point_stride + (size_t)(t * ES_DIRECT_LANES + c)] =
                    narrow_bf16(v[p]);
        }
}

/* v is channel `at % ES_DIRECT_LANES` of a pixel, not yet activated. */
static void leave_row(const es_direct_row *r, size_t at, float v) {
    if (r->slope * v > v) v = r->slope * v;
    if (r->near)
        v = r->near_scale * v + join_bf16(r->near[at], r->near_low ? r->near_low + at : NULL);
    if (r->far) v = r->far_scale * v + join_bf16(r->far[at], r->far_low ? r->far_low + at : NULL);
    leave_bf16(v, r->out + at, r->out_low ? r->out_low + at : NULL);
}

static void finish_row(const es_direct_row *r, const float *sums, size_t point_stride) {
    for (int x = 0; x < r->pixels; x += ES_DIRECT_TILE, sums += ES_DIRECT_HALF)
        for (int o = 0; o < ES_DIRECT_LANES; o++) {
            const float *from =
                sums + o / ES_DIRECT_HALF * (ES_DIRECT_SUMS / 2) + o % ES_DIRECT_HALF;
            float m[ES_DIRECT_POINTS], out[ES_DIRECT_TILE];
            for (int p = 0; p < ES_DIRECT_POINTS; p++) m[p] = from[(size_t)p * point_stride];
            winograd_out4(m, out);
            for (int i = 0; i < ES_DIRECT_TILE && x + i < r->pixels; i++)
                leave_row(r, (size_t)((x + i) * ES_DIRECT_LANES + o), out[i] + r->bias[o]);
        }
}

static void pack_points(const float *weight, size_t stride, int outputs, int channels,
                        uint16_t *packed, size_t point_stride) {
    for (int c = 0; c < ES_DIRECT_LANES; c++)
        for (int o = 0; o < ES_DIRECT_HALF; o++)
            for (int i = 0; i < 3; i++) {
                static const float none[3];
                const bool there = o < outputs && c < channels;
                float points[ES_DIRECT_POINTS];
                winograd_weights4(
                    there ? weight + (size_t)o * stride + (size_t)(c * 9 + i * 3) : none, points);
                for (int p = 0; p < ES_DIRECT_POINTS; p++)
                    packed[(size_t)p * point_stride + (size_t)(i * ES_DIRECT_PANEL) +
                           (size_t)place_bf16(c, o)] = narrow_bf16(points[p]);
            }
}

static const es_direct_tiles tiles_bf16 = {
    .expand = expand_bf16, .finish = finish_row, .pack = pack_points};

#define NAME(x)        x##_bf16
#define KERNELS        es_direct_scalar
#define KERNELS_TILES  &tiles_bf16
#define KERNELS_TIER   "direct_scalar"
#define KERNELS_FORMAT ES_DIRECT_BF16
#include "scalar/direct_template.h"
#undef NAME
#undef KERNELS
#undef KERNELS_TIER
#undef KERNELS_FORMAT
#undef KERNELS_TILES

/* ---- binary16, which has no low bytes ----------------------------------------------------- */

static float operand_f16(uint16_t h) { return es_half_to_float(h); }

static uint16_t narrow_f16(float f) { return es_float_to_half(f); }

static int place_f16(int c, int o) { return c * ES_DIRECT_HALF + o; }

static float join_f16(uint16_t high, const int8_t *low) {
    (void)low;
    return es_half_to_float(high);
}

static void leave_f16(float v, uint16_t *high, int8_t *low) {
    (void)low;
    *high = es_float_to_half(v);
}

#define NAME(x)        x##_f16
#define KERNELS        es_direct_scalar_f16
#define KERNELS_TILES  NULL
#define KERNELS_TIER   "direct_scalar_f16"
#define KERNELS_FORMAT ES_DIRECT_F16
#include "scalar/direct_template.h"
