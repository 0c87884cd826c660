#include "engine/native_plan.h"

#include <string.h>

#include "base/status.h"
#include "engine/native_spans.h"

static int pad(int channels) { return es_ceil_div(channels, ES_NATIVE_LANES) * ES_NATIVE_LANES; }

/* ---- What becomes a stage ------------------------------------------------------------------ */

/* For every value: the only operation that reads it, -1 where there is none, -2 for several. */
static void find_readers(const es_network *n, int *reader) {
    for (int i = 0; i < n->op_count; i++) reader[i] = -1;
    for (int i = 0; i < n->op_count; i++)
        for (int k = 0; k < n->ops[i].input_count; k++) {
            int *r = &reader[n->ops[i].inputs[k]];
            *r = *r == -1 ? i : -2;
        }
}

const char *es_native_plan_refuses(const es_network *n) {
    for (int i = 0; i < n->op_count; i++) {
        const es_op *op = &n->ops[i];
        if (op->kind == ES_OP_CONV && op->kernel != 3 && op->kernel != 1)
            return "it has convolutions other than 3x3 and 1x1";
        if (op->kind == ES_OP_CONV &&
            op->channels_in / ES_NATIVE_LANES + op->input_count + ES_NATIVE_AHEAD >
                ES_NATIVE_TABLES)
            return "it has convolutions of more than 9000 channels";
        if (op->kind != ES_OP_NEAREST && op->kind != ES_OP_INPUT && op->kind != ES_OP_UNSHUFFLE)
            continue;
        for (int r = i + 1; r < n->op_count; r++)
            for (int k = 0; k < n->ops[r].input_count; k++)
                if (n->ops[r].inputs[k] == i && n->ops[r].kind != ES_OP_CONV &&
                    !(op->kind == ES_OP_INPUT && n->ops[r].kind == ES_OP_UNSHUFFLE))
                    return "it reads enlarged or rearranged values other than by a convolution";
    }
    if (n->ops[n->op_count - 1].kind != ES_OP_CONV) return "it does not end in a convolution";
    return NULL;
}

static int add_sheet(es_native_plan *p, int channels, int height, int width, int stage,
                     es_native_format format) {
    es_sheet *s = &p->sheets[p->sheet_count];
    s->channels = channels;
    s->padded = pad(channels);
    s->height = s->rows = height;
    s->width = s->held = width;
    s->format = format;
    s->pixel = (size_t)s->padded * (format == ES_NATIVE_F32 ? 4 : 2);
    s->stage = stage;
    s->slot = -1;
    return p->sheet_count++;
}

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

/*
 * Cycles that a convolution of this shape takes, roughly: multiplications, transforms at some
 * cycles a point and vector, and weights that have to be made and read.  The larger the tiles, the
 * further away their points lie.  (Fitted to AVX-512 and AVX2 on two threads, pictures of 8 to 64 pixels
 * squared.)
 */
static double cost(const es_native_kernels *kernels, const es_op *op, int tile, int height,
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
    const int chunks = pad(op->channels_in) / es_native_chunk(p->kernels->f64);
    const double pixels = (double)op->num / op->den * op->num / op->den;
    const double work = (double)op->channels_in * op->channels * 9 * pixels;
    return chunks + ES_NATIVE_AHEAD <= ES_NATIVE_TABLES && work <= LITTLE * n->macs_per_pixel;
}

/*
 * The last convolution, where it has few channels out and reads its input as it is.  (Against F(6,3) in doubles:
 * FP32 0.97 to 0.98 of the time at 128 x 128, anime_6B 0.96, AVX2 0.94; 0.2 dB more error.)
 */
static bool has_few(const es_network *n, const es_op *op) {
    return op == &n->ops[n->op_count - 1] && op->channels <= ES_NATIVE_FEW &&
           op->input_count == 1 && n->ops[op->inputs[0]].kind != ES_OP_NEAREST;
}

/* The kernels that do a convolution. */
static const es_native_kernels *kernels_for(const es_native_plan *p, const es_network *n,
                                            const es_op *op) {
    if (takes_pairs(n, op, p->pairs)) return p->pairs;
    if (has_few(n, op)) return p->kernels;
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
                kernels_for(p, n, op) == s->kernels)
                all += cost(s->kernels, op, tile, s->height, s->width);
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

/* ---- Stages out of operations -------------------------------------------------------------- */

typedef struct builder {
    es_native_plan *plan;
    const es_network *network;
    int height, width;
    int *sheet_of; /* op -> sheet, -1 where there is none */
    int *reader;   /* op -> the only one that reads its value */
} builder;

