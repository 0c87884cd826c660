#include "engine/plan.h"

#include <limits.h>
#include <string.h>

#include "base/status.h"

enum {
    PIECE = 4096,         /* pixels of a piece of work that moves or maps data */
    OPENBLAS_WORKERS = 64 /* of one session inside OpenBLAS at once */
};

static int scaled(int size, const es_op *op) { return (int)((int64_t)size * op->num / op->den); }

int es_plan_height(const es_plan *plan, int op) {
    return scaled(plan->height, &plan->network->ops[op]);
}

int es_plan_width(const es_plan *plan, int op) {
    return scaled(plan->width, &plan->network->ops[op]);
}

size_t es_plan_pixels(const es_plan *plan, int op) {
    return (size_t)es_plan_height(plan, op) * (size_t)es_plan_width(plan, op);
}

int es_plan_workers(const es_context *context) {
    if (context->backend == ESRGAN_OPENBLAS && context->members > OPENBLAS_WORKERS)
        return OPENBLAS_WORKERS;
    return context->members;
}

bool es_plan_in_place(const es_context *context, const es_tensor *tensor) {
    const es_dtype type = context->precision == ESRGAN_FP64 ? ES_F64 : ES_F32;
    if (context->precision != ESRGAN_FP64 && context->precision != ESRGAN_FP32) return false;
    if (tensor->dtype != type || (uintptr_t)tensor->data % es_dtype_size(type) != 0) return false;
    int64_t expected = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected) return false;
        expected *= tensor->shape[i];
    }
    return true;
}

static size_t element(const es_plan *plan) { return plan->wide ? sizeof(double) : sizeof(float); }

/* ---- Which operations go together --------------------------------------------------------- */

/* A nearest upsampling is not written out where only convolutions read it, each on its own. */
static bool read_through(const es_plan *plan, int i) {
    const es_network *net = plan->network;
    const es_op *op = &net->ops[i];
    if (op->kind != ES_OP_NEAREST || plan->wanted[i] || i == net->op_count - 1) return false;
    if (net->ops[op->inputs[0]].kind == ES_OP_NEAREST) return false;
    for (int r = i + 1; r < net->op_count; r++)
        for (int j = 0; j < net->ops[r].input_count; j++)
            if (net->ops[r].inputs[j] == i &&
                (net->ops[r].kind != ES_OP_CONV || net->ops[r].input_count != 1))
                return false;
    return true;
}

int es_plan_source(const es_plan *plan, int input, int *zoom) {
    const es_op *op = &plan->network->ops[input];
    *zoom = 1;
    if (op->kind != ES_OP_NEAREST || plan->slot_of[input] >= 0) return input;
    *zoom = op->factor;
    return op->inputs[0];
}

/* Can operation `next` be applied in place to the value of `value`, within the step that began
 * with `first`?  What else it reads must be there as a whole by then. */
static bool follows(const es_plan *plan, int first, int value, int next) {
    const es_op *op = &plan->network->ops[next];
    if (plan->wanted[value] || plan->readers[value] != 1) return false;
    switch (op->kind) {
    case ES_OP_LRELU: return op->inputs[0] == value;
    case ES_OP_RESIDUAL: return op->inputs[0] == value && op->inputs[1] < first;
    case ES_OP_ADD:
        return (op->inputs[0] == value && op->inputs[1] < first) ||
               (op->inputs[1] == value && op->inputs[0] < first);
    default: return false;
    }
}

static void find_steps(es_plan *plan) {
    const es_network *net = plan->network;
    for (int i = 0; i < net->op_count; i++) {
        for (int j = 0; j < net->ops[i].input_count; j++) plan->readers[net->ops[i].inputs[j]]++;
    }
    for (int i = 0; i < net->op_count;) {
        if (read_through(plan, i)) {
            plan->slot_of[i++] = -1;
            continue;
        }
        es_step *step = &plan->steps[plan->step_count++];
        *step = (es_step){.first = i, .last = i};
        if (net->ops[i].kind == ES_OP_CONV)
            while (step->last + 1 < net->op_count &&
                   follows(plan, step->first, step->last, step->last + 1))
                plan->slot_of[step->last++] = -1;
        i = step->last + 1;
    }
}

/* ---- How long values live ----------------------------------------------------------------- */

