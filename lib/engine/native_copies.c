#include "engine/native_copies.h"

/* Made together, weights take so many times as long where it is better to make them alone; then, after so
 * many groups, they are made together once to see whether they still do.  How much the last blocks count,
 * and times how long the usual blocks count no more, for that was an interruption. */
#define FAR     3
#define GROUPS  15
#define LATELY  0.0625
#define UNUSUAL 4

bool es_copies_wanted(const es_copies *c) {
    if (c->alone <= 0) return true;
    return c->together > FAR * c->alone && c->groups < GROUPS;
}

/* Alone it is the least that counts: where pages are touched for the first time, more is not the core's. */
void es_copies_learn(es_copies *c, bool each, int blocks, double seconds) {
    const double cost = seconds / blocks, most = UNUSUAL * c->together;
    if (each)
        c->alone = c->alone <= 0 || cost < c->alone ? cost : c->alone;
    else if (c->together <= 0)
        c->together = cost;
    else
        c->together += LATELY * ((cost < most ? cost : most) - c->together);
}

void es_copies_made(es_copies *c, bool each) { c->groups = each ? c->groups + 1 : 0; }
