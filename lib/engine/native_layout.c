#include "engine/native_layout.h"

#include "engine/native_spans.h"

/* ---- The order ----------------------------------------------------------------------------- */

typedef struct scheduler {
    es_native_plan *plan;
    int first, last; /* stages of the group */
    es_native_take take;
    void *context;
    bool stopped;
} scheduler;

/* Rows of a cache's sheet that strips up to `strip` need. */
static int rows_below(const es_native_plan *p, const es_cache *c, int strip) {
    const es_sheet *s = &p->sheets[c->sheet];
    int end = es_at_most(strip * es_strip_rows(&c->grid) + 1, s->height * c->up);
    return es_at_most(es_ceil_div(end, c->up), s->height);
}

/* The first row of its sheet that a cache still needs, with `done` strips made. */
static int row_above(const es_native_plan *p, const es_cache *c, int done) {
    if (done >= c->grid.strips) return p->sheets[c->sheet].height;
    return es_at_least(0, (done * es_strip_rows(&c->grid) - 1) / c->up);
}

/* Some strips after the other, also where many rows are wanted: the first of a group need those of stages
 * before them for as many convolutions as follow, and rings would have to hold all of them. */
static void advance(scheduler *run, int stage, int rows) {
    es_native_plan *p = run->plan;
    es_stage *s = &p->stages[stage];
    int unit = es_strip_rows(&s->grid);
    rows = es_at_most(rows, s->height);
    while (!run->stopped && es_at_most(s->done * unit, s->height) < rows) {
        const int to = es_at_most(s->done + s->least, s->grid.strips);
        es_task task = {.stage = stage, .from = s->done, .to = to};
        int end = es_at_most(to * unit, s->height);
        for (int k = 0; k < s->residuals; k++)
            if (p->sheets[s->residual[k]].stage >= run->first)
                advance(run, p->sheets[s->residual[k]].stage, end);
        for (int k = 0; k < s->input_count; k++) {
            if (s->kind == ES_STAGE_WRITE) {
                advance(run, p->sheets[s->inputs[k]].stage, end);
                continue;
            }
            es_cache *c = &p->caches[s->inputs[k]];
            task.fresh[k] = es_at_least(c->done, task.from);
            if (c->done < to && p->sheets[c->sheet].stage >= run->first)
                advance(run, p->sheets[c->sheet].stage, rows_below(p, c, to));
        }
        if (run->stopped) return;
        /* Whoever was asked for rows may have made caches that this stage reads, too. */
        for (int k = 0; k < s->input_count && s->kind == ES_STAGE_CONV; k++) {
            es_cache *c = &p->caches[s->inputs[k]];
            task.fresh[k] = es_at_least(c->done, task.from);
        }
        if (!run->take(run->context, &task)) run->stopped = true;
        for (int k = 0; k < s->input_count && s->kind == ES_STAGE_CONV; k++) {
            es_cache *c = &p->caches[s->inputs[k]];
            c->done = es_at_least(c->done, to);
        }
        s->done = to;
        if (s->output >= 0) p->sheets[s->output].done = end;
    }
}

bool es_native_schedule(es_native_plan *p, int group, es_native_take take, void *context) {
    scheduler run = {.plan = p,
                     .first = p->group_first[group],
                     .last = p->group_first[group + 1] - 1,
                     .take = take,
                     .context = context};
    for (int i = run.first; i <= run.last; i++) {
        es_stage *s = &p->stages[i];
        s->done = 0;
        if (s->output >= 0) p->sheets[s->output].done = 0;
        for (int k = 0; k < s->input_count && s->kind == ES_STAGE_CONV; k++)
            p->caches[s->inputs[k]].done = 0;
    }
    es_stage *last = &p->stages[run.last];
    while (!run.stopped && last->done < last->grid.strips)
        advance(&run, run.last, (last->done + last->least) * es_strip_rows(&last->grid));
    for (int i = run.first; i <= run.last; i++) advance(&run, i, p->stages[i].height);
    return !run.stopped;
}

/* ---- Memory -------------------------------------------------------------------------------- */

typedef struct survey {
    es_native_plan *plan;
    int group;
    int in_place; /* sheet whose frame this group's last stage writes over, or -1 */
    bool clash;
    size_t tasks;
} survey;

