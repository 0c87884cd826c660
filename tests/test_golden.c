/*
 * What PyTorch makes of small networks (tests/golden), against the library through its public
 * interface: every case, every backend that takes it, every precision.
 *
 * Bounds.  S is the largest value of the true output (PyTorch in float64).
 *   fp64  the library's sums are in double too, so only the rounding of the result to float32
 *         remains: half a unit of each value, and 1e-12 S for the order of sums.
 *   fp32  1e-5 S, from PyTorch's float32 and from the truth.
 *   fp16, bf16  The measure is what PyTorch's half model itself is off, e: the root of the mean
 *         square of its distance from the truth, with the unit of the format at S as its floor.
 *         The plain engine rounds where PyTorch does and differs in how sums are ordered, which
 *         now and then turns a rounding around: within PLAIN_FROM_TORCH e of PyTorch (the
 *         reference, whose sums are in double, comes out the same bit for bit).  The native engine
 *         may round at fewer points, so its noise is another of the same size: two such are apart
 *         by the root of 2, hence NATIVE_FROM_TORCH e.  Both are no farther from the truth than
 *         HALF_FROM_TRUTH e.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "support/npy.h"

#define FOLDER            "tests/golden"
#define PLAIN_FROM_TORCH  0.5
#define NATIVE_FROM_TORCH 1.5
#define HALF_FROM_TRUTH   1.25

enum { INPUT, F64, F32, F16, BF16, ARRAYS };

typedef struct golden {
    char name[64];
    esrgan_model *model;
    esrgan_model_info info;
    npy arrays[ARRAYS];
    float *input, *output;
    double scale; /* S */
} golden;

