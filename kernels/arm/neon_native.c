/*
 * The native kernels for AArch64.  Of 32 registers 24 hold 6 tiles x 16 channels of sums, 6 four
 * channels of each tile, which products take lane by lane, and one or two the weights: 22 loads for
 * 96 products.
 *
 * Binary16 is stored and read, sums and products are single.  Products of binary16 (FEAT_FP16) would
 * take operands rounded after the transform, and even F(2, 3) with exact sums is then 1.16 times as
 * far from the truth as tests/test_golden.c allows half precision to be, F(4, 3) 3.3, F(6, 3) 3.5
 * times; single precision is within 0.8 of it.
 */
#include <arm_neon.h>
#include <stdint.h>

#define VF              float32x4_t
#define VL              4
#define vf_zero()       vdupq_n_f32(0)
#define vf_set1(x)      vdupq_n_f32(x)
#define vf_load(p)      vld1q_f32(p)
#define vf_store(p, v)  vst1q_f32(p, v)
#define vf_add(a, b)    vaddq_f32(a, b)
#define vf_sub(a, b)    vsubq_f32(a, b)
#define vf_mul(a, b)    vmulq_f32(a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_min(a, b)    vminq_f32(a, b)
#define vf_max(a, b)    vmaxq_f32(a, b)
#define VD              float64x2_t
#define vd_low(v)       vcvt_f64_f32(vget_low_f32(v))
#define vd_high(v)      vcvt_high_f64_f32(v)
#define vd_fma(a, b, c) vfmaq_f64(c, a, b)

static inline float32x4_t vf_lrelu(float32x4_t x, float32x4_t slope) {
    return vbslq_f32(vcltzq_f32(x), vmulq_f32(x, slope), x);
}

/* Conversions between binary16 and single precision are part of the base instruction set. */
#define vf_load_f16(p)     vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define vf_store_f16(p, v) vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)))
#define vf_load_bf16(p)    vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))

/* Round to nearest even; a NaN stays one. */
static inline void vf_store_bf16(uint16_t *p, float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), up, quiet), 16));
}

/* 4 x 4, turned. */
static inline void vf_turn(float32x4_t *r) {
    float32x4x2_t a = vzipq_f32(r[0], r[2]), b = vzipq_f32(r[1], r[3]);
    float32x4x2_t low = vzipq_f32(a.val[0], b.val[0]), high = vzipq_f32(a.val[1], b.val[1]);
    r[0] = low.val[0], r[1] = low.val[1], r[2] = high.val[0], r[3] = high.val[1];
}

#define HELD                              1
#define VF_FOUR                           float32x4_t
#define vf_four(p)                        vld1q_f32(p)
#define vf_one(four, c)                   (four)
#define vf_accumulate_one(sum, one, c, w) ((sum) = multiply_add_lane(sum, w, one, c))

/* The instruction wants a plain number. */
static inline __attribute__((always_inline)) float32x4_t
multiply_add_lane(float32x4_t sum, float32x4_t w, float32x4_t x, int lane) {
    switch (lane) {
    case 0: return vfmaq_laneq_f32(sum, w, x, 0);
    case 1: return vfmaq_laneq_f32(sum, w, x, 1);
    case 2: return vfmaq_laneq_f32(sum, w, x, 2);
    default: return vfmaq_laneq_f32(sum, w, x, 3);
    }
}

/* Moving loads up, before registers are given out, takes more of them than there are. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

#define FEW_PIXELS   3
#define BLOCK        6
#define PANEL        16
#define KERNELS      es_native_neon
#define KERNELS_F64  &es_native_neon_f64
#define KERNELS_NAME "neon"
#include "native_template.h"
