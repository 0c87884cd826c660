/* Native kernels that multiply doubles, for AVX2 and FMA: 16 registers hold 3 tiles x 16 channels. */
#include <immintrin.h>

#include "inline.h"

#define VF              __m256d
#define VL              4
#define PLACES          2
#define NUMBER          double
#define vf_zero()       _mm256_setzero_pd()
#define vf_set1(x)      _mm256_set1_pd(x)
#define vf_load(p)      _mm256_cvtps_pd(_mm_loadu_ps(p))
#define vf_store(p, v)  _mm_storeu_ps(p, _mm256_cvtpd_ps(v))
#define vn_load(p)      _mm256_loadu_pd((const double *)(const void *)(p))
#define vn_store(p, v)  _mm256_storeu_pd((double *)(void *)(p), v)
#define vf_add(a, b)    _mm256_add_pd(a, b)
#define vf_sub(a, b)    _mm256_sub_pd(a, b)
#define vf_mul(a, b)    _mm256_mul_pd(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_pd(a, b, c)
/* In place, so that the compiler has no reason to move accumulators about. */
#define vf_accumulate(sum, a, b) __asm__("vfmadd231pd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))

static inline __m256d vf_lrelu(__m256d x, __m256d slope) {
    return _mm256_blendv_pd(x, _mm256_mul_pd(x, slope), x); /* by the sign bits of x */
}

/* 4 x 4, turned: pairs, then halves of vectors. */
ES_INLINE void vf_turn(__m256d *r) {
    __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

#define BLOCK        3
#define PANEL        16
#define KERNELS      es_native_avx2_f64
#define KERNELS_NAME "avx2"
#include "native_template.h"
