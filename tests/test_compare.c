/*
 * esrgan compare against a bad backend (support/faulty.c): for every fault it must name the layer
 * and the cause, and it must be silent on healthy runs.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "support/faulty.h"
#include "support/model.h"
#include "support/slow.h"

static char folder[256]; /* everything is written below it */

static const char *command(void) {
    static char path[512];
    const char *build = getenv("BUILD");
    snprintf(path, sizeof path, "%s/esrgan", build ? build : "build");
    return path;
}

/* ---- Models and inputs ---- */

typedef struct net {
    const char *name;
    pth_rrdbnet shape;
} net;

static const net NETS[] = {{"x4", {PTH_BASICSR, 3, 3, 8, 4, 1, 2, 0}},
                           {"x2plus", {PTH_BSRGAN, 12, 3, 8, 4, 1, 2, 0}},
                           {"plus", {PTH_ESRGAN, 3, 3, 8, 4, 1, 1, 1}}};

static void write_model(const pth_rrdbnet *shape, uint64_t seed, const char *path) {
    pth_list list = {0};
    size_t size;
    pth_add_rrdbnet(&list, shape);
    uint8_t *bytes = pth_write(&list, seed, &size);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    pth_clear(&list);
}

static esrgan_model *open_model(const char *path, const char *wrapper) {
    esrgan_open_options options;
    esrgan_model *model = NULL;
    esrgan_open_options_init(&options);
    options.wrapper = wrapper;
    assert_int_equal(esrgan_open_file(path, &options, &model, NULL), ESRGAN_OK);
    return model;
}

/* Something like a picture: waves, edges, and a little noise; every channel of its own. */
static double *scene(int c, int h, int w, uint32_t seed) {
    size_t n = (size_t)c * (size_t)h * (size_t)w, i = 0;
    double *v = malloc(n * sizeof *v), phase = seed % 17;
    float *grain = noise(n, seed + 1);
    assert_non_null(v);
    for (int k = 0; k < c; k++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, i++)
                v[i] = 0.45 + 0.2 * sin(0.5 * x * (k + 1) + phase) * cos(0.3 * y + k) +
                       (x > y + 3 * k ? 0.2 : 0) - (y > h / 2 ? 0.15 : 0) + 0.1 * grain[i];
    free(grain);
    for (i = 0; i < n; i++) v[i] = (float)v[i];
    return v;
}

/* ---- Running the command ---- */

typedef struct outcome {
    int status;
    char culprit[200], cause[64], layer[200], next[400];
    char *text;
} outcome;

static void find(const char *text, const char *key, char *to, size_t size) {
    char quoted[64];
    to[0] = 0;
    snprintf(quoted, sizeof quoted, "\n  \"%s\": \"", key);
    const char *p = strstr(text, quoted);
    if (!p) return;
    p += strlen(quoted);
    snprintf(to, size, "%.*s", (int)strcspn(p, "\""), p);
}

