#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [ES_F32] = {"float32", 4}, [ES_F16] = {"float16", 2}, [ES_BF16] = {"bfloat16", 2},
    [ES_F64] = {"float64", 8}, [ES_I64] = {"int64", 8},   [ES_I32] = {"int32", 4},
    [ES_I16] = {"int16", 2},   [ES_I8] = {"int8", 1},     [ES_U8] = {"uint8", 1},
    [ES_BOOL] = {"bool", 1},
};

size_t es_dtype_size(es_dtype type) { return types[type].size; }

const char *es_dtype_name(es_dtype type) { return types[type].name; }

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Without branches, so that loops over it become vector code: the multiplication moves the exponent
 * to its place and makes denormals of binary16 normal, both exactly. */
static inline float half_to_float(uint16_t h) {
    uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t u = bits_of(float_of(magnitude << 13) * 0x1p112f);
    u |= magnitude >= 0x7c00u ? 0x7f800000u : 0; /* Inf, NaN */
    u |= magnitude > 0x7c00u ? 0x400000u : 0;    /* a signalling NaN becomes quiet */
    return float_of(sign | u);
}

float es_f16_to_f32(uint16_t h) { return half_to_float(h); }

uint16_t es_f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (u >> 13 & 0x3ffu));
    if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to Inf */
    if (u < 0x38800000u) {
        /* Below 2^-14 the result is a multiple of 2^-24, which is what the last bit of 0.5 stands
         * for: adding 0.5 lets the hardware round to nearest even there. */
        return (uint16_t)(sign | (bits_of(float_of(u) + 0.5f) - 0x3f000000u));
    }
    u += 0xfffu + (u >> 13 & 1u); /* nearest, ties to even; a carry moves on into the exponent */
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

static inline float bfloat_to_float(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    u |= (u & 0x7fffffffu) > 0x7f800000u ? 0x400000u : 0;
    return float_of(u);
}

float es_bf16_to_f32(uint16_t h) { return bfloat_to_float(h); }

uint16_t es_f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static uint64_t little_endian(const uint8_t *p, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) value |= (uint64_t)p[i] << 8 * i;
    return value;
}

double es_dtype_get(const void *data, es_dtype type, size_t index) {
    size_t size = es_dtype_size(type);
    uint64_t bits = little_endian((const uint8_t *)data + index * size, size);
    double d;
    switch (type) {
    case ES_F32: return (double)float_of((uint32_t)bits);
    case ES_F16: return (double)es_f16_to_f32((uint16_t)bits);
    case ES_BF16: return (double)es_bf16_to_f32((uint16_t)bits);
    case ES_F64: memcpy(&d, &bits, sizeof d); return d;
    case ES_I64: return (double)(int64_t)bits;
    case ES_I32: return (double)(int32_t)(uint32_t)bits;
    case ES_I16: return (double)(int16_t)(uint16_t)bits;
    case ES_I8: return (double)(int8_t)(uint8_t)bits;
    case ES_U8: return (double)(uint8_t)bits;
    case ES_BOOL: return bits != 0 ? 1.0 : 0.0;
    }
    return 0.0;
}

void es_dtype_read_f32(const void *data, es_dtype type, size_t stride, size_t count, float *out) {
    const uint8_t *p = data;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint16_t half;
    switch (type) { /* the types that weights have: fast */
    case ES_F32:
        if (stride == 1) {
            memcpy(out, p, count * sizeof *out);
            return;
        }
        for (size_t i = 0; i < count; i++) memcpy(&out[i], p + 4 * i * stride, sizeof *out);
        return;
    case ES_F16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, p + 2 * i * stride, sizeof half);
            out[i] = half_to_float(half);
        }
        return;
    case ES_BF16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, p + 2 * i * stride, sizeof half);
            out[i] = bfloat_to_float(half);
        }
        return;
    default: break;
    }
#endif
    for (size_t i = 0; i < count; i++) out[i] = (float)es_dtype_get(p, type, i * stride);
}
