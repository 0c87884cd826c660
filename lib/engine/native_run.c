/* What a member does of a task: rows in, tiles through a convolution, rows out. */
#include "engine/native_run.h"

#include <string.h>

#include "base/dtype.h"

/* ---- Tiles in ------------------------------------------------------------------------------ */

static size_t own_floats(const es_cache *c) {
    return c->readers == 1 ? c->chunk * (size_t)c->chunks : 0;
}

/* Where a block of a cache lies: in its ring, or `own` where nobody else reads it. */
static float *block_of(const es_native_run *run, const es_cache *c, int member, int strip,
                       int block, float *own) {
    if (c->readers == 1) return own;
    size_t floats = c->chunk * (size_t)c->chunks;
    size_t index = (size_t)(strip % c->strips) * (size_t)c->grid.blocks + (size_t)block;
    return (float *)(void *)(run->arena + c->offset) + c->apart * (size_t)member + index * floats;
}

/* Rows y .. y+count-1 at a column, into `rows`; zeros for those outside. */
static void rows_at(const es_native_run *run, const es_sheet *s, const es_native_span *span, int y,
                    int count, int x, const void **rows) {
    const char *base = run->arena + s->offset + ((size_t)x + (s->border > 0)) * s->pixel;
    int at = (y + s->rows) % s->rows;
    for (int i = 0; i < count; i++, y++) {
        const bool inside = y >= 0 && y < s->height;
        const int owner = y < span->top      ? span->above
                          : y < span->bottom ? span->member
                                             : span->below;
        rows[i] = inside ? base + (size_t)at * s->stride + (size_t)owner * s->apart
                         : run->arena + run->plan->zeros;
        if (++at == s->rows) at = 0;
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

static void transform_tile(const es_native_run *run, const es_cache *c, const es_native_span *span,
                           int ty, int tx, float *out, char *scratch) {
    const es_sheet *s = &run->plan->sheets[c->sheet];
    const int patch = es_native_shape_geometry(c->shape).patch;
    const int step = c->grid.tile / (c->shape >= ES_NATIVE_F2_UP ? 2 : 1);
    const int y0 = ty * step - 1, x0 = tx * step - 1;
    const void *rows[ES_NATIVE_MAX_PATCH];
    if (c->up <= 2) {
        rows_at(run, s, span, y0, patch, x0, rows);
    } else {
        gather(run, c, y0, x0, patch, scratch);
        for (int i = 0; i < patch; i++) rows[i] = scratch + (size_t)(i * patch) * s->pixel;
    }
    run->plan->kernels->input[c->shape][s->format](rows, (ptrdiff_t)s->pixel, s->padded, out,
                                                   (size_t)c->grid.room * ES_NATIVE_LANES,
                                                   c->chunk);
}

void es_native_clear_borders(const es_native_run *run, int group, int member) {
    const es_native_plan *p = run->plan;
    if (member == 0) memset(run->arena + p->zeros, 0, p->patch);
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        if (p->stages[i].output < 0) continue;
        const es_sheet *s = &p->sheets[p->stages[i].output];
        const int step = s->apart ? 1 : p->members;
        for (int y = s->apart ? 0 : member; y < s->rows && s->border > 0; y += step) {
            char *row = es_sheet_row(run, s, y) + s->apart * (size_t)member;
            memset(row - s->pixel, 0, s->pixel);
            memset(row + s->pixel * (size_t)s->width, 0, s->pixel * (size_t)s->border);
        }
    }
}

/* ---- Tiles out ----------------------------------------------------------------------------- */

/* One tile and some channels of it. */
typedef struct tile_out {
    const es_native_span *span;
    int ty, tx, channel, width;
    const float *products;
    size_t point;
    const float *bias;
} tile_out;

/* The first `links` operations of the stage, from products to pixels where `store` says. */
static void store_links(const es_native_run *run, const es_stage *s, int links, const tile_out *t,
                        es_native_store *store, es_native_format format) {
    const es_native_plan *p = run->plan;
    store->bias = t->bias;
    store->activate = s->activate && links > 1;
    store->slope = s->slope;
    store->residuals = links - 1 - store->activate;
    for (int k = 0; k < store->residuals; k++) {
        const es_sheet *from = &p->sheets[s->residual[k]];
        const size_t size = from->format == ES_NATIVE_F32 ? 4 : 2;
        const void *rows[ES_NATIVE_MAX_TILE];
        store->alpha[k] = s->alpha[k];
        store->residual_step[k] = (ptrdiff_t)from->pixel;
        rows_at(run, from, t->span, t->ty * s->grid.tile, store->height, t->tx * s->grid.tile,
                rows);
        for (int i = 0; i < store->height; i++)
            store->residual[k][i] = (const char *)rows[i] + (size_t)t->channel * size;
    }
    p->kernels->output[s->shape][format](t->products, t->point, t->width, store);
}

static void watch_tile(const es_native_run *run, const es_stage *s, int link, const tile_out *t,
                       const es_native_store *store, es_native_format format, int member) {
    es_native_region pixels = {.row = (const void *const *)store->row,
                               .step = store->step,
                               .height = store->height,
                               .width = store->width};
    es_unit unit = {t->ty * s->grid.across + t->tx, t->ty * s->grid.tile, t->tx * s->grid.tile,
                    t->channel, t->width};
    es_native_watch(run, s, link, unit, &pixels, format, member);
}

/* What comes of every operation is kept where it is traced, looked at where it is watched. */
static void store_tile(const es_native_run *run, const es_stage *s, const tile_out *t,
                       const es_native_scratch *scratch) {
    const es_native_plan *p = run->plan;
    const int side = s->grid.tile, y = t->ty * side, x = t->tx * side;
    for (int i = 1; i <= s->links; i++) {
        const bool watched = s->watched >> (i - 1) & 1, kept = i == s->links || p->traced;
        if (!watched && !kept) continue;
        const es_sheet *out = &p->sheets[i < s->links && kept ? s->taps[i - 1] : s->output];
        const es_native_format format = i < s->links ? p->format : out->format;
        const size_t size = format == ES_NATIVE_F32 ? 4 : 2;
        es_native_store store = {.height = s->height - y < side ? s->height - y : side,
                                 .width = s->width - x < side ? s->width - x : side,
                                 .step = (ptrdiff_t)(kept ? out->pixel : (size_t)t->width * size)};
        const void *rows[ES_NATIVE_MAX_TILE];
        if (kept) rows_at(run, out, t->span, y, store.height, x, rows);
        for (int k = 0; k < store.height; k++)
            store.row[k] = kept ? (char *)rows[k] + (size_t)t->channel * size
                                : scratch->patch + k * side * store.step;
        store_links(run, s, i, t, &store, format);
        if (watched) watch_tile(run, s, i - 1, t, &store, format, scratch->member);
    }
}

/* ---- A convolution ------------------------------------------------------------------------- */

/* One register block of a task. */
typedef struct place {
    int strip, block, first, tiles; /* first: tile of the strip */
} place;

static place place_of(const es_grid *g, int strip, int index) {
    while (index >= es_strip_blocks(g, strip)) index -= es_strip_blocks(g, strip++);
    int tiles = es_strip_tiles(g, strip), blocks = es_strip_blocks(g, strip);
    int first = (int)((int64_t)tiles * index / blocks);
    int end = (int)((int64_t)tiles * (index + 1) / blocks);
    return (place){strip, index, first, end - first};
}

static void transform_blocks(const es_native_run *run, const es_task *task,
                             const es_native_span *span, const place *at, int count,
                             const es_native_scratch *scratch) {
    const es_stage *s = &run->plan->stages[task->stage];
    float *own = scratch->own;
    for (int k = 0; k < s->input_count; k++) {
        const es_cache *c = &run->plan->caches[s->inputs[k]];
        for (int i = 0; i < count; i++) {
            float *v = block_of(run, c, span->member, at[i].strip, at[i].block, own);
            own += own_floats(c);
            if (at[i].strip < task->fresh[k]) continue;
            for (int t = 0; t < at[i].tiles; t++) {
                int tile = at[i].first + t, ty = at[i].strip * s->grid.rows + tile / s->grid.across;
                transform_tile(run, c, span, ty, tile % s->grid.across,
                               v + (size_t)t * ES_NATIVE_LANES, scratch->patch);
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
            const float *v = block_of(run, c, member, at[i].strip, at[i].block, own);
            const float **table = tables + (size_t)i * ((size_t)s->chunks + 2) + first;
            for (int j = 0; j < c->chunks; j++) table[j] = v + (size_t)j * c->chunk;
            table[c->chunks] = table[c->chunks + 1] = table[c->chunks - 1]; /* to look ahead */
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

/* One panel of channels out for a few blocks: products of every point, then pixels. */
static void panel_of_blocks(const es_native_run *run, const es_stage *s, const es_native_span *span,
                            const place *at, int count, const float *const *tables,
                            const panel *out, const es_native_scratch *scratch) {
    const es_native_kernels *kernels = run->plan->kernels;
    const int points = es_native_shape_geometry(s->shape).points, width = out->width;
    float *products = scratch->products;
    const size_t step = (size_t)s->grid.room * ES_NATIVE_LANES; /* from point to point of v */
    const size_t m_point = (size_t)s->grid.block * (size_t)width + ES_NATIVE_LANES;
    const size_t u_point = es_weights_point(s, width);
    const size_t table = (size_t)s->chunks + 2;
    es_native_multiply multiply =
        width == kernels->panel ? kernels->multiply_panel : kernels->multiply_lanes;
    const float *u = out->u;
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
            multiply(tables + (size_t)i * table, step * (size_t)point, at[i].tiles, u, s->chunks,
                     products + ((size_t)i * (size_t)points + (size_t)point) * m_point, &ahead);
            es_native_ask(&out->soon, point * count + i, points * count);
        }
    }
    for (int i = 0; i < count; i++) {
        const float *m = products + (size_t)i * (size_t)points * m_point;
        for (int t = 0; t < at[i].tiles; t++) {
            int number = at[i].first + t, ty = at[i].strip * s->grid.rows + number / s->grid.across;
            tile_out one = {.span = span,
                            .ty = ty,
                            .tx = number % s->grid.across,
                            .channel = out->channel,
                            .width = width,
                            .products = m + (size_t)t * (size_t)width,
                            .point = m_point,
                            .bias = out->bias};
            store_tile(run, s, &one, scratch);
        }
    }
}

es_native_units es_native_units_of(const es_native_plan *p, const es_task *task) {
    const es_stage *s = &p->stages[task->stage];
    if (s->kind != ES_STAGE_CONV) return (es_native_units){task->to - task->from, 1};
    return (es_native_units){es_task_blocks(p, task), es_native_pass_blocks(p, s)};
}

static double convolve(const es_native_run *run, const es_task *task, const es_native_span *span,
                       int first, int end) {
    const es_native_plan *p = run->plan;
    const es_stage *s = &p->stages[task->stage];
    const es_native_scratch scratch = es_native_scratch_of(run, span->member);
    const int count = end - first;
    const float *tables[ES_NATIVE_TABLES];
    place at[ES_NATIVE_BLOCKS];
    int tiles = 0;
    for (int i = 0; i < count; i++) {
        at[i] = place_of(&s->grid, task->from, first + i);
        tiles += at[i].tiles;
    }
    chunk_tables(run, s, span->member, at, count, scratch.own, tables);
    transform_blocks(run, task, span, at, count, &scratch);
    float *weights = run->weights + s->apart * (size_t)span->member, *u = weights + s->weights;
    for (int channel = 0, width; channel < s->width_out; channel += width) {
        width = es_panel_width(p, s, channel);
        panel out = {
            .channel = channel, .width = width, .u = u, .bias = weights + s->bias + channel};
        if (s->apart) {
            es_native_weights_own(run, s, channel, width, u, scratch.staging);
            out.soon = es_native_weights_soon(p, s, channel + width);
        } else {
            u += es_weights_panel(s, width);
        }
        panel_of_blocks(run, s, span, at, count, tables, &out, &scratch);
    }
    return s->apart ? 0 : (double)tiles * s->chunks * s->width_out;
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
