/* Networks recognised, described and refused, from checkpoints written on the spot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"
#include "esrgan.h"
#include "model.h"
#include "support/pth.h"

/* A usual small network: 3 channels, 8 features, growth 4, 2 blocks, x4. */
static const pth_rrdbnet small = {
    .in = 3, .out = 3, .features = 8, .growth = 4, .blocks = 2, .ups = 2};

static esrgan_model *open_list(const pth_list *list, const esrgan_open_options *given,
                               esrgan_status *status, esrgan_error *error, uint8_t **bytes) {
    size_t size;
    *bytes = pth_write(list, 1, &size);
    esrgan_model *model = NULL;
    *status = esrgan_open_memory(*bytes, size, "some.pth", given, &model, error);
    assert_true((*status == ESRGAN_OK) == (model != NULL));
    return model;
}

/* Opens what must open, asks for its numbers, closes it. */
static esrgan_model_info info_of(const pth_list *list) {
    esrgan_status status;
    esrgan_error error;
    uint8_t *bytes;
    esrgan_model *model = open_list(list, NULL, &status, &error, &bytes);
    if (model == NULL) fail_msg("%s", error.message);
    esrgan_model_info info = {.size = sizeof info};
    assert_int_equal(esrgan_model_get_info(model, &info, &error), ESRGAN_OK);
    /* Strings of the model's own memory go with it; these are constants. */
    esrgan_model_free(model);
    free(bytes);
    return info;
}

