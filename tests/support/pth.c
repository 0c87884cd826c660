#include "pth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- Bytes that grow ---- */

typedef struct buffer {
    uint8_t *data;
    size_t size, capacity;
} buffer;

static uint8_t *room(buffer *b, size_t size) {
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->data = realloc(b->data, b->capacity);
        if (b->data == NULL) abort();
    }
    b->size += size;
    return b->data + b->size - size;
}

static void put(buffer *b, const void *data, size_t size) { memcpy(room(b, size), data, size); }
static void text(buffer *b, const char *s) { put(b, s, strlen(s)); }

static void number(buffer *b, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *room(b, 1) = (uint8_t)(value >> (8 * i));
}

/* BININT, or LONG1 where it does not fit. */
static void integer(buffer *b, int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
        text(b, "J");
        number(b, (uint64_t)value, 4);
    } else {
        text(b, "\x8a\x08");
        number(b, (uint64_t)value, 8);
    }
}

static void string(buffer *b, const char *s) {
    text(b, "X");
    number(b, strlen(s), 4);
    text(b, s);
}

/* ---- The legacy format: five pickles, then the storages ---- */

static int64_t numel(const pth_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
    return n;
}

static const char *storage_type(es_dtype dtype) {
    static const char *const names[] = {
        [ES_F32] = "Float", [ES_F16] = "Half", [ES_BF16] = "BFloat16", [ES_F64] = "Double",
        [ES_I64] = "Long",  [ES_I32] = "Int",  [ES_I16] = "Short",     [ES_I8] = "Char",
        [ES_U8] = "Byte",   [ES_BOOL] = "Bool"};
    return names[dtype];
}

static void tensor(buffer *b, const pth_tensor *t, size_t index) {
    char line[64];
    string(b, t->name);
    text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    string(b, "storage");
    snprintf(line, sizeof line, "ctorch\n%sStorage\n", storage_type(t->dtype));
    text(b, line);
    snprintf(line, sizeof line, "%zu", index);
    string(b, line);
    string(b, "cpu");
    integer(b, numel(t));
    text(b, "NtQ");
    integer(b, 0);
    text(b, "(");
    for (int i = 0; i < t->ndim; i++) integer(b, t->shape[i]);
    text(b, "t(");
    for (int i = 0; i < t->ndim; i++) {
        int64_t stride = 1;
        for (int j = i + 1; j < t->ndim; j++) stride *= t->shape[j];
        integer(b, stride);
    }
    text(b, "t\x89"
            "ccollections\nOrderedDict\n)RtR");
}

/* Uniform in (-1, 1); xorshift. */
static double noise(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(int64_t)*state / 9223372036854775808.0;
}

static void values(buffer *b, const pth_tensor *t, uint64_t *state) {
    int64_t n = numel(t);
    double spread = t->ndim < 2 ? 0.1 : sqrt(6 / 1.04 / ((double)n / (double)t->shape[0]));
    size_t size = es_dtype_size(t->dtype);
    uint8_t *out = room(b, (size_t)n * size);
    memset(out, 0, (size_t)n * size);
    for (int64_t i = 0; i < n; i++, out += size) {
        double v = noise(state) * spread;
        float f = (float)v;
        uint16_t h = t->dtype == ES_F16 ? es_f32_to_f16(f) : es_f32_to_bf16(f);
        if (t->dtype == ES_F32) memcpy(out, &f, 4);
        if (t->dtype == ES_F64) memcpy(out, &v, 8);
        if (t->dtype == ES_F16 || t->dtype == ES_BF16) memcpy(out, &h, 2);
    }
}

uint8_t *pth_write(const pth_list *list, uint64_t seed, size_t *size) {
    buffer b = {0};
    put(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
    put(&b, "\x80\x02M\xe9\x03.", 6);
    put(&b, "\x80\x02}", 3);
    string(&b, "little_endian");
    text(&b, "\x88s.");
    put(&b, "\x80\x02}(", 4);
    for (size_t i = 0; i < list->count; i++) tensor(&b, &list->items[i], i);
    text(&b, "u.");
    put(&b, "\x80\x02](", 4);
    for (size_t i = 0; i < list->count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        string(&b, key);
    }
    text(&b, "e.");
    uint64_t state = seed * 2654435769u + 88172645463325252u;
    for (size_t i = 0; i < list->count; i++) {
        number(&b, (uint64_t)numel(&list->items[i]), 8);
        values(&b, &list->items[i], &state);
    }
    *size = b.size;
    return b.data;
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
