/*
 * What the tiers with AVX512_BF16 share: finishing sums, and bringing pixels and weights into
 * their form.  Included by files compiled for those instructions.
 */
#ifndef ES_X86_DIRECT_FINISH_H
#define ES_X86_DIRECT_FINISH_H

#include <immintrin.h>
#include <string.h>

#include "direct.h"
#include "inline.h"

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

/* 0 .. 15, and what brings two vectors' 16-bit elements, one vector after the other, into pairs. */
ES_INLINE __m512i es_each(void) {
    return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}
ES_INLINE __m512i es_pairs(void) {
    const __m512i each = es_each();
    return _mm512_or_si512(each,
                           _mm512_slli_epi32(_mm512_add_epi32(each, _mm512_set1_epi32(16)), 16));
}

/* scale * v, and what lies at `high`, with the low bytes at `low` where there are any. */
ES_INLINE __m512 es_add(__m512 v, float scale, const uint16_t *high, const int8_t *low) {
    return _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(scale), v), es_join(high, low));
}

/* `at`: the half of the position's line, in elements. */
ES_INLINE __m512 es_finish_half(const es_direct_finish *f, const float *sums, int half, int p,
                                size_t at) {
    int o = half * ES_DIRECT_HALF;
    __m512 v = _mm512_add_ps(_mm512_load_ps(sums + (half * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF),
                             _mm512_loadu_ps(f->bias + o));
    v = _mm512_max_ps(v, _mm512_mul_ps(_mm512_set1_ps(f->slope), v));
    if (f->near)
        v = es_add(v, f->near_scale, f->near + p * ES_DIRECT_LANES + o,
                   f->near_low ? f->near_low + at : NULL);
    if (f->far) v = es_add(v, f->far_scale, f->far + at, f->far_low ? f->far_low + at : NULL);
    return v;
}

/* A position's line, rounded, and low bytes where there is room for them. */
ES_INLINE void es_leave(uint16_t *out, int8_t *out_low, __m512 low, __m512 high) {
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    _mm512_store_si512((void *)out, both);
    if (!out_low) return;
    es_store_low(out_low, low, _mm512_castsi512_si256(both));
    es_store_low(out_low + ES_DIRECT_HALF, high, _mm512_extracti64x4_epi64(both, 1));
}

/* Positions from .. to-1 of a block. */
ES_INLINE void es_finish_positions(const es_direct_finish *f, const float *sums, int from, int to) {
    for (int p = from; p < to; p++) {
        size_t at = (size_t)f->lines[p] * ES_DIRECT_LANES;
        __m512 low = es_finish_half(f, sums, 0, p, at);
        __m512 high = es_finish_half(f, sums, 1, p, at + ES_DIRECT_HALF);
        es_leave(f->out + at, f->out_low ? f->out_low + at : NULL, low, high);
    }
}

/* A pixel of a row, `at` elements after its first: what is to be added to it, then it is stored. */
ES_INLINE __m512 es_add_rest(const es_direct_row *r, __m512 v, size_t at) {
    if (r->near) v = es_add(v, r->near_scale, r->near + at, r->near_low ? r->near_low + at : NULL);
    if (r->far) v = es_add(v, r->far_scale, r->far + at, r->far_low ? r->far_low + at : NULL);
    return v;
}

ES_INLINE void es_leave_position(const es_direct_row *r, size_t at, __m512 low, __m512 high) {
    low = es_add_rest(r, low, at);
    high = es_add_rest(r, high, at + ES_DIRECT_HALF);
    es_leave(r->out + at, r->out_low ? r->out_low + at : NULL, low, high);
}

/* The kernels of the table that need no tiles. */
void es_avx512bf16_finish(const es_direct_finish *done, const float *done_sums);
void es_avx512bf16_gather(const float *planes, size_t plane_stride, int channels, int count,
                          uint16_t *lines);
void es_avx512bf16_pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                        uint16_t *packed);
extern const es_direct_tiles es_avx512bf16_tiles;

#endif
