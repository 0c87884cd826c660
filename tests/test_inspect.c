/* The layers of a model: names, keys, weights, and each one recomputed. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/model.h"

enum { MOST = 128, H = 6, W = 10 };

/* Every value of one run in double. */
typedef struct record {
    double *data[MOST];
    int h[MOST], w[MOST], c[MOST], count;
} record;

static int keep(void *context, const esrgan_trace_value *value) {
    record *r = context;
    assert_int_equal(value->index, r->count);
    assert_int_equal(value->dtype, ESRGAN_F64);
    assert_true(r->count < MOST);
    size_t n = (size_t)(value->dims[1] * value->dims[2] * value->dims[3]);
    r->data[r->count] = malloc(n * sizeof(double));
    assert_non_null(r->data[r->count]);
    memcpy(r->data[r->count], value->data, n * sizeof(double));
    r->c[r->count] = (int)value->dims[1];
    r->h[r->count] = (int)value->dims[2];
    r->w[r->count++] = (int)value->dims[3];
    return 0;
}

static void record_run(const esrgan_model *model, record *r) {
    esrgan_model_info info = {.size = sizeof info};
    esrgan_session_options options;
    esrgan_session *session;
    assert_int_equal(esrgan_model_get_info(model, &info, NULL), ESRGAN_OK);
    esrgan_session_options_init(&options);
    options.precision = ESRGAN_FP64;
    options.backend = ESRGAN_REFERENCE;
    options.trace = keep;
    options.trace_context = r;
    assert_int_equal(esrgan_session_create(model, &options, &session, NULL), ESRGAN_OK);
    float *in = noise((size_t)info.in_channels * H * W, 3);
    float *out =
        malloc(sizeof *out * (size_t)info.out_channels * H * W * (size_t)(info.scale * info.scale));
    assert_non_null(out);
    assert_int_equal(esrgan_forward(session, 1, H, W, in, out, NULL), ESRGAN_OK);
    free(in);
    free(out);
    esrgan_session_free(session);
    assert_int_equal(r->count, esrgan_layer_count(model));
}

static void record_free(record *r) {
    for (int i = 0; i < r->count; i++) free(r->data[i]);
}

static esrgan_layer layer_at(const esrgan_model *model, int index) {
    esrgan_layer l = {.size = sizeof l};
    assert_int_equal(esrgan_layer_get(model, index, &l, NULL), ESRGAN_OK);
    return l;
}

/* The sum of |w||x| + |b| of one element, by plain loops. */
static double bound_of(const esrgan_model *model, const esrgan_layer *l, int index, const record *r,
                       int o, int y, int x) {
    int k = l->kernel, half = k / 2, plane = k * k, at = 0;
    double *w = malloc(sizeof *w * (size_t)(l->channels_out * l->channels_in * plane));
    double *b = malloc(sizeof *b * (size_t)l->channels_out);
    assert_int_equal(esrgan_layer_weights(model, index, w, b, NULL), ESRGAN_OK);
    double sum = fabs(b[o]);
    for (int i = 0; i < l->input_count; i++) {
        int from = l->inputs[i], h = r->h[from], width = r->w[from];
        for (int c = 0; c < r->c[from]; c++, at++)
            for (int t = 0; t < plane; t++) {
                int sy = y + t / k - half, sx = x + t % k - half;
                if (sy < 0 || sx < 0 || sy >= h || sx >= width) continue;
                sum += fabs(w[(o * l->channels_in + at) * plane + t] *
                            r->data[from][(c * h + sy) * width + sx]);
            }
    }
    free(w);
    free(b);
    return sum;
}

