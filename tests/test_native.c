/*
 * The native engine as a whole: every tier against the oracle for all shapes of networks and many
 * sizes of pictures; the same bits for any number of threads, for batches and in any layout of
 * strips; memory as estimated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "engine/tiers.h"
#include "support/decibels.h"
#include "support/model.h"
#include "support/slow.h"

static const struct {
    const char *what;
    pth_rrdbnet net;
    int unshuffle;
} networks[] = {
    {"x1", {PTH_BASICSR, 3, 3, 8, 4, 1, 0, 0}, 1},
    {"x2", {PTH_BASICSR, 3, 3, 16, 8, 1, 1, 0}, 1},
    {"x4", {PTH_BSRGAN, 3, 3, 24, 12, 2, 2, 0}, 1},
    {"x8, grey", {PTH_ESRGAN, 1, 1, 16, 8, 1, 3, 0}, 1},
    {"x4 plus", {PTH_ESRGAN, 3, 3, 16, 8, 1, 2, 1}, 1},
    {"unshuffle 2", {PTH_BASICSR, 12, 3, 20, 10, 1, 2, 0}, 2},
    {"unshuffle 4", {PTH_BASICSR, 48, 3, 16, 16, 1, 2, 0}, 4},
    {"odd widths", {PTH_BASICSR, 3, 3, 50, 33, 1, 1, 0}, 1},
    {"64 features", {PTH_BASICSR, 3, 3, 64, 32, 1, 2, 0}, 1},
};

static const struct {
    int height, width;
} sizes[] = {{1, 1}, {1, 9}, {2, 3}, {5, 7}, {8, 8}, {13, 40}, {33, 17}, {64, 3}, {61, 86}};

enum { NETWORKS = sizeof networks / sizeof *networks, SIZES = sizeof sizes / sizeof *sizes };

typedef struct picture {
    int n, height, width;
    size_t in, out; /* floats of one */
} picture;

static picture picture_of(const esrgan_model *model, int n, int height, int width) {
    esrgan_model_info info = {.size = sizeof info};
    assert_int_equal(esrgan_model_get_info(model, &info, NULL), ESRGAN_OK);
    size_t pixels = (size_t)height * (size_t)width;
    return (picture){n, height, width, pixels * (size_t)info.in_channels,
                     pixels * (size_t)(info.out_channels * info.scale * info.scale)};
}

/* free() */
static float *forward(const esrgan_model *model, esrgan_backend backend, const char *isa,
                      esrgan_precision precision, int threads, picture p, const float *in) {
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = backend;
    o.isa = isa;
    o.precision = precision;
    o.threads = threads;
    esrgan_session *session;
    esrgan_error error;
    if (esrgan_session_create(model, &o, &session, &error) != ESRGAN_OK)
        fail_msg("%s", error.message);
    esrgan_session_info info = {.size = sizeof info};
    assert_int_equal(esrgan_session_get_info(session, &info, NULL), ESRGAN_OK);
    if (isa) assert_string_equal(info.tier, isa); /* the tier that was meant */
    float *out = malloc((size_t)p.n * p.out * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < (size_t)p.n * p.out; i++) out[i] = NAN;
    if (esrgan_forward(session, p.n, p.height, p.width, in, out, &error) != ESRGAN_OK)
        fail_msg("%s", error.message);
    esrgan_session_free(session);
    return out;
}

/* Root of the mean square of a - b, of the largest |a| at 1. */
static double distance(const float *a, const float *b, size_t n) {
    double sum = 0, most = 1e-30;
    for (size_t i = 0; i < n; i++) {
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        if (fabs(a[i]) > most) most = fabs(a[i]);
    }
    return sqrt(sum / (double)n) / most;
}

/* The tiers of this CPU that multiply bfloat16 by Winograd, or all others that do so in FP32; the direct
 * ones have tests of their own. */
static int tiers(bool pairs, const char *names[8]) {
    int count = 0;
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        assert_int_equal(esrgan_tier_get(i, &tier, NULL), ESRGAN_OK);
        if (!tier.usable) continue;
        if (pairs ? es_tier_pairs(tier.name) != NULL : !es_tier_is_direct(tier.name))
            names[count++] = tier.name;
    }
    assert_true(pairs || count > 0);
    return count;
}

