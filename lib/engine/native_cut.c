#include "engine/native_cut.h"

/* ---- Chains -------------------------------------------------------------------------------- */

/* Whether stage i of a group reads what the one before makes, and of the group's own nothing that is
 * not in tiles, in tiles of the same size. */
static bool goes_on(const es_native_plan *p, int group, int i) {
    const int first = p->group_first[group];
    const es_stage *s = &p->stages[i], *before = &p->stages[i - 1];
    bool reads = false;
    for (int k = 0; k < s->input_count; k++)
        reads |= p->caches[s->inputs[k]].sheet == before->output;
    for (int k = 0; k < s->input_count; k++) reads &= p->caches[s->inputs[k]].up == 1;
    for (int k = 0; k < s->residuals; k++) reads &= p->sheets[s->residual[k]].stage < first;
    return reads && s->shape == before->shape && s->height == before->height &&
           s->width == before->width;
}

/* A chain of convolutions. */
static bool is_chain(const es_native_plan *p, int group) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    bool chain = !p->traced && end - first >= 2 && end - first <= ES_SPAN_STAGES;
    for (int i = first; i < end && chain; i++)
        chain = p->stages[i].kind == ES_STAGE_CONV && (i == first || goes_on(p, group, i));
    return chain;
}

/* Strips with tiles enough for a pass. */
static int unit_of(const es_grid *grid) {
    return es_ceil_div(ES_TILES_A_PASS, grid->rows * grid->held);
}

/* Whether there are strips enough for everybody to have a span of them. */
static bool has_spans(const es_native_plan *p, int group) {
    const es_grid *grid = &p->stages[p->group_first[group]].grid;
    const int least = p->members == 2 ? ES_SPAN_LEAST_TWO : ES_SPAN_LEAST;
    return p->members > 1 && es_ceil_div(grid->strips, unit_of(grid)) >= least * p->members;
}

/* ---- Rings --------------------------------------------------------------------------------- */

/* From the first stage of a group that reads a cache to the last one. */
static int stages_reading(const es_native_plan *p, int group, int cache) {
    int first = -1, last = -1;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++)
        for (int k = 0; k < p->stages[i].input_count; k++) {
            if (p->stages[i].inputs[k] != cache) continue;
            last = i;
            if (first < 0) first = i;
        }
    return last - first + 1;
}

/* A member's ring of what a stage makes: the rows of ES_SPAN_HELD units and one more. */
static int span_rows(const es_stage *s) {
    return ES_SPAN_HELD * s->span_unit * es_strip_rows(&s->grid) + 1;
}
static size_t span_sheet(const es_native_plan *p, const es_stage *s) {
    return es_aligned((size_t)span_rows(s) * p->sheets[s->output].stride);
}

/* ... and of a cache: as many units as there are stages from the first to read it to the last. */
static int span_strips(const es_native_plan *p, int group, int cache) {
    return stages_reading(p, group, cache) * p->stages[p->group_first[group]].span_unit;
}
static size_t span_cache(const es_native_plan *p, int group, int cache) {
    const es_cache *c = &p->caches[cache];
    return es_aligned(c->chunk * (size_t)c->chunks * (size_t)c->grid.slabs *
                      (size_t)span_strips(p, group, cache) * sizeof(float));
}

/* Bytes of a member's rings of a group. */
static size_t span_bytes(const es_native_plan *p, int group) {
    size_t all = 0;
    for (int i = p->group_first[group]; i < p->group_first[group + 1] - 1; i++)
        all += span_sheet(p, &p->stages[i]);
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++)
        if (p->caches[i].readers > 1) all += span_cache(p, group, i);
    return all;
}

size_t es_native_seams(es_native_plan *p, int group, size_t offset) {
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        if (p->stages[i].grid.columns == 1 || p->stages[i].output < 0) continue;
        es_sheet *sheet = &p->sheets[p->stages[i].output];
        sheet->seams = offset;
        offset += es_aligned((size_t)sheet->height * (size_t)sheet->seam * sheet->pixel);
    }
    return offset;
}

/* A member's rings lie side by side, so that pages are the one's or the other's: whoever is first to
 * touch a page decides which memory it is in. */
