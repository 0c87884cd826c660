#include "graph.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"

/* ---- The list of layers ---- */

/* The weights beside those that are used by default, where the file has both. */
static void open_other(graph *g) {
    static const char *const pairs[][2] = {
        {"params_ema", "params"}, {"params", "params_ema"}, {"params-ema", "params"}};
    esrgan_open_options options;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !g->other; i++) {
        if (strcmp(g->info.wrapper, pairs[i][0]) != 0) continue;
        esrgan_open_options_init(&options);
        options.wrapper = g->other_wrapper = pairs[i][1];
        if (g->info.up_factor == 3) options.up_factor = 3;
        if (esrgan_open_file(g->path, &options, &g->other, NULL)) g->other = NULL;
    }
    if (g->other && esrgan_layer_count(g->other) != esrgan_layer_count(g->model)) {
        esrgan_model_free(g->other);
        g->other = NULL;
    }
}

bool graph_open(graph *g, const model_settings *settings, int threads) {
    *g = (graph){.threads = threads > 0 ? threads : 1};
    g->info.size = sizeof g->info;
    g->model = model_open(settings, &g->path);
    if (!g->model) return false;
    int count = esrgan_layer_count(g->model);
    g->layers = allocate((size_t)count + 2, sizeof *g->layers);
    if (!g->layers || esrgan_model_get_info(g->model, &g->info, NULL)) {
        graph_close(g);
        return false;
    }
    for (int i = 0; i < count; i++) {
        g->layers[i].size = sizeof *g->layers;
        esrgan_layer_get(g->model, i, &g->layers[i], NULL);
    }
    esrgan_layer last = g->layers[count - 1];
    last.kernel = 0;
    last.weight_key = last.bias_key = NULL;
    last.channels_in = last.channels_out;
    last.input_count = 1;
    last.inputs[0] = count - 1;
    last.name = "output";
    last.op = "clamp";
    g->layers[count] = last;
    last.inputs[0] = count;
    last.name = "output.u8";
    last.op = "round";
    g->layers[count + 1] = last;
    g->count = count + 2;
    open_other(g);
    return true;
}

void graph_close(graph *g) {
    esrgan_model_free(g->other);
    esrgan_model_free(g->model);
    free(g->layers);
    free(g->path);
    *g = (graph){0};
}

int graph_find(const graph *g, const char *name) {
    for (int i = 0; i < g->count; i++)
        if (!strcmp(g->layers[i].name, name)) return i;
    return -1;
}

double graph_terms(const graph *g, int index) {
    const esrgan_layer *l = &g->layers[index];
    return l->kernel ? (double)l->channels_in * l->kernel * l->kernel : l->input_count;
}

static bool is_op(const esrgan_layer *l, const char *op) { return !strcmp(l->op, op); }

static void out_size(const graph *g, int index, int h, int w, int *oh, int *ow) {
    const esrgan_layer *l = &g->layers[index], *in = &g->layers[l->inputs[0]];
    *oh = (int)((int64_t)h * in->den * l->num / (in->num * l->den));
    *ow = (int)((int64_t)w * in->den * l->num / (in->num * l->den));
}

/* ---- One layer, in bands of rows over threads ---- */

typedef struct band_job {
    const graph *g;
    const esrgan_model *model;
    const tensor *inputs;
    tensor *out, *bound;
    int index, rows, bands;
    atomic_int next;
    atomic_bool failed;
} band_job;

/* Rows from..to of every input, as tensors of their own. */
static bool cut_rows(const band_job *job, int from, int to, tensor *parts, int count) {
    for (int i = 0; i < count; i++) {
        const tensor *in = &job->inputs[i];
        if (!tensor_make(&parts[i], in->c, to - from, in->w)) return false;
        size_t part = (size_t)(to - from) * (size_t)in->w;
        for (int c = 0; c < in->c; c++)
            memcpy(parts[i].v + (size_t)c * part,
                   in->v + ((size_t)c * (size_t)in->h + (size_t)from) * (size_t)in->w,
                   part * sizeof(double));
    }
    return true;
}

static void paste_rows(tensor *to, const tensor *part, int skip, int y, int rows) {
    for (int c = 0; c < to->c; c++)
        memcpy(to->v + ((size_t)c * (size_t)to->h + (size_t)y) * (size_t)to->w,
               part->v + ((size_t)c * (size_t)part->h + (size_t)skip) * (size_t)to->w,
               (size_t)rows * (size_t)to->w * sizeof(double));
}

