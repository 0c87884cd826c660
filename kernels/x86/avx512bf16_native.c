/*
 * Native kernels that multiply bfloat16 (AVX512_BF16): points and weights are pairs of channels, and
 * VDPBF16PS takes both channels of a pair at once.  Registers, and what comes from memory, are as in
 * avx512_native.c.
 */
#include "x86/avx512_vector.h"

#define PACK 2

#define vf_row(low, high) _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low))

/* Channel by channel out: bfloat16 of `even` in the lower half, of `odd` in the upper one. */
static inline __m512 vf_pair(__m512 even, __m512 odd) {
    const __m512i each = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places =
        _mm512_or_si512(each, _mm512_slli_epi32(_mm512_add_epi32(each, _mm512_set1_epi32(16)), 16));
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(places, both));
}

#if defined(__clang__)
#define vf_accumulate(sum, a, b)                                                                   \
    ((sum) = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a),                               \
                              (__m512bh)_mm512_castps_si512(b)))
#define vf_accumulate_at(sum, p, b) vf_accumulate(sum, vf_set1(*(p)), b)
#define FROM_MEMORY(tiles)          0
#else
#define vf_accumulate(sum, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define vf_accumulate_at(sum, p, b)                                                                \
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*(p)))
#define FROM_MEMORY(tiles) 4
#endif

#define BLOCK        14
#define PANEL        32
#define KERNELS      es_native_avx512bf16
#define KERNELS_NAME "avx512bf16"
#include "native_template.h"
