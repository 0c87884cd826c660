#include "engine/native_spans.h"

#include "engine/stretch.h"

/* One member on its way. */
typedef struct walk {
    es_native_spans *all;
    es_native_seat *seat, *pair;   /* its own, and where the pair's units are claimed */
    const es_native_seat *towards; /* the other of the pair, or NULL */
    const es_native_seat *behind;  /* whose span begins where this one's does, or NULL */
    bool down;                     /* else up */
    int origin, count;             /* its first unit; how many it has claimed */
    bool ended;                    /* there are no more */
    int own;                       /* stages whose weights it has made for itself */
    es_native_span span;
} walk;

void es_native_spans_deal(es_native_spans *a) {
    const es_native_plan *p = a->run->plan;
    const int first = p->group_first[a->group];
    const es_stage *s = &p->stages[first];
    a->stages = p->group_first[a->group + 1] - first;
    a->unit = s->span_unit;
    a->seats = (es_native_seat *)(void *)(a->run->arena + p->seats);
    /* One unit is each member's own; what goes beyond that is dealt. */
    const int units = (s->grid.strips + a->unit - 1) / a->unit - p->members;
    es_portions *hands = es_native_hands(a->run);
    es_portions_deal(hands, es_native_paces(a->run), p->members, units);
    for (int m = 0; m < p->members; m += 2) {
        es_native_seat *pair = &a->seats[m];
        const bool two = m + 1 < p->members;
        pair->first = es_stretch_first(atomic_load(&hands[m].left)) + m;
        pair->end = es_stretch_end(atomic_load(&hands[m + two].left)) + m + two + 1;
        atomic_init(&pair->left, es_stretch(pair->first + 1, pair->end - two));
    }
    for (int i = 0; i < ES_SPAN_STAGES; i++) {
        for (int m = 0; m < p->members; m++) atomic_init(&a->seats[m].done[i], 0);
        atomic_init(&a->weights[i].claimed, 0);
        atomic_init(&a->weights[i].made, 0);
    }
    atomic_init(&a->stop, false);
}

static walk begin(es_native_spans *a, int member, int members) {
    walk w = {.all = a, .seat = &a->seats[member], .down = member % 2 == 0};
    const int other = w.down ? member + 1 : member - 1, behind = w.down ? member - 1 : member + 1;
    w.pair = &a->seats[w.down ? member : other];
    if (other < members) w.towards = &a->seats[other];
    if (behind >= 0 && behind < members) w.behind = &a->seats[behind];
    w.origin = w.down ? w.pair->first : w.pair->end - 1;
    w.span = (es_native_span){.member = member, .above = member - 1, .below = member + 1};
    return w;
}

/* ---- Claiming ------------------------------------------------------------------------------- */

/* Units of the pair that this member has not claimed: the other one's, when none are left. */
static int units_of_other(const walk *w) { return w->pair->end - w->pair->first - w->count; }

/* What is left to do of `count` units, in channels in times channels out; all of one unit. */
static double undone(const walk *w, const es_native_seat *seat, int count, double *unit) {
    const es_native_plan *p = w->all->run->plan;
    double sum = *unit = 0;
    for (int i = 0; i < w->all->stages; i++) {
        const es_stage *s = &p->stages[p->group_first[w->all->group] + i];
        const double one = (double)s->chunks * s->width_out;
        sum += one * (count - atomic_load(&seat->done[i]));
        *unit += one;
    }
    return sum;
}

/*
 * Whether both will be done sooner if this member takes one unit more than if the other one takes all
 * that are left.  (Of what a member has claimed some is always undone, and takes a slow one longer.)
 * Where this is false for one, it is true for the other.
 */
static bool worth_claiming(const walk *w, int left) {
    if (!w->towards) return true;
    const es_pace *paces = es_native_paces(w->all->run);
    const double mine = es_pace_cost(paces + w->span.member),
                 theirs = es_pace_cost(paces + (w->towards - w->all->seats));
    if (mine <= 0 || theirs <= 0) return true;
    double unit;
    const int others = units_of_other(w) - left;
    const double own = undone(w, w->seat, w->count, &unit) + unit;
    return mine * own <= theirs * (undone(w, w->towards, others, &unit) + unit * left);
}

