/*
 * Weights from the checkpoint into the kernels' form: [panel][point][channel in][channel out].
 *
 * Where a member is going to use them for many tiles, the team makes them together, or each of two members
 * all of them (native_copies.h).  Where a whole stage is one task (a small picture), each member makes them
 * for itself, a panel at a time: what another core has written comes at a quarter of the speed at which it
 * is made anew.
 */
#include <string.h>

#include "base/dtype.h"
#include "engine/native_run.h"

static float rounded(es_native_format format, float x) {
    if (format == ES_NATIVE_F16) return es_f16_to_f32(es_f32_to_f16(x));
    if (format == ES_NATIVE_BF16) return es_bf16_to_f32(es_f32_to_bf16(x));
    return x;
}

void es_native_round(es_native_format format, float *x, size_t count) {
    if (format == ES_NATIVE_F32) return;
    for (size_t i = 0; i < count; i++) x[i] = rounded(format, x[i]);
}

/* How many times LANES channels a stage takes in. */
static int lanes_in(const es_stage *s) {
    return s->chunks * es_native_chunk(s->kernels) / ES_NATIVE_LANES;
}

/* Which channels of the checkpoint's weight such LANES stand for: where they begin, how many. */
static void lanes_source(const es_native_plan *p, const es_stage *s, int lanes, int *first,
                         int *count) {
    *first = 0;
    for (int k = 0; k < s->input_count; k++) {
        const es_sheet *from = &p->sheets[p->caches[s->inputs[k]].sheet];
        int all = from->padded / ES_NATIVE_LANES;
        if (lanes < all) {
            int left = from->channels - lanes * ES_NATIVE_LANES;
            *first += lanes * ES_NATIVE_LANES;
            *count = left < ES_NATIVE_LANES ? left : ES_NATIVE_LANES;
            return;
        }
        lanes -= all;
        *first += from->channels;
    }
    *count = 0;
}

/* Some hundred bytes here and there are nothing that a CPU foresees: ask for the ones after next.
 * (Where a tensor is strided this asks for the wrong ones, which is all that happens.) */
static void ask_for(const es_tensor *t, int64_t first, int64_t count) {
    const int64_t size = (int64_t)es_dtype_size(t->dtype);
    if (first + count > t->numel) return;
    for (int64_t at = 0; at < count * size; at += ES_ALIGN)
        __builtin_prefetch(t->data + first * size + at, 0, 3);
}

enum { KERNELS = ES_NATIVE_LANES * 9 };

/* The kernels of one channel out over `count` channels in, zeros for those that are not there. */
static void read_row(const es_op *op, int channel, int first, int count, float *out) {
    const int taps = op->kernel * op->kernel;
    const int64_t row = (int64_t)op->channels_in * taps, at = channel * row + first * taps;
    if (channel >= op->channels) count = 0;
    memset(out + count * 9, 0, sizeof(float) * (size_t)(KERNELS - count * 9));
    if (count == 0) return;
    ask_for(op->weight, at + 3 * row, (int64_t)count * taps);
    es_tensor_read_f32_range(op->weight, at, (int64_t)count * taps, out);
    if (taps == 9) return;
    for (int i = count - 1; i >= 0; i--) { /* a 1x1 kernel is the middle of a 3x3 one */
        float x = out[i];
        memset(out + i * 9, 0, sizeof(float) * 9);
        out[i * 9 + 4] = x;
    }
}

/* Such kernels where they lie, if they can be taken as they are. */
static const void *in_place(const es_op *op, int channel, int first, int count) {
    const bool whole = count == ES_NATIVE_LANES && channel + ES_NATIVE_LANES <= op->channels;
    if (!whole || op->kernel != 3) return NULL;
    return es_tensor_f32_in_place(op->weight, ((int64_t)channel * op->channels_in + first) * 9);
}

/* LANES x LANES kernels: where they are stored, and where they go. */
typedef struct block {
    int channel, width; /* the first channel out, of a panel so wide */
    int first, count;   /* channels in */
    const void *in_place;
    size_t to; /* floats from the stage's weights on */
} block;

/* Block `index` of a panel, by LANES channels in, then out. */
static block block_at(const es_native_plan *p, const es_stage *s, int panel, int width, int index) {
    const int lanes = index / (width / ES_NATIVE_LANES),
              out = index % (width / ES_NATIVE_LANES) * ES_NATIVE_LANES;
    block b = {.channel = panel + out, .width = width};
    lanes_source(p, s, lanes, &b.first, &b.count);
    b.in_place = in_place(s->op, b.channel, b.first, b.count);
    b.to =
        (size_t)((lanes * ES_NATIVE_LANES / s->kernels->pack * width + out) * s->kernels->places);
    if (s->few) b.to = (size_t)(lanes * ES_NATIVE_LANES);
    return b;
}

