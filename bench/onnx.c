/*
 * A model as ONNX, for peers that read nothing else.  ONNX is protobuf, written here by hand: a
 * message is a row of fields, each a key (number * 8 + kind) and a varint, four bytes, or a length
 * and so many bytes, which may be a message again.  Values carry the canonical names of esrgan.h.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef struct message {
    uint8_t *data;
    size_t size, room;
} message;

static void put_bytes(message *m, const void *data, size_t size) {
    if (m->size + size > m->room) {
        m->room = 2 * m->room + size + 64;
        m->data = realloc(m->data, m->room);
        if (!m->data) abort();
    }
    if (size > 0) memcpy(m->data + m->size, data, size);
    m->size += size;
}

static void put_varint(message *m, uint64_t v) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 128; v >>= 7) bytes[n++] = (uint8_t)(v | 128);
    bytes[n++] = (uint8_t)v;
    put_bytes(m, bytes, n);
}

static void put_integer(message *m, int field, int64_t v) {
    put_varint(m, (uint64_t)field << 3);
    put_varint(m, (uint64_t)v);
}

static void put_float(message *m, int field, float v) {
    put_varint(m, (uint64_t)field << 3 | 5);
    put_bytes(m, &v, sizeof v);
}

static void put_data(message *m, int field, const void *data, size_t size) {
    put_varint(m, (uint64_t)field << 3 | 2);
    put_varint(m, size);
    put_bytes(m, data, size);
}

static void put_text(message *m, int field, const char *text) {
    put_data(m, field, text, strlen(text));
}

/* Takes the inner message. */
static void put_message(message *m, int field, message *inner) {
    put_data(m, field, inner->data, inner->size);
    free(inner->data);
    *inner = (message){0};
}

/* ---- Fields of onnx.proto -------------------------------------------------------------------- */

enum { MODEL_IR = 1, MODEL_PRODUCER, MODEL_GRAPH = 7, MODEL_OPSET };
enum { OPSET_VERSION = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT };
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_F, ATTRIBUTE_I, ATTRIBUTE_S, ATTRIBUTE_INTS = 8 };
enum { ATTRIBUTE_TYPE = 20, IS_FLOAT = 1, IS_INT, IS_STRING, IS_INTS = 7 };
enum {
    TENSOR_DIMS = 1,
    TENSOR_TYPE,
    TENSOR_NAME = 8,
    TENSOR_RAW,
    TENSOR_FLOAT = 1,
    TENSOR_INT64 = 7
};
enum { VALUE_NAME = 1, VALUE_TYPE, TYPE_TENSOR = 1, TENSOR_ELEMENT = 1, TENSOR_SHAPE };
enum { SHAPE_DIM = 1, DIM_VALUE = 1, DIM_PARAM };

static void attribute(message *node, const char *name, message *value, int type) {
    put_text(value, ATTRIBUTE_NAME, name);
    put_integer(value, ATTRIBUTE_TYPE, type);
    put_message(node, NODE_ATTRIBUTE, value);
}

static void attribute_integer(message *node, const char *name, int64_t v) {
    message a = {0};
    put_integer(&a, ATTRIBUTE_I, v);
    attribute(node, name, &a, IS_INT);
}

static void attribute_text(message *node, const char *name, const char *text) {
    message a = {0};
    put_text(&a, ATTRIBUTE_S, text);
    attribute(node, name, &a, IS_STRING);
}

static void attribute_integers(message *node, const char *name, int count, int64_t each) {
    message a = {0};
    for (int i = 0; i < count; i++) put_integer(&a, ATTRIBUTE_INTS, each);
    attribute(node, name, &a, IS_INTS);
}

static message begin_node(const char *op, const char *result) {
    message node = {0};
    put_text(&node, NODE_OP, op);
    put_text(&node, NODE_NAME, result);
    put_text(&node, NODE_OUTPUT, result);
    return node;
}

static void tensor(message *graph, const char *name, int type, const int64_t *dims, int ndim,
                   const void *data, size_t bytes) {
    message t = {0};
    for (int i = 0; i < ndim; i++) put_integer(&t, TENSOR_DIMS, dims[i]);
    put_integer(&t, TENSOR_TYPE, type);
    put_text(&t, TENSOR_NAME, name);
    put_data(&t, TENSOR_RAW, data, bytes);
    put_message(graph, GRAPH_INITIALIZER, &t);
}

