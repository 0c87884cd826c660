/*
 * One unit of the picture through one pipeline: a loader, rings of rows, and convolutions that
 * follow one another as closely as their kernels allow.
 *
 * Places in a ring are counted as positions from the unit's first row on (its own and what it
 * needs of its neighbours), never wrapped: position = row * pitch + column, where a row has one
 * column more than pixels, and that one is zero.  A position lies in line `position % size`.  A
 * ring at scale s has s times as many rows and columns as the body.
 */
#include <limits.h>
#include <string.h>

#include "engine/direct_plan.h"

enum {
    LOADER = -1,
    ROOM = 8000, /* lines that all planes of a ring may fill: a quarter of a L2 cache of 2 MB */
    MIN_ROWS = 4
};

typedef struct ring {
    uint16_t *base;
    size_t plane;             /* elements */
    int planes, scale, width; /* width: pixels of a row */
    int pitch, rows;
    long size; /* lines of a plane that wrap; ES_DIRECT_REPEAT and one more follow */
} ring;

/* A convolution over the unit.  Rows and positions are those of its input ring. */
typedef struct stage {
    const es_direct_layer *layer;
    ring *in, *out; /* out: NULL where the result leaves the pipeline */
    int in_plane, out_plane;
    int near_plane;         /* of the input ring, for the residual; -1: none */
    int after, beside;      /* stages (or LOADER) whose output it reads: through the kernel, and
                                  for the residual */
    int first_row, end_row; /* what the unit needs of it */
    bool to_bottom;         /* end_row is the picture's last */
    long done;              /* positions from first_row * pitch up to here are computed */
} stage;

typedef struct pipe {
    const es_direct_work *work;
    es_direct_unit unit;
    int member;
    int xs, ys; /* where the unit's surroundings start */
    ring rings[ES_DIRECT_MAX_RINGS];
    int ring_count;
    stage stages[ES_DIRECT_MAX_STAGES];
    int stage_count;
    int loaded; /* rows */
    int load_end;
    const es_direct_claim *claim;
    const es_direct_planes *planes;
    /* The block in flight: its sums, and how they are to be finished. */
    float *sums[2];
    int32_t *lines[2];
    es_direct_finish finish[2];
    int turn;
    bool pending;
} pipe;

/* ---- Geometry ----------------------------------------------------------------------------- */

int es_direct_halo(int group) {
    return group == ES_DIRECT_FIRST ? 1 : group == ES_DIRECT_DENSE ? 5 : 3;
}

int es_direct_aside(const es_direct_net *net, int group) {
    return es_direct_by_tiles(net, group) ? ES_DIRECT_DENSE_ASIDE : es_direct_halo(group);
}

int es_direct_max_width(const es_direct_net *net, int group) {
    if (group == ES_DIRECT_TAIL) return 100;
    return es_direct_by_tiles(net, group) ? 290 : 330;
}

/* Planes of one of the pipeline's rings. */
static int ring_planes(const es_direct_net *net, int group, int index) {
    int features = net->feature_planes, input = net->input_planes;
    if (group == ES_DIRECT_FIRST) return input;
    if (group == ES_DIRECT_DENSE) return features + 4 * net->growth_planes;
    int top = index == net->ups ? features : 0; /* conv_hr's */
    return (index == 0 ? input + 3 * features : features) + top;
}

/*
 * Rows of a ring.  Each stage lags a row and up to a block behind the one before it, the last one
 * reads a row back, and one row is kept for zeros: that is the least.  The rest is what a stage
 * gets done at a stretch.
 */
static int ring_rows(const es_direct_net *net, int group, int index, const ring *r, int height) {
    int lags = group == ES_DIRECT_DENSE ? 7 : index == 0 ? 5 : 4, written = 1;
    if (index > 0) written = net->up[index - 1].factor;
    if (index == 0 && group == ES_DIRECT_TAIL && net->ups == 0) lags = 7;
    long lines = (long)lags * (r->pitch + ES_DIRECT_BLOCK) + ES_DIRECT_BLOCK, room = ROOM;
    if (group != ES_DIRECT_TAIL && lines < room / r->planes - 2 * r->pitch)
        lines = room / r->planes - 2 * r->pitch;
    long rows = (lines + r->pitch - 1) / r->pitch + 1 + written;
    long all = (long)height * r->scale + 4; /* then nothing wraps */
    if (rows > all) rows = all;
    return rows < MIN_ROWS ? MIN_ROWS : (int)rows;
}

