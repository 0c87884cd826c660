/* The direct convolution in plain C, see direct_template.h, for both formats of operands. */
#include "direct.h"
#include "scalar/half.h"

/* ---- bfloat16 ----------------------------------------------------------------------------- */

/* As a product takes it: denormals count as zero. */
static float operand_bf16(uint16_t h) {
    return es_from_bits(((h & 0x7f80u) == 0 ? h & 0x8000u : (uint32_t)h) << 16);
}

/* To nearest, ties to even; NaN stays NaN, denormals become zero. */
static uint16_t narrow_bf16(float f) {
    uint32_t bits = es_to_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static int place_bf16(int c, int o) { return c / 2 * ES_DIRECT_LANES + o * 2 + c % 2; }

/* The float whose upper bits are `high`, and whose next eight, signed, are *low. */
static float join_bf16(uint16_t high, const int8_t *low) {
    return es_from_bits(((uint32_t)high << 16) + (low ? (uint32_t)((int32_t)*low * 256) : 0));
}

/* Rounds v and, where there is room for it, stores what that leaves of it. */
static void leave_bf16(float v, uint16_t *high, int8_t *low) {
    *high = narrow_bf16(v);
    if (!low) return;
    int32_t rest = (int32_t)(es_to_bits(v) - ((uint32_t)*high << 16) + 0x80u);
    rest = rest < 0 ? -((255 - rest) / 256) : rest / 256; /* towards minus infinity */
    *low = (int8_t)(rest < -128 ? -128 : rest > 127 ? 127 : rest);
}

#define NAME(x)        x##_bf16
#define KERNELS        es_direct_scalar
#define KERNELS_TIER   "direct_scalar"
#define KERNELS_FORMAT ES_DIRECT_BF16
#include "scalar/direct_template.h"
#undef NAME
#undef KERNELS
#undef KERNELS_TIER
#undef KERNELS_FORMAT

/* ---- binary16, which has no low bytes ----------------------------------------------------- */

static float operand_f16(uint16_t h) { return es_half_to_float(h); }

static uint16_t narrow_f16(float f) { return es_float_to_half(f); }

static int place_f16(int c, int o) { return c * ES_DIRECT_HALF + o; }

static float join_f16(uint16_t high, const int8_t *low) {
    (void)low;
    return es_half_to_float(high);
}

static void leave_f16(float v, uint16_t *high, int8_t *low) {
    (void)low;
    *high = es_float_to_half(v);
}

#define NAME(x)        x##_f16
#define KERNELS        es_direct_scalar_f16
#define KERNELS_TIER   "direct_scalar_f16"
#define KERNELS_FORMAT ES_DIRECT_F16
#include "scalar/direct_template.h"
