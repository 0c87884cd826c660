/* A stretch of things to do, first .. end - 1, in one word, so that members of a team can shorten it
 * at either end without a lock. */
#ifndef ES_ENGINE_STRETCH_H
#define ES_ENGINE_STRETCH_H

#include <stdint.h>

static inline uint64_t es_stretch(int first, int end) {
    return (uint64_t)first << 32 | (uint32_t)end;
}
static inline int es_stretch_first(uint64_t s) { return (int)(s >> 32); }
static inline int es_stretch_end(uint64_t s) { return (int)(uint32_t)s; }

#endif