/* An input or output of the graph, 1 x channels x any height x any width. */
static void value(message *graph, int field, const char *name, int channels, const char *height,
                  const char *width) {
    message v = {0}, type = {0}, element = {0}, shape = {0};
    for (int i = 0; i < 4; i++) {
        message dim = {0};
        if (i < 2)
            put_integer(&dim, DIM_VALUE, i ? channels : 1);
        else
            put_text(&dim, DIM_PARAM, i == 2 ? height : width);
        put_message(&shape, SHAPE_DIM, &dim);
    }
    put_integer(&element, TENSOR_ELEMENT, TENSOR_FLOAT);
    put_message(&element, TENSOR_SHAPE, &shape);
    put_message(&type, TYPE_TENSOR, &element);
    put_text(&v, VALUE_NAME, name);
    put_message(&v, VALUE_TYPE, &type);
    put_message(graph, field, &v);
}

/* ---- A network's layers ---------------------------------------------------------------------- */

enum { NAME = 160 };

static esrgan_layer layer_at(const esrgan_model *model, int index) {
    esrgan_layer layer = {.size = sizeof layer};
    if (esrgan_layer_get(model, index, &layer, NULL) != ESRGAN_OK) abort();
    return layer;
}

static void derived(char name[NAME], const esrgan_layer *layer, const char *what) {
    snprintf(name, NAME, "%s.%s", layer->name, what);
}

static void add_convolution(message *graph, const esrgan_model *model, int index,
                            const esrgan_layer *layer) {
    const int64_t dims[] = {layer->channels_out, layer->channels_in, layer->kernel, layer->kernel};
    const size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]), out = (size_t)dims[0];
    double *exact = malloc((count + out) * sizeof *exact);
    float *rounded = malloc((count + out) * sizeof *rounded);
    if (!exact || !rounded) abort();
    if (esrgan_layer_weights(model, index, exact, exact + count, NULL) != ESRGAN_OK) abort();
    for (size_t i = 0; i < count + out; i++) rounded[i] = (float)exact[i];
    char weight[NAME], bias[NAME], joined[NAME];
    derived(weight, layer, "weight");
    derived(bias, layer, "bias");
    derived(joined, layer, "joined");
    tensor(graph, weight, TENSOR_FLOAT, dims, 4, rounded, count * sizeof *rounded);
    tensor(graph, bias, TENSOR_FLOAT, dims, 1, rounded + count, out * sizeof *rounded);
    free(exact), free(rounded);

    if (layer->input_count > 1) {
        message concat = begin_node("Concat", joined);
        for (int i = 0; i < layer->input_count; i++)
            put_text(&concat, NODE_INPUT, layer_at(model, layer->inputs[i]).name);
        attribute_integer(&concat, "axis", 1);
        put_message(graph, GRAPH_NODE, &concat);
    }
    message node = begin_node("Conv", layer->name);
    put_text(&node, NODE_INPUT,
             layer->input_count > 1 ? joined : layer_at(model, layer->inputs[0]).name);
    put_text(&node, NODE_INPUT, weight);
    put_text(&node, NODE_INPUT, bias);
    attribute_integers(&node, "kernel_shape", 2, layer->kernel);
    attribute_integers(&node, "pads", 4, layer->kernel / 2);
    put_message(graph, GRAPH_NODE, &node);
}

/* a + b, or alpha * a + b. */
static void add_sum(message *graph, const esrgan_layer *layer, const char *a, const char *b) {
    char alpha[NAME], scaled[NAME];
    if (strcmp(layer->op, "residual") == 0) {
        const float factor = (float)layer->alpha;
        derived(alpha, layer, "alpha");
        derived(scaled, layer, "scaled");
        tensor(graph, alpha, TENSOR_FLOAT, NULL, 0, &factor, sizeof factor);
        message node = begin_node("Mul", scaled);
        put_text(&node, NODE_INPUT, a);
        put_text(&node, NODE_INPUT, alpha);
        put_message(graph, GRAPH_NODE, &node);
        a = scaled;
    }
    message node = begin_node("Add", layer->name);
    put_text(&node, NODE_INPUT, a);
    put_text(&node, NODE_INPUT, b);
    put_message(graph, GRAPH_NODE, &node);
}