static void find_last_steps(es_plan *plan) {
    const es_network *net = plan->network;
    for (int s = 0; s < plan->step_count; s++) {
        for (int i = plan->steps[s].first; i <= plan->steps[s].last; i++) {
            plan->last_step[i] = s; /* a value nobody reads goes at once */
            for (int j = 0; j < net->ops[i].input_count; j++) {
                int zoom;
                const int source = es_plan_source(plan, net->ops[i].inputs[j], &zoom);
                plan->last_step[source] = s;
            }
        }
    }
    plan->last_step[net->op_count - 1] = plan->step_count; /* the result */
}

static int free_slot(const es_plan *plan, size_t bytes) {
    for (int k = 0; k < plan->slot_count; k++) {
        const es_slot *slot = &plan->slots[k];
        if (!slot->busy && slot->until == plan->step_count && slot->bytes == bytes) return k;
    }
    return -1;
}

/* Gives each step a slot: a free one of the right size, else a new one.  Before memory is taken,
 * what is free is given back: it was of a size that is no longer in use. */
static void assign_slot(es_plan *plan, int s, size_t bytes) {
    int k = free_slot(plan, bytes);
    if (k < 0) {
        for (int i = 0; i < plan->slot_count; i++)
            if (!plan->slots[i].busy && plan->slots[i].until == plan->step_count)
                plan->slots[i].until = s;
        k = plan->slot_count++;
        plan->slots[k] = (es_slot){.bytes = bytes, .from = s, .until = plan->step_count};
    }
    plan->slots[k].busy = true;
    plan->steps[s].slot = k;
    plan->slot_of[plan->steps[s].last] = k;
}

static esrgan_status assign_slots(es_plan *plan, uint64_t *peak, esrgan_error *error) {
    const es_network *net = plan->network;
    *peak = 0;
    for (int s = 0; s < plan->step_count; s++) {
        const es_op *op = &net->ops[plan->steps[s].last];
        size_t bytes;
        if (!es_mul(es_plan_pixels(plan, plan->steps[s].last), (size_t)op->channels, &bytes) ||
            !es_mul(bytes, element(plan), &bytes) || bytes > PTRDIFF_MAX)
            return es_fail(error, ESRGAN_E_LIMIT, "%s: %d x %d pixels are too many", op->name,
                           plan->width, plan->height);
        assign_slot(plan, s, bytes);
        uint64_t now = 0;
        for (int k = 0; k < plan->slot_count; k++)
            if (plan->slots[k].until > s) now += plan->slots[k].bytes;
        if (now > *peak) *peak = now;
        for (int i = 0; i <= plan->steps[s].last; i++)
            if (plan->slot_of[i] >= 0 && plan->last_step[i] == s)
                plan->slots[plan->slot_of[i]].busy = false;
    }
    return ESRGAN_OK;
}

/* ---- Pieces of work, scratch -------------------------------------------------------------- */

static void want_scratch(es_plan *plan, size_t bytes) {
    bytes = es_aligned(bytes);
    if (bytes > plan->scratch_bytes) plan->scratch_bytes = bytes;
}

static void plan_conv(es_plan *plan, es_step *step, const es_context *context,
                      const es_kernels *kernels) {
    const es_op *op = &plan->network->ops[step->first];
    int zoom = 1;
    if (op->input_count == 1) es_plan_source(plan, op->inputs[0], &zoom);
    const es_conv conv = {.channels_in = op->channels_in,
                          .channels = op->channels,
                          .kernel = op->kernel,
                          .height = es_plan_height(plan, step->first),
                          .width = es_plan_width(plan, step->first),
                          .zoom = zoom};
    const size_t pixels = es_plan_pixels(plan, step->first);
    step->chunk = kernels->conv_chunk(&conv);
    if (step->chunk > pixels) step->chunk = pixels;
    want_scratch(plan, kernels->conv_scratch(&conv, step->chunk));
    step->work = (double)pixels * op->channels_in * op->channels * op->kernel * op->kernel;
    size_t weight = 0;
    if (!es_plan_in_place(context, op->weight)) weight += (size_t)op->weight->numel;
    if (kernels->arrange) weight += (size_t)op->weight->numel;
    if (op->bias && !es_plan_in_place(context, op->bias)) weight += (size_t)op->bias->numel;
    if (weight * element(plan) > plan->weight_bytes) plan->weight_bytes = weight * element(plan);
}

