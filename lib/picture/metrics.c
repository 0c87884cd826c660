/* esrgan_psnr and esrgan_ssim.  Samples are taken as 0..1 whatever their depth. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "picture/picture.h"

/* The part of two pictures that is compared. */
typedef struct pair {
    const esrgan_picture *a, *b;
    int x, y, width, height;
    int channels; /* compared: 1, or 3 */
    bool luma;    /* of RGB */
} pair;

/* Channel c of a pixel: a sample, or Y of BT.601 in studio range. */
static double value(const pair *p, const esrgan_picture *picture, const void *row, int x, int c) {
    const size_t i = (size_t)x * (size_t)picture->channels;
    const double unit = 1.0 / es_picture_max(picture);
    if (!p->luma) return es_sample(picture, row, i + (size_t)c) * unit;
    return (16 + (65.481 * es_sample(picture, row, i) + 128.553 * es_sample(picture, row, i + 1) +
                  24.966 * es_sample(picture, row, i + 2)) *
                     unit) /
           255;
}

static esrgan_status make_pair(pair *p, const esrgan_picture *a, const esrgan_picture *b,
                               int border, esrgan_metric_space space, int least,
                               esrgan_error *error) {
    esrgan_status status = es_picture_check(a, "a", error);
    if (status == ESRGAN_OK) status = es_picture_check(b, "b", error);
    if (status != ESRGAN_OK) return status;
    if (a->width != b->width || a->height != b->height || a->channels != b->channels ||
        a->bits != b->bits)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "a is %d x %d, %d channels, %d bits; b is %d x %d, %d channels, %d bits",
                       a->width, a->height, a->channels, a->bits, b->width, b->height, b->channels,
                       b->bits);
    if ((unsigned)space > ESRGAN_LUMA)
        return es_fail(error, ESRGAN_E_ARGUMENT, "space is %d; no such value", (int)space);
    const int64_t width = a->width - 2 * (int64_t)border, height = a->height - 2 * (int64_t)border;
    if (border < 0 || width < least || height < least)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "border is %d: of %d x %d pixels less than %d x %d is left", border,
                       a->width, a->height, least, least);
    const int colours = es_picture_colours(a);
    *p = (pair){.a = a,
                .b = b,
                .x = border,
                .y = border,
                .width = (int)width,
                .height = (int)height,
                .luma = space == ESRGAN_LUMA && colours == 3};
    p->channels = p->luma ? 1 : colours;
    return ESRGAN_OK;
}

esrgan_status esrgan_psnr(const esrgan_picture *a, const esrgan_picture *b, int border,
                          esrgan_metric_space space, double *decibels, esrgan_error *error) {
    if (!decibels) return es_fail(error, ESRGAN_E_ARGUMENT, "decibels is NULL");
    pair p;
    esrgan_status status = make_pair(&p, a, b, border, space, 1, error);
    if (status != ESRGAN_OK) return status;
    double sum = 0;
    for (int y = p.y; y < p.y + p.height; y++) {
        const void *row_a = es_picture_row(a, y), *row_b = es_picture_row(b, y);
        double line = 0;
        for (int x = p.x; x < p.x + p.width; x++)
            for (int c = 0; c < p.channels; c++) {
                const double d = value(&p, a, row_a, x, c) - value(&p, b, row_b, x, c);
                line += d * d;
            }
        sum += line;
    }
    const double mean = sum / ((double)p.width * p.height * p.channels);
    *decibels = mean > 0 ? -10 * log10(mean) : (double)INFINITY;
    return ESRGAN_OK;
}

/* ---- Structural similarity ---------------------------------------------------------------- */

enum { WINDOW = 11, MOMENTS = 5 }; /* of a, b, aa, bb, ab */

static void make_window(double window[WINDOW]) {
    double sum = 0;
    for (int i = 0; i < WINDOW; i++) {
        const double d = (i - WINDOW / 2) / 1.5;
        sum += window[i] = exp(-0.5 * d * d);
    }
    for (int i = 0; i < WINDOW; i++) window[i] /= sum;
}

/* Filters one row of the five moments across; `line` holds 2 * width values, `out` MOMENTS rows
 * of width - WINDOW + 1. */
static void filter_row(const pair *p, int y, int c, const double window[WINDOW], double *line,
                       double *out) {
    const void *row_a = es_picture_row(p->a, p->y + y), *row_b = es_picture_row(p->b, p->y + y);
    double *a = line, *b = line + p->width;
    const int n = p->width - WINDOW + 1;
    for (int x = 0; x < p->width; x++) {
        a[x] = value(p, p->a, row_a, p->x + x, c);
        b[x] = value(p, p->b, row_b, p->x + x, c);
    }
    memset(out, 0, MOMENTS * (size_t)n * sizeof *out);
    for (int x = 0; x < n; x++)
        for (int i = 0; i < WINDOW; i++) {
            const double u = a[x + i], v = b[x + i], w = window[i];
            out[x] += w * u;
            out[n + x] += w * v;
            out[2 * (size_t)n + x] += w * (u * u);
            out[3 * (size_t)n + x] += w * (v * v);
            out[4 * (size_t)n + x] += w * (u * v);
        }
}

static double similarity_at(const double m[MOMENTS]) {
    const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const double aa = m[2] - m[0] * m[0], bb = m[3] - m[1] * m[1], ab = m[4] - m[0] * m[1];
    return ((2 * m[0] * m[1] + c1) * (2 * ab + c2)) /
           ((m[0] * m[0] + m[1] * m[1] + c1) * (aa + bb + c2));
}

/* The sum over one channel.  `ring` holds the last WINDOW filtered rows. */
static double channel_sum(const pair *p, int c, const double window[WINDOW], double *line,
                          double *ring) {
    const size_t n = (size_t)(p->width - WINDOW + 1), row = MOMENTS * n;
    double sum = 0;
    for (int y = 0; y < p->height; y++) {
        filter_row(p, y, c, window, line, ring + (size_t)(y % WINDOW) * row);
        if (y < WINDOW - 1) continue;
        double across = 0;
        for (size_t x = 0; x < n; x++) {
            double m[MOMENTS] = {0};
            for (int i = 0; i < WINDOW; i++) {
                const double *from = ring + (size_t)((y + 1 + i) % WINDOW) * row + x;
                for (size_t k = 0; k < MOMENTS; k++) m[k] += window[i] * from[k * n];
            }
            across += similarity_at(m);
        }
        sum += across;
    }
    return sum;
}

esrgan_status esrgan_ssim(const esrgan_picture *a, const esrgan_picture *b, int border,
                          esrgan_metric_space space, double *similarity, esrgan_error *error) {
    if (!similarity) return es_fail(error, ESRGAN_E_ARGUMENT, "similarity is NULL");
    pair p;
    esrgan_status status = make_pair(&p, a, b, border, space, WINDOW, error);
    if (status != ESRGAN_OK) return status;
    const esrgan_allocator memory = es_allocator(NULL);
    const size_t n = (size_t)(p.width - WINDOW + 1), line = 2 * (size_t)p.width;
    const size_t bytes = (line + WINDOW * MOMENTS * n) * sizeof(double);
    double *buffer = es_alloc(&memory, bytes), window[WINDOW], sum = 0;
    if (!buffer) return es_fail(error, ESRGAN_E_MEMORY, "no memory to compare pictures");
    make_window(window);
    for (int c = 0; c < p.channels; c++) sum += channel_sum(&p, c, window, buffer, buffer + line);
    es_free(&memory, buffer, bytes);
    *similarity = sum / ((double)n * (p.height - WINDOW + 1) * p.channels);
    return ESRGAN_OK;
}
