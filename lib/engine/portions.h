/*
 * Small tasks dealt to the members of a team in portions: evenly and side by side, so that a member
 * comes back to what its caches hold; one that is done takes the last portions of others that are
 * not.  (deal.h is for long rounds of rows.)
 */
#ifndef ES_ENGINE_PORTIONS_H
#define ES_ENGINE_PORTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/* What a member has left of a task; each in a cache line of its own, for others look at it. */
typedef struct es_portions {
    _Alignas(ES_ALIGN) _Atomic uint64_t left; /* stretch.h */
} es_portions;

/* A member's own part of `count`; nobody may be at this task yet. */
void es_portions_deal(es_portions *hands, int count, int member, int members);

/* The number of a portion that nobody else gets; false where all are taken. */
bool es_portions_take(es_portions *hands, int member, int members, int *number);

#endif
