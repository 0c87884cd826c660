/* Rounding to half precision, and samples of pictures. */
#include <math.h>

#include "kernels.h"
#include "scalar/half.h"

void es_round_f16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = es_to_bits(x[i]), sign = u & 0x80000000u, magnitude = u & 0x7fffffffu;
        float r;
        if (magnitude >= 0x477ff000u) { /* 65520: rounds up to infinity; NaN stays */
            r = magnitude > 0x7f800000u ? x[i] : (float)INFINITY;
        } else if (magnitude >= 0x38800000u) { /* 2^-14: ten bits of fraction stay */
            r = es_from_bits((magnitude + 0xfffu + (magnitude >> 13 & 1)) & ~0x1fffu);
        } else { /* multiples of 2^-24, which is the last place of floats from 0.5 on */
            r = (es_from_bits(magnitude) + 0.5f) - 0.5f;
        }
        x[i] = es_from_bits(es_to_bits(r) | sign);
    }
}

void es_round_bf16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = es_to_bits(x[i]);
        if ((u & 0x7fffffffu) > 0x7f800000u) continue;
        x[i] = es_from_bits((u + 0x7fffu + (u >> 16 & 1)) & 0xffff0000u);
    }
}

void es_unpack_u8(float *out, const uint8_t *in, size_t n, size_t step) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i * step] / 255.0f;
}

void es_unpack_u16(float *out, const uint16_t *in, size_t n, size_t step) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i * step] / 65535.0f;
}

/* To nearest even, for 0 <= x <= 65535: floats of this size have no bits after the point. */
static inline int nearest_integer(float x) {
    const float big = 12582912.0f; /* 1.5 * 2^23 */
    return (int)((x + big) - big);
}

static inline float clamp(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

void es_pack_u8(uint8_t *out, const float *in, size_t n, size_t step) {
    for (size_t i = 0; i < n; i++) out[i * step] = (uint8_t)nearest_integer(clamp(in[i]) * 255.0f);
}

void es_pack_u16(uint16_t *out, const float *in, size_t n, size_t step) {
    for (size_t i = 0; i < n; i++)
        out[i * step] = (uint16_t)nearest_integer(clamp(in[i]) * 65535.0f);
}
