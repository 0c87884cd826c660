/*
 * Statistics of values: of data against plain loops, and those that a trace takes on the way against
 * those of the data that another trace hands out.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "support/model.h"
#include "support/slow.h"

/* ---- Of data ------------------------------------------------------------------------------- */

static double at(esrgan_dtype dtype, const void *data, uint64_t i) {
    if (dtype == ESRGAN_F32) return (double)((const float *)data)[i];
    if (dtype == ESRGAN_F64) return ((const double *)data)[i];
    return ((const uint8_t *)data)[i];
}

static size_t size_of(esrgan_dtype dtype) {
    return dtype == ESRGAN_F64 ? 8 : dtype == ESRGAN_F32 ? 4 : 1;
}

/* As the text in esrgan.h has it. */
static esrgan_statistics plainly(esrgan_dtype dtype, const void *data, uint64_t count) {
    esrgan_statistics s = {.size = sizeof s, .count = count, .min = NAN, .max = NAN};
    double sum = 0, squares = 0;
    uint32_t low = 0, high = 0;
    for (uint64_t i = 0; i < count; i++) {
        const double v = at(dtype, data, i);
        const size_t words = dtype == ESRGAN_F64 ? 2 : 1;
        for (size_t k = 0; k < words; k++) {
            uint32_t word = 0;
            const size_t bytes = dtype == ESRGAN_U8 ? 1 : 4;
            memcpy(&word, (const char *)data + (i * words + k) * bytes, bytes);
            low += word;
            high += word * (uint32_t)(2 * (i * words + k) + 1);
        }
        s.nan += isnan(v) != 0;
        s.inf += isinf(v) != 0;
        if (!isfinite(v)) continue;
        s.min = s.min <= v ? s.min : v;
        s.max = s.max >= v ? s.max : v;
        sum += v;
        squares += v * v;
    }
    const uint64_t finite = count - s.nan - s.inf;
    s.mean = finite ? sum / (double)finite : NAN;
    s.rms = finite ? sqrt(squares / (double)finite) : NAN;
    s.hash = (uint64_t)high << 32 | low;
    s.samples = count < ESRGAN_SAMPLES ? (int)count : ESRGAN_SAMPLES;
    for (uint64_t k = 0; k < (uint64_t)s.samples; k++)
        s.sample[k] =
            at(dtype, data,
               count <= ESRGAN_SAMPLES
                   ? k
                   : k * count / ESRGAN_SAMPLES +
                         ((k * 2654435761u & 0xffffffffu) * (count / ESRGAN_SAMPLES) >> 32));
    return s;
}

static bool same(double a, double b, double tolerance) {
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= tolerance;
}

/* Everything alike; where sums may have been added in another order, they are to rounding. */
static void alike(const esrgan_statistics *got, const esrgan_statistics *expected, bool to_the_bit,
                  const char *what) {
    const double rounding = to_the_bit ? 0 : 1e-12 * expected->rms;
    bool good = got->size == sizeof *got && got->count == expected->count &&
                got->nan == expected->nan && got->inf == expected->inf &&
                got->hash == expected->hash && got->samples == expected->samples &&
                same(got->min, expected->min, 0) && same(got->max, expected->max, 0) &&
                same(got->mean, expected->mean, rounding) &&
                same(got->rms, expected->rms, rounding);
    for (int k = 0; k < got->samples && good; k++)
        good = same(got->sample[k], expected->sample[k], 0);
    if (!good)
        fail_msg("%s: min %g max %g mean %.17g rms %.17g nan %llu inf %llu hash %016llx, expected "
                 "%g %g %.17g %.17g %llu %llu %016llx, or a sample",
                 what, got->min, got->max, got->mean, got->rms, (unsigned long long)got->nan,
                 (unsigned long long)got->inf, (unsigned long long)got->hash, expected->min,
                 expected->max, expected->mean, expected->rms, (unsigned long long)expected->nan,
                 (unsigned long long)expected->inf, (unsigned long long)expected->hash);
}

