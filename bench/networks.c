/* Whole networks: time against the direct roofline, memory, error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "support/pth.h"

const net_shape shapes[3] = {{"x4plus", 3, 64, 32, 23, 2, 1},
                             {"x2plus", 3, 64, 32, 23, 2, 2},
                             {"anime_6B", 3, 64, 32, 6, 2, 1}};

uint8_t *make_checkpoint(const net_shape *s, size_t *size) {
    pth_list list = {0};
    pth_rrdbnet net = {PTH_BASICSR, s->in * s->unshuffle * s->unshuffle,
                       s->in,       s->features,
                       s->growth,   s->blocks,
                       s->ups,      0};
    pth_add_rrdbnet(&list, &net);
    uint8_t *data = pth_write(&list, 42, size);
    pth_clear(&list);
    return data;
}

esrgan_model *make_model(const net_shape *s) {
    size_t size;
    uint8_t *data = make_checkpoint(s, &size);
    esrgan_open_options o;
    esrgan_open_options_init(&o);
    o.copy = 1;
    esrgan_model *model = NULL;
    esrgan_error error;
    if (esrgan_open_memory(data, size, s->name, &o, &model, &error) != ESRGAN_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(2);
    }
    free(data);
    return model;
}

float *make_picture(int channels, int height, int width) {
    float *p = malloc((size_t)channels * (size_t)height * (size_t)width * sizeof *p), *at = p;
    uint32_t seed = 1;
    if (!p) abort();
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                seed = seed * 1664525u + 1013904223u;
                *at++ = 0.5f + 0.3f * sinf(0.13f * (float)x + (float)c) * cosf(0.07f * (float)y) +
                        0.1f * ((float)(seed >> 8) / (float)(1 << 24) - 0.5f);
            }
    return p;
}

double decibels(const float *truth, const float *x, size_t n) {
    double mean = 0, signal = 0, error = 0;
    for (size_t i = 0; i < n; i++) mean += truth[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        signal += (truth[i] - mean) * (truth[i] - mean);
        error += ((double)truth[i] - x[i]) * ((double)truth[i] - x[i]);
    }
    return 10 * log10(signal / error);
}

/* Time of the plain convolutions on as many cores at nothing but FMA. */
static double roofline(const esrgan_model *model, const setting *s, double peak) {
    esrgan_model_info info = {.size = sizeof info};
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK) abort();
    return 2 * info.macs_per_pixel * s->size * s->size / (peak * s->threads);
}

static uint64_t estimated(const esrgan_model *model, const esrgan_session_options *o, int size) {
    uint64_t bytes = 0;
    return esrgan_estimate_memory(model, o, 1, size, size, &bytes, NULL) == ESRGAN_OK ? bytes : 0;
}

bool measure(const esrgan_model *model, const setting *s, int repeats, const peaks *p, outcome *o) {
    esrgan_session_options options;
    esrgan_session_options_init(&options);
    options.backend = s->backend;
    options.isa = s->isa;
    options.precision = s->precision;
    options.threads = s->threads;
    memset(o, 0, sizeof *o);
    esrgan_model_info info = {.size = sizeof info};
    esrgan_session *session;
    esrgan_error error;
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK ||
        esrgan_session_create(model, &options, &session, &error) != ESRGAN_OK)
        return false;
    esrgan_session_info about = {.size = sizeof about};
    if (esrgan_session_get_info(session, &about, NULL) == ESRGAN_OK)
        snprintf(o->tier, sizeof o->tier, "%s", about.tier);
    float *in = make_picture(info.in_channels, s->size, s->size);
    o->count = (size_t)info.out_channels * (size_t)(info.scale * info.scale) * (size_t)s->size *
               (size_t)s->size;
    o->result = malloc(o->count * sizeof *o->result);
    if (!o->result) abort();
    double times[64];
    bool fine = true;
    for (int i = -1; i < repeats && fine; i++) { /* the first only warms up */
        double t = seconds();
        fine = esrgan_forward(session, 1, s->size, s->size, in, o->result, &error) == ESRGAN_OK;
        if (i < 0)
            o->first = seconds() - t;
        else
            times[i] = seconds() - t;
    }
    if (!fine) fprintf(stderr, "bench: %s\n", error.message);
    esrgan_session_free(session);
    free(in);
    o->median = repeats > 0 ? median(times, repeats) : o->first;
    o->best = repeats > 0 ? times[0] : o->first;
    bool narrow = strcmp(o->tier, "avx2") == 0 || p->fma512 == 0;
    o->ratio = roofline(model, s, narrow ? p->fma256 : p->fma512) / o->median;
    o->memory = estimated(model, &options, s->size);
    return fine;
}

