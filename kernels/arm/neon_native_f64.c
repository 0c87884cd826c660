/* Native kernels that multiply doubles, for AArch64: 32 registers hold 3 tiles x 16 channels. */
#include <arm_neon.h>

#define VF              float64x2_t
#define VL              2
#define PLACES          2
#define NUMBER          double
#define vf_zero()       vdupq_n_f64(0)
#define vf_set1(x)      vdupq_n_f64(x)
#define vf_load(p)      vcvt_f64_f32(vld1_f32(p))
#define vf_store(p, v)  vst1_f32(p, vcvt_f32_f64(v))
#define vn_load(p)      vld1q_f64((const double *)(const void *)(p))
#define vn_store(p, v)  vst1q_f64((double *)(void *)(p), v)
#define vf_add(a, b)    vaddq_f64(a, b)
#define vf_sub(a, b)    vsubq_f64(a, b)
#define vf_mul(a, b)    vmulq_f64(a, b)
#define vf_fma(a, b, c) vfmaq_f64(c, a, b)

static inline float64x2_t vf_lrelu(float64x2_t x, float64x2_t slope) {
    return vbslq_f64(vcltzq_f64(x), vmulq_f64(x, slope), x);
}

/* 2 x 2, turned. */
static inline void vf_turn(float64x2_t *r) {
    float64x2_t first = vzip1q_f64(r[0], r[1]);
    r[1] = vzip2q_f64(r[0], r[1]);
    r[0] = first;
}

#define HELD                     1
#define vf_accumulate(sum, a, b) ((sum) = vf_fma(a, b, sum))

/* Moving loads up, before registers are given out, takes more of them than there are. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

#define BLOCK        3
#define PANEL        16
#define KERNELS      es_native_neon_f64
#define KERNELS_NAME "neon"
#include "native_template.h"
