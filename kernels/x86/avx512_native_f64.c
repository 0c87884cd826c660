/* Native kernels that multiply doubles, for AVX-512: registers are as in avx512_native.c. */
#include <immintrin.h>

#include "inline.h"

#define VF              __m512d
#define VL              8
#define PLACES          2
#define NUMBER          double
#define vf_zero()       _mm512_setzero_pd()
#define vf_set1(x)      _mm512_set1_pd(x)
#define vf_load(p)      _mm512_cvtps_pd(_mm256_loadu_ps(p))
#define vf_store(p, v)  _mm256_storeu_ps(p, _mm512_cvtpd_ps(v))
#define vn_load(p)      _mm512_loadu_pd(p)
#define vn_store(p, v)  _mm512_storeu_pd(p, v)
#define vf_add(a, b)    _mm512_add_pd(a, b)
#define vf_sub(a, b)    _mm512_sub_pd(a, b)
#define vf_mul(a, b)    _mm512_mul_pd(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_pd(a, b, c)

static inline __m512d vf_lrelu(__m512d x, __m512d slope) {
    return _mm512_mask_mul_pd(x, _mm512_cmp_pd_mask(x, _mm512_setzero_pd(), _CMP_LT_OQ), x, slope);
}

/* 8 x 8, turned: pairs, then quarters of vectors twice. */
ES_INLINE void vf_turn(__m512d *r) {
    __m512d t[8], u[8];
    ES_UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    ES_UNROLL for (int i = 0; i < 2; i++) ES_UNROLL for (int j = 0; j < 8; j += 4) {
        u[i + j] = _mm512_shuffle_f64x2(t[i + j], t[i + j + 2], 0x88);
        u[i + j + 2] = _mm512_shuffle_f64x2(t[i + j], t[i + j + 2], 0xdd);
    }
    ES_UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0xdd);
    }
}

#if defined(__clang__)
#define vf_accumulate(sum, a, b) ((sum) = vf_fma(a, b, sum))
#define FROM_MEMORY(tiles)       (((tiles) + 1) / 2)
#else
#define vf_accumulate(sum, a, b) __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define vf_accumulate_at(sum, p, b)                                                                \
    __asm__("vfmadd231pd %2%{1to8%}, %1, %0"                                                       \
            : "+v"(sum)                                                                            \
            : "v"(b), "m"(*(const double *)(const void *)(p)))
#define FROM_MEMORY(tiles) 4
#endif

#define BLOCK        14
#define PANEL        16
#define KERNELS      es_native_avx512_f64
#define KERNELS_NAME "avx512"
#include "native_template.h"
