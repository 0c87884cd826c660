#include "conv_f64.h"

#include <math.h>
#include <string.h>

#include "blas.h"

/* Pixels a matrix product works on at once: its operand stays within a core's L2 or little more. */
enum { PIXELS = 192 };

size_t es_conv_f64_scratch(const es_conv_f64 *conv) {
    return (size_t)conv->channels_in * (size_t)(conv->kernel * conv->kernel) * PIXELS;
}

/* Pixels first .. first+count-1 (in row order) of `plane` moved by (dy, dx), zeros outside. */
static void gather(const es_conv_f64 *conv, const double *plane, int dy, int dx, size_t first,
                   size_t count, double *out) {
    size_t width = (size_t)conv->width;
    while (count > 0) {
        size_t y = first / width, x = first % width;
        size_t run = width - x < count ? width - x : count;
        ptrdiff_t sy = (ptrdiff_t)y + dy;
        if (sy < 0 || sy >= conv->height) {
            memset(out, 0, run * sizeof *out);
        } else {
            const double *row = plane + (size_t)sy * width;
            size_t from = dx < 0 && x == 0 ? 1 : 0;
            size_t to = dx > 0 && x + run == width ? run - 1 : run;
            if (from > 0) out[0] = 0;
            if (to < run) out[run - 1] = 0;
            if (to > from)
                memcpy(out + from, row + (ptrdiff_t)(x + from) + dx, (to - from) * sizeof *out);
        }
        out += run;
        first += run;
        count -= run;
    }
}

void es_conv_f64_run(const es_conv_f64 *conv, double *scratch) {
    int taps = conv->kernel * conv->kernel, half = conv->kernel / 2;
    int depth = conv->channels_in * taps;
    size_t total = (size_t)conv->height * (size_t)conv->width;
    for (size_t first = 0; first < total; first += PIXELS) {
        size_t count = total - first < PIXELS ? total - first : PIXELS;
        for (int k = 0; k < depth; k++)
            gather(conv, conv->planes[k / taps], k % taps / conv->kernel - half,
                   k % conv->kernel - half, first, count, scratch + (size_t)k * count);
        if (conv->absolute)
            for (size_t i = 0; i < (size_t)depth * count; i++) scratch[i] = fabs(scratch[i]);
        for (int o = 0; o < conv->channels_out; o++)
            for (size_t i = 0; i < count; i++)
                conv->out[(size_t)o * total + first + i] = conv->bias[o];
        es_blas_bound.dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, conv->channels_out,
                            (int)count, depth, 1.0, conv->weight, depth, scratch, (int)count, 1.0,
                            conv->out + first, (int)total);
    }
}
