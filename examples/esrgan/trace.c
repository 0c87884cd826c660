/* esrgan trace: runs a network on one input and writes every value on the way. */
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "json.h"
#include "network_input.h"
#include "progress.h"
#include "session.h"
#include "trace_write.h"

typedef struct trace_settings {
    const char *out, *layers;
    int stats_only;
} trace_settings;

static const option TRACE_OPTIONS[] = {
    {'o', "output", NULL, OPTION_TEXT, "DIR|FILE.npz", "where the trace goes (needed)",
     offsetof(trace_settings, out), 0, 0, NULL},
    {0, "layers", NULL, OPTION_TEXT, "GLOB",
     "only values whose names match: globs with * and ?, separated by commas",
     offsetof(trace_settings, layers), 0, 0, NULL},
    {0, "stats-only", NULL, OPTION_FLAG, NULL,
     "statistics, hash and 1024 samples of each value, no data",
     offsetof(trace_settings, stats_only), 0, 0, NULL},
    {0}};

typedef struct run {
    const esrgan_model *model;
    trace_writer writer;
    const trace_settings *settings;
    bool failed; /* writing failed, and was complained about */
} run;

static int keep_value(void *context, const esrgan_trace_value *value) {
    run *r = context;
    const char *inputs[9] = {NULL};
    esrgan_layer layer = {.size = sizeof layer}, from = {.size = sizeof from};
    if (esrgan_layer_get(r->model, esrgan_layer_find(r->model, value->name), &layer, NULL) ==
        ESRGAN_OK)
        for (int i = 0; i < layer.input_count; i++) {
            esrgan_layer_get(r->model, layer.inputs[i], &from, NULL);
            inputs[i] = from.name;
        }
    r->failed = !trace_write_value(&r->writer, value->name, value->op, value->dtype, value->dims,
                                   value->data, value->statistics, inputs);
    return r->failed;
}

/* As the session's own filter does it. */
static bool wanted(const char *globs, const char *name) {
    while (globs) {
        char one[256];
        size_t size = strcspn(globs, ",");
        snprintf(one, sizeof one, "%.*s", (int)size, globs);
        if (fnmatch(one, name, 0) == 0) return true;
        globs = globs[size] ? globs + size + 1 : NULL;
        if (!globs) return false;
    }
    return true;
}

/* A value that is not the network's own. */
static bool keep_more(run *r, const char *name, const char *op, esrgan_dtype dtype,
                      const int64_t dims[4], const void *data, const char *const *inputs) {
    esrgan_statistics statistics = {.size = sizeof statistics};
    const uint64_t count = (uint64_t)(dims[1] * dims[2] * dims[3]);
    if (!wanted(r->settings->layers, name)) return true;
    return !esrgan_statistics_compute(dtype, data, count, &statistics, NULL) &&
           trace_write_value(&r->writer, name, op, dtype, dims, data, &statistics, inputs);
}

/* The picture made of what the network returned: clamped, and as 8 bits, without the padding. */
static bool keep_picture(run *r, const float *out, int c, int h, int w, int stride, int rows) {
    size_t count = (size_t)c * (size_t)h * (size_t)w;
    float *clamped = allocate(count, sizeof *clamped);
    uint8_t *bytes = allocate(count, 1);
    bool good = clamped && bytes;
    for (size_t i = 0; good && i < count; i++) {
        size_t x = i % (size_t)w, y = i / (size_t)w % (size_t)h, plane = i / (size_t)w / (size_t)h;
        float v = out[(plane * (size_t)rows + y) * (size_t)stride + x];
        clamped[i] = v < 0 ? 0 : v > 1 ? 1 : v; /* NaN stays */
        bytes[i] = (uint8_t)(v > 0 ? lroundf(255 * fminf(v, 1)) : 0);
    }
    const int64_t dims[4] = {1, c, h, w};
    const char *const last[] = {"conv_last", NULL}, *const output[] = {"output", NULL};
    good = good && keep_more(r, "output", "clamp", ESRGAN_F32, dims, clamped, last) &&
           keep_more(r, "output.u8", "round", ESRGAN_U8, dims, bytes, output);
    free(clamped);
    free(bytes);
    return good;
}

