/* What a member does of a task: rows in, tiles through a convolution, rows out. */
#include "engine/native_run.h"

#include <string.h>

#include "base/dtype.h"

/* ---- Tiles in ------------------------------------------------------------------------------ */

static size_t own_floats(const es_cache *c) {
    return c->readers == 1 ? c->chunk * (size_t)c->chunks : 0;
}

/* Where a slab of a cache lies: in its ring, or `own` where nobody else reads it. */
static float *slab_of(const es_native_run *run, const es_cache *c, int member, int strip, int slab,
                      float *own) {
    if (c->readers == 1) return own;
    size_t floats = c->chunk * (size_t)c->chunks;
    size_t index = (size_t)(strip % c->strips) * (size_t)c->grid.slabs + (size_t)slab;
    return (float *)(void *)(run->arena + c->offset) + c->apart * (size_t)member + index * floats;
}

/* Rows y .. y+count-1 at a column, into `rows`; zeros for those outside, which have no other columns:
 * bit i of what is returned says that row i has. */
static unsigned rows_at(const es_native_run *run, const es_sheet *s, const es_native_span *span,
                        int y, int count, int x, const void **rows) {
    const int column = x - (s->slot < 0 ? run->left : 0) + (s->border > 0);
    const char *base = run->arena + s->offset + (ptrdiff_t)column * (ptrdiff_t)s->pixel;
    int at = (y + s->rows) % s->rows;
    unsigned all = 0;
    for (int i = 0; i < count; i++, y++) {
        const bool inside = y >= 0 && y < s->height;
        const int owner = y < span->top      ? span->above
                          : y < span->bottom ? span->member
                                             : span->below;
        rows[i] = inside ? base + (size_t)at * s->stride + (size_t)owner * s->apart
                         : run->arena + run->plan->zeros;
        all |= (unsigned)inside << i;
        if (++at == s->rows) at = 0;
    }
    return all;
}

/* So many bytes on, in the rows that have more. */
static void go_on(const void **rows, int count, unsigned which, size_t bytes) {
    for (int i = 0; i < count; i++) rows[i] = (const char *)rows[i] + (which >> i & 1 ? bytes : 0);
}

/* Where a tile of a strip is, and how many of `most` tiles lie side by side from there on. */
static int side_by_side(const es_grid *g, const es_reach *reach, int strip, int tile, int most,
                        int *ty, int *tx) {
    const int x = tile % reach->held;
    *ty = strip * g->rows + tile / reach->held;
    *tx = reach->left + x;
    return reach->held - x < most ? reach->held - x : most;
}

/* Tiles at the right and the lower edge may have fewer outputs, and points; that in the corner has them below. */
static es_native_shape shape_at(const es_grid *g, es_native_shape shape, int ty, int tx) {
    if (ty + 1 == g->down && g->lower < g->tile)
        return g->lower == 2 ? ES_NATIVE_F6_LOWER2 : ES_NATIVE_F6_LOWER4;
    if (tx + 1 == g->across && g->right < g->tile)
        return g->right == 2 ? ES_NATIVE_F6_RIGHT2 : ES_NATIVE_F6_RIGHT4;
    return shape;
}

/* A tile's points that its shape does not have, where they are multiplied with others': zeros. */
static void clear_points(const es_cache *c, es_native_shape shape, float *v) {
    const bool below = shape == ES_NATIVE_F6_LOWER2 || shape == ES_NATIVE_F6_LOWER4;
    for (int p = 0; p < c->points; p++) {
        if (es_native_has_line(below ? c->grid.lower : c->grid.right, below ? p / 8 : p % 8))
            continue;
        float *at = v + (size_t)(p * c->grid.room * ES_NATIVE_LANES);
        for (int i = 0; i < c->chunks; i++, at += c->chunk)
            memset(at, 0, sizeof(float) * ES_NATIVE_LANES);
    }
}

/* Enlarged other than by 2, which the kernels do themselves: pixels are gathered. */
static void gather(const es_native_run *run, const es_cache *c, int y0, int x0, int patch,
                   char *out) {
    const es_sheet *s = &run->plan->sheets[c->sheet];
    for (int i = 0; i < patch; i++) {
        int y = y0 + i;
        for (int j = 0; j < patch; j++, out += s->pixel) {
            int x = x0 + j;
            if (y < 0 || x < 0 || y >= s->height * c->up || x >= s->width * c->up)
                memset(out, 0, s->pixel);
            else
                memcpy(out, es_sheet_row(run, s, y / c->up) + (size_t)(x / c->up) * s->pixel,
                       s->pixel);
        }
    }
}