/* ---- make bench-quick ------------------------------------------------------------------------ */

int bench_quick(const peaks *p) {
    esrgan_model *model = make_model(&shapes[0]);
    setting small = {ESRGAN_OPENBLAS, NULL, ESRGAN_FP32, 2, 48};
    outcome truth, o;
    int wrong = 0;
    if (!measure(model, &small, 0, p, &truth)) return 2;
    for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision += ESRGAN_BF16) {
        const double least = precision == ESRGAN_FP32 ? 100 : 35;
        small.backend = ESRGAN_AUTO;
        small.precision = (esrgan_precision)precision;
        if (!measure(model, &small, 0, p, &o)) return 2;
        double db = decibels(truth.result, o.result, o.count);
        free(o.result);
        setting s = {ESRGAN_AUTO, NULL, (esrgan_precision)precision, 2, 128};
        if (!measure(model, &s, 5, p, &o)) return 2;
        printf("%s 128x128 %-10s %.3f s, %.2f times the direct FP32 roofline, %.1f dB from "
               "openblas%s\n",
               precision == ESRGAN_FP32 ? "FP32" : "BF16", o.tier, o.median, o.ratio, db,
               db >= least ? "" : "  WRONG");
        wrong += !(db >= least);
        free(o.result);
    }
    free(truth.result);
    esrgan_model_free(model);
    return wrong ? 1 : 0;
}

/* ---- make bench ------------------------------------------------------------------------------ */

typedef struct row {
    setting s;
    outcome o;
    double db;
    int shape;
} row;

static void print_row(const row *r, FILE *markdown, FILE *json, bool first) {
    static const char *precisions[] = {"fp32", "fp16", "bf16"};
    const char *precision = precisions[r->s.precision];
    double pixels = (double)r->s.size * r->s.size;
    fprintf(markdown, "| %s | %d² | %s | %s | %d | %.3f | %.2f | %.0f | %.2f |",
            shapes[r->shape].name, r->s.size, r->o.tier, precision, r->s.threads, r->o.median,
            r->o.ratio, (double)r->o.memory / 1e6, (double)r->o.memory / pixels / 1e3);
    if (isfinite(r->db))
        fprintf(markdown, " %.1f |\n", r->db);
    else
        fprintf(markdown, " – |\n");
    fprintf(json,
            "%s{\"network\": \"%s\", \"size\": %d, \"tier\": \"%s\", \"precision\": \"%s\", "
            "\"threads\": %d, "
            "\"median_s\": %.5f, \"best_s\": %.5f, \"first_s\": %.5f, \"roofline\": %.3f, "
            "\"memory\": %llu, \"db\": %.1f}",
            first ? "" : ",\n", shapes[r->shape].name, r->s.size, r->o.tier, precision,
            r->s.threads, r->o.median, r->o.best, r->o.first, r->o.ratio,
            (unsigned long long)r->o.memory, isfinite(r->db) ? r->db : 0);
    fflush(markdown), fflush(json);
}

/* The direct roofline is the line at 1. */
static void plot(const row *rows, int count, FILE *svg) {
    const double left = 60, top = 20, wide = 520, high = 280, most = 6;
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"350\" "
                 "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"640\" height=\"350\" "
                 "fill=\"#fff\"/>\n");
    for (int i = 0; i <= 6; i++)
        fprintf(svg,
                "<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"%s\"/><text x=\"40\" "
                "y=\"%g\">%d</text>\n",
                left, left + wide, top + high * (1 - i / most), top + high * (1 - i / most),
                i == 1 ? "#c33" : "#ddd", top + high * (1 - i / most) + 4, i);
    fprintf(svg, "<text x=\"60\" y=\"340\">x4plus, pixels a side (log); speed as a multiple of the "
                 "direct FP32 roofline</text>\n");
    static const char *colours[] = {"#26c", "#2a2", "#a2a", "#e80", "#088"};
    int colour = 0;
    for (int i = 0; i < count; i++) {
        bool begins = rows[i].shape == 0;
        for (int j = 0; j < i; j++)
            if (rows[j].shape == 0 && !strcmp(rows[j].o.tier, rows[i].o.tier) &&
                rows[j].s.precision == rows[i].s.precision &&
                rows[j].s.threads == rows[i].s.threads)
                begins = false;
        if (!begins || rows[i].s.threads == 1) continue;
        const char *c = colours[colour++ % 5];
        double x = 0, y = 0;
        fprintf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", c);
        for (int j = i; j < count; j++) {
            if (rows[j].shape != 0 || strcmp(rows[j].o.tier, rows[i].o.tier) != 0 ||
                rows[j].s.precision != rows[i].s.precision ||
                rows[j].s.threads != rows[i].s.threads)
                continue;
            x = left + wide * log2(rows[j].s.size / 16.0) / 6;
            y = top + high * (1 - fmin(rows[j].o.ratio, most) / most);
            fprintf(svg, "%.1f,%.1f ", x, y);
        }
        static const char *precisions[] = {"fp32", "fp16", "bf16"};
        fprintf(svg, "\"/><text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s %s</text>\n", x + 4, y, c,
                rows[i].o.tier, precisions[rows[i].s.precision]);
    }
    fprintf(svg, "</svg>\n");
}

