/*
 * The plain engine: the list of operations, step after step, over planes.  The team shares the
 * pieces of a step; which member does which piece makes no difference to the result.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/status.h"
#include "engine/plan.h"

typedef struct run {
    es_context *context;
    const es_io *io;
    es_kernels kernels;
    es_plan plan;
    void *weight;  /* of the convolution under way, where the file's cannot be used in place */
    char *scratch; /* scratch_bytes for each worker */
    double work_done;
    esrgan_status status; /* what member 0 found out */
    esrgan_error *error;
} run;

typedef struct work {
    run *run;
    /* Does piece `index`; `scratch` is the member's own. */
    void (*piece)(const struct work *work, size_t index, void *scratch);
    const es_step *step;
    const es_op *op; /* the one that leads the step */
    es_conv conv;
    size_t pieces;
    double amount; /* for progress */
    atomic_size_t next, done;
    atomic_bool stop;
} work;

/* ---- Values ------------------------------------------------------------------------------- */

static size_t element(const run *r) { return r->kernels.wide ? sizeof(double) : sizeof(float); }

/* Channel c of operation op's value, from a pixel on. */
static char *at(const run *r, int op, int c, size_t pixel) {
    char *data = r->plan.slots[r->plan.slot_of[op]].data;
    return data + ((size_t)c * es_plan_pixels(&r->plan, op) + pixel) * element(r);
}

/* To the session's precision, where it is a half one. */
static void round_to_precision(const run *r, void *x, size_t n) {
    if (r->context->precision == ESRGAN_FP16) es_round_f16(x, n);
    if (r->context->precision == ESRGAN_BF16) es_round_bf16(x, n);
}

static bool is_half(const run *r) {
    return r->context->precision == ESRGAN_FP16 || r->context->precision == ESRGAN_BF16;
}

/* ---- The team at work --------------------------------------------------------------------- */

static void share(void *context, int member, int members) {
    (void)members;
    work *w = context;
    run *r = w->run;
    if (member >= es_plan_workers(r->context)) return;
    void *scratch = r->scratch + (size_t)member * r->plan.scratch_bytes;
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        const size_t index = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
        if (index >= w->pieces) return;
        w->piece(w, index, scratch);
        const size_t done = atomic_fetch_add_explicit(&w->done, 1, memory_order_relaxed) + 1;
        if (member != 0) continue;
        const double part = (double)done / (double)w->pieces;
        r->status =
            es_progress(r->context, (r->work_done + part * w->amount) / r->plan.work, r->error);
        if (r->status != ESRGAN_OK) atomic_store(&w->stop, true);
    }
}

static esrgan_status do_work(work *w) {
    run *r = w->run;
    es_team_run(r->context->team, share, w);
    r->work_done += w->amount;
    return r->status;
}

/* The pixels of a piece. */
static size_t piece_size(const work *w, size_t index, int op) {
    const size_t left = es_plan_pixels(&w->run->plan, op) - index * w->step->chunk;
    return left < w->step->chunk ? left : w->step->chunk;
}

/* ---- Element by element ------------------------------------------------------------------- */

/* Applies operation op to n elements.  In half precision each result is rounded, the product of a
 * residual too, as PyTorch does. */
static void apply(const run *r, const es_op *op, void *out, const void *a, const void *b,
                  size_t n) {
    const es_kernels *k = &r->kernels;
    if (op->kind == ES_OP_LRELU) {
        k->lrelu(out, a, n, op->alpha);
    } else if (op->kind == ES_OP_ADD) {
        k->add(out, a, b, n);
    } else if (!is_half(r)) {
        k->residual(out, a, b, n, op->alpha);
    } else {
        k->scale(out, a, n, op->alpha);
        round_to_precision(r, out, n);
        k->add(out, out, b, n);
    }
    round_to_precision(r, out, n);
}