static void every_network_agrees_with_the_oracle(void **state) {
    (void)state;
    unsigned entry = 0;
    for (int m = 0; m < NETWORKS; m++) {
        esrgan_model *model = model_of(&networks[m].net, 11);
        for (int k = 0; k < SIZES; k++) {
            int f = networks[m].unshuffle;
            picture p = picture_of(model, 1, sizes[k].height * f, sizes[k].width * f);
            if (left_out(&entry) || p.out > 400000) continue; /* the oracle is slow */
            float *in = noise(p.in, (uint32_t)k);
            float *truth = forward(model, ESRGAN_REFERENCE, NULL, ESRGAN_FP32, 2, p, in);
            for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision++) {
                /* Allowed: some roundings of single precision through a few tens of layers, of the
                 * storage format where it is a half one. */
                static const double allowed[] = {4e-6, 4e-3, 3e-2};
                const char *names[16];
                int count = tiers(false, names);
                if (precision == ESRGAN_BF16 && networks[m].net.growth % 32 == 0) /* whole chunks */
                    count += tiers(true, names + count);
                for (int t = 0; t < count; t++) {
                    float *got = forward(model, ESRGAN_NATIVE, names[t],
                                         (esrgan_precision)precision, 2, p, in);
                    double error = distance(truth, got, p.out);
                    if (!(error <= allowed[precision]))
                        fail_msg("%s, %d x %d, %s, precision %d: error %g", networks[m].what,
                                 p.height, p.width, names[t], precision, error);
                    free(got);
                }
            }
            free(truth), free(in);
        }
        esrgan_model_free(model);
    }
}

/* Errors against float64, which follow from the order of operations alone.  (OpenBLAS, summing up directly, has
 * 118 to 123 dB: Winograd does better where a picture is smooth, and loses up to 9 dB where it is noise.) */
static void errors_are_small(void **state) {
    (void)state;
    static const struct {
        int side;
        bool smooth;
        double least; /* dB */
    } pictures[] = {{16, true, 121.8}, {16, false, 117.5}, {48, true, 126.8}, {48, false, 113.7}};
    const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 64, 32, 1, 2, 0};
    esrgan_model *model = model_of(&net, 11);
    unsigned entry = 0;
    for (size_t k = 0; k < sizeof pictures / sizeof *pictures; k++) {
        if (left_out(&entry)) continue;
        const int side = pictures[k].side;
        picture p = picture_of(model, 1, side, side);
        float *in = noise(p.in, 5);
        for (int i = 0; i < (int)p.in && pictures[k].smooth; i++)
            in[i] = 0.4f +
                    0.3f * sinf(0.13f * (float)(i % side)) * cosf(0.07f * (float)(i / side)) +
                    0.1f * in[i];
        float *right = forward(model, ESRGAN_REFERENCE, NULL, ESRGAN_FP64, 2, p, in);
        const char *names[16];
        const int count = tiers(false, names);
        for (int t = 0; t < count; t++) {
            float *got = forward(model, ESRGAN_NATIVE, names[t], ESRGAN_FP32, 2, p, in);
            const double own = decibels(right, got, p.out);
            if (!(own >= pictures[k].least))
                fail_msg("%s, %d x %d, %s: %.1f dB, expected %.1f", names[t], side, side,
                         pictures[k].smooth ? "smooth" : "noise", own, pictures[k].least);
            free(got);
        }
        free(in), free(right);
    }
    esrgan_model_free(model);
}