static void check_layer(const esrgan_model *model, int index, const record *r) {
    esrgan_layer l = layer_at(model, index);
    const double *inputs[8];
    size_t n = (size_t)r->c[index] * (size_t)r->h[index] * (size_t)r->w[index];
    double *out = malloc(n * sizeof *out), *bound = malloc(n * sizeof *bound);
    for (int i = 0; i < l.input_count; i++) inputs[i] = r->data[l.inputs[i]];
    int from = l.inputs[0], h = r->h[from], w = r->w[from];
    assert_int_equal(esrgan_layer_compute(model, index, inputs, h, w, out, bound, NULL), ESRGAN_OK);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs(out[i] - r->data[index][i]) <= 1e-13 * (1 + bound[i]));
        assert_true(bound[i] >= fabs(out[i]) * (1 - 1e-12));
    }
    for (int k = 0; l.kernel && k < 5; k++) {
        int o = k % l.channels_out, y = k * 7 % h, x = k * 5 % w;
        double expected = bound_of(model, &l, index, r, o, y, x);
        assert_true(fabs(bound[(o * h + y) * w + x] - expected) < 1e-12 * expected);
    }
    /* One at a time gives the same. */
    double *again = malloc(n * sizeof *again);
    assert_int_equal(esrgan_layer_compute(model, index, inputs, h, w, again, NULL, NULL),
                     ESRGAN_OK);
    assert_memory_equal(again, out, n * sizeof *out);
    assert_int_equal(esrgan_layer_compute(model, index, inputs, h, w, NULL, again, NULL),
                     ESRGAN_OK);
    assert_memory_equal(again, bound, n * sizeof *out);
    free(again);
    free(out);
    free(bound);
}

static esrgan_model *make(int which) {
    switch (which) {
    case 0: return model_x4();
    case 1: return model_x2plus();
    case 2: return model_grey();
    default: return model_of(&(pth_rrdbnet){PTH_BSRGAN, 3, 3, 6, 5, 2, 1, 1}, 4);
    }
}

static void every_layer_is_recomputed(void **state) {
    (void)state;
    for (int which = 0; which < 4; which++) {
        esrgan_model *model = make(which);
        record r = {0};
        record_run(model, &r);
        for (int i = 1; i < r.count; i++) check_layer(model, i, &r);
        record_free(&r);
        esrgan_model_free(model);
    }
}

static void layers_are_found(void **state) {
    (void)state;
    for (int which = 0; which < 4; which++) {
        esrgan_model *model = make(which);
        int count = esrgan_layer_count(model);
        assert_true(count > 30);
        for (int i = 0; i < count; i++) {
            esrgan_layer l = layer_at(model, i);
            char key[256];
            assert_int_equal(esrgan_layer_find(model, l.name), i);
            for (int k = 0; k < l.input_count; k++) assert_true(l.inputs[k] < i);
            if (!l.weight_key) {
                assert_int_equal(l.kernel, 0);
                continue;
            }
            assert_int_equal(esrgan_layer_find(model, l.weight_key), i);
            snprintf(key, sizeof key, "%s", l.weight_key);
            *strstr(key, ".weight") = 0;
            assert_int_equal(esrgan_layer_find(model, key), i);
        }
        assert_string_equal(layer_at(model, 0).name, "input");
        assert_string_equal(layer_at(model, count - 1).name, "conv_last");
        assert_int_equal(esrgan_layer_find(model, "conv_nowhere"), -1);
        assert_int_equal(esrgan_layer_find(model, NULL), -1);
        assert_int_equal(esrgan_layer_find(NULL, "input"), -1);
        esrgan_model_free(model);
    }
    assert_int_equal(esrgan_layer_count(NULL), 0);
}

/* What the struct's size says is all that is written. */
static void older_callers_are_respected(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    struct {
        esrgan_layer layer;
        char behind[16];
    } space;
    memset(&space, 0x5a, sizeof space);
    space.layer.size = sizeof space.layer;
    assert_int_equal(esrgan_layer_get(model, 3, &space.layer, NULL), ESRGAN_OK);
    assert_int_equal(space.layer.size, sizeof space.layer);
    for (int i = 0; i < 16; i++) assert_int_equal(space.behind[i], 0x5a);
    space.layer.size = sizeof(size_t);
    assert_int_equal(esrgan_layer_get(model, 3, &space.layer, NULL), ESRGAN_E_ARGUMENT);
    esrgan_model_free(model);
}