/* Opens what must be refused: with this status, and each of these texts in the message. */
static void refused(const pth_list *list, esrgan_status expected, const char *const *texts) {
    esrgan_status status;
    esrgan_error error = {0};
    uint8_t *bytes;
    esrgan_model *model = open_list(list, NULL, &status, &error, &bytes);
    assert_null(model);
    free(bytes);
    if (status != expected)
        fail_msg("status %d (%s), expected %d", (int)status, error.message, (int)expected);
    assert_int_equal(error.status, expected);
    assert_non_null(strstr(error.message, "some.pth"));
    for (; *texts != NULL; texts++) {
        if (strstr(error.message, *texts) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", *texts, error.message);
    }
}
#define REFUSED(list, status, ...) refused(list, status, (const char *const[]){__VA_ARGS__, NULL})

/* ---- Numbers from shapes ---- */

static void numbers(void **state) {
    (void)state;
    static const struct {
        pth_rrdbnet net;
        const char *layout;
        int scale, in, unshuffle;
    } cases[] = {
        {{PTH_BASICSR, 3, 3, 8, 4, 2, 2, 0}, "basicsr", 4, 3, 1},
        {{PTH_BASICSR, 3, 3, 5, 7, 1, 0, 0}, "basicsr", 1, 3, 1},
        {{PTH_BASICSR, 3, 3, 8, 4, 1, 3, 0}, "basicsr", 8, 3, 1},
        {{PTH_BASICSR, 12, 3, 8, 4, 1, 2, 0}, "basicsr", 2, 3, 2},
        {{PTH_BASICSR, 48, 3, 8, 4, 1, 2, 0}, "basicsr", 1, 3, 4},
        {{PTH_BASICSR, 12, 3, 8, 4, 1, 1, 0}, "basicsr", 1, 3, 2},
        {{PTH_BASICSR, 1, 1, 8, 4, 1, 2, 0}, "basicsr", 4, 1, 1},
        {{PTH_BASICSR, 4, 1, 8, 4, 1, 2, 0}, "basicsr", 2, 1, 2},
        {{PTH_BASICSR, 4, 3, 8, 4, 1, 2, 0}, "basicsr", 4, 4, 1},
        {{PTH_BASICSR, 3, 1, 8, 4, 1, 2, 0}, "basicsr", 4, 3, 1},
        {{PTH_BASICSR, 3, 3, 8, 4, 1, 2, 1}, "basicsr", 4, 3, 1},
        {{PTH_BASICSR, 3, 3, 1, 1, 1, 2, 0}, "basicsr", 4, 3, 1},
        {{PTH_BSRGAN, 3, 3, 8, 4, 2, 2, 0}, "bsrgan", 4, 3, 1},
        {{PTH_BSRGAN, 3, 3, 8, 4, 2, 1, 0}, "bsrgan", 2, 3, 1},
        {{PTH_ESRGAN, 3, 3, 8, 4, 2, 0, 0}, "esrgan", 1, 3, 1},
        {{PTH_ESRGAN, 3, 3, 8, 4, 2, 1, 0}, "esrgan", 2, 3, 1},
        {{PTH_ESRGAN, 3, 3, 8, 4, 12, 2, 0}, "esrgan", 4, 3, 1},
        {{PTH_ESRGAN, 3, 3, 8, 4, 1, 3, 0}, "esrgan", 8, 3, 1},
        {{PTH_ESRGAN, 12, 3, 8, 4, 1, 2, 0}, "esrgan", 2, 3, 2},
        {{PTH_ESRGAN, 3, 3, 8, 4, 1, 2, 1}, "esrgan", 4, 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pth_rrdbnet *net = &cases[i].net;
        pth_list list = {0};
        pth_add_rrdbnet(&list, net);
        esrgan_model_info info = info_of(&list);
        assert_string_equal(info.family, "RRDBNet");
        assert_string_equal(info.layout, cases[i].layout);
        assert_string_equal(info.weight_type, "float32");
        assert_int_equal(info.scale, cases[i].scale);
        assert_int_equal(info.in_channels, cases[i].in);
        assert_int_equal(info.unshuffle, cases[i].unshuffle);
        assert_int_equal(info.out_channels, net->out);
        assert_int_equal(info.features, net->features);
        assert_int_equal(info.growth, net->growth);
        assert_int_equal(info.blocks, net->blocks);
        assert_int_equal(info.up_stages, net->ups);
        assert_int_equal(info.up_factor, 2);
        assert_int_equal(info.plus, net->plus);
        assert_int_equal(info.tensors, list.count);
        pth_clear(&list);
    }
}

/* Figures known from elsewhere: the parameters that PyTorch counts, and by hand the work. */
static void full_size(void **state) {
    (void)state;
    static const struct {
        pth_rrdbnet net;
        uint64_t parameters;
    } cases[] = {
        {{PTH_BASICSR, 3, 3, 64, 32, 23, 2, 0}, 16697987},
        {{PTH_BASICSR, 3, 3, 64, 32, 6, 2, 0}, 4467779},
        {{PTH_BASICSR, 12, 3, 64, 32, 23, 2, 0}, 16703171},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pth_rrdbnet *net = &cases[i].net;
        pth_list list = {0};
        pth_add_rrdbnet(&list, net);
        for (size_t t = 0; t < list.count; t++) list.items[t].dtype = ES_F16;
        esrgan_model_info info = info_of(&list);
        assert_int_equal(info.parameters, cases[i].parameters);
        assert_string_equal(info.weight_type, "float16");
        double dense = 9.0 * 32 * (64 + 96 + 128 + 160) + 9.0 * 64 * 192;
        double body = 9.0 * 64 * net->in + net->blocks * 3 * dense + 9.0 * 64 * 64;
        double tail = 9.0 * 64 * 64 * (4 + 16 + 16) + 9.0 * 64 * 3 * 16;
        double expected = (body + tail) / (net->in == 12 ? 4 : 1);
        assert_true(info.macs_per_pixel > expected * 0.999999999);
        assert_true(info.macs_per_pixel < expected * 1.000000001);
        pth_clear(&list);
    }
}

static void rename_key(pth_list *list, const char *from, const char *to) {
    static const char *const kinds[] = {"weight", "bias"};
    for (int i = 0; i < 2; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s.%s", from, kinds[i]);
        pth_tensor *t = pth_get(list, name);
        assert_non_null(t);
        snprintf(t->name, sizeof t->name, "%s.%s", to, kinds[i]);
    }
}

/* Every role spelled as in another layout than the rest. */
static void mixed(void **state) {
    (void)state;
    static const char *const swaps[][3] = {
        {"conv_body", "trunk_conv", "mixed"}, {"conv_hr", "HRconv", "mixed"},
        {"conv_first", "model.0", "mixed"},   {"conv_body", "model.1.sub.2", "mixed"},
        {"conv_last", "model.10", "mixed"},   {"conv_hr", "model.8", "mixed"},
    };
    for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
        pth_list list = {0};
        pth_add_rrdbnet(&list, &small);
        rename_key(&list, swaps[i][0], swaps[i][1]);
        esrgan_model_info info = info_of(&list);
        assert_string_equal(info.layout, swaps[i][2]);
        assert_int_equal(info.scale, 4);
        pth_clear(&list);
    }
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    rename_key(&list, "conv_up1", "upconv1");
    rename_key(&list, "conv_up2", "upconv2");
    assert_string_equal(info_of(&list).layout, "mixed");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    rename_key(&list, "conv_up1", "model.3");
    rename_key(&list, "conv_up2", "model.6");
    assert_int_equal(info_of(&list).scale, 4);
    pth_clear(&list);
}

static void three_times(void **state) {
    (void)state;
    pth_rrdbnet net = small;
    net.layout = PTH_ESRGAN;
    net.ups = 1;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &net);
    assert_int_equal(info_of(&list).scale, 2);

    esrgan_open_options options;
    esrgan_open_options_init(&options);
    esrgan_status status;
    esrgan_error error;
    uint8_t *bytes;
    options.up_factor = 3;
    esrgan_model *model = open_list(&list, &options, &status, &error, &bytes);
    assert_int_equal(status, ESRGAN_OK);
    esrgan_model_info info = {.size = sizeof info};
    assert_int_equal(esrgan_model_get_info(model, &info, NULL), ESRGAN_OK);
    assert_int_equal(info.scale, 3);
    assert_int_equal(info.up_factor, 3);
    const es_op *last = &model->network->ops[model->network->op_count - 1];
    assert_int_equal(last->num, 3);
    assert_int_equal(last->den, 1);
    esrgan_model_free(model);
    free(bytes);
    options.up_factor = 4;
    assert_null(open_list(&list, &options, &status, &error, &bytes));
    assert_int_equal(status, ESRGAN_E_ARGUMENT);
    free(bytes);
    pth_clear(&list);
}

