/* Explanations whose parameters are found from the data: gains, offsets, permuted channels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

/* Least squares of test = gain * right + offset over elements from..to. */
static void fit_line(const suspect *s, size_t from, size_t to, double *gain, double *offset) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = from; i < to; i++) {
        double a = s->right->v[i], b = s->test->v[i];
        if (!isfinite(a) || !isfinite(b)) continue;
        n++;
        x += a;
        y += b;
        xx += a * a;
        xy += a * b;
    }
    double spread = n * xx - x * x;
    *gain = spread > 1e-12 * n * xx ? (n * xy - x * y) / spread : 0;
    *offset = n > 0 ? (y - *gain * x) / n : 0;
}

static bool try_lines(const suspect *s, explanations *list) {
    char text[240];
    tensor made = {0};
    double gain, offset;
    size_t count = tensor_count(s->right), plane = count / (size_t)s->right->c;
    if (!tensor_make(&made, s->right->c, s->right->h, s->right->w)) return false;
    fit_line(s, 0, count, &gain, &offset);
    for (size_t i = 0; i < count; i++) made.v[i] = gain * s->right->v[i] + offset;
    if (fabs(gain) < 1e-3 && fabs(offset) < 1e-6)
        snprintf(text, sizeof text, "it is all zeros");
    else if (fabs(gain) < 1e-3)
        snprintf(text, sizeof text, "it is constant, %.4g", offset);
    else
        snprintf(text, sizeof text, "it is %.5g times what it should be%s%.4g", gain,
                 offset < 0 ? ", less " : ", plus ", fabs(offset));
    bool good = diagnose_consider(s, list, fabs(gain) < 1e-3 ? "constant" : "gain-and-offset",
                                  s->name, text, &made, 0);
    size_t used = 0;
    char figures[160] = "";
    for (size_t c = 0; c < (size_t)made.c; c++) {
        fit_line(s, c * plane, (c + 1) * plane, &gain, &offset);
        for (size_t i = c * plane; i < (c + 1) * plane; i++)
            made.v[i] = gain * s->right->v[i] + offset;
        if (c < 3 && used < sizeof figures)
            used += (size_t)snprintf(figures + used, sizeof figures - used, "%s%.4g x %+.4g",
                                     c ? ", " : "", gain, offset);
    }
    snprintf(text, sizeof text, "each channel has a gain and an offset of its own (%s%s)", figures,
             made.c > 3 ? ", ..." : "");
    if (good && made.c > 1)
        good = diagnose_consider(s, list, "channel-gains", s->name, text, &made, 0);
    tensor_free(&made);
    return good;
}

/* Simple functions of the right value. */
static bool try_functions(const suspect *s, explanations *list) {
    static const struct {
        const char *id, *text;
    } names[] = {
        {"activated", "it was dumped after the activation (an in-place activation does that)"},
        {"rectified", "a plain ReLU was applied to it"},
        {"clamped", "it is clamped to 0..1"},
        {"negated", "its sign is reversed"},
    };
    bool good = true;
    for (int k = 0; good && k < (int)(sizeof names / sizeof *names); k++) {
        tensor made = {0};
        if (!tensor_copy(&made, s->right)) return false;
        for (size_t i = 0; i < tensor_count(&made); i++) {
            double v = made.v[i];
            made.v[i] = k == 0   ? (v < 0 ? 0.2 * v : v)
                        : k == 1 ? fmax(v, 0)
                        : k == 2 ? fmin(fmax(v, 0), 1)
                                 : -v;
        }
        good = diagnose_consider(s, list, names[k].id, s->name, names[k].text, &made, 0);
        tensor_free(&made);
    }
    return good;
}

