/* Floats and binary16 as bits, and one into the other, in plain C. */
#ifndef ES_SCALAR_HALF_H
#define ES_SCALAR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float es_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t es_to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Binary16 by way of the float whose exponent is moved; denormals come out of a subtraction. */
static inline float es_half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    if (rest >= 0x0f800000) return es_from_bits(sign | 0x7f800000 | (rest & 0x7fffff));
    if (rest >= 0x00800000) return es_from_bits(sign | (rest + 0x38000000));
    return es_from_bits(sign |
                        es_to_bits(es_from_bits(rest + 0x38800000) - es_from_bits(0x38800000)));
}

static inline uint16_t es_float_to_half(float x) {
    uint32_t bits = es_to_bits(x), sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x1ff));
    if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) /* adding 0.5 rounds to the denormals' step */
        return (uint16_t)(sign | (es_to_bits(es_from_bits(bits) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13));
}

#endif
