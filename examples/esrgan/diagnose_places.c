/* Where a value is wrong: only at the border, at multiples of a tile, in some channels, from a
 * power of two on; and what its numbers tell: NaN, Inf, overflow, coarser rounding. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

/* The error's energy by row, by column, by channel and by ring (distance from the edge). */
typedef struct profile {
    double total;
    double *row, *column, *channel, *ring;
    int rings;
    size_t bad, first, last; /* elements outside their tolerance */
} profile;

static void profile_free(profile *p) {
    free(p->row);
    free(p->column);
    free(p->channel);
    free(p->ring);
}

static bool profile_make(const suspect *s, profile *p) {
    const tensor *t = s->test;
    *p = (profile){.rings = (t->h < t->w ? t->h : t->w) / 2 + 1};
    p->row = allocate((size_t)t->h, sizeof(double));
    p->column = allocate((size_t)t->w, sizeof(double));
    p->channel = allocate((size_t)t->c, sizeof(double));
    p->ring = allocate((size_t)p->rings, sizeof(double));
    if (!p->row || !p->column || !p->channel || !p->ring) return false;
    size_t i = 0;
    for (int c = 0; c < t->c; c++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++, i++) {
                double d = fabs(t->v[i] - s->right->v[i]);
                bool finite = isfinite(d);
                if (finite && d <= s->limit->v[i]) continue;
                if (!finite && !isfinite(s->right->v[i])) continue;
                double energy = finite ? d * d : 0;
                int far = x < y ? x : y;
                if (t->w - 1 - x < far) far = t->w - 1 - x;
                if (t->h - 1 - y < far) far = t->h - 1 - y;
                if (p->bad++ == 0) p->first = i;
                p->last = i;
                p->total += energy;
                p->row[y] += energy;
                p->column[x] += energy;
                p->channel[c] += energy;
                p->ring[far] += energy;
            }
    return true;
}

static bool add_place(const suspect *s, explanations *list, const char *id, const char *text,
                      double share) {
    explanation *e = explanations_add(list, id, s->name, text);
    if (!e) return false;
    e->explained = share;
    tensor_diff d;
    tensor_compare(s->right, s->test, &d);
    e->rms = d.rms * sqrt(fmax(0, 1 - share));
    e->max = d.max;
    return true;
}

static bool try_border(const suspect *s, const profile *p, explanations *list) {
    char text[160];
    double sum = 0;
    for (int r = 0; r < p->rings && r < 8; r++) {
        sum += p->ring[r];
        double inside = fmax(0, s->test->w - 2.0 * (r + 1)) * fmax(0, s->test->h - 2.0 * (r + 1));
        double area = 1 - inside / ((double)s->test->w * s->test->h);
        if (area > 0.6) return true;
        if (sum < 0.98 * p->total) continue;
        snprintf(text, sizeof text, "wrong only on the border, %d pixel%s wide: padding", r + 1,
                 r ? "s" : "");
        return add_place(s, list, "border", text, sum / p->total);
    }
    return true;
}

/* The share of `energy` within `near` of the inner multiples of `step`; how much of the line that
 * covers goes to *covered. */
static double at_multiples(const double *energy, int n, int step, int near, double total,
                           double *covered) {
    double sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++) {
        int to = i % step < step - i % step ? -(i % step) : step - i % step;
        int multiple = i + to;
        if (multiple <= 0 || multiple >= n) continue;
        if (to > near || -to > near || to == -near) continue; /* near before it, near - 1 behind */
        sum += energy[i];
        count++;
    }
    *covered = (double)count / n;
    return total > 0 ? sum / total : 0;
}

