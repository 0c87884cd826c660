/* The native kernels in plain C, four floats at a time as far as the compiler can: for every CPU. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Binary16 by way of the float whose exponent is moved; denormals come out of a subtraction. */
static inline float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    if (rest >= 0x0f800000) return from_bits(sign | 0x7f800000 | (rest & 0x7fffff));
    if (rest >= 0x00800000) return from_bits(sign | (rest + 0x38000000));
    return from_bits(sign | to_bits(from_bits(rest + 0x38800000) - from_bits(0x38800000)));
}

static inline uint16_t float_to_half(float x) {
    uint32_t bits = to_bits(x), sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x1ff));
    if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) /* adding 0.5 rounds to the denormals' step */
        return (uint16_t)(sign | (to_bits(from_bits(bits) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13));
}

static inline VF vf_load_f16(const uint16_t *p) {
    return (VF){half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
static inline void vf_store_f16(uint16_t *p, VF v) {
    for (int i = 0; i < VL; i++) p[i] = float_to_half(v[i]);
}
static inline float bf16_to_float(uint16_t h) { return from_bits((uint32_t)h << 16); }
static inline VF vf_load_bf16(const uint16_t *p) {
    return (VF){bf16_to_float(p[0]), bf16_to_float(p[1]), bf16_to_float(p[2]), bf16_to_float(p[3])};
}
static inline void vf_store_bf16(uint16_t *p, VF v) {
    for (int i = 0; i < VL; i++) {
        uint32_t bits = to_bits(v[i]);
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
#define KERNELS_NAME "scalar"
#include "native_template.h"
