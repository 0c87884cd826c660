/*
 * Dealing rows to the members of a team by what they really get done.  Cores are not equally fast:
 * some are made so, and others are shared with somebody else's work for a while.
 *
 * Each member begins with a stretch of rows as long as it was fast in the rounds before.  It claims
 * them from the front as it gets on.  A member that has come to its end takes over the back of what
 * another has not claimed, so that all are done at about the same time.  Every row is claimed
 * exactly once; which member does, and where stretches end, differs from run to run.
 */
#ifndef ES_ENGINE_DEAL_H
#define ES_ENGINE_DEAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/* What a member has before it; others look at it, each in a cache line of its own. */
typedef struct es_deal_hand {
    _Alignas(ES_ALIGN) _Atomic uint64_t stretch; /* rows not claimed (stretch.h) */
    atomic_int claimed;                          /* rows in this round */
    double began, ended;                         /* seconds; ended: when it last asked for rows */
    double share;                                /* of the rows, that its speed makes its due */
} es_deal_hand;

typedef struct es_deal {
    es_deal_hand *hands; /* one a member */
    int members;
    int rows; /* of this round */
    atomic_int left;
} es_deal;

/* Before the first round; `hands` has room for one a member. */
void es_deal_init(es_deal *deal, es_deal_hand *hands, int members);

/* Starts a round, while no member is at work. */
void es_deal_start(es_deal *deal, int rows);

/* The rest is for members at work. */

/* True where there are rows for this member, from *first on; takes some over if it has none. */
bool es_deal_next(es_deal *deal, int member, int *first);

/* Claims the member's rows before `end`, as far as they are its own: returns where its stretch ends
 * now, which is never before what it has claimed. */
int es_deal_claim(es_deal *deal, int member, int end);

/* The member has claimed its rows before this one. */
int es_deal_claimed(const es_deal *deal, int member);

/* The share of the round's rows that somebody has claimed. */
double es_deal_done(const es_deal *deal);

#endif