static void load(golden *g, const char *name, const char *wrapper, int up_factor) {
    *g = (golden){.info = {.size = sizeof g->info}};
    snprintf(g->name, sizeof g->name, "%s", name);
    char path[256];
    snprintf(path, sizeof path, FOLDER "/cases/%s.pth", name);
    esrgan_open_options options;
    esrgan_open_options_init(&options);
    options.verify = 1;
    options.wrapper = strcmp(wrapper, "-") == 0 ? NULL : wrapper;
    options.up_factor = up_factor;
    esrgan_error error;
    if (esrgan_open_file(path, &options, &g->model, &error) != ESRGAN_OK)
        fail_msg("%s: %s", name, error.message);
    assert_int_equal(esrgan_model_get_info(g->model, &g->info, NULL), ESRGAN_OK);

    snprintf(path, sizeof path, FOLDER "/cases/%s.npy", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (int i = 0; i < ARRAYS; i++) {
        if (!npy_read(file, &g->arrays[i])) fail_msg("%s: array %d cannot be read", path, i);
        assert_int_equal(g->arrays[i].ndim, 4);
    }
    fclose(file);
    const int64_t *in = g->arrays[INPUT].shape, *out = g->arrays[F64].shape;
    assert_int_equal(in[1], g->info.in_channels);
    assert_int_equal(out[1], g->info.out_channels);
    assert_int_equal(out[2], in[2] * g->info.scale);
    assert_int_equal(out[3], in[3] * g->info.scale);
    g->input = malloc(g->arrays[INPUT].count * sizeof(float));
    g->output = malloc(g->arrays[F64].count * sizeof(float));
    assert_true(g->input != NULL && g->output != NULL);
    for (size_t i = 0; i < g->arrays[INPUT].count; i++)
        g->input[i] = (float)g->arrays[INPUT].data[i];
    for (size_t i = 0; i < g->arrays[F64].count; i++)
        g->scale = fmax(g->scale, fabs(g->arrays[F64].data[i]));
    assert_true(g->scale > 0.01);
}

static void unload(golden *g) {
    for (int i = 0; i < ARRAYS; i++) npy_free(&g->arrays[i]);
    free(g->input);
    free(g->output);
    esrgan_model_free(g->model);
}

/* Runs the network; false where a tier of the native backend says that it does not do this. */
static bool run(golden *g, esrgan_backend backend, const char *tier, esrgan_precision precision) {
    esrgan_session_options options;
    esrgan_session_options_init(&options);
    options.backend = backend;
    options.isa = tier;
    options.precision = precision;
    options.threads = 2;
    esrgan_session *session;
    esrgan_error error;
    esrgan_status status = esrgan_session_create(g->model, &options, &session, &error);
    if (status == ESRGAN_E_UNSUPPORTED && backend == ESRGAN_NATIVE) return false;
    if (status != ESRGAN_OK) fail_msg("%s: %s", g->name, error.message);
    esrgan_session_info info = {.size = sizeof info};
    assert_int_equal(esrgan_session_get_info(session, &info, NULL), ESRGAN_OK);
    if (tier != NULL) assert_string_equal(info.tier, tier); /* the one meant is the one that runs */
    const int64_t *in = g->arrays[INPUT].shape;
    for (size_t i = 0; i < g->arrays[F64].count; i++) g->output[i] = NAN;
    status =
        esrgan_forward(session, (int)in[0], (int)in[2], (int)in[3], g->input, g->output, &error);
    if (status != ESRGAN_OK) fail_msg("%s: %s", g->name, error.message);
    esrgan_session_free(session);
    return true;
}

/* Largest difference and root of the mean square; NaN anywhere makes both infinite. */
typedef struct distance {
    double most, rms;
} distance;

static distance between(const double *a, const double *b, size_t count) {
    distance d = {0};
    for (size_t i = 0; i < count; i++) {
        double difference = fabs(a[i] - b[i]);
        if (!(difference < INFINITY)) return (distance){INFINITY, INFINITY};
        d.most = fmax(d.most, difference);
        d.rms += difference * difference;
    }
    d.rms = sqrt(d.rms / (double)count);
    return d;
}

/* The library's output of the last run, against one of the stored ones. */
static distance from(const golden *g, int which) {
    size_t count = g->arrays[which].count;
    double *own = malloc(count * sizeof *own);
    assert_non_null(own);
    for (size_t i = 0; i < count; i++) own[i] = g->output[i];
    distance d = between(own, g->arrays[which].data, count);
    free(own);
    return d;
}

/* How far the last run is from PyTorch and from the truth, in units of what is allowed. */
typedef struct verdict {
    double torch, truth;
} verdict;

static verdict judge_fp64(const golden *g) {
    verdict v = {0};
    for (size_t i = 0; i < g->arrays[F64].count; i++) {
        double truth = g->arrays[F64].data[i];
        double bound = fabs(truth) * 0x1p-24 + 1e-12 * g->scale;
        double excess = fabs(g->output[i] - truth) / bound;
        v.truth = excess < INFINITY ? fmax(v.truth, excess) : INFINITY;
    }
    return v;
}

static verdict judge_fp32(const golden *g) {
    double bound = 1e-5 * g->scale;
    return (verdict){from(g, F32).most / bound, from(g, F64).most / bound};
}

static verdict judge_half(const golden *g, esrgan_backend backend, int which) {
    double unit = which == F16 ? 0x1p-11 : 0x1p-8;
    const npy *truth = &g->arrays[F64];
    double e = between(g->arrays[which].data, truth->data, truth->count).rms;
    e = fmax(e, unit * g->scale);
    bool is_plain = backend == ESRGAN_REFERENCE || backend == ESRGAN_OPENBLAS;
    double from_torch = is_plain ? PLAIN_FROM_TORCH : NATIVE_FROM_TORCH;
    return (verdict){from(g, which).rms / (from_torch * e),
                     from(g, F64).rms / (HALF_FROM_TRUTH * e)};
}

static verdict judge(const golden *g, esrgan_backend backend, esrgan_precision precision) {
    switch (precision) {
    case ESRGAN_FP64: return judge_fp64(g);
    case ESRGAN_FP32: return judge_fp32(g);
    case ESRGAN_FP16: return judge_half(g, backend, F16);
    case ESRGAN_BF16: return judge_half(g, backend, BF16);
    }
    return (verdict){INFINITY, INFINITY};
}

static const char *const backends[] = {"auto", "reference", "openblas", "native"};

/* Every case through one backend (one tier of it) at one precision; all that fail are listed.
 * Returns how many ran. */
static int all_cases(esrgan_backend backend, const char *tier, esrgan_precision precision) {
    FILE *list = fopen(FOLDER "/cases.txt", "r");
    if (list == NULL) fail_msg(FOLDER "/cases.txt: run from the top of the checkout");
    char name[64], wrapper[64];
    int up_factor, cases = 0, ran = 0, failed = 0;
    verdict worst = {0};
    while (fscanf(list, "%63s %63s %d", name, wrapper, &up_factor) == 3) {
        golden g;
        load(&g, name, wrapper, up_factor);
        cases++;
        if (run(&g, backend, tier, precision)) {
            verdict v = judge(&g, backend, precision);
            ran++;
            worst = (verdict){fmax(worst.torch, v.torch), fmax(worst.truth, v.truth)};
            if (!(v.torch <= 1 && v.truth <= 1)) {
                failed++;
                print_error("%s: %.3g of its bound from PyTorch, %.3g from the truth\n", name,
                            v.torch, v.truth);
            }
        }
        unload(&g);
    }
    fclose(list);
    print_message("%s: %d of %d cases ran; at most %.3g of the bound from PyTorch, %.3g from the "
                  "truth\n",
                  tier != NULL ? tier : backends[backend], ran, cases, worst.torch, worst.truth);
    assert_true(cases >= 40);
    assert_int_equal(failed, 0);
    return ran;
}

/* A backend that takes every case. */
static void whole(esrgan_backend backend, esrgan_precision precision) {
    assert_true(all_cases(backend, NULL, precision) >= 40);
}

/* Every tier that this CPU has, by name. */
static void native(esrgan_precision precision) {
    int ran = 0;
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        assert_int_equal(esrgan_tier_get(i, &tier, NULL), ESRGAN_OK);
        if (tier.usable) ran += all_cases(ESRGAN_NATIVE, tier.name, precision);
    }
    assert_true(ran >= 40);
}