/* ---- The list of operations ---- */

/* What engines rely on, whatever the file said. */
static void consistent(const es_network *network) {
    assert_true(network->op_count > 0);
    assert_int_equal(network->ops[0].kind, ES_OP_INPUT);
    for (int i = 0; i < network->op_count; i++) {
        const es_op *op = &network->ops[i];
        int channels = 0;
        for (int k = 0; k < op->input_count; k++) {
            assert_true(op->inputs[k] >= 0 && op->inputs[k] < i);
            channels += network->ops[op->inputs[k]].channels;
        }
        assert_int_equal(op->channels_in, channels);
        assert_true(op->channels > 0);
        assert_int_equal(es_network_find(network, op->name), i);
        if (op->kind != ES_OP_CONV) continue;
        assert_int_equal(op->weight->shape[0], op->channels);
        assert_int_equal(op->weight->shape[1], op->channels_in);
        assert_int_equal(op->weight->shape[2], op->kernel);
        assert_int_equal(es_network_find(network, op->weight_key), i);
    }
    const es_op *last = &network->ops[network->op_count - 1];
    assert_int_equal(last->channels, network->out_channels);
    assert_true(last->num == network->scale && last->den == 1);
}

static void operations(void **state) {
    (void)state;
    static const char *const names[] = {
        "input",        "unshuffle",    "conv_first",  "...",          "body.0.rdb3.conv5",
        "body.0.rdb3",  "body.0",       "conv_body",   "trunk_sum",    "up1.nearest",
        "conv_up1.pre", "conv_up1.act", "up2.nearest", "conv_up2.pre", "conv_up2.act",
        "conv_hr.pre",  "conv_hr.act",  "conv_last"};
    pth_rrdbnet net = {PTH_BASICSR, 12, 3, 8, 4, 1, 2, 1};
    pth_list list = {0};
    pth_add_rrdbnet(&list, &net);
    esrgan_status status;
    uint8_t *bytes;
    esrgan_model *model = open_list(&list, NULL, &status, NULL, &bytes);
    assert_int_equal(status, ESRGAN_OK);
    const es_network *network = model->network;
    assert_int_equal(network->op_count, 3 + 3 * 13 + 1 + 11);
    for (int i = 0; i < 3; i++) assert_string_equal(network->ops[i].name, names[i]);
    for (int i = 1; i <= 14; i++)
        assert_string_equal(network->ops[network->op_count - i].name, names[18 - i]);

    consistent(network);
    const es_op *unshuffle = &network->ops[1], *last = &network->ops[network->op_count - 1];
    assert_int_equal(unshuffle->channels, 12);
    assert_true(unshuffle->num == 1 && unshuffle->den == 2);
    assert_true(last->num == 2 && last->den == 1);
    esrgan_model_free(model);
    free(bytes);
    pth_clear(&list);
}

static int find(const es_network *network, const char *name) {
    int index = es_network_find(network, name);
    if (index < 0) fail_msg("no value %s", name);
    return index;
}

