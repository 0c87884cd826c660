/*
 * One unit of the picture through a dense block by Winograd's F(4,3) along rows (kernels/direct.h).
 *
 * What convolutions read lies in a ring of rows of points: one line for each plane, point and tile of
 * a row.  A point's tiles of a row and then those of the next follow one another, so that a kernel row
 * is one distance in lines for all of them, and blocks of positions run on from row to row.  What a
 * convolution makes becomes pixels row by row and, at once, points again; the last one's pixels go to
 * the frame.
 *
 * Tiles begin at the picture's columns that TILE divides, whatever the unit's, so that a pixel's
 * value does not depend on how the picture is cut.  Rows are counted from the unit's surroundings on
 * and never wrapped: row r lies in row `r % rows` of the ring.
 */
#include <limits.h>
#include <string.h>

#include "engine/direct_plan.h"

enum {
    CONVS = 5,
    BLOCKS = 4, /* that a point's weights are used for in turn, while they are near */
    MOST_ROWS = 16,
    POINT_SUMS =
        ES_DIRECT_SUMS + 16 /* a line more, lest points fall into the same places of a cache */
};

/* A convolution over the unit. */
typedef struct stage {
    const es_direct_layer *layer;
    int first_row, end_row; /* what the unit needs of it */
    int done;               /* rows before this one are computed */
} stage;

/* How a unit's rows are cut, and where what it needs lies. */
typedef struct shape {
    int x0, tiles;         /* of the surroundings: the first pixel's column; tiles of a row */
    int step, rows;        /* rows that a stage computes at a stretch, and of the ring */
    size_t point, plane;   /* elements from a point to the next, and from a plane */
    size_t row, ring, end; /* bytes, from the sums on: a row of pixels; the ring */
} shape;

typedef struct dense {
    const es_direct_work *work;
    es_direct_unit unit;
    shape shape;
    int ys;           /* the row where the unit's surroundings start */
    float *sums;      /* of a stretch: [block][point][POINT_SUMS] */
    uint16_t *row;    /* pixels of a row, and one more on each side */
    uint16_t *points; /* the ring */
    stage stages[CONVS];
    int loaded, load_end; /* rows */
    const es_direct_claim *claim;
} dense;

/* ---- Geometry ----------------------------------------------------------------------------- */

static int tiles_of(int pixels) { return (pixels + ES_DIRECT_TILE - 1) / ES_DIRECT_TILE; }

static int blocks_of(int positions) { return (positions + ES_DIRECT_BLOCK - 1) / ES_DIRECT_BLOCK; }

static int ring_planes(const es_direct_net *net) {
    return net->feature_planes + (CONVS - 1) * net->growth_planes;
}

/* Rows at a stretch: of those that take some blocks, the number that fills them best. */
static int choose_step(int tiles, int height) {
    enum { GRAIN = 16 }; /* positions that are computed at least */
    int most = BLOCKS * ES_DIRECT_BLOCK / tiles, best = 1;
    double least = INT_MAX;
    if (most > MOST_ROWS) most = MOST_ROWS;
    if (most > height) most = height;
    for (int rows = most; rows > most / 2; rows--) {
        double share = (rows * tiles + GRAIN - 1) / GRAIN / (double)(rows * tiles);
        if (share >= least) continue;
        least = share;
        best = rows;
    }
    return best;
}

static shape shape_of(const es_direct_net *net, int height, int width, int x0, int x1) {
    /* A tile reads a pixel of its neighbours, so what is missing beyond the first tile spoils one
     * more with each convolution after the first. */
    const int around = ES_DIRECT_DENSE_ASIDE;
    shape s = {.x0 = x0 > around ? x0 - around : 0};
    int end = x1 + around < width ? x1 + around : width;
    s.tiles = tiles_of(end - s.x0);
    s.step = choose_step(s.tiles, height);
    s.rows = s.step + CONVS + 1;
    s.point = (size_t)(s.rows * s.tiles + ES_DIRECT_BLOCK) * ES_DIRECT_LANES;
    s.plane = s.point * ES_DIRECT_POINTS;
    s.row = (size_t)(blocks_of(s.step * s.tiles) * ES_DIRECT_POINTS * POINT_SUMS) * sizeof(float);
    s.ring = s.row + (size_t)((s.tiles * ES_DIRECT_TILE + 2) * ES_DIRECT_LANES) * sizeof(uint16_t);
    s.end = s.ring + s.plane * (size_t)ring_planes(net) * sizeof(uint16_t);
    return s;
}