/* Tiles side by side from tx on, LANES floats apart in v. */
static void transform_tiles(const es_native_run *run, const es_cache *c, const es_native_span *span,
                            int ty, int tx, int count, float *v, char *scratch) {
    const es_sheet *s = &run->plan->sheets[c->sheet];
    const int patch = es_native_shape_geometry(c->shape).patch;
    const int step = c->grid.tile / (c->shape >= ES_NATIVE_F2_UP ? 2 : 1);
    const int y0 = ty * step - 1;
    const void *rows[ES_NATIVE_MAX_PATCH];
    unsigned inside = 0;
    if (c->up <= 2) inside = rows_at(run, s, span, y0, patch, tx * step - 1, rows);
    for (int i = 0; i < count; i++, v += ES_NATIVE_LANES) {
        if (c->up > 2) {
            gather(run, c, y0, (tx + i) * step - 1, patch, scratch);
            for (int j = 0; j < patch; j++) rows[j] = scratch + (size_t)(j * patch) * s->pixel;
        }
        const es_native_shape shape = shape_at(&c->grid, c->shape, ty, tx + i);
        c->kernels->input[shape][s->format](rows, (ptrdiff_t)s->pixel, s->padded, v,
                                            (size_t)c->grid.room * ES_NATIVE_LANES, c->chunk);
        if (shape != c->shape && c->grid.rows > 1) clear_points(c, shape, v);
        if (c->up <= 2) go_on(rows, patch, inside, (size_t)step * s->pixel);
    }
}

/* Frames once, by the first group that reads them, for one may be made where another one still has pixels;
 * rings for every column. */
void es_native_clear_borders(const es_native_run *run, int group, int which, int member) {
    const es_native_plan *p = run->plan;
    for (int i = p->cache_first[group]; i < p->cache_first[group + 1]; i++) {
        const es_sheet *s = &p->sheets[p->caches[i].sheet];
        const int left = s->slot < 0 ? run->left : 0, right = s->width - left;
        const int step = s->apart ? 1 : p->members;
        if (s->border == 0 || (s->slot >= 0 && run->column > 0)) continue;
        if (!(which & (s->slot >= 0 ? ES_NATIVE_FRAMES : ES_NATIVE_RINGS))) continue;
        for (int y = s->apart ? 0 : member; y < s->rows; y += step) {
            char *row = es_sheet_row(run, s, y) + s->apart * (size_t)member;
            if (left == 0) memset(row - s->pixel, 0, s->pixel);
            if (right <= s->held)
                memset(row + s->pixel * (size_t)right, 0, s->pixel * (size_t)s->border);
        }
    }
}

/* ---- Tiles out ----------------------------------------------------------------------------- */

/* Some tiles side by side and some channels of them. */
typedef struct tiles_out {
    const es_native_span *span;
    int ty, tx, count, channel, width;
    const float *products; /* of few channels out: the weights */
    size_t point;
    const float *bias;
} tiles_out;

/* What the first `links` operations of the stage do, but for where it goes: for the first tile. */
static void set_links(const es_native_run *run, const es_stage *s, int links, const tiles_out *t,
                      es_native_store *store) {
    const es_native_plan *p = run->plan;
    store->bias = t->bias;
    store->activate = s->activate && links > 1;
    store->slope = s->slope;
    store->residuals = links - 1 - store->activate;
    for (int k = 0; k < store->residuals; k++) {
        const es_sheet *from = &p->sheets[s->residual[k]];
        const size_t size = from->format == ES_NATIVE_F32 ? 4 : 2;
        store->alpha[k] = s->alpha[k];
        store->residual_step[k] = (ptrdiff_t)from->pixel;
        rows_at(run, from, t->span, t->ty * s->grid.tile, store->height, t->tx * s->grid.tile,
                store->residual[k]);
        go_on(store->residual[k], store->height, ~0u, (size_t)t->channel * size);
    }
}

