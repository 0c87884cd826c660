#include "faulty.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dtype.h"

typedef struct value {
    int c, h, w;
    double *v;
} value;

typedef struct machine {
    const esrgan_model *model;
    const faulty *how;
    const char *path;
    FILE *manifest;
    esrgan_layer *layers;
    value *values;
    int count, written;
    bool failed;
} machine;

static size_t count_of(const value *t) { return (size_t)t->c * (size_t)t->h * (size_t)t->w; }

static value make(int c, int h, int w) {
    value t = {c, h, w, calloc((size_t)c * (size_t)h * (size_t)w, sizeof(double))};
    if (t.v == NULL) abort();
    return t;
}

static double *at(const value *t, int c, int y, int x) {
    return &t->v[((size_t)c * (size_t)t->h + (size_t)y) * (size_t)t->w + (size_t)x];
}

static bool is(const machine *m, int index, faulty_kind kind) {
    return m->how->kind == kind && (m->how->layer < 0 || m->how->layer == index);
}

/* ---- Layers ---- */

static int beyond(int i, int n, const machine *m, int index) {
    if (i >= 0 && i < n) return i;
    if (is(m, index, FAULTY_REFLECT)) return i < 0 ? -i : 2 * n - 2 - i;
    if (is(m, index, FAULTY_REPLICATE)) return i < 0 ? 0 : n - 1;
    if (is(m, index, FAULTY_CIRCULAR)) return (i + n) % n;
    return -1;
}

/* All inputs as one: in order, reversed, with one left out, or read with wrong strides. */
static value gather(machine *m, int index) {
    const esrgan_layer *l = &m->layers[index];
    const value *first = &m->values[l->inputs[0]];
    value all = make(l->channels_in, first->h, first->w);
    double *to = all.v;
    for (int i = 0; i < l->input_count; i++) {
        int k = is(m, index, FAULTY_INPUTS_REVERSED) ? l->input_count - 1 - i : i;
        const value *in = &m->values[l->inputs[k]];
        if (!(is(m, index, FAULTY_INPUT_MISSING) && k == 1))
            memcpy(to, in->v, count_of(in) * sizeof *to);
        to += count_of(in);
    }
    size_t n = count_of(&all), c = (size_t)all.c, plane = n / c;
    bool hwc = is(m, index, FAULTY_READS_CHW_AS_HWC), chw = is(m, index, FAULTY_READS_HWC_AS_CHW);
    if (!hwc && !chw) return all;
    value read = make(all.c, all.h, all.w);
    for (size_t i = 0; i < n; i++) {
        size_t channel = i / plane, pixel = i % plane;
        read.v[i] = hwc ? all.v[pixel * c + channel] : all.v[i % c * plane + i / c];
    }
    free(all.v);
    return read;
}

static double tap(const machine *m, int index, const double *kernel, int k, int j, int i) {
    if (is(m, index, FAULTY_KERNEL_TURNED)) return kernel[(k - 1 - j) * k + (k - 1 - i)];
    if (is(m, index, FAULTY_KERNEL_TRANSPOSED)) return kernel[i * k + j];
    return kernel[j * k + i];
}

static value convolve(machine *m, int index) {
    const esrgan_layer *l = &m->layers[index];
    int k = l->kernel, half = k / 2;
    value in = gather(m, index), out = make(l->channels_out, in.h, in.w);
    size_t weights = (size_t)l->channels_out * (size_t)l->channels_in * (size_t)(k * k);
    double *weight = malloc(weights * sizeof *weight);
    double *bias = malloc((size_t)l->channels_out * sizeof *bias);
    if (!weight || !bias) abort();
    esrgan_layer_weights(m->model, index, weight, bias, NULL);
    for (int o = 0; o < out.c; o++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++) {
                double sum = is(m, index, FAULTY_BIAS_MISSING) ? 0 : bias[o];
                for (int j = 0; j < k; j++)
                    for (int i = 0; i < k; i++) {
                        int sy = beyond(y + j - half, in.h, m, index);
                        int sx = beyond(x + i - half, in.w, m, index);
                        if (sy < 0 || sx < 0) continue;
                        for (int c = 0; c < in.c; c++)
                            sum += *at(&in, c, sy, sx) *
                                   tap(m, index,
                                       weight +
                                           ((size_t)o * (size_t)in.c + (size_t)c) * (size_t)(k * k),
                                       k, j, i);
                    }
                *at(&out, o, y, x) = sum;
            }
    free(weight);
    free(bias);
    free(in.v);
    return out;
}