size_t es_direct_dense_bytes(const es_direct_net *net, int height, int width, int columns) {
    size_t most = 0;
    for (int col = 0; col < columns; col++) {
        es_direct_unit unit = es_direct_column(columns, width, col);
        size_t bytes = shape_of(net, height, width, unit.x0, unit.x1).end;
        if (bytes > most) most = bytes;
    }
    return most;
}

/* ---- The ring ----------------------------------------------------------------------------- */

/* A row's first line, in lines. */
static int line_of(const dense *d, int row) { return row % d->shape.rows * d->shape.tiles; }

/* A row's lines of a plane's first point. */
static uint16_t *lines_at(const dense *d, int plane, int row) {
    return d->points + (size_t)plane * d->shape.plane + (size_t)line_of(d, row) * ES_DIRECT_LANES;
}

/* A row has been written: blocks that run past the ring's end find there what it begins with. */
static void repeat(const dense *d, int plane, int row) {
    const int tiles = d->shape.tiles, left = ES_DIRECT_BLOCK - line_of(d, row);
    const size_t bytes =
        (size_t)((left < tiles ? left : tiles) * ES_DIRECT_LANES) * sizeof(uint16_t);
    uint16_t *from = lines_at(d, plane, row);
    for (int p = 0; p < ES_DIRECT_POINTS && left > 0; p++, from += d->shape.point)
        memcpy(from + d->shape.rows * tiles * ES_DIRECT_LANES, from, bytes);
}

/* A row of zeros, above the picture or below. */
static void clear_row(const dense *d, int plane, int row) {
    for (int p = 0; p < ES_DIRECT_POINTS; p++)
        memset(lines_at(d, plane, row) + (size_t)p * d->shape.point, 0,
               (size_t)(d->shape.tiles * ES_DIRECT_LANES) * sizeof(uint16_t));
    repeat(d, plane, row);
}

/* Tiles first .. end-1 of a row; `pixels` begin with the one before them. */
static void expand(const dense *d, const uint16_t *pixels, int plane, int row, int first, int end) {
    d->work->kernels->tiles->expand(
        pixels, end - first, lines_at(d, plane, row) + first * ES_DIRECT_LANES, d->shape.point);
}

/* A tile at the picture's edge: what it reads outside is zero.  `pixels`: the picture's row. */
static void expand_edge(const dense *d, const uint16_t *pixels, int plane, int row, int tile) {
    _Alignas(ES_ALIGN) uint16_t lines[(ES_DIRECT_TILE + 2) * ES_DIRECT_LANES] = {0};
    const int first = d->shape.x0 + tile * ES_DIRECT_TILE - 1;
    for (int i = 0; i < ES_DIRECT_TILE + 2; i++)
        if (first + i >= 0 && first + i < d->work->width)
            memcpy(lines + i * ES_DIRECT_LANES, pixels + (first + i) * ES_DIRECT_LANES,
                   ES_DIRECT_LANES * sizeof *lines);
    expand(d, lines, plane, row, tile, tile + 1);
}

/* A row of the block's input, or of zeros below the picture. */
static void load_row(const dense *d, int row) {
    const es_direct_work *w = d->work;
    const int y = d->ys + row, x0 = d->shape.x0, tiles = d->shape.tiles;
    /* Tiles first .. end-1 have both their neighbours' pixels in the picture. */
    const int first = x0 == 0, inside = (w->width - x0 - 1) / ES_DIRECT_TILE;
    const int end = inside < first ? first : inside < tiles ? inside : tiles;
    for (int plane = 0; plane < w->net->feature_planes; plane++) {
        if (y == w->height) {
            clear_row(d, plane, row);
            continue;
        }
        const uint16_t *pixels = w->in.base + (size_t)plane * w->in.plane +
                                 (size_t)y * (size_t)w->width * ES_DIRECT_LANES;
        for (int tile = 0; tile < first; tile++) expand_edge(d, pixels, plane, row, tile);
        if (first < end)
            expand(d, pixels + (x0 + first * ES_DIRECT_TILE - 1) * ES_DIRECT_LANES, plane, row,
                   first, end);
        for (int tile = end; tile < tiles; tile++) expand_edge(d, pixels, plane, row, tile);
        repeat(d, plane, row);
    }
}

/* ---- Stages ------------------------------------------------------------------------------- */