static void threads_make_no_difference(void **state) {
    (void)state;
    static const int some[][2] = {{1, 1}, {16, 16}, {32, 33}, {29, 71}, {67, 130}};
    unsigned entry = 0;
    for (int k = 0; k < (share() > 1 ? 4 : 5); k++)
        for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision++) {
            const char *names[8];
            const bool pairs = precision == ESRGAN_BF16;
            const int count = tiers(pairs, names) - (k == 4 && !pairs);
            for (int t = 0; t < count; t++)
                for (int m = 2; m < NETWORKS; m += 3) {
                    if (left_out(&entry)) continue;
                    esrgan_model *model = model_of(&networks[m].net, 12);
                    int f = networks[m].unshuffle;
                    picture p = picture_of(model, 1, some[k][0] * f, some[k][1] * f);
                    float *in = noise(p.in, 3);
                    float *one = forward(model, ESRGAN_NATIVE, names[t],
                                         (esrgan_precision)precision, 1, p, in);
                    for (int threads = 2; threads <= 8; threads += share() > 1   ? 5
                                                                   : threads < 4 ? 1
                                                                                 : 4) {
                        float *more = forward(model, ESRGAN_NATIVE, names[t],
                                              (esrgan_precision)precision, threads, p, in);
                        assert_memory_equal(one, more, p.out * sizeof *one);
                        free(more);
                    }
                    free(one), free(in);
                    esrgan_model_free(model);
                }
        }
}

static void a_batch_is_its_pictures(void **state) {
    (void)state;
    esrgan_model *model = model_of(&networks[2].net, 13);
    picture two = picture_of(model, 2, 23, 31), one = two;
    one.n = 1;
    float *in = noise(2 * two.in, 5);
    float *both = forward(model, ESRGAN_NATIVE, NULL, ESRGAN_FP32, 2, two, in);
    for (size_t i = 0; i < 2; i++) {
        float *single = forward(model, ESRGAN_NATIVE, NULL, ESRGAN_FP32, 2, one, in + i * one.in);
        assert_memory_equal(single, both + i * one.out, one.out * sizeof *single);
        free(single);
    }
    free(both), free(in);
    esrgan_model_free(model);
}

/* Weights that are kept give the same bits, also where the next picture wants another form. */
static void keep_weights(esrgan_precision precision) {
    esrgan_model *model = model_of(&networks[share() > 1 ? 1 : 8].net, 15);
    ledger memory;
    ledger_init(&memory);
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_NATIVE;
    o.threads = 2;
    o.keep_weights = 1;
    o.precision = precision;
    o.allocator = &memory.allocator;
    esrgan_session *session;
    assert_int_equal(esrgan_session_create(model, &o, &session, NULL), ESRGAN_OK);
    static const int some[][2] = {{50, 40}, {50, 40}, {3, 3}, {50, 40}};
    for (size_t k = 0; k < 4; k++) {
        picture p = picture_of(model, 1, some[k][0], some[k][1]);
        float *in = noise(p.in, 7), *got = malloc(p.out * sizeof *got);
        assert_non_null(got);
        uint64_t estimate;
        int64_t before = memory.now;
        assert_int_equal(esrgan_estimate_memory(model, &o, 1, p.height, p.width, &estimate, NULL),
                         ESRGAN_OK);
        memory.peak = before;
        assert_int_equal(esrgan_forward(session, 1, p.height, p.width, in, got, NULL), ESRGAN_OK);
        if (k == 0) { /* everything is made and allocated by this run */
            assert_true((uint64_t)(memory.peak - before) <= estimate);
            assert_true((double)(memory.peak - before) >= 0.95 * (double)estimate);
        }
        float *plain = forward(model, ESRGAN_NATIVE, NULL, precision, 2, p, in);
        assert_memory_equal(plain, got, p.out * sizeof *got);
        free(plain), free(got), free(in);
    }
    esrgan_session_free(session);
    assert_int_equal(memory.now, 0);
    esrgan_model_free(model);
}

static void kept_weights_make_no_difference(void **state) {
    (void)state;
    keep_weights(ESRGAN_FP32);
    keep_weights(ESRGAN_BF16);
}

enum { MOST_VALUES = 64 };

/* The size of every value that is traced, root mean square. */
typedef struct sizes_of_values {
    double rms[MOST_VALUES];
    int values;
} sizes_of_values;

static int take_size(void *context, const esrgan_trace_value *v) {
    sizes_of_values *all = context;
    assert_true(all->values < MOST_VALUES);
    const int64_t count = v->dims[1] * v->dims[2] * v->dims[3];
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)((const float *)v->data)[i] * ((const float *)v->data)[i];
    all->rms[all->values++] = sqrt(sum / (double)count);
    return 0;
}