size_t es_native_span_rings(es_native_plan *p, int group, size_t offset) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    const size_t bytes = span_bytes(p, group);
    size_t at = offset;
    for (int i = first; i < end - 1; i++) {
        es_sheet *sheet = &p->sheets[p->stages[i].output];
        sheet->rows = span_rows(&p->stages[i]);
        sheet->offset = at;
        sheet->apart = bytes;
        at += span_sheet(p, &p->stages[i]);
    }
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++) {
        es_cache *c = &p->caches[i];
        if (c->readers == 1) continue;
        c->strips = span_strips(p, group, i);
        c->offset = at;
        c->apart = bytes / sizeof(float);
        at += span_cache(p, group, i);
    }
    return es_native_watch_layout(p, group, offset + bytes * (size_t)p->members);
}

/* ---- Spans --------------------------------------------------------------------------------- */

/*
 * Groups of which each member does a span: chains of convolutions with strips enough for everybody.
 * Units are strips with tiles enough for a pass.  (x4plus, two threads, against sharing in every
 * task: 0.91 to 0.96 of the time at 128 x 128, 0.96 at 256 x 256, 0.7 to 0.9 where one core is
 * slower; 0.93 where there are 5.5 units a member, 0.97 with 3.)
 */
static void spans(es_native_plan *p, int group) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    const int unit = unit_of(&p->stages[first].grid);
    if (!has_spans(p, group)) return;
    for (int i = first; i < end; i++) p->stages[i].span_unit = unit;
    if (p->stages[first].grid.columns > 1) return; /* known to fit */
    if (span_bytes(p, group) <= ES_SPAN_BYTES / (size_t)p->members) return;
    for (int i = first; i < end; i++) p->stages[i].span_unit = 0;
}

bool es_native_has_copies(const es_native_plan *p, int group) {
    const es_stage *s = &p->stages[p->group_first[group]];
    return p->members == 2 && s->span_unit > 0 && s->grid.across * s->grid.down <= ES_COPIES_TILES;
}

/* ---- Columns ------------------------------------------------------------------------------- */

/* Tiles of a column at least, where there is more than one: two full register blocks, nearly. */
enum { COLUMN_LEAST = 22 };

/* Bytes that a tile takes in the rings of one member. */
static size_t bytes_a_tile(const es_native_plan *p, int group) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    size_t all = 0;
    for (int i = first; i < end - 1; i++) {
        const es_stage *s = &p->stages[i];
        all += (size_t)(ES_SPAN_HELD * s->grid.tile + 1) * (size_t)s->grid.tile *
               p->sheets[s->output].pixel;
    }
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++) {
        const es_cache *c = &p->caches[i];
        if (c->readers == 1) continue;
        all += (size_t)c->points * ES_NATIVE_LANES * sizeof(float) * (size_t)c->chunks *
               (size_t)stages_reading(p, group, i);
    }
    return all;
}

/* All stages of a group in so many columns. */
static void set_columns(es_native_plan *p, int group, int columns) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    for (int i = first; i < end; i++) {
        es_stage *s = &p->stages[i];
        es_grid *g = &s->grid;
        s->beside = end - 1 - i;
        g->columns = columns;
        g->beside = end - 1 - first;
        g->held = es_ceil_div(g->across, columns) + g->beside;
        es_grid_divide(g, g->held, es_ceil_div(g->held, s->kernels->block));
        g->slabs = 1;
        g->room = g->held | 1;
        if (i + 1 < end) {
            p->sheets[s->output].held = g->held * g->tile;
            p->sheets[s->output].seam = s->beside * g->tile + 1;
        }
        for (int k = 0; k < s->input_count; k++) p->caches[s->inputs[k]].grid = *g;
    }
}

/*
 * Columns where rings would take more than ES_COLUMNS_FROM: as few as make them small.  Where members share
 * in every task, what the last stage makes would not come in the order that es_native_shift needs.
 * (Two threads: FP32 0.97 of the time at 256 x 256, 0.94 400 and 640 pixels wide; BF16 0.96 640 wide, 0.92
 * 960 wide; AVX2 0.94 400 wide.  From 1280 on against columns of 64 tiles and more that did tiles at their
 * sides twice: FP32 0.89 to 0.91, BF16 0.94 to 0.98, AVX2 0.90.)
 */