/* The rings of a pipeline over `width` pixels (surroundings included); returns their bytes. */
static size_t shape_rings(const es_direct_net *net, int group, int height, int width, ring *rings,
                          int *count) {
    *count = group == ES_DIRECT_TAIL ? net->ups + 1 : 1;
    size_t bytes = 0;
    for (int i = 0, scale = 1; i < *count; i++) {
        ring *r = &rings[i];
        *r = (ring){.planes = ring_planes(net, group, i), .scale = scale, .width = width * scale};
        r->pitch = r->width + 1;
        r->rows = ring_rows(net, group, i, r, height);
        r->size = (long)r->rows * r->pitch;
        r->plane = (size_t)(r->size + ES_DIRECT_REPEAT + 1) * ES_DIRECT_LANES;
        bytes += r->plane * (size_t)r->planes * sizeof(uint16_t);
        if (i < net->ups) scale *= net->up[i].factor;
    }
    return bytes;
}

#define SUMS_BYTES  (ES_DIRECT_SUMS * sizeof(float))
#define LINES_BYTES (2 * ES_DIRECT_BLOCK * sizeof(int32_t))

/* A unit with as much around it as its pipeline reads, within the picture. */
static es_direct_unit surround(es_direct_unit u, int group, int height, int width) {
    int halo = es_direct_halo(group);
    return (es_direct_unit){.x0 = u.x0 > halo ? u.x0 - halo : 0,
                            .x1 = u.x1 + halo < width ? u.x1 + halo : width,
                            .y0 = u.y0 > halo ? u.y0 - halo : 0,
                            .y1 = u.y1 + halo < height ? u.y1 + halo : height};
}

size_t es_direct_ring_bytes(const es_direct_net *net, int group, int height, int width,
                            int columns) {
    size_t most = 0;
    for (int col = 0; col < columns; col++) {
        es_direct_unit unit = es_direct_column(columns, width, col);
        unit = surround(unit, group, height, width);
        ring rings[ES_DIRECT_MAX_RINGS];
        int count;
        size_t bytes = shape_rings(net, group, height, unit.x1 - unit.x0, rings, &count);
        if (bytes > most) most = bytes;
    }
    return most + 2 * (SUMS_BYTES + LINES_BYTES);
}

static uint16_t *line_at(const ring *r, int plane, long line) {
    return r->base + (size_t)plane * r->plane + (size_t)line * ES_DIRECT_LANES;
}

static void clear_lines(const ring *r, int plane, long line, long count) {
    memset(line_at(r, plane, line), 0, (size_t)count * ES_DIRECT_LANES * sizeof(uint16_t));
}

/* Zeros where they are for good: separators, the repeated lines, and the row before the first. */
static void clear_ring(const ring *r) {
    for (int plane = 0; plane < r->planes; plane++) {
        for (long row = 0; row < r->rows - 1; row++)
            clear_lines(r, plane, row * r->pitch + r->width, 1);
        clear_lines(r, plane, r->size - r->pitch, r->pitch + ES_DIRECT_REPEAT);
    }
}

/* Positions from..to-1 were written (fewer than the ring holds): the repeated lines follow. */
static void repeat(const ring *r, int plane, int planes, long from, long to) {
    long start = from - from % r->size;
    if (from > start + ES_DIRECT_REPEAT) start += r->size; /* where line 0 comes next */
    if (start >= to) return;
    long count = to - start < ES_DIRECT_REPEAT ? to - start : ES_DIRECT_REPEAT;
    for (int p = plane; p < plane + planes; p++)
        memcpy(line_at(r, p, r->size), line_at(r, p, 0),
               (size_t)count * ES_DIRECT_LANES * sizeof(uint16_t));
}

/* A row of zeros below the picture. */
static void clear_row(const ring *r, int plane, int planes, long row) {
    for (int p = plane; p < plane + planes; p++)
        clear_lines(r, p, row % r->rows * r->pitch, r->pitch);
    repeat(r, plane, planes, row * r->pitch, (row + 1) * r->pitch);
}

/* ---- Stages ------------------------------------------------------------------------------- */

static long end_of(const stage *s) { return (long)s->end_row * s->in->pitch; }

static bool finished(const stage *s) { return s->done >= end_of(s); }

/* Positions of `index`'s output that are there, in the ring it went to; rows below the picture
 * count as there once it is finished. */
