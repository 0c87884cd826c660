/* Vectors of 16 floats for native_template.h, in the tiers with AVX-512 (F, BW, VL, DQ). */
#ifndef ES_X86_AVX512_VECTOR_H
#define ES_X86_AVX512_VECTOR_H

#include <immintrin.h>

#include "inline.h"

#define VF              __m512
#define VL              16
#define vf_zero()       _mm512_setzero_ps()
#define vf_set1(x)      _mm512_set1_ps(x)
#define vf_load(p)      _mm512_loadu_ps(p)
#define vf_store(p, v)  _mm512_storeu_ps(p, v)
#define vf_add(a, b)    _mm512_add_ps(a, b)
#define vf_sub(a, b)    _mm512_sub_ps(a, b)
#define vf_mul(a, b)    _mm512_mul_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_min(a, b)    _mm512_min_ps(a, b)
#define vf_max(a, b)    _mm512_max_ps(a, b)
#define VD              __m512d
#define vd_low(v)       _mm512_cvtps_pd(_mm512_castps512_ps256(v))
#define vd_high(v)      _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))
#define vd_fma(a, b, c) _mm512_fmadd_pd(a, b, c)

static inline __m512 vf_lrelu(__m512 x, __m512 slope) {
    return _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), x, slope);
}

#define vf_load_f16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define vf_store_f16(p, v)                                                                         \
    _mm256_storeu_si256((void *)(p),                                                               \
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
#define vf_load_bf16(p)                                                                            \
    _mm512_castsi512_ps(                                                                           \
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p))), 16))

/* Round to nearest even; a NaN stays one. */
static inline void vf_store_bf16(void *p, __m512 v) {
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    up = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}

/* 16 x 16, turned: pairs, then pairs of pairs, then quarters of vectors twice. */
ES_INLINE void vf_turn(__m512 *r) {
    __m512 t[16];
    ES_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    ES_UNROLL for (int i = 0; i < 16; i += 4) ES_UNROLL for (int j = 0; j < 2; j++) {
        __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
        r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    ES_UNROLL for (int i = 0; i < 4; i++) ES_UNROLL for (int j = 0; j < 16; j += 8) {
        t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
        t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xdd);
    }
    ES_UNROLL for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

#endif
