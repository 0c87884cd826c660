/* Whole networks: time against the direct roofline, memory, error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "support/decibels.h"

enum { CHECKED = 64 }; /* pixels a side of the picture that answers are checked with */

static const char *const precision_names[] = {"fp32", "fp16", "bf16"};

/* Decibels below which an answer is wrong. */
static double least(esrgan_precision precision) { return precision == ESRGAN_FP32 ? 100 : 35; }

/* Decibels of a setting's answer to a small picture; -INFINITY where it cannot run. */
static double checked(const esrgan_model *model, setting s, const float *truth) {
    outcome o;
    s.height = s.width = CHECKED;
    const bool fine = measure(model, &s, 0, &o);
    const double db = fine ? decibels(truth, o.result, o.count) : -INFINITY;
    free(o.result);
    return db;
}

int bench_quick(void) {
    esrgan_model *model = make_model(&shapes[0]);
    float *truth = exact_result(model, CHECKED, CHECKED);
    int wrong = 0;
    for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision += ESRGAN_BF16) {
        const setting s = {ESRGAN_AUTO, NULL, (esrgan_precision)precision, 2, 128, 128};
        const double db = checked(model, s, truth);
        outcome o;
        if (!measure(model, &s, 5, &o)) return 2;
        printf("%s 128x128 %-10s %.3f s, %.2f times the direct FP32 roofline, %.1f dB from "
               "float64%s\n",
               precision == ESRGAN_FP32 ? "FP32" : "BF16", o.tier, o.median, o.ratio, db,
               db >= least(s.precision) ? "" : "  WRONG");
        wrong += !(db >= least(s.precision));
        free(o.result);
    }
    free(truth);
    esrgan_model_free(model);
    return wrong ? 1 : 0;
}

/* ---- make bench ------------------------------------------------------------------------------ */

void print_size(FILE *to, int height, int width) {
    if (height == width)
        fprintf(to, "%d²", height);
    else
        fprintf(to, "%d×%d", width, height);
}

static void print_row(const net_shape *shape, const setting *s, const outcome *o, double db,
                      output *to) {
    const double pixels = (double)s->height * s->width;
    const char *precision = precision_names[s->precision];
    fprintf(to->markdown, "| %s | ", shape->name);
    print_size(to->markdown, s->height, s->width);
    fprintf(to->markdown, " | %s | %s | %d | %d | %.3f | ", o->tier, precision, s->threads, o->runs,
            o->median);
    if (o->runs > 1) fprintf(to->markdown, "%.0f %%", 100 * o->spread);
    fprintf(to->markdown, " | %.2f | %.0f | %.2f | %.1f |\n", o->ratio, (double)o->memory / 1e6,
            (double)o->memory / pixels / 1e3, db);
    fprintf(to->json,
            "{\"network\": \"%s\", \"height\": %d, \"width\": %d, \"tier\": \"%s\", \"precision\": "
            "\"%s\", \"threads\": %d, \"runs\": %d, \"median_s\": %.5f, \"spread\": %.3f, "
            "\"first_s\": %.5f, "
            "\"roofline\": %.3f, \"memory\": %llu, \"db\": %.1f}\n",
            shape->name, s->height, s->width, o->tier, precision, s->threads, o->runs, o->median,
            o->spread, o->first, o->ratio, (unsigned long long)o->memory, db);
    if (shape == shapes && s->threads > 1)
        fprintf(to->points, "%s %s\t%.1f\t%.5f\t%.4f\n", o->tier, precision, sqrt(pixels),
                o->median, o->ratio);
    fflush(NULL);
}

