/*
 * RRDBNet: ESRGAN, Real-ESRGAN, BSRGAN and their many descendants.
 *
 * Every number comes from shapes, with one exception: a x3 model of the old layout has the keys
 * and shapes of a x2 model and differs only in a nearest x3 in place of x2.  Nothing in the file
 * tells, so it is x2 unless the caller says otherwise (up_factor).
 */
#include <stdio.h>

#include "network/rrdbnet_keys.h"

#define MAX_BLOCKS 512
#define MAX_UPS    3
#define SLOPE      0.2 /* of LeakyReLU */
#define SHORTENED  0.2 /* what a branch counts beside its shortcut */

static bool recognise(const es_checkpoint *checkpoint) {
    return es_rrdb_scan(checkpoint).recognised;
}

static int lrelu(es_builder *b, int in, const char *stem) {
    es_op op = {.kind = ES_OP_LRELU, .inputs = {in}, .input_count = 1, .alpha = SLOPE};
    return es_build_op(b, op, "%s.act", stem);
}

/* A convolution and its activation: values "stem.pre" and "stem.act". */
static int conv_act(es_builder *b, const char *key, const int *inputs, int count, int channels,
                    const char *stem) {
    char name[ES_NAME_SIZE];
    snprintf(name, sizeof name, "%.26s.pre", stem);
    return lrelu(b, es_build_conv(b, key, inputs, count, channels, 3, true, name), stem);
}

static int combine(es_builder *b, es_op_kind kind, int a, int c, const char *name) {
    es_op op = {.kind = kind, .inputs = {a, c}, .input_count = 2, .alpha = SHORTENED};
    if (kind == ES_OP_ADD) op.alpha = 0;
    return es_build_op(b, op, "%s", name);
}

/* "plus": after conv2, x2 += conv1x1(x). */
static int add_shortcut(es_builder *b, const es_rrdb_keys *keys, int block, int j, int in, int x2) {
    char key[ES_KEY_SIZE], name[ES_NAME_SIZE];
    es_rrdb_key_shortcut(keys, block, j, key);
    snprintf(name, sizeof name, "body.%d.rdb%d.conv1x1", block, j);
    int shortcut = es_build_conv(b, key, &in, 1, b->network->growth, 1, false, name);
    snprintf(name, sizeof name, "body.%d.rdb%d.x2", block, j);
    return combine(b, ES_OP_ADD, x2, shortcut, name);
}

/* Five convolutions, each over everything before it. */
static int dense_block(es_builder *b, const es_rrdb_keys *keys, int block, int j, int in) {
    int values[5] = {in};
    char key[ES_KEY_SIZE], name[ES_NAME_SIZE];
    for (int k = 1; k <= 4 && b->status == ESRGAN_OK; k++) {
        es_rrdb_key_dense(keys, block, j, k, key);
        snprintf(name, sizeof name, "body.%d.rdb%d.conv%d", block, j, k);
        values[k] = conv_act(b, key, values, k, b->network->growth, name);
        if (k == 2 && keys->plus) values[2] = add_shortcut(b, keys, block, j, in, values[2]);
        if (k == 4 && keys->plus) {
            snprintf(name, sizeof name, "body.%d.rdb%d.x4", block, j);
            values[4] = combine(b, ES_OP_ADD, values[4], values[2], name);
        }
    }
    es_rrdb_key_dense(keys, block, j, 5, key);
    snprintf(name, sizeof name, "body.%d.rdb%d.conv5", block, j);
    int conv5 = es_build_conv(b, key, values, 5, b->network->features, 3, true, name);
    snprintf(name, sizeof name, "body.%d.rdb%d", block, j);
    return combine(b, ES_OP_RESIDUAL, conv5, in, name);
}

static int trunk(es_builder *b, const es_rrdb_keys *keys, int first) {
    int value = first;
    char key[ES_KEY_SIZE], name[ES_NAME_SIZE];
    for (int block = 0; block < keys->blocks && b->status == ESRGAN_OK; block++) {
        int in = value;
        for (int j = 1; j <= 3; j++) value = dense_block(b, keys, block, j, value);
        snprintf(name, sizeof name, "body.%d", block);
        value = combine(b, ES_OP_RESIDUAL, value, in, name);
    }
    es_rrdb_key_trunk(keys, key);
    value = es_build_conv(b, key, &value, 1, b->network->features, 3, true, "conv_body");
    return combine(b, ES_OP_ADD, first, value, "trunk_sum");
}