static void watch_tile(const es_native_run *run, const es_stage *s, int link, const tiles_out *t,
                       int tx, const es_native_store *store, es_native_format format, int member) {
    es_native_region pixels = {.row = (const void *const *)store->row,
                               .step = store->step,
                               .height = store->height,
                               .width = store->width};
    es_unit unit = {t->ty * s->grid.across + tx, t->ty * s->grid.tile, tx * s->grid.tile,
                    t->channel, t->width};
    es_native_watch(run, s, link, unit, &pixels, format, member);
}

/* What the first `links` operations make of tiles: to the stage's sheet, or a tap; or, where it is not
 * `kept`, to be looked at only. */
static void store_link(const es_native_run *run, const es_stage *s, int links, bool kept,
                       const tiles_out *t, const es_native_scratch *scratch) {
    const es_native_plan *p = run->plan;
    const int side = s->grid.tile, y = t->ty * side;
    const es_sheet *out = &p->sheets[links < s->links && kept ? s->taps[links - 1] : s->output];
    const es_native_format format = s->formats[links - 1];
    const size_t size = format == ES_NATIVE_F32 ? 4 : 2;
    es_native_store store = {.height = s->height - y < side ? s->height - y : side,
                             .step = (ptrdiff_t)(kept ? out->pixel : (size_t)t->width * size)};
    const void *rows[ES_NATIVE_MAX_TILE];
    if (kept) rows_at(run, out, t->span, y, store.height, t->tx * side, rows);
    for (int k = 0; k < store.height; k++)
        store.row[k] = kept ? (char *)rows[k] + (size_t)t->channel * size
                            : scratch->patch + k * side * store.step;
    set_links(run, s, links, t, &store);
    const void *from[ES_NATIVE_MAX_PATCH];
    const es_sheet *in = &p->sheets[p->caches[s->inputs[0]].sheet];
    unsigned inside = 0;
    if (s->few) inside = rows_at(run, in, t->span, y - 1, store.height + 2, t->tx * side - 1, from);
    for (int i = 0; i < t->count; i++) {
        const int left = s->width - (t->tx + i) * side;
        store.width = left < side ? left : side;
        if (s->few) {
            s->kernels->few[in->format](s->op->channels, from, (ptrdiff_t)in->pixel, in->padded,
                                        t->products, &store);
            go_on(from, store.height + 2, inside, (size_t)side * in->pixel);
        } else {
            s->kernels->output[shape_at(&s->grid, s->shape, t->ty, t->tx + i)][format](
                t->products + (size_t)(i * t->width * s->kernels->places), t->point, t->width,
                &store);
        }
        if (s->watched >> (links - 1) & 1)
            watch_tile(run, s, links - 1, t, t->tx + i, &store, format, scratch->member);
        for (int k = 0; k < store.height && kept; k++)
            store.row[k] = (char *)store.row[k] + (size_t)side * out->pixel;
        for (int k = 0; k < store.residuals; k++)
            go_on(store.residual[k], store.height, ~0u,
                  (size_t)side * (size_t)store.residual_step[k]);
    }
}

/* What comes of every operation is kept where it is traced, looked at where it is watched. */
static void store_tiles(const es_native_run *run, const es_stage *s, const tiles_out *t,
                        const es_native_scratch *scratch) {
    for (int i = 1; i <= s->links; i++) {
        const bool watched = s->watched >> (i - 1) & 1, kept = i == s->links || run->plan->traced;
        if (watched || kept) store_link(run, s, i, kept, t, scratch);
    }
}

/* ---- A convolution ------------------------------------------------------------------------- */

/* One register block of a task: `tiles` of a strip from `first` on, in the caches' slab after `skip` others,
 * of which the last `also` are made with them: others read them. */
typedef struct place {
    int strip, slab, first, tiles, skip, also;
} place;

static place place_of(const es_grid *g, const es_reach *reach, int strip, int index) {
    while (index >= es_strip_blocks(g, reach, strip)) index -= es_strip_blocks(g, reach, strip++);
    const int tiles = es_strip_tiles(g, reach, strip), blocks = es_strip_blocks(g, reach, strip);
    const int begin = (int)((int64_t)tiles * index / blocks), before = reach->from - reach->left;
    place at = {.strip = strip,
                .slab = index,
                .first = before + begin,
                .tiles = (int)((int64_t)tiles * (index + 1) / blocks) - begin};
    if (g->columns > 1) {
        at.slab = 0;
        at.skip = at.first;
        at.also = index == 0 ? before : 0;
    }
    return at;
}

