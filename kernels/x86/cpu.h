/* What this x86 CPU can do, and what the operating system lets it do (XCR0). */
#ifndef ES_X86_CPU_H
#define ES_X86_CPU_H

enum es_cpu_flag {
    ES_CPU_AVX2 = 1 << 0, /* AVX2, and the OS saves the ymm registers */
    ES_CPU_FMA = 1 << 1,
    ES_CPU_F16C = 1 << 2,
    ES_CPU_AVX512F = 1 << 3, /* and the OS saves zmm and mask registers */
    ES_CPU_AVX512BW = 1 << 4,
    ES_CPU_AVX512VL = 1 << 5,
    ES_CPU_AVX512DQ = 1 << 6,
    ES_CPU_AVX512_BF16 = 1 << 7,
    ES_CPU_AVX512_FP16 = 1 << 8,
    ES_CPU_AMX_TILE = 1 << 9, /* the CPU and XCR0 have tiles; see es_cpu_amx_permitted */
    ES_CPU_AMX_BF16 = 1 << 10,
    ES_CPU_INTEL = 1 << 16, /* vendor: decides what is worth using, not what can run */
    ES_CPU_AMD = 1 << 17
};

/* The flags of the ISA groups that files of this folder are compiled for. */
#define ES_CPU_TIER_AVX2 (ES_CPU_AVX2 | ES_CPU_FMA | ES_CPU_F16C)
#define ES_CPU_TIER_AVX512                                                                         \
    (ES_CPU_TIER_AVX2 | ES_CPU_AVX512F | ES_CPU_AVX512BW | ES_CPU_AVX512VL | ES_CPU_AVX512DQ)
#define ES_CPU_TIER_AVX512BF16 (ES_CPU_TIER_AVX512 | ES_CPU_AVX512_BF16)
#define ES_CPU_TIER_AMX        (ES_CPU_TIER_AVX512BF16 | ES_CPU_AMX_TILE | ES_CPU_AMX_BF16)

/* All flags of this CPU; found out once. */
unsigned es_cpu_flags(void);

/*
 * Asks the operating system for the tile registers, for the whole process and for good (Linux then
 * wants more room on alternative signal stacks).  Non-zero where tiles may be used; false without
 * AMX, or where a signal stack that is too small is already set up.
 */
int es_cpu_amx_permitted(void);

#endif