static bool finished(const stage *s) { return s->done >= s->end_row; }

/* The lowest row that somebody will still read. */
static int needed(const dense *d) {
    int low = INT_MAX;
    for (int i = 0; i < CONVS; i++)
        if (!finished(&d->stages[i]) && d->stages[i].done - 1 < low) low = d->stages[i].done - 1;
    return low;
}

/* How far stage `i` may go now. */
static int reach(const dense *d, int i) {
    const stage *s = &d->stages[i];
    bool all = i == 0 ? d->loaded >= d->load_end : finished(s - 1);
    int there = i == 0 ? d->loaded : s[-1].done, limit = all ? s->end_row : there - 1;
    if (limit > s->done + d->shape.step) limit = s->done + d->shape.step;
    return limit < s->end_row ? limit : s->end_row;
}

/* A point's sums, rows up to `to`. */
static void multiply(const dense *d, const stage *s, int to, int point, const uint16_t *weights) {
    const int tiles = d->shape.tiles, size = d->shape.rows * tiles, wanted = (to - s->done) * tiles;
    const uint16_t *lines = d->points + (size_t)point * d->shape.point;
    es_direct_product product = {.plane = d->shape.plane,
                                 .chunks = s->layer->chunks,
                                 .kh = 3,
                                 .kw = 1,
                                 .halves = 2,
                                 .weights = weights};
    float *sums = d->sums + point * POINT_SUMS;
    for (int at = 0; at < wanted; at += ES_DIRECT_BLOCK, sums += ES_DIRECT_POINTS * POINT_SUMS) {
        int left = wanted - at;
        product.positions = left < ES_DIRECT_BLOCK ? left : ES_DIRECT_BLOCK;
        for (int i = 0; i < 3; i++) {
            int line = line_of(d, s->done - 1 + i + d->shape.rows) + at;
            product.rows[i] = lines + (size_t)(line % size) * ES_DIRECT_LANES;
        }
        d->work->kernels->multiply(&product, sums, NULL, NULL);
    }
}

/* Tiles first .. end-1 of a row leave; `r` says how the row does, from column x0 on, and `position`
 * is tile 0's. */
static void finish(const dense *d, es_direct_row r, int position, int first, int end) {
    const int width = d->work->width - d->shape.x0; /* to the picture's end */
    for (int tile = first, count; tile < end; tile += count) {
        const int at = position + tile, in_block = at % ES_DIRECT_BLOCK;
        const int x = tile * ES_DIRECT_TILE;
        const size_t on = (size_t)x * ES_DIRECT_LANES;
        count = end - tile < ES_DIRECT_BLOCK - in_block ? end - tile : ES_DIRECT_BLOCK - in_block;
        es_direct_row part = r;
        part.pixels = count * ES_DIRECT_TILE < width - x ? count * ES_DIRECT_TILE : width - x;
        part.out += on;
        if (part.out_low) part.out_low += on;
        if (part.near) part.near += on;
        if (part.near_low) part.near_low += on;
        if (part.far) part.far += on;
        if (part.far_low) part.far_low += on;
        d->work->kernels->tiles->finish(&part,
                                        d->sums +
                                            at / ES_DIRECT_BLOCK * ES_DIRECT_POINTS * POINT_SUMS +
                                            in_block * ES_DIRECT_HALF,
                                        POINT_SUMS);
    }
}

/* How a plane of a row of what the last convolution makes goes to the frame. */
static es_direct_row to_frame(const dense *d, es_direct_row r, int plane, int row) {
    const es_direct_work *w = d->work;
    const size_t pixel = (size_t)(d->ys + row) * (size_t)w->width + (size_t)d->shape.x0;
    const size_t at = pixel * ES_DIRECT_LANES + (size_t)plane * w->out.plane;
    r.near = w->in.base + at;
    if (w->in.low) r.near_low = w->in.low + at;
    r.near_scale = d->stages[CONVS - 1].layer->scale;
    r.out = w->out.base + at;
    if (w->out.low) r.out_low = w->out.low + at;
    if (w->far) r.far = r.out, r.far_low = r.out_low;
    r.far_scale = w->net->far_scale;
    return r;
}

/* Where a plane of stage `i` lies in the ring. */
static int plane_made(const dense *d, int i, int plane) {
    return d->work->net->feature_planes + i * d->work->net->growth_planes + plane;
}

