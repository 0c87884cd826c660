/* The instruction sets that the native kernels were built for, and which of them this CPU has. */
#ifndef ES_ENGINE_TIERS_H
#define ES_ENGINE_TIERS_H

#include <stdbool.h>

#include "esrgan.h"
#include "native.h"

/* Kernels of the tier called `isa`, or of the best for NULL; NULL and *why where there is none. */
const es_native_kernels *es_tier_kernels(const char *isa, const char **why);

/* Kernels of a usable tier (NULL: of the one that bfloat16 goes to) that multiply pairs of bfloat16;
 * NULL where it has none. */
const es_native_kernels *es_tier_pairs(const char *isa);

/* True for a tier that works in one half precision only: by es_engine_direct, or in pairs. */
bool es_tier_is_direct(const char *isa);

#endif