/* How a "plus" dense block is wired, and that keys of any layout find their operation. */
static void wiring(void **state) {
    (void)state;
    pth_rrdbnet net = {PTH_ESRGAN, 3, 3, 8, 4, 2, 1, 1};
    pth_list list = {0};
    pth_add_rrdbnet(&list, &net);
    esrgan_status status;
    uint8_t *bytes;
    esrgan_model *model = open_list(&list, NULL, &status, NULL, &bytes);
    assert_int_equal(status, ESRGAN_OK);
    const es_network *n = model->network;
    int x = find(n, "body.0.rdb2"), x1 = find(n, "body.0.rdb3.conv1.act");
    int x2 = find(n, "body.0.rdb3.x2"), x3 = find(n, "body.0.rdb3.conv3.act");
    int x4 = find(n, "body.0.rdb3.x4");
    const es_op *shortcut = &n->ops[find(n, "body.0.rdb3.conv1x1")];
    assert_int_equal(shortcut->kernel, 1);
    assert_int_equal(shortcut->inputs[0], x);
    assert_null(shortcut->bias);
    assert_null(shortcut->bias_key);
    assert_int_equal(n->ops[x2].inputs[0], find(n, "body.0.rdb3.conv2.act"));
    assert_int_equal(n->ops[x2].inputs[1], find(n, "body.0.rdb3.conv1x1"));
    assert_int_equal(n->ops[x4].inputs[0], find(n, "body.0.rdb3.conv4.act"));
    assert_int_equal(n->ops[x4].inputs[1], x2);
    const es_op *conv5 = &n->ops[find(n, "body.0.rdb3.conv5")];
    const int expected[5] = {x, x1, x2, x3, x4};
    assert_int_equal(conv5->input_count, 5);
    assert_memory_equal(conv5->inputs, expected, sizeof expected);
    const es_op *dense = &n->ops[find(n, "body.0.rdb3")], *block = &n->ops[find(n, "body.1")];
    assert_int_equal(dense->kind, ES_OP_RESIDUAL);
    assert_true(dense->alpha == 0.2 && block->alpha == 0.2);
    assert_int_equal(dense->inputs[0], find(n, "body.0.rdb3.conv5"));
    assert_int_equal(dense->inputs[1], x);
    assert_int_equal(block->inputs[0], find(n, "body.1.rdb3"));
    assert_int_equal(block->inputs[1], find(n, "body.0"));
    const es_op *sum = &n->ops[find(n, "trunk_sum")];
    assert_int_equal(sum->inputs[0], find(n, "conv_first"));
    assert_int_equal(sum->inputs[1], find(n, "conv_body"));
    assert_true(n->ops[find(n, "conv_hr.act")].alpha == 0.2);

    int conv = find(n, "body.1.rdb2.conv3.pre");
    assert_int_equal(find(n, "model.1.sub.1.RDB2.conv3.0.weight"), conv);
    assert_int_equal(find(n, "model.1.sub.1.RDB2.conv3.0"), conv);
    assert_int_equal(find(n, "model.0"), find(n, "conv_first"));
    assert_int_equal(es_network_find(n, "model"), -1);
    assert_int_equal(es_network_find(n, ""), -1);
    esrgan_model_free(model);
    free(bytes);
    pth_clear(&list);
}

/* ---- Strictness ---- */

static void missing_and_surplus(void **state) {
    (void)state;
    static const char *const names[] = {
        "conv_first.weight",      "conv_first.bias",          "body.0.rdb1.conv1.weight",
        "body.0.rdb1.conv1.bias", "body.1.rdb3.conv5.weight", "conv_body.weight",
        "conv_body.bias",         "conv_up1.weight",          "conv_hr.weight",
        "conv_hr.bias",           "conv_last.weight",         "conv_last.bias"};
    pth_list list = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        pth_add_rrdbnet(&list, &small);
        pth_remove(&list, names[i]);
        REFUSED(&list, ESRGAN_E_MISSING_KEY, names[i], "missing", "RRDBNet", "basicsr", "[");
        pth_clear(&list);
    }
    static const char *const extra[] = {"conv_extra.weight", "body.0.rdb1.conv6.weight",
                                        "trunk_conv.weight", "conv_first.weight_g",
                                        "model.0.weight",    "RRDB_trunk.0.RDB1.conv1.weight"};
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        pth_add_rrdbnet(&list, &small);
        pth_add(&list, extra[i], 2, 6, 7, 0, 0);
        REFUSED(&list, ESRGAN_E_SURPLUS_KEY, extra[i], "[6, 7]", "RRDBNet", "basicsr");
        pth_clear(&list);
    }
    /* A "plus" block must have its shortcut everywhere. */
    pth_rrdbnet plus = small;
    plus.plus = 1;
    pth_add_rrdbnet(&list, &plus);
    pth_remove(&list, "body.1.rdb2.conv1x1.weight");
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "body.1.rdb2.conv1x1.weight", "[4, 8, 1, 1]");
    pth_clear(&list);
}

static void old_layout(void **state) {
    (void)state;
    pth_rrdbnet net = small;
    net.layout = PTH_ESRGAN;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &net);
    pth_remove(&list, "model.10.weight");
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "model.10.weight", "esrgan");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &net);
    pth_remove(&list, "model.3.weight");
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "model.3.weight", "[8, 8, 3, 3]");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &net);
    pth_remove(&list, "model.1.sub.2.weight");
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "model.1.sub.2.weight");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &net);
    pth_add(&list, "model.12.weight", 4, 8, 8, 3, 3);
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "model.13.weight");
    pth_clear(&list);
}