static void statistics_of_data(void **state) {
    (void)state;
    static const uint64_t counts[] = {1,    2,    15,   16,   17,    1023,  1024,
                                      1025, 4095, 4096, 4097, 40000, 70001, 2500000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int dtype = ESRGAN_F32; dtype <= ESRGAN_U8; dtype++)
            for (int broken = 0; broken < (dtype == ESRGAN_U8 ? 1 : 4); broken++) {
                const uint64_t n = counts[i];
                float *values = noise(n, (uint32_t)i + 1);
                void *data = malloc(n * size_of((esrgan_dtype)dtype));
                const float odd[4] = {-0.0f, NAN, INFINITY, -INFINITY};
                for (uint64_t k = 0; k < n; k++) values[k] = ldexpf(values[k] - 0.3f, k % 9);
                values[n / 2] = odd[broken];
                for (uint64_t k = 0; k < n; k++) {
                    if (dtype == ESRGAN_F32) ((float *)data)[k] = values[k];
                    if (dtype == ESRGAN_F64) ((double *)data)[k] = 1.1 * (double)values[k];
                    if (dtype == ESRGAN_U8) ((uint8_t *)data)[k] = (uint8_t)(k * k >> 3);
                }
                esrgan_statistics got = {.size = sizeof got},
                                  expected = plainly((esrgan_dtype)dtype, data, n);
                assert_int_equal(
                    esrgan_statistics_compute((esrgan_dtype)dtype, data, n, &got, NULL), ESRGAN_OK);
                alike(&got, &expected, false, "data");
                free(values), free(data);
            }
}

static void nothing_and_nonsense(void **state) {
    (void)state;
    esrgan_statistics s = {.size = sizeof s};
    esrgan_error error;
    const float one = 1;
    assert_int_equal(esrgan_statistics_compute(ESRGAN_F32, NULL, 0, &s, &error), ESRGAN_OK);
    assert_true(s.count == 0 && s.samples == 0 && s.hash == 0 && isnan(s.min) && isnan(s.rms));
    assert_int_equal(esrgan_statistics_compute(ESRGAN_F32, NULL, 1, &s, &error), ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_statistics_compute((esrgan_dtype)3, &one, 1, &s, &error),
                     ESRGAN_E_ARGUMENT);
    assert_int_equal(esrgan_statistics_compute(ESRGAN_F32, &one, 1, NULL, &error),
                     ESRGAN_E_ARGUMENT);
    s.size = 8;
    assert_int_equal(esrgan_statistics_compute(ESRGAN_F32, &one, 1, &s, &error), ESRGAN_E_ARGUMENT);
}

/* ---- Of values on their way ---------------------------------------------------------------- */

enum { MOST = 200 };

typedef struct record {
    int values, stop_after;
    esrgan_trace_content content;
    struct {
        char name[80];
        int64_t dims[4];
        esrgan_statistics statistics;
    } value[MOST];
} record;

static int keep(void *context, const esrgan_trace_value *v) {
    record *r = context;
    assert_true(r->values < MOST);
    assert_int_equal(v->size, sizeof *v);
    esrgan_statistics *s = &r->value[r->values].statistics;
    *s = (esrgan_statistics){.size = sizeof *s};
    assert_true((v->data == NULL) == (r->content == ESRGAN_TRACE_STATISTICS));
    assert_true((v->statistics == NULL) == (r->content == ESRGAN_TRACE_DATA));
    if (v->data)
        assert_int_equal(esrgan_statistics_compute(v->dtype, v->data,
                                                   (uint64_t)(v->dims[1] * v->dims[2] * v->dims[3]),
                                                   s, NULL),
                         ESRGAN_OK);
    if (v->data && v->statistics) alike(v->statistics, s, true, v->name);
    if (v->statistics) *s = *v->statistics;
    memcpy(r->value[r->values].dims, v->dims, sizeof v->dims);
    snprintf(r->value[r->values].name, sizeof r->value->name, "%s", v->name);
    return ++r->values == r->stop_after;
}

typedef struct setup {
    const esrgan_model *model;
    esrgan_session_options options;
    int height, width;
    float *in;
} setup;

static size_t count_out(const setup *s) {
    esrgan_model_info info = {.size = sizeof info};
    esrgan_model_get_info(s->model, &info, NULL);
    return (size_t)(info.out_channels * s->height * info.scale * s->width * info.scale);
}

