/* esrgan forward: the network alone, tensor in, tensor out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "esrgan.h"
#include "files.h"
#include "json.h"
#include "npy.h"
#include "options.h"
#include "progress.h"
#include "session.h"

typedef struct forward_settings {
    const char *out;
    int repeat, keep_weights, json;
} forward_settings;

static const option OPTIONS[] = {
    {.letter = 'o',
     .name = "output",
     .kind = OPTION_TEXT,
     .value = "OUT.npy",
     .help = "Where the network's output goes, not clamped; - for standard output. Needed, but "
             "with --json or --repeat.",
     .offset = offsetof(forward_settings, out)},
    {.name = "repeat",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Run N times in one session, to measure.",
     .offset = offsetof(forward_settings, repeat),
     .min = 1,
     .max = 1000000},
    {.name = "keep-weights",
     .kind = OPTION_FLAG,
     .help = "Keep the weights in the kernels' form between runs.",
     .offset = offsetof(forward_settings, keep_weights)},
    {.name = "json",
     .kind = OPTION_FLAG,
     .help = "Report times, memory and kernels as JSON on standard output.",
     .offset = offsetof(forward_settings, json)},
    {0},
};

typedef struct forward_run {
    esrgan_model *model;
    esrgan_session *session;
    char *path;
    esrgan_model_info info;
    npy_header header;
    int n, height, width;
    float *input, *output;
    int64_t out_dims[4];
    double open_s, *run_s;
    int runs;
} forward_run;

/* N x C x H x W, or C x H x W for one picture, and fit for the model. */
static bool check_shape(forward_run *f, const char *name) {
    const npy_header *h = &f->header;
    int first = h->ndim - 3;
    if (h->ndim != 4 && h->ndim != 3) {
        complain("%s: %d dimensions; expected 4 (N, C, H, W) or 3 (C, H, W)", name, h->ndim);
        return false;
    }
    if (!npy_check_dims(h, name)) return false;
    if (h->dims[first] != f->info.in_channels) {
        complain("%s: %lld channels; %s takes %d", name, (long long)h->dims[first], f->path,
                 f->info.in_channels);
        return false;
    }
    f->n = first ? (int)h->dims[0] : 1;
    f->height = (int)h->dims[first + 1];
    f->width = (int)h->dims[first + 2];
    f->out_dims[0] = f->n;
    f->out_dims[1] = f->info.out_channels;
    f->out_dims[2] = (int64_t)f->height * f->info.scale;
    f->out_dims[3] = (int64_t)f->width * f->info.scale;
    return true;
}

static bool open_all(forward_run *f, const model_settings *model, const run_settings *run,
                     const forward_settings *s) {
    esrgan_error error;
    esrgan_session_options options;
    double started = seconds_now();
    f->model = model_open(model, &f->path);
    if (!f->model) return false;
    run_options(run, &options);
    options.keep_weights = s->keep_weights;
    f->info.size = sizeof f->info;
    if (esrgan_model_get_info(f->model, &f->info, &error) != ESRGAN_OK ||
        esrgan_session_create(f->model, &options, &f->session, &error) != ESRGAN_OK) {
        complain("%s", error.message);
        return false;
    }
    f->open_s = seconds_now() - started;
    return true;
}

static bool run_all(forward_run *f, int repeat) {
    size_t count = (size_t)f->out_dims[0] * (size_t)f->out_dims[1] * (size_t)f->out_dims[2] *
                   (size_t)f->out_dims[3];
    f->output = allocate(count, sizeof *f->output);
    f->run_s = allocate((size_t)repeat, sizeof *f->run_s);
    if (!f->output || !f->run_s) return false;
    for (; f->runs < repeat; f->runs++) {
        esrgan_error error;
        double started = seconds_now();
        progress_span((double)f->runs / repeat, (double)(f->runs + 1) / repeat);
        esrgan_status status =
            esrgan_forward(f->session, f->n, f->height, f->width, f->input, f->output, &error);
        f->run_s[f->runs] = seconds_now() - started;
        /* The raw output is what was asked for: written all the same. */
        if (status == ESRGAN_E_NONFINITE && f->runs == 0) warn("%s", error.message);
        if (status != ESRGAN_OK && status != ESRGAN_E_NONFINITE) {
            complain("%s", status == ESRGAN_E_CANCELLED ? "interrupted" : error.message);
            return false;
        }
    }
    return true;
}

