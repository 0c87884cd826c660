#include "engine/native_copies.h"

/* Made together, weights take so many times as long where it is better to make them alone; then, after so
 * many groups, they are made together once to see whether they still do. */
enum { FAR = 3, GROUPS = 15 };

bool es_copies_wanted(const es_copies *c) {
    const double alone = es_pace_cost(&c->alone);
    return alone <= 0 || (es_pace_cost(&c->together) > FAR * alone && c->groups < GROUPS);
}

/* The first group alone does not count: pages may be touched for the first time. */
void es_copies_learn(es_copies *c, bool each, int blocks, double seconds) {
    if (!each || c->groups > 0) es_pace_learn(each ? &c->alone : &c->together, blocks, seconds);
}

void es_copies_made(es_copies *c, bool each) { c->groups = each ? c->groups + 1 : 0; }