/* Which caches are filled: those that others read, those that only this stage reads. */
enum { SHARED = 1, OWN = 2 };

static void transform_blocks(const es_native_run *run, const es_task *task,
                             const es_native_span *span, const place *at, int count, int which,
                             const es_native_scratch *scratch) {
    const es_stage *s = &run->plan->stages[task->stage];
    const es_reach reach = es_reach_of(s, run->column);
    float *own = scratch->own;
    for (int k = 0; k < s->input_count; k++) {
        const es_cache *c = &run->plan->caches[s->inputs[k]];
        for (int i = 0; i < count; i++) {
            float *v = slab_of(run, c, span->member, at[i].strip, at[i].slab, own);
            own += own_floats(c);
            if (at[i].strip < task->fresh[k] || !(which & (c->readers == 1 ? OWN : SHARED)))
                continue;
            const int begin = at[i].first - at[i].also, tiles = at[i].also + at[i].tiles;
            v += (size_t)(at[i].skip - at[i].also) * ES_NATIVE_LANES;
            for (int t = 0, ty, tx, n; t < tiles; t += n) {
                n = side_by_side(&s->grid, &reach, at[i].strip, begin + t, tiles - t, &ty, &tx);
                transform_tiles(run, c, span, ty, tx, n, v + (size_t)t * ES_NATIVE_LANES,
                                scratch->patch);
            }
        }
    }
}

/* The chunks of every block, a table after the other. */
static void chunk_tables(const es_native_run *run, const es_stage *s, int member, const place *at,
                         int count, float *own, const float **tables) {
    int first = 0;
    for (int k = 0; k < s->input_count; k++) {
        const es_cache *c = &run->plan->caches[s->inputs[k]];
        for (int i = 0; i < count; i++, own += own_floats(c)) {
            const float *v = slab_of(run, c, member, at[i].strip, at[i].slab, own) +
                             (size_t)at[i].skip * ES_NATIVE_LANES;
            const float **table =
                tables + (size_t)i * ((size_t)s->chunks + ES_NATIVE_AHEAD) + first;
            for (int j = 0; j < c->chunks; j++) table[j] = v + (size_t)j * c->chunk;
            for (int j = 0; j < ES_NATIVE_AHEAD; j++) table[c->chunks + j] = table[c->chunks - 1];
        }
        first += c->chunks;
    }
}

/* Some channels out, their weights, and what of the checkpoint will be wanted after that. */
typedef struct panel {
    int channel, width;
    const float *u, *bias;
    es_native_soon soon;
} panel;

/* Tiles of a block, from its first on, that are all there are with a point of F6. */
static int tiles_with(const es_grid *g, const es_reach *reach, const place *at, int point) {
    const int end = at->first + at->tiles;
    const int lower = (g->down - 1 - at->strip * g->rows) * reach->held; /* the first of them */
    if (g->lower < g->tile && end > lower)
        return es_native_has_line(g->lower, point / 8) ? at->tiles
                                                       : es_at_least(0, lower - at->first);
    const bool right = end % reach->held == 0 && reach->left + reach->held == g->across;
    return at->tiles - (right && !es_native_has_line(g->right, point % 8));
}

/* One point of a block, part by part; each asks for the next one's tiles, the last for those of `ahead`. */
static void multiply_parts(es_native_multiply multiply, const float *const *v, size_t offset,
                           int tiles, const float *u, const es_stage *s, int width, float *m,
                           const es_native_ahead *ahead) {
    for (int from = 0, some; from < s->chunks; from += some) {
        const size_t before = (size_t)(from * ES_NATIVE_LANES * width);
        some = es_at_most(s->part, s->chunks - from);
        const bool last = from + some == s->chunks;
        const es_native_ahead next = {.v = last ? ahead->v : v + from + some,
                                      .offset = last ? ahead->offset : offset,
                                      .u = ahead->u + before / (size_t)ahead->share,
                                      .share = ahead->share};
        multiply(v + from, offset, tiles, u + before, some, from > 0, m, &next);
    }
}

/* From a point of a block's products to the next. */
static size_t products_point(const es_stage *s, int width) {
    return (size_t)(s->grid.block * width * s->kernels->places) + ES_NATIVE_LANES;
}