/* What follows in a step, in place on what its first operation has just written. */
static void apply_followers(const work *w, size_t first, size_t n) {
    const run *r = w->run;
    for (int i = w->step->first + 1; i <= w->step->last; i++) {
        const es_op *op = &r->plan.network->ops[i];
        int other = -1;
        for (int j = 0; j < op->input_count; j++)
            if (op->inputs[j] != i - 1) other = op->inputs[j];
        for (int c = 0; c < op->channels; c++) {
            void *x = at(r, w->step->last, c, first);
            apply(r, op, x, x, other >= 0 ? at(r, other, c, first) : NULL, n);
        }
    }
}

static void piece_elementwise(const work *w, size_t index, void *scratch) {
    (void)scratch;
    const run *r = w->run;
    const int self = w->step->first;
    const size_t first = index * w->step->chunk, n = piece_size(w, index, self);
    for (int c = 0; c < w->op->channels; c++)
        apply(r, w->op, at(r, self, c, first), at(r, w->op->inputs[0], c, first),
              w->op->input_count > 1 ? at(r, w->op->inputs[1], c, first) : NULL, n);
}

/* ---- Convolution -------------------------------------------------------------------------- */

static void piece_conv(const work *w, size_t index, void *scratch) {
    const run *r = w->run;
    const size_t first = index * w->step->chunk, n = piece_size(w, index, w->step->first);
    r->kernels.conv(&w->conv, first, n, scratch);
    for (int c = 0; is_half(r) && c < w->op->channels; c++)
        round_to_precision(r, at(r, w->step->last, c, first), n);
    apply_followers(w, first, n);
}

/* A weight or bias for the kernels: as it lies in the file, or converted to *room, which moves. */
static const void *usable(const run *r, const es_tensor *tensor, char **room) {
    if (es_plan_in_place(r->context, tensor)) return tensor->data;
    void *copy = *room;
    *room += (size_t)tensor->numel * element(r);
    if (r->kernels.wide) {
        es_tensor_read_f64(tensor, copy);
    } else {
        es_tensor_read_f32(tensor, copy);
        round_to_precision(r, copy, (size_t)tensor->numel);
    }
    return copy;
}

static esrgan_status run_conv(work *w) {
    run *r = w->run;
    char *room = r->weight;
    const int self = w->step->first;
    int plane = 0;
    w->conv = (es_conv){.in = r->plan.planes,
                        .out = at(r, w->step->last, 0, 0),
                        .channels_in = w->op->channels_in,
                        .channels = w->op->channels,
                        .kernel = w->op->kernel,
                        .height = es_plan_height(&r->plan, self),
                        .width = es_plan_width(&r->plan, self),
                        .zoom = 1};
    for (int j = 0; j < w->op->input_count; j++) {
        const int source = es_plan_source(&r->plan, w->op->inputs[j], &w->conv.zoom);
        for (int c = 0; c < r->plan.network->ops[source].channels; c++)
            r->plan.planes[plane++] = at(r, source, c, 0);
    }
    w->conv.weight = usable(r, w->op->weight, &room);
    if (r->kernels.arrange) {
        r->kernels.arrange(&w->conv, room);
        w->conv.weight = room;
        room += (size_t)w->op->weight->numel * element(r);
    }
    w->conv.bias = w->op->bias ? usable(r, w->op->bias, &room) : NULL;
    w->piece = piece_conv;
    return do_work(w);
}

/* ---- Moving data -------------------------------------------------------------------------- */

/* The rows of a piece: pieces of these steps are whole rows. */
static void rows_of(const work *w, size_t index, int op, int *y, int *rows) {
    const size_t width = (size_t)es_plan_width(&w->run->plan, op);
    *y = (int)(index * w->step->chunk / width);
    *rows = (int)(piece_size(w, index, op) / width);
}

static void piece_read(const work *w, size_t index, void *scratch) {
    const run *r = w->run;
    int y, rows;
    rows_of(w, index, w->step->first, &y, &rows);
    const size_t width = (size_t)r->plan.width, plane = width * (size_t)r->plan.height;
    const size_t first = (size_t)y * width, n = (size_t)rows * width;
    if (!r->kernels.wide) {
        r->io->read(r->io->context, y, rows, (float *)at(r, 0, 0, first), plane, width);
        for (int c = 0; c < w->op->channels; c++) round_to_precision(r, at(r, 0, c, first), n);
        return;
    }
    float *narrow = scratch;
    r->io->read(r->io->context, y, rows, narrow, n, width);
    for (int c = 0; c < w->op->channels; c++) {
        double *out = (double *)at(r, 0, c, first);
        for (size_t i = 0; i < n; i++) out[i] = (double)narrow[(size_t)c * n + i];
    }
}

