#include "engine/portions.h"

#include "engine/stretch.h"

/* How much the last task counts; and no task counts for more than this many times the usual, for it
 * was an interruption then. */
#define LATELY  0.0625
#define UNUSUAL 2

/* Paces nearer to each other than this are as good as even: to move work from cache to cache costs,
 * too.  A slow member gets at least this part of an even share, to show when it is slow no more. */
#define ALIKE 1.06
#define LEAST 0.25

void es_pace_learn(es_pace *pace, double work, double seconds) {
    const double before = es_pace_cost(pace);
    double cost = seconds / work;
    if (before > 0) {
        if (cost > UNUSUAL * before) cost = UNUSUAL * before;
        cost = before + LATELY * (cost - before);
    }
    atomic_store_explicit(&pace->cost, cost, memory_order_relaxed);
}

/* Work a second, 0 where it is not known; `least` where that is more. */
static double speed_of(const es_pace *pace, double least) {
    const double cost = es_pace_cost(pace);
    const double speed = cost > 0 ? 1 / cost : 0;
    return speed < least ? least : speed;
}

/* What every member gets at least, as a speed, and all speeds together; false where they are alike
 * or one is not known. */
static bool survey(const es_pace *paces, int members, double *least, double *all) {
    double low = speed_of(&paces[0], 0), high = low, sum = 0;
    for (int m = 0; m < members; m++) {
        const double speed = speed_of(&paces[m], 0);
        if (speed < low) low = speed;
        if (speed > high) high = speed;
        sum += speed;
    }
    *least = LEAST * sum / members;
    *all = 0;
    for (int m = 0; m < members; m++) *all += speed_of(&paces[m], *least);
    return low > 0 && high > ALIKE * low;
}

void es_portions_deal(es_portions *hands, const es_pace *paces, int members, int count) {
    double least, all, sum = 0;
    const bool uneven = survey(paces, members, &least, &all);
    for (int m = 0, first = 0, end; m < members; m++, first = end) {
        sum += speed_of(&paces[m], least);
        end = uneven ? (int)(count * (sum / all) + 0.5) : (int)((int64_t)count * (m + 1) / members);
        if (end < first) end = first;
        if (end > count || m + 1 == members) end = count;
        atomic_store(&hands[m].left, es_stretch(first, end));
    }
}

bool es_portions_take(es_portions *hands, int member, int members, int most, int *first, int *end) {
    for (int i = 0; i < members; i++) {
        es_portions *hand = &hands[(member + i) % members];
        uint64_t left = atomic_load(&hand->left);
        for (;;) {
            *first = es_stretch_first(left), *end = es_stretch_end(left);
            const int count = *end - *first, portions = (count + most - 1) / most;
            if (count == 0) break;
            const int size = (count + portions - 1) / portions;
            uint64_t rest;
            if (i == 0)
                *end = *first + size, rest = es_stretch(*end, es_stretch_end(left));
            else
                *first = *end - size, rest = es_stretch(es_stretch_first(left), *first);
            if (atomic_compare_exchange_weak(&hand->left, &left, rest)) return true;
        }
    }
    return false;
}