static outcome compare(const char *arguments) {
    char line[2048];
    size_t size = 0, room = 1 << 16;
    outcome o = {.text = malloc(room + 1)};
    assert_non_null(o.text);
    snprintf(line, sizeof line, "'%s' compare --json %s 2>&1", command(), arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    for (;;) {
        size_t n = fread(o.text + size, 1, room - size, pipe);
        size += n;
        if (n == 0) break;
        if (size == room) {
            o.text = realloc(o.text, (room *= 2) + 1);
            assert_non_null(o.text);
        }
    }
    o.text[size] = 0;
    int status = pclose(pipe);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    find(o.text, "culprit", o.culprit, sizeof o.culprit);
    find(o.text, "cause", o.cause, sizeof o.cause);
    find(o.text, "cause_layer", o.layer, sizeof o.layer);
    find(o.text, "next_dump", o.next, sizeof o.next);
    return o;
}

/* ---- Faults ---- */

typedef struct fault_case {
    faulty_kind kind;
    const char *net, *layer; /* NULL: everywhere */
    double amount;
    const char *dump;          /* what the tester dumped; NULL: all */
    const char *culprit;       /* first wrong value; NULL: `layer` */
    const char *cause, *other; /* either will do; other may be NULL */
    const char *cause_layer;   /* NULL: not looked at */
    const char *rounding;      /* NULL: fp32 */
} fault_case;

static const fault_case FAULTS[] = {
    {FAULTY_ACTIVATION_SKIPPED, "x4", "body.0.rdb2.conv2.act", 0, NULL, NULL, "activation-skipped",
     NULL, NULL, NULL},
    {FAULTY_ACTIVATION_SKIPPED, "x4", "conv_hr.act", 0, NULL, NULL, "activation-skipped", NULL,
     NULL, "bf16"},
    {FAULTY_SLOPE, "x4", "body.0.rdb1.conv1.act", 0.01, NULL, NULL, "wrong-slope", NULL, NULL,
     NULL},
    {FAULTY_SLOPE, "plus", "conv_up1.act", 0.25, NULL, NULL, "wrong-slope", NULL, NULL, "fp16"},
    {FAULTY_SLOPE, "x4", "conv_up2.act", 0, NULL, NULL, "wrong-slope", "rectified", NULL, NULL},
    {FAULTY_BIAS_MISSING, "x4", "body.0.rdb3.conv5", 0, NULL, NULL, "bias-missing", NULL, NULL,
     NULL},
    {FAULTY_BIAS_MISSING, "x2plus", "conv_first", 0, NULL, NULL, "bias-missing", NULL, NULL,
     "fp16"},
    {FAULTY_SCALE_MISSING, "x4", "body.0.rdb2", 0, NULL, NULL, "residual-scale-missing", NULL, NULL,
     NULL},
    {FAULTY_SCALE_MISSING, "x4", "body.0", 0, NULL, NULL, "residual-scale-missing", NULL, NULL,
     "bf16"},
    {FAULTY_SCALE, "x4", "body.0.rdb1", 0.04, NULL, NULL, "wrong-factor", NULL, NULL, NULL},
    {FAULTY_SHORTCUT_MISSING, "x4", "trunk_sum", 0, NULL, NULL, "shortcut-missing", NULL, NULL,
     NULL},
    {FAULTY_BRANCH_MISSING, "plus", "body.0.rdb1.x2", 0, NULL, NULL, "branch-missing",
     "shortcut-missing", NULL, NULL},
    {FAULTY_REFLECT, "x4", "conv_body", 0, NULL, NULL, "reflect-padding", NULL, NULL, NULL},
    {FAULTY_REPLICATE, "x4", "conv_last", 0, NULL, NULL, "replicate-padding", NULL, NULL, "fp16"},
    {FAULTY_CIRCULAR, "x4", "conv_first", 0, NULL, NULL, "circular-padding", NULL, NULL, NULL},
    {FAULTY_KERNEL_TURNED, "x4", "body.0.rdb1.conv3.pre", 0, NULL, NULL, "kernel-turned", NULL,
     NULL, NULL},
    {FAULTY_KERNEL_TRANSPOSED, "x4", "conv_body", 0, NULL, NULL, "kernel-transposed", NULL, NULL,
     NULL},
    {FAULTY_INPUTS_REVERSED, "x4", "body.0.rdb1.conv4.pre", 0, NULL, NULL, "inputs-reversed", NULL,
     NULL, NULL},
    {FAULTY_INPUT_MISSING, "x4", "body.0.rdb3.conv3.pre", 0, NULL, NULL, "input-missing", NULL,
     NULL, NULL},
    {FAULTY_READS_CHW_AS_HWC, "x4", "conv_first", 0, NULL, NULL, "chw-as-hwc", NULL, NULL, NULL},
    {FAULTY_READS_HWC_AS_CHW, "x4", "body.0.rdb2.conv5", 0, NULL, NULL, "hwc-as-chw", NULL, NULL,
     NULL},
    {FAULTY_CHW_AS_HWC, "x4", "input", 0, NULL, NULL, "chw-as-hwc", NULL, NULL, NULL},
    {FAULTY_HWC_AS_CHW, "x4", "input", 0, NULL, NULL, "hwc-as-chw", NULL, NULL, NULL},
    {FAULTY_CHW_AS_HWC, "x4", "body.0.rdb1.conv5", 0, NULL, NULL, "chw-as-hwc", NULL, NULL, NULL},
    {FAULTY_HWC_AS_CHW, "x4", "conv_up1.act", 0, NULL, NULL, "hwc-as-chw", NULL, NULL, NULL},
    {FAULTY_BGR, "x4", "input", 0, NULL, NULL, "rgb-bgr", NULL, NULL, NULL},
    {FAULTY_BGR, "x4", "conv_last", 0, NULL, NULL, "rgb-bgr", NULL, NULL, NULL},
    {FAULTY_TRANSPOSED, "x4", "input", 0, NULL, NULL, "transposed", NULL, NULL, NULL},
    {FAULTY_TRANSPOSED, "x4", "trunk_sum", 0, NULL, NULL, "transposed", NULL, NULL, NULL},
    {FAULTY_FLIPPED_X, "x4", "conv_last", 0, NULL, NULL, "flipped-x", NULL, NULL, NULL},
    {FAULTY_FLIPPED_Y, "x4", "up1.nearest", 0, NULL, NULL, "flipped-y", NULL, NULL, NULL},
    {FAULTY_SHIFTED, "x4", "up2.nearest", 0, NULL, NULL, "shifted", NULL, NULL, NULL},
    {FAULTY_SHIFTED_DOWN, "x4", "conv_up1.pre", 0, NULL, NULL, "shifted", NULL, NULL, "bf16"},
    {FAULTY_BILINEAR, "x4", "up1.nearest", 0, NULL, NULL, "nearest-is-bilinear", NULL, NULL, NULL},
    {FAULTY_BILINEAR, "x2plus", "up2.nearest", 0, NULL, NULL, "nearest-is-bilinear", NULL, NULL,
     "fp16"},
    {FAULTY_BORDER, "x4", "conv_hr.pre", 0, NULL, NULL, "border", NULL, NULL, NULL},
    {FAULTY_TILES, "x4", "conv_up2.pre", 0, NULL, NULL, "tile-seams", NULL, NULL, NULL},
    {FAULTY_CHANNELS, "x4", "conv_body", 0, NULL, NULL, "some-channels", NULL, NULL, NULL},
    {FAULTY_POWER, "x4", "conv_first", 0, NULL, NULL, "past-power-of-two", NULL, NULL, NULL},
    {FAULTY_NAN, "x4", "body.0.rdb2.conv1.pre", 0, NULL, NULL, "nonfinite", NULL, NULL, NULL},
    {FAULTY_OVERFLOW, "huge", "conv_body", 0, NULL, NULL, "fp16-overflow", NULL, NULL, NULL},
    {FAULTY_PACKED, "x4", "conv_first", 0, NULL, NULL, "packed-4-as-planes", NULL, NULL, NULL},
    {FAULTY_PERMUTED, "x4", "conv_up1.pre", 0, NULL, NULL, "channels-permuted", NULL, NULL, NULL},
    {FAULTY_ZEROS, "x4", "body.0.rdb1.conv2.act", 0, NULL, NULL, "constant", NULL, NULL, NULL},
    {FAULTY_GAIN, "x4", "input", 255, NULL, NULL, "gain-and-offset", NULL, NULL, NULL},
    {FAULTY_HALF, "x4", "conv_body", 0, NULL, NULL, "fp16-rounding", NULL, NULL, NULL},
    {FAULTY_UNSHUFFLE_ORDER, "x2plus", "unshuffle", 0, NULL, NULL, "unshuffle-order",
     "channels-permuted", NULL, NULL},
    /* Gaps in the dump: a piece is recomputed, and the layer within it named. */
    {FAULTY_ACTIVATION_SKIPPED, "x4", "body.0.rdb2.conv2.act", 0, "input,conv_first,body.0*",
     "body.0.rdb2.conv2.act", "activation-skipped", NULL, NULL, NULL},
    {FAULTY_ACTIVATION_SKIPPED, "x4", "body.0.rdb2.conv2.act", 0,
     "input,conv_first,body.0.rdb1,body.0.rdb2,body.0.rdb3,body.0", "body.0.rdb2",
     "activation-skipped", NULL, "body.0.rdb2.conv2.act", NULL},
    {FAULTY_BIAS_MISSING, "x4", "body.0.rdb3.conv5", 0,
     "input,conv_first,body.0.rdb1,body.0.rdb2,body.0.rdb3,body.0", "body.0.rdb3", "bias-missing",
     NULL, "body.0.rdb3.conv5", NULL},
    {FAULTY_BILINEAR, "x4", "up2.nearest", 0, "input,trunk_sum,conv_up1.act,conv_up2.act,conv_last",
     "conv_up2.act", "nearest-is-bilinear", NULL, "up2.nearest", NULL},
    {FAULTY_REFLECT, "x4", NULL, 0, "input,conv_last", "conv_last", "reflect-padding", NULL, NULL,
     NULL},
    {FAULTY_SLOPE, "x4", NULL, 0.1, "input,conv_first,conv_last", "conv_last", "wrong-slope", NULL,
     NULL, NULL},
};

static void path_in(char *to, size_t size, const char *name) {
    snprintf(to, size, "%s/%s", folder, name);
}

/* "huge": weights of conv_body that make its result pass 65504. */
static const pth_rrdbnet *shape_of(const char *name) {
    for (size_t i = 0; i < sizeof NETS / sizeof *NETS; i++)
        if (!strcmp(NETS[i].name, name)) return &NETS[i].shape;
    return &NETS[0].shape;
}

static void remove_folder(const char *path) {
    char line[600];
    snprintf(line, sizeof line, "rm -rf '%s'", path);
    if (system(line) != 0) fail();
}

static bool try_case(const fault_case *c) {
    char model_path[400], ref[400], test[400], line[1600];
    path_in(model_path, sizeof model_path, "model.pth");
    path_in(ref, sizeof ref, "ref");
    path_in(test, sizeof test, "test");
    write_model(shape_of(c->net), 11, model_path);
    esrgan_model *model = open_model(model_path, NULL);
    double *input = scene(3, 20, 20, 5);
    if (!strcmp(c->net, "huge"))
        for (int i = 0; i < 3 * 400; i++) input[i] *= 2e5;
    faulty healthy = {FAULTY_NONE, -1, 0, "fp64", NULL, false};
    faulty broken = {c->kind,   c->layer ? esrgan_layer_find(model, c->layer) : -1,
                     c->amount, c->rounding ? c->rounding : "fp32",
                     c->dump,   false};
    assert_true(!c->layer || broken.layer >= 0);
    assert_true(faulty_run(model, input, 20, 20, &healthy, ref, NULL));
    assert_true(faulty_run(model, input, 20, 20, &broken, test, NULL));
    snprintf(line, sizeof line, "'%s' '%s' --model '%s'", ref, test, model_path);
    outcome o = compare(line);
    const char *culprit = c->culprit ? c->culprit : c->layer;
    bool good = o.status == 1 && !strcmp(o.culprit, culprit) &&
                (!strcmp(o.cause, c->cause) || (c->other && !strcmp(o.cause, c->other))) &&
                (!c->cause_layer || !strcmp(o.layer, c->cause_layer));
    if (!good)
        print_error("%s in %s (%s): expected %s in %s, found %s in %s (%s), status %d\n%.1500s\n",
                    c->cause, c->layer ? c->layer : "all", c->net, c->cause, culprit, o.cause,
                    o.culprit, o.layer, o.status, o.text);
    free(o.text);
    free(input);
    esrgan_model_free(model);
    remove_folder(ref);
    remove_folder(test);
    return good;
}

static void every_fault_is_named(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i += share())
        wrong += !try_case(&FAULTS[i]);
    assert_int_equal(wrong, 0);
}