static bool compute_band(band_job *job, int band) {
    const esrgan_layer *l = &job->g->layers[job->index];
    int h = job->out->h, half = l->kernel / 2, count = l->input_count;
    int y0 = band * job->rows, y1 = y0 + job->rows < h ? y0 + job->rows : h;
    int from = y0 - half > 0 ? y0 - half : 0, to = y1 + half < h ? y1 + half : h;
    tensor parts[8] = {{0}}, out = {0}, bound = {0};
    const double *pointers[8];
    esrgan_error error;
    bool good = cut_rows(job, from, to, parts, count) &&
                tensor_make(&out, job->out->c, to - from, job->out->w) &&
                (!job->bound || tensor_make(&bound, job->out->c, to - from, job->out->w));
    for (int i = 0; i < count; i++) pointers[i] = parts[i].v;
    if (good && esrgan_layer_compute(job->model, job->index, pointers, to - from, job->out->w,
                                     out.v, bound.v, &error)) {
        complain("%s", error.message);
        good = false;
    }
    if (good) paste_rows(job->out, &out, y0 - from, y0, y1 - y0);
    if (good && job->bound) paste_rows(job->bound, &bound, y0 - from, y0, y1 - y0);
    for (int i = 0; i < count; i++) tensor_free(&parts[i]);
    tensor_free(&out);
    tensor_free(&bound);
    return good;
}

static void *band_worker(void *context) {
    band_job *job = context;
    int band;
    while (!job->failed && (band = atomic_fetch_add(&job->next, 1)) < job->bands)
        if (!compute_band(job, band)) job->failed = true;
    return NULL;
}

static bool compute_conv(const graph *g, const esrgan_model *model, int index, const tensor *inputs,
                         tensor *out, tensor *bound) {
    double work = graph_terms(g, index) * (double)tensor_count(out);
    int workers = work > 4e6 ? g->threads : 1;
    if (workers > 64) workers = 64;
    band_job job = {
        .g = g, .model = model, .inputs = inputs, .out = out, .bound = bound, .index = index};
    job.rows = workers == 1 ? out->h : (out->h + 4 * workers - 1) / (4 * workers);
    if (job.rows < 4) job.rows = 4;
    job.bands = (out->h + job.rows - 1) / job.rows;
    pthread_t threads[64];
    int started = 0;
    while (started < workers - 1 && pthread_create(&threads[started], NULL, band_worker, &job) == 0)
        started++;
    band_worker(&job);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    return !job.failed;
}

/* ---- One layer, rightly ---- */

static void compute_picture(bool wide, const tensor *in, tensor *out, tensor *bound) {
    for (size_t i = 0; i < tensor_count(out); i++) {
        double v = in->v[i];
        double clamped = v < 0 ? 0 : v > 1 ? 1 : v;
        out->v[i] = wide ? 255 * clamped : clamped;
        if (bound) bound->v[i] = fabs(out->v[i]);
    }
}

static bool compute_rightly(const graph *g, const esrgan_model *model, int index,
                            const tensor *inputs, tensor *out, tensor *bound) {
    const esrgan_layer *l = &g->layers[index];
    const double *pointers[8];
    esrgan_error error;
    int h = inputs[0].h, w = inputs[0].w, oh, ow;
    out_size(g, index, h, w, &oh, &ow);
    if (!tensor_make(out, l->channels_out, oh, ow)) return false;
    if (bound && !tensor_make(bound, l->channels_out, oh, ow)) return false;
    if (index >= g->count - 2) {
        compute_picture(index == g->count - 1, inputs, out, bound);
        return true;
    }
    if (l->kernel) return compute_conv(g, model, index, inputs, out, bound);
    for (int i = 0; i < l->input_count; i++) pointers[i] = inputs[i].v;
    if (!esrgan_layer_compute(model, index, pointers, h, w, out->v, bound ? bound->v : NULL,
                              &error))
        return true;
    complain("%s", error.message);
    return false;
}

/* ---- One layer, wrongly ---- */

