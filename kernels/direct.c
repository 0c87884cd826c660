#include "direct.h"

#if defined(__x86_64__)
#include "x86/cpu.h"

const es_direct_kernels *const es_direct_tiers[] = {&es_direct_amx, &es_direct_avx512bf16,
                                                    &es_direct_scalar_f16, &es_direct_scalar, NULL};

int es_direct_usable(const es_direct_kernels *kernels) {
    unsigned needs = 0;
    if (kernels == &es_direct_amx) needs = ES_CPU_TIER_AMX;
    if (kernels == &es_direct_avx512bf16) needs = ES_CPU_TIER_AVX512BF16;
    if ((es_cpu_flags() & needs) != needs) return 0;
    return kernels != &es_direct_amx || es_cpu_amx_permitted();
}

/* Tiles multiply some ten times as fast as FP32 FMA.  VDPBF16PS doubles the FP32 rate on AMD and
 * does not reach it on Intel, where Winograd in FP32 wins. */
int es_direct_worthwhile(const es_direct_kernels *kernels) {
    if (kernels == &es_direct_amx) return es_direct_usable(kernels);
    return kernels == &es_direct_avx512bf16 && es_direct_usable(kernels) &&
           (es_cpu_flags() & ES_CPU_AMD) != 0;
}

#elif defined(__aarch64__)
#include "arm/cpu.h"

const es_direct_kernels *const es_direct_tiers[] = {&es_direct_neonbf16, &es_direct_neonfp16,
                                                    &es_direct_scalar_f16, &es_direct_scalar, NULL};

int es_direct_usable(const es_direct_kernels *kernels) {
    unsigned needs = 0;
    if (kernels == &es_direct_neonbf16) needs = ES_CPU_BF16;
    if (kernels == &es_direct_neonfp16) needs = ES_CPU_FP16FML;
    return (es_cpu_flags() & needs) == needs;
}

/* BFMMLA multiplies two to four times as fast as FMLA, by core, and tiles along rows spare half of the
 * products.  Winograd in FP32 spares four fifths: about as much as the first makes up for, and less
 * than the second.  Nothing is measured yet that would tell cores apart.
 * FMLAL multiplies no faster than FMLA, and Winograd multiplies a fifth as often. */
int es_direct_worthwhile(const es_direct_kernels *kernels) {
    (void)kernels;
    return 0;
}

#else

const es_direct_kernels *const es_direct_tiers[] = {&es_direct_scalar_f16, &es_direct_scalar, NULL};

int es_direct_usable(const es_direct_kernels *kernels) {
    (void)kernels;
    return 1;
}

int es_direct_worthwhile(const es_direct_kernels *kernels) {
    (void)kernels;
    return 0;
}

#endif