static void report_as_json(const forward_run *f, const char *in, const char *out) {
    json j;
    json_begin(&j, stdout);
    json_text(&j, "model", f->path);
    json_text(&j, "input", in);
    json_text(&j, "output", out);
    json_list(&j, "shape");
    for (int i = 0; i < 4; i++) json_integer(&j, NULL, f->out_dims[i]);
    json_close_list(&j);
    session_json(&j, f->session);
    json_number(&j, "open_s", f->open_s);
    json_list(&j, "run_s");
    for (int i = 0; i < f->runs; i++) json_number(&j, NULL, f->run_s[i]);
    json_close_list(&j);
    json_integer(&j, "peak_rss_bytes", (int64_t)peak_rss());
    json_end(&j);
}

static void report_as_text(const forward_run *f, const char *in, const char *out) {
    double best = f->run_s[0];
    for (int i = 1; i < f->runs; i++)
        if (f->run_s[i] < best) best = f->run_s[i];
    tell("%s -> %s: %lld x %lld x %lld x %lld, %.3f s%s", in, out ? out : "nowhere",
         (long long)f->out_dims[0], (long long)f->out_dims[1], (long long)f->out_dims[2],
         (long long)f->out_dims[3], best, f->runs > 1 ? " (the best)" : "");
}

static int forward(const char *in, const forward_settings *s, const model_settings *model,
                   const run_settings *run) {
    forward_run f = {0};
    bool good =
        open_all(&f, model, run, s) && npy_read(in, &f.header, &f.input) && check_shape(&f, in);
    if (good) {
        progress_begin(in);
        good = run_all(&f, s->repeat);
        progress_end();
    }
    if (good && s->out) good = npy_write(s->out, 4, f.out_dims, f.output);
    if (good && s->json)
        report_as_json(&f, in, s->out);
    else if (good)
        report_as_text(&f, in, s->out);
    free(f.input);
    free(f.output);
    free(f.run_s);
    esrgan_session_free(f.session);
    esrgan_model_free(f.model);
    free(f.path);
    return interrupted() ? EXIT_INTERRUPTED : good ? EXIT_DONE : EXIT_FAILED;
}

static int check_usage(const forward_settings *s, const operand_list *operands) {
    const char *wrong = NULL;
    bool to_stdout = s->out && !strcmp(s->out, "-");
    if (operands->count != 1)
        wrong = "one tensor (.npy) is needed";
    else if (!s->out && !s->json && s->repeat == 1)
        wrong = "-o OUT.npy is needed";
    else if (to_stdout && s->json)
        wrong = "--json and the tensor cannot both go to standard output";
    else if (to_stdout && isatty(STDOUT_FILENO))
        wrong = "standard output is a terminal: name a file with -o";
    if (!wrong) return -1;
    complain("forward: %s", wrong);
    return EXIT_USAGE;
}

int cmd_forward(int argc, char **argv) {
    forward_settings s = {.repeat = 1};
    model_settings model = {0};
    run_settings run = {0};
    const option_group groups[] = {{OPTIONS, &s},
                                   {MODEL_OPTIONS, &model},
                                   {RUN_OPTIONS, &run},
                                   {QUIET_OPTIONS, &quiet},
                                   {NULL, NULL}};
    const command_line line = {
        .name = "forward",
        .synopsis = "[options] -m MODEL IN.npy -o OUT.npy",
        .about =
            "Runs the network alone: what RRDBNet.forward returns, neither padded nor clamped.\n"
            "IN.npy is N x C x H x W (or C x H x W), normally in [0, 1]; f2, f4, f8 or u1\n"
            "are taken, float32 is written. - is standard input.\n",
        .groups = groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    code = check_usage(&s, &operands);
    if (code < 0) {
        interrupt_watch();
        code = forward(operands.items[0], &s, &model, &run);
    }
    operands_free(&operands);
    return finish_output(code);
}