/* The first row of a sheet that somebody in the group will still read. */
static int still_needed(const es_native_plan *p, int group, int sheet, bool caches_only) {
    int row = p->sheets[sheet].height;
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++)
        if (p->caches[i].sheet == sheet)
            row = es_at_most(row, row_above(p, &p->caches[i], p->caches[i].done));
    for (int i = p->group_first[group]; i < p->group_first[group + 1] && !caches_only; i++) {
        const es_stage *s = &p->stages[i];
        int next = s->done * es_strip_rows(&s->grid);
        for (int k = 0; k < s->residuals; k++)
            if (s->residual[k] == sheet) row = es_at_most(row, next);
        if (s->kind == ES_STAGE_WRITE && s->inputs[0] == sheet) row = es_at_most(row, next);
    }
    return row;
}

/* Rings have to hold what a task adds and what is still needed before it. */
static bool measure(void *context, const es_task *task) {
    survey *v = context;
    es_native_plan *p = v->plan;
    const es_stage *s = &p->stages[task->stage];
    int end = es_at_most(task->to * es_strip_rows(&s->grid), s->height);
    v->tasks++;
    if (s->output >= 0 && p->sheets[s->output].slot < 0) {
        es_sheet *sheet = &p->sheets[s->output];
        int needed = es_at_most(still_needed(p, v->group, s->output, false), sheet->done);
        sheet->rows = es_at_least(sheet->rows, end - needed);
    }
    if (task->stage == p->group_first[v->group + 1] - 1 && v->in_place >= 0)
        v->clash |= still_needed(p, v->group, v->in_place, true) < end;
    for (int k = 0; k < s->input_count && s->kind == ES_STAGE_CONV; k++) {
        es_cache *c = &p->caches[s->inputs[k]];
        int least = c->done;
        for (int i = p->group_first[v->group]; i < p->group_first[v->group + 1]; i++)
            for (int j = 0; j < p->stages[i].input_count; j++)
                if (p->stages[i].kind == ES_STAGE_CONV && p->stages[i].inputs[j] == s->inputs[k])
                    least = es_at_most(least, p->stages[i].done);
        c->strips = es_at_least(c->strips, es_at_least(c->done, task->to) - least);
    }
    return true;
}

/* True where the group's last stage is the only one to read `sheet` other than through a cache. */
static bool overwritable(const es_native_plan *p, int group, int sheet) {
    for (int i = p->group_first[group]; i < p->group_first[group + 1] - 1; i++)
        for (int k = 0; k < p->stages[i].residuals; k++)
            if (p->stages[i].residual[k] == sheet) return false;
    return true;
}

/* A frame for what outlives its group: one that is free, one that can be written over, a new one. */
static int find_slot(es_native_plan *p, int group, es_sheet *sheet) {
    for (int i = 0; i < p->slot_count; i++)
        if (p->slot_owner[i] < 0 || p->sheets[p->slot_owner[i]].last_group < group) return i;
    for (int i = 0; i < p->slot_count; i++) {
        const es_sheet *old = &p->sheets[p->slot_owner[i]];
        const int shift = es_native_shift(p, group, p->slot_owner[i]);
        if (old->last_group != group || old->stride != sheet->stride || shift < 0 ||
            !overwritable(p, group, p->slot_owner[i]))
            continue;
        survey v = {.plan = p, .group = group, .in_place = p->slot_owner[i]};
        es_native_schedule(p, group, measure, &v);
        if (v.clash) continue;
        sheet->shift = shift;
        return i;
    }
    return p->slot_count < ES_NATIVE_SLOTS ? p->slot_count++ : -1;
}

static bool frames(es_native_plan *p) {
    for (int g = 0; g + 1 < p->group_count; g++) {
        for (int i = p->group_first[g]; i < p->group_first[g + 1]; i++) {
            int index = p->stages[i].output;
            es_sheet *sheet = &p->sheets[index];
            if (index < 0 || sheet->last_group <= g) continue;
            if (i != p->group_first[g + 1] - 1) return false;
            sheet->slot = find_slot(p, g, sheet);
            if (sheet->slot < 0) return false;
            p->slot_owner[sheet->slot] = index;
            size_t bytes = sheet->stride * (size_t)sheet->height;
            if (p->slot_bytes[sheet->slot] < bytes) p->slot_bytes[sheet->slot] = es_aligned(bytes);
        }
    }
    return true;
}

/* So many floats, up to where the next ones may begin. */
static size_t aligned_floats(size_t floats) {
    return es_aligned(floats * sizeof(float)) / sizeof(float);
}