/* What a trace says, and the output (free()); NULL where the backend cannot do this. */
static float *trace(const setup *s, esrgan_trace_content content, int threads, record *r) {
    esrgan_session_options o = s->options;
    esrgan_session *session;
    esrgan_error error;
    r->values = 0;
    r->stop_after = -1;
    r->content = content;
    o.trace = keep;
    o.trace_context = r;
    o.trace_content = content;
    o.threads = threads;
    esrgan_status status = esrgan_session_create(s->model, &o, &session, &error);
    if (status == ESRGAN_E_UNSUPPORTED) return NULL;
    assert_int_equal(status, ESRGAN_OK);
    float *out = malloc(count_out(s) * sizeof *out);
    if (esrgan_forward(session, 1, s->height, s->width, s->in, out, &error))
        fail_msg("forward: %s", error.message);
    esrgan_session_free(session);
    return out;
}

static void same_values(const record *got, const record *expected, bool to_the_bit) {
    assert_int_equal(got->values, expected->values);
    for (int i = 0; i < got->values; i++) {
        assert_string_equal(got->value[i].name, expected->value[i].name);
        assert_memory_equal(got->value[i].dims, expected->value[i].dims, sizeof got->value[i].dims);
        alike(&got->value[i].statistics, &expected->value[i].statistics, to_the_bit,
              got->value[i].name);
    }
}

/* Statistics alone: those of the data, whatever the number of threads, and the same result. */
static int check_setup(const setup *s) {
    record *data = calloc(3, sizeof *data), *one = data + 1, *many = data + 2;
    const size_t bytes = count_out(s) * sizeof(float);
    float *want = trace(s, ESRGAN_TRACE_DATA, 2, data);
    int values = 0;
    if (want) {
        float *got = trace(s, ESRGAN_TRACE_STATISTICS, 1, one);
        assert_memory_equal(got, want, bytes);
        same_values(one, data, false);
        free(got);
        for (int threads = 2; threads <= 5; threads += 3) {
            got = trace(s, ESRGAN_TRACE_STATISTICS, threads, many);
            assert_memory_equal(got, want, bytes);
            same_values(many, one, true);
            free(got);
        }
        free(trace(s, ESRGAN_TRACE_BOTH, 3, many));
        same_values(many, data, true);
        values = data->values;
    }
    free(want);
    free(data);
    return values;
}

static int with_every_tier(setup *s) {
    int values = 0;
    const esrgan_backend others[] = {ESRGAN_REFERENCE, ESRGAN_OPENBLAS};
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        assert_int_equal(esrgan_tier_get(i, &tier, NULL), ESRGAN_OK);
        s->options.isa = tier.name;
        s->options.backend = ESRGAN_NATIVE;
        if (tier.usable) values += check_setup(s);
    }
    s->options.isa = NULL;
    for (size_t i = 0; i < 2; i++) {
        s->options.backend = others[i];
        values += check_setup(s);
    }
    return values;
}

static esrgan_model *model_x3(void) {
    pth_list list = {0};
    size_t size;
    pth_add_rrdbnet(&list, &(pth_rrdbnet){PTH_ESRGAN, 3, 3, 20, 7, 1, 1, 0});
    uint8_t *bytes = pth_write(&list, 5, &size);
    esrgan_open_options options;
    esrgan_open_options_init(&options);
    options.copy = 1;
    options.up_factor = 3;
    esrgan_model *model = NULL;
    assert_int_equal(esrgan_open_memory(bytes, size, "x3", &options, &model, NULL), ESRGAN_OK);
    free(bytes);
    pth_clear(&list);
    return model;
}