/* One panel of channels out for some blocks: products of every point, ... */
static void multiply_blocks(const es_native_run *run, const es_stage *s, const place *at, int count,
                            const float *const *tables, const panel *out, float *products) {
    const es_native_kernels *kernels = s->kernels;
    const int points = es_native_shape_geometry(s->shape).points, width = out->width;
    const size_t step = (size_t)s->grid.room * ES_NATIVE_LANES; /* from point to point of v */
    const size_t m_point = products_point(s, width);
    const size_t u_point = es_weights_point(s, width);
    const size_t table = (size_t)s->chunks + ES_NATIVE_AHEAD;
    es_native_multiply multiply =
        width == kernels->panel ? kernels->multiply_panel : kernels->multiply_lanes;
    const float *u = out->u;
    const es_reach reach = es_reach_of(s, run->column);
    size_t soon[ES_NATIVE_BLOCKS]; /* from a point's weights to those that a block asks for */
    for (int i = 0; i < count; i++)
        soon[i] = u_point * (size_t)(count - 1 + i) / (size_t)count + 2 * (size_t)width;
    for (int point = 0; point < points; point++, u += u_point) {
        for (int i = 0; i < count; i++) {
            bool last = i + 1 == count;
            es_native_ahead ahead = {
                .v = tables + (last ? 0 : (size_t)(i + 1) * table),
                .offset = step * (size_t)(last && point + 1 < points ? point + 1 : point),
                .u = u + soon[i],
                .share = count};
            const int tiles = s->shape == ES_NATIVE_F6 ? tiles_with(&s->grid, &reach, &at[i], point)
                                                       : at[i].tiles;
            if (tiles > 0)
                multiply_parts(
                    multiply, tables + (size_t)i * table, step * (size_t)point, tiles, u, s, width,
                    products + ((size_t)i * (size_t)points + (size_t)point) * m_point, &ahead);
            es_native_ask(&out->soon, point * count + i, points * count);
        }
    }
}

/* ... and pixels out of them; of few channels, out of the weights. */
static void store_blocks(const es_native_run *run, const es_stage *s, const es_native_span *span,
                         const place *at, int count, const panel *out,
                         const es_native_scratch *scratch) {
    const int points = es_native_shape_geometry(s->shape).points, width = out->width;
    const size_t m_point = products_point(s, width);
    const es_reach reach = es_reach_of(s, run->column);
    for (int i = 0; i < count; i++) {
        const float *m = scratch->products + (size_t)i * (size_t)points * m_point;
        for (int t = 0, ty, tx, n; t < at[i].tiles; t += n) {
            n = side_by_side(&s->grid, &reach, at[i].strip, at[i].first + t, at[i].tiles - t, &ty,
                             &tx);
            tiles_out some = {.span = span,
                              .ty = ty,
                              .tx = tx,
                              .count = n,
                              .channel = out->channel,
                              .width = width,
                              .products =
                                  s->few ? out->u : m + (size_t)(t * width * s->kernels->places),
                              .point = m_point,
                              .bias = out->bias};
            store_tiles(run, s, &some, scratch);
        }
    }
}

/* Shares of a task's blocks, where channels out are dealt, too. */
static int shares_of(const es_native_plan *p, const es_stage *s) {
    return (p->members + s->parts - 1) / s->parts;
}

es_native_units es_native_units_of(const es_native_plan *p, const es_task *task, int column) {
    const es_stage *s = &p->stages[task->stage];
    if (s->kind != ES_STAGE_CONV) return (es_native_units){task->to - task->from, 1};
    if (s->parts > 1) return (es_native_units){s->parts * shares_of(p, s), 1};
    return (es_native_units){es_task_blocks(p, task, column), es_native_pass_blocks(p, s)};
}

/* Where blocks first .. end-1 of a task lie; returns their tiles. */
static int places_of(const es_native_run *run, const es_task *task, int first, int end, place *at) {
    const es_stage *s = &run->plan->stages[task->stage];
    const es_reach reach = es_reach_of(s, run->column);
    int tiles = 0;
    for (int i = first; i < end; i++) {
        at[i - first] = place_of(&s->grid, &reach, task->from, i);
        tiles += at[i - first].tiles;
    }
    return tiles;
}

/* Pixels on a seam between columns, of the rows that a task makes: kept for the next column, or what the
 * one before has kept. */