static int take_statistics(void *context, const esrgan_trace_value *v) {
    sizes_of_values *all = context;
    assert_true(all->values < MOST_VALUES);
    all->rms[all->values++] = v->statistics->rms;
    return 0;
}

/* Traces, and compares the result with `plain`, which the same kernels made. */
static void trace_values(const esrgan_model *model, esrgan_session_options *o, bool statistics,
                         picture p, const float *in, const float *plain, sizes_of_values *all) {
    float *got = malloc(p.out * sizeof *got);
    assert_non_null(got);
    all->values = 0;
    o->trace = statistics ? take_statistics : take_size;
    o->trace_content = statistics ? ESRGAN_TRACE_STATISTICS : ESRGAN_TRACE_DATA;
    o->trace_context = all;
    esrgan_session *session;
    assert_int_equal(esrgan_session_create(model, o, &session, NULL), ESRGAN_OK);
    assert_int_equal(esrgan_forward(session, 1, p.height, p.width, in, got, NULL), ESRGAN_OK);
    assert_int_equal(all->values, esrgan_layer_count(model));
    if (plain) assert_memory_equal(plain, got, p.out * sizeof *got);
    esrgan_session_free(session);
    free(got);
}

/* A network that bfloat16's own Winograd kernels do is traced by them, value by value or as statistics,
 * where this CPU has them: the same result, and values of the size that they have in double. */
static void pairs_are_traced(void **state) {
    (void)state;
    const char *names[8];
    const int count = tiers(true, names);
    if (count == 0) skip();
    esrgan_model *model = model_of(&networks[NETWORKS - 1].net, 16);
    picture p = picture_of(model, 1, 37, 29);
    float *in = noise(p.in, 8);
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.threads = 2;
    o.backend = ESRGAN_REFERENCE;
    sizes_of_values truth, got;
    trace_values(model, &o, false, p, in, NULL, &truth);
    o.backend = ESRGAN_NATIVE;
    o.precision = ESRGAN_BF16;
    for (int t = 0; t < count; t++) {
        float *plain = forward(model, ESRGAN_NATIVE, names[t], ESRGAN_BF16, 2, p, in);
        o.isa = names[t];
        for (int statistics = 0; statistics < 2; statistics++) {
            trace_values(model, &o, statistics, p, in, plain, &got);
            for (int i = 0; i < truth.values; i++)
                assert_true(fabs(got.rms[i] - truth.rms[i]) < 0.01 * truth.rms[i]);
        }
        free(plain);
    }
    free(in);
    esrgan_model_free(model);
}

/* A value of infinity spoils what it reaches, and nothing out of its reach. */
static void nonfinite_input_is_local(void **state) {
    (void)state;
    esrgan_model *model = model_of(&networks[1].net, 14);
    picture p = picture_of(model, 1, 90, 90);
    float *in = noise(p.in, 6);
    float *clean = forward(model, ESRGAN_NATIVE, NULL, ESRGAN_FP32, 2, p, in);
    in[5 * 90 + 5] = INFINITY;
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_NATIVE;
    o.threads = 2;
    esrgan_session *session;
    float *out = malloc(p.out * sizeof *out);
    assert_non_null(out);
    assert_int_equal(esrgan_session_create(model, &o, &session, NULL), ESRGAN_OK);
    assert_int_equal(esrgan_forward(session, 1, 90, 90, in, out, NULL), ESRGAN_E_NONFINITE);
    esrgan_session_free(session);
    bool spoiled = false;
    for (int y = 0; y < 180; y++)
        for (int x = 0; x < 180; x++) {
            size_t at = (size_t)y * 180 + (size_t)x;
            if (!isfinite(out[at])) spoiled = true;
            /* 20 convolutions of whole tiles: 6 pixels each at most, from pixel 5 on */
            else if (x >= 178 && y >= 178)
                assert_true(out[at] == clean[at]);
        }
    assert_true(spoiled);
    free(out), free(clean), free(in);
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_network_agrees_with_the_oracle),
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(threads_make_no_difference),
        cmocka_unit_test(a_batch_is_its_pictures),
        cmocka_unit_test(kept_weights_make_no_difference),
        cmocka_unit_test(pairs_are_traced),
        cmocka_unit_test(nonfinite_input_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
