/* Reading an RRDBNet off a list of operations, and bringing its weights into the kernels' form. */
#include <string.h>

#include "engine/direct_plan.h"

/* ---- The network -------------------------------------------------------------------------- */

static int planes_for(int channels) { return (channels + ES_DIRECT_LANES - 1) / ES_DIRECT_LANES; }

/* A reader of operations: where it stands, and whether all was as expected so far. */
typedef struct cursor {
    const es_network *network;
    int at;
    bool good;
} cursor;

/* The next operation, which must be of this kind; NULL (and no longer good) otherwise. */
static const es_op *take(cursor *c, es_op_kind kind) {
    if (!c->good || c->at >= c->network->op_count || c->network->ops[c->at].kind != kind) {
        c->good = false;
        return NULL;
    }
    return &c->network->ops[c->at++];
}

static bool reads(const es_op *op, int slot, int value) {
    return op != NULL && slot < op->input_count && op->inputs[slot] == value;
}

/* A 3x3 convolution of the given values. */
static es_direct_layer take_conv(cursor *c, const int *values, int count) {
    es_direct_layer layer = {.factor = 1, .slope = 1, .scale = 1, .slices = count};
    const es_op *op = take(c, ES_OP_CONV);
    if (op == NULL || op->kernel != 3 || op->input_count != count) {
        c->good = false;
        return layer;
    }
    layer.conv = op;
    layer.planes = planes_for(op->channels);
    for (int i = 0; i < count; i++) {
        c->good &= op->inputs[i] == values[i];
        layer.slice[i] = c->network->ops[values[i]].channels;
        layer.chunks += planes_for(layer.slice[i]);
    }
    return layer;
}

/* The same and an activation after it. */
static es_direct_layer take_conv_act(cursor *c, const int *values, int count) {
    es_direct_layer layer = take_conv(c, values, count);
    const es_op *act = take(c, ES_OP_LRELU);
    c->good = c->good && reads(act, 0, c->at - 2) && act->alpha >= 0 && act->alpha <= 1;
    if (c->good) layer.slope = (float)act->alpha;
    return layer;
}

/* alpha * (the value just before) + value. */
static float take_residual(cursor *c, int value) {
    const es_op *op = take(c, ES_OP_RESIDUAL);
    c->good = c->good && reads(op, 0, c->at - 2) && reads(op, 1, value);
    return c->good ? (float)op->alpha : 0;
}

static void take_dense(cursor *c, es_direct_layer dense[5]) {
    int values[5] = {c->at - 1};
    for (int k = 0; k < 4; k++) {
        dense[k] = take_conv_act(c, values, k + 1);
        values[k + 1] = c->at - 1;
    }
    dense[4] = take_conv(c, values, 5);
    dense[4].scale = take_residual(c, values[0]);
}

static void take_body(cursor *c, es_direct_net *net, int blocks) {
    es_direct_layer dense[5];
    for (int block = 0; block < blocks; block++) {
        int in = c->at - 1;
        for (int j = 0; j < 3; j++) take_dense(c, dense);
        float scale = take_residual(c, in);
        if (block > 0 && scale != net->far_scale) c->good = false;
        net->far_scale = scale;
    }
    net->dense_blocks = 3 * blocks;
}

static void take_tail(cursor *c, es_direct_net *net, int first, int ups) {
    int value = c->at - 1;
    net->body_op = c->at;
    net->body = take_conv(c, &value, 1);
    const es_op *sum = take(c, ES_OP_ADD);
    c->good = c->good && reads(sum, 0, first) && reads(sum, 1, c->at - 2);
    for (int i = 0; i < ups && c->good; i++) {
        const es_op *nearest = take(c, ES_OP_NEAREST);
        c->good =
            c->good && reads(nearest, 0, c->at - 2) && nearest->factor >= 2 && nearest->factor <= 3;
        value = c->at - 1;
        net->up[i] = take_conv_act(c, &value, 1);
        if (c->good) net->up[i].factor = nearest->factor;
    }
    net->ups = ups;
    value = c->at - 1;
    net->hr = take_conv_act(c, &value, 1);
    value = c->at - 1;
    net->last = take_conv(c, &value, 1);
    c->good = c->good && c->at == c->network->op_count && net->last.planes == 1;
}