static bool try_tiles(const suspect *s, const profile *p, explanations *list) {
    static const int steps[] = {4,  8,  10, 12, 14,  16,  20,  24,  28,  30,  32,  40,  48, 50,
                                56, 60, 64, 96, 100, 112, 128, 192, 200, 224, 256, 400, 512};
    char text[200];
    double best = 1;
    int step = 0, near = 0;
    bool rows = false, columns = false;
    if (s->test->h < 9 || s->test->w < 9) return true;
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++)
        for (int n = 1; n <= 4 && 2 * n < steps[k]; n++) {
            double x_covered, y_covered;
            double x = at_multiples(p->column, s->test->w, steps[k], n, p->total, &x_covered);
            double y = at_multiples(p->row, s->test->h, steps[k], n, p->total, &y_covered);
            bool by_x = x > 0.97 && x_covered<0.55, by_y = y> 0.97 && y_covered < 0.55;
            /* A grid: what is not at the columns is at the rows. */
            bool grid = !by_x && !by_y && x > 0.3 && y > 0.3 && x_covered < 0.35 &&
                        y_covered < 0.35 && x + y > 0.98;
            double covered = by_x ? x_covered : by_y ? y_covered : x_covered + y_covered;
            if ((!by_x && !by_y && !grid) || covered >= best) continue;
            best = covered;
            step = steps[k];
            near = n;
            columns = by_x || grid;
            rows = by_y || grid;
        }
    if (step == 0) return true;
    snprintf(text, sizeof text,
             "wrong only at multiples of %d in %s%s%s, %d pixel%s to each side: "
             "the seams of tiles (halo)",
             step, columns ? "x" : "", columns && rows ? " and " : "", rows ? "y" : "", near,
             near > 1 ? "s" : "");
    return add_place(s, list, "tile-seams", text, 0.98);
}

static bool try_channels(const suspect *s, const profile *p, explanations *list) {
    char text[260] = "wrong only in some channels:";
    size_t used = strlen(text);
    int n = s->test->c, bad = 0, first = -1, last = -1;
    for (int c = 0; c < n; c++)
        if (p->channel[c] > 1e-3 * p->total / n) {
            bad++;
            if (first < 0) first = c;
            last = c;
        }
    if (n < 2 || bad == 0 || bad > n * 3 / 4) return true;
    if (last - first + 1 == bad && bad > 1) {
        snprintf(text, sizeof text, "wrong only in channels %d to %d of %d", first, last, n);
    } else {
        for (int c = first, shown = 0; c <= last && shown < 12; c++)
            if (p->channel[c] > 1e-3 * p->total / n && ++shown)
                used += (size_t)snprintf(text + used, sizeof text - used, " %d", c);
        snprintf(text + used, sizeof text - used, "%s of %d", bad > 12 ? " ..." : "", n);
    }
    return add_place(s, list, "some-channels", text, 0.999);
}

/* Wrong from a power of two on: elements, bytes of them, or channels. */
static bool try_power(const suspect *s, const profile *p, explanations *list) {
    char text[220];
    size_t count = tensor_count(s->test);
    for (int k = 40; k >= 10; k--) {
        size_t edge = (size_t)1 << k;
        if (edge >= count || p->first < edge || p->first - edge > edge / 16) continue;
        if (p->bad < (count - edge) / 4) return true; /* not most of what lies behind it */
        snprintf(text, sizeof text,
                 "right up to element 2^%d = %zu (channel %zu), wrong behind it: "
                 "an index that is too narrow",
                 k, edge, edge / ((size_t)s->test->h * (size_t)s->test->w));
        return add_place(s, list, "past-power-of-two", text, 1);
    }
    return true;
}

static bool try_few(const suspect *s, const profile *p, explanations *list) {
    char text[200];
    size_t plane = (size_t)s->test->h * (size_t)s->test->w;
    if (p->bad == 0 || p->bad > 8 || p->bad * 50 > tensor_count(s->test)) return true;
    snprintf(text, sizeof text,
             "wrong only in %zu element%s, the first at channel %zu, row %zu, "
             "column %zu",
             p->bad, p->bad > 1 ? "s" : "", p->first / plane, p->first % plane / (size_t)s->test->w,
             p->first % (size_t)s->test->w);
    return add_place(s, list, "few-elements", text, 1);
}

bool diagnose_places(const suspect *s, explanations *list) {
    profile p;
    bool good = profile_make(s, &p);
    if (good && p.total > 0)
        good = try_border(s, &p, list) && try_tiles(s, &p, list) && try_channels(s, &p, list) &&
               try_power(s, &p, list) && try_few(s, &p, list);
    profile_free(&p);
    return good;
}

/* ---- Numbers ---- */

static double largest(const tensor *t) {
    double most = 0;
    for (size_t i = 0; i < tensor_count(t); i++)
        if (isfinite(t->v[i])) most = fmax(most, fabs(t->v[i]));
    return most;
}

