/* esrgan compare: two traces, tensors or pictures; what is wrong, since which layer, and why. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "network_input.h"
#include "progress.h"

#define SETTING(member) .offset = offsetof(compare_settings, member)

static const option COMPARE_OPTIONS[] = {
    {.letter = 'm',
     .name = "model",
     .kind = OPTION_TEXT,
     .value = "MODEL",
     SETTING(model),
     .help = "The model (.pth): layers are recomputed in float64 from the tester's own input."},
    {.name = "wrapper",
     .kind = OPTION_TEXT,
     .value = "KEY",
     SETTING(wrapper),
     .help = "Which dictionary of the checkpoint holds the weights."},
    {.name = "up-factor",
     .kind = OPTION_INT,
     .value = "N",
     SETTING(up_factor),
     .min = 2,
     .max = 3,
     .help = "3 for the x3 models of the old layout."},
    {.letter = 'i',
     .name = "input",
     .kind = OPTION_TEXT,
     .value = "IN",
     SETTING(input),
     .help = "What the network was given: a picture or a .npy tensor."},
    {.name = "map",
     .kind = OPTION_TEXT,
     .value = "FILE",
     SETTING(map),
     .help = "Names of the test's values: lines THEIRS OURS."},
    {.letter = 't',
     .name = "tolerance",
     .kind = OPTION_CHOICE,
     .value = "PRESET",
     SETTING(tolerance),
     .choices = TOLERANCE_NAMES,
     .help = "auto (default: by the precision that the traces name; winograd for those of our "
             "native kernels), fp32, fp16, bf16 or winograd."},
    {.name = "json", .kind = OPTION_FLAG, SETTING(json), .help = "The result as JSON."},
    {.name = "html",
     .kind = OPTION_TEXT,
     .value = "FILE",
     SETTING(html),
     .help = "Writes a report with pictures and a chart: one file, no network needed."},
    {.name = "extract",
     .kind = OPTION_TEXT,
     .value = "LAYER",
     SETTING(extract),
     .help = "Writes x, w, b, y_ref, y_test as .npy and a repro.py for one layer."},
    {.letter = 'o',
     .name = "output",
     .kind = OPTION_TEXT,
     .value = "DIR",
     SETTING(out),
     .help = "Where --extract writes. Default: the layer's name."},
    {.letter = 'j',
     .name = "threads",
     .kind = OPTION_INT,
     .value = "N",
     SETTING(threads),
     .min = 1,
     .max = 64,
     .help = "Threads for recomputing. Default: 2."},
    {0}};

/* An open trace, tensor or picture. */
typedef struct side {
    enum { SIDE_TRACE, SIDE_TENSOR, SIDE_PICTURE } kind;
    trace_file trace;
    tensor value;
} side;

static bool side_open(side *s, const char *path, const name_map *map, const side *like) {
    *s = (side){.kind = SIDE_PICTURE};
    if (is_tensor_name(path)) s->kind = SIDE_TENSOR;
    if (trace_is(path)) {
        s->kind = SIDE_TRACE;
        return trace_open(&s->trace, path, map);
    }
    if (s->kind == SIDE_TENSOR) return tensor_read(path, like ? &like->value : NULL, &s->value);
    picture p = {0};
    bool good = picture_read(path, &p) && tensor_from_picture(&p.pixels, &s->value);
    picture_free(&p);
    return good;
}

static void side_close(side *s) {
    if (s->kind == SIDE_TRACE) trace_close(&s->trace);
    tensor_free(&s->value);
}

static bool read_input(const compare_settings *settings, const graph *g, tensor *input) {
    int h, w;
    picture p = {0};
    if (!settings->input) return true;
    if (g) return network_input(settings->input, &g->info, input, &h, &w);
    if (is_tensor_name(settings->input)) return tensor_read(settings->input, NULL, input);
    bool good = picture_read(settings->input, &p) && tensor_from_picture(&p.pixels, input);
    picture_free(&p);
    return good;
}

static bool compare_sides(const compare_settings *settings, const graph *g, const side *ref,
                          const side *test, const tensor *input, comparison *result) {
    const tensor *in = input->v ? input : NULL;
    if (ref->kind == SIDE_TRACE && test->kind == SIDE_TRACE)
        return compare_traces(settings, g, &ref->trace, &test->trace, in, result);
    if (ref->kind == SIDE_TRACE || test->kind == SIDE_TRACE) {
        complain("compare: a trace can only be compared with a trace");
        return false;
    }
    result->kind = ref->kind == SIDE_PICTURE || test->kind == SIDE_PICTURE ? "pictures" : "tensors";
    return compare_values(settings, g, &ref->value, &test->value, in, result);
}

static bool report(const compare_settings *settings, const comparison *result) {
    bool good = true;
    if (settings->json)
        good = report_json(result, stdout);
    else
        report_text(result);
    if (settings->html) good = report_html(result, settings->html) && good;
    return good;
}

static int run(const compare_settings *settings, const char *ref_path, const char *test_path) {
    side ref = {0}, test = {0};
    graph g = {0};
    tensor input = {0};
    name_map map = {0};
    comparison result = {.ref = ref_path, .test = test_path, .culprit = -1};
    model_settings which = {
        .file = settings->model, .wrapper = settings->wrapper, .up_factor = settings->up_factor};
    bool modelled = settings->model != NULL;
    bool good = (!settings->map || name_map_read(&map, settings->map)) &&
                side_open(&ref, ref_path, NULL, NULL) && side_open(&test, test_path, &map, &ref) &&
                (!modelled || graph_open(&g, &which, settings->threads ? settings->threads : 2)) &&
                read_input(settings, modelled ? &g : NULL, &input) &&
                compare_sides(settings, modelled ? &g : NULL, &ref, &test, &input, &result) &&
                report(settings, &result);
    if (good && settings->extract)
        good = extract_layer(settings, modelled ? &g : NULL,
                             ref.kind == SIDE_TRACE ? &ref.trace : NULL,
                             test.kind == SIDE_TRACE ? &test.trace : NULL, input.v ? &input : NULL,
                             settings->extract);
    int code = !good ? EXIT_USAGE : result.match ? EXIT_DONE : EXIT_FAILED;
    comparison_free(&result);
    tensor_free(&input);
    side_close(&ref);
    side_close(&test);
    graph_close(&g);
    name_map_free(&map);
    return code;
}

int cmd_compare(int argc, char **argv) {
    compare_settings settings = {0};
    const option_group groups[] = {
        {COMPARE_OPTIONS, &settings}, {QUIET_OPTIONS, &quiet}, {NULL, NULL}};
    const command_line line = {
        "compare", "[options] REF TEST",
        "Compares a test with a reference: two traces (folders or .npz files of 'esrgan trace' or\n"
        "of esrgan_trace_hooks.py), two tensors (.npy) or two pictures. Says whether the test is\n"
        "wrong, by how much, since which layer, and why.",
        "Exit status: 0 they match, 1 they do not, 2 wrong usage or a file that cannot be read.",
        groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    if (operands.count != 2) {
        complain("compare: expected a reference and a test; 'esrgan compare --help' explains");
        code = EXIT_USAGE;
    } else {
        code = run(&settings, operands.items[0], operands.items[1]);
        if (code != EXIT_USAGE && (fflush(stdout) != 0 || ferror(stdout))) {
            complain("writing to standard output failed");
            code = EXIT_USAGE;
        }
    }
    operands_free(&operands);
    return code;
}
