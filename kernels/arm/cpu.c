#include "arm/cpu.h"

#if defined(__linux__)
#include <sys/auxv.h>

/* In <asm/hwcap.h>, where the kernel's headers are new enough. */
#define CAPABLE_FHM  (1ul << 23) /* of AT_HWCAP */
#define CAPABLE_BF16 (1ul << 14) /* of AT_HWCAP2 */

unsigned es_cpu_flags(void) {
    unsigned flags = 0;
    if (getauxval(AT_HWCAP) & CAPABLE_FHM) flags |= ES_CPU_FP16FML;
    if (getauxval(AT_HWCAP2) & CAPABLE_BF16) flags |= ES_CPU_BF16;
    return flags;
}
#else
unsigned es_cpu_flags(void) { return 0; }
#endif