/* The largest magnitude that goes into the layer. */
static double largest_input(const suspect *s) {
    double most = 0;
    if (!s->from) return 0;
    const esrgan_layer *l = &s->from->g->layers[s->index];
    for (int i = 0; i < l->input_count; i++) {
        tensor t = {0};
        if (s->from->has(s->from->context, l->inputs[i]) &&
            s->from->load(s->from->context, l->inputs[i], &t))
            most = fmax(most, largest(&t));
        tensor_free(&t);
    }
    return most;
}

static bool explain_nonfinite(const suspect *s, explanations *list) {
    size_t nan = 0, inf = 0, over = 0;
    char text[320];
    for (size_t i = 0; i < tensor_count(s->test); i++) {
        if (isfinite(s->test->v[i]) || !isfinite(s->right->v[i])) continue;
        nan += isnan(s->test->v[i]) != 0;
        inf += isinf(s->test->v[i]) != 0;
        over += fabs(s->right->v[i]) >= 65504;
    }
    if (nan + inf == 0) return true;
    bool overflow = over * 100 >= (nan + inf) * 99;
    snprintf(text, sizeof text,
             "%s begin here: %zu NaN, %zu Inf; the largest magnitude of its "
             "input is %.4g, of what it should be %.4g%s",
             nan && inf ? "NaN and Inf"
             : nan      ? "NaN"
                        : "Inf",
             nan, inf, largest_input(s), largest(s->right),
             overflow ? ": past 65504, where FP16 ends (overflow)" : "");
    explanation *e =
        explanations_add(list, overflow ? "fp16-overflow" : "nonfinite", s->name, text);
    if (!e) return false;
    e->explained = 1;
    e->fits = true;
    return true;
}

/* Cut off at the largest FP16 number in place of overflowing. */
static bool explain_saturated(const suspect *s, explanations *list) {
    tensor made = {0};
    if (largest(s->right) <= 65504) return true;
    if (!tensor_copy(&made, s->right)) return false;
    for (size_t i = 0; i < tensor_count(&made); i++)
        made.v[i] = fmin(fmax(made.v[i], -65504), 65504);
    bool good = diagnose_consider(s, list, "fp16-overflow", s->name,
                                  "it is cut off at 65504, where FP16 ends", &made, 0);
    tensor_free(&made);
    return good;
}

/* Right, but only to a precision coarser than the one it is measured against. */
static bool explain_rounding(const suspect *s, explanations *list) {
    static const struct {
        const char *id, *text;
        double u;
    } coarser[] = {{"fp16-rounding", "it is rounded as FP16 or TF32 rounds", 0x1p-11},
                   {"bf16-rounding", "it is rounded as BF16 rounds", 0x1p-8}};
    char text[200];
    double squares = tensor_squares(s->right, s->test, 0), power = 0;
    size_t count = tensor_count(s->test);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(s->test->v[i])) return true;
        power += s->right->v[i] * s->right->v[i];
    }
    double relative = power > 0 ? sqrt(squares / power) : INFINITY;
    for (int k = 0; k < 2; k++) {
        if (relative > 2 * coarser[k].u || relative < coarser[k].u / 32) continue;
        /* Rounding is everywhere: few elements would be exactly right, none far off. */
        double most = 0;
        size_t touched = 0;
        for (size_t i = 0; i < count; i++) {
            double d = fabs(s->test->v[i] - s->right->v[i]);
            most = fmax(most, d);
            touched += d > 0.05 * relative * sqrt(power / (double)count);
        }
        if (most > 12 * sqrt(squares / (double)count) || touched * 2 < count) continue;
        snprintf(text, sizeof text, "%s: errors everywhere, of the size 2^%.1f", coarser[k].text,
                 log2(relative));
        explanation *e = explanations_add(list, coarser[k].id, s->name, text);
        if (!e) return false;
        e->explained = 0.9; /* the size fits; the sign of rounding cannot be foretold */
        e->rms = sqrt(squares / (double)count);
        e->max = most;
        return true;
    }
    return true;
}

bool diagnose_numbers(const suspect *s, explanations *list) {
    return explain_nonfinite(s, list) && explain_saturated(s, list) && explain_rounding(s, list);
}