static long available(const pipe *p, int index) {
    if (index == LOADER)
        return p->loaded >= p->load_end ? LONG_MAX / 2 : (long)p->loaded * p->rings[0].pitch;
    const stage *s = &p->stages[index];
    if (finished(s)) return LONG_MAX / 2;
    if (s->layer->factor == 1) return s->done;
    return s->done / s->in->pitch * s->layer->factor * s->out->pitch;
}

/* The lowest position of a ring that somebody will still read. */
static long needed(const pipe *p, const ring *r) {
    long low = LONG_MAX / 2;
    for (int i = 0; i < p->stage_count; i++) {
        const stage *s = &p->stages[i];
        if (s->in != r || finished(s)) continue;
        long reads = s->done - r->pitch - 1;
        if (reads < low) low = reads;
    }
    return low;
}

/* How far a stage may go now: what its inputs hold and its output's ring has room for. */
static long reach(const pipe *p, const stage *s) {
    long limit = available(p, s->after) - s->in->pitch - 1, end = end_of(s);
    if (s->near_plane >= 0 && available(p, s->beside) < limit) limit = available(p, s->beside);
    if (s->out) {
        /* One row is kept for the zeros below the picture. */
        long rows = (needed(p, s->out) + s->out->size) / s->out->pitch - 1;
        long room = rows / s->layer->factor * s->in->pitch;
        if (room < limit) limit = room;
    }
    return limit < end ? limit : end;
}

/* A position as it goes through a ring block by block, without dividing. */
typedef struct walk {
    long position, row, line;
    int column;
} walk;

static walk walk_from(const ring *r, long position) {
    return (walk){.position = position,
                  .row = position / r->pitch,
                  .line = position % r->size,
                  .column = (int)(position % r->pitch)};
}

static void walk_on(const ring *r, walk *w) {
    w->position += ES_DIRECT_BLOCK;
    w->line += ES_DIRECT_BLOCK;
    while (w->line >= r->size) w->line -= r->size;
    w->column += ES_DIRECT_BLOCK;
    for (; w->column >= r->pitch; w->column -= r->pitch) w->row++;
}

/* Where one block's positions go.  What lies at or past `limit`, and columns outside, go to a line
 * that nobody reads. */
typedef struct target {
    int factor, down, across; /* row and column = factor * that of the position + these */
    int rows;                 /* of a ring, which wrap; 0: no ring */
    long pitch;
    long origin;    /* line of row 0, column 0 */
    int first, end; /* columns that are wanted */
    int32_t nowhere;
} target;

/* Fills two blocks: the second one is room. */
static void fill_lines(const target *t, int pitch, walk at, long limit, int32_t *lines) {
    long row = at.row, position = at.position;
    int column = at.column, factor = t->factor;
    for (int i = 0; i < ES_DIRECT_BLOCK; row++, column = 0) {
        int count = pitch - column < ES_DIRECT_BLOCK - i ? pitch - column : ES_DIRECT_BLOCK - i;
        long place = row * factor + t->down;
        if (t->rows) place %= t->rows;
        int32_t line = (int32_t)(t->origin + place * t->pitch + t->across) + column * factor;
        /* As if the row went on: what follows is overwritten, and a loop that always runs as often
         * is done by vectors. */
        for (int n = 0; n < ES_DIRECT_BLOCK; n++) lines[i + n] = line + n * factor;
        /* Those from `start` to before `end` are wanted. */
        int start = i + (t->first > column ? t->first - column : 0), end = i + t->end - column;
        int stop = i + count;
        if (end > limit - position) end = (int)(limit - position);
        for (; i < stop && i < start; i++) lines[i] = t->nowhere;
        for (i = end > i ? end : i; i < stop; i++) lines[i] = t->nowhere;
        i = stop;
    }
}

static target target_of(const pipe *p, const stage *s, int phase) {
    target t = {.factor = s->layer->factor,
                .down = phase / s->layer->factor,
                .across = phase % s->layer->factor};
    if (s->out) {
        t.rows = s->out->rows;
        t.pitch = s->out->pitch;
        t.end = s->in->width;
        t.nowhere = (int32_t)(s->out->size + ES_DIRECT_REPEAT);
        return t;
    }
    int scale = s->in->scale;
    t.first = (p->unit.x0 - p->xs) * scale;
    t.end = (p->unit.x1 - p->xs) * scale;
    if (p->work->group == ES_DIRECT_TAIL) {
        t.nowhere = -1; /* emit leaves it out */
        t.pitch = (long)p->planes->row_stride;
        t.origin = -((long)(p->unit.y0 - p->ys) * scale * t.pitch + t.first);
    } else {
        t.nowhere = (int32_t)((long)p->work->height * p->work->width + p->member);
        t.pitch = p->work->width;
        t.origin = (long)p->ys * t.pitch + p->xs;
    }
    return t;
}