/* ---- Two results and no trace ---- */

static const fault_case RESULTS[] = {
    {.kind = FAULTY_ACTIVATION_SKIPPED, .net = "x4", .cause = "activation-skipped"},
    {.kind = FAULTY_SLOPE, .amount = 0.1, .net = "x4", .cause = "wrong-slope"},
    {.kind = FAULTY_BIAS_MISSING, .net = "x2plus", .cause = "bias-missing"},
    {.kind = FAULTY_SCALE_MISSING, .net = "x4", .cause = "residual-scale-missing"},
    {.kind = FAULTY_SHORTCUT_MISSING, .net = "x4", .cause = "shortcut-missing"},
    {.kind = FAULTY_REFLECT, .net = "x4", .cause = "reflect-padding"},
    {.kind = FAULTY_REPLICATE, .net = "plus", .cause = "replicate-padding"},
    {.kind = FAULTY_BILINEAR, .net = "x4", .cause = "nearest-is-bilinear"},
    {.kind = FAULTY_KERNEL_TURNED, .net = "x4", .cause = "kernel-turned"},
    {.kind = FAULTY_INPUTS_REVERSED, .net = "x4", .cause = "inputs-reversed"},
    {.kind = FAULTY_UNSHUFFLE_ORDER, .net = "x2plus", .cause = "unshuffle-order"},
    {.kind = FAULTY_CHW_AS_HWC, .net = "x4", .layer = "input", .cause = "input-chw-as-hwc"},
    {.kind = FAULTY_HWC_AS_CHW, .net = "x2plus", .layer = "input", .cause = "input-hwc-as-chw"},
    {.kind = FAULTY_BGR, .net = "x4", .layer = "input", .cause = "input-rgb-bgr"},
    {.kind = FAULTY_GAIN,
     .amount = 255,
     .net = "x4",
     .layer = "input",
     .cause = "input-not-divided"},
    {.kind = FAULTY_CHW_AS_HWC, .net = "x4", .layer = "conv_last", .cause = "chw-as-hwc"},
    {.kind = FAULTY_HWC_AS_CHW, .net = "x4", .layer = "conv_last", .cause = "hwc-as-chw"},
    {.kind = FAULTY_BGR, .net = "plus", .layer = "conv_last", .cause = "rgb-bgr"},
    {.kind = FAULTY_TRANSPOSED, .net = "x4", .layer = "conv_last", .cause = "transposed"},
    {.kind = FAULTY_FLIPPED_X, .net = "x4", .layer = "conv_last", .cause = "flipped-x"},
    {.kind = FAULTY_FLIPPED_Y, .net = "x4", .layer = "conv_last", .cause = "flipped-y"},
    {.kind = FAULTY_SHIFTED, .net = "x4", .layer = "conv_last", .cause = "shifted"},
};