static void size_of(const builder *b, const es_op *op, int *height, int *width) {
    *height = (int)((int64_t)b->height * op->num / op->den);
    *width = (int)((int64_t)b->width * op->num / op->den);
}

/* Takes in what follows a convolution as long as nobody else reads what lies between. */
static int fuse(const builder *b, es_stage *s, int value) {
    const es_network *n = b->network;
    for (;;) {
        s->chain[s->links++] = value;
        if (s->links == 4) return value;
        int next = b->reader[value];
        if (next < 0) return value;
        const es_op *op = &n->ops[next];
        int other = op->inputs[op->inputs[0] == value];
        if (op->kind == ES_OP_LRELU && !s->activate && s->residuals == 0) {
            s->activate = true;
            s->slope = (float)op->alpha;
        } else if (((op->kind == ES_OP_RESIDUAL && op->inputs[0] == value) ||
                    op->kind == ES_OP_ADD) &&
                   s->residuals < 2 && other < value && b->sheet_of[other] >= 0) {
            s->alpha[s->residuals] = op->kind == ES_OP_ADD ? 1.0f : (float)op->alpha;
            s->residual[s->residuals++] = b->sheet_of[other];
        } else {
            return value;
        }
        value = next;
    }
}

static es_stage *add_stage(es_native_plan *p, es_stage_kind kind, int height, int width) {
    es_stage *s = &p->stages[p->stage_count++];
    s->kind = kind;
    s->height = height;
    s->width = width;
    s->output = -1;
    s->parts = 1;
    s->grid = (es_grid){.tile = 1,
                        .across = width,
                        .down = height,
                        .rows = 1,
                        .strips = height,
                        .columns = 1,
                        .held = width,
                        .blocks = 1,
                        .block = 1,
                        .slabs = 1,
                        .room = 1};
    s->least = es_at_least(4, p->members);
    return s;
}

static void read_stage(builder *b, int value) {
    es_native_plan *p = b->plan;
    const es_op *op = &b->network->ops[value];
    int height, width;
    size_of(b, op, &height, &width);
    es_stage *s = add_stage(p, ES_STAGE_READ, height, width);
    s->op = op;
    s->last_op = value;
    s->output = add_sheet(p, op->channels, height, width, p->stage_count - 1, p->format);
    b->sheet_of[value] = s->output;
}

/* Where pairs are multiplied, what is added and what comes of it keep all of their bits: the errors of
 * all dense blocks add up there. */
static bool is_trunk(const es_native_plan *p, const es_network *n, int value) {
    if (!p->pairs) return false;
    for (int i = value; i < n->op_count; i++) {
        const es_op *op = &n->ops[i];
        if (op->kind != ES_OP_RESIDUAL && op->kind != ES_OP_ADD) continue;
        if (i == value || op->inputs[0] == value || op->inputs[1] == value) return true;
    }
    return false;
}

/* The inputs are sheets at first; caches take their place when the tiles are known. */
static bool conv_stage(builder *b, int index) {
    es_native_plan *p = b->plan;
    const es_network *n = b->network;
    const es_op *op = &n->ops[index];
    int height, width;
    size_of(b, op, &height, &width);
    es_stage *s = add_stage(p, ES_STAGE_CONV, height, width);
    s->op = op;
    s->kernels = kernels_for(p, n, op);
    s->few = has_few(n, op) && s->kernels == p->kernels;
    s->input_count = op->input_count;
    for (int i = 0; i < op->input_count; i++) {
        int from = op->inputs[i];
        if (n->ops[from].kind == ES_OP_NEAREST) from = n->ops[from].inputs[0];
        s->inputs[i] = b->sheet_of[from];
        if (s->inputs[i] < 0) return false;
        s->chunks += p->sheets[s->inputs[i]].padded / es_native_chunk(s->kernels);
    }
    s->width_out = pad(op->channels);
    s->last_op = fuse(b, s, index);
    bool last = s->last_op == n->op_count - 1;
    for (int i = 0; i < s->links; i++)
        s->formats[i] = is_trunk(p, n, s->chain[i]) ? ES_NATIVE_F32 : p->format;
    if (last) s->formats[s->links - 1] = ES_NATIVE_F32;
    s->output =
        add_sheet(p, op->channels, height, width, p->stage_count - 1, s->formats[s->links - 1]);
    for (int i = 0; i + 1 < s->links && p->traced; i++)
        s->taps[i] = add_sheet(p, op->channels, height, width, p->stage_count - 1, s->formats[i]);
    b->sheet_of[s->last_op] = s->output;
    if (last) {
        int sheet = s->output;
        s = add_stage(p, ES_STAGE_WRITE, height, width);
        s->inputs[0] = sheet;
        s->input_count = 1;
        s->last_op = n->op_count;
    }
    return true;
}

