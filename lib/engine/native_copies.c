#include "engine/native_copies.h"

/* Made together, weights take so many times as long where it is better to make them alone; then, after so
 * many groups, they are made together once to see whether they still do. */
enum { FAR = 3, GROUPS = 15 };

bool es_copies_wanted(const es_copies *c) {
    if (c->alone <= 0) return true;
    return es_pace_cost(&c->together) > FAR * c->alone && c->groups < GROUPS;
}

/* Alone it is the least that counts: where pages are touched for the first time, more is not the core's. */
void es_copies_learn(es_copies *c, bool each, int blocks, double seconds) {
    if (!each)
        es_pace_learn(&c->together, blocks, seconds);
    else if (c->alone <= 0 || seconds < c->alone * blocks)
        c->alone = seconds / blocks;
}

void es_copies_made(es_copies *c, bool each) { c->groups = each ? c->groups + 1 : 0; }