/* Claims the next unit, if there is one for this member. */
static bool claim(walk *w) {
    const es_native_plan *p = w->all->run->plan;
    const int rows = es_strip_rows(&p->stages[p->group_first[w->all->group]].grid) * w->all->unit;
    uint64_t left = atomic_load(&w->pair->left), rest;
    if (w->count > 0) {
        do {
            const int first = es_stretch_first(left), end = es_stretch_end(left);
            if (first == end || !worth_claiming(w, end - first)) return false;
            rest = w->down ? es_stretch(first + 1, end) : es_stretch(first, end - 1);
        } while (!atomic_compare_exchange_weak(&w->pair->left, &left, rest));
    }
    w->count++;
    w->span.top = (w->down ? w->origin : w->origin - w->count + 1) * rows;
    w->span.bottom = w->span.top + w->count * rows;
    return true;
}

/* ---- What can be done ----------------------------------------------------------------------- */

enum { BLOCKS_AT_ONCE = 2 };

/* Blocks first .. end-1 of a stage's weights, then from `soon` on. */
static void make_weights(const walk *w, const es_stage *s, int first, int end, int soon) {
    es_native_spans *a = w->all;
    const bool learns = w->span.member == 0 && s->copy > 0;
    const double began = learns ? es_seconds() : 0;
    es_native_weights_make(a->run, s, first, end, soon, w->span.member);
    if (learns) es_copies_learn(a->copies, a->run->each, end - first, es_seconds() - began);
}

static int blocks_to(int first, int blocks) { return es_at_most(first + BLOCKS_AT_ONCE, blocks); }

/* Makes all of a stage's weights for this member alone, once. */
static void make_own(walk *w, int stage, const es_stage *s, int blocks) {
    if (stage < w->own) return;
    for (int first = 0, end; first < blocks; first = end) {
        end = blocks_to(first, blocks);
        make_weights(w, s, first, end, end);
    }
    w->own = stage + 1;
}

/* Makes a stage's weights as long as there are some that nobody makes; true when all are made. */
static bool weights_made(walk *w, int stage) {
    es_native_spans *a = w->all;
    const es_native_plan *p = a->run->plan;
    const es_stage *s = &p->stages[p->group_first[a->group] + stage];
    const int blocks = es_native_weights_blocks(s);
    atomic_int *claimed = &a->weights[stage].claimed, *made = &a->weights[stage].made;
    if (a->weights_made) return true;
    if (a->run->each) {
        make_own(w, stage, s, blocks);
        return true;
    }
    if (atomic_load(claimed) < blocks) {
        int first = atomic_fetch_add(claimed, BLOCKS_AT_ONCE), soon;
        for (; first < blocks; first = soon) {
            const int end = blocks_to(first, blocks);
            soon = atomic_fetch_add(claimed, BLOCKS_AT_ONCE);
            make_weights(w, s, first, end, soon);
            if (atomic_fetch_add(made, end - first) + end - first == blocks)
                es_team_tell(a->run->context->team);
        }
    }
    return atomic_load(made) == blocks;
}

/* Whether neighbours have made the rows that unit j of a stage needs of theirs, and have read those
 * of this member's first unit that it would write over. */
static bool neighbours_ready(const walk *w, int stage, int j) {
    const atomic_int *behind = w->behind ? w->behind->done : NULL,
                     *towards = w->towards ? w->towards->done : NULL;
    if (behind && stage > 0 && j == 0 && atomic_load(&behind[stage - 1]) == 0) return false;
    if (behind && stage + 1 < w->all->stages && j >= ES_SPAN_HELD &&
        atomic_load(&behind[stage + 1]) == 0)
        return false;
    if (stage == 0 || j < w->count - 1) return true;
    return w->ended && (!towards || atomic_load(&towards[stage - 1]) >= units_of_other(w));
}

/* Whether unit j of a stage can be done: the stage before is one unit further, those after it are as
 * far behind as their rings allow, neighbours are as far as they must be, weights are there. */
