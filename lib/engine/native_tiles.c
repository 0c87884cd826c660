#include "engine/native_tiles.h"

/* ---- Tiles --------------------------------------------------------------------------------- */

/*
 * Tiles across from which on every row of them is a strip; narrower pictures have three such rows' tiles in
 * a strip.  Tiles up to which a picture is one strip for one member or two: the fewer, the more evenly blocks
 * can be dealt, but each member makes all weights then.  (One strip, two threads: FP32 0.92 of the time at
 * 64 x 64, 0.95 to 0.97 at 84 x 84 to 96 x 96, but 1.02 at 150 x 60; AVX2 0.86 at 90 x 90, 1.04 at 64 x 64;
 * BF16 0.82 at 40 x 40, 0.96 to 1.01 elsewhere.)
 */
enum { WIDE = 14, SMALL = 16 * 16 };

/* Outputs along a side for the last tile of a row or column of them. */
static int last_tile(const es_stage *s, int tile, int size) {
    const int rest = size % tile;
    if (s->shape != ES_NATIVE_F6 || !s->kernels->input[ES_NATIVE_F6_RIGHT2][ES_NATIVE_F32])
        return tile;
    return rest == 0 || rest > 4 ? tile : rest > 2 ? 4 : 2;
}

static es_grid make_grid(const es_native_plan *p, const es_native_kernels *kernels, int tile,
                         int height, int width) {
    es_grid g = {.tile = tile,
                 .across = es_ceil_div(width, tile),
                 .down = es_ceil_div(height, tile),
                 .columns = 1};
    const int most = kernels->block, all = g.across * g.down;
    const bool small = all <= SMALL && p->members <= 2;
    const int strips = small ? 1 : g.across >= WIDE ? g.down : es_at_least(1, all / (3 * WIDE));
    g.rows = es_ceil_div(g.down, strips);
    g.strips = es_ceil_div(g.down, g.rows);
    g.held = g.across;
    int tiles = g.rows * g.across, blocks = es_ceil_div(tiles, most);
    int fair = es_ceil_div(blocks, p->members) * p->members; /* as many for each */
    es_grid_divide(&g, tiles, tiles >= fair * (most / 2) ? fair : blocks);
    return g;
}

double es_native_cost(const es_native_kernels *kernels, const es_op *op, int tile, int height,
                      int width) {
    const double multiply =
        (2 + ES_NATIVE_LANES * ES_NATIVE_LANES / 2.0 / kernels->vector) / kernels->pack;
    double points = (tile + 2) * (tile + 2), in = op->channels_in / 16.0, out = op->channels / 16.0;
    double tiles = (double)es_ceil_div(height, tile) * es_ceil_div(width, tile);
    double far = tile == ES_NATIVE_MAX_TILE ? 1.08 : 1;
    const double weights = 80.0 / kernels->pack;
    return far * tiles * points * (in * out * multiply + in * 3 + out * 6) +
           points * in * out * weights;
}

/* Whether a convolution reads this value beside others: as it is, activated, or added to another. */
static bool is_concatenated(const es_network *n, int value) {
    for (int i = value + 1; i < n->op_count; i++) {
        const es_op *op = &n->ops[i];
        bool convolves = op->kind == ES_OP_CONV,
             passes_on = !convolves && op->kind != ES_OP_NEAREST;
        for (int k = 0; k < op->input_count; k++)
            if (op->inputs[k] == value &&
                ((convolves && op->input_count > 1) || (passes_on && is_concatenated(n, i))))
                return true;
    }
    return false;
}

/* Inside a dense block: it reads what others read beside more. */
static bool is_dense(const es_network *n, const es_op *op) {
    return op->input_count > 1 || is_concatenated(n, op->inputs[0]);
}

/*
 * Chunks of channels that are summed up apart, where pixels keep more than half a float.  Half of the error
 * and more is that of sums: of floats outside dense blocks, and in them mostly of the longest ones, which are
 * added to the trunk.  (x4plus, 23 blocks, the benchmark's weights, 64 x 64, dB of error against float64, of
 * a smooth picture and of white noise: parts outside 1.2 and 1.3 less for 0.4 % of the time, inside 0.6 and
 * 1.1 for 0.9 %.  Parts of 6 chunks for all in dense blocks, 0.1 and 0.3 more for 0.5 %; of 2 chunks, 0.6 and
 * 1.9 for 5 %.)
 */
enum { PART = 1, PART_DENSE = 10 };