static void over_seam(const es_native_run *run, const es_task *task, const es_native_span *span,
                      bool keep) {
    const es_stage *s = &run->plan->stages[task->stage];
    const es_sheet *sheet = &run->plan->sheets[s->output];
    const int rows = es_strip_rows(&s->grid), end = es_at_most(task->to * rows, s->height);
    const int right = keep ? es_reach_of(s, run->column).end * s->grid.tile - run->left : 0;
    const size_t bytes = (size_t)sheet->seam * sheet->pixel;
    for (int y = task->from * rows; y < end && bytes > 0; y++) {
        char *row = es_sheet_row(run, sheet, y) + sheet->apart * (size_t)span->member +
                    (ptrdiff_t)(right - 1) * (ptrdiff_t)sheet->pixel;
        char *seam = run->arena + sheet->seams + bytes * (size_t)y;
        memcpy(keep ? seam : row, keep ? row : seam, bytes);
    }
}

void es_native_conclude(const es_native_run *run, const es_task *task, const es_native_span *span) {
    if (run->column + 1 < run->plan->stages[task->stage].grid.columns)
        over_seam(run, task, span, true);
}

/* Tasks are dealt evenly where members make weights for themselves. */
void es_native_begin(const es_native_run *run, const es_task *task, int member) {
    const es_native_plan *p = run->plan;
    const es_stage *s = &p->stages[task->stage];
    if (s->kind != ES_STAGE_CONV || !s->apart) return;
    const int units = es_native_units_of(p, task, run->column).count;
    const int first = (int)((int64_t)units * member / p->members);
    if (first == (int)((int64_t)units * (member + 1) / p->members)) return;
    const int some = s->width_out / s->parts, part = s->parts > 1 ? first / shares_of(p, s) : 0;
    const es_native_scratch scratch = es_native_scratch_of(run, member);
    es_native_weights_own(run, s, part * some, es_panel_width(s, some), &scratch);
}

void es_native_prepare(const es_native_run *run, const es_task *task, const es_native_span *span) {
    const es_native_plan *p = run->plan;
    if (run->column > 0) over_seam(run, task, span, false);
    if (p->stages[task->stage].parts == 1) return;
    const es_native_scratch scratch = es_native_scratch_of(run, span->member);
    const int blocks = es_task_blocks(p, task, run->column);
    place at[ES_NATIVE_BLOCKS];
    places_of(run, task, 0, blocks, at);
    transform_blocks(run, task, span, at, blocks, SHARED, &scratch);
}

/* What a member makes after a panel that ends at channel `end`, of part `part`: the next one, or that part
 * of the next stage, as much as a panel is. */
static es_native_soon soon_after(const es_native_plan *p, const es_stage *s, int part, int end) {
    const int to = (part + 1) * (s->width_out / s->parts);
    if (end < to) return es_native_weights_soon(s, end, end + es_panel_width(s, to - end));
    const es_stage *next = s + 1;
    if (next == p->stages + p->stage_count || next->kind != ES_STAGE_CONV || !next->apart)
        return (es_native_soon){NULL, 0};
    const int some = next->width_out / next->parts,
              from = next->parts == s->parts ? part * some : 0;
    return es_native_weights_soon(next, from, from + es_panel_width(next, some));
}

/* Part `part` of the channels out of blocks first .. end-1; returns the tiles. */
static int convolve_part(const es_native_run *run, const es_task *task, const es_native_span *span,
                         int first, int end, int part) {
    const es_stage *s = &run->plan->stages[task->stage];
    const es_native_scratch scratch = es_native_scratch_of(run, span->member);
    const int count = end - first, some = s->width_out / s->parts, to = (part + 1) * some;
    const float *tables[ES_NATIVE_TABLES];
    place at[ES_NATIVE_BLOCKS];
    const int tiles = places_of(run, task, first, end, at);
    if (!s->few) {
        chunk_tables(run, s, span->member, at, count, scratch.own, tables);
        transform_blocks(run, task, span, at, count, s->parts > 1 ? OWN : OWN | SHARED, &scratch);
    }
    float *weights = es_native_weights_at(run, s, span->member), *u = weights + s->weights;
    if (s->apart) es_native_bias(run, s, weights + s->bias);
    for (int channel = part * some, width; channel < to; channel += width) {
        width = es_panel_width(s, to - channel);
        panel out = {
            .channel = channel, .width = width, .u = u, .bias = weights + s->bias + channel};
        if (s->apart) {
            es_native_weights_own(run, s, channel, width, &scratch);
            out.soon = soon_after(run->plan, s, part, channel + width);
        } else {
            u += es_weights_panel(s, width);
        }
        if (!s->few) multiply_blocks(run, s, at, count, tables, &out, scratch.products);
        store_blocks(run, s, span, at, count, &out, &scratch);
    }
    return tiles;
}