/* Work in whole rows.  What goes in or out needs a place where float becomes double or back. */
static void plan_rows(es_plan *plan, es_step *step, bool exchange) {
    const size_t width = (size_t)es_plan_width(plan, step->last);
    step->chunk = width >= PIECE ? width : PIECE / width * width;
    step->work = (double)es_plan_pixels(plan, step->last);
    if (plan->wide && exchange)
        want_scratch(plan,
                     step->chunk * (size_t)plan->network->ops[step->last].channels * sizeof(float));
}

static void finish_step(es_plan *plan, es_step *step) {
    const size_t pixels = es_plan_pixels(plan, step->last);
    step->pieces = (pixels + step->chunk - 1) / step->chunk;
    plan->work += step->work;
}

static void plan_work(es_plan *plan, const es_context *context, const es_kernels *kernels) {
    for (int s = 0; s < plan->step_count; s++) {
        es_step *step = &plan->steps[s];
        const es_op *op = &plan->network->ops[step->first];
        if (op->kind == ES_OP_CONV)
            plan_conv(plan, step, context, kernels);
        else
            plan_rows(plan, step, op->kind == ES_OP_INPUT);
        finish_step(plan, step);
    }
    plan->result.first = plan->result.last = plan->network->op_count - 1;
    plan_rows(plan, &plan->result, true);
    finish_step(plan, &plan->result);
}

/* ---- The whole ---------------------------------------------------------------------------- */

static esrgan_status allocate(es_plan *plan, const es_context *context, esrgan_error *error) {
    const size_t n = (size_t)plan->network->op_count;
    size_t planes = 0;
    for (size_t i = 0; i < n; i++)
        if ((size_t)plan->network->ops[i].channels_in > planes)
            planes = (size_t)plan->network->ops[i].channels_in;
    const size_t each = sizeof *plan->steps + sizeof *plan->slots + 3 * sizeof(int) + sizeof(bool);
    plan->memory_bytes = n * each + planes * sizeof *plan->planes;
    plan->memory = es_calloc(&context->meter->allocator, 1, plan->memory_bytes);
    if (!plan->memory) return es_fail(error, ESRGAN_E_MEMORY, "no memory to plan a run");
    plan->steps = plan->memory;
    plan->slots = (es_slot *)(plan->steps + n);
    plan->planes = (const void **)(plan->slots + n);
    plan->slot_of = (int *)(plan->planes + planes);
    plan->last_step = plan->slot_of + n;
    plan->readers = plan->last_step + n;
    plan->wanted = (bool *)(plan->readers + n);
    for (size_t i = 0; i < n; i++)
        plan->wanted[i] = es_trace_wants(context, plan->network->ops[i].name);
    return ESRGAN_OK;
}

/* Sizes that every later sum and product is safe for. */
static esrgan_status check_sizes(const es_plan *plan, const es_context *context,
                                 esrgan_error *error) {
    for (int i = 0; i < plan->network->op_count; i++) {
        const es_op *op = &plan->network->ops[i];
        const int64_t h = (int64_t)plan->height * op->num / op->den;
        const int64_t w = (int64_t)plan->width * op->num / op->den;
        if (h > INT_MAX || w > INT_MAX)
            return es_fail(error, ESRGAN_E_LIMIT, "%s: %d x %d pixels are too many", op->name,
                           plan->width, plan->height);
        if (context->backend == ESRGAN_OPENBLAS && h * w > INT_MAX)
            return es_fail(error, ESRGAN_E_LIMIT,
                           "%s: a plane of %lld x %lld is more than OpenBLAS can address", op->name,
                           (long long)w, (long long)h);
    }
    return ESRGAN_OK;
}

esrgan_status es_plan_create(es_plan *plan, const es_context *context, const es_kernels *kernels,
                             int height, int width, esrgan_error *error) {
    *plan = (es_plan){.network = context->network, .height = height, .width = width};
    plan->wide = kernels->wide;
    esrgan_status status = check_sizes(plan, context, error);
    if (status == ESRGAN_OK) status = allocate(plan, context, error);
    if (status != ESRGAN_OK) return status;
    find_steps(plan);
    find_last_steps(plan);
    status = assign_slots(plan, &plan->peak, error);
    if (status != ESRGAN_OK) {
        es_plan_release(plan, context);
        return status;
    }
    plan_work(plan, context, kernels);
    plan->peak += plan->memory_bytes + plan->weight_bytes +
                  plan->scratch_bytes * (uint64_t)es_plan_workers(context);
    return ESRGAN_OK;
}

void es_plan_release(es_plan *plan, const es_context *context) {
    es_free(&context->meter->allocator, plan->memory, plan->memory_bytes);
    plan->memory = NULL;
}