bool fault_applies(const graph *g, int index, fault f) {
    const esrgan_layer *l = &g->layers[index];
    bool conv = l->kernel > 0, sum = is_op(l, "residual") || is_op(l, "add");
    switch (f.kind) {
    case FAULT_NONE: return true;
    case FAULT_ACTIVATION_SKIPPED:
    case FAULT_SLOPE: return is_op(l, "lrelu");
    case FAULT_BIAS_MISSING: return conv && l->bias_key;
    case FAULT_FACTOR: return is_op(l, "residual");
    case FAULT_SHORTCUT_MISSING:
    case FAULT_BRANCH_MISSING: return sum;
    case FAULT_PADDING:
    case FAULT_KERNEL_READ: return l->kernel == 3;
    case FAULT_ENLARGING: return is_op(l, "nearest");
    case FAULT_INPUT_READ: return conv;
    case FAULT_INPUT_MISSING: return conv && l->input_count > 1 && f.option < l->input_count;
    case FAULT_INPUTS_REVERSED: return conv && l->input_count > 1;
    case FAULT_OTHER_WEIGHTS: return conv && g->other;
    case FAULT_UNSHUFFLE_ORDER: return is_op(l, "unshuffle");
    default: return false;
    }
}

/* A view of each input within the joined value. */
static void split(const graph *g, int index, const tensor *all, tensor *views) {
    const esrgan_layer *l = &g->layers[index];
    double *at = all->v;
    for (int i = 0; i < l->input_count; i++) {
        views[i] = (tensor){g->layers[l->inputs[i]].channels_out, all->h, all->w, at};
        at += tensor_count(&views[i]);
    }
}

/* The layer over inputs that were joined and changed. */
static bool compute_joined(const graph *g, int index, const tensor *all, tensor *out) {
    tensor views[8];
    split(g, index, all, views);
    return compute_rightly(g, g->model, index, views, out, NULL);
}

static bool compute_input_read(const graph *g, int index, const tensor *inputs, fault f,
                               tensor *out) {
    tensor all = {0}, changed = {0};
    bool reversed = f.kind == FAULT_INPUTS_REVERSED;
    bool good = tensor_join(&all, inputs, g->layers[index].input_count, reversed) &&
                (reversed || tensor_read_as(&changed, &all, (reading)f.option)) &&
                compute_joined(g, index, reversed ? &all : &changed, out);
    tensor_free(&all);
    tensor_free(&changed);
    return good;
}

/* Turning picture and result turns the kernel. */
static bool compute_kernel_read(const graph *g, int index, const tensor *inputs, reading how,
                                tensor *out) {
    tensor all = {0}, turned = {0}, made = {0};
    bool good = tensor_join(&all, inputs, g->layers[index].input_count, false) &&
                tensor_read_as(&turned, &all, how) && compute_joined(g, index, &turned, &made) &&
                tensor_read_as(out, &made, how);
    tensor_free(&all);
    tensor_free(&turned);
    tensor_free(&made);
    return good;
}

static bool compute_padded(const graph *g, int index, const tensor *inputs, padding how,
                           tensor *out) {
    tensor all = {0}, wider = {0}, made = {0};
    bool good = tensor_join(&all, inputs, g->layers[index].input_count, false) &&
                tensor_pad(&wider, &all, how) && compute_joined(g, index, &wider, &made) &&
                tensor_crop(out, &made);
    tensor_free(&all);
    tensor_free(&wider);
    tensor_free(&made);
    return good;
}

static bool compute_input_missing(const graph *g, int index, const tensor *inputs, int which,
                                  tensor *out) {
    tensor changed[8], zeros;
    if (!tensor_make(&zeros, inputs[which].c, inputs[which].h, inputs[which].w)) return false;
    memcpy(changed, inputs, sizeof *inputs * (size_t)g->layers[index].input_count);
    changed[which] = zeros;
    bool good = compute_rightly(g, g->model, index, changed, out, NULL);
    tensor_free(&zeros);
    return good;
}

static bool subtract_bias(const graph *g, int index, tensor *out) {
    double *bias = allocate((size_t)out->c, sizeof *bias);
    if (!bias) return false;
    esrgan_layer_weights(g->model, index, NULL, bias, NULL);
    size_t plane = (size_t)out->h * (size_t)out->w;
    for (size_t i = 0; i < tensor_count(out); i++) out->v[i] -= bias[i / plane];
    free(bias);
    return true;
}

static void compute_pointwise(const tensor *inputs, fault f, double alpha, tensor *out) {
    for (size_t i = 0; i < tensor_count(out); i++) {
        double a = inputs[0].v[i];
        switch (f.kind) {
        case FAULT_SLOPE: out->v[i] = a < 0 ? f.value * a : a; break;
        case FAULT_FACTOR: out->v[i] = f.value * a + inputs[1].v[i]; break;
        case FAULT_SHORTCUT_MISSING: out->v[i] = alpha * a; break;
        case FAULT_BRANCH_MISSING: out->v[i] = inputs[1].v[i]; break;
        default: out->v[i] = a; break;
        }
    }
}