int bench_networks(const peaks *p, FILE *markdown, FILE *json, FILE *svg) {
    static const struct {
        int shape, size;
        esrgan_precision precision;
        const char *isa;
        int threads, repeats;
    } plan[] = {{0, 16, ESRGAN_FP32, NULL, 2, 15},   {0, 32, ESRGAN_FP32, NULL, 2, 9},
                {0, 64, ESRGAN_FP32, NULL, 2, 7},    {0, 128, ESRGAN_FP32, NULL, 2, 7},
                {0, 256, ESRGAN_FP32, NULL, 2, 3},   {0, 128, ESRGAN_FP32, NULL, 1, 5},
                {0, 128, ESRGAN_FP32, "avx2", 2, 5}, {0, 256, ESRGAN_FP32, "avx2", 2, 3},
                {0, 128, ESRGAN_FP16, NULL, 2, 5},   {0, 256, ESRGAN_FP16, NULL, 2, 3},
                {0, 32, ESRGAN_BF16, NULL, 2, 9},    {0, 64, ESRGAN_BF16, NULL, 2, 7},
                {0, 128, ESRGAN_BF16, NULL, 2, 7},   {0, 256, ESRGAN_BF16, NULL, 2, 3},
                {0, 128, ESRGAN_BF16, NULL, 1, 5},   {1, 128, ESRGAN_FP32, NULL, 2, 7},
                {1, 256, ESRGAN_FP32, NULL, 2, 5},   {2, 128, ESRGAN_FP32, NULL, 2, 7},
                {2, 256, ESRGAN_FP32, NULL, 2, 5}};
    enum { ROWS = sizeof plan / sizeof *plan };
    row rows[ROWS];
    int count = 0;
    fprintf(markdown, "\n### Whole networks\n\n| network | size | tier | precision | threads | "
                      "median s | × direct roofline | MB | KB a pixel | dB from openblas FP32 |\n"
                      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    fprintf(json, "\"networks\": [");
    for (int shape_index = 0; shape_index < 3; shape_index++) {
        esrgan_model *model = make_model(&shapes[shape_index]);
        setting oracle = {ESRGAN_OPENBLAS, NULL, ESRGAN_FP32, 2, 64};
        outcome truth;
        if (!measure(model, &oracle, 0, p, &truth)) return 2;
        for (int i = 0; i < ROWS; i++) {
            if (plan[i].shape != shape_index) continue;
            row *r = &rows[count];
            *r = (row){.s = {ESRGAN_AUTO, plan[i].isa, plan[i].precision, plan[i].threads, 64},
                       .shape = shape_index};
            if (!measure(model, &r->s, 0, p, &r->o)) continue; /* a tier that this CPU lacks */
            r->db = decibels(truth.result, r->o.result, r->o.count);
            free(r->o.result);
            if (!(r->db > (plan[i].precision == ESRGAN_FP32 ? 100 : 35)))
                return 1; /* wrong answers are not timed */
            r->s.size = plan[i].size;
            if (!measure(model, &r->s, plan[i].repeats, p, &r->o)) return 2;
            free(r->o.result);
            print_row(r, markdown, json, count++ == 0);
        }
        free(truth.result);
        esrgan_model_free(model);
    }
    fprintf(json, "]");
    plot(rows, count, svg);
    return 0;
}