static value enlarge(machine *m, int index, int factor) {
    const value *in = &m->values[m->layers[index].inputs[0]];
    value out = make(in->c, in->h * factor, in->w * factor);
    for (int c = 0; c < out.c; c++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++) {
                double v = *at(in, c, y / factor, x / factor);
                if (is(m, index, FAULTY_BILINEAR)) {
                    double fy = fmax(0, (y + 0.5) / factor - 0.5),
                           fx = fmax(0, (x + 0.5) / factor - 0.5);
                    int y0 = (int)fy, x0 = (int)fx;
                    int y1 = y0 + 1 < in->h ? y0 + 1 : y0, x1 = x0 + 1 < in->w ? x0 + 1 : x0;
                    fy -= y0;
                    fx -= x0;
                    v = (1 - fy) * ((1 - fx) * *at(in, c, y0, x0) + fx * *at(in, c, y0, x1)) +
                        fy * ((1 - fx) * *at(in, c, y1, x0) + fx * *at(in, c, y1, x1));
                }
                *at(&out, c, y, x) = v;
            }
    return out;
}

static value unshuffle(machine *m, int index, int f) {
    const value *in = &m->values[m->layers[index].inputs[0]];
    value out = make(in->c * f * f, in->h / f, in->w / f);
    for (int c = 0; c < in->c; c++)
        for (int j = 0; j < f; j++)
            for (int i = 0; i < f; i++)
                for (int y = 0; y < out.h; y++)
                    for (int x = 0; x < out.w; x++) {
                        int to = is(m, index, FAULTY_UNSHUFFLE_ORDER) ? (j * f + i) * in->c + c
                                                                      : (c * f + j) * f + i;
                        *at(&out, to, y, x) = *at(in, c, y * f + j, x * f + i);
                    }
    return out;
}

static value pointwise(machine *m, int index) {
    const esrgan_layer *l = &m->layers[index];
    const value *a = &m->values[l->inputs[0]], *b = &m->values[l->inputs[l->input_count - 1]];
    value out = make(a->c, a->h, a->w);
    bool lrelu = !strcmp(l->op, "lrelu");
    double alpha = !strcmp(l->op, "add") ? 1 : l->alpha;
    if (is(m, index, lrelu ? FAULTY_SLOPE : FAULTY_SCALE)) alpha = m->how->amount;
    if (!lrelu && is(m, index, FAULTY_SCALE_MISSING)) alpha = 1;
    if (!lrelu && is(m, index, FAULTY_BRANCH_MISSING)) alpha = 0;
    for (size_t i = 0; i < count_of(&out); i++) {
        double x = a->v[i], rest = is(m, index, FAULTY_SHORTCUT_MISSING) ? 0 : b->v[i];
        if (!lrelu)
            out.v[i] = alpha * x + rest;
        else
            out.v[i] = x < 0 && !is(m, index, FAULTY_ACTIVATION_SKIPPED) ? alpha * x : x;
    }
    return out;
}

static value compute(machine *m, int index, const double *input, int h, int w) {
    const esrgan_layer *l = &m->layers[index];
    if (index == 0) {
        value in = make(l->channels_out, h, w);
        memcpy(in.v, input, count_of(&in) * sizeof(double));
        return in;
    }
    const esrgan_layer *from = &m->layers[l->inputs[0]];
    if (l->kernel) return convolve(m, index);
    if (!strcmp(l->op, "nearest"))
        return enlarge(m, index, l->num * from->den / (l->den * from->num));
    if (!strcmp(l->op, "unshuffle"))
        return unshuffle(m, index, l->den * from->num / (l->num * from->den));
    return pointwise(m, index);
}

