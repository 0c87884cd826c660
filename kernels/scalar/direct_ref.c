/* The direct convolution in plain C: sums in double, so that it is an oracle for the others. */
#include <string.h>

#include "direct.h"

/* As a product takes it: denormals count as zero. */
static float operand(uint16_t h) {
    uint32_t bits = ((h & 0x7f80u) == 0 ? h & 0x8000u : (uint32_t)h) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; NaN stays NaN, denormals become zero. */
static uint16_t narrow(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static double product_of(const es_direct_product *p, int position, int o) {
    const uint16_t *weights =
        p->weights + o / ES_DIRECT_HALF * (ES_DIRECT_PANEL / 2) + o % ES_DIRECT_HALF * 2;
    double sum = 0;
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++)
            for (int j = 0; j < p->kw; j++, weights += ES_DIRECT_PANEL) {
                const uint16_t *line = p->rows[i] + (size_t)chunk * p->plane +
                                       (size_t)(position + j) * ES_DIRECT_LANES;
                for (int c = 0; c < ES_DIRECT_LANES; c++)
                    sum += (double)operand(line[c]) *
                           operand(weights[c / 2 * ES_DIRECT_LANES + c % 2]);
            }
    return sum;
}

/* The float whose upper bits are `high`, and whose next eight, signed, are *low. */
static float join(uint16_t high, const int8_t *low) {
    uint32_t bits = ((uint32_t)high << 16) + (low ? (uint32_t)((int32_t)*low * 256) : 0);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* What `high`, to which v was rounded, leaves of it. */
static int8_t low_of(float v, uint16_t high) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    int32_t rest = (int32_t)(bits - ((uint32_t)high << 16) + 0x80u);
    rest = rest < 0 ? -((255 - rest) / 256) : rest / 256; /* towards minus infinity */
    return (int8_t)(rest < -128 ? -128 : rest > 127 ? 127 : rest);
}

static void finish(const es_direct_finish *f, const float *sums) {
    for (int p = 0; p < ES_DIRECT_BLOCK; p++) {
        size_t line = (size_t)f->lines[p] * ES_DIRECT_LANES;
        for (int o = 0; o < ES_DIRECT_LANES; o++) {
            size_t at = line + (size_t)o;
            float v = sums[(o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF +
                           o % ES_DIRECT_HALF] +
                      f->bias[o];
            if (f->slope * v > v) v = f->slope * v;
            if (f->near)
                v = f->near_scale * v +
                    join(f->near[p * ES_DIRECT_LANES + o], f->near_low ? f->near_low + at : NULL);
            if (f->far)
                v = f->far_scale * v + join(f->far[at], f->far_low ? f->far_low + at : NULL);
            f->out[at] = narrow(v);
            if (f->out_low) f->out_low[at] = low_of(v, f->out[at]);
        }
    }
}

static void multiply(const es_direct_product *product, float *sums, const es_direct_finish *done,
                     const float *done_sums) {
    if (done) finish(done, done_sums);
    for (int o = 0; o < product->halves * ES_DIRECT_HALF; o++)
        for (int p = 0; p < ES_DIRECT_BLOCK; p++)
            sums[(o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF + o % ES_DIRECT_HALF] =
                (float)product_of(product, p, o);
}

static void gather(const float *planes, size_t plane_stride, int channels, int count,
                   uint16_t *lines) {
    for (int p = 0; p < count; p++)
        for (int c = 0; c < ES_DIRECT_LANES; c++)
            lines[p * ES_DIRECT_LANES + c] =
                c < channels ? narrow(planes[(size_t)c * plane_stride + (size_t)p]) : 0;
}

static void pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                 uint16_t *packed) {
    for (int t = 0; t < taps; t++, packed += ES_DIRECT_PANEL)
        for (int c = 0; c < ES_DIRECT_LANES; c++)
            for (int o = 0; o < ES_DIRECT_HALF; o++)
                packed[c / 2 * ES_DIRECT_LANES + o * 2 + c % 2] =
                    o < outputs && c < channels
                        ? narrow(weight[(size_t)o * stride + (size_t)(c * taps + t)])
                        : 0;
}

const es_direct_kernels es_direct_scalar = {.tier = "direct_scalar",
                                            .begin = es_direct_nothing,
                                            .end = es_direct_nothing,
                                            .multiply = multiply,
                                            .finish = finish,
                                            .gather = gather,
                                            .pack = pack};
