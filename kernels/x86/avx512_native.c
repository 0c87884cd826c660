/* The native kernels for AVX-512 (F, BW, VL, DQ): 32 registers hold 14 tiles x 32 channels. */
#include "x86/avx512_vector.h"

/*
 * Some tiles' factors come from memory, an instruction less for a load more: where a core is shared with
 * another thread, it decodes some three instructions a cycle.  A few such loads help, more of them cost
 * more than they save.  With one vector of channels every factor is used once, and all come from memory (8 tiles,
 * Zen 4: from 89 to 97 % of the peak, of pairs from 70 to 95 %).  GCC has to be told which instructions to take.
 * Clang takes them by itself, and where it meets assembly it keeps a block's sums in memory, which takes more
 * than twice the time.
 */
#if defined(__clang__)
#define vf_accumulate(sum, a, b) ((sum) = vf_fma(a, b, sum))
#define FROM_MEMORY(tiles)       (((tiles) + 1) / 2)
#else
#define vf_accumulate(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#define vf_accumulate_at(sum, p, b)                                                                \
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*(p)))
#define FROM_MEMORY(tiles) 4
#endif

#define FEW_PIXELS   3
#define BLOCK        14
#define PANEL        32
#define KERNELS      es_native_avx512
#define KERNELS_F64  &es_native_avx512_f64
#define KERNELS_NAME "avx512"
#include "native_template.h"