static void mistakes_are_refused(void **state) {
    (void)state;
    esrgan_model *model = model_x2plus();
    esrgan_layer l = {.size = sizeof l};
    esrgan_error e;
    double values[4 * 4 * 12] = {0}, out[64 * 64];
    const double *inputs[8] = {values, NULL};
    int conv = esrgan_layer_find(model, "conv_first"),
        shuffle = esrgan_layer_find(model, "unshuffle");
    int act = esrgan_layer_find(model, "conv_hr.act");
    assert_int_equal(esrgan_layer_get(model, -1, &l, &e), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_get(model, 10000, &l, &e), ESRGAN_E_ARGUMENT);
    assert_non_null(strstr(e.message, "10000"));
    assert_int_equal(esrgan_layer_get(NULL, 0, &l, &e), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_get(model, 0, NULL, &e), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_weights(model, act, out, NULL, &e), ESRGAN_E_ARGUMENT);
    assert_non_null(strstr(e.message, "conv_hr.act"));
    assert_int_equal(esrgan_layer_weights(model, conv, NULL, NULL, &e), ESRGAN_OK);
    assert_int_equal(esrgan_layer_compute(model, 0, inputs, 4, 4, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_compute(model, conv, NULL, 4, 4, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 0, 4, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 4, -1, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 1 << 20, 1 << 20, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_layer_compute(model, shuffle, inputs, 3, 4, out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_non_null(strstr(e.message, "multiple of 2"));
    assert_int_equal(esrgan_layer_compute(model, esrgan_layer_find(model, "body.0"), inputs, 4, 4,
                                          out, NULL, &e),
                     ESRGAN_E_ARGUMENT);
    assert_non_null(strstr(e.message, "input 1 is NULL"));
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 4, 4, out, NULL, NULL), ESRGAN_OK);
    esrgan_model_free(model);
}

static void no_memory_is_told(void **state) {
    (void)state;
    pth_list list = {0};
    size_t size;
    ledger book;
    pth_add_rrdbnet(&list, &(pth_rrdbnet){PTH_BASICSR, 3, 3, 8, 4, 1, 1, 0});
    uint8_t *bytes = pth_write(&list, 9, &size);
    esrgan_open_options options;
    esrgan_model *model;
    double values[3 * 16] = {0}, out[8 * 16];
    const double *inputs[] = {values};
    ledger_init(&book);
    esrgan_open_options_init(&options);
    options.allocator = &book.allocator;
    assert_int_equal(esrgan_open_memory(bytes, size, "x", &options, &model, NULL), ESRGAN_OK);
    int conv = esrgan_layer_find(model, "conv_first");
    int64_t before = book.now;
    book.calls = 0;
    book.fail_at = 0;
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 4, 4, out, out, NULL),
                     ESRGAN_E_MEMORY);
    assert_int_equal(book.now, before);
    book.fail_at = -1;
    assert_int_equal(esrgan_layer_compute(model, conv, inputs, 4, 4, out, NULL, NULL), ESRGAN_OK);
    assert_int_equal(book.now, before);
    esrgan_model_free(model);
    assert_int_equal(book.now, 0);
    free(bytes);
    pth_clear(&list);
}

typedef struct shared {
    const esrgan_model *model;
    const record *r;
} shared;

static void *check_all(void *context) {
    const shared *s = context;
    for (int i = 1; i < s->r->count; i++) check_layer(s->model, i, s->r);
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    record r = {0};
    record_run(model, &r);
    shared s = {model, &r};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_all, &s), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    record_free(&r);
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_is_recomputed),   cmocka_unit_test(layers_are_found),
        cmocka_unit_test(older_callers_are_respected), cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(no_memory_is_told),           cmocka_unit_test(threads_share_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
