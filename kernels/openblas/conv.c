/*
 * Convolution as a product of matrices: channels x K (the weights as they lie in the file) times
 * K x pixels, K = channels_in * kernel^2.  The second is written out for a bounded band of pixels
 * at a time, which stays in the cache until sgemm has packed it.
 */
#include <cblas.h>
#include <string.h>

#include "kernels.h"

enum { BAND = 128 }; /* pixels: K of them, 1 MB at most, lie in an L2 cache */

static size_t columns_of(const es_conv *c) {
    return (size_t)c->channels_in * (size_t)(c->kernel * c->kernel);
}

static size_t conv_chunk(const es_conv *conv) {
    (void)conv;
    return BAND;
}

static size_t conv_scratch(const es_conv *c, size_t count) {
    return columns_of(c) * count * sizeof(float);
}

/* out[i] = row[(x + i) / zoom] */
static void copy_zoomed(float *out, const float *row, size_t x, size_t n, size_t zoom) {
    row += x / zoom;
    for (size_t phase = x % zoom; phase > 0 && phase < zoom && n > 0; phase++, n--) *out++ = *row;
    row += x % zoom > 0;
    if (zoom == 2) {
        for (size_t i = 0; i < n / 2; i++) out[2 * i] = out[2 * i + 1] = row[i];
    } else {
        for (size_t i = 0; i < n / zoom; i++)
            for (size_t j = 0; j < zoom; j++) out[zoom * i + j] = row[i];
    }
    for (size_t i = n / zoom * zoom; i < n; i++) out[i] = row[n / zoom];
}

/* out[i] = the input at columns x + i of a row, 0 outside; n of them. */
static void copy_row(float *out, const float *row, int64_t x, size_t n, const es_conv *c) {
    while (n > 0 && x < 0) *out++ = 0.0f, x++, n--;
    size_t inside = x < c->width ? (size_t)(c->width - x) : 0;
    if (inside > n) inside = n;
    if (c->zoom == 1)
        memcpy(out, row + x, inside * sizeof *out);
    else
        copy_zoomed(out, row, (size_t)x, inside, (size_t)c->zoom);
    for (size_t i = inside; i < n; i++) out[i] = 0.0f;
}

/* One row of the matrix: what tap (ky, kx) of a channel sees at `count` pixels from `first` on. */
static void copy_tap(float *out, const float *plane, int ky, int kx, size_t first, size_t count,
                     const es_conv *c) {
    const size_t width = (size_t)c->width, in_width = width / (size_t)c->zoom;
    const int radius = c->kernel / 2;
    size_t y = first / width, x = first % width;
    while (count > 0) {
        const size_t n = width - x < count ? width - x : count;
        const int64_t yy = (int64_t)y + ky - radius;
        if (yy < 0 || yy >= c->height)
            memset(out, 0, n * sizeof *out);
        else
            copy_row(out, plane + (size_t)(yy / c->zoom) * in_width, (int64_t)x + kx - radius, n,
                     c);
        out += n;
        count -= n;
        x = 0;
        y++;
    }
}

static void conv(const es_conv *c, size_t first, size_t count, void *scratch) {
    const size_t plane = (size_t)c->width * (size_t)c->height, k = columns_of(c);
    const float *bias = c->bias;
    float *row = scratch, *out = (float *)c->out + first;
    for (int ci = 0; ci < c->channels_in; ci++)
        for (int ky = 0; ky < c->kernel; ky++)
            for (int kx = 0; kx < c->kernel; kx++, row += count)
                copy_tap(row, c->in[ci], ky, kx, first, count, c);
    for (int co = 0; co < c->channels; co++)
        for (size_t i = 0; i < count; i++) out[(size_t)co * plane + i] = bias ? bias[co] : 0.0f;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, c->channels, (int)count, (int)k, 1.0f,
                c->weight, (int)k, scratch, (int)count, 1.0f, out, (int)plane);
}

void es_kernels_openblas(es_kernels *table) {
    table->name = "openblas";
    table->conv_chunk = conv_chunk;
    table->conv_scratch = conv_scratch;
    table->conv = conv;
}

const char *es_openblas_core(void) { return openblas_get_corename(); }

void es_openblas_single_thread(void) { openblas_set_num_threads(1); }