static void columns(es_native_plan *p, int group) {
    const es_grid *g = &p->stages[p->group_first[group]].grid;
    const int beside = p->group_first[group + 1] - p->group_first[group] - 1;
    const size_t tile = bytes_a_tile(p, group), members = (size_t)es_at_least(p->members, 2);
    const int own = es_at_least((int)(ES_COLUMN_BYTES / members / tile) - beside, COLUMN_LEAST);
    if (g->rows > 1 || g->across < own * 7 / 4) return;
    if (tile * (size_t)g->across < ES_COLUMNS_FROM / members) return;
    if (p->members > 1 &&
        (!has_spans(p, group) || tile * (size_t)(own + beside) > ES_SPAN_BYTES / members))
        return;
    set_columns(p, group, es_ceil_div(g->across, own));
}

int es_native_shift(const es_native_plan *p, int group, int sheet) {
    const es_sheet *old = &p->sheets[sheet];
    const es_grid *g = &p->stages[p->group_first[group]].grid;
    bool read = false; /* beyond the column */
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++)
        read |= p->caches[i].sheet == sheet;
    if (g->columns == 1 || !read) return old->shift;
    const int shift = old->shift + 1;
    return shift <= old->pad ? shift : -1;
}

/* ---- Parts --------------------------------------------------------------------------------- */

static bool one_task(void *context, const es_task *task) {
    const es_native_plan *p = context;
    return task->from == 0 || p->stages[task->stage].kind != ES_STAGE_CONV;
}

bool es_native_is_whole(es_native_plan *p, int group) {
    return es_native_schedule(p, group, one_task, p);
}

/*
 * Channels out are dealt where weights are made for one task and never used again.  (x4plus, two threads,
 * against dealing tiles alone, FP32 and BF16: 0.78 and 0.74 of the time at 8 x 8, 0.89 and 0.82 at 16 x 16,
 * 0.96 and 0.94 at 24 x 24, 1.03 and 1.00 at 32 x 32.)
 */
static void parts(es_native_plan *p, int group) {
    const int first = p->group_first[group], end = p->group_first[group + 1];
    bool fits = !p->keeps && p->members > 1 && p->members <= ES_PARTS_MEMBERS &&
                p->stages[first].span_unit == 0 && es_native_is_whole(p, group);
    for (int i = first; i < end && fits; i++) {
        const es_stage *s = &p->stages[i];
        fits = s->width_out % (ES_PARTS * ES_NATIVE_LANES) == 0 &&
               s->grid.across * s->grid.down <= ES_PARTS_TILES &&
               s->grid.strips * s->grid.blocks <= es_native_most_blocks(s);
    }
    for (int i = first; i < end && fits; i++) p->stages[i].parts = ES_PARTS;
}

/* ---- All of it ----------------------------------------------------------------------------- */

static void strides(es_native_plan *p, int pad) {
    for (int i = 0; i < p->sheet_count; i++) {
        es_sheet *s = &p->sheets[i];
        const bool frame = s->last_group > p->stages[s->stage].group;
        if (frame && s->border > 0) s->pad = pad;
        s->stride = s->pixel * (size_t)(s->pad + s->held + (s->border > 0 ? 1 + s->border : 0));
    }
    for (int i = 0; i < p->cache_count; i++) {
        es_cache *c = &p->caches[i];
        c->chunk = (size_t)c->points * (size_t)c->grid.room * ES_NATIVE_LANES;
    }
}

void es_native_cut(es_native_plan *p) {
    int pad = 0;
    for (int g = 0; g < p->group_count; g++) {
        const es_grid *grid = &p->stages[p->group_first[g]].grid;
        if (is_chain(p, g)) columns(p, g);
        if (grid->columns > 1) pad = 1;
    }
    strides(p, pad);
    for (int g = 0; g < p->group_count; g++)
        if (is_chain(p, g)) spans(p, g), parts(p, g);
}
