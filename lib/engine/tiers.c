#include "engine/tiers.h"

#include <string.h>

#include "base/status.h"
#include "direct.h"
#if defined(__x86_64__) || defined(__i386__)
#include "x86/cpu.h"
#elif defined(__aarch64__)
#include "arm/cpu.h"
#endif

/* Best first. */
typedef struct tier {
    const char *name;
    const es_native_kernels *kernels; /* NULL where the tier is a direct one */
    const es_direct_kernels *direct;  /* NULL where it is not */
    const es_native_kernels *pairs;   /* of bfloat16, for networks that have them; or NULL */
    unsigned needs;                   /* flags of the CPU */
    const char *missing;              /* why it cannot be used where they are not there */
} tier;

static const tier tiers[] = {
#if defined(__x86_64__)
    {"amx", NULL, &es_direct_amx, NULL, ES_CPU_TIER_AMX,
     "The CPU lacks AMX tiles for bfloat16 or the operating system does not give them out."},
    {"avx512bf16", NULL, &es_direct_avx512bf16, &es_native_avx512bf16, ES_CPU_TIER_AVX512BF16,
     "The CPU lacks AVX512_BF16 or the operating system does not save its registers."},
#endif
#if defined(__x86_64__) || defined(__i386__)
    {"avx512", &es_native_avx512, NULL, NULL, ES_CPU_TIER_AVX512,
     "The CPU lacks AVX-512 F, BW, VL, DQ or the operating system does not save its registers."},
    {"avx2", &es_native_avx2, NULL, NULL, ES_CPU_TIER_AVX2,
     "The CPU lacks AVX2, FMA or F16C or the operating system does not save their registers."},
#elif defined(__aarch64__)
    {"neonbf16", NULL, &es_direct_neonbf16, NULL, ES_CPU_BF16, "The CPU lacks BFMMLA (FEAT_BF16)."},
    {"neonfp16", NULL, &es_direct_neonfp16, NULL, ES_CPU_FP16FML,
     "The CPU lacks FMLAL (FEAT_FHM)."},
    {"neon", &es_native_neon, NULL, NULL, 0, ""},
#endif
    {"scalar", &es_native_scalar, NULL, NULL, 0, ""},
};

enum { TIERS = sizeof tiers / sizeof *tiers };

static unsigned flags(void) {
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
    return es_cpu_flags();
#else
    return 0;
#endif
}

static int usable(const tier *t) {
    return (flags() & t->needs) == t->needs && (!t->direct || es_direct_usable(t->direct));
}

static const tier *best(void) {
    const tier *t = tiers;
    while (t->direct || !usable(t)) t++; /* scalar always is */
    return t;
}

/* The same for half precision. */
static const tier *best_half(es_direct_format format) {
    for (const tier *t = tiers; t < tiers + TIERS; t++)
        if (t->direct && t->direct->format == format && es_direct_worthwhile(t->direct)) return t;
    return best();
}

/* Why a direct tier that can be used is not. */
static const char *why_unchosen(const es_direct_kernels *kernels) {
    if (kernels->format == ES_DIRECT_F16)
        return "Multiplies binary16 directly; Winograd in FP32 needs a fifth of the products.";
#if defined(__aarch64__)
    return "Multiplies bfloat16 directly; whether faster depends on the core: try --isa.";
#else
    return "Multiplies bfloat16 directly; another tier is faster here.";
#endif
}

/* NULL where there is none of that name. */
static const tier *named(const char *isa) {
    for (const tier *t = tiers; t < tiers + TIERS; t++)
        if (strcmp(isa, t->name) == 0) return t;
    return NULL;
}

bool es_tier_is_direct(const char *isa) {
    const tier *t = isa ? named(isa) : NULL;
    return t && t->direct;
}

const es_native_kernels *es_tier_kernels(const char *isa, const char **why) {
    *why = NULL;
    if (!isa) return best()->kernels;
    const tier *t = named(isa);
    if (t && usable(t)) return t->kernels;
    *why = t ? t->missing : "no tier of that name; esrgan info --cpu lists them";
    return NULL;
}

const es_native_kernels *es_tier_pairs(const char *isa) {
    const tier *t = isa ? named(isa) : best_half(ES_DIRECT_BF16);
    return t && usable(t) ? t->pairs : NULL;
}

int esrgan_tier_count(void) { return TIERS; }

esrgan_status esrgan_tier_get(int index, esrgan_tier *out, esrgan_error *error) {
    if (index < 0 || index >= TIERS)
        return es_fail(error, ESRGAN_E_NOT_FOUND, "tier %d of %d", index, TIERS);
    if (!out || out->size < sizeof *out)
        return es_fail(error, ESRGAN_E_ARGUMENT, "esrgan_tier without its size set");
    const tier *t = &tiers[index];
    out->name = t->name;
    out->built = 1;
    out->usable = usable(t);
    out->chosen_fp32 = t == best();
    out->chosen_fp16 = t == best_half(ES_DIRECT_F16);
    out->chosen_bf16 = t == best_half(ES_DIRECT_BF16);
    if (!out->usable)
        out->why = t->missing;
    else if (t->direct)
        out->why = out->chosen_bf16 ? "Multiplies bfloat16, which is faster than FP32 here."
                                    : why_unchosen(t->direct);
    else
        out->why = out->chosen_fp32 ? "The widest vectors that this CPU has kernels for."
                                    : "A tier with wider vectors is usable.";
    return ESRGAN_OK;
}
