/* esrgan_resize: separable resampling, in double, one rounding at the end. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "picture/picture.h"

#define PI 3.14159265358979323846

/* ---- Filters ------------------------------------------------------------------------------ */

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double sinc(double x) { return x == 0 ? 1 : sin(PI * x) / (PI * x); }
static double lanczos(double x) { return fabs(x) < 3 ? sinc(x) * sinc(x / 3) : 0; }
static double bilinear(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

typedef struct curve {
    double (*weight)(double x); /* NULL: the sample below the centre */
    double support;
} curve;

static const curve curves[] = {
    [ESRGAN_BICUBIC] = {bicubic, 2},
    [ESRGAN_LANCZOS] = {lanczos, 3},
    [ESRGAN_NEAREST] = {NULL, 0.5},
    [ESRGAN_BILINEAR] = {bilinear, 1},
};

/* What each place of one axis of the result is made of. */
typedef struct taps {
    int *first, *count; /* for each of `size` places */
    double *weights;    /* `most` for each */
    int size, most;
    void *memory;
    size_t bytes;
} taps;

static void fill_place(taps *t, const curve *f, int place, int in, double ratio) {
    const double centre = (place + 0.5) * ratio;
    double *weights = t->weights + (size_t)place * (size_t)t->most;
    if (!f->weight) {
        const int nearest = (int)centre;
        t->first[place] = nearest < in ? nearest : in - 1;
        t->count[place] = 1;
        weights[0] = 1;
        return;
    }
    const double spread = ratio > 1 ? ratio : 1, support = f->support * spread;
    int from = (int)(centre - support + 0.5), to = (int)(centre + support + 0.5);
    if (from < 0) from = 0;
    if (to > in) to = in;
    double sum = 0;
    for (int i = from; i < to; i++)
        sum += weights[i - from] = f->weight((i + 0.5 - centre) / spread);
    for (int i = from; i < to; i++) weights[i - from] /= sum;
    t->first[place] = from;
    t->count[place] = to - from;
}

static bool make_taps(taps *t, const curve *f, int in, int out, const esrgan_allocator *a) {
    const double ratio = (double)in / out;
    const double most = 2 * ceil(f->support * (ratio > 1 ? ratio : 1)) + 1;
    *t = (taps){.size = out, .most = most < in ? (int)most : in};
    size_t places, weights;
    if (!es_mul((size_t)out, 2 * sizeof(int), &places) ||
        !es_mul((size_t)out, (size_t)t->most * sizeof(double), &weights) ||
        !es_add(places, weights, &t->bytes))
        return false;
    t->memory = es_alloc(a, t->bytes);
    if (!t->memory) return false;
    t->weights = t->memory;
    t->first = (int *)(t->weights + (size_t)out * (size_t)t->most);
    t->count = t->first + out;
    for (int i = 0; i < out; i++) fill_place(t, f, i, in, ratio);
    return true;
}

static void release_taps(taps *t, const esrgan_allocator *a) { es_free(a, t->memory, t->bytes); }

/* ---- Rows --------------------------------------------------------------------------------- */

/* sum[i] += weight * sample i of row y, from 0 to 1; colour times alpha where there is alpha. */
static void add_row(double *sum, const esrgan_picture *p, int y, double weight) {
    const void *row = es_picture_row(p, y);
    const size_t n = (size_t)p->width * (size_t)p->channels, channels = (size_t)p->channels;
    const double unit = 1.0 / es_picture_max(p);
    if (!es_picture_has_alpha(p)) {
        for (size_t i = 0; i < n; i++) sum[i] += weight * (es_sample(p, row, i) * unit);
        return;
    }
    for (size_t i = 0; i < n; i += channels) {
        const double alpha = es_sample(p, row, i + channels - 1) * unit;
        for (size_t c = 0; c + 1 < channels; c++)
            sum[i + c] += weight * (es_sample(p, row, i + c) * unit * alpha);
        sum[i + channels - 1] += weight * alpha;
    }
}

static void store(const esrgan_picture *p, void *row, size_t i, double x) {
    const double max = es_picture_max(p), scaled = floor(x * max + 0.5);
    const double clamped = scaled < 0 ? 0 : scaled > max ? max : scaled;
    if (p->bits == 8)
        ((uint8_t *)row)[i] = (uint8_t)clamped;
    else
        ((uint16_t *)row)[i] = (uint16_t)clamped;
}

static void store_pixel(const esrgan_picture *out, void *row, int x, double *pixel) {
    const int last = out->channels - 1;
    if (es_picture_has_alpha(out))
        for (int c = 0; c < last; c++) pixel[c] = pixel[last] > 0 ? pixel[c] / pixel[last] : 0;
    for (int c = 0; c <= last; c++)
        store(out, row, (size_t)x * (size_t)out->channels + (size_t)c, pixel[c]);
}

static void resize_row(const esrgan_picture *in, const esrgan_picture *out, int y, const taps *down,
                       const taps *across, double *line) {
    const size_t channels = (size_t)in->channels;
    memset(line, 0, (size_t)in->width * channels * sizeof *line);
    for (int i = 0; i < down->count[y]; i++)
        add_row(line, in, down->first[y] + i, down->weights[(size_t)y * (size_t)down->most + i]);
    void *row = es_picture_row(out, y);
    for (int x = 0; x < out->width; x++) {
        const double *weights = across->weights + (size_t)x * (size_t)across->most;
        const double *from = line + (size_t)across->first[x] * channels;
        double pixel[4] = {0};
        for (int i = 0; i < across->count[x]; i++, from += channels)
            for (size_t c = 0; c < channels; c++) pixel[c] += weights[i] * from[c];
        store_pixel(out, row, x, pixel);
    }
}

static esrgan_status check(const esrgan_picture *in, const esrgan_picture *out,
                           esrgan_filter filter, esrgan_error *error) {
    esrgan_status status = es_picture_check(in, "in", error);
    if (status == ESRGAN_OK) status = es_picture_check(out, "out", error);
    if (status != ESRGAN_OK) return status;
    if (in->channels != out->channels)
        return es_fail(error, ESRGAN_E_ARGUMENT, "out has %d channels and in has %d", out->channels,
                       in->channels);
    if ((unsigned)filter > ESRGAN_BILINEAR)
        return es_fail(error, ESRGAN_E_ARGUMENT, "filter is %d; no such value", (int)filter);
    if (es_pictures_overlap(in, out))
        return es_fail(error, ESRGAN_E_ARGUMENT, "in and out overlap");
    return ESRGAN_OK;
}

esrgan_status esrgan_resize(const esrgan_picture *in, const esrgan_picture *out,
                            esrgan_filter filter, esrgan_error *error) {
    esrgan_status status = check(in, out, filter, error);
    if (status != ESRGAN_OK) return status;
    const esrgan_allocator a = es_allocator(NULL);
    const size_t bytes = (size_t)in->width * (size_t)in->channels * sizeof(double);
    taps down = {0}, across = {0};
    double *line = es_alloc(&a, bytes);
    if (line && make_taps(&down, &curves[filter], in->height, out->height, &a) &&
        make_taps(&across, &curves[filter], in->width, out->width, &a)) {
        for (int y = 0; y < out->height; y++) resize_row(in, out, y, &down, &across, line);
    } else {
        status = es_fail(error, ESRGAN_E_MEMORY, "no memory to resize a picture");
    }
    release_taps(&across, &a);
    release_taps(&down, &a);
    es_free(&a, line, bytes);
    return status;
}
