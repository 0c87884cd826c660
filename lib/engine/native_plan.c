#include "engine/native_plan.h"

#include <string.h>

#include "base/status.h"
#include "engine/native_cut.h"
#include "engine/native_layout.h"
#include "engine/native_tiles.h"

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
    s->padded = es_native_padded(channels);
    s->height = s->rows = height;
    s->width = s->held = width;
    s->format = format;
    s->pixel = (size_t)s->padded * (format == ES_NATIVE_F32 ? 4 : 2);
    s->stage = stage;
    s->slot = -1;
    return p->sheet_count++;
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
    s->kernels = es_native_kernels_for(p, n, op);
    s->few = es_native_has_few(n, op) && s->kernels == p->kernels;
    s->input_count = op->input_count;
    for (int i = 0; i < op->input_count; i++) {
        int from = op->inputs[i];
        if (n->ops[from].kind == ES_OP_NEAREST) from = n->ops[from].inputs[0];
        s->inputs[i] = b->sheet_of[from];
        if (s->inputs[i] < 0) return false;
        s->chunks += p->sheets[s->inputs[i]].padded / es_native_chunk(s->kernels);
    }
    s->width_out = es_native_padded(op->channels);
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

/* ---- The whole ----------------------------------------------------------------------------- */

static void progress(es_native_plan *p) {
    double all = 0;
    for (int g = 0; g < p->group_count; g++) {
        for (int i = p->group_first[g]; i < p->group_first[g + 1]; i++) {
            const es_stage *s = &p->stages[i];
            if (s->kind == ES_STAGE_CONV)
                all += es_native_cost(s->kernels, s->op, s->grid.tile, s->height, s->width);
        }
        p->group_work[g + 1] = all;
    }
    for (int g = 1; g <= p->group_count; g++) p->group_work[g] /= all;
}

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
            es_native_tiles(p, network);
            es_native_cut(p);
            progress(p);
            status = es_native_watch_plan(p, context, error);
            fine = status != ESRGAN_OK || es_native_layout(p, network);
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