/* What a stage multiplies at one phase, but for the place. */
static es_direct_product product_of(const stage *s, const es_direct_work *work, int phase,
                                    const uint16_t *weights) {
    const es_direct_layer *layer = s->layer;
    bool one_half = layer == &work->net->last && layer->conv->channels <= ES_DIRECT_HALF;
    return (es_direct_product){.plane = s->in->plane,
                               .chunks = layer->chunks,
                               .kh = es_direct_phase(layer->factor, phase / layer->factor).count,
                               .kw = es_direct_phase(layer->factor, phase % layer->factor).count,
                               .halves = one_half ? 1 : 2,
                               .positions = ES_DIRECT_BLOCK,
                               .weights = weights};
}

/* Where its taps lie for the block at a line of the ring. */
static void place_taps(es_direct_product *product, const stage *s, int phase, long line) {
    int factor = s->layer->factor;
    line += es_direct_phase(factor, phase / factor).first * s->in->pitch +
            es_direct_phase(factor, phase % factor).first;
    for (int i = 0; i < product->kh; i++, line += s->in->pitch) {
        if (line < 0) line += s->in->size;
        if (line >= s->in->size) line -= s->in->size;
        product->rows[i] = line_at(s->in, s->in_plane, line);
    }
}

/* The last convolution's sums, straight to the unit's part of the picture. */
static void emit(const pipe *p, const stage *s, const float *bias, const float *sums,
                 const int32_t *places) {
    for (int c = 0; c < s->layer->conv->channels; c++) {
        float *out = p->planes->base + (size_t)c * p->planes->plane_stride;
        const float *from =
            sums + c / ES_DIRECT_HALF * (ES_DIRECT_BLOCK * ES_DIRECT_HALF) + c % ES_DIRECT_HALF;
        for (int i = 0; i < ES_DIRECT_BLOCK; i++)
            if (places[i] >= 0) out[places[i]] = from[i * ES_DIRECT_HALF] + bias[c];
    }
}

/* How the block at a line of the ring is to be finished: plane `plane` of the stage's output. */
static es_direct_finish finish_at(const pipe *p, const stage *s, const float *bias, int plane,
                                  long line, const int32_t *lines) {
    const es_direct_work *work = p->work;
    es_direct_finish f = {.bias = bias,
                          .slope = s->layer->slope,
                          .near_scale = s->layer->scale,
                          .far_scale = work->net->far_scale,
                          .lines = lines};
    if (s->near_plane >= 0) f.near = line_at(s->in, s->near_plane + plane, line);
    if (s->out) {
        f.out = line_at(s->out, s->out_plane + plane, 0);
        return f;
    }
    size_t offset = (size_t)plane * work->out.plane;
    f.out = work->out.base + offset;
    if (work->out.low) f.out_low = work->out.low + offset;
    if (s->near_plane >= 0 && work->in.low) f.near_low = work->in.low + offset;
    if (work->far) {
        f.far = f.out;
        f.far_low = f.out_low;
    }
    return f;
}

static void flush(pipe *p) {
    if (p->pending) p->work->kernels->finish(&p->finish[p->turn ^ 1], p->sums[p->turn ^ 1]);
    p->pending = false;
}

/* One phase and plane of a stage's positions from..to-1. */
static void sweep(pipe *p, const stage *s, int phase, int plane, const uint16_t *weights, long from,
                  long to) {
    const es_direct_kernels *kernels = p->work->kernels;
    const float *bias = (const float *)(p->work->pack + s->layer->biases) + plane * ES_DIRECT_LANES;
    target t = target_of(p, s, phase);
    es_direct_product product = product_of(s, p->work, phase, weights);
    for (walk at = walk_from(s->in, from); at.position < to; walk_on(s->in, &at)) {
        int turn = p->turn;
        place_taps(&product, s, phase, at.line);
        fill_lines(&t, s->in->pitch, at, to, p->lines[turn]);
        kernels->multiply(&product, p->sums[turn], p->pending ? &p->finish[turn ^ 1] : NULL,
                          p->sums[turn ^ 1]);
        if (t.nowhere < 0) {
            emit(p, s, bias, p->sums[turn], p->lines[turn]);
            continue;
        }
        p->finish[turn] = finish_at(p, s, bias, plane, at.line, p->lines[turn]);
        p->turn ^= 1;
        p->pending = true;
    }
}

