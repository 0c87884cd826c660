/* The native kernels for AVX2, FMA and F16C: 16 registers hold 6 tiles x 16 channels. */
#include <immintrin.h>

#include "inline.h"

#define VF              __m256
#define VL              8
#define vf_zero()       _mm256_setzero_ps()
#define vf_set1(x)      _mm256_set1_ps(x)
#define vf_load(p)      _mm256_loadu_ps(p)
#define vf_store(p, v)  _mm256_storeu_ps(p, v)
#define vf_add(a, b)    _mm256_add_ps(a, b)
#define vf_sub(a, b)    _mm256_sub_ps(a, b)
#define vf_mul(a, b)    _mm256_mul_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_min(a, b)    _mm256_min_ps(a, b)
#define vf_max(a, b)    _mm256_max_ps(a, b)
#define VD              __m256d
#define vd_low(v)       _mm256_cvtps_pd(_mm256_castps256_ps128(v))
#define vd_high(v)      _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))
#define vd_fma(a, b, c) _mm256_fmadd_pd(a, b, c)
/* In place, so that the compiler has no reason to move accumulators about. */
#define vf_accumulate(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))

static inline __m256 vf_lrelu(__m256 x, __m256 slope) {
    return _mm256_blendv_ps(x, _mm256_mul_ps(x, slope), x); /* by the sign bits of x */
}

#define vf_load_f16(p) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define vf_store_f16(p, v)                                                                         \
    _mm_storeu_si128((void *)(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
#define vf_load_bf16(p)                                                                            \
    _mm256_castsi256_ps(                                                                           \
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16))

/* Round to nearest even; a NaN stays one. */
static inline void vf_store_bf16(void *p, __m256 v) {
    __m256i bits = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    up = _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(up, up), 0x08);
    _mm_storeu_si128(p, _mm256_castsi256_si128(packed));
}

/* 8 x 8, turned: pairs, then pairs of pairs, then halves of vectors. */
ES_INLINE void vf_turn(__m256 *r) {
    __m256 t[8], u[8];
    ES_UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    ES_UNROLL for (int i = 0; i < 8; i += 4) ES_UNROLL for (int j = 0; j < 2; j++) {
        u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
        u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
    }
    ES_UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

#define BLOCK        6
#define PANEL        16
#define KERNELS      es_native_avx2
#define KERNELS_F64  &es_native_avx2_f64
#define KERNELS_NAME "avx2"
#include "native_template.h"