/* Where the weights of a stage go that are made together, one stage after the other. */
static size_t place_together(es_stage *s, size_t at) {
    const int full = s->kernels->panel, single = s->width_out % full / ES_NATIVE_LANES;
    s->weights = at;
    s->bias = at + (size_t)(s->width_out / full) * es_weights_panel(s, full) +
              (size_t)single * es_weights_panel(s, ES_NATIVE_LANES);
    return s->bias + (size_t)s->width_out;
}

/* ... and those of a member's own, one panel at a time. */
static size_t place_apart(es_stage *s) {
    s->weights = 0;
    s->bias = es_weights_panel(s, es_panel_width(s, s->width_out));
    return s->bias + (size_t)s->width_out;
}

/*
 * Where all is done in one task a stage, weights are used by a member for the few tiles it has and
 * never again.  To read from another core what that one made takes longer than to make it.
 */
static size_t weights_of(es_native_plan *p, int group) {
    const bool apart = !p->keeps && es_native_is_whole(p, group);
    size_t end = 0, most = 0;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        es_stage *s = &p->stages[i];
        if (s->kind != ES_STAGE_CONV) continue;
        if (!apart) {
            end = place_together(s, end);
            continue;
        }
        size_t own = aligned_floats(place_apart(s));
        if (most < own) most = own;
    }
    const size_t all = aligned_floats(end);
    const bool copies = !apart && !p->keeps && es_native_has_copies(p, group);
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        p->stages[i].apart = apart ? most : 0;
        p->stages[i].copy = copies ? all : 0;
    }
    return (apart ? most * (size_t)p->members : copies ? 2 * all : end) * sizeof(float);
}

/* Its stages are convolutions, more than one, of which members make the weights for themselves; not done in
 * columns, all of which come before the next group, nor in spans. */
static bool goes_on(const es_native_plan *p, int group) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    for (int i = first; i < end; i++) {
        const es_stage *s = &p->stages[i];
        if (s->kind != ES_STAGE_CONV || !s->apart || s->grid.columns > 1 || s->span_unit > 0)
            return false;
    }
    return end > first + 1 && p->watch_count == 0 && !p->traced;
}

int es_native_stretch(const es_native_plan *p, int group) {
    const size_t apart = p->stages[p->group_first[group]].apart;
    int end = group;
    while (end < p->group_count && goes_on(p, end) && p->stages[p->group_first[end]].apart == apart)
        end++;
    return es_at_least(end, group + 1);
}

static size_t rings_of(es_native_plan *p, int group, size_t offset) {
    offset = es_native_seams(p, group, offset);
    if (p->stages[p->group_first[group]].span_unit > 0)
        return es_native_span_rings(p, group, offset);
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++)
        if (p->stages[i].output >= 0 && p->sheets[p->stages[i].output].slot < 0)
            p->sheets[p->stages[i].output].rows = 0;
    survey v = {.plan = p, .group = group, .in_place = -1};
    es_native_schedule(p, group, measure, &v);
    if (p->most_tasks < v.tasks) p->most_tasks = v.tasks;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        if (p->stages[i].output < 0) continue;
        es_sheet *sheet = &p->sheets[p->stages[i].output];
        if (sheet->slot >= 0) continue;
        sheet->offset = offset;
        offset += es_aligned((size_t)sheet->rows * sheet->stride);
    }
    for (int i = p->group_first[group]; i < p->group_first[group + 1] && p->traced; i++) {
        for (int k = 0; k + 1 < p->stages[i].links; k++) {
            es_sheet *tap = &p->sheets[p->stages[i].taps[k]];
            tap->offset = offset;
            offset += es_aligned((size_t)tap->rows * tap->stride);
        }
    }
    offset = es_native_watch_layout(p, group, offset);
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++) {
        es_cache *c = &p->caches[i];
        if (c->readers == 1) continue;
        c->offset = offset;
        const size_t bytes = es_aligned(c->chunk * (size_t)c->chunks * (size_t)c->grid.slabs *
                                        (size_t)c->strips * sizeof(float));
        const bool each = p->stages[p->group_first[group]].parts > 1;
        if (each) c->apart = bytes / sizeof(float);
        offset += each ? bytes * (size_t)p->members : bytes;
    }
    return offset;
}