static int part_of(const es_native_plan *p, const es_network *n, const es_stage *s) {
    if (p->format != ES_NATIVE_F32 || s->kernels != p->kernels) return s->chunks;
    const int most = is_dense(n, s->op) ? PART_DENSE : PART;
    return es_ceil_div(s->chunks, es_ceil_div(s->chunks, most));
}

/*
 * Whether a convolution takes pairs of bfloat16: those inside a dense block do, which are most of the
 * work, and whose errors are scaled down before they are added to the trunk.
 */
static bool takes_pairs(const es_network *n, const es_op *op, const es_native_kernels *pairs) {
    if (!pairs || op->kind != ES_OP_CONV) return false;
    for (int i = 0; i < op->input_count; i++)
        if (n->ops[op->inputs[i]].channels % (ES_NATIVE_LANES * pairs->pack) != 0) return false;
    return is_dense(n, op);
}

bool es_native_plan_takes_pairs(const es_network *n, const es_native_kernels *pairs) {
    for (int i = 0; i < n->op_count; i++)
        if (takes_pairs(n, &n->ops[i], pairs)) return true;
    return false;
}

/*
 * Whether a convolution is done in doubles, where pixels are floats.  Inside a dense block errors matter
 * little: what comes out is scaled by 0.2 twice and added to a larger value.  Convolutions before, after and
 * between pass theirs on whole; those that are a small part of the work are done without any.  They take twice
 * the time then, but tiles may be as large as others'.  (x4plus, 23 blocks, two threads, dB of error against
 * float64, of a smooth picture and of white noise, against tiles of 2 and 4 pixels and short sums, in floats,
 * with the last convolution like the others: the benchmark's weights 1.8 and 0.3 less, PyTorch's usual ones
 * 5.4 and 1.3, for 0.2 to 1.5 % of the time; anime_6B 4.1 and 2.1 for 4 %.  All convolutions outside dense
 * blocks: 4.0 and 1.7, 9.9 and 8.5, 9.3 and 6.4, but 5.6 % of x4plus' time, 22 % of anime_6B's.)
 */
static const double LITTLE = 0.03;

static bool takes_doubles(const es_native_plan *p, const es_network *n, const es_op *op) {
    if (p->format != ES_NATIVE_F32 || !p->kernels->f64 || is_dense(n, op)) return false;
    const int chunks = es_native_padded(op->channels_in) / es_native_chunk(p->kernels->f64);
    const double pixels = (double)op->num / op->den * op->num / op->den;
    const double work = (double)op->channels_in * op->channels * 9 * pixels;
    return chunks + ES_NATIVE_AHEAD <= ES_NATIVE_TABLES && work <= LITTLE * n->macs_per_pixel;
}

bool es_native_has_few(const es_network *n, const es_op *op) {
    return op == &n->ops[n->op_count - 1] && op->channels <= ES_NATIVE_FEW &&
           op->input_count == 1 && n->ops[op->inputs[0]].kind != ES_OP_NEAREST;
}

const es_native_kernels *es_native_kernels_for(const es_native_plan *p, const es_network *n,
                                               const es_op *op) {
    if (takes_pairs(n, op, p->pairs)) return p->pairs;
    if (es_native_has_few(n, op)) return p->kernels;
    return takes_doubles(p, n, op) ? p->kernels->f64 : p->kernels;
}

/* F(4,3)'s points suit bfloat16: 0.9 dB less than plain convolution (x4plus, random weights), where
 * F(6,3) would be 7 dB less. */
enum { PAIRS_TILE = 4 };

/*
 * One size of tiles for all that is made at this size by the same kernels, so that transforms can be
 * shared.  It follows from network, picture and tier alone, as results depend on it.
 */
static int best_tile(const es_native_plan *p, const es_network *n, const es_stage *s) {
    const int most = s->kernels->pack > 1 ? PAIRS_TILE : ES_NATIVE_MAX_TILE;
    int best = 0;
    double least = 0;
    for (int tile = 2; tile <= most; tile += 2) {
        double all = 0;
        for (int i = 0; i < n->op_count; i++) {
            const es_op *op = &n->ops[i];
            if (op->kind == ES_OP_CONV && op->num == s->op->num && op->den == s->op->den &&
                es_native_kernels_for(p, n, op) == s->kernels)
                all += es_native_cost(s->kernels, op, tile, s->height, s->width);
        }
        if (best == 0 || all < least) best = tile, least = all;
    }
    return best;
}