/* Computes a stage's positions up to `to`. */
static void advance(pipe *p, stage *s, long to) {
    const es_direct_layer *layer = s->layer;
    const uint16_t *weights = p->work->pack + layer->weights;
    for (int phase = 0; phase < layer->factor * layer->factor; phase++)
        for (int plane = 0; plane < layer->planes; plane++) {
            sweep(p, s, phase, plane, weights, s->done, to);
            weights += es_direct_phase(layer->factor, phase / layer->factor).count *
                       es_direct_phase(layer->factor, phase % layer->factor).count * layer->chunks *
                       ES_DIRECT_PANEL;
        }
    flush(p);
    if (s->out) {
        int f = layer->factor;
        long pitch = s->out->pitch;
        if (f == 1)
            repeat(s->out, s->out_plane, layer->planes, s->done, to);
        else
            repeat(s->out, s->out_plane, layer->planes, s->done / s->in->pitch * f * pitch,
                   ((to - 1) / s->in->pitch + 1) * f * pitch);
        if (to == end_of(s) && s->to_bottom)
            clear_row(s->out, s->out_plane, layer->planes, (long)s->end_row * f);
    }
    s->done = to;
}

/* ---- The pipeline ------------------------------------------------------------------------- */

static void load_row(const pipe *p, const es_direct_frame *frame, int planes, int plane) {
    const ring *r = &p->rings[0];
    long row = p->loaded;
    if (p->ys + row == p->work->height) {
        clear_row(r, plane, planes, row);
        return;
    }
    size_t from = ((size_t)(p->ys + row) * (size_t)p->work->width + (size_t)p->xs);
    for (int i = 0; i < planes; i++)
        memcpy(line_at(r, plane + i, row % r->rows * r->pitch),
               frame->base + (size_t)i * frame->plane + from * ES_DIRECT_LANES,
               (size_t)r->width * ES_DIRECT_LANES * sizeof(uint16_t));
    repeat(r, plane, planes, row * r->pitch, row * r->pitch + r->width);
}

/* Loads rows while there are some and the ring has room; false if it loaded none. */
static bool load(pipe *p) {
    const ring *r = &p->rings[0];
    const es_direct_net *net = p->work->net;
    bool any = false;
    for (; p->loaded < p->load_end; p->loaded++, any = true) {
        if ((long)(p->loaded + 1) * r->pitch > needed(p, r) + r->size) break;
        if (p->work->group == ES_DIRECT_DENSE) {
            load_row(p, &p->work->in, net->feature_planes, 0);
            continue;
        }
        load_row(p, &p->work->in, net->input_planes, 0);
        if (p->work->group == ES_DIRECT_TAIL)
            load_row(p, &p->work->trunk, net->feature_planes, net->input_planes);
    }
    return any;
}

/* Which rows each stage has to compute, from the last back to the first, and the loader to load. */
static void set_rows(pipe *p) {
    for (int i = p->stage_count - 1; i >= 0; i--) {
        stage *s = &p->stages[i];
        const stage *next = s + 1;
        int factor = s->layer->factor, scale = s->in->scale;
        int height = (p->work->height - p->ys) * scale; /* rows to the picture's end */
        if (s->out == NULL) {
            s->first_row = (p->unit.y0 - p->ys) * scale;
            s->end_row = (p->unit.y1 - p->ys) * scale;
        } else if (next->after < i) { /* only a residual, row by row */
            s->first_row = next->first_row;
            s->end_row = next->end_row;
        } else {
            s->first_row = next->first_row == 0 ? 0 : (next->first_row - 1) / factor;
            s->end_row = (next->end_row + factor) / factor;
            if (s->end_row > height) s->end_row = height;
        }
        s->to_bottom = s->end_row == height;
    }
    es_direct_unit around = surround(p->unit, p->work->group, p->work->height, p->work->width);
    p->load_end = around.y1 - p->ys + (around.y1 == p->work->height); /* and a row of zeros */
}

/* How far the last stage may go now, on its way to `to`: others may have taken rows over.  What
 * stages before it have computed of those is for nothing. */
