/* The network as the caller sees it: its layers by name, their weights, each one recomputed; and what
 * a trace says of data. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "conv_f64.h"
#include "engine/engine.h"
#include "engine/statistics.h"
#include "model.h"

/* esrgan_layer as of version 0.1.0; later members are written only where the caller has them. */
#define LAYER_SIZE_1 (offsetof(esrgan_layer, alpha) + sizeof(double))

int esrgan_layer_count(const esrgan_model *model) { return model ? model->network->op_count : 0; }

static esrgan_status get_op(const esrgan_model *model, int index, const es_op **op,
                            esrgan_error *error) {
    if (!model) return es_fail(error, ESRGAN_E_ARGUMENT, "model is NULL");
    if (index < 0 || index >= model->network->op_count)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: layer %d is outside 0..%d",
                       model->bytes.name ? model->bytes.name : "model", index,
                       model->network->op_count - 1);
    *op = &model->network->ops[index];
    return ESRGAN_OK;
}

esrgan_status esrgan_layer_get(const esrgan_model *model, int index, esrgan_layer *layer,
                               esrgan_error *error) {
    const es_op *op;
    esrgan_status status = get_op(model, index, &op, error);
    if (status) return status;
    if (!layer || layer->size < LAYER_SIZE_1)
        return es_fail(error, ESRGAN_E_ARGUMENT, "esrgan_layer.size is not set");
    esrgan_layer filled = {.size = layer->size,
                           .name = op->name,
                           .op = es_op_kind_name(op->kind),
                           .weight_key = op->weight_key,
                           .bias_key = op->bias ? op->bias_key : NULL,
                           .input_count = op->input_count,
                           .channels_in = op->channels_in,
                           .channels_out = op->channels,
                           .kernel = op->kind == ES_OP_CONV ? op->kernel : 0,
                           .num = op->num,
                           .den = op->den,
                           .alpha = op->alpha};
    memcpy(filled.inputs, op->inputs, sizeof(int) * (size_t)op->input_count);
    memcpy(layer, &filled, LAYER_SIZE_1);
    return ESRGAN_OK;
}

int esrgan_layer_find(const esrgan_model *model, const char *name) {
    return model && name ? es_network_find(model->network, name) : -1;
}

esrgan_status esrgan_layer_weights(const esrgan_model *model, int index, double *weight,
                                   double *bias, esrgan_error *error) {
    const es_op *op;
    esrgan_status status = get_op(model, index, &op, error);
    if (status) return status;
    if (op->kind != ES_OP_CONV)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: layer is of kind %s and has no weights",
                       op->name, es_op_kind_name(op->kind));
    if (weight) es_tensor_read_f64(op->weight, weight);
    if (bias && op->bias) es_tensor_read_f64(op->bias, bias);
    if (bias && !op->bias) memset(bias, 0, sizeof(double) * (size_t)op->channels);
    return ESRGAN_OK;
}

/* Everything a convolution allocates, in one block. */
typedef struct conv_memory {
    double *weight, *bias, *scratch;
    const double **planes;
    void *block;
    size_t bytes;
} conv_memory;

static bool conv_alloc(conv_memory *m, const esrgan_allocator *a, const es_op *op, size_t scratch) {
    size_t weights =
        (size_t)op->channels * (size_t)op->channels_in * (size_t)(op->kernel * op->kernel);
    size_t doubles = weights + (size_t)op->channels + scratch;
    m->bytes = doubles * sizeof(double) + (size_t)op->channels_in * sizeof(double *);
    m->block = es_alloc(a, m->bytes);
    if (!m->block) return false;
    m->weight = m->block;
    m->bias = m->weight + weights;
    m->scratch = m->bias + op->channels;
    m->planes = (const double **)(m->scratch + scratch);
    return true;
}

static esrgan_status compute_conv(const esrgan_model *model, int index, const es_op *op,
                                  const double *const *inputs, int height, int width,
                                  double *output, double *bound, esrgan_error *error) {
    es_conv_f64 conv = {.channels_in = op->channels_in,
                        .channels_out = op->channels,
                        .kernel = op->kernel,
                        .height = height,
                        .width = width};
    conv_memory m;
    const char *why = es_openblas_load();
    if (why) return es_fail(error, ESRGAN_E_UNSUPPORTED, "%s: %s", op->name, why);
    if (!conv_alloc(&m, &model->allocator, op, es_conv_f64_scratch(&conv)))
        return es_fail(error, ESRGAN_E_MEMORY, "%s: no memory for recomputing the layer", op->name);
    int plane = 0;
    for (int i = 0; i < op->input_count; i++)
        for (int c = 0; c < model->network->ops[op->inputs[i]].channels; c++)
            m.planes[plane++] = inputs[i] + (size_t)c * (size_t)height * (size_t)width;
    conv.weight = m.weight;
    conv.bias = m.bias;
    conv.planes = m.planes;
    esrgan_status status = esrgan_layer_weights(model, index, m.weight, m.bias, error);
    if (!status && output) {
        conv.out = output;
        es_conv_f64_run(&conv, m.scratch);
    }
    if (!status && bound) {
        size_t weights =
            (size_t)op->channels * (size_t)op->channels_in * (size_t)(op->kernel * op->kernel);
        for (size_t i = 0; i < weights + (size_t)op->channels; i++) /* the bias follows on */
            m.weight[i] = fabs(m.weight[i]);
        conv.absolute = true;
        conv.out = bound;
        es_conv_f64_run(&conv, m.scratch);
    }
    es_free(&model->allocator, m.block, m.bytes);
    return status;
}