#define GOLDEN(name, call)                                                                         \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        call;                                                                                      \
    }
GOLDEN(reference_fp64, whole(ESRGAN_REFERENCE, ESRGAN_FP64))
GOLDEN(reference_fp32, whole(ESRGAN_REFERENCE, ESRGAN_FP32))
GOLDEN(reference_fp16, whole(ESRGAN_REFERENCE, ESRGAN_FP16))
GOLDEN(reference_bf16, whole(ESRGAN_REFERENCE, ESRGAN_BF16))
GOLDEN(openblas_fp32, whole(ESRGAN_OPENBLAS, ESRGAN_FP32))
GOLDEN(openblas_fp16, whole(ESRGAN_OPENBLAS, ESRGAN_FP16))
GOLDEN(openblas_bf16, whole(ESRGAN_OPENBLAS, ESRGAN_BF16))
GOLDEN(auto_fp32, whole(ESRGAN_AUTO, ESRGAN_FP32))
GOLDEN(auto_fp16, whole(ESRGAN_AUTO, ESRGAN_FP16))
GOLDEN(auto_bf16, whole(ESRGAN_AUTO, ESRGAN_BF16))
GOLDEN(native_fp32, native(ESRGAN_FP32))
GOLDEN(native_fp16, native(ESRGAN_FP16))
GOLDEN(native_bf16, native(ESRGAN_BF16))

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_fp64), cmocka_unit_test(reference_fp32),
        cmocka_unit_test(reference_fp16), cmocka_unit_test(reference_bf16),
        cmocka_unit_test(openblas_fp32),  cmocka_unit_test(openblas_fp16),
        cmocka_unit_test(openblas_bf16),  cmocka_unit_test(native_fp32),
        cmocka_unit_test(native_fp16),    cmocka_unit_test(native_bf16),
        cmocka_unit_test(auto_fp32),      cmocka_unit_test(auto_fp16),
        cmocka_unit_test(auto_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
