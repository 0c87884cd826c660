/* The builder: operations, their names, and strict looking up of weights. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "network/family.h"

#define FILE_SHOWN 160 /* bytes of a file's name in a message */

void es_build_begin(es_builder *b, int capacity) {
    es_network *network = b->network;
    network->ops = es_calloc(b->allocator, (size_t)capacity, sizeof *network->ops);
    b->names = es_calloc(b->allocator, (size_t)capacity, ES_NAME_SIZE);
    b->wanted = es_calloc(b->allocator, b->checkpoint->count, 1);
    b->capacity = capacity;
    if (network->ops == NULL || b->names == NULL || b->wanted == NULL)
        b->status = es_fail(b->error, ESRGAN_E_MEMORY, "%s: no memory for a network of %d steps",
                            b->checkpoint->file, capacity);
}

void es_build_fail(es_builder *b, esrgan_status status, const char *format, ...) {
    if (b->status != ESRGAN_OK) return;
    char detail[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    /* Of a long path the end is shown: the key must not be cut off. */
    const char *file = b->checkpoint->file;
    size_t length = strlen(file), shown = length > FILE_SHOWN ? FILE_SHOWN : length;
    b->status = es_fail(b->error, status, "%s%s: %s in layout %s: %s", shown < length ? "..." : "",
                        file + length - shown, b->network->family, b->network->layout, detail);
}

/* "[64, any, 3, 3]" */
static const char *shape_text(char *text, size_t size, int ndim, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < ndim && used < size; i++) {
        const char *comma = i > 0 ? ", " : "";
        int n = shape[i] == ES_ANY
                    ? snprintf(text + used, size - used, "%sany", comma)
                    : snprintf(text + used, size - used, "%s%lld", comma, (long long)shape[i]);
        used += (size_t)n;
    }
    if (used < size) snprintf(text + used, size - used, "]");
    return text;
}

static bool same_shape(const es_tensor *tensor, int ndim, const int64_t *shape) {
    if (tensor->ndim != ndim) return false;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == ES_ANY ? tensor->shape[i] < 1 : tensor->shape[i] != shape[i]) return false;
    }
    return true;
}

const es_tensor *es_build_tensor(es_builder *b, const char *key, int ndim, const int64_t *shape) {
    if (b->status != ESRGAN_OK) return NULL;
    char expected[128], found[200];
    shape_text(expected, sizeof expected, ndim, shape);
    const es_tensor *tensor = es_checkpoint_find(b->checkpoint, key);
    if (tensor == NULL) {
        es_build_fail(b, ESRGAN_E_MISSING_KEY, "key %s is missing, expected with shape %s", key,
                      expected);
        return NULL;
    }
    shape_text(found, sizeof found, tensor->ndim, tensor->shape);
    if (!same_shape(tensor, ndim, shape)) {
        es_build_fail(b, ESRGAN_E_SHAPE, "key %s has shape %s, expected %s", key, found, expected);
        return NULL;
    }
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == ES_ANY && tensor->shape[i] > ES_MAX_CHANNELS) {
            es_build_fail(b, ESRGAN_E_LIMIT, "key %s has shape %s, expected at most %d channels",
                          key, found, ES_MAX_CHANNELS);
            return NULL;
        }
    }
    if (tensor->dtype != ES_F32 && tensor->dtype != ES_F16 && tensor->dtype != ES_BF16 &&
        tensor->dtype != ES_F64) {
        es_build_fail(b, ESRGAN_E_UNSUPPORTED,
                      "key %s holds %s, expected float32, float16, bfloat16 or float64", key,
                      es_dtype_name(tensor->dtype));
        return NULL;
    }
    b->wanted[tensor - b->checkpoint->tensors] = 1;
    return tensor;
}

static int divisor(int a, int b) {
    while (b != 0) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int es_build_op(es_builder *b, es_op op, const char *name, ...) {
    if (b->status != ESRGAN_OK) return -1;
    es_network *network = b->network;
    int index = network->op_count;
    if (index >= b->capacity) {
        es_build_fail(b, ESRGAN_E_LIMIT, "more than %d steps", b->capacity);
        return -1;
    }
    char *own = b->names + (size_t)index * ES_NAME_SIZE;
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(own, ES_NAME_SIZE, name, arguments);
    va_end(arguments);
    op.name = own;
    op.num = op.den = 1;
    for (int i = 0; i < op.input_count; i++) op.channels_in += network->ops[op.inputs[i]].channels;
    if (op.input_count > 0) {
        const es_op *first = &network->ops[op.inputs[0]];
        op.num = first->num * (op.kind == ES_OP_NEAREST ? op.factor : 1);
        op.den = first->den * (op.kind == ES_OP_UNSHUFFLE ? op.factor : 1);
        int common = divisor(op.num, op.den);
        op.num /= common;
        op.den /= common;
        if (op.kind == ES_OP_UNSHUFFLE)
            op.channels = first->channels * op.factor * op.factor;
        else if (op.kind != ES_OP_CONV)
            op.channels = first->channels;
    }
    network->ops[index] = op;
    network->op_count = index + 1;
    return index;
}

int es_build_conv(es_builder *b, const char *key, const int *inputs, int count, int channels,
                  int kernel, bool bias, const char *name) {
    if (b->status != ESRGAN_OK) return -1;
    es_op op = {.kind = ES_OP_CONV, .input_count = count, .channels = channels, .kernel = kernel};
    int64_t channels_in = 0;
    for (int i = 0; i < count; i++) {
        op.inputs[i] = inputs[i];
        channels_in += b->network->ops[inputs[i]].channels;
    }
    char full[ES_KEY_SIZE + sizeof ".weight"];
    snprintf(full, sizeof full, "%s.weight", key);
    op.weight = es_build_tensor(b, full, 4, (int64_t[]){channels, channels_in, kernel, kernel});
    if (bias) {
        snprintf(full, sizeof full, "%s.bias", key);
        op.bias = es_build_tensor(b, full, 1, (int64_t[]){channels});
    }
    if (b->status != ESRGAN_OK) return -1;
    op.weight_key = op.weight->name;
    op.bias_key = op.bias != NULL ? op.bias->name : NULL;
    return es_build_op(b, op, "%s", name);
}

void es_build_end(es_builder *b) {
    if (b->status != ESRGAN_OK) return;
    const es_checkpoint *checkpoint = b->checkpoint;
    for (size_t i = 0; i < checkpoint->count; i++) {
        if (b->wanted[i]) continue;
        const es_tensor *tensor = &checkpoint->tensors[i];
        char found[200];
        es_build_fail(b, ESRGAN_E_SURPLUS_KEY, "key %.120s of shape %s does not belong to it",
                      tensor->name, shape_text(found, sizeof found, tensor->ndim, tensor->shape));
        return;
    }
    es_network *network = b->network;
    for (int i = 0; i < network->op_count; i++) {
        const es_op *op = &network->ops[i];
        if (op->kind != ES_OP_CONV) continue;
        network->parameters += (uint64_t)op->weight->numel;
        if (op->bias != NULL) network->parameters += (uint64_t)op->bias->numel;
        double pixels = (double)op->num / op->den;
        network->macs_per_pixel += (double)op->weight->numel * pixels * pixels;
    }
}