int es_native_pass_blocks(const es_native_plan *p, const es_stage *s) {
    const es_grid *g = &s->grid;
    int most = s->apart ? es_ceil_div(s->parts * g->strips * g->blocks, p->members)
                        : es_ceil_div(ES_MOST_TILES, g->block);
    return es_at_most(most, es_native_most_blocks(s));
}

/* ---- Caches -------------------------------------------------------------------------------- */

static int find_cache(es_native_plan *p, const es_stage *s, int sheet) {
    const es_sheet *from = &p->sheets[sheet];
    int up = s->height / from->height;
    for (int i = p->cache_first[s->group]; i < p->cache_count; i++)
        if (p->caches[i].sheet == sheet && p->caches[i].up == up &&
            p->caches[i].kernels == s->kernels)
            return i;
    es_cache *c = &p->caches[p->cache_count];
    c->sheet = sheet;
    c->up = up;
    c->kernels = s->kernels;
    c->shape = s->shape;
    c->grid = s->grid;
    c->points = es_native_shape_geometry(s->shape).points;
    c->chunks = from->padded / es_native_chunk(s->kernels);
    return p->cache_count++;
}

/* What a stage takes, some strips at once, in tiles of the member that does most: to read the
 * weights once more takes as long as some tiles do. */
static int time_of(const es_native_plan *p, const es_stage *s, int at_once) {
    enum { READING = 4 };
    int all = 0;
    for (int from = 0; from < s->grid.strips; from += at_once) {
        int blocks = es_at_most(at_once, s->grid.strips - from) * s->grid.blocks;
        int longest = es_ceil_div(blocks, p->members);
        all +=
            longest * s->grid.block + es_ceil_div(longest, es_native_pass_blocks(p, s)) * READING;
    }
    return all;
}

/* Strips that a task should have: enough tiles for every member; more of them, which take memory,
 * where work comes out more even then. */
static int strips_at_once(const es_native_plan *p, const es_stage *s) {
    const int least = es_ceil_div(ES_TILES_A_PASS * p->members, s->grid.rows * s->grid.across);
    int best = 0;
    for (int most = least; most <= 2 * least; most++) {
        const int tasks = es_ceil_div(s->grid.strips, most);
        const int at_once = es_ceil_div(s->grid.strips, tasks);
        if (best == 0 || time_of(p, s, at_once) < 0.94 * time_of(p, s, best)) best = at_once;
    }
    return best;
}

void es_native_tiles(es_native_plan *p, const es_network *n) {
    const es_stage *like = NULL; /* the last one that tiles were chosen for */
    int usual = 0;
    for (int i = 0; i < p->stage_count; i++) {
        es_stage *s = &p->stages[i];
        if (i == p->group_first[s->group]) p->cache_first[s->group] = p->cache_count;
        if (s->kind != ES_STAGE_CONV) continue;
        if (!like || s->height != like->height || s->kernels != like->kernels)
            usual = best_tile(p, n, s);
        like = s;
        const int tile = s->kernels->places > 1 || s->few ? ES_NATIVE_MAX_TILE : usual;
        bool doubled = s->height == 2 * p->sheets[s->inputs[0]].height;
        s->shape = (es_native_shape)(tile / 2 - 1 + (doubled ? ES_NATIVE_F2_UP : ES_NATIVE_F2));
        s->part = part_of(p, n, s);
        s->grid = make_grid(p, s->kernels, tile, s->height, s->width);
        s->grid.right = last_tile(s, tile, s->width);
        s->grid.lower = last_tile(s, tile, s->height);
        p->key =
            p->key * 31 + (unsigned)(s->shape + ES_NATIVE_SHAPES * es_native_chunk(s->kernels));
        s->least = strips_at_once(p, s);
        for (int k = 0; k < s->input_count; k++) {
            es_sheet *from = &p->sheets[s->inputs[k]];
            s->inputs[k] = find_cache(p, s, s->inputs[k]);
            p->caches[s->inputs[k]].readers++;
            int up = p->caches[s->inputs[k]].up, beyond = s->grid.across * tile / up + 1;
            if (up <= 2) from->border = es_at_least(from->border, beyond - from->width);
        }
    }
    /* The same for all of one width, so that one frame can take another's place. */
    for (int i = 0; i < p->sheet_count; i++)
        for (int k = 0; k < p->sheet_count && p->sheets[i].border > 0; k++)
            if (p->sheets[k].width == p->sheets[i].width)
                p->sheets[i].border = es_at_least(p->sheets[i].border, p->sheets[k].border);
    p->cache_first[p->group_count] = p->cache_count;
}
