/* esrgan compare --extract: one layer's case as .npy files and a PyTorch script that repeats it. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"
#include "npy.h"

typedef struct extraction {
    const char *folder;
    const graph *g;
    const trace_file *ref, *test;
    const tensor *input;
    int index;
    char repro[1600];
} extraction;

static bool write_values(const extraction *x, const char *name, const double *values, int ndim,
                         const int64_t *dims) {
    size_t count = 1;
    for (int i = 0; i < ndim; i++) count *= (size_t)dims[i];
    float *narrow = allocate(count, sizeof *narrow);
    char *path = path_join(x->folder, name);
    bool good = narrow && path;
    for (size_t i = 0; good && i < count; i++) narrow[i] = (float)values[i];
    good = good && npy_write(path, ndim, dims, narrow);
    free(narrow);
    free(path);
    return good;
}

static bool write_tensor(const extraction *x, const char *name, const tensor *t) {
    return write_values(x, name, t->v, 4, (int64_t[]){1, t->c, t->h, t->w});
}

/* A dumped value; nothing (and true) where it was not dumped. */
static bool load(const trace_file *trace, const char *name, tensor *to) {
    const trace_value *value = trace ? trace_find(trace, name) : NULL;
    to->v = NULL;
    return !value || !value->file || trace_load(trace, value, NULL, to);
}

/* Input `k` as the tester has it, else as the reference does. */
static bool load_input(const extraction *x, int k, tensor *to) {
    const char *name = x->g->layers[x->g->layers[x->index].inputs[k]].name;
    if (!load(x->test, name, to)) return false;
    if (!to->v && !strcmp(name, "input") && x->input) return tensor_copy(to, x->input);
    if (!to->v && !load(x->ref, name, to)) return false;
    if (to->v) return true;
    complain("--extract: %s was dumped by neither side", name);
    return false;
}

static bool write_weights(const extraction *x) {
    const esrgan_layer *l = &x->g->layers[x->index];
    size_t weights =
        (size_t)l->channels_out * (size_t)l->channels_in * (size_t)(l->kernel * l->kernel);
    double *w = allocate(weights, sizeof *w), *b = allocate((size_t)l->channels_out, sizeof *b);
    bool good = w && b;
    if (good) esrgan_layer_weights(x->g->model, x->index, w, b, NULL);
    good = good &&
           write_values(x, "w.npy", w, 4,
                        (int64_t[]){l->channels_out, l->channels_in, l->kernel, l->kernel}) &&
           write_values(x, "b.npy", b, 1, (int64_t[]){l->channels_out});
    free(w);
    free(b);
    return good;
}

/* Ten lines that compute the layer with PyTorch on the device under suspicion. */
static void make_repro(extraction *x) {
    const esrgan_layer *l = &x->g->layers[x->index];
    int c = x->g->layers[l->inputs[0]].channels_out;
    char line[200];
    if (l->kernel)
        snprintf(line, sizeof line, "F.conv2d(x, load(\"w\"), load(\"b\"), padding=%d)",
                 l->kernel / 2);
    else if (!strcmp(l->op, "lrelu"))
        snprintf(line, sizeof line, "F.leaky_relu(x, %g)", l->alpha);
    else if (!strcmp(l->op, "nearest"))
        snprintf(line, sizeof line, "F.interpolate(x, scale_factor=%d, mode=\"nearest\")",
                 l->num * x->g->layers[l->inputs[0]].den /
                     (l->den * x->g->layers[l->inputs[0]].num));
    else if (!strcmp(l->op, "unshuffle"))
        snprintf(line, sizeof line, "F.pixel_unshuffle(x, %d)", l->den);
    else if (!strcmp(l->op, "clamp"))
        snprintf(line, sizeof line, "x.clamp(0, 1)");
    else if (!strcmp(l->op, "round"))
        snprintf(line, sizeof line, "(x.clamp(0, 1) * 255).round()");
    else
        snprintf(line, sizeof line, "x[:, :%d] * %g + x[:, %d:]", c,
                 !strcmp(l->op, "add") ? 1.0 : l->alpha, c);
    snprintf(x->repro, sizeof x->repro,
             "# %s (%s), from the input that the tester has\n"
             "import sys, numpy as np, torch, torch.nn.functional as F\n"
             "device = sys.argv[1] if len(sys.argv) > 1 else \"cpu\"\n"
             "load = lambda name: torch.from_numpy(np.load(name + \".npy\")).to(device)\n"
             "x = load(\"x\")\n"
             "y = %s\n"
             "for name in (\"y_ref\", \"y_test\", \"y_float64\"):\n"
             "    try: print(name, (y.cpu() - torch.from_numpy(np.load(name + "
             "\".npy\"))).abs().max().item())\n"
             "    except FileNotFoundError: pass\n",
             l->name, l->op, line);
}

static bool write_repro(const extraction *x) {
    file_out out;
    char *path = path_join(x->folder, "repro.py");
    bool good = path && file_create(&out, path);
    if (good) {
        fputs(x->repro, out.stream);
        good = file_commit(&out);
    }
    free(path);
    return good;
}

/* What the layer reads, and what float64 makes of it. */
static bool write_right(const extraction *x) {
    tensor inputs[8] = {{0}}, all = {0}, right = {0};
    int count = x->g->layers[x->index].input_count;
    bool good = true;
    for (int i = 0; good && i < count; i++) good = load_input(x, i, &inputs[i]);
    good = good && graph_compute(x->g, x->index, inputs, (fault){FAULT_NONE, 0, 0}, &right, NULL) &&
           tensor_join(&all, inputs, count, false) && write_tensor(x, "x.npy", &all) &&
           write_tensor(x, "y_float64.npy", &right);
    for (int i = 0; i < count; i++) tensor_free(&inputs[i]);
    tensor_free(&all);
    tensor_free(&right);
    return good;
}

static bool write_outputs(const extraction *x) {
    const trace_file *sides[2] = {x->ref, x->test};
    static const char *const names[2] = {"y_ref.npy", "y_test.npy"};
    bool good = true;
    for (int i = 0; good && i < 2; i++) {
        tensor y;
        good = load(sides[i], x->g->layers[x->index].name, &y);
        if (good && y.v) good = write_tensor(x, names[i], &y);
        tensor_free(&y);
    }
    return good;
}

bool extract_layer(const compare_settings *settings, const graph *g, const trace_file *ref,
                   const trace_file *test, const tensor *input, const char *name) {
    char canonical[LAYER_NAME_SIZE];
    if (!g || !ref || !test) {
        complain("--extract needs two traces and --model");
        return false;
    }
    layer_name(name, NULL, g->info.blocks, g->info.up_stages, canonical);
    extraction x = {.folder = settings->out ? settings->out : canonical,
                    .g = g,
                    .ref = ref,
                    .test = test,
                    .input = input,
                    .index = graph_find(g, canonical)};
    if (x.index < 1) {
        complain("--extract: no layer is named %s; expected a name such as %s", name,
                 g->layers[1].name);
        return false;
    }
    make_repro(&x);
    if (!make_folders(x.folder) || !write_right(&x) || !write_outputs(&x) ||
        (g->layers[x.index].kernel && !write_weights(&x)) || !write_repro(&x))
        return false;
    tell("%s: x, %sy_ref, y_test, y_float64 and repro.py of %s", x.folder,
         g->layers[x.index].kernel ? "w, b, " : "", canonical);
    return true;
}