static void shapes(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int ndim;
        int64_t shape[4];
        const char *found, *expected;
    } cases[] = {
        {"conv_first.weight", 4, {8, 3, 5, 5}, "[8, 3, 5, 5]", "[any, any, 3, 3]"},
        {"conv_first.weight", 2, {8, 3}, "[8, 3]", "[any, any, 3, 3]"},
        {"conv_first.bias", 1, {7}, "[7]", "[8]"},
        {"body.0.rdb1.conv1.weight", 4, {4, 9, 3, 3}, "[4, 9, 3, 3]", "[any, 8, 3, 3]"},
        {"body.1.rdb2.conv3.weight", 4, {4, 16, 3, 1}, "[4, 16, 3, 1]", "[4, 16, 3, 3]"},
        {"body.1.rdb2.conv3.bias", 0, {0}, "[]", "[4]"},
        {"conv_body.weight", 4, {8, 4, 3, 3}, "[8, 4, 3, 3]", "[8, 8, 3, 3]"},
        {"conv_up2.weight", 4, {32, 8, 3, 3}, "[32, 8, 3, 3]", "[8, 8, 3, 3]"},
        {"conv_last.weight", 4, {3, 8, 1, 1}, "[3, 8, 1, 1]", "[any, 8, 3, 3]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pth_list list = {0};
        pth_add_rrdbnet(&list, &small);
        pth_tensor *t = pth_get(&list, cases[i].key);
        t->ndim = cases[i].ndim;
        memcpy(t->shape, cases[i].shape, sizeof t->shape);
        REFUSED(&list, ESRGAN_E_SHAPE, cases[i].key, cases[i].found, cases[i].expected, "basicsr");
        pth_clear(&list);
    }
}

static void types(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    pth_get(&list, "body.0.rdb1.conv2.weight")->dtype = ES_I8;
    REFUSED(&list, ESRGAN_E_UNSUPPORTED, "body.0.rdb1.conv2.weight", "int8", "float32");
    pth_get(&list, "body.0.rdb1.conv2.weight")->dtype = ES_F64;
    assert_string_equal(info_of(&list).weight_type, "mixed");
    for (size_t i = 0; i < list.count; i++) list.items[i].dtype = ES_BF16;
    assert_string_equal(info_of(&list).weight_type, "bfloat16");
    pth_clear(&list);
}

static void counts(void **state) {
    (void)state;
    pth_list list = {0};
    pth_rrdbnet net = small;
    net.blocks = 0;
    pth_add_rrdbnet(&list, &net);
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "body.0.rdb1.conv1.weight", "no block");
    pth_clear(&list);
    net.layout = PTH_ESRGAN;
    pth_add_rrdbnet(&list, &net);
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "model.1.sub.0.RDB1.conv1.0.weight", "no block");
    pth_clear(&list);

    pth_add_rrdbnet(&list, &small);
    pth_add(&list, "body.3.rdb1.conv1.weight", 4, 4, 8, 3, 3); /* there is no block 2 */
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "body.2.rdb1.conv1.weight");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    pth_add(&list, "body.99999999999999999999.rdb1.conv1.weight", 4, 4, 8, 3, 3);
    REFUSED(&list, ESRGAN_E_LIMIT, "block", "511");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    pth_add(&list, "conv_up4.weight", 4, 8, 8, 3, 3);
    REFUSED(&list, ESRGAN_E_UNSUPPORTED, "4 up stages");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    pth_add(&list, "conv_up4294967297.weight", 4, 8, 8, 3, 3);
    REFUSED(&list, ESRGAN_E_UNSUPPORTED, "up stages");
    pth_clear(&list);

    net = small;
    net.in = 48;
    net.ups = 1;
    pth_add_rrdbnet(&list, &net);
    REFUSED(&list, ESRGAN_E_UNSUPPORTED, "pixel-unshuffle by 4", "smaller than the picture");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    pth_get(&list, "conv_first.weight")->shape[0] = 0;
    REFUSED(&list, ESRGAN_E_SHAPE, "conv_first.weight", "[0, 3, 3, 3]");
    pth_clear(&list);
    pth_add_rrdbnet(&list, &small);
    pth_get(&list, "conv_first.weight")->shape[0] = 5000;
    REFUSED(&list, ESRGAN_E_LIMIT, "conv_first.weight", "[5000, 3, 3, 3]", "4096");
    pth_clear(&list);
}