static long claim(pipe *p, const stage *last, long to) {
    if (p->claim == NULL) return to;
    int row = p->ys + (int)((to + last->in->pitch - 1) / last->in->pitch);
    int end = p->claim->claim(p->claim->context, row);
    if (end < p->unit.y1) {
        p->unit.y1 = end;
        set_rows(p);
    }
    return to < end_of(last) ? to : end_of(last);
}

static void run_stages(pipe *p) {
    const stage *last = &p->stages[p->stage_count - 1];
    for (bool stuck = false; !finished(last);) {
        bool any = load(p);
        for (int i = 0; i < p->stage_count; i++) {
            stage *s = &p->stages[i];
            long to = reach(p, s);
            /* Part of a block is computed only where there is nothing else to do. */
            if (!stuck && to < end_of(s) && to > s->done) to -= (to - s->done) % ES_DIRECT_BLOCK;
            if (to > s->done && s == last) to = claim(p, s, to);
            if (to <= s->done) continue;
            advance(p, s, to);
            any = true;
        }
        stuck = !any;
    }
}

static stage *add_stage(pipe *p, const es_direct_layer *layer, ring *in, int in_plane, ring *out,
                        int out_plane) {
    stage *s = &p->stages[p->stage_count];
    *s = (stage){.layer = layer,
                 .in = in,
                 .in_plane = in_plane,
                 .out = out,
                 .out_plane = out_plane,
                 .near_plane = -1,
                 .after = p->stage_count - 1};
    p->stage_count++;
    return s;
}

static void add_dense(pipe *p) {
    const es_direct_net *net = p->work->net;
    ring *r = &p->rings[0];
    for (int k = 0; k < 5; k++) {
        stage *s = add_stage(p, &net->dense[k], r, 0, k < 4 ? r : NULL,
                             net->feature_planes + k * net->growth_planes);
        if (k < 4) continue;
        s->near_plane = 0;
        s->beside = LOADER;
    }
}

/* Ring 0 holds the picture, the trunk's end, conv_first's output and the sum of the two. */
static void add_tail(pipe *p) {
    const es_direct_net *net = p->work->net;
    int features = net->feature_planes, trunk = net->input_planes;
    int first = trunk + features, sum = first + features;
    ring *r = &p->rings[0];
    add_stage(p, &net->first, r, 0, r, first);
    stage *body = add_stage(p, &net->body, r, trunk, r, sum);
    body->after = LOADER;
    body->near_plane = first;
    body->beside = 0;
    int plane = sum;
    for (int i = 0; i < net->ups; i++, r++, plane = 0)
        add_stage(p, &net->up[i], r, plane, r + 1, 0);
    add_stage(p, &net->hr, r, plane, r, plane + features);
    add_stage(p, &net->last, r, plane + features, NULL, 0);
}

void es_direct_unit_run(const es_direct_work *work, es_direct_unit unit, int member, void *rings,
                        const es_direct_claim *claim, const es_direct_planes *planes) {
    es_direct_unit around = surround(unit, work->group, work->height, work->width);
    pipe p = {.work = work,
              .unit = unit,
              .member = member,
              .xs = around.x0,
              .ys = around.y0,
              .claim = claim,
              .planes = planes};
    uint8_t *at = rings;
    for (int i = 0; i < 2; i++, at += SUMS_BYTES) p.sums[i] = (float *)(void *)at;
    for (int i = 0; i < 2; i++, at += LINES_BYTES) p.lines[i] = (int32_t *)(void *)at;
    shape_rings(work->net, work->group, work->height, around.x1 - around.x0, p.rings,
                &p.ring_count);
    for (int i = 0; i < p.ring_count; i++) {
        p.rings[i].base = (uint16_t *)(void *)at;
        at += p.rings[i].plane * (size_t)p.rings[i].planes * sizeof(uint16_t);
        clear_ring(&p.rings[i]);
    }
    if (work->group == ES_DIRECT_FIRST) add_stage(&p, &work->net->first, p.rings, 0, NULL, 0);
    if (work->group == ES_DIRECT_DENSE) add_dense(&p);
    if (work->group == ES_DIRECT_TAIL) add_tail(&p);
    set_rows(&p);
    for (int i = 0; i < p.stage_count; i++)
        p.stages[i].done = (long)p.stages[i].first_row * p.stages[i].in->pitch;
    run_stages(&p);
}