/* Space to depth with the colour running fastest. */
static void reorder_unshuffled(const tensor *right, int colours, tensor *out) {
    size_t plane = (size_t)out->h * (size_t)out->w;
    int phases = out->c / colours;
    for (int c = 0; c < out->c; c++)
        memcpy(out->v + (size_t)c * plane,
               right->v + (size_t)(c % colours * phases + c / colours) * plane,
               plane * sizeof(double));
}

static bool compute_reordered(const graph *g, int index, const tensor *inputs, tensor *out) {
    tensor right = {0};
    bool good = compute_rightly(g, g->model, index, inputs, &right, NULL) &&
                tensor_make(out, right.c, right.h, right.w);
    if (good) reorder_unshuffled(&right, inputs[0].c, out);
    tensor_free(&right);
    return good;
}

/* Complains of what a trace may hold: values that no such network makes. */
static bool inputs_fit(const graph *g, int index, const tensor *inputs) {
    const esrgan_layer *l = &g->layers[index];
    for (int i = 0; i < l->input_count; i++) {
        const esrgan_layer *from = &g->layers[l->inputs[i]];
        if (inputs[i].c != from->channels_out) {
            complain("%s: has %d channels, the model's has %d", from->name, inputs[i].c,
                     from->channels_out);
            return false;
        }
        if (inputs[i].h != inputs[0].h || inputs[i].w != inputs[0].w) {
            complain("%s: its inputs have the sizes %d x %d and %d x %d", l->name, inputs[0].w,
                     inputs[0].h, inputs[i].w, inputs[i].h);
            return false;
        }
    }
    return true;
}

bool graph_compute(const graph *g, int index, const tensor *inputs, fault f, tensor *out,
                   tensor *bound) {
    const esrgan_layer *l = &g->layers[index];
    out->v = NULL;
    if (bound) bound->v = NULL;
    if (!inputs_fit(g, index, inputs)) return false;
    if ((f.kind == FAULT_INPUT_READ || f.kind == FAULT_KERNEL_READ) &&
        !reading_fits((reading)f.option, l->channels_in, inputs[0].h, inputs[0].w))
        f.kind = FAULT_NONE;
    switch (f.kind) {
    case FAULT_NONE: return compute_rightly(g, g->model, index, inputs, out, bound);
    case FAULT_OTHER_WEIGHTS: return compute_rightly(g, g->other, index, inputs, out, bound);
    case FAULT_BIAS_MISSING:
        return compute_rightly(g, g->model, index, inputs, out, bound) &&
               subtract_bias(g, index, out);
    case FAULT_PADDING: return compute_padded(g, index, inputs, (padding)f.option, out);
    case FAULT_INPUT_READ:
    case FAULT_INPUTS_REVERSED: return compute_input_read(g, index, inputs, f, out);
    case FAULT_KERNEL_READ: return compute_kernel_read(g, index, inputs, (reading)f.option, out);
    case FAULT_INPUT_MISSING: return compute_input_missing(g, index, inputs, f.option, out);
    case FAULT_UNSHUFFLE_ORDER: return compute_reordered(g, index, inputs, out);
    case FAULT_ENLARGING: {
        int factor = (int)((int64_t)l->num * g->layers[l->inputs[0]].den /
                           ((int64_t)l->den * g->layers[l->inputs[0]].num));
        return tensor_enlarge(out, inputs, factor, (enlarging)f.option);
    }
    default: break;
    }
    if (!tensor_make(out, inputs[0].c, inputs[0].h, inputs[0].w)) return false;
    compute_pointwise(inputs, f, is_op(l, "add") ? 1 : l->alpha, out);
    return true;
}

/* ---- Words ---- */

