/* The two tiers of an AArch64 build, without the engine's way of choosing one. */
#include <string.h>

#include "engine/tiers.h"

static const es_native_kernels *const tiers[] = {&es_native_neon, &es_native_scalar};

int esrgan_tier_count(void) { return 2; }

esrgan_status esrgan_tier_get(int index, esrgan_tier *tier, esrgan_error *error) {
    (void)error;
    tier->name = tiers[index]->name;
    tier->usable = 1;
    return ESRGAN_OK;
}

const es_native_kernels *es_tier_kernels(const char *isa, const char **why) {
    *why = NULL;
    return tiers[strcmp(isa, "neon") != 0];
}

const es_native_kernels *es_tier_pairs(const char *isa) {
    (void)isa;
    return NULL;
}
