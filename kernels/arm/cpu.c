#include "arm/cpu.h"

#if defined(__linux__)
#include <sys/auxv.h>

/* In <asm/hwcap.h>, where the kernel's headers are new enough. */
#define CAPABLE_BF16 (1ul << 14) /* of AT_HWCAP2 */

unsigned es_cpu_flags(void) { return getauxval(AT_HWCAP2) & CAPABLE_BF16 ? ES_CPU_BF16 : 0; }
#else
unsigned es_cpu_flags(void) { return 0; }
#endif