/* Blocks of a panel. */
static int blocks_of(const es_stage *s, int width) {
    return lanes_in(s) * (width / ES_NATIVE_LANES);
}

/* Block `index` of all panels: full ones, then single vectors for what is left. */
static block block_of_all(const es_native_plan *p, const es_stage *s, int index) {
    int panel = 0, width = es_panel_width(s, s->width_out);
    size_t from = 0;
    while (index >= blocks_of(s, width)) {
        index -= blocks_of(s, width);
        from += es_weights_panel(s, width);
        panel += width;
        width = es_panel_width(s, s->width_out - panel);
    }
    block b = block_at(p, s, panel, width, index);
    b.to += from;
    return b;
}

/* The same of few channels out, side by side by channel in. */
static void make_few(const es_native_run *run, const es_stage *s, const block *b, float *u,
                     float *scratch) {
    const size_t row = (size_t)(s->chunks * ES_NATIVE_LANES);
    for (int o = 0; o < s->op->channels; o++, u += 9 * row) {
        read_row(s->op, o, b->first, b->count, scratch);
        es_native_round(run->plan->format, scratch, KERNELS);
        for (int i = 0; i < KERNELS; i++)
            u[b->to + (size_t)(i % 9) * row + (size_t)(i / 9)] = scratch[i];
    }
}

/* As stored and then transformed to u; `soon`: the block that is made next.  Pairs are rounded then, once;
 * what is not, is rounded before. */
static void make_block(const es_native_run *run, const es_stage *s, const block *b,
                       const block *soon, float *u, float *scratch) {
    if (s->few) {
        make_few(run, s, b, u, scratch);
        return;
    }
    const void *g = b->in_place, *later = soon->in_place ? soon->in_place : scratch;
    size_t row = (size_t)s->op->channels_in * 9 * sizeof(float);
    if (!g) {
        for (int i = 0; i < ES_NATIVE_LANES; i++)
            read_row(s->op, b->channel + i, b->first, b->count, scratch + i * KERNELS);
        g = scratch, row = KERNELS * sizeof(float);
    }
    const es_native_format format = s->kernels->pack > 1 ? ES_NATIVE_F32 : run->plan->format;
    s->kernels->weights[s->shape](g, row, format, u + b->to,
                                  (size_t)(b->width * s->kernels->places),
                                  es_weights_point(s, b->width), later);
}

void es_native_bias(const es_native_run *run, const es_stage *s, float *bias) {
    memset(bias, 0, sizeof(float) * (size_t)s->width_out);
    if (s->op->bias) es_tensor_read_f32_range(s->op->bias, 0, s->op->channels, bias);
    es_native_round(run->plan->format, bias, (size_t)s->op->channels);
}

int es_native_weights_blocks(const es_stage *s) { return blocks_of(s, s->width_out); }

void es_native_weights_make(const es_native_run *run, const es_stage *s, int first, int end,
                            int soon, int member) {
    float *scratch = es_native_scratch_of(run, member).staging,
          *weights = es_native_weights_at(run, s, member);
    const int blocks = es_native_weights_blocks(s);
    if (first < end) {
        block now = block_of_all(run->plan, s, first), next = now;
        for (int i = first; i < end; i++, now = next) {
            const int after = i + 1 < end ? i + 1 : soon;
            if (after < blocks) next = block_of_all(run->plan, s, after);
            make_block(run, s, &now, &next, weights + s->weights, scratch);
        }
    }
    if (end == blocks) es_native_bias(run, s, weights + s->bias);
}

void es_native_weights_own(const es_native_run *run, const es_stage *s, int channel, int width,
                           const es_native_scratch *scratch) {
    if (scratch->made->stage == s && scratch->made->channel == channel) return;
    *scratch->made = (es_native_made){s, channel};
    float *u = es_native_weights_at(run, s, scratch->member) + s->weights;
    const int blocks = blocks_of(s, width);
    block now = block_at(run->plan, s, channel, width, 0), next = now;
    for (int i = 0; i < blocks; i++, now = next) {
        if (i + 1 < blocks) next = block_at(run->plan, s, channel, width, i + 1);
        make_block(run, s, &now, &next, u, scratch->staging);
    }
}

es_native_soon es_native_weights_soon(const es_stage *s, int channel, int to) {
    const es_tensor *t = s->op->weight;
    if (to > s->op->channels) to = s->op->channels;
    if (channel >= to || !es_tensor_is_contiguous(t)) return (es_native_soon){NULL, 0};
    const size_t row = (size_t)(t->numel / s->op->channels) * es_dtype_size(t->dtype);
    return (es_native_soon){(const char *)t->data + row * (size_t)channel,
                            row * (size_t)(to - channel) / ES_ALIGN};
}