/* A hundred thousand hostile keys are refused without taking quadratic time. */
static void hostile_names(void **state) {
    (void)state;
    pth_list list = {0};
    for (int i = 0; i < 100000; i++) {
        char name[120];
        snprintf(name, sizeof name, "body.%d.rdb1.conv1.weight", i % 512);
        if (i >= 512) snprintf(name, sizeof name, "body.0.rdb1.conv%d.weight", i);
        pth_add(&list, name, 1, 1, 0, 0, 0);
    }
    REFUSED(&list, ESRGAN_E_MISSING_KEY, "conv_first.weight");
    pth_clear(&list);
}

/* ---- Files that are almost right ---- */

static uint32_t draw(uint32_t *seed, uint32_t below) {
    *seed = *seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*seed * below) >> 32);
}

static void mutate(pth_list *list, uint32_t *seed) {
    static const int64_t dims[] = {0, 1, 2, 3, 4, 5, 8, 12, 16, 4097};
    pth_tensor *t = &list->items[draw(seed, (uint32_t)list->count)];
    char other[21];
    snprintf(other, sizeof other, "%.20s", list->items[draw(seed, (uint32_t)list->count)].name);
    size_t length = strlen(t->name);
    switch (draw(seed, 7)) {
    case 0: pth_remove(list, t->name); break;
    case 1: t->shape[draw(seed, 4)] = dims[draw(seed, 10)]; break;
    case 2: t->ndim = (int)draw(seed, 5); break;
    case 3: t->dtype = (es_dtype)draw(seed, ES_BOOL + 1); break;
    case 4: t->name[draw(seed, (uint32_t)length)] = "0129.bBrRx"[draw(seed, 10)]; break;
    case 5: t->name[draw(seed, (uint32_t)length)] = 0; break;
    case 6: snprintf(t->name + length, sizeof t->name - length, "%s", other); break;
    }
}

/* Whatever is wrong with it: a network that engines can run, or a refusal with a sentence. */
static void almost_right(void **state) {
    (void)state;
    uint32_t seed = 20;
    int opened = 0;
    for (int round = 0; round < 3000; round++) {
        pth_rrdbnet net = {(pth_layout)draw(&seed, 3),
                           (int)draw(&seed, 2) ? 3 : 12,
                           3,
                           4,
                           2,
                           (int)draw(&seed, 2) + 1,
                           (int)draw(&seed, 4),
                           (int)draw(&seed, 2)};
        pth_list list = {0};
        pth_add_rrdbnet(&list, &net);
        for (uint32_t n = draw(&seed, 3); n > 0; n--) mutate(&list, &seed);
        esrgan_status status;
        esrgan_error error = {0};
        uint8_t *bytes;
        esrgan_model *model = open_list(&list, NULL, &status, &error, &bytes);
        if (model != NULL) {
            consistent(model->network);
            opened++;
        } else {
            assert_true(status != ESRGAN_E_MEMORY && status != ESRGAN_E_IO);
            assert_non_null(strstr(error.message, "some.pth"));
        }
        esrgan_model_free(model);
        free(bytes);
        pth_clear(&list);
    }
    print_message("%d of 3000 opened\n", opened);
    assert_in_range(opened, 500, 2500);
}

/* ---- Other families ---- */

static void other_families(void **state) {
    (void)state;
    static const struct {
        const char *family;
        const char *keys[4];
    } cases[] = {
        {"SRVGGNetCompact", {"body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight"}},
        {"VapSR", {"conv_first.weight", "body.0.atten_branch.depthwise_dilated.weight"}},
        {"VapSR", {"conv_first.weight", "body.0.pixel_norm.weight", "conv_body.weight"}},
        {"SwinIR",
         {"conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight",
          "layers.0.residual_group.blocks.0.mlp.fc1.bias", "conv_last.weight"}},
        {"SwinIR",
         {"conv_first.1.weight", "layers.0.residual_group.blocks.0.norm1.weight",
          "layers.0.residual_group.blocks.0.mlp.fc1.bias"}},
        {"Swin2SR",
         {"conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight",
          "layers.0.residual_group.blocks.0.mlp.fc1.bias", "patch_embed.proj.weight"}},
        {"HAT",
         {"conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight",
          "layers.0.residual_group.blocks.0.mlp.fc1.bias", "relative_position_index_SA"}},
        {"HAT", {"conv_first.weight", "layers.0.residual_group.blocks.0.conv_block.cab.0.weight"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pth_list list = {0};
        for (int k = 0; k < 4 && cases[i].keys[k] != NULL; k++)
            pth_add(&list, cases[i].keys[k], 4, 4, 3, 3, 3);
        REFUSED(&list, ESRGAN_E_UNSUPPORTED, cases[i].family, "RRDBNet models only");
        pth_clear(&list);
    }
}

static void unknown(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add(&list, "fc.weight", 2, 3, 4, 0, 0);
    REFUSED(&list, ESRGAN_E_UNKNOWN_NETWORK, "fc.weight");
    for (int i = 0; i < 5; i++) {
        char name[120];
        memset(name, 'k', sizeof name);
        snprintf(name + 90, 20, "%d", i);
        pth_add(&list, name, 1, 3, 0, 0, 0);
    }
    REFUSED(&list, ESRGAN_E_UNKNOWN_NETWORK, "fc.weight, kkkkk", "...", "6 tensors");
    pth_clear(&list);
}

/* Real files of another family, where they are at hand. */
static void shared_models(void **state) {
    (void)state;
    static const char *const files[] = {"VapSR-S.pth", "VapSR_X2.pth", "VapSR_X3.pth",
                                        "VapSR_X4.pth", "catid-upsampling.pth"};
    const char *shared = getenv("ESRGAN_SHARED");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s", shared ? shared : "../shared", files[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            print_message("%s is not here: skipped\n", path);
            skip();
        }
        fclose(file);
        esrgan_model *model;
        esrgan_error error = {0};
        assert_int_equal(esrgan_open_file(path, NULL, &model, &error), ESRGAN_E_UNSUPPORTED);
        if (strstr(error.message, "VapSR") == NULL || strstr(error.message, files[i]) == NULL)
            fail_msg("%s", error.message);
    }
}

