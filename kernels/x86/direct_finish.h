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

ES_INLINE __m512 es_widen_bf16(const uint16_t *p) {
    __m256i h = _mm256_loadu_si256((const __m256i *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

ES_INLINE __m512 es_finish_half(const es_direct_finish *f, const float *sums, int half, int p,
                                size_t at) {
    int o = half * ES_DIRECT_HALF;
    __m512 v = _mm512_add_ps(_mm512_load_ps(sums + (half * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF),
                             _mm512_loadu_ps(f->bias + o));
    v = _mm512_max_ps(v, _mm512_mul_ps(_mm512_set1_ps(f->slope), v));
    if (f->near)
        v = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(f->near_scale), v),
                          es_widen_bf16(f->near + p * ES_DIRECT_LANES + o));
    if (f->far)
        v = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(f->far_scale), v),
                          es_widen_bf16(f->far + at + o));
    return v;
}

/* Positions from .. to-1 of a block. */
ES_INLINE void es_finish_positions(const es_direct_finish *f, const float *sums, int from, int to) {
    for (int p = from; p < to; p++) {
        size_t at = (size_t)f->lines[p] * ES_DIRECT_LANES;
        __m512 low = es_finish_half(f, sums, 0, p, at), high = es_finish_half(f, sums, 1, p, at);
        _mm512_store_si512((void *)(f->out + at), (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* The kernels of the table that need no tiles. */
void es_avx512bf16_finish(const es_direct_finish *done, const float *done_sums);
void es_avx512bf16_gather(const float *planes, size_t plane_stride, int channels, int count,
                          uint16_t *lines);
void es_avx512bf16_pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                        uint16_t *packed);

#endif
