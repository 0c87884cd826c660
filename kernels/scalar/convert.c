/* Rounding to half precision, and samples of pictures. */
#include <math.h>
#include <string.h>

#include "kernels.h"

static inline uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

void es_round_f16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]), sign = u & 0x80000000u, magnitude = u & 0x7fffffffu;
        float r;
        if (magnitude >= 0x477ff000u) { /* 65520: rounds up to infinity; NaN stays */
            r = magnitude > 0x7f800000u ? x[i] : (float)INFINITY;
        } else if (magnitude >= 0x38800000u) { /* 2^-14: ten bits of fraction stay */
            r = float_of((magnitude + 0xfffu + (magnitude >> 13 & 1)) & ~0x1fffu);
        } else { /* multiples of 2^-24, which is the last place of floats from 0.5 on */
            r = (float_of(magnitude) + 0.5f) - 0.5f;
        }
        x[i] = float_of(bits_of(r) | sign);
    }
}

void es_round_bf16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]);
        if ((u & 0x7fffffffu) > 0x7f800000u) continue;
        x[i] = float_of((u + 0x7fffu + (u >> 16 & 1)) & 0xffff0000u);
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
