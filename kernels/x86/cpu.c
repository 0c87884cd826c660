#include "x86/cpu.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* XCR0: which register files the operating system saves when it switches tasks. */
#define XCR0_AVX    0x6u     /* xmm and ymm */
#define XCR0_AVX512 0xe6u    /* and masks, upper halves, zmm16..31 */
#define XCR0_AMX    0x60000u /* tile configuration and tile data */

static uint32_t xcr0(void) {
    uint32_t eax, edx;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static unsigned vendor(uint32_t ebx, uint32_t ecx, uint32_t edx) {
    if (ebx == signature_INTEL_ebx && edx == signature_INTEL_edx && ecx == signature_INTEL_ecx)
        return ES_CPU_INTEL;
    if (ebx == signature_AMD_ebx && edx == signature_AMD_edx && ecx == signature_AMD_ecx)
        return ES_CPU_AMD;
    return 0;
}

/* `flag` where bit `bit` of `word` is set. */
static unsigned has(uint32_t word, int bit, unsigned flag) { return word >> bit & 1 ? flag : 0; }

static unsigned read_flags(void) {
    uint32_t eax, ebx, ecx, edx, top;
    if (!__get_cpuid(0, &top, &ebx, &ecx, &edx)) return 0;
    unsigned flags = vendor(ebx, ecx, edx);
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return flags;
    if (!(ecx >> 27 & 1)) return flags; /* no OSXSAVE: nothing beyond SSE */
    uint32_t saved = xcr0();
    if ((saved & XCR0_AVX) != XCR0_AVX || !(ecx >> 28 & 1)) return flags;
    flags |= has(ecx, 12, ES_CPU_FMA) | has(ecx, 29, ES_CPU_F16C);
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return flags;
    uint32_t subleaves = eax;
    flags |= has(ebx, 5, ES_CPU_AVX2);
    if ((saved & XCR0_AVX512) == XCR0_AVX512 && (ebx >> 16 & 1)) {
        flags |= ES_CPU_AVX512F | has(ebx, 30, ES_CPU_AVX512BW) | has(ebx, 31, ES_CPU_AVX512VL) |
                 has(ebx, 17, ES_CPU_AVX512DQ) | has(edx, 23, ES_CPU_AVX512_FP16);
        if ((saved & XCR0_AMX) == XCR0_AMX)
            flags |= has(edx, 24, ES_CPU_AMX_TILE) | has(edx, 22, ES_CPU_AMX_BF16);
        if (subleaves >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx))
            flags |= has(eax, 5, ES_CPU_AVX512_BF16);
    }
    return flags;
}

/* CPUID is slow where a hypervisor answers it.  Threads that ask at once all find the same. */
unsigned es_cpu_flags(void) {
    enum { KNOWN = 1 << 30 };
    static atomic_uint known;
    unsigned flags = atomic_load_explicit(&known, memory_order_relaxed);
    if (!(flags & KNOWN)) {
        flags = read_flags() | KNOWN;
        atomic_store_explicit(&known, flags, memory_order_relaxed);
    }
    return flags & ~(unsigned)KNOWN;
}

int es_cpu_amx_permitted(void) {
    if (!(es_cpu_flags() & ES_CPU_AMX_TILE)) return 0;
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { GET_PERMITTED = 0x1022, REQUEST = 0x1023, TILE_DATA = 18 };
    uint64_t permitted = 0;
    if (syscall(SYS_arch_prctl, GET_PERMITTED, &permitted) == 0 && (permitted >> TILE_DATA & 1))
        return 1;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return 0;
#endif
}