static void results_alone_tell_the_cause(void **state) {
    (void)state;
    int wrong = 0;
    char model_path[400], ref[400], test[400], line[2000];
    path_in(model_path, sizeof model_path, "model.pth");
    path_in(ref, sizeof ref, "ref");
    path_in(test, sizeof test, "test");
    for (size_t i = 0; i < sizeof RESULTS / sizeof *RESULTS; i += share()) {
        const fault_case *c = &RESULTS[i];
        write_model(shape_of(c->net), 11, model_path);
        esrgan_model *model = open_model(model_path, NULL);
        double *input = scene(3, 20, 20, 5);
        faulty healthy = {FAULTY_NONE, -1, 0, "fp64", "input,output", false};
        faulty broken = {c->kind,   c->layer ? esrgan_layer_find(model, c->layer) : -1,
                         c->amount, "fp32",
                         "output",  false};
        assert_true(faulty_run(model, input, 20, 20, &healthy, ref, NULL));
        assert_true(faulty_run(model, input, 20, 20, &broken, test, NULL));
        snprintf(line, sizeof line,
                 "'%s/output.npy' '%s/output.npy' --model '%s' --input '%s/input.npy'", ref, test,
                 model_path, ref);
        outcome o = compare(line);
        if (o.status != 1 || strcmp(o.cause, c->cause) != 0) {
            print_error("%s (%s): found '%s', status %d\n%.1200s\n", c->cause, c->net, o.cause,
                        o.status, o.text);
            wrong++;
        }
        free(o.text);
        free(input);
        esrgan_model_free(model);
        remove_folder(ref);
        remove_folder(test);
    }
    assert_int_equal(wrong, 0);
}