/* The manifest's first members, the caller's to free. */
static char *manifest_head(const run *r, const char *model_path, const char *input,
                           const esrgan_session *session) {
    char *text = NULL;
    size_t size;
    uint8_t digest[32];
    esrgan_model_info info = {.size = sizeof info};
    esrgan_session_info how = {.size = sizeof how};
    FILE *to = open_memstream(&text, &size);
    if (!to) return NULL;
    esrgan_model_get_info(r->model, &info, NULL);
    esrgan_session_get_info(session, &how, NULL);
    fprintf(to, "\"producer\": \"esrgan %s\",\n  \"model\": {\"file\": ", esrgan_version_string());
    json_quote(to, path_name(model_path));
    if (esrgan_model_sha256(r->model, digest, NULL) == ESRGAN_OK) {
        fputs(", \"sha256\": \"", to);
        for (int i = 0; i < 32; i++) fprintf(to, "%02x", digest[i]);
        putc('"', to);
    }
    fputs(", \"wrapper\": ", to);
    json_quote(to, info.wrapper);
    fputs("},\n  \"input\": ", to);
    json_quote(to, path_name(input));
    fprintf(to,
            ",\n  \"precision\": \"%s\",\n  \"backend\": \"%s\",\n  \"tier\": \"%s\",\n"
            "  \"threads\": %d,\n  \"stats_only\": %s",
            how.precision, how.backend, how.tier, how.threads,
            r->settings->stats_only ? "true" : "false");
    if (fclose(to) == 0) return text;
    free(text);
    return NULL;
}

static bool run_network(run *r, esrgan_session *session, const tensor *input, int height, int width,
                        const esrgan_model_info *info) {
    size_t scale = (size_t)info->scale, in_count = tensor_count(input);
    size_t out_count =
        (size_t)info->out_channels * (size_t)input->h * scale * (size_t)input->w * scale;
    float *in = allocate(in_count, sizeof *in), *out = allocate(out_count, sizeof *out);
    bool good = in && out;
    for (size_t i = 0; good && i < in_count; i++) in[i] = (float)input->v[i];
    if (good) {
        esrgan_error error;
        progress_begin("trace");
        esrgan_status status = esrgan_forward(session, 1, input->h, input->w, in, out, &error);
        progress_end();
        if (status && !r->failed) complain("%s", error.message);
        good = !status;
    }
    int s = info->scale;
    good = good && keep_picture(r, out, info->out_channels, height * s, width * s, input->w * s,
                                input->h * s);
    free(in);
    free(out);
    return good;
}

static int trace(const trace_settings *settings, const run_settings *how, const char *model_path,
                 const char *input_path) {
    esrgan_model_info info = {.size = sizeof info};
    esrgan_session_options options;
    run r = {.settings = settings};
    esrgan_error error;
    tensor input = {0};
    int height, width, code = EXIT_FAILED;
    model_settings which = {.file = model_path};
    char *path = NULL, *head = NULL;
    esrgan_model *model = model_open(&which, &path);
    esrgan_session *session = NULL;
    r.model = model;
    if (!model) return EXIT_FAILED;
    run_options(how, &options);
    options.trace = keep_value;
    options.trace_context = &r;
    options.trace_filter = settings->layers;
    options.trace_content = settings->stats_only ? ESRGAN_TRACE_STATISTICS : ESRGAN_TRACE_BOTH;
    options.check_finite = 0;
    bool good = !esrgan_model_get_info(model, &info, NULL) &&
                network_input(input_path, &info, &input, &height, &width);
    if (good && esrgan_session_create(model, &options, &session, &error)) {
        complain("%s", error.message);
        good = false;
    }
    if (good && trace_write_begin(&r.writer, settings->out, settings->stats_only)) {
        good = run_network(&r, session, &input, height, width, &info);
        int values = r.writer.count;
        if (good && values == 0) complain("no value matches --layers %s", settings->layers);
        head = good && values ? manifest_head(&r, path, input_path, session) : NULL;
        if (!head)
            trace_write_abandon(&r.writer);
        else if (trace_write_end(&r.writer, head))
            code = EXIT_DONE;
        if (code == EXIT_DONE) tell("%s: %d values", settings->out, values);
    }
    free(head);
    free(path);
    tensor_free(&input);
    esrgan_session_free(session);
    esrgan_model_free(model);
    return code;
}

int cmd_trace(int argc, char **argv) {
    trace_settings settings = {0};
    run_settings how = {0};
    const option_group groups[] = {
        {TRACE_OPTIONS, &settings}, {RUN_OPTIONS, &how}, {QUIET_OPTIONS, &quiet}, {NULL, NULL}};
    const command_line line = {
        "trace", "[options] MODEL IN -o DIR|FILE.npz",
        "Runs a network on one input, a picture or a .npy tensor, and writes every value on the\n"
        "way: .npy files and a manifest.json in a folder, or one .npz file.  Two traces are\n"
        "compared by 'esrgan compare'.",
        "Exit status: 0 written, 1 failed, 2 wrong usage, 130 interrupted.", groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    if (operands.count != 2 || !settings.out) {
        complain("trace: expected a model, an input and -o; 'esrgan trace --help' explains");
        code = EXIT_USAGE;
    } else {
        interrupt_watch();
        code = trace(&settings, &how, operands.items[0], operands.items[1]);
        if (interrupted()) code = EXIT_INTERRUPTED;
    }
    operands_free(&operands);
    return code;
}