/* ---- What happens to a result ---- */

static double jitter(size_t i) {
    return 0.05 * (double)((i * 2654435761u >> 7) % 1000) / 500 - 0.05;
}

static void move(machine *m, int index, value *t) {
    value old = make(t->c, t->h, t->w);
    memcpy(old.v, t->v, count_of(t) * sizeof *t->v);
    size_t C = (size_t)t->c, plane = (size_t)t->h * (size_t)t->w, i = 0;
    for (int c = 0; c < t->c; c++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++, i++) {
                size_t pixel = (size_t)y * (size_t)t->w + (size_t)x;
                if (is(m, index, FAULTY_CHW_AS_HWC)) t->v[i] = old.v[pixel * C + (size_t)c];
                if (is(m, index, FAULTY_HWC_AS_CHW)) t->v[i] = old.v[i % C * plane + i / C];
                if (is(m, index, FAULTY_BGR)) t->v[i] = *at(&old, t->c - 1 - c, y, x);
                if (is(m, index, FAULTY_TRANSPOSED)) t->v[i] = *at(&old, c, x, y);
                if (is(m, index, FAULTY_FLIPPED_X)) t->v[i] = *at(&old, c, y, t->w - 1 - x);
                if (is(m, index, FAULTY_FLIPPED_Y)) t->v[i] = *at(&old, c, t->h - 1 - y, x);
                if (is(m, index, FAULTY_SHIFTED)) t->v[i] = *at(&old, c, y, x > 0 ? x - 1 : 0);
                if (is(m, index, FAULTY_SHIFTED_DOWN)) t->v[i] = *at(&old, c, y > 0 ? y - 1 : 0, x);
                if (is(m, index, FAULTY_PERMUTED) && c < 3) t->v[i] = *at(&old, (c + 1) % 3, y, x);
                if (is(m, index, FAULTY_PACKED))
                    t->v[i] = old.v[(i / (4 * plane) * 4 + i % 4) * plane + i / 4 % plane];
            }
    free(old.v);
}

static void spoil(machine *m, int index, value *t) {
    size_t i = 0, n = count_of(t);
    for (int c = 0; c < t->c; c++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++, i++) {
                bool edge = x == 0 || y == 0 || x == t->w - 1 || y == t->h - 1;
                bool seam = (x + 1) % 16 <= 1 && x > 1 && x < t->w - 1;
                if (is(m, index, FAULTY_BORDER) && edge) t->v[i] += jitter(i);
                if (is(m, index, FAULTY_TILES) && seam) t->v[i] += jitter(i);
                if (is(m, index, FAULTY_CHANNELS) && (c == 2 || c == 3)) t->v[i] += jitter(i);
                if (is(m, index, FAULTY_POWER) && i >= 1024) t->v[i] = 0;
                if (is(m, index, FAULTY_ZEROS)) t->v[i] = 0;
                if (is(m, index, FAULTY_NAN) && i == n / 2) t->v[i] = NAN;
                if (is(m, index, FAULTY_GAIN)) t->v[i] *= m->how->amount;
                if (is(m, index, FAULTY_OVERFLOW) || is(m, index, FAULTY_HALF))
                    t->v[i] = es_f16_to_f32(es_f32_to_f16((float)t->v[i]));
            }
}

static void keep(const machine *m, value *t) {
    const char *how = m->how->rounding;
    for (size_t i = 0; i < count_of(t); i++) {
        float f = (float)t->v[i];
        if (!strcmp(how, "fp32")) t->v[i] = f;
        if (!strcmp(how, "fp16")) t->v[i] = es_f16_to_f32(es_f32_to_f16(f));
        if (!strcmp(how, "bf16")) t->v[i] = es_bf16_to_f32(es_f32_to_bf16(f));
    }
}