/* Weights of `params` where those of `params_ema` were asked for: by trace and by result. */
static void other_weights_are_named(void **state) {
    (void)state;
    static const char path[] = "tests/golden/cases/params-ema-first.pth";
    char ref[400], test[400], line[2000];
    path_in(ref, sizeof ref, "ref");
    path_in(test, sizeof test, "test");
    esrgan_model *right = open_model(path, NULL), *other = open_model(path, "params");
    double *input = scene(3, 20, 20, 7);
    faulty how = {FAULTY_NONE, -1, 0, "fp32", NULL, false};
    assert_true(faulty_run(right, input, 20, 20, &how, ref, NULL));
    assert_true(faulty_run(other, input, 20, 20, &how, test, NULL));
    snprintf(line, sizeof line, "'%s' '%s' --model '%s'", ref, test, path);
    outcome o = compare(line);
    assert_int_equal(o.status, 1);
    assert_string_equal(o.culprit, "conv_first");
    assert_string_equal(o.cause, "other-weights");
    free(o.text);
    snprintf(line, sizeof line,
             "'%s/output.npy' '%s/output.npy' --model '%s' --input '%s/input.npy'", ref, test, path,
             ref);
    o = compare(line);
    assert_int_equal(o.status, 1);
    assert_string_equal(o.cause, "other-weights");
    free(o.text);
    free(input);
    esrgan_model_free(right);
    esrgan_model_free(other);
    remove_folder(ref);
    remove_folder(test);
}