/* Every layer's place in its group's pack: weights first, then biases as floats. */
static void place_group(es_direct_net *net, int group, es_direct_layer *const *layers, int count) {
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        layers[i]->weights = at;
        at += es_direct_layer_weights(layers[i]);
        layers[i]->biases = at;
        at += (size_t)layers[i]->planes * ES_DIRECT_LANES * 2;
    }
    net->pack[group] = at;
}

/* The layers of a group and, for the tail, the first convolution in front. */
static int list_group(es_direct_net *net, int group, es_direct_layer **layers) {
    int count = 0;
    if (group == ES_DIRECT_DENSE) {
        for (int k = 0; k < 5; k++) layers[count++] = &net->dense[k];
        return count;
    }
    layers[count++] = &net->first;
    if (group == ES_DIRECT_FIRST) return count;
    layers[count++] = &net->body;
    for (int i = 0; i < net->ups; i++) layers[count++] = &net->up[i];
    layers[count++] = &net->hr;
    layers[count++] = &net->last;
    return count;
}

static void place(es_direct_net *net, int group) {
    es_direct_layer *layers[ES_DIRECT_MAX_STAGES];
    place_group(net, group, layers, list_group(net, group, layers));
}

int es_direct_group(const es_direct_net *net, int group,
                    const es_direct_layer *layers[ES_DIRECT_MAX_STAGES]) {
    es_direct_layer *found[ES_DIRECT_MAX_STAGES];
    int count = list_group((es_direct_net *)net, group, found);
    for (int i = 0; i < count; i++) layers[i] = found[i];
    return count;
}

bool es_direct_net_read(es_direct_net *net, const es_network *network, bool tiled) {
    *net = (es_direct_net){.unshuffle = network->unshuffle, .tiled = tiled};
    cursor c = {.network = network, .good = network->up_stages <= 3 && network->blocks > 0};
    take(&c, ES_OP_INPUT);
    if (network->unshuffle > 1) take(&c, ES_OP_UNSHUFFLE);
    int value = c.at - 1, first = c.at;
    net->first = take_conv(&c, &value, 1);
    take_body(&c, net, network->blocks);
    take_tail(&c, net, first, network->up_stages);
    if (!c.good) return false;
    net->input_channels = net->first.conv->channels_in;
    net->input_planes = net->first.chunks;
    net->feature_planes = net->first.planes;
    es_direct_net_block(net, network, 0);
    net->growth_planes = net->dense[0].planes;
    place(net, ES_DIRECT_FIRST);
    place(net, ES_DIRECT_TAIL);
    return true;
}

/* A dense block is ten operations, an RRDB three of them and one more. */
void es_direct_net_block(es_direct_net *net, const es_network *network, int index) {
    int first = net->body_op - net->dense_blocks / 3 * 31;
    cursor c = {.network = network, .at = first + index / 3 * 31 + index % 3 * 10, .good = true};
    take_dense(&c, net->dense);
    for (int k = 0; k < 5; k++) net->dense[k].tiled = net->tiled;
    place(net, ES_DIRECT_DENSE);
}

/* ---- Weights ------------------------------------------------------------------------------ */

size_t es_direct_layer_weights(const es_direct_layer *layer) {
    if (layer->tiled)
        return (size_t)(3 * ES_DIRECT_POINTS * layer->planes * layer->chunks) * ES_DIRECT_PANEL;
    int taps = 0;
    for (int phase = 0; phase < layer->factor; phase++)
        taps += es_direct_phase(layer->factor, phase).count;
    return (size_t)(taps * taps) * (size_t)layer->planes * (size_t)layer->chunks * ES_DIRECT_PANEL;
}

size_t es_direct_pack_scratch(const es_direct_net *net) {
    int most = net->input_channels;
    for (int k = 0; k < 5; k++)
        if (net->dense[k].conv->channels_in > most) most = net->dense[k].conv->channels_in;
    return 2 * ES_DIRECT_HALF * 9 * (size_t)most;
}