/* Floats of a member's own blocks of input k. */
static size_t own_blocks(const es_native_plan *p, const es_stage *s, int k) {
    const es_cache *c = &p->caches[s->inputs[k]];
    if (c->readers != 1 || s->few) return 0;
    return c->chunk * (size_t)c->chunks * (size_t)es_native_pass_blocks(p, s);
}

/* What one member needs: products of some blocks, a tile at the edge, rows on their way. */
static void scratch(es_native_plan *p, const es_network *n) {
    size_t widest = 0;
    for (int i = 0; i < p->stage_count; i++) {
        const es_stage *s = &p->stages[i];
        if (s->kind == ES_STAGE_CONV) {
            const size_t panel = (size_t)(s->kernels->panel * s->kernels->places);
            const size_t block = (size_t)s->grid.block * panel + ES_NATIVE_LANES;
            if (widest < (size_t)s->kernels->panel) widest = (size_t)s->kernels->panel;
            size_t all = block * (size_t)es_native_pass_blocks(p, s) *
                         (size_t)es_native_shape_geometry(s->shape).points;
            if (p->products < all && !s->few) p->products = all;
            size_t own = 0;
            for (int k = 0; k < s->input_count; k++) own += own_blocks(p, s, k);
            if (p->own < own) p->own = own;
            for (int k = 0; k < s->input_count; k++) {
                const es_sheet *from = &p->sheets[p->caches[s->inputs[k]].sheet];
                size_t patch = from->pixel * ES_NATIVE_MAX_PATCH * ES_NATIVE_MAX_PATCH;
                if (p->patch < patch) p->patch = patch;
            }
        } else {
            int channels = s->kind == ES_STAGE_READ ? s->op->channels : n->out_channels;
            size_t row = (size_t)channels * (size_t)s->width;
            if (p->staging < row) p->staging = row;
        }
    }
    size_t tile = widest * sizeof(float) * ES_NATIVE_MAX_TILE * ES_NATIVE_MAX_TILE;
    if (p->watch_count > 0 && p->patch < tile) p->patch = tile;
    size_t weights = ES_NATIVE_LANES * ES_NATIVE_LANES * 9; /* as stored */
    if (p->staging < weights) p->staging = weights;
    p->staging += ES_NATIVE_LANES - p->staging % ES_NATIVE_LANES;
    p->thread_bytes = es_aligned(p->products * sizeof(float)) + es_aligned(p->own * sizeof(float)) +
                      es_aligned(p->patch) + es_aligned(p->staging * sizeof(float)) + ES_ALIGN;
}

bool es_native_layout(es_native_plan *p, const es_network *n) {
    for (int i = 0; i < ES_NATIVE_SLOTS; i++) p->slot_owner[i] = -1;
    if (!frames(p)) return false;
    size_t slots[ES_NATIVE_SLOTS], offset = 0;
    for (int i = 0; i < p->slot_count; i++) slots[i] = offset, offset += p->slot_bytes[i];
    for (int i = 0; i < p->sheet_count; i++) {
        es_sheet *s = &p->sheets[i];
        if (s->slot >= 0) s->offset = slots[s->slot] + s->pixel * (size_t)(s->pad - s->shift);
    }
    for (int g = 0; g < p->group_count; g++) {
        size_t weights = es_aligned(weights_of(p, g));
        p->group_weights[g + 1] = p->group_weights[g] + weights;
        if (p->weights_bytes < weights && !p->keeps) p->weights_bytes = weights;
    }
    scratch(p, n);
    p->thread_offset = offset;
    offset += p->thread_bytes * (size_t)p->members;
    p->zeros = offset;
    offset += es_aligned(p->patch);
    p->hands = offset;
    offset += 2 * (size_t)p->members * sizeof(es_portions);
    p->paces = offset;
    offset += (size_t)p->members * sizeof(es_pace);
    p->seats = offset;
    offset += (size_t)p->members * sizeof(es_native_seat);
    p->group_offset = offset;
    p->arena = offset;
    for (int g = 0; g < p->group_count; g++) {
        size_t end = rings_of(p, g, p->group_offset + p->weights_bytes);
        if (p->arena < end) p->arena = end;
        const int beyond = es_native_stretch(p, g);
        const size_t tasks = (size_t)(p->group_first[beyond] - p->group_first[g]);
        if (beyond > g + 1 && p->most_tasks < tasks) p->most_tasks = tasks; /* one a stage */
    }
    return true;
}
