/*
 * What the tiers with AVX512_BF16 share: finishing sums, and bringing pixels and weights into
 * their form.  Included by files compiled for those instructions.
 */
#ifndef ES_X86_DIRECT_FINISH_H
#define ES_X86_DIRECT_FINISH_H

#include <immintrin.h>
#include <string.h>

#include "direct.h"

#define ES_INLINE static inline __attribute__((always_inline))

ES_INLINE __m512i es_shift_up(__m256i h) { return _mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16); }

/* Sixteen floats from their upper halves and, where there are any, the signed bytes after those. */
ES_INLINE __m512 es_join(const uint16_t *high, const int8_t *low) {
    __m512i bits = es_shift_up(_mm256_loadu_si256((const __m256i *)high));
    if (low) {
        __m512i rest = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)low));
        bits = _mm512_add_epi32(bits, _mm512_slli_epi32(rest, 8));
    }
    return _mm512_castsi512_ps(bits);
}

/* What rounding to `high` left of v. */
ES_INLINE void es_store_low(int8_t *low, __m512 v, __m256i high) {
    __m512i rest = _mm512_sub_epi32(_mm512_castps_si512(v), es_shift_up(high));
    rest = _mm512_srai_epi32(_mm512_add_epi32(rest, _mm512_set1_epi32(0x80)), 8);
    _mm_storeu_si128((__m128i *)low, _mm512_cvtsepi32_epi8(rest));
}

/* `at`: the half of the position's line, in elements. */
ES_INLINE __m512 es_finish_half(const es_direct_finish *f, const float *sums, int half, int p,
                                size_t at) {
    int o = half * ES_DIRECT_HALF;
    __m512 v = _mm512_add_ps(_mm512_load_ps(sums + (half * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF),
                             _mm512_loadu_ps(f->bias + o));
    v = _mm512_max_ps(v, _mm512_mul_ps(_mm512_set1_ps(f->slope), v));
    if (f->near)
        v = _mm512_add_ps(
            _mm512_mul_ps(_mm512_set1_ps(f->near_scale), v),
            es_join(f->near + p * ES_DIRECT_LANES + o, f->near_low ? f->near_low + at : NULL));
    if (f->far)
        v = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(f->far_scale), v),
                          es_join(f->far + at, f->far_low ? f->far_low + at : NULL));
    return v;
}

/* Positions from .. to-1 of a block. */
ES_INLINE void es_finish_positions(const es_direct_finish *f, const float *sums, int from, int to) {
    for (int p = from; p < to; p++) {
        size_t at = (size_t)f->lines[p] * ES_DIRECT_LANES;
        __m512 low = es_finish_half(f, sums, 0, p, at);
        __m512 high = es_finish_half(f, sums, 1, p, at + ES_DIRECT_HALF);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512((void *)(f->out + at), both);
        if (f->out_low) {
            es_store_low(f->out_low + at, low, _mm512_castsi512_si256(both));
            es_store_low(f->out_low + at + ES_DIRECT_HALF, high,
                         _mm512_extracti64x4_epi64(both, 1));
        }
    }
}

/* The kernels of the table that need no tiles. */
void es_avx512bf16_finish(const es_direct_finish *done, const float *done_sums);
void es_avx512bf16_gather(const float *planes, size_t plane_stride, int channels, int count,
                          uint16_t *lines);
void es_avx512bf16_pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                        uint16_t *packed);

#endif