static bool stages(builder *b) {
    const es_network *n = b->network;
    for (int i = 0; i < n->op_count; i++) b->sheet_of[i] = -1;
    for (int i = 0; i < n->op_count; i++) {
        const es_op *op = &n->ops[i];
        bool picture =
            op->kind == ES_OP_UNSHUFFLE || (op->kind == ES_OP_INPUT && n->unshuffle <= 1);
        if (picture)
            read_stage(b, i);
        else if (op->kind == ES_OP_CONV && !conv_stage(b, i))
            return false;
    }
    return true;
}

/* ---- Groups -------------------------------------------------------------------------------- */

static bool ends_group(const es_network *n, const es_stage *s) {
    if (s->kind != ES_STAGE_CONV) return false;
    es_op_kind last = n->ops[s->last_op].kind;
    es_op_kind from = n->ops[s->op->inputs[0]].kind;
    return last == ES_OP_RESIDUAL || from == ES_OP_INPUT || from == ES_OP_UNSHUFFLE;
}

/*
 * The first features are added again after the trunk.  To keep them would take a frame through the
 * whole network; to make them again costs next to nothing.
 */
static void repeat_first(es_native_plan *p, int group_first) {
    int wanted = -1;
    for (int i = group_first; i < p->stage_count; i++)
        for (int k = 0; k < p->stages[i].residuals; k++)
            if (p->sheets[p->stages[i].residual[k]].stage < p->group_first[1])
                wanted = p->stages[i].residual[k];
    if (wanted < 0 || p->group_first[1] != 2) return;
    memmove(p->stages + group_first + 2, p->stages + group_first,
            (size_t)(p->stage_count - group_first) * sizeof *p->stages);
    p->stage_count += 2;
    for (int i = 0; i < p->sheet_count; i++)
        if (p->sheets[i].stage >= group_first) p->sheets[i].stage += 2;
    for (int i = 0; i < 2; i++) {
        es_stage *s = &p->stages[group_first + i];
        *s = p->stages[i];
        const es_sheet *old = &p->sheets[s->output];
        s->output =
            add_sheet(p, old->channels, old->height, old->width, group_first + i, old->format);
        if (i == 1) s->inputs[0] = p->stages[group_first].output;
    }
    for (int i = group_first + 2; i < p->stage_count; i++)
        for (int k = 0; k < p->stages[i].residuals; k++)
            if (p->stages[i].residual[k] == wanted)
                p->stages[i].residual[k] = p->stages[group_first + 1].output;
}

