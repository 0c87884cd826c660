/*
 * Small tasks dealt to the members of a team: to each a stretch of units (register blocks, rows) as
 * long as its pace allows, side by side, so that it comes back to what its caches hold.  It does them
 * in portions; one that is done takes the last portions of others that are not.  (deal.h is for long
 * rounds of rows.)
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

/* Seconds that a member has taken for a unit of work, of late; 0 where nothing is known.  Its own to
 * write, everybody's to read. */
typedef struct es_pace {
    _Alignas(ES_ALIGN) _Atomic double cost;
} es_pace;

void es_pace_learn(es_pace *pace, double work, double seconds);

static inline double es_pace_cost(const es_pace *pace) {
    return atomic_load_explicit(&pace->cost, memory_order_relaxed);
}

/* Deals `count` units to all members, to each by its pace.  Nobody may be at this task yet. */
void es_portions_deal(es_portions *hands, const es_pace *paces, int members, int count);

/* A portion of at most `most` units, first .. end-1, that nobody else gets; false where all are
 * taken.  A member's own come in portions of one size. */
bool es_portions_take(es_portions *hands, int member, int members, int most, int *first, int *end);

#endif