/* How 8 bits may have been made wrongly of what the network returned. */
static bool try_bytes(const suspect *s, explanations *list) {
    if (strcmp(s->name, "output.u8") != 0 || !s->from) return true;
    int last = s->index - 2; /* conv_last: not clamped yet */
    tensor raw = {0}, made = {0};
    bool there = s->from->has(s->from->context, last);
    bool good = (there ? s->from->load(s->from->context, last, &raw)
                       : evaluate(s->from, last, &raw, NULL)) &&
                tensor_copy(&made, &raw);
    for (size_t i = 0; good && i < tensor_count(&raw); i++)
        made.v[i] = floor(255 * fmin(fmax(raw.v[i], 0), 1));
    good = good && diagnose_consider(s, list, "truncated", s->name,
                                     "it is cut off, not rounded to nearest", &made, 0);
    for (size_t i = 0; good && i < tensor_count(&raw); i++) {
        double v = floor(255 * raw.v[i] + 0.5);
        made.v[i] = v - 256 * floor(v / 256);
    }
    good = good && diagnose_consider(s, list, "wrapped", s->name,
                                     "it is not clamped: values wrap around at 256", &made, 0);
    tensor_free(&raw);
    tensor_free(&made);
    return good;
}

/* ---- Channels in another order ---- */

enum { MOST_PIXELS = 2048 };

/* Of each channel `pixels` values, mean taken away, length 1. */
static float *channel_vectors(const tensor *t, size_t pixels) {
    size_t plane = (size_t)t->h * (size_t)t->w;
    float *vectors = allocate((size_t)t->c * pixels, sizeof *vectors);
    for (size_t c = 0; vectors && c < (size_t)t->c; c++) {
        float *v = vectors + c * pixels;
        double mean = 0, length = 0;
        for (size_t i = 0; i < pixels; i++) {
            double x = t->v[c * plane + i * plane / pixels];
            v[i] = isfinite(x) ? (float)x : 0;
            mean += v[i];
        }
        for (size_t i = 0; i < pixels; i++) {
            v[i] -= (float)(mean / (double)pixels);
            length += (double)v[i] * v[i];
        }
        for (size_t i = 0; i < pixels; i++) v[i] = length > 0 ? v[i] / (float)sqrt(length) : 0;
    }
    return vectors;
}

static bool try_permutation(const suspect *s, explanations *list) {
    int n = s->right->c, moved = 0;
    size_t plane = (size_t)s->right->h * (size_t)s->right->w;
    size_t pixels = plane < MOST_PIXELS ? plane : MOST_PIXELS;
    if (n < 2) return true;
    float *a = channel_vectors(s->right, pixels), *b = channel_vectors(s->test, pixels);
    tensor made = {0};
    bool good = a && b && tensor_make(&made, n, s->right->h, s->right->w);
    char text[300] = "its channels are in another order:";
    size_t used = strlen(text);
    for (int c = 0; good && c < n; c++) {
        int best = c;
        double most = -2;
        for (int k = 0; k < n; k++) {
            double r = 0;
            for (size_t i = 0; i < pixels; i++)
                r += (double)b[(size_t)c * pixels + i] * a[(size_t)k * pixels + i];
            if (r > most + (k == c ? -1e-6 : 1e-6)) {
                most = r;
                best = k;
            }
        }
        memcpy(made.v + (size_t)c * plane, s->right->v + (size_t)best * plane,
               plane * sizeof(double));
        if (best == c) continue;
        if (moved++ < 6 && used < sizeof text - 24)
            used += (size_t)snprintf(text + used, sizeof text - used, " %d is %d,", c, best);
    }
    text[used - 1] = moved > 6 ? ' ' : '.';
    if (moved > 6) snprintf(text + used, sizeof text - used, "and so on");
    if (moved <= 6) text[used - 1] = 0;
    if (good && moved)
        good = diagnose_consider(s, list, "channels-permuted", s->name, text, &made, 0);
    tensor_free(&made);
    free(a);
    free(b);
    return good;
}

bool diagnose_fits(const suspect *s, explanations *list) {
    return try_permutation(s, list) && try_functions(s, list) && try_bytes(s, list) &&
           try_lines(s, list);
}
