#include "pth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"

pth_tensor *pth_add(pth_list *list, const char *name, int ndim, int64_t a, int64_t b, int64_t c,
                    int64_t d) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 64;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (list->items == NULL) abort();
    }
    pth_tensor *t = &list->items[list->count++];
    *t = (pth_tensor){.dtype = ES_F32, .ndim = ndim, .shape = {a, b, c, d}};
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

pth_tensor *pth_get(const pth_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) return &list->items[i];
    }
    return NULL;
}

void pth_remove(pth_list *list, const char *name) {
    pth_tensor *t = pth_get(list, name);
    if (t == NULL) return;
    memmove(t, t + 1, (size_t)(list->items + list->count - t - 1) * sizeof *t);
    list->count--;
}

void pth_clear(pth_list *list) {
    free(list->items);
    *list = (pth_list){0};
}

/* ---- The legacy format: five pickles, then the storages ---- */

static int64_t numel(const pth_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
    return n;
}

static void tensor(forge *f, const pth_tensor *t, size_t index) {
    static const char *const types[] = {
        [ES_F32] = "FloatStorage",  [ES_F16] = "HalfStorage", [ES_BF16] = "BFloat16Storage",
        [ES_F64] = "DoubleStorage", [ES_I64] = "LongStorage", [ES_I32] = "IntStorage",
        [ES_I16] = "ShortStorage",  [ES_I8] = "CharStorage",  [ES_U8] = "ByteStorage",
        [ES_BOOL] = "BoolStorage"};
    char key[24];
    snprintf(key, sizeof key, "%zu", index);
    forge_tensor described = {
        .type = types[t->dtype], .key = key, .numel = numel(t), .ndim = t->ndim, .view = "N"};
    int64_t stride = 1;
    for (int i = t->ndim - 1; i >= 0; i--) {
        described.shape[i] = t->shape[i];
        described.stride[i] = stride;
        stride *= t->shape[i];
    }
    forge_text(f, t->name);
    forge_tensor_v2(f, &described);
}

/* Uniform in (-1, 1); xorshift. */
static double uniform(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(int64_t)*state / 9223372036854775808.0;
}

static void storage(forge *f, const pth_tensor *t, uint64_t *state) {
    size_t n = (size_t)numel(t), size = es_dtype_size(t->dtype);
    double spread = t->ndim < 2 ? 0.1 : sqrt(6 / 1.04 / ((double)n / (double)t->shape[0]));
    uint8_t *data = calloc(n + 1, size), *out = data;
    if (data == NULL) abort();
    for (size_t i = 0; i < n; i++, out += size) {
        double v = uniform(state) * spread;
        float single = (float)v;
        uint16_t half = t->dtype == ES_F16 ? es_f32_to_f16(single) : es_f32_to_bf16(single);
        if (t->dtype == ES_F32) memcpy(out, &single, 4);
        if (t->dtype == ES_F64) memcpy(out, &v, 8);
        if (t->dtype == ES_F16 || t->dtype == ES_BF16) memcpy(out, &half, 2);
    }
    forge_le(f, n, 8);
    forge_bytes(f, data, n * size);
    free(data);
}

uint8_t *pth_write(const pth_list *list, uint64_t seed, size_t *size) {
    forge f = {0};
    forge_legacy_head(&f);
    FORGE(&f, "\x80\x02}(");
    for (size_t i = 0; i < list->count; i++) tensor(&f, &list->items[i], i);
    FORGE(&f, "u.\x80\x02](");
    for (size_t i = 0; i < list->count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        forge_text(&f, key);
    }
    FORGE(&f, "e.");
    uint64_t state = seed * 2654435769u + 88172645463325252u;
    for (size_t i = 0; i < list->count; i++) storage(&f, &list->items[i], &state);
    *size = f.size;
    return f.data;
}

/* ---- RRDBNet ---- */

static void conv(pth_list *list, const char *key, int out, int in, int kernel, int bias) {
    char name[120];
    snprintf(name, sizeof name, "%s.weight", key);
    pth_add(list, name, 4, out, in, kernel, kernel);
    snprintf(name, sizeof name, "%s.bias", key);
    if (bias) pth_add(list, name, 1, out, 0, 0, 0);
}

static void block(pth_list *list, const pth_rrdbnet *net, int i, int j) {
    static const char *const form[] = {"body.%d.rdb%d.conv%d", "RRDB_trunk.%d.RDB%d.conv%d",
                                       "model.1.sub.%d.RDB%d.conv%d.0"};
    static const char *const shortcut[] = {"body.%d.rdb%d.conv1x1", "RRDB_trunk.%d.RDB%d.conv1x1",
                                           "model.1.sub.%d.RDB%d.conv1x1"};
    char key[100];
    for (int k = 1; k <= 5; k++) {
        snprintf(key, sizeof key, form[net->layout], i, j, k);
        conv(list, key, k < 5 ? net->growth : net->features, net->features + (k - 1) * net->growth,
             3, 1);
    }
    snprintf(key, sizeof key, shortcut[net->layout], i, j);
    if (net->plus) conv(list, key, net->growth, net->features, 1, 0);
}

void pth_add_rrdbnet(pth_list *list, const pth_rrdbnet *net) {
    static const char *const first[] = {"conv_first", "conv_first", "model.0"};
    static const char *const trunk[] = {"conv_body", "trunk_conv", "model.1.sub.%d"};
    static const char *const up[] = {"conv_up%d", "upconv%d", "model.%d"};
    static const char *const hr[] = {"conv_hr", "HRconv", "model.%d"};
    static const char *const last[] = {"conv_last", "conv_last", "model.%d"};
    int f = net->features, old = net->layout == PTH_ESRGAN;
    char key[100];
    conv(list, first[net->layout], f, net->in, 3, 1);
    for (int i = 0; i < net->blocks; i++) {
        for (int j = 1; j <= 3; j++) block(list, net, i, j);
    }
    snprintf(key, sizeof key, trunk[net->layout], net->blocks);
    conv(list, key, f, f, 3, 1);
    for (int n = 1; n <= net->ups; n++) {
        snprintf(key, sizeof key, up[net->layout], old ? 3 * n : n);
        conv(list, key, f, f, 3, 1);
    }
    snprintf(key, sizeof key, hr[net->layout], 3 * net->ups + 2);
    conv(list, key, f, f, 3, 1);
    snprintf(key, sizeof key, last[net->layout], 3 * net->ups + 4);
    conv(list, key, net->out, f, 3, 1);
}