/* A plane of a row leaves. */
static void leave(const dense *d, int i, int plane, int row) {
    const stage *s = &d->stages[i];
    const int position = (row - s->done) * d->shape.tiles, x0 = d->shape.x0;
    es_direct_row r = {.bias = (const float *)(d->work->pack + s->layer->biases) +
                               plane * ES_DIRECT_LANES,
                       .slope = s->layer->slope,
                       .out = d->row + ES_DIRECT_LANES};
    if (i == CONVS - 1) {
        finish(d, to_frame(d, r, plane, row), position, (d->unit.x0 - x0) / ES_DIRECT_TILE,
               tiles_of(d->unit.x1 - x0));
        return;
    }
    plane = plane_made(d, i, plane);
    finish(d, r, position, 0, d->shape.tiles);
    expand(d, d->row, plane, row, 0, d->shape.tiles);
    repeat(d, plane, row);
}

/* Computes a stage's rows up to `to`. */
static void advance(dense *d, int i, int to) {
    stage *s = &d->stages[i];
    const es_direct_layer *layer = s->layer;
    const uint16_t *weights = d->work->pack + layer->weights;
    for (int plane = 0; plane < layer->planes; plane++) {
        for (int p = 0; p < ES_DIRECT_POINTS; p++, weights += layer->chunks * 3 * ES_DIRECT_PANEL)
            multiply(d, s, to, p, weights);
        for (int row = s->done; row < to; row++) leave(d, i, plane, row);
    }
    s->done = to;
    if (i == CONVS - 1 || !finished(s) || d->ys + to < d->work->height) return;
    for (int plane = 0; plane < layer->planes; plane++) clear_row(d, plane_made(d, i, plane), to);
}

/* ---- The pipeline ------------------------------------------------------------------------- */

/* Which rows each stage has to compute, from the last back to the first, and the loader to load. */
static void set_rows(dense *d) {
    const int height = d->work->height - d->ys;
    d->stages[CONVS - 1].first_row = d->unit.y0 - d->ys;
    d->stages[CONVS - 1].end_row = d->unit.y1 - d->ys;
    for (int i = CONVS - 2; i >= 0; i--) {
        stage *s = &d->stages[i];
        s->first_row = s[1].first_row > 0 ? s[1].first_row - 1 : 0;
        s->end_row = s[1].end_row < height ? s[1].end_row + 1 : height;
    }
    d->load_end = d->stages[0].end_row + 1; /* a row of the picture, or one of zeros below it */
}

/* How far the last stage may go now, on its way to `to`: others may have taken rows over. */
static int claim(dense *d, int to) {
    if (d->claim == NULL) return to;
    int end = d->claim->claim(d->claim->context, d->ys + to);
    if (end < d->unit.y1) {
        d->unit.y1 = end;
        set_rows(d);
    }
    const stage *last = &d->stages[CONVS - 1];
    return to < last->end_row ? to : last->end_row;
}

static void run_stages(dense *d) {
    const stage *last = &d->stages[CONVS - 1];
    while (!finished(last)) {
        for (int low = needed(d); d->loaded < d->load_end && d->loaded - d->shape.rows < low;)
            load_row(d, d->loaded++);
        for (int i = 0; i < CONVS; i++) {
            int to = reach(d, i);
            if (i == CONVS - 1 && to > last->done) to = claim(d, to);
            if (to > d->stages[i].done) advance(d, i, to);
        }
    }
}

void es_direct_dense_run(const es_direct_work *work, es_direct_unit unit, void *memory,
                         const es_direct_claim *claim) {
    uint8_t *base = memory;
    dense d = {.work = work,
               .unit = unit,
               .shape = shape_of(work->net, work->height, work->width, unit.x0, unit.x1),
               .ys = unit.y0 > CONVS ? unit.y0 - CONVS : 0,
               .sums = memory,
               .claim = claim};
    d.row = (uint16_t *)(void *)(base + d.shape.row);
    d.points = (uint16_t *)(void *)(base + d.shape.ring);
    memset(d.row, 0, d.shape.ring - d.shape.row); /* what is beside a row stays zero */
    for (int plane = 0; plane < ring_planes(work->net); plane++)
        clear_row(&d, plane, d.shape.rows - 1); /* above the first row */
    for (int i = 0; i < CONVS; i++) d.stages[i].layer = &work->net->dense[i];
    set_rows(&d);
    for (int i = 0; i < CONVS; i++) d.stages[i].done = d.stages[i].first_row;
    run_stages(&d);
}