static void trace_statistics_are_those_of_the_data(void **state) {
    (void)state;
    static const pth_rrdbnet wide = {PTH_BASICSR, 3, 3, 64, 32, 1, 2, 0};
    static const pth_rrdbnet plus = {PTH_ESRGAN, 3, 3, 24, 18, 2, 1, 1};
    static const pth_rrdbnet four = {PTH_BASICSR, 48, 3, 17, 5, 1, 2, 0};
    esrgan_model *models[] = {model_x4(),         model_x2plus(),      model_grey(),
                              model_x3(),         model_of(&wide, 11), model_of(&plus, 12),
                              model_of(&four, 13)};
    static const int sizes[][2] = {{4, 8}, {24, 28}, {12, 92}};
    int values = 0;
    unsigned number = 0;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (size_t i = 0; i < 3; i++)
            for (int p = ESRGAN_FP32; p <= ESRGAN_FP64; p++) {
                if (number++ % share() != 0) continue;
                if (i > 0 && (m > 3 || p != ESRGAN_FP32)) continue; /* slow */
                setup s = {.model = models[m], .height = sizes[i][0], .width = sizes[i][1]};
                esrgan_session_options_init(&s.options);
                s.options.precision = (esrgan_precision)p;
                s.options.check_finite = 0;
                s.in = noise(3 * (size_t)(s.height * s.width), 6);
                values += with_every_tier(&s);
                if (i == 0) { /* what is not finite spreads from one corner */
                    s.in[1] = NAN;
                    s.in[5] = INFINITY;
                    values += with_every_tier(&s);
                }
                free(s.in);
            }
    assert_true(values > 4000 || share() > 1);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) esrgan_model_free(models[m]);
}

/* So wide that dense blocks are done in columns, whose edges are made twice and counted once. */
static void columns_are_counted_once(void **state) {
    (void)state;
    static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 16, 8, 1, 0, 0};
    esrgan_model *model = model_of(&net, 14);
    setup s = {.model = model, .height = 50, .width = 1399};
    esrgan_session_options_init(&s.options);
    s.options.backend = ESRGAN_NATIVE;
    s.in = noise(3 * (size_t)(s.height * s.width), 7);
    assert_true(check_setup(&s) > 20);
    free(s.in);
    esrgan_model_free(model);
}

/* Some values only: those and no others, the same figures. */
static void filters_hold(void **state) {
    (void)state;
    static const char *const filters[] = {"input",          "unshuffle", "up?.nearest,conv_last",
                                          "*.conv5,body.0", "*.act",     "nothing"};
    static const int expected[] = {1, 1, 3, 4, 15, 0};
    setup s = {.model = model_x2plus(), .height = 10, .width = 14};
    record *r = calloc(2, sizeof *r);
    s.in = noise(3 * 10 * 14, 4);
    for (size_t b = 0; b < 3; b++)
        for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
            esrgan_session_options_init(&s.options);
            s.options.backend = (esrgan_backend)(ESRGAN_REFERENCE + b);
            s.options.trace_filter = filters[i];
            free(trace(&s, ESRGAN_TRACE_DATA, 2, &r[0]));
            free(trace(&s, ESRGAN_TRACE_STATISTICS, 2, &r[1]));
            same_values(&r[1], &r[0], false);
            assert_int_equal(r[1].values, expected[i]);
        }
    free(r), free(s.in);
    esrgan_model_free((esrgan_model *)(uintptr_t)s.model);
}

/* ---- Memory, cancelling -------------------------------------------------------------------- */

typedef struct run {
    ledger l;
    esrgan_session_options options;
    record *r;
    float *in, *out;
} run;

static void run_begin(run *t, const esrgan_model *model, esrgan_backend backend, int height,
                      int width) {
    const setup s = {.model = model, .height = height, .width = width};
    ledger_init(&t->l);
    esrgan_session_options_init(&t->options);
    t->r = calloc(1, sizeof *t->r);
    t->r->stop_after = -1;
    t->r->content = ESRGAN_TRACE_STATISTICS;
    t->options.backend = backend;
    t->options.trace = keep;
    t->options.trace_context = t->r;
    t->options.trace_content = ESRGAN_TRACE_STATISTICS;
    t->options.allocator = &t->l.allocator;
    t->in = noise((size_t)(3 * height * width), 4);
    t->out = malloc(count_out(&s) * sizeof *t->out);
}

static void run_end(run *t) {
    assert_int_equal(t->l.now, 0);
    free(t->r), free(t->in), free(t->out);
}

