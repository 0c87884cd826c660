/* Stretches of rows, their claiming and their taking over. */
#include "engine/deal.h"

#include "base/threads.h"
#include "engine/stretch.h"

enum {
    LEAST_TAKEN = 4, /* rows: a cut costs about CUT of them, computed on both sides of it */
    CUT = 2,
    SLOWEST = 4 /* a member gets at least this part of an even share, to show whether it is slow */
};

/* Seconds: what is measured in this time counts as much as all that was before. */
#define TRUSTED 0.002

void es_deal_init(es_deal *deal, es_deal_hand *hands, int members) {
    deal->hands = hands;
    deal->members = members;
    for (int i = 0; i < members; i++) {
        hands[i].share = 1.0 / members;
        hands[i].began = hands[i].ended = 0;
        atomic_init(&hands[i].claimed, 0);
        atomic_init(&hands[i].stretch, 0);
    }
}

/* Shares by the speeds of the round before, the more so the longer it took: short times mislead. */
static void learn(es_deal *deal) {
    double all = 0, shares = 0, longest = 0;
    for (int i = 0; i < deal->members; i++) {
        const es_deal_hand *h = &deal->hands[i];
        const double took = h->ended - h->began;
        if (h->claimed == 0 || !(took > 0)) continue;
        all += h->claimed / took;
        shares += h->share;
        if (took > longest) longest = took;
    }
    for (int i = 0; i < deal->members; i++) {
        es_deal_hand *h = &deal->hands[i];
        const double took = h->ended - h->began;
        if (h->claimed == 0 || !(took > 0)) continue;
        h->share += longest / (longest + TRUSTED) * (shares * (h->claimed / took) / all - h->share);
    }
}

void es_deal_start(es_deal *deal, int rows) {
    const double least = 1.0 / deal->members / SLOWEST;
    double all = 0, sum = 0;
    learn(deal);
    for (int i = 0; i < deal->members; i++) {
        es_deal_hand *h = &deal->hands[i];
        if (h->share < least) h->share = least;
        all += h->share;
    }
    for (int i = 0, first = 0; i < deal->members; i++) {
        es_deal_hand *h = &deal->hands[i];
        sum += h->share;
        const int end = i + 1 < deal->members ? (int)(rows * (sum / all) + 0.5) : rows;
        atomic_store(&h->stretch, es_stretch(first, end));
        atomic_store(&h->claimed, 0);
        h->began = h->ended = 0;
        h->share /= all;
        first = end;
    }
    deal->rows = rows;
    atomic_store(&deal->left, rows);
}

/* How many of another's unclaimed rows a member should take over, so that both end together by
 * their speeds in this round; 0 where that is too few to pay. */
static int worth_taking(const es_deal *deal, int member, int other, uint64_t s) {
    const int rows = es_stretch_end(s) - es_stretch_first(s);
    const double mine = atomic_load(&deal->hands[member].claimed) + 1.0;
    const double theirs = atomic_load(&deal->hands[other].claimed) + 1.0;
    int taken = (int)(rows * (mine / (mine + theirs))) - CUT;
    if (taken > rows - LEAST_TAKEN) taken = rows - LEAST_TAKEN;
    return taken < LEAST_TAKEN ? 0 : taken;
}

/* Whose unclaimed rows will last longest, of those worth taking from; -1 if nobody's. */
static int slowest(const es_deal *deal, int member) {
    int found = -1;
    double most = 0;
    for (int i = 0; i < deal->members; i++) {
        const es_deal_hand *h = &deal->hands[i];
        const uint64_t s = atomic_load(&h->stretch);
        const double lasts =
            (double)(es_stretch_end(s) - es_stretch_first(s)) / (atomic_load(&h->claimed) + 1);
        if (i == member || lasts <= most || worth_taking(deal, member, i, s) == 0) continue;
        most = lasts;
        found = i;
    }
    return found;
}

/* Takes over the back of another's stretch. */
static bool take_over(es_deal *deal, int member) {
    for (int other; (other = slowest(deal, member)) >= 0;) {
        _Atomic uint64_t *theirs = &deal->hands[other].stretch;
        uint64_t s = atomic_load(theirs);
        const int end = es_stretch_end(s), taken = worth_taking(deal, member, other, s);
        if (taken == 0) continue;
        if (!atomic_compare_exchange_strong(theirs, &s,
                                            es_stretch(es_stretch_first(s), end - taken)))
            continue;
        /* Nobody else writes an empty stretch, so this needs no comparing. */
        atomic_store(&deal->hands[member].stretch, es_stretch(end - taken, end));
        return true;
    }
    return false;
}

bool es_deal_next(es_deal *deal, int member, int *first) {
    es_deal_hand *h = &deal->hands[member];
    h->ended = es_seconds();
    if (h->began == 0) h->began = h->ended;
    const uint64_t s = atomic_load(&h->stretch);
    if (es_stretch_first(s) == es_stretch_end(s) && !take_over(deal, member)) return false;
    *first = es_deal_claimed(deal, member);
    return true;
}

int es_deal_claim(es_deal *deal, int member, int end) {
    es_deal_hand *h = &deal->hands[member];
    for (;;) {
        uint64_t s = atomic_load(&h->stretch);
        const int first = es_stretch_first(s),
                  rows = (end < es_stretch_end(s) ? end : es_stretch_end(s)) - first;
        if (rows <= 0) return es_stretch_end(s);
        if (!atomic_compare_exchange_strong(&h->stretch, &s,
                                            es_stretch(first + rows, es_stretch_end(s))))
            continue;
        atomic_fetch_add(&h->claimed, rows);
        atomic_fetch_sub(&deal->left, rows);
        return es_stretch_end(s);
    }
}

int es_deal_claimed(const es_deal *deal, int member) {
    return es_stretch_first(atomic_load(&deal->hands[member].stretch));
}

double es_deal_done(const es_deal *deal) {
    return 1 - (double)atomic_load(&deal->left) / deal->rows;
}
