/* What this AArch64 CPU can do beyond the base instruction set. */
#ifndef ES_ARM_CPU_H
#define ES_ARM_CPU_H

enum es_cpu_flag {
    ES_CPU_BF16 = 1 << 0,   /* FEAT_BF16: BFMMLA and conversions */
    ES_CPU_FP16FML = 1 << 1 /* FEAT_FHM: FMLAL, products of binary16 added to single */
};

/* All flags of this CPU, as the operating system tells; none where it is not one that we can ask. */
unsigned es_cpu_flags(void);

#endif
