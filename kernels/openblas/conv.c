/*
 * Convolution as products of matrices, for a bounded band of pixels at a time.  What the band looks
 * at is written out once for each input channel and kernel row, with the margin that the kernel's
 * columns reach into: a panel of channels_in * kernel rows.  Each kernel column is then a product
 * with the same panel, begun so many places further on, and the products add up:
 *
 *     tile  =  sum over kx of  weight[kx]  x  (panel + kx)
 *
 * That is im2col with a third of the copying.  A band that goes over several rows of the picture
 * has a margin around each; the columns of the tile between rows mean nothing and are left behind.
 */
#include <string.h>

#include "blas.h"
#include "kernels.h"

enum { FLOATS_A_LINE = 16 };

/* Wide enough for sgemm to get going, few enough to lie in a cache and to leave every thread its
 * share of a small picture. */
static size_t conv_chunk(const es_conv *conv) {
    return (int64_t)conv->height * conv->width < 16384 ? 256 : 512;
}

static size_t depth_of(const es_conv *c) { return (size_t)c->channels_in * (size_t)c->kernel; }

/* Floats from one row of the panel, or of the tile, to the next: room for the pixels and margins. */
static size_t pitch_of(const es_conv *c, size_t count) {
    const size_t rows = count / (size_t)c->width + 2;
    const size_t floats = count + rows * (size_t)(c->kernel / 2 * 2);
    return (floats + FLOATS_A_LINE - 1) / FLOATS_A_LINE * FLOATS_A_LINE;
}

static size_t conv_scratch(const es_conv *c, size_t count) {
    return (depth_of(c) + (size_t)c->channels) * pitch_of(c, count) * sizeof(float);
}

/* weight[co][ci][ky][kx] to out[kx][co][ci][ky] */
static void arrange(const es_conv *c, void *out) {
    const float *weight = c->weight;
    const size_t k = (size_t)c->kernel, rows = (size_t)c->channels * depth_of(c);
    for (size_t kx = 0; kx < k; kx++)
        for (size_t i = 0; i < rows; i++) ((float *)out)[kx * rows + i] = weight[i * k + kx];
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

/* A row of the panel: what kernel row ky of a channel sees of `count` pixels from `first` on, with
 * a margin on both sides of each picture row.  Returns its length. */
static size_t copy_panel_row(float *out, const float *plane, int ky, size_t first, size_t count,
                             const es_conv *c) {
    const size_t width = (size_t)c->width, in_width = width / (size_t)c->zoom;
    const int margin = c->kernel / 2;
    const float *begin = out;
    size_t y = first / width, x = first % width;
    while (count > 0) {
        const size_t n = width - x < count ? width - x : count, all = n + 2 * (size_t)margin;
        const int64_t yy = (int64_t)y + ky - margin;
        if (yy < 0 || yy >= c->height)
            memset(out, 0, all * sizeof *out);
        else
            copy_row(out, plane + (size_t)(yy / c->zoom) * in_width, (int64_t)x - margin, all, c);
        out += all;
        count -= n;
        x = 0;
        y++;
    }
    return (size_t)(out - begin);
}

/* A row of the tile to the pixels it stands for. */
static void copy_tile_row(float *out, const float *tile, float bias, size_t first, size_t count,
                          const es_conv *c) {
    const size_t width = (size_t)c->width, margins = (size_t)(c->kernel / 2 * 2);
    size_t x = first % width;
    while (count > 0) {
        const size_t n = width - x < count ? width - x : count;
        for (size_t i = 0; i < n; i++) out[i] = tile[i] + bias;
        out += n;
        tile += n + margins;
        count -= n;
        x = 0;
    }
}

static void conv(const es_conv *c, size_t first, size_t count, void *scratch) {
    const size_t plane = (size_t)c->width * (size_t)c->height, depth = depth_of(c),
                 pitch = pitch_of(c, count), columns_beyond = (size_t)(c->kernel / 2 * 2);
    const float *weight = c->weight, *bias = c->bias;
    float *panel = scratch, *tile = panel + depth * pitch;
    size_t length = 0;
    for (int ci = 0; ci < c->channels_in; ci++)
        for (int ky = 0; ky < c->kernel; ky++)
            length = copy_panel_row(panel + (size_t)(ci * c->kernel + ky) * pitch, c->in[ci], ky,
                                    first, count, c);
    for (int kx = 0; kx < c->kernel; kx++)
        es_blas_bound.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, c->channels,
                            (int)(length - columns_beyond), (int)depth, 1.0f,
                            weight + (size_t)kx * (size_t)c->channels * depth, (int)depth,
                            panel + kx, (int)pitch, kx == 0 ? 0.0f : 1.0f, tile, (int)pitch);
    for (int co = 0; co < c->channels; co++)
        copy_tile_row((float *)c->out + (size_t)co * plane + first, tile + (size_t)co * pitch,
                      bias ? bias[co] : 0.0f, first, count, c);
}

void es_kernels_openblas(es_kernels *table) {
    table->name = "openblas";
    table->arrange = arrange;
    table->conv_chunk = conv_chunk;
    table->conv_scratch = conv_scratch;
    table->conv = conv;
}