/* The dump has a gap: the next value to dump lies within it. */
static void the_next_value_is_named(void **state) {
    (void)state;
    char model_path[400], ref[400], test[400], line[2000];
    path_in(model_path, sizeof model_path, "model.pth");
    path_in(ref, sizeof ref, "ref");
    path_in(test, sizeof test, "test");
    write_model(shape_of("x4"), 11, model_path);
    esrgan_model *model = open_model(model_path, NULL);
    double *input = scene(3, 20, 20, 5);
    faulty healthy = {FAULTY_NONE, -1, 0, "fp64", NULL, false};
    faulty broken = {FAULTY_CHANNELS,
                     esrgan_layer_find(model, "body.0.rdb2.conv3.pre"),
                     0,
                     "fp32",
                     "input,conv_first,body.0.rdb1,body.0.rdb2,conv_body,conv_last",
                     false};
    assert_true(faulty_run(model, input, 20, 20, &healthy, ref, NULL));
    snprintf(line, sizeof line, "'%s' '%s' --model '%s'", ref, test, model_path);
    static char dump[2000];
    snprintf(dump, sizeof dump, "%s", broken.dump);
    broken.dump = dump;
    for (int step = 0;; step++) { /* asked for, dumped, asked again: down to the layer itself */
        assert_true(step < 6);
        assert_true(faulty_run(model, input, 20, 20, &broken, test, NULL));
        outcome o = compare(line);
        assert_int_equal(o.status, 1);
        remove_folder(test);
        if (!o.next[0]) {
            assert_string_equal(o.culprit, "body.0.rdb2.conv3.pre");
            free(o.text);
            break;
        }
        assert_null(strstr(dump, o.next));
        snprintf(dump + strlen(dump), sizeof dump - strlen(dump), ",%s", o.next);
        free(o.text);
    }
    free(input);
    esrgan_model_free(model);
    remove_folder(ref);
}

/* ---- No false alarms ---- */

