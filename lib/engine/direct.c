/* The direct engine: what it takes on, what memory a run takes, and the run. */
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "base/status.h"
#include "engine/deal.h"
#include "engine/direct_plan.h"

enum {
    FRAMES = 3,    /* an RRDB's input, its first and its second dense block's output */
    LOWS = 2,      /* low bytes of an RRDB's input, and of its last dense block's output */
    BAND_ROWS = 14 /* of the tail, whose result is gathered row by row before it goes out */
};

/* ---- What and whether --------------------------------------------------------------------- */

static esrgan_precision precision_of(const es_direct_kernels *kernels) {
    return kernels->format == ES_DIRECT_F16 ? ESRGAN_FP16 : ESRGAN_BF16;
}

/* Why kernels that were asked for cannot be used; NULL where they can. */
static const char *unfit(const es_direct_kernels *kernels, esrgan_precision precision) {
    if (!es_direct_usable(kernels))
        return "this CPU, or its operating system, lacks the instructions";
    if (precision == precision_of(kernels)) return NULL;
    return kernels->format == ES_DIRECT_F16 ? "this tier works in fp16 only"
                                            : "this tier works in bf16 only";
}

/* The kernels for a context; NULL, and why, where there are none. */
static const es_direct_kernels *choose(const es_context *context, const char **why) {
    for (int i = 0; es_direct_tiers[i] != NULL; i++) {
        const es_direct_kernels *kernels = es_direct_tiers[i];
        if (context->isa == NULL) {
            if (precision_of(kernels) == context->precision && es_direct_worthwhile(kernels))
                return kernels;
        } else if (strcmp(context->isa, kernels->tier) == 0) {
            *why = unfit(kernels, context->precision);
            return *why == NULL ? kernels : NULL;
        }
    }
    *why = context->isa ? "direct convolution has no kernels of that name"
                        : "direct convolution does not pay on this CPU";
    return NULL;
}

static const char *refuses(const es_context *context) {
    const char *why = NULL;
    es_direct_net net;
    if (choose(context, &why) == NULL) return why;
    if (context->trace != NULL) return "direct convolution keeps no inner values to trace";
    if (!es_direct_net_read(&net, context->network, false))
        return "direct convolution wants an RRDBNet of plain dense blocks";
    return NULL;
}