static const struct {
    const char *part;
    int shape, height, width;
    esrgan_precision precision;
    const char *isa; /* "openblas": that backend */
    int threads, repeats;
} plan[] = {
    {"x4plus", 0, 16, 16, ESRGAN_FP32, NULL, 2, 15},
    {"x4plus", 0, 32, 32, ESRGAN_FP32, NULL, 2, 9},
    {"x4plus", 0, 64, 64, ESRGAN_FP32, NULL, 2, 9},
    {"x4plus", 0, 128, 128, ESRGAN_FP32, NULL, 2, 9},
    {"x4plus", 0, 128, 128, ESRGAN_FP32, NULL, 1, 5},
    {"x4plus-256", 0, 256, 256, ESRGAN_FP32, NULL, 2, 5},
    {"x4plus-256", 0, 128, 128, ESRGAN_FP32, "openblas", 2, 3},
    {"x4plus-avx2", 0, 128, 128, ESRGAN_FP32, "avx2", 2, 7},
    {"x4plus-avx2", 0, 256, 256, ESRGAN_FP32, "avx2", 2, 5},
    {"x4plus-fp16", 0, 128, 128, ESRGAN_FP16, NULL, 2, 7},
    {"x4plus-fp16", 0, 256, 256, ESRGAN_FP16, NULL, 2, 3},
    {"x4plus-bf16", 0, 16, 16, ESRGAN_BF16, NULL, 2, 15},
    {"x4plus-bf16", 0, 32, 32, ESRGAN_BF16, NULL, 2, 9},
    {"x4plus-bf16", 0, 64, 64, ESRGAN_BF16, NULL, 2, 9},
    {"x4plus-bf16", 0, 128, 128, ESRGAN_BF16, NULL, 2, 9},
    {"x4plus-bf16", 0, 256, 256, ESRGAN_BF16, NULL, 2, 5},
    {"x4plus-bf16", 0, 128, 128, ESRGAN_BF16, NULL, 1, 5},
    {"x4plus-720p", 0, 720, 1280, ESRGAN_FP32, NULL, 2, 0},
    {"x4plus-720p-bf16", 0, 720, 1280, ESRGAN_BF16, NULL, 2, 1},
    {"x2plus", 1, 128, 128, ESRGAN_FP32, NULL, 2, 7},
    {"x2plus", 1, 256, 256, ESRGAN_FP32, NULL, 2, 5},
    {"x2plus", 1, 720, 1280, ESRGAN_FP32, NULL, 2, 1},
    {"anime_6B", 2, 128, 128, ESRGAN_FP32, NULL, 2, 7},
    {"anime_6B", 2, 256, 256, ESRGAN_FP32, NULL, 2, 5},
    {"anime_6B", 2, 720, 1280, ESRGAN_FP32, NULL, 2, 1},
    {"anime_6B-4k", 2, 2160, 3840, ESRGAN_BF16, NULL, 2, 0},
};

int bench_networks(const char *part, output *to) {
    esrgan_model *model = NULL;
    float *truth = NULL;
    int status = 0;
    for (size_t i = 0; i < sizeof plan / sizeof *plan && !status; i++) {
        if (strcmp(plan[i].part, part) != 0) continue;
        const net_shape *shape = &shapes[plan[i].shape];
        if (!model) {
            model = make_model(shape);
            truth = exact_result(model, CHECKED, CHECKED);
        }
        const bool openblas = plan[i].isa && strcmp(plan[i].isa, "openblas") == 0;
        const setting s = {openblas ? ESRGAN_OPENBLAS : ESRGAN_AUTO,
                           openblas ? NULL : plan[i].isa,
                           plan[i].precision,
                           plan[i].threads,
                           plan[i].height,
                           plan[i].width};
        const double db = checked(model, s, truth);
        outcome o;
        if (db == -INFINITY) continue; /* a tier that this CPU lacks */
        if (!(db >= least(s.precision))) {
            fprintf(stderr, "bench: %s, %s: %.1f dB from float64, not timed\n", shape->name,
                    precision_names[s.precision], db);
            status = 1;
        } else if (measure(model, &s, plan[i].repeats, &o)) {
            print_row(shape, &s, &o, db, to);
            free(o.result);
        } else {
            status = 2;
        }
    }
    free(truth);
    esrgan_model_free(model);
    return status;
}
