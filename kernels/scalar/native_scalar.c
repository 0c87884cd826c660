/* The native kernels in plain C, four floats at a time as far as the compiler can: for every CPU. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "scalar/half.h"

typedef float VF __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
#define VL 4

static inline VF vf_set1(float x) { return (VF){x, x, x, x}; }
static inline VF vf_zero(void) { return vf_set1(0); }
static inline VF vf_load(const float *p) {
    VF v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vf_store(float *p, VF v) { memcpy(p, &v, sizeof v); }
#define vf_add(a, b)             ((a) + (b))
#define vf_sub(a, b)             ((a) - (b))
#define vf_mul(a, b)             ((a) * (b))
#define vf_fma(a, b, c)          ((a) * (b) + (c))
#define vf_accumulate(sum, a, b) ((sum) = vf_fma(a, b, sum))

typedef double VD __attribute__((vector_size(16)));
#define vd_low(v)       ((VD){(v)[0], (v)[1]})
#define vd_high(v)      ((VD){(v)[2], (v)[3]})
#define vd_fma(a, b, c) ((a) * (b) + (c))

static inline VF vf_select(VI mask, VF a, VF b) { return (VF)((mask & (VI)a) | (~mask & (VI)b)); }
#define vf_min(a, b) vf_select((a) < (b), a, b)
#define vf_max(a, b) vf_select((a) > (b), a, b)

static inline VF vf_lrelu(VF x, VF slope) {
    VI negative = x < vf_zero(), times = (VI)(x * slope);
    return (VF)((negative & times) | (~negative & (VI)x));
}

static inline VF vf_load_f16(const uint16_t *p) {
    return (VF){es_half_to_float(p[0]), es_half_to_float(p[1]), es_half_to_float(p[2]),
                es_half_to_float(p[3])};
}
static inline void vf_store_f16(uint16_t *p, VF v) {
    for (int i = 0; i < VL; i++) p[i] = es_float_to_half(v[i]);
}
static inline float bf16_to_float(uint16_t h) { return es_from_bits((uint32_t)h << 16); }
static inline VF vf_load_bf16(const uint16_t *p) {
    return (VF){bf16_to_float(p[0]), bf16_to_float(p[1]), bf16_to_float(p[2]), bf16_to_float(p[3])};
}
static inline void vf_store_bf16(uint16_t *p, VF v) {
    for (int i = 0; i < VL; i++) {
        uint32_t bits = es_to_bits(v[i]);
        bool nan = (bits & 0x7fffffff) > 0x7f800000;
        p[i] = (uint16_t)((nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

static inline void vf_turn(VF *r) {
    VF t[VL] = {r[0], r[1], r[2], r[3]};
    for (int i = 0; i < VL; i++) r[i] = (VF){t[0][i], t[1][i], t[2][i], t[3][i]};
}

#define BLOCK        2
#define PANEL        16
#define KERNELS      es_native_scalar
#define KERNELS_F64  &es_native_scalar_f64
#define KERNELS_NAME "scalar"
#include "native_template.h"