static const char *tier(const es_context *context) {
    const char *why = NULL;
    const es_direct_kernels *kernels = choose(context, &why);
    return kernels ? kernels->tier : "none";
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* What a run allocates. */
typedef struct layout {
    int columns[3];       /* by group: how many the picture is cut into */
    int band_rows;        /* of the tail */
    size_t frame_plane;   /* elements */
    size_t frame[FRAMES]; /* bytes from here on */
    size_t low;           /* 0 where the format has no low bytes */
    size_t pack;
    size_t hands;                 /* of all members */
    size_t rings, planes, floats; /* of each member; planes: where the tail's follow its rings */
} layout;

/* Columns that the picture must be cut into, where the pipeline's rings are to stay in the cache. */
static int least_columns(const es_direct_net *net, int width, int group) {
    int aside = es_direct_aside(net, group), most = es_direct_max_width(net, group);
    return width <= most ? 1 : (width + most - 2 * aside - 1) / (most - 2 * aside);
}

/*
 * Columns that let the team be done first.  Members share the columns' rows, one column after the
 * other: few columns have little overlap, but where members are many, their stretches get low, and
 * then what each computes of its neighbours' rows weighs more.
 */
static int choose_columns(const es_direct_net *net, int height, int width, int members, int group) {
    int halo = es_direct_halo(group), aside = es_direct_aside(net, group), best = 0;
    int least = least_columns(net, width, group),
        most = members < width / 16 ? members : width / 16;
    int64_t best_cost = INT64_MAX;
    for (int cols = least; cols <= most || cols == least; cols++) {
        int64_t high = ((int64_t)cols * height + members - 1) / members;
        if (high % height != 0) high += halo / 2;
        int64_t wide = (width + cols - 1) / cols + (cols > 1 ? 2 * aside : 0);
        int64_t cost = high * wide;
        if (cost >= best_cost) continue;
        best_cost = cost;
        best = cols;
    }
    return best;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static int enlargement(const es_direct_net *net) {
    int scale = 1;
    for (int i = 0; i < net->ups; i++) scale *= net->up[i].factor;
    return scale;
}

static size_t whole_pack(const es_direct_net *net) {
    return net->pack[ES_DIRECT_FIRST] + net->pack[ES_DIRECT_TAIL] +
           (size_t)net->dense_blocks * net->pack[ES_DIRECT_DENSE];
}

/* Height and width are the body's.  False where the picture is too large to count its lines. */
static bool lay_out(layout *l, const es_direct_net *net, es_direct_format format, int height,
                    int width, int members, bool keep) {
    if ((int64_t)height * width >= INT_MAX - members) return false;
    l->frame_plane = ((size_t)height * (size_t)width + (size_t)members) * ES_DIRECT_LANES;
    int inputs = net->input_planes > net->feature_planes ? net->input_planes : net->feature_planes;
    for (int i = 0; i < FRAMES; i++)
        l->frame[i] =
            l->frame_plane * sizeof(uint16_t) * (size_t)(i == 1 ? inputs : net->feature_planes);
    l->low = format == ES_DIRECT_BF16 ? l->frame_plane * (size_t)net->feature_planes : 0;
    l->pack = larger(net->pack[ES_DIRECT_DENSE], net->pack[ES_DIRECT_TAIL]) * sizeof(uint16_t);
    if (keep) l->pack = whole_pack(net) * sizeof(uint16_t);
    l->hands = (size_t)members * sizeof(es_deal_hand);
    l->band_rows = (height + members - 1) / members;
    if (l->band_rows > BAND_ROWS) l->band_rows = BAND_ROWS;
    l->rings = 0;
    for (int group = 0; group < 3; group++) {
        const int columns = group == ES_DIRECT_TAIL
                                ? least_columns(net, width, group)
                                : choose_columns(net, height, width, members, group);
        size_t bytes = es_direct_by_tiles(net, group)
                           ? es_direct_dense_bytes(net, height, width, columns)
                           : es_direct_ring_bytes(net, group, height, width, columns);
        if (group == ES_DIRECT_TAIL) {
            const size_t scale = (size_t)enlargement(net);
            l->planes = es_aligned(bytes);
            bytes = l->planes + (size_t)net->last.conv->channels * scale * scale * (size_t)width *
                                    (size_t)l->band_rows * sizeof(float);
        }
        l->columns[group] = columns;
        l->rings = larger(l->rings, bytes);
    }
    l->floats =
        larger(es_direct_pack_scratch(net), 2 * (size_t)net->input_channels * (size_t)width) *
        sizeof(float);
    return true;
}

static size_t member_bytes(const layout *l) { return es_aligned(l->rings) + es_aligned(l->floats); }

/* ---- The run ------------------------------------------------------------------------------ */

/* Weights in the kernels' form; kept between runs where the session wants that. */
typedef struct kept {
    esrgan_allocator allocator;
    uint16_t *pack;
    size_t bytes;
    int packed; /* groups so far, in the order they are run */
} kept;

typedef struct run {
    es_context *context;
    const es_io *io;
    const es_direct_kernels *kernels;
    es_direct_net net;
    layout layout;
    int height, width; /* of the body */
    es_direct_frame frames[FRAMES];
    void *frame_memory[FRAMES];
    int8_t *lows[LOWS];
    uint8_t *members; /* member_bytes each */
    kept own;         /* weights, where they are not kept */
    kept *weights;
    es_deal_hand *hands;
    es_deal deal;
    es_direct_work work;
    bool pack;       /* this group's weights are not there yet */
    double from, to; /* progress over the job under way */
    atomic_int stop; /* an esrgan_status */
    esrgan_error *error;
} run;

static const esrgan_allocator *allocator_of(const run *r) { return &r->context->meter->allocator; }

static uint16_t *rings_of(const run *r, int member) {
    return (uint16_t *)(void *)(r->members + (size_t)member * member_bytes(&r->layout));
}

static float *planes_of(const run *r, int member) {
    return (float *)(void *)((uint8_t *)rings_of(r, member) + r->layout.planes);
}

static float *floats_of(const run *r, int member) {
    return (float *)(void *)((uint8_t *)rings_of(r, member) + es_aligned(r->layout.rings));
}

/* Tells progress, from the caller's thread only; true where the run is to stop. */
static bool report(run *r, int member) {
    if (member == 0 && atomic_load(&r->stop) == ESRGAN_OK) {
        double done = r->from + es_deal_done(&r->deal) * (r->to - r->from);
        atomic_store(&r->stop, (int)es_progress(r->context, done, r->error));
    }
    return atomic_load(&r->stop) != ESRGAN_OK;
}

/* This member's rows of the picture, unshuffled, into the frame that pipelines read it from. */
static void read_rows(run *r, int member, int members) {
    int f = r->net.unshuffle, channels = r->net.input_channels, colours = channels / (f * f);
    size_t width = (size_t)r->width, full = width * (size_t)f;
    float *raw = floats_of(r, member), *planes = raw;
    if (f > 1) planes = raw + (size_t)channels * width;
    int end = (int)((int64_t)r->height * (member + 1) / members);
    for (int y = (int)((int64_t)r->height * member / members); y < end; y++) {
        r->io->read(r->io->context, y * f, f, raw, full * (size_t)f, full);
        for (int c = 0; f > 1 && c < colours * f * f; c++) {
            const float *from = raw + (size_t)(c / f) * full + (size_t)(c % f);
            for (size_t x = 0; x < width; x++) planes[(size_t)c * width + x] = from[x * (size_t)f];
        }
        for (int c = 0; c < channels; c += ES_DIRECT_LANES) {
            int count = channels - c < ES_DIRECT_LANES ? channels - c : ES_DIRECT_LANES;
            r->kernels->gather(planes + (size_t)c * width, width, count, r->width,
                               r->frames[1].base +
                                   (size_t)(c / ES_DIRECT_LANES) * r->frames[1].plane +
                                   (size_t)y * width * ES_DIRECT_LANES);
        }
    }
}

/* A member's way through a column: the deal counts rows on from column to column. */
typedef struct turn {
    run *r;
    int member, above; /* rows of the columns before */
} turn;

static int claim_rows(void *context, int row) {
    const turn *t = context;
    es_deal *deal = &t->r->deal;
    if (report(t->r, t->member)) return es_deal_claimed(deal, t->member) - t->above;
    return es_deal_claim(deal, t->member, t->above + row) - t->above;
}

static void run_unit(run *r, int member, int first) {
    int group = r->work.group, col = first / r->height;
    turn t = {.r = r, .member = member, .above = col * r->height};
    es_direct_claim claim = {claim_rows, &t};
    es_direct_unit unit = es_direct_column(r->layout.columns[group], r->width, col);
    unit.y0 = first - t.above;
    unit.y1 = claim_rows(&t, unit.y0); /* claims none yet */
    if (unit.y1 > r->height) unit.y1 = r->height;
    if (unit.y1 <= unit.y0) return;
    if (es_direct_by_tiles(&r->net, group))
        es_direct_dense_run(&r->work, unit, rings_of(r, member), &claim);
    else
        es_direct_unit_run(&r->work, unit, member, rings_of(r, member), &claim, NULL);
}

/* The tail goes by bands that a member computes column by column and hands out whole. */
static void run_band(run *r, int member, int first) {
    int end = es_deal_claim(&r->deal, member, first + r->layout.band_rows);
    if (end > first + r->layout.band_rows) end = first + r->layout.band_rows;
    int scale = enlargement(&r->net), columns = r->layout.columns[ES_DIRECT_TAIL];
    es_direct_planes out = {.row_stride = (size_t)r->width * (size_t)scale};
    out.plane_stride = out.row_stride * (size_t)scale * (size_t)(end - first);
    for (int col = 0; col < columns; col++) {
        es_direct_unit unit = es_direct_column(columns, r->width, col);
        unit.y0 = first;
        unit.y1 = end;
        out.base = planes_of(r, member) + (size_t)unit.x0 * (size_t)scale;
        es_direct_unit_run(&r->work, unit, member, rings_of(r, member), NULL, &out);
    }
    r->io->write(r->io->context, first * scale, (end - first) * scale, planes_of(r, member),
                 out.plane_stride, out.row_stride);
}

/* One group: read the picture where it is wanted, pack weights, run the rows dealt to this member. */
static void job(void *context, int member, int members) {
    run *r = context;
    int group = r->work.group;
    if (group != ES_DIRECT_DENSE) read_rows(r, member, members);
    if (r->pack)
        es_direct_pack(&r->net, group, r->kernels, (uint16_t *)r->work.pack, floats_of(r, member),
                       member, members);
    if (group != ES_DIRECT_DENSE || r->pack) es_team_barrier(r->context->team);
    r->kernels->begin();
    for (int first; es_deal_next(&r->deal, member, &first) && !report(r, member);) {
        if (group == ES_DIRECT_TAIL)
            run_band(r, member, first);
        else
            run_unit(r, member, first);
    }
    r->kernels->end();
}

/* The group's number counts through: 0, dense blocks from 1, the tail last. */
static esrgan_status run_group(run *r, int group, int number, es_direct_frame in,
                               es_direct_frame out) {
    size_t dense = r->net.pack[ES_DIRECT_DENSE], at = 0;
    if (r->context->keep_weights && number > 0)
        at = r->net.pack[ES_DIRECT_FIRST] + (size_t)(number - 1) * dense;
    r->work = (es_direct_work){.net = &r->net,
                               .kernels = r->kernels,
                               .group = group,
                               .height = r->height,
                               .width = r->width,
                               .pack = r->weights->pack + at,
                               .in = in,
                               .trunk = r->frames[0],
                               .out = out,
                               .far = group == ES_DIRECT_DENSE && number % 3 == 0};
    r->pack = number >= r->weights->packed;
    int columns = group == ES_DIRECT_TAIL ? 1 : r->layout.columns[group];
    es_deal_start(&r->deal, columns * r->height);
    es_team_run(r->context->team, job, r);
    if (r->pack && r->context->keep_weights) r->weights->packed = number + 1;
    return (esrgan_status)atomic_load(&r->stop);
}

static esrgan_status run_groups(run *r) {
    const es_direct_frame *f = r->frames;
    double all = r->net.dense_blocks + 6, done = 1; /* the tail counts as five dense blocks */
    r->from = 0;
    r->to = done / all;
    esrgan_status status = run_group(r, ES_DIRECT_FIRST, 0, f[1], f[0]);
    for (int i = 0; i < r->net.dense_blocks && status == ESRGAN_OK; i++) {
        r->from = r->to;
        r->to = ++done / all;
        es_direct_net_block(&r->net, r->context->network, i);
        status = run_group(r, ES_DIRECT_DENSE, i + 1, f[i % 3], f[(i + 1) % 3]);
    }
    if (status != ESRGAN_OK) return status;
    r->from = r->to;
    r->to = 1;
    status = run_group(r, ES_DIRECT_TAIL, r->net.dense_blocks + 1, f[1], f[0]);
    return status == ESRGAN_OK ? es_progress(r->context, 1, r->error) : status;
}

static void release_kept(kept *k) { es_free(&k->allocator, k->pack, k->bytes); }

/* Weights that an earlier run kept, or memory for them. */
static bool get_weights(run *r) {
    es_context *context = r->context;
    r->weights = &r->own;
    if (context->keep_weights && context->engine_state != NULL) {
        r->weights = context->engine_state;
        return true;
    }
    r->own = (kept){.allocator = *allocator_of(r), .bytes = r->layout.pack};
    r->own.pack = es_alloc(allocator_of(r), r->own.bytes);
    if (r->own.pack == NULL) return false;
    es_large_pages(r->own.pack, r->own.bytes);
    if (!context->keep_weights) return true;
    kept *k = es_alloc(allocator_of(r), sizeof *k);
    if (k == NULL) return false;
    *k = r->own;
    r->own.pack = NULL;
    context->engine_state = r->weights = k;
    return true;
}

static bool get_memory(run *r) {
    for (int i = 0; i < FRAMES; i++) {
        r->frame_memory[i] = es_alloc(allocator_of(r), r->layout.frame[i]);
        if (r->frame_memory[i] == NULL) return false;
        r->frames[i] =
            (es_direct_frame){.base = r->frame_memory[i], .plane = r->layout.frame_plane};
    }
    for (int i = 0; i < LOWS && r->layout.low > 0; i++)
        if ((r->lows[i] = es_alloc(allocator_of(r), r->layout.low)) == NULL) return false;
    /* Low bytes are only added position by position, so those of an RRDB's inner values can be
     * replaced in place. */
    r->frames[0].low = r->lows[0];
    r->frames[1].low = r->frames[2].low = r->lows[1];
    size_t members = (size_t)r->context->members;
    r->members = es_alloc(allocator_of(r), members * member_bytes(&r->layout));
    r->hands = es_alloc(allocator_of(r), r->layout.hands);
    if (r->members == NULL || r->hands == NULL) return false;
    es_large_pages(r->members, members * member_bytes(&r->layout));
    es_deal_init(&r->deal, r->hands, r->context->members);
    return get_weights(r);
}

static void release_memory(run *r) {
    for (int i = 0; i < FRAMES; i++)
        es_free(allocator_of(r), r->frame_memory[i], r->layout.frame[i]);
    for (int i = 0; i < LOWS; i++) es_free(allocator_of(r), r->lows[i], r->layout.low);
    es_free(allocator_of(r), r->members, (size_t)r->context->members * member_bytes(&r->layout));
    es_free(allocator_of(r), r->hands, r->layout.hands);
    if (r->own.pack) release_kept(&r->own);
}

static esrgan_status prepare(run *r, es_context *context, int height, int width,
                             esrgan_error *error) {
    const char *why = NULL;
    r->context = context;
    r->error = error;
    r->kernels = choose(context, &why);
    if (r->kernels == NULL) return es_fail(error, ESRGAN_E_UNSUPPORTED, "%s", why);
    if (!es_direct_net_read(&r->net, context->network, r->kernels->tiles != NULL))
        return es_fail(error, ESRGAN_E_UNSUPPORTED, "%s", refuses(context));
    r->height = height / r->net.unshuffle;
    r->width = width / r->net.unshuffle;
    if (!lay_out(&r->layout, &r->net, r->kernels->format, r->height, r->width, context->members,
                 context->keep_weights))
        return es_fail(error, ESRGAN_E_LIMIT, "a picture of %d x %d pixels is too large", width,
                       height);
    return ESRGAN_OK;
}

static esrgan_status estimate(const es_context *context, int height, int width, uint64_t *bytes,
                              esrgan_error *error) {
    run r = {0};
    esrgan_status status = prepare(&r, (es_context *)context, height, width, error);
    if (status != ESRGAN_OK) return status;
    *bytes = r.layout.pack + (uint64_t)context->members * member_bytes(&r.layout) + r.layout.hands;
    if (context->keep_weights) *bytes += sizeof(kept);
    for (int i = 0; i < FRAMES; i++) *bytes += r.layout.frame[i];
    *bytes += LOWS * r.layout.low;
    return ESRGAN_OK;
}

static esrgan_status run_picture(es_context *context, int height, int width, const es_io *io,
                                 esrgan_error *error) {
    run r = {.io = io};
    esrgan_status status = prepare(&r, context, height, width, error);
    if (status != ESRGAN_OK) return status;
    if (get_memory(&r))
        status = run_groups(&r);
    else
        status = es_fail(error, ESRGAN_E_MEMORY, "no memory for a picture of %d x %d pixels", width,
                         height);
    release_memory(&r);
    return status;
}

static void release(es_context *context) {
    kept *k = context->engine_state;
    if (k == NULL) return;
    esrgan_allocator a = k->allocator;
    release_kept(k);
    es_free(&a, k, sizeof *k);
    context->engine_state = NULL;
}

const es_engine es_engine_direct = {.name = "direct",
                                    .refuses = refuses,
                                    .tier = tier,
                                    .estimate = estimate,
                                    .run = run_picture,
                                    .release = release};