static void piece_write(const work *w, size_t index, void *scratch) {
    const run *r = w->run;
    const int last = r->plan.network->op_count - 1;
    int y, rows;
    rows_of(w, index, last, &y, &rows);
    const size_t width = (size_t)es_plan_width(&r->plan, last);
    const size_t first = (size_t)y * width, n = (size_t)rows * width;
    if (!r->kernels.wide) {
        r->io->write(r->io->context, y, rows, (const float *)at(r, last, 0, first),
                     es_plan_pixels(&r->plan, last), width);
        return;
    }
    float *narrow = scratch;
    for (int c = 0; c < w->op->channels; c++) {
        const double *in = (const double *)at(r, last, c, first);
        for (size_t i = 0; i < n; i++) narrow[(size_t)c * n + i] = (float)in[i];
    }
    r->io->write(r->io->context, y, rows, narrow, n, width);
}

static void piece_nearest(const work *w, size_t index, void *scratch) {
    (void)scratch;
    const run *r = w->run;
    const int self = w->step->first, in = w->op->inputs[0];
    const size_t width = (size_t)es_plan_width(&r->plan, self);
    const size_t in_width = (size_t)es_plan_width(&r->plan, in);
    int y, rows;
    rows_of(w, index, self, &y, &rows);
    for (int c = 0; c < w->op->channels; c++)
        for (int i = y; i < y + rows; i++)
            r->kernels.repeat(at(r, self, c, (size_t)i * width),
                              at(r, in, c, (size_t)(i / w->op->factor) * in_width), width,
                              w->op->factor);
}

static void piece_unshuffle(const work *w, size_t index, void *scratch) {
    (void)scratch;
    const run *r = w->run;
    const int self = w->step->first, in = w->op->inputs[0], f = w->op->factor;
    const size_t width = (size_t)es_plan_width(&r->plan, self);
    const size_t in_width = (size_t)es_plan_width(&r->plan, in);
    int y, rows;
    rows_of(w, index, self, &y, &rows);
    for (int c = 0; c < w->op->channels; c++) {
        const int from = c / (f * f), dy = c / f % f, dx = c % f;
        for (int i = y; i < y + rows; i++)
            r->kernels.pick(at(r, self, c, (size_t)i * width),
                            at(r, in, from, ((size_t)i * f + dy) * in_width + dx), width, f);
    }
}

/* ---- The run ------------------------------------------------------------------------------ */

static esrgan_status run_step(run *r, const es_step *step) {
    work w = {.run = r,
              .step = step,
              .op = &r->plan.network->ops[step->first],
              .pieces = step->pieces,
              .amount = step->work};
    switch (w.op->kind) {
    case ES_OP_CONV: return run_conv(&w);
    case ES_OP_INPUT: w.piece = piece_read; break;
    case ES_OP_UNSHUFFLE: w.piece = piece_unshuffle; break;
    case ES_OP_NEAREST: w.piece = piece_nearest; break;
    default: w.piece = piece_elementwise; break;
    }
    return do_work(&w);
}

static esrgan_status write_result(run *r) {
    const int last = r->plan.network->op_count - 1;
    const es_step *step = &r->plan.result;
    work w = {.run = r,
              .step = step,
              .op = &r->plan.network->ops[last],
              .piece = piece_write,
              .pieces = step->pieces,
              .amount = step->work};
    return do_work(&w);
}

static void release_slots(run *r, int step) {
    for (int k = 0; k < r->plan.slot_count; k++) {
        es_slot *slot = &r->plan.slots[k];
        if (slot->until > step) continue;
        es_free(&r->context->meter->allocator, slot->data, slot->bytes);
        slot->data = NULL;
    }
}

