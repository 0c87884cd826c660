/*
 * Why a value is wrong: explanations are tried by computing what they would give, and measured by
 * how much of the error goes away.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

bool diagnose_consider(const suspect *s, explanations *list, const char *id, const char *layer,
                       const char *text, const tensor *made, int margin) {
    if (!tensor_same_shape(made, s->test)) return true;
    double before = tensor_squares(s->right, s->test, margin);
    double after = 0, worst = 0;
    size_t count = 0;
    bool fits = true;
    for (int c = 0; c < made->c; c++)
        for (int y = margin; y < made->h - margin; y++) {
            size_t row = ((size_t)c * (size_t)made->h + (size_t)y) * (size_t)made->w;
            for (size_t x = row + (size_t)margin; x < row + (size_t)(made->w - margin); x++) {
                double d = fabs(s->test->v[x] - made->v[x]);
                if (!isfinite(d)) {
                    fits = fits && !isfinite(made->v[x]) && !isfinite(s->test->v[x]);
                    continue;
                }
                after += d * d;
                count++;
                worst = fmax(worst, d);
                /* What is added up differs in size from what should have been: 4 times is allowed. */
                if (d > 4 * s->limit->v[x] + 4e-6 * fabs(made->v[x])) fits = false;
            }
        }
    double explained = before > 0 ? 1 - after / before : 0;
    if (count == 0 || explained < 0.1) return true;
    explanation *e = explanations_add(list, id, layer, text);
    if (!e) return false;
    e->explained = explained;
    e->rms = sqrt(after / (double)count);
    e->max = worst;
    e->fits = fits && (s->rms_limit <= 0 || e->rms <= 2 * s->rms_limit);
    return true;
}

/* ---- The value read wrongly: moved, not changed ---- */

bool diagnose_readings(const suspect *s, explanations *list) {
    char text[200], id[48];
    bool good = true;
    for (int how = 0; good && how < READING_COUNT; how++) {
        tensor made = {0};
        if (!tensor_read_as(&made, s->right, (reading)how)) continue;
        snprintf(text, sizeof text, "%s%s",
                 s->index < 0 && strcmp(s->name, "input") ? "the result is right, but " : "",
                 reading_text((reading)how, made.c));
        good =
            diagnose_consider(s, list, reading_id((reading)how, made.c), s->name, text, &made, 0);
        tensor_free(&made);
    }
    for (int dy = -2; good && dy <= 2; dy++)
        for (int dx = -2; good && dx <= 2; dx++) {
            tensor made = {0};
            if ((!dx && !dy) || s->right->h < 9 || s->right->w < 9) continue;
            if (!tensor_shift(&made, s->right, dx, dy)) return false;
            snprintf(id, sizeof id, "shifted");
            snprintf(text, sizeof text, "it is shifted by (%d, %d) pixels", dx, dy);
            good = diagnose_consider(s, list, id, s->name, text, &made, 3);
            tensor_free(&made);
        }
    return good;
}

/* ---- Faults in computing ---- */

static bool try_fault(const suspect *s, explanations *list, fault f, int where) {
    char text[300];
    tensor made = {0};
    evaluation e = *s->from;
    e.what = f;
    e.where = where;
    int about = where;
    if (where < 0) /* the words are those for the first layer it applies to */
        for (about = 0; about < s->index && !fault_applies(e.g, about, f); about++) {}
    fault_text(e.g, about, f, text, sizeof text);
    if (where < 0) snprintf(text + strlen(text), sizeof text - strlen(text), " (everywhere)");
    if (!evaluate(&e, s->index, &made, NULL)) return false;
    bool good = diagnose_consider(s, list, fault_id(e.g, about, f),
                                  where < 0 ? s->name : e.g->layers[where].name, text, &made, 0);
    tensor_free(&made);
    return good;
}

