/*
 * Groups in which every member goes its own way.  A member does all stages of a span of strips, with
 * rings of its own, so that nearly all it reads is what it has written.  Members go in pairs towards
 * each other and claim unit after unit (some strips) as they get on, so that both come to an end at
 * the same time:
 *
 *     units    0  1  2  3  4  5  6  7  8 | 9 10 ...
 *     member   0> .  .  .  .  <  .  . <1 | 2> ...          here stage s does unit j - s of a member
 *                                                          while stage 0 does unit j
 *
 * A unit needs a row of the unit before and of the one after, of the stage before.  At both ends of a
 * span these rows are a neighbour's: a member waits until they are made and reads them in that one's
 * rings; and what it made first it does not write over before the neighbour behind has read it.
 */
#ifndef ES_ENGINE_NATIVE_SPANS_H
#define ES_ENGINE_NATIVE_SPANS_H

#include <stdatomic.h>

#include "engine/native_copies.h"
#include "engine/native_cut.h"
#include "engine/native_run.h"

/* A member's seat: how far it is, its own to write and everybody's to read; and, of an even member,
 * what it shares with the next one.  In the arena. */
typedef struct es_native_seat {
    _Alignas(ES_ALIGN) atomic_int done[ES_SPAN_STAGES]; /* units, by stage */
    _Alignas(ES_ALIGN) _Atomic uint64_t left; /* stretch.h: units that nobody has claimed */
    int first, end;                           /* units of the pair */
} es_native_seat;

typedef struct es_native_spans {
    const es_native_run *run;
    int group;
    bool weights_made;
    es_copies *copies;                          /* member 0's, where run->each is a choice */
    bool (*report)(void *context, double done); /* by member 0: false to stop */
    void *context;
    /* set by es_native_spans_deal */
    es_native_seat *seats;
    int stages, unit; /* of the group; strips of a unit */
    struct {
        atomic_int claimed, made; /* blocks */
    } weights[ES_SPAN_STAGES];    /* of each stage */
    atomic_bool stop;
} es_native_spans;

/* Deals the group's strips, to pairs by their paces; before the team runs. */
void es_native_spans_deal(es_native_spans *spans);

/* A member's part of an es_native_spans: an es_job. */
void es_native_spans_run(void *spans, int member, int members);

#endif