/* ---- The trace ---- */

static bool dumped(const machine *m, const char *name) {
    const char *list = m->how->dump;
    while (list && *list) {
        size_t size = strcspn(list, ",");
        if (list[size ? size - 1 : 0] == '*' ? !strncmp(list, name, size - 1)
                                             : strlen(name) == size && !strncmp(list, name, size))
            return true;
        list += list[size] ? size + 1 : size;
    }
    return m->how->dump == NULL;
}

static void dump(machine *m, const char *name, const value *t) {
    char path[600], text[256];
    if (!dumped(m, name)) return;
    snprintf(path, sizeof path, "%s/%s.npy", m->path, name);
    FILE *file = fopen(path, "wb");
    if (!file) {
        m->failed = true;
        return;
    }
    bool wide = !strcmp(m->how->rounding, "fp64"), nhwc = m->how->nhwc;
    int used = snprintf(
        text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (1, %d, %d, %d), }",
        wide ? "<f8" : "<f4", nhwc ? t->h : t->c, nhwc ? t->w : t->h, nhwc ? t->c : t->w);
    while ((used + 11) % 64) text[used++] = ' ';
    text[used++] = '\n';
    const uint8_t head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)used, 0};
    fwrite(head, 1, 10, file);
    fwrite(text, 1, (size_t)used, file);
    size_t plane = (size_t)t->h * (size_t)t->w, n = count_of(t);
    for (size_t i = 0; i < n; i++) {
        double v = nhwc ? t->v[i % (size_t)t->c * plane + i / (size_t)t->c] : t->v[i];
        float f = (float)v;
        fwrite(wide ? (void *)&v : (void *)&f, wide ? 8 : 4, 1, file);
    }
    if (fclose(file)) m->failed = true;
    fprintf(m->manifest, "%s\n {\"name\": \"%s\", \"file\": \"%s.npy\"}", m->written++ ? "," : "",
            name, name);
}

static bool begin(machine *m) {
    char path[600];
    mkdir(m->path, 0777);
    snprintf(path, sizeof path, "%s/manifest.json", m->path);
    m->manifest = fopen(path, "w");
    if (!m->manifest) return false;
    fprintf(m->manifest,
            "{\"format\": \"esrgan-trace\", \"version\": 1, \"precision\": \"%s\",%s\n"
            " \"values\": [",
            m->how->rounding, m->how->nhwc ? " \"layout\": \"NHWC\"," : "");
    return true;
}

bool faulty_run(const esrgan_model *model, const double *input, int height, int width,
                const faulty *how, const char *path, double **output) {
    machine m = {.model = model, .how = how, .path = path, .count = esrgan_layer_count(model)};
    if (!begin(&m)) return false;
    m.layers = calloc((size_t)m.count, sizeof *m.layers);
    m.values = calloc((size_t)m.count, sizeof *m.values);
    if (!m.layers || !m.values) abort();
    for (int i = 0; i < m.count; i++) {
        m.layers[i].size = sizeof *m.layers;
        esrgan_layer_get(model, i, &m.layers[i], NULL);
        m.values[i] = compute(&m, i, input, height, width);
        move(&m, i, &m.values[i]);
        spoil(&m, i, &m.values[i]);
        keep(&m, &m.values[i]);
        dump(&m, m.layers[i].name, &m.values[i]);
    }
    value *last = &m.values[m.count - 1];
    for (size_t i = 0; i < count_of(last); i++) last->v[i] = fmin(fmax(last->v[i], 0), 1);
    dump(&m, "output", last);
    fprintf(m.manifest, "]}\n");
    if (fclose(m.manifest)) m.failed = true;
    if (output) {
        *output = last->v;
        last->v = NULL;
    }
    for (int i = 0; i < m.count; i++) free(m.values[i].v);
    free(m.values);
    free(m.layers);
    return !m.failed;
}