static void groups(es_native_plan *p, const es_network *n) {
    int g = 0;
    p->group_first[0] = 0;
    for (int i = 0; i < p->stage_count; i++) {
        p->stages[i].group = g;
        bool ends = p->traced || ends_group(n, &p->stages[i]);
        if (i + 1 < p->stage_count && ends) p->group_first[++g] = i + 1;
    }
    if (g > 1 && !p->traced) repeat_first(p, p->group_first[g]);
    p->group_count = g + 1;
    p->group_first[g + 1] = p->stage_count;
    for (int i = p->group_first[g]; i < p->stage_count; i++) p->stages[i].group = g;
    for (int i = 0; i < p->stage_count; i++) {
        const es_stage *s = &p->stages[i];
        for (int k = 0; k < s->input_count; k++) p->sheets[s->inputs[k]].last_group = s->group;
        for (int k = 0; k < s->residuals; k++) p->sheets[s->residual[k]].last_group = s->group;
    }
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

static void tiles(es_native_plan *p, const es_network *n) {
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

static void progress(es_native_plan *p) {
    double all = 0;
    for (int g = 0; g < p->group_count; g++) {
        for (int i = p->group_first[g]; i < p->group_first[g + 1]; i++) {
            const es_stage *s = &p->stages[i];
            if (s->kind == ES_STAGE_CONV)
                all += cost(s->kernels, s->op, s->grid.tile, s->height, s->width);
        }
        p->group_work[g + 1] = all;
    }
    for (int g = 1; g <= p->group_count; g++) p->group_work[g] /= all;
}

static bool layout(es_native_plan *p, const es_network *n) {
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

/* ---- The whole ----------------------------------------------------------------------------- */

/* Bytes that are taken while a plan is made, and given back. */
static size_t made_of(const es_native_plan *p) { return 2 * (size_t)p->capacity * sizeof(int); }

size_t es_native_plan_bytes(const es_native_plan *p) {
    size_t step = sizeof *p->stages + sizeof *p->sheets + 4 * sizeof *p->caches +
                  sizeof *p->cache_first + sizeof *p->group_first + sizeof *p->group_work +
                  sizeof *p->group_weights;
    size_t tasks = p->most_tasks * sizeof(es_task), once = made_of(p); /* not at the same time */
    return sizeof *p + (size_t)p->capacity * step + (tasks > once ? tasks : once) +
           (size_t)p->watch_capacity * sizeof *p->watches + p->sampling_bytes;
}

void es_native_plan_free(es_native_plan *p) {
    if (!p) return;
    const esrgan_allocator *a = p->allocator;
    size_t n = (size_t)p->capacity;
    for (int i = 0; i < p->sampling_count; i++)
        es_free(a, p->samplings[i], es_sampling_bytes(p->samplings[i]->units));
    es_free(a, p->watches, (size_t)p->watch_capacity * sizeof *p->watches);
    es_free(a, p->stages, n * sizeof *p->stages);
    es_free(a, p->sheets, n * sizeof *p->sheets);
    es_free(a, p->caches, 4 * n * sizeof *p->caches);
    es_free(a, p->cache_first, n * sizeof *p->cache_first);
    es_free(a, p->group_weights, n * sizeof *p->group_weights);
    es_free(a, p->group_work, n * sizeof *p->group_work);
    es_free(a, p->group_first, n * sizeof *p->group_first);
    es_free(a, p, sizeof *p);
}

esrgan_status es_native_plan_create(es_native_plan **out, const es_context *context,
                                    const es_native_kernels *kernels,
                                    const es_native_kernels *pairs, int height, int width,
                                    esrgan_error *error) {
    static const es_native_format formats[] = {[ESRGAN_FP32] = ES_NATIVE_F32,
                                               [ESRGAN_FP16] = ES_NATIVE_F16,
                                               [ESRGAN_BF16] = ES_NATIVE_BF16};
    const esrgan_allocator *a = &context->meter->allocator;
    const es_network *network = context->network;
    es_native_plan *p = es_calloc(a, 1, sizeof *p);
    *out = NULL;
    if (!p) return es_fail(error, ESRGAN_E_MEMORY, "no memory for a plan");
    p->allocator = a;
    p->kernels = kernels;
    p->pairs = pairs;
    p->members = context->members;
    p->traced = context->trace && context->trace_content != ESRGAN_TRACE_STATISTICS;
    p->keeps = context->keep_weights && !p->traced;
    p->format = formats[context->precision];
    p->capacity = 2 * network->op_count + 8;
    size_t n = (size_t)p->capacity;
    p->stages = es_calloc(a, n, sizeof *p->stages);
    p->sheets = es_calloc(a, n, sizeof *p->sheets);
    p->caches = es_calloc(a, 4 * n, sizeof *p->caches);
    p->group_weights = es_calloc(a, n, sizeof *p->group_weights);
    p->group_work = es_calloc(a, n, sizeof *p->group_work);
    p->cache_first = es_calloc(a, n, sizeof *p->cache_first);
    p->group_first = es_calloc(a, n, sizeof *p->group_first);
    int *sheet_of = es_alloc(a, made_of(p));
    esrgan_status status = ESRGAN_OK;
    if (!p->stages || !p->sheets || !p->caches || !p->group_work || !p->group_weights ||
        !p->cache_first || !p->group_first || !sheet_of) {
        status = es_fail(error, ESRGAN_E_MEMORY, "no memory for a plan of %d steps", p->capacity);
    } else {
        builder b = {p, network, height, width, sheet_of, sheet_of + n};
        find_readers(network, b.reader);
        bool fine = stages(&b);
        if (fine) {
            groups(p, network);
            tiles(p, network);
            es_native_cut(p);
            progress(p);
            status = es_native_watch_plan(p, context, error);
            fine = status != ESRGAN_OK || layout(p, network);
        }
        if (!fine)
            status =
                es_fail(error, ESRGAN_E_UNSUPPORTED, "the native backend cannot run this network");
    }
    es_free(a, sheet_of, made_of(p));
    if (status != ESRGAN_OK) es_native_plan_free(p), p = NULL;
    *out = p;
    return status;
}