/* ---- Memory, options ---- */

typedef struct failing {
    int until; /* allocations that succeed */
    int done;
    size_t held;
} failing;

static void *failing_alloc(void *context, size_t size, size_t alignment) {
    failing *f = context;
    if (f->done++ >= f->until) return NULL;
    f->held += size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void failing_release(void *context, void *pointer, size_t size) {
    ((failing *)context)->held -= size;
    free(pointer);
}

static void allocations_fail(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    size_t size;
    uint8_t *bytes = pth_write(&list, 1, &size);
    esrgan_status status = ESRGAN_E_MEMORY;
    int round = 0;
    for (; status != ESRGAN_OK; round++) {
        assert_true(round < 10000);
        failing f = {.until = round};
        esrgan_allocator allocator = {failing_alloc, failing_release, &f};
        esrgan_open_options options;
        esrgan_open_options_init(&options);
        options.allocator = &allocator;
        options.copy = round & 1;
        esrgan_model *model = (esrgan_model *)&f;
        esrgan_error error = {0};
        status = esrgan_open_memory(bytes, size, "some.pth", &options, &model, &error);
        if (status != ESRGAN_OK) {
            assert_int_equal(status, ESRGAN_E_MEMORY);
            assert_true(error.message[0] != 0);
            assert_null(model);
        }
        esrgan_model_free(model);
        assert_int_equal(f.held, 0);
    }
    print_message("%d allocations, each failed once\n", round - 1);
    assert_true(round > 5);
    free(bytes);
    pth_clear(&list);
}

static void sized_structs(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    esrgan_status status;
    esrgan_error error;
    uint8_t *bytes;
    esrgan_open_options options;
    static const size_t wrong[] = {0, 8, 1 << 20, (size_t)-1};
    for (int i = 0; i < 4; i++) {
        esrgan_open_options_init(&options);
        options.size = wrong[i];
        assert_null(open_list(&list, &options, &status, &error, &bytes));
        assert_int_equal(status, ESRGAN_E_ARGUMENT);
        assert_non_null(strstr(error.message, "esrgan_open_options.size"));
        free(bytes);
    }
    /* What lies beyond the stated size is not looked at. */
    esrgan_open_options_init(&options);
    options.size = offsetof(esrgan_open_options, up_factor);
    options.up_factor = 77;
    esrgan_model *model = open_list(&list, &options, &status, &error, &bytes);
    assert_int_equal(status, ESRGAN_OK);

    esrgan_model_info info;
    memset(&info, 0x55, sizeof info);
    info.size = offsetof(esrgan_model_info, blocks);
    assert_int_equal(esrgan_model_get_info(model, &info, &error), ESRGAN_OK);
    assert_int_equal(info.size, offsetof(esrgan_model_info, blocks));
    assert_int_equal(info.growth, 4);
    assert_int_equal(info.blocks, 0x55555555);
    info.size = 0;
    assert_int_equal(esrgan_model_get_info(model, &info, &error), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_model_get_info(model, NULL, &error), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_model_get_info(NULL, &info, NULL), ESRGAN_E_ARGUMENT);

    /* A longer struct, of a newer header: members unknown here must be left at zero. */
    struct {
        esrgan_model_info known;
        char more[16];
    } longer;
    memset(&longer, 0x55, sizeof longer);
    longer.known.size = sizeof longer;
    assert_int_equal(esrgan_model_get_info(model, &longer.known, &error), ESRGAN_OK);
    assert_int_equal(longer.known.blocks, 2);
    assert_int_equal(longer.more[15], 0);
    struct {
        esrgan_open_options known;
        char more[16];
    } newer = {0}, full = {0};
    newer.known.size = sizeof newer;
    newer.known.copy = 1;
    assert_int_equal(es_options_read(&full.known, sizeof full.known, &newer, "options", &error),
                     ESRGAN_OK);
    assert_int_equal(full.known.copy, 1);
    assert_int_equal(full.known.size, sizeof full.known);
    newer.more[3] = 1;
    assert_int_equal(es_options_read(&full.known, sizeof full.known, &newer, "options", &error),
                     ESRGAN_E_ARGUMENT);
    esrgan_model_free(model);
    free(bytes);
    pth_clear(&list);
}

/* A path of many folders does not push the key out of the message. */
static void long_names(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    pth_remove(&list, "conv_last.bias");
    size_t size;
    uint8_t *bytes = pth_write(&list, 1, &size);
    char name[1000];
    memset(name, '/', sizeof name);
    snprintf(name + 900, 100, "some.pth");
    esrgan_model *model;
    esrgan_error error;
    assert_int_equal(esrgan_open_memory(bytes, size, name, NULL, &model, &error),
                     ESRGAN_E_MISSING_KEY);
    assert_non_null(strstr(error.message, "some.pth: RRDBNet"));
    assert_non_null(strstr(error.message, "conv_last.bias"));
    free(bytes);
    pth_clear(&list);
}

static int read_from(void *context, uint64_t offset, void *buffer, size_t size) {
    memcpy(buffer, *(uint8_t **)context + offset, size);
    return 0;
}

static void opening(void **state) {
    (void)state;
    pth_list list = {0};
    pth_add_rrdbnet(&list, &small);
    size_t size;
    uint8_t *bytes = pth_write(&list, 1, &size);
    esrgan_error error;
    esrgan_model *model = (esrgan_model *)&error;
    assert_int_equal(esrgan_open_file(NULL, NULL, &model, &error), ESRGAN_E_ARGUMENT);
    assert_null(model);
    assert_int_equal(esrgan_open_memory(NULL, 5, NULL, NULL, &model, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_open_memory(bytes, size, NULL, NULL, NULL, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_open_callbacks(NULL, NULL, NULL, &model, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_open_file("/no/such.pth", NULL, &model, &error), ESRGAN_E_IO);
    assert_non_null(strstr(error.message, "/no/such.pth"));
    esrgan_allocator half = {failing_alloc, NULL, NULL};
    esrgan_open_options options;
    esrgan_open_options_init(&options);
    options.allocator = &half;
    assert_int_equal(esrgan_open_memory(bytes, size, NULL, &options, &model, NULL),
                     ESRGAN_E_ARGUMENT);
    esrgan_open_options_init(NULL);
    esrgan_model_free(NULL);

    esrgan_reader reader = {read_from, &bytes, size};
    assert_int_equal(esrgan_open_callbacks(&reader, "stream", NULL, &model, &error), ESRGAN_OK);
    esrgan_model_info info = {.size = sizeof info};
    assert_int_equal(esrgan_model_get_info(model, &info, NULL), ESRGAN_OK);
    assert_int_equal(info.file_bytes, size);
    assert_string_equal(info.container, "pytorch-legacy");
    assert_string_equal(info.wrapper, "");
    uint8_t digest[32];
    assert_int_equal(esrgan_model_sha256(model, digest, NULL), ESRGAN_OK);
    assert_int_equal(esrgan_model_sha256(NULL, digest, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_model_sha256(model, NULL, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_model_verify(model, NULL), ESRGAN_OK);
    assert_int_equal(esrgan_model_verify(NULL, NULL), ESRGAN_E_ARGUMENT);
    esrgan_model_free(model);
    free(bytes);
    pth_clear(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(full_size),
        cmocka_unit_test(mixed),
        cmocka_unit_test(three_times),
        cmocka_unit_test(operations),
        cmocka_unit_test(wiring),
        cmocka_unit_test(missing_and_surplus),
        cmocka_unit_test(old_layout),
        cmocka_unit_test(shapes),
        cmocka_unit_test(types),
        cmocka_unit_test(counts),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(almost_right),
        cmocka_unit_test(other_families),
        cmocka_unit_test(unknown),
        cmocka_unit_test(shared_models),
        cmocka_unit_test(allocations_fail),
        cmocka_unit_test(sized_structs),
        cmocka_unit_test(long_names),
        cmocka_unit_test(opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