static esrgan_status take_slot(run *r, const es_step *step) {
    es_slot *slot = &r->plan.slots[step->slot];
    if (slot->data) return ESRGAN_OK;
    slot->data = es_alloc(&r->context->meter->allocator, slot->bytes);
    if (slot->data) return ESRGAN_OK;
    return es_fail(r->error, ESRGAN_E_MEMORY, "%s: no memory for %zu bytes",
                   r->plan.network->ops[step->last].name, slot->bytes);
}

static esrgan_status run_steps(run *r) {
    for (int s = 0; s < r->plan.step_count; s++) {
        const es_step *step = &r->plan.steps[s];
        release_slots(r, s);
        esrgan_status status = take_slot(r, step);
        if (status == ESRGAN_OK) status = run_step(r, step);
        if (status == ESRGAN_OK && r->plan.wanted[step->last])
            status = es_trace_emit(r->context, step->last, es_plan_height(&r->plan, step->last),
                                   es_plan_width(&r->plan, step->last),
                                   r->kernels.wide ? ESRGAN_F64 : ESRGAN_F32,
                                   at(r, step->last, 0, 0), r->error);
        if (status != ESRGAN_OK) return status;
    }
    return write_result(r);
}

static void fill_kernels(es_kernels *kernels, const es_context *context) {
    es_kernels_scalar(kernels, context->precision == ESRGAN_FP64);
    if (context->backend == ESRGAN_OPENBLAS) es_kernels_openblas(kernels);
}

static esrgan_status run_picture(es_context *context, int height, int width, const es_io *io,
                                 esrgan_error *error) {
    run r = {.context = context, .io = io, .error = error};
    fill_kernels(&r.kernels, context);
    esrgan_status status = es_plan_create(&r.plan, context, &r.kernels, height, width, error);
    if (status != ESRGAN_OK) return status;
    const esrgan_allocator *a = &context->meter->allocator;
    const size_t scratch = r.plan.scratch_bytes * (size_t)es_plan_workers(context);
    r.weight = es_alloc(a, r.plan.weight_bytes);
    r.scratch = es_alloc(a, scratch);
    if ((!r.weight && r.plan.weight_bytes > 0) || (!r.scratch && scratch > 0))
        status = es_fail(error, ESRGAN_E_MEMORY, "no memory for %zu bytes of scratch",
                         r.plan.weight_bytes + scratch);
    if (status == ESRGAN_OK) status = run_steps(&r);
    release_slots(&r, r.plan.step_count);
    es_free(a, r.scratch, scratch);
    es_free(a, r.weight, r.plan.weight_bytes);
    es_plan_release(&r.plan, context);
    return status;
}

static esrgan_status estimate(const es_context *context, int height, int width, uint64_t *bytes,
                              esrgan_error *error) {
    es_kernels kernels;
    es_plan plan;
    fill_kernels(&kernels, context);
    esrgan_status status = es_plan_create(&plan, context, &kernels, height, width, error);
    if (status != ESRGAN_OK) return status;
    *bytes = plan.peak;
    es_plan_release(&plan, context);
    return ESRGAN_OK;
}

static const char *reference_refuses(const es_context *context) {
    (void)context;
    return NULL;
}

static const char *openblas_refuses(const es_context *context) {
    return context->precision == ESRGAN_FP64 ? "the openblas backend has no fp64; reference has"
                                             : es_openblas_load();
}

static const char *reference_tier(const es_context *context) {
    (void)context;
    return "scalar";
}

static const char *openblas_tier(const es_context *context) {
    (void)context;
    return es_openblas_core();
}

static void release(es_context *context) { (void)context; /* nothing is kept between runs */ }

const es_engine es_engine_reference = {
    .name = "reference",
    .refuses = reference_refuses,
    .tier = reference_tier,
    .estimate = estimate,
    .run = run_picture,
    .release = release,
};

const es_engine es_engine_openblas = {
    .name = "openblas",
    .refuses = openblas_refuses,
    .tier = openblas_tier,
    .estimate = estimate,
    .run = run_picture,
    .release = release,
};