/* Every fault that is tried; more than READING_COUNT + 30 do not exist. */
static int all_faults(fault faults[64]) {
    int n = 0;
    faults[n++] = (fault){FAULT_ACTIVATION_SKIPPED, 0, 0};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0.01};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0.1};
    faults[n++] = (fault){FAULT_BIAS_MISSING, 0, 0};
    faults[n++] = (fault){FAULT_FACTOR, 0, 1};
    faults[n++] = (fault){FAULT_SHORTCUT_MISSING, 0, 0};
    faults[n++] = (fault){FAULT_BRANCH_MISSING, 0, 0};
    for (int p = PAD_REFLECT; p < PADDING_COUNT; p++) faults[n++] = (fault){FAULT_PADDING, p, 0};
    for (int i = 0; i < ENLARGE_COUNT; i++) faults[n++] = (fault){FAULT_ENLARGING, i, 0};
    for (int r = 0; r < READING_COUNT; r++) faults[n++] = (fault){FAULT_INPUT_READ, r, 0};
    static const reading turns[] = {READ_TURNED, READ_TRANSPOSED, READ_FLIPPED_X, READ_FLIPPED_Y};
    for (int i = 0; i < 4; i++) faults[n++] = (fault){FAULT_KERNEL_READ, (int)turns[i], 0};
    for (int i = 0; i < 5; i++) faults[n++] = (fault){FAULT_INPUT_MISSING, i, 0};
    faults[n++] = (fault){FAULT_INPUTS_REVERSED, 0, 0};
    faults[n++] = (fault){FAULT_OTHER_WEIGHTS, 0, 0};
    faults[n++] = (fault){FAULT_UNSHUFFLE_ORDER, 0, 0};
    return n;
}

/* Readings that do not fit are left out, by the size that the layer suspected has. */
static bool possible(const suspect *s, int index, fault f) {
    const graph *g = s->from->g;
    if (!fault_applies(g, index, f)) return false;
    return (f.kind != FAULT_KERNEL_READ && f.kind != FAULT_INPUT_READ) ||
           reading_fits((reading)f.option, g->layers[index].channels_in, s->right->h, s->right->w);
}

/* A wrong factor or slope in the last layer is found, not guessed. */
static bool fit_factor(const suspect *s, explanations *list) {
    const graph *g = s->from->g;
    const esrgan_layer *l = &g->layers[s->index];
    bool residual = !strcmp(l->op, "residual"), lrelu = !strcmp(l->op, "lrelu");
    tensor inputs[2] = {{0}, {0}};
    double ab = 0, aa = 0;
    if (!residual && !lrelu) return true;
    bool good = true;
    for (int i = 0; good && i < l->input_count; i++) {
        int from = l->inputs[i];
        good = s->from->has(s->from->context, from)
                   ? s->from->load(s->from->context, from, &inputs[i])
                   : evaluate(s->from, from, &inputs[i], NULL);
    }
    for (size_t i = 0; good && i < tensor_count(s->test); i++) {
        double a = inputs[0].v[i], y = s->test->v[i] - (residual ? inputs[1].v[i] : 0);
        if (!isfinite(a) || !isfinite(y) || (lrelu && a >= 0)) continue;
        ab += a * y;
        aa += a * a;
    }
    double fitted = aa > 0 ? ab / aa : l->alpha;
    tensor_free(&inputs[0]);
    tensor_free(&inputs[1]);
    /* 1 and 0 have names of their own. */
    if (!good || fabs(fitted - l->alpha) < 1e-3 || fabs(fitted - 1) < 0.02 ||
        (residual && fabs(fitted) < 1e-3))
        return good;
    return try_fault(s, list, (fault){residual ? FAULT_FACTOR : FAULT_SLOPE, 0, fitted}, s->index);
}

/* Layer by layer where the span is short, else the whole span broken in the same way. */
static bool try_faults(const suspect *s, explanations *list) {
    const graph *g = s->from->g;
    fault faults[64];
    int count = all_faults(faults);
    bool *needed = allocate((size_t)g->count, sizeof *needed), good = needed != NULL;
    int span = good ? evaluation_span(s->from, s->index, needed) : 0;
    for (int f = 0; good && f < count; f++) {
        int users = 0;
        for (int i = 0; i <= s->index; i++) users += needed[i] && possible(s, i, faults[f]);
        /* Broken inputs of every layer at once are no likely story. */
        bool alone = faults[f].kind == FAULT_INPUT_READ || faults[f].kind == FAULT_INPUT_MISSING;
        if (users > 1 && !alone) good = try_fault(s, list, faults[f], -1);
        bool each = users == 1 || (s->all_faults && span <= 24);
        for (int i = 0; good && each && i <= s->index; i++)
            if (needed[i] && possible(s, i, faults[f])) good = try_fault(s, list, faults[f], i);
    }
    free(needed);
    return good;
}

bool diagnose(const suspect *s, explanations *list) {
    bool good = diagnose_numbers(s, list);
    if (good && s->from) good = try_faults(s, list) && fit_factor(s, list);
    good = good && diagnose_readings(s, list) && diagnose_fits(s, list) && diagnose_places(s, list);
    explanations_sort(list);
    return good;
}