/* The taps of one phase: those of the large picture that fall on the same small pixel, added. */
static void fold(const float *weight, int channels, int factor, int py, int px, float *out) {
    es_direct_taps down = es_direct_phase(factor, py), across = es_direct_phase(factor, px);
    int taps = down.count * across.count;
    memset(out, 0, (size_t)(channels * taps) * sizeof *out);
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                int y = (py + i - 1 + factor) / factor - 1 - down.first;
                int x = (px + j - 1 + factor) / factor - 1 - across.first;
                out[c * taps + y * across.count + x] += weight[(c * 3 + i) * 3 + j];
            }
}

/* A half's weights at one phase: weight[o * channels in * taps + c * taps + t]. */
static void pack_slices(const es_direct_layer *layer, const es_direct_kernels *kernels,
                        const float *weight, int outputs, int taps, uint16_t *pack) {
    size_t stride = (size_t)(layer->conv->channels_in * taps);
    for (int s = 0; s < layer->slices; s++)
        for (int c = 0; c < layer->slice[s]; c += ES_DIRECT_LANES) {
            int left = layer->slice[s] - c;
            int channels = left < ES_DIRECT_LANES ? left : ES_DIRECT_LANES;
            if (layer->tiled)
                kernels->tiles->pack(weight, stride, outputs, channels, pack,
                                     (size_t)layer->chunks * 3 * ES_DIRECT_PANEL);
            else
                kernels->pack(weight, stride, outputs, channels, taps, pack);
            weight += channels * taps;
            pack += (layer->tiled ? 3 : taps) * ES_DIRECT_PANEL;
        }
}

/* Weights first .. first+count-1: where they lie, or copied to `scratch`. */
static const float *read_weights(const es_tensor *t, int64_t first, int64_t count, float *scratch) {
    const void *here = es_tensor_f32_in_place(t, first);
    if (here && (uintptr_t)here % sizeof(float) == 0) return here;
    es_tensor_read_f32_range(t, first, count, scratch);
    return scratch;
}

/* Output channels first .. first+15: all phases' weights, and biases. */
static void pack_half(const es_direct_layer *layer, const es_direct_kernels *kernels, int first,
                      uint16_t *pack, float *scratch) {
    const es_op *conv = layer->conv;
    int in = conv->channels_in, outputs = conv->channels - first;
    if (outputs > ES_DIRECT_HALF) outputs = ES_DIRECT_HALF;
    if (outputs < 0) outputs = 0;
    size_t each = 9 * (size_t)in;
    float *folded = scratch + ES_DIRECT_HALF * each, bias[ES_DIRECT_HALF] = {0};
    const float *weight = scratch;
    if (outputs > 0)
        weight =
            read_weights(conv->weight, (int64_t)first * in * 9, (int64_t)outputs * in * 9, scratch);
    if (outputs > 0 && conv->bias) es_tensor_read_f32_range(conv->bias, first, outputs, bias);
    memcpy(pack + layer->biases + (size_t)first * 2, bias, sizeof bias);
    uint16_t *to =
        pack + layer->weights + first % ES_DIRECT_LANES / ES_DIRECT_HALF * (ES_DIRECT_PANEL / 2);
    for (int py = 0; py < layer->factor; py++)
        for (int px = 0; px < layer->factor; px++) {
            int taps =
                es_direct_phase(layer->factor, py).count * es_direct_phase(layer->factor, px).count;
            if (layer->factor > 1)
                for (int o = 0; o < outputs; o++)
                    fold(weight + (size_t)o * each, in, layer->factor, py, px,
                         folded + o * in * taps);
            int each_plane = layer->tiled ? 3 * ES_DIRECT_POINTS : taps;
            size_t plane = (size_t)(layer->chunks * each_plane) * ES_DIRECT_PANEL;
            pack_slices(layer, kernels, layer->factor > 1 ? folded : weight, outputs, taps,
                        to + (size_t)(first / ES_DIRECT_LANES) * plane);
            to += (size_t)layer->planes * plane;
        }
}

void es_direct_pack(const es_direct_net *net, int group, const es_direct_kernels *kernels,
                    uint16_t *pack, float *scratch, int member, int members) {
    const es_direct_layer *layers[ES_DIRECT_MAX_STAGES];
    int count = es_direct_group(net, group, layers), turn = 0;
    for (int i = 0; i < count; i++)
        for (int o = 0; o < layers[i]->planes * ES_DIRECT_LANES; o += ES_DIRECT_HALF)
            if (turn++ % members == member) pack_half(layers[i], kernels, o, pack, scratch);
}