static bool ready(walk *w, int stage, int j) {
    const atomic_int *done = w->seat->done;
    for (int i = stage + 1; i < w->all->stages; i++)
        if (atomic_load(&done[i]) < j - (i - stage)) return false;
    if (stage == 0 && j == w->count && !claim(w)) return false;
    if (j == w->count) return false;
    if (stage > 0 && atomic_load(&done[stage - 1]) < (j < w->count - 1 ? j + 2 : j + 1))
        return false;
    return neighbours_ready(w, stage, j) && (j > 0 || weights_made(w, stage));
}

/* ---- Going ---------------------------------------------------------------------------------- */

/* Whether a stage is the first of its group to read a cache: it makes the tiles, then. */
static bool makes(const es_native_plan *p, int group, int stage, int cache) {
    for (int i = p->group_first[group]; i < stage; i++)
        for (int k = 0; k < p->stages[i].input_count; k++)
            if (p->stages[i].inputs[k] == cache) return false;
    return true;
}

static void do_unit(const walk *w, int stage, int j) {
    const es_native_spans *a = w->all;
    const es_native_plan *p = a->run->plan;
    const int index = p->group_first[a->group] + stage,
              unit = w->down ? w->origin + j : w->origin - j;
    const es_stage *s = &p->stages[index];
    es_task task = {.stage = index, .from = unit * a->unit, .to = (unit + 1) * a->unit};
    if (task.to > s->grid.strips) task.to = s->grid.strips;
    for (int k = 0; k < s->input_count; k++)
        task.fresh[k] = makes(p, a->group, index, s->inputs[k]) ? task.from : task.to;
    const es_native_units units = es_native_units_of(p, &task, a->run->column);
    const int portions = (units.count + units.most - 1) / units.most;
    const double began = es_seconds();
    double work = 0;
    es_native_prepare(a->run, &task, &w->span);
    for (int i = 0; i < portions; i++)
        work += es_native_do(a->run, &task, &w->span, units.count * i / portions,
                             units.count * (i + 1) / portions);
    es_native_conclude(a->run, &task, &w->span);
    es_pace_learn(es_native_paces(a->run) + w->span.member, work, es_seconds() - began);
    atomic_fetch_add(&w->seat->done[stage], 1);
    es_team_tell(a->run->context->team);
}

/* Member 0 alone says how far its pair is, and when to stop. */
static void report(const walk *w) {
    es_native_spans *a = w->all;
    double done = 0;
    for (int i = 0; i < a->stages; i++) {
        done += atomic_load(&w->seat->done[i]);
        if (w->towards) done += atomic_load(&w->towards->done[i]);
    }
    if (a->report(a->context, done / ((w->pair->end - w->pair->first) * a->stages))) return;
    atomic_store(&a->stop, true);
    es_team_tell(a->run->context->team);
}

/* The stage to go on with: the furthest that can; else one more unit is claimed.  -1: nothing can be
 * done now. */
static int next_stage(walk *w) {
    const uint64_t left = atomic_load(&w->pair->left);
    w->ended = w->count > 0 && es_stretch_first(left) == es_stretch_end(left);
    int stage = w->all->stages - 1;
    while (stage >= 0 && !ready(w, stage, atomic_load(&w->seat->done[stage]))) stage--;
    return stage;
}

void es_native_spans_run(void *spans, int member, int members) {
    es_native_spans *a = spans;
    es_team *team = a->run->context->team;
    es_native_clear_borders(a->run, a->group, ES_NATIVE_FRAMES | ES_NATIVE_RINGS, member);
    es_native_watch_begin(a->run, a->group, member);
    es_team_barrier(team);
    walk w = begin(a, member, members);
    const atomic_int *last = &w.seat->done[a->stages - 1];
    while (!atomic_load(&a->stop) && !(w.ended && atomic_load(last) == w.count)) {
        const unsigned told = es_team_told(team);
        const int stage = next_stage(&w);
        if (stage < 0) {
            es_team_listen(team, told);
            continue;
        }
        do_unit(&w, stage, atomic_load(&w.seat->done[stage]));
        if (member == 0) report(&w);
    }
}
