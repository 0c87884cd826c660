#include "engine/tiers.h"

#include <string.h>

#include "base/status.h"
#if defined(__x86_64__) || defined(__i386__)
#include "x86/cpu.h"
#endif

/* Best first. */
typedef struct tier {
    const char *name;
    const es_native_kernels *kernels; /* NULL: not in this build */
    unsigned needs;                   /* flags of the CPU */
    const char *missing;              /* why it cannot be used where they are not there */
} tier;

static const tier tiers[] = {
#if defined(__x86_64__) || defined(__i386__)
    {"avx512", &es_native_avx512, ES_CPU_TIER_AVX512,
     "The CPU lacks AVX-512 F, BW, VL, DQ or the operating system does not save its registers."},
    {"avx2", &es_native_avx2, ES_CPU_TIER_AVX2,
     "The CPU lacks AVX2, FMA or F16C or the operating system does not save their registers."},
#elif defined(__aarch64__)
    {"neon", &es_native_neon, 0, ""},
#endif
    {"scalar", &es_native_scalar, 0, ""},
};

enum { TIERS = sizeof tiers / sizeof *tiers };

static unsigned flags(void) {
#if defined(__x86_64__) || defined(__i386__)
    return es_cpu_flags();
#else
    return 0;
#endif
}

static int usable(const tier *t) { return (flags() & t->needs) == t->needs; }

static const tier *best(void) {
    const tier *t = tiers;
    while (!usable(t)) t++; /* scalar always is */
    return t;
}

const es_native_kernels *es_tier_kernels(const char *isa, const char **why) {
    *why = NULL;
    if (!isa) return best()->kernels;
    for (const tier *t = tiers; t < tiers + TIERS; t++) {
        if (strcmp(isa, t->name) != 0) continue;
        if (usable(t)) return t->kernels;
        *why = t->missing;
        return NULL;
    }
    *why = "no tier of that name; esrgan info --cpu lists them";
    return NULL;
}

int esrgan_tier_count(void) { return TIERS; }

esrgan_status esrgan_tier_get(int index, esrgan_tier *out, esrgan_error *error) {
    if (index < 0 || index >= TIERS)
        return es_fail(error, ESRGAN_E_NOT_FOUND, "tier %d of %d", index, TIERS);
    if (!out || out->size < sizeof *out)
        return es_fail(error, ESRGAN_E_ARGUMENT, "esrgan_tier without its size set");
    const tier *t = &tiers[index];
    int chosen = t == best();
    out->name = t->name;
    out->built = 1;
    out->usable = usable(t);
    out->chosen_fp32 = out->chosen_fp16 = out->chosen_bf16 = chosen;
    out->why = !out->usable ? t->missing
               : chosen     ? "The widest vectors that this CPU has kernels for."
                            : "A tier with wider vectors is usable.";
    return ESRGAN_OK;
}