static void tail(es_builder *b, const es_rrdb_keys *keys, int value) {
    const es_network *network = b->network;
    char key[ES_KEY_SIZE], name[ES_NAME_SIZE];
    for (int n = 1; n <= keys->ups && b->status == ESRGAN_OK; n++) {
        es_op nearest = {.kind = ES_OP_NEAREST,
                         .inputs = {value},
                         .input_count = 1,
                         .factor = network->up_factor};
        value = es_build_op(b, nearest, "up%d.nearest", n);
        es_rrdb_key_up(keys, n, key);
        snprintf(name, sizeof name, "conv_up%d", n);
        value = conv_act(b, key, &value, 1, network->features, name);
    }
    es_rrdb_key_hr(keys, key);
    value = conv_act(b, key, &value, 1, network->features, "conv_hr");
    es_rrdb_key_last(keys, key);
    es_build_conv(b, key, &value, 1, network->out_channels, 3, true, "conv_last");
}

/* What fewer or more blocks and stages than make sense look like. */
static void check_counts(es_builder *b, const es_rrdb_keys *keys) {
    char key[ES_KEY_SIZE];
    es_rrdb_key_dense(keys, 0, 1, 1, key);
    if (keys->blocks == 0)
        es_build_fail(b, ESRGAN_E_MISSING_KEY, "key %s.weight is missing: there is no block", key);
    if (keys->blocks > MAX_BLOCKS)
        es_build_fail(b, ESRGAN_E_LIMIT, "block numbers reach %d, expected at most %d",
                      keys->blocks - 1, MAX_BLOCKS - 1);
    if (keys->ups > MAX_UPS)
        es_build_fail(b, ESRGAN_E_UNSUPPORTED, "%d up stages, expected at most %d", keys->ups,
                      MAX_UPS);
}

/* A weight's tensor, where only the shape is asked for. */
static const es_tensor *sized(es_builder *b, const char *key, int64_t channels_in) {
    char full[ES_KEY_SIZE + sizeof ".weight"];
    snprintf(full, sizeof full, "%s.weight", key);
    return es_build_tensor(b, full, 4, (int64_t[]){ES_ANY, channels_in, 3, 3});
}

/* Everything that esrgan_model_info tells, from the shapes of three convolutions. */
static void read_sizes(es_builder *b, const es_rrdb_keys *keys, int up_factor) {
    es_network *network = b->network;
    char key[ES_KEY_SIZE];
    es_rrdb_key_first(keys, key);
    const es_tensor *first = sized(b, key, ES_ANY);
    if (first == NULL) return;
    es_rrdb_key_dense(keys, 0, 1, 1, key);
    const es_tensor *dense = sized(b, key, first->shape[0]);
    es_rrdb_key_last(keys, key);
    const es_tensor *last = sized(b, key, first->shape[0]);
    if (b->status != ESRGAN_OK) return;

    network->features = (int)first->shape[0];
    network->growth = (int)dense->shape[0];
    network->out_channels = (int)last->shape[0];
    network->blocks = keys->blocks;
    network->up_stages = keys->ups;
    network->up_factor = up_factor;
    network->plus = keys->plus;
    int in = (int)first->shape[1], out = network->out_channels;
    network->unshuffle = in == 4 * out ? 2 : in == 16 * out ? 4 : 1;
    network->in_channels = in / (network->unshuffle * network->unshuffle);
    int up = 1;
    for (int i = 0; i < keys->ups; i++) up *= up_factor;
    if (up % network->unshuffle != 0)
        es_build_fail(b, ESRGAN_E_UNSUPPORTED,
                      "%d channels in for %d out mean a pixel-unshuffle by %d, but %d up stages "
                      "enlarge by %d: the result would be smaller than the picture",
                      in, out, network->unshuffle, keys->ups, up);
    network->scale = up / network->unshuffle;
}

static void describe(es_builder *b, int up_factor) {
    es_rrdb_keys keys = es_rrdb_scan(b->checkpoint);
    es_network *network = b->network;
    network->layout = es_rrdb_layout(&keys);
    check_counts(b, &keys);
    if (b->status != ESRGAN_OK) return;
    int a_dense_block = 10 + (keys.plus ? 3 : 0);
    es_build_begin(b, keys.blocks * (3 * a_dense_block + 1) + 3 * keys.ups + 8);
    read_sizes(b, &keys, up_factor);
    if (b->status != ESRGAN_OK) return;

    int value =
        es_build_op(b, (es_op){.kind = ES_OP_INPUT, .channels = network->in_channels}, "input");
    if (network->unshuffle > 1) {
        es_op unshuffle = {.kind = ES_OP_UNSHUFFLE,
                           .inputs = {value},
                           .input_count = 1,
                           .factor = network->unshuffle};
        value = es_build_op(b, unshuffle, "unshuffle");
    }
    char key[ES_KEY_SIZE];
    es_rrdb_key_first(&keys, key);
    value = es_build_conv(b, key, &value, 1, network->features, 3, true, "conv_first");
    tail(b, &keys, trunk(b, &keys, value));
}

const es_family es_family_rrdbnet = {
    .name = "RRDBNet", .recognise = recognise, .describe = describe};