static void estimates_hold(void **state) {
    (void)state;
    static const int sizes[][2] = {{2, 2}, {16, 16}, {64, 48}, {4, 300}};
    esrgan_model *models[] = {model_x4(), model_x2plus()};
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < 4; i++)
            for (size_t b = 0; b < 3; b++)
                for (int threads = 1; threads <= 3; threads += 2) {
                    run t;
                    uint64_t estimate;
                    esrgan_session *session;
                    run_begin(&t, models[m], (esrgan_backend)(ESRGAN_REFERENCE + b), sizes[i][0],
                              sizes[i][1]);
                    t.options.threads = threads;
                    assert_int_equal(esrgan_session_create(models[m], &t.options, &session, NULL),
                                     ESRGAN_OK);
                    const int64_t before = t.l.peak = t.l.now;
                    assert_int_equal(
                        esrgan_forward(session, 1, sizes[i][0], sizes[i][1], t.in, t.out, NULL),
                        ESRGAN_OK);
                    const double used = (double)(t.l.peak - before);
                    assert_int_equal(esrgan_estimate_memory(models[m], &t.options, 1, sizes[i][0],
                                                            sizes[i][1], &estimate, NULL),
                                     ESRGAN_OK);
                    if (used > (double)estimate || used < 0.95 * (double)estimate)
                        fail_msg(
                            "backend %zu, %d x %d, %d threads: %.0f bytes used, %llu estimated",
                            b + 1, sizes[i][0], sizes[i][1], threads, used,
                            (unsigned long long)estimate);
                    esrgan_session_free(session);
                    run_end(&t);
                }
    esrgan_model_free(models[0]);
    esrgan_model_free(models[1]);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    esrgan_model *model = model_x2plus();
    run t;
    run_begin(&t, model, ESRGAN_NATIVE, 10, 12);
    t.options.threads = 2;
    bool done = false;
    for (t.l.fail_at = 0; !done; t.l.fail_at++) {
        assert_true(t.l.fail_at < 10000);
        t.l.calls = 0;
        t.r->values = 0;
        esrgan_session *session = NULL;
        esrgan_status status = esrgan_session_create(model, &t.options, &session, NULL);
        if (status == ESRGAN_OK) status = esrgan_forward(session, 1, 10, 12, t.in, t.out, NULL);
        done = status == ESRGAN_OK && t.l.calls <= t.l.fail_at;
        if (status != ESRGAN_OK) assert_int_equal(status, ESRGAN_E_MEMORY);
        esrgan_session_free(session);
        assert_int_equal(t.l.now, 0);
    }
    run_end(&t);
    esrgan_model_free(model);
}

static void every_value_may_be_the_last(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    run t;
    run_begin(&t, model, ESRGAN_NATIVE, 5, 4);
    t.options.threads = 2;
    esrgan_session *session;
    assert_int_equal(esrgan_session_create(model, &t.options, &session, NULL), ESRGAN_OK);
    for (int stop = 1; stop <= esrgan_layer_count(model); stop++) {
        t.r->values = 0;
        t.r->stop_after = stop;
        assert_int_equal(esrgan_forward(session, 1, 5, 4, t.in, t.out, NULL), ESRGAN_E_CANCELLED);
        assert_int_equal(t.r->values, stop);
    }
    esrgan_session_free(session);
    run_end(&t);
    esrgan_model_free(model);
}

static void bad_content_is_named(void **state) {
    (void)state;
    esrgan_model *model = model_grey();
    esrgan_session_options o;
    esrgan_session *session;
    esrgan_error error;
    esrgan_session_options_init(&o);
    o.trace_content = (esrgan_trace_content)3;
    assert_int_equal(esrgan_session_create(model, &o, &session, &error), ESRGAN_E_ARGUMENT);
    assert_non_null(strstr(error.message, "trace_content is 3"));
    esrgan_model_free(model);
}

int main(void) {
    unsetenv("ESRGAN_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_of_data),
        cmocka_unit_test(nothing_and_nonsense),
        cmocka_unit_test(trace_statistics_are_those_of_the_data),
        cmocka_unit_test(columns_are_counted_once),
        cmocka_unit_test(filters_hold),
        cmocka_unit_test(estimates_hold),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_value_may_be_the_last),
        cmocka_unit_test(bad_content_is_named),
    };
    return cmocka_run_group_tests_name("statistics", tests, NULL, NULL);
}