/* The command with these arguments; its exit status. */
static int run_command(const char *arguments) {
    char line[2048];
    snprintf(line, sizeof line, "'%s' %s >/dev/null 2>&1", command(), arguments);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The library's own backends against the oracle.  A backend that shows nothing of what goes on
 * between layers is compared by its result. */
static int check_backend(uint32_t k, const char *model, const char *ref, const char *test) {
    static const struct {
        const char *backend, *precision, *tolerance;
    } ways[] = {{"reference", "fp32", "fp32"},  {"openblas", "fp32", "fp32"},
                {"reference", "fp16", "fp16"},  {"reference", "bf16", "bf16"},
                {"native", "fp32", "winograd"}, {"native", "fp16", "fp16"},
                {"native", "bf16", "bf16"}};
    char line[2000];
    int i = (int)(k % (sizeof ways / sizeof *ways));
    snprintf(line, sizeof line, "trace '%s' '%s/input.npy' -o '%s' -q -j 2 -b %s -p %s", model, ref,
             test, ways[i].backend, ways[i].precision);
    bool traced = run_command(line) == 0;
    if (traced) {
        snprintf(line, sizeof line, "'%s' '%s' --model '%s' -t %s", ref, test, model,
                 ways[i].tolerance);
    } else {
        assert_string_equal(ways[i].backend, "native");
        snprintf(line, sizeof line,
                 "forward -m '%s' '%s/input.npy' -o '%s.npy' -q -j 2 -b native -p %s", model, ref,
                 test, ways[i].precision);
        assert_int_equal(run_command(line), 0);
        snprintf(line, sizeof line, "'%s/conv_last.npy' '%s.npy' -t %s", ref, test,
                 ways[i].tolerance);
    }
    outcome o = compare(line);
    if (o.status != 0)
        print_error("network %u, %s %s (%s): status %d\n%.1500s\n", k, ways[i].backend,
                    ways[i].precision, traced ? "trace" : "result", o.status, o.text);
    free(o.text);
    if (traced) remove_folder(test);
    return o.status != 0;
}

static void healthy_runs_are_left_alone(void **state) {
    (void)state;
    static const char *const roundings[] = {"fp64", "fp32", "fp16", "bf16"};
    char model_path[400], ref[400], test[400], line[1600];
    int wrong = 0;
    path_in(model_path, sizeof model_path, "random.pth");
    path_in(ref, sizeof ref, "ref");
    path_in(test, sizeof test, "test");
    for (uint32_t k = 0; k < 50; k += share()) {
        pth_rrdbnet shape = {(pth_layout)(k % 3),           k % 5 == 4 ? 12 : 3, 3,
                             4 + (int)(k * 7 % 12),         2 + (int)(k % 6),    1 + k % 2,
                             k % 5 == 4 ? 2 : (int)(k % 3), k % 4 == 3};
        int h = 6 + 2 * (int)(k % 5), w = 6 + 2 * (int)(k * 3 % 7);
        static const char *const gaps[] = {NULL, "input,conv_first,body.0,conv_last",
                                           "input,conv_last,output", NULL};
        write_model(&shape, 100 + k, model_path);
        esrgan_model *model = open_model(model_path, NULL);
        double *input = scene(3, h, w, k);
        faulty right = {FAULTY_NONE, -1, 0, "fp64", NULL, false};
        faulty rounded = {FAULTY_NONE, -1, 0, roundings[k % 4], gaps[k / 4 % 4], k % 3 == 1};
        assert_true(faulty_run(model, input, h, w, &right, ref, NULL));
        assert_true(faulty_run(model, input, h, w, &rounded, test, NULL));
        snprintf(line, sizeof line, "'%s' '%s' --model '%s'", ref, test, model_path);
        outcome o = compare(line);
        if (o.status != 0) {
            print_error("network %u (%s): status %d\n%.1500s\n", k, rounded.rounding, o.status,
                        o.text);
            wrong++;
        }
        free(o.text);
        free(input);
        esrgan_model_free(model);
        remove_folder(test);
        wrong += check_backend(k, model_path, ref, test);
        remove_folder(ref);
    }
    assert_int_equal(wrong, 0);
}

static int set_up(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/esrgan-compare-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    remove_folder(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_is_named),
        cmocka_unit_test(results_alone_tell_the_cause),
        cmocka_unit_test(other_weights_are_named),
        cmocka_unit_test(the_next_value_is_named),
        cmocka_unit_test(healthy_runs_are_left_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
