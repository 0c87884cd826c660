/* The native kernels for AArch64: 32 registers hold 6 tiles x 16 channels, four floats each. */
#include <arm_neon.h>
#include <stdint.h>

#define VF                       float32x4_t
#define VL                       4
#define vf_zero()                vdupq_n_f32(0)
#define vf_set1(x)               vdupq_n_f32(x)
#define vf_load(p)               vld1q_f32(p)
#define vf_store(p, v)           vst1q_f32(p, v)
#define vf_add(a, b)             vaddq_f32(a, b)
#define vf_sub(a, b)             vsubq_f32(a, b)
#define vf_mul(a, b)             vmulq_f32(a, b)
#define vf_fma(a, b, c)          vfmaq_f32(c, a, b)
#define vf_accumulate(sum, a, b) ((sum) = vfmaq_f32(sum, a, b))

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

#define BLOCK        6
#define PANEL        16
#define KERNELS      es_native_neon
#define KERNELS_NAME "neon"
#include "native_template.h"
