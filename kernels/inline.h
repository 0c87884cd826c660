/* What kernels are put together with: functions in their callers' places, loops written out. */
#ifndef ES_KERNELS_INLINE_H
#define ES_KERNELS_INLINE_H

#define ES_INLINE static inline __attribute__((always_inline))

/* ES_ROLLED: with a sanitizer's checks in them, unrolled loops take minutes to compile. */
#if defined(ES_ROLLED)
#define ES_UNROLL
#elif defined(__clang__)
#define ES_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ES_UNROLL _Pragma("GCC unroll 64")
#endif

#endif