const char *fault_id(const graph *g, int index, fault f) {
    static const char *const paddings[] = {"zero-padding", "reflect-padding", "replicate-padding",
                                           "circular-padding"};
    static const char *const enlargings[] = {"nearest-is-bilinear", "nearest-is-bilinear-corners",
                                             "nearest-is-bicubic"};
    static const char *const ids[FAULT_KIND_COUNT] = {[FAULT_NONE] = "none",
                                                      [FAULT_ACTIVATION_SKIPPED] =
                                                          "activation-skipped",
                                                      [FAULT_SLOPE] = "wrong-slope",
                                                      [FAULT_BIAS_MISSING] = "bias-missing",
                                                      [FAULT_FACTOR] = "wrong-factor",
                                                      [FAULT_SHORTCUT_MISSING] = "shortcut-missing",
                                                      [FAULT_BRANCH_MISSING] = "branch-missing",
                                                      [FAULT_INPUT_MISSING] = "input-missing",
                                                      [FAULT_INPUTS_REVERSED] = "inputs-reversed",
                                                      [FAULT_OTHER_WEIGHTS] = "other-weights",
                                                      [FAULT_UNSHUFFLE_ORDER] = "unshuffle-order"};
    int channels = index < 0 ? g->info.in_channels : g->layers[index].channels_in;
    switch (f.kind) {
    case FAULT_FACTOR: return f.value == 1 ? "residual-scale-missing" : "wrong-factor";
    case FAULT_PADDING: return paddings[f.option];
    case FAULT_ENLARGING: return enlargings[f.option];
    case FAULT_INPUT_READ: return reading_id((reading)f.option, channels);
    case FAULT_KERNEL_READ:
        return f.option == READ_TURNED       ? "kernel-turned"
               : f.option == READ_TRANSPOSED ? "kernel-transposed"
               : f.option == READ_FLIPPED_X  ? "kernel-flipped-x"
                                             : "kernel-flipped-y";
    default: return ids[f.kind];
    }
}

void fault_text(const graph *g, int index, fault f, char *text, size_t size) {
    static const char *const paddings[] = {"with zeros", "by reflection",
                                           "by repeating the edge (replicate)", "circularly"};
    static const char *const enlargings[] = {
        "bilinear enlarging", "bilinear enlarging with aligned corners", "bicubic enlarging"};
    static const char *const kernels[READING_COUNT] = {
        [READ_TRANSPOSED] = "transposed",
        [READ_FLIPPED_X] = "flipped left to right",
        [READ_FLIPPED_Y] = "flipped top to bottom",
        [READ_TURNED] = "turned by 180 degrees (true convolution for cross-correlation)"};
    const esrgan_layer *l = index < 0 ? NULL : &g->layers[index];
    switch (f.kind) {
    case FAULT_ACTIVATION_SKIPPED: snprintf(text, size, "the activation is skipped"); break;
    case FAULT_SLOPE:
        snprintf(text, size, "the activation's slope is %.4g, expected %g", f.value,
                 l ? l->alpha : 0.2);
        break;
    case FAULT_BIAS_MISSING: snprintf(text, size, "the bias is missing"); break;
    case FAULT_FACTOR:
        snprintf(text, size, "the residual factor is %.4g, expected %g%s", f.value,
                 l ? l->alpha : 0.2, f.value == 1 ? ": the scale is missing" : "");
        break;
    case FAULT_SHORTCUT_MISSING: snprintf(text, size, "the shortcut is not added"); break;
    case FAULT_BRANCH_MISSING: snprintf(text, size, "the branch is not added"); break;
    case FAULT_PADDING:
        snprintf(text, size, "padded %s, expected zeros", paddings[f.option]);
        break;
    case FAULT_ENLARGING:
        snprintf(text, size, "%s in place of nearest", enlargings[f.option]);
        break;
    case FAULT_INPUT_READ:
        snprintf(text, size, "its input is misread: %s",
                 reading_text((reading)f.option, l ? l->channels_in : g->info.in_channels));
        break;
    case FAULT_KERNEL_READ: snprintf(text, size, "the kernels are %s", kernels[f.option]); break;
    case FAULT_INPUT_MISSING:
        snprintf(text, size, "input %d (%s) is taken as zeros", f.option,
                 l ? g->layers[l->inputs[f.option]].name : "?");
        break;
    case FAULT_INPUTS_REVERSED:
        snprintf(text, size, "its inputs are concatenated in reverse");
        break;
    case FAULT_OTHER_WEIGHTS:
        snprintf(text, size, "the weights are those of '%s', expected '%s'", g->other_wrapper,
                 g->info.wrapper);
        break;
    case FAULT_UNSHUFFLE_ORDER:
        snprintf(text, size,
                 "channels of pixel-unshuffle in the order (row, column, colour), "
                 "expected (colour, row, column)");
        break;
    default: snprintf(text, size, "nothing is wrong"); break;
    }
}