static double convolve(const es_native_run *run, const es_task *task, const es_native_span *span,
                       int first, int end) {
    const es_native_plan *p = run->plan;
    const es_stage *s = &p->stages[task->stage];
    if (s->parts == 1) {
        const int tiles = convolve_part(run, task, span, first, end, 0);
        return s->apart ? 0 : (double)tiles * s->chunks * s->width_out;
    }
    const int shares = shares_of(p, s), blocks = es_task_blocks(p, task, run->column);
    for (int unit = first; unit < end; unit++) {
        const int from = blocks * (unit % shares) / shares,
                  to = blocks * (unit % shares + 1) / shares;
        if (from < to) convolve_part(run, task, span, from, to, unit / shares);
    }
    return 0;
}

/* ---- Rows from and to the caller ----------------------------------------------------------- */

static void put(es_native_format format, char *pixel, int channel, float x) {
    uint16_t *half = (uint16_t *)(void *)pixel;
    if (format == ES_NATIVE_F16)
        half[channel] = es_f32_to_f16(x);
    else if (format == ES_NATIVE_BF16)
        half[channel] = es_f32_to_bf16(x);
    else
        ((float *)(void *)pixel)[channel] = x;
}

/* One row of the sheet takes `factor` rows of the picture where pixels are unshuffled. */
static void read_row(const es_native_run *run, const es_stage *s, int y, int member,
                     float *staging) {
    const es_sheet *sheet = &run->plan->sheets[s->output];
    const int f = s->op->kind == ES_OP_UNSHUFFLE ? s->op->factor : 1;
    const size_t wide = (size_t)s->width * (size_t)f, plane = wide * (size_t)f;
    run->io->read(run->io->context, y * f, f, staging, plane, wide);
    char *row = es_sheet_row(run, sheet, y);
    memset(row, 0, sheet->pixel * (size_t)sheet->width);
    for (int c = 0; c < sheet->channels; c++) {
        int sub = c % (f * f);
        const float *in =
            staging + (size_t)(c / (f * f)) * plane + (size_t)(sub / f) * wide + (size_t)(sub % f);
        for (int x = 0; x < s->width; x++)
            put(sheet->format, row + (size_t)x * sheet->pixel, c, in[(size_t)x * (size_t)f]);
    }
    if (!s->watched) return;
    const void *const first = row;
    es_native_region pixels = {
        .row = &first, .step = (ptrdiff_t)sheet->pixel, .height = 1, .width = s->width};
    es_native_watch(run, s, 0, (es_unit){y, y, 0, 0, sheet->padded}, &pixels, sheet->format,
                    member);
}

static void write_row(const es_native_run *run, const es_stage *s, int y, float *staging) {
    const es_sheet *sheet = &run->plan->sheets[s->inputs[0]];
    const float *row = (const float *)(const void *)es_sheet_row(run, sheet, y);
    for (int c = 0; c < sheet->channels; c++)
        for (int x = 0; x < s->width; x++)
            staging[(size_t)c * (size_t)s->width + (size_t)x] =
                row[(size_t)x * (size_t)sheet->padded + (size_t)c];
    run->io->write(run->io->context, y, 1, staging, (size_t)s->width, (size_t)s->width);
}

double es_native_do(const es_native_run *run, const es_task *task, const es_native_span *span,
                    int first, int end) {
    const es_stage *s = &run->plan->stages[task->stage];
    if (s->kind == ES_STAGE_CONV) return convolve(run, task, span, first, end);
    const int member = span->member;
    float *staging = es_native_scratch_of(run, member).staging;
    for (int row = task->from + first; row < task->from + end; row++) {
        if (s->kind == ES_STAGE_READ)
            read_row(run, s, row, member, staging);
        else
            write_row(run, s, row, staging);
    }
    return 0;
}