/* alpha * a + b, element by element; a residual or (alpha 1) an addition. */
static void compute_sum(double alpha, const double *a, const double *b, size_t count, double *out,
                        double *bound) {
    for (size_t i = 0; out && i < count; i++) out[i] = alpha * a[i] + b[i];
    for (size_t i = 0; bound && i < count; i++) bound[i] = fabs(alpha * a[i]) + fabs(b[i]);
}

static void compute_nearest(const es_op *op, const double *in, int height, int width, double *out) {
    size_t f = (size_t)op->factor, h = (size_t)height, w = (size_t)width;
    for (size_t c = 0; c < (size_t)op->channels; c++)
        for (size_t y = 0; y < h * f; y++)
            for (size_t x = 0; x < w * f; x++) *out++ = in[(c * h + y / f) * w + x / f];
}

static void compute_unshuffle(const es_op *op, const double *in, int height, int width,
                              double *out) {
    size_t f = (size_t)op->factor, h = (size_t)height / f, w = (size_t)width / f;
    for (size_t c = 0; c < (size_t)op->channels; c++)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                *out++ = in[((c / (f * f)) * (size_t)height + y * f + c / f % f) * (size_t)width +
                            x * f + c % f];
}

/* Kinds whose values are moved, not computed: output, then its magnitude as the bound. */
static void compute_move(const es_op *op, const double *in, int height, int width, double *out,
                         double *bound) {
    size_t count = (size_t)op->channels;
    count *= op->kind == ES_OP_NEAREST ? (size_t)height * (size_t)op->factor * (size_t)op->factor
                                       : (size_t)height / (size_t)(op->factor * op->factor);
    count *= (size_t)width;
    double *targets[2] = {out, bound};
    for (int t = 0; t < 2; t++) {
        if (!targets[t]) continue;
        if (op->kind == ES_OP_NEAREST)
            compute_nearest(op, in, height, width, targets[t]);
        else
            compute_unshuffle(op, in, height, width, targets[t]);
    }
    for (size_t i = 0; bound && i < count; i++) bound[i] = fabs(bound[i]);
}

esrgan_status esrgan_layer_compute(const esrgan_model *model, int index,
                                   const double *const *inputs, int height, int width,
                                   double *output, double *bound, esrgan_error *error) {
    const es_op *op;
    esrgan_status status = get_op(model, index, &op, error);
    if (status) return status;
    if (op->kind == ES_OP_INPUT)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: nothing computes the input", op->name);
    if (!inputs) return es_fail(error, ESRGAN_E_ARGUMENT, "%s: inputs is NULL", op->name);
    for (int i = 0; i < op->input_count; i++)
        if (!inputs[i])
            return es_fail(error, ESRGAN_E_ARGUMENT, "%s: input %d is NULL", op->name, i);
    if (height < 1 || width < 1 || (int64_t)height * width > INT_MAX / 16)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: a size of %d x %d cannot be", op->name, width,
                       height);
    if (op->kind == ES_OP_UNSHUFFLE && (height % op->factor || width % op->factor))
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: %d x %d is not a multiple of %d", op->name,
                       width, height, op->factor);
    size_t count = (size_t)op->channels * (size_t)height * (size_t)width;
    switch (op->kind) {
    case ES_OP_CONV:
        return compute_conv(model, index, op, inputs, height, width, output, bound, error);
    case ES_OP_LRELU:
        for (size_t i = 0; output && i < count; i++)
            output[i] = inputs[0][i] < 0 ? op->alpha * inputs[0][i] : inputs[0][i];
        for (size_t i = 0; bound && i < count; i++)
            bound[i] = inputs[0][i] < 0 ? -op->alpha * inputs[0][i] : inputs[0][i];
        break;
    case ES_OP_RESIDUAL: compute_sum(op->alpha, inputs[0], inputs[1], count, output, bound); break;
    case ES_OP_ADD: compute_sum(1.0, inputs[0], inputs[1], count, output, bound); break;
    default: compute_move(op, inputs[0], height, width, output, bound); break;
    }
    return ESRGAN_OK;
}

esrgan_status esrgan_statistics_compute(esrgan_dtype dtype, const void *data, uint64_t count,
                                        esrgan_statistics *statistics, esrgan_error *error) {
    if ((unsigned)dtype > ESRGAN_U8)
        return es_fail(error, ESRGAN_E_ARGUMENT, "dtype is %d; no such value", (int)dtype);
    if (!data && count > 0) return es_fail(error, ESRGAN_E_ARGUMENT, "data is NULL");
    if (!statistics || statistics->size < sizeof *statistics)
        return es_fail(error, ESRGAN_E_ARGUMENT, "esrgan_statistics.size is not set");
    es_statistics_planes(NULL, dtype, data, count, statistics);
    return ESRGAN_OK;
}