static void add_nearest(message *graph, const esrgan_layer *layer, const char *from, int factor) {
    const float scales[] = {1, 1, (float)factor, (float)factor};
    const int64_t four = 4;
    char name[NAME];
    derived(name, layer, "scales");
    tensor(graph, name, TENSOR_FLOAT, &four, 1, scales, sizeof scales);
    message node = begin_node("Resize", layer->name);
    put_text(&node, NODE_INPUT, from);
    put_text(&node, NODE_INPUT, ""); /* no region of interest */
    put_text(&node, NODE_INPUT, name);
    attribute_text(&node, "mode", "nearest");
    attribute_text(&node, "coordinate_transformation_mode", "asymmetric");
    attribute_text(&node, "nearest_mode", "floor");
    put_message(graph, GRAPH_NODE, &node);
}

/* ONNX numbers the channels of SpaceToDepth (row, column, colour), PyTorch (colour, row, column). */
static void add_unshuffle(message *graph, const esrgan_layer *layer, const char *from, int factor) {
    const int64_t all = layer->channels_out, phases = (int64_t)factor * factor,
                  colours = all / phases;
    int64_t *order = malloc((size_t)all * sizeof *order);
    if (!order) abort();
    for (int64_t c = 0; c < all; c++) order[c] = c % phases * colours + c / phases;
    char grouped[NAME], name[NAME];
    derived(grouped, layer, "grouped");
    derived(name, layer, "order");
    tensor(graph, name, TENSOR_INT64, &all, 1, order, (size_t)all * sizeof *order);
    free(order);
    message node = begin_node("SpaceToDepth", grouped);
    put_text(&node, NODE_INPUT, from);
    attribute_integer(&node, "blocksize", factor);
    put_message(graph, GRAPH_NODE, &node);
    node = begin_node("Gather", layer->name);
    put_text(&node, NODE_INPUT, grouped);
    put_text(&node, NODE_INPUT, name);
    attribute_integer(&node, "axis", 1);
    put_message(graph, GRAPH_NODE, &node);
}

static void add_layer(message *graph, const esrgan_model *model, int index) {
    const esrgan_layer layer = layer_at(model, index);
    const esrgan_layer from = layer_at(model, index ? layer.inputs[0] : 0);
    const int up = layer.num * from.den / (layer.den * from.num),
              down = layer.den * from.num / (layer.num * from.den);
    if (strcmp(layer.op, "conv") == 0) {
        add_convolution(graph, model, index, &layer);
    } else if (strcmp(layer.op, "lrelu") == 0) {
        message node = begin_node("LeakyRelu", layer.name), a = {0};
        put_text(&node, NODE_INPUT, from.name);
        put_float(&a, ATTRIBUTE_F, (float)layer.alpha);
        attribute(&node, "alpha", &a, IS_FLOAT);
        put_message(graph, GRAPH_NODE, &node);
    } else if (strcmp(layer.op, "residual") == 0 || strcmp(layer.op, "add") == 0) {
        add_sum(graph, &layer, from.name, layer_at(model, layer.inputs[1]).name);
    } else if (strcmp(layer.op, "nearest") == 0) {
        add_nearest(graph, &layer, from.name, up);
    } else if (strcmp(layer.op, "unshuffle") == 0) {
        add_unshuffle(graph, &layer, from.name, down);
    } else if (strcmp(layer.op, "input") != 0) {
        fprintf(stderr, "bench: %s: no ONNX for an operation of kind %s\n", layer.name, layer.op);
        exit(2);
    }
}

bool write_onnx(const esrgan_model *model, const char *path) {
    message whole = {0}, graph = {0}, opset = {0};
    const int count = esrgan_layer_count(model);
    const esrgan_layer first = layer_at(model, 0), last = layer_at(model, count - 1);
    put_text(&graph, GRAPH_NAME, "RRDBNet");
    for (int i = 0; i < count; i++) add_layer(&graph, model, i);
    value(&graph, GRAPH_INPUT, first.name, first.channels_out, "height", "width");
    value(&graph, GRAPH_OUTPUT, last.name, last.channels_out, "height_out", "width_out");
    put_integer(&opset, OPSET_VERSION, 17);
    put_integer(&whole, MODEL_IR, 8);
    put_text(&whole, MODEL_PRODUCER, "libesrgan bench");
    put_message(&whole, MODEL_OPSET, &opset);
    put_message(&whole, MODEL_GRAPH, &graph);
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(whole.data, 1, whole.size, f) == whole.size;
    if (f && fclose(f) != 0) good = false;
    if (!good) perror(path);
    free(whole.data);
    return good;
}
