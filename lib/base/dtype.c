#include "base/dtype.h"

#include <stdbool.h>
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

/* The two below have no branches, so that loops over them become vector code, and no arithmetic on
 * denormals, which is slow. */
static inline float half_to_float(uint16_t h) {
    uint32_t m = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    /* A denormal is fraction * 2^-24: with the exponent of 2^-14 it is too large by just that. */
    uint32_t denormal = bits_of(float_of(m + 0x38800000u) - 0x1p-14f);
    /* Masks: with ?: compilers would branch. */
    uint32_t small = 0u - (m < 0x800000u), huge = 0u - (m >= 0xf800000u);
    uint32_t nan = 0u - (m > 0xf800000u);
    uint32_t u = (denormal & small) | ((m + 0x38000000u) & ~small);
    u |= (huge & 0x7f800000u) | (nan & 0x400000u); /* a signalling NaN becomes quiet */
    return float_of(sign | u);
}

float es_f16_to_f32(uint16_t h) { return half_to_float(h); }

uint16_t es_f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    /* Nearest, ties to even; a carry moves on into the exponent. */
    uint32_t h = (u + 0xfffu + (u >> 13 & 1u) - 0x38000000u) >> 13;
    /* Below 2^-14 the result is a multiple of 2^-24, which is what the last bit of 0.5 stands for:
     * adding 0.5 lets the hardware round to nearest even there. */
    uint32_t denormal = bits_of(float_of(u) + 0.5f) - 0x3f000000u;
    h = u < 0x38800000u ? denormal : h;
    h = u >= 0x477ff000u ? 0x7c00u : h; /* 65520 and above round to Inf */
    h = u > 0x7f800000u ? 0x7e00u | (u >> 13 & 0x3ffu) : h;
    return (uint16_t)(sign | h);
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

static float from_half(uint16_t h, bool brain) {
    return brain ? bfloat_to_float(h) : half_to_float(h);
}

/* Blocks of constant size are what compilers make vectors of. */
#define BLOCK 16

static size_t read_blocks(const uint8_t *p, bool brain, size_t count, float *out) {
    size_t done = 0;
    for (; done + BLOCK <= count; done += BLOCK) {
        uint16_t in[BLOCK];
        float converted[BLOCK];
        memcpy(in, p + 2 * done, sizeof in);
        if (brain) {
            for (size_t i = 0; i < BLOCK; i++) converted[i] = bfloat_to_float(in[i]);
        } else {
            for (size_t i = 0; i < BLOCK; i++) converted[i] = half_to_float(in[i]);
        }
        memcpy(out + done, converted, sizeof converted);
    }
    return done;
}

static void read_halves(const uint8_t *p, bool brain, size_t stride, size_t count, float *out) {
    size_t done = stride == 1 ? read_blocks(p, brain, count, out) : 0;
    for (; done < count; done++) {
        uint16_t half;
        memcpy(&half, p + 2 * done * stride, sizeof half);
        out[done] = from_half(half, brain);
    }
}

void es_dtype_read_f32(const void *data, es_dtype type, size_t stride, size_t count, float *out) {
    const uint8_t *p = data;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (type == ES_F32 && stride == 1) {
        if (count > 0) memcpy(out, p, count * sizeof *out);
        return;
    }
    if (type == ES_F16 || type == ES_BF16) {
        read_halves(p, type == ES_BF16, stride, count, out);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++) out[i] = (float)es_dtype_get(p, type, i * stride);
}
