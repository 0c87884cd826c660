/* A piece of a network recomputed in double from the values that somebody dumped. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

static bool mark(const evaluation *e, int index, bool *needed) {
    if (needed[index]) return true;
    if (index == 0) return false; /* nothing computes the input */
    needed[index] = true;
    for (int i = 0; i < e->g->layers[index].input_count; i++) {
        int from = e->g->layers[index].inputs[i];
        if (!e->has(e->context, from) && !mark(e, from, needed)) return false;
    }
    return true;
}

int evaluation_span(const evaluation *e, int target, bool *needed) {
    int count = 0;
    memset(needed, 0, (size_t)e->g->count * sizeof *needed);
    if (!mark(e, target, needed)) return 0;
    for (int i = 0; i <= target; i++) count += needed[i];
    return count;
}

/* The values of one evaluation: those computed and those loaded, each freed after its last use. */
typedef struct store {
    tensor *values;
    int *uses;
    bool *needed;
} store;

static void store_free(store *s, int count) {
    for (int i = 0; s->values && i < count; i++) tensor_free(&s->values[i]);
    free(s->values);
    free(s->uses);
    free(s->needed);
}

static bool store_make(store *s, const evaluation *e, int target) {
    size_t count = (size_t)e->g->count;
    *s = (store){allocate(count, sizeof *s->values), allocate(count, sizeof *s->uses),
                 allocate(count, sizeof *s->needed)};
    if (!s->values || !s->uses || !s->needed) return false;
    if (evaluation_span(e, target, s->needed) == 0) {
        complain("%s cannot be recomputed: its input is not there", e->g->layers[target].name);
        return false;
    }
    for (int i = 0; i <= target; i++)
        for (int k = 0; s->needed[i] && k < e->g->layers[i].input_count; k++)
            s->uses[e->g->layers[i].inputs[k]]++;
    return true;
}

/* Uniform in -1..1, the same in every run. */
static double noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(*state >> 11) * 0x1p-52 - 1;
}

/* What rounding does to a layer's result, at about twice its usual size. */
static void disturb(const evaluation *e, int index, tensor *value, const tensor *bound) {
    const tolerance *t = e->noise;
    uint64_t state = (uint64_t)index * 7919 + 1;
    double terms = graph_terms(e->g, index);
    double scale = 2 * t->c * t->u / (t->wide && terms > 9 ? sqrt(terms) : 1);
    if (terms < 9) scale = 0;
    for (size_t i = 0; i < tensor_count(value); i++)
        value->v[i] += noise(&state) * (scale * bound->v[i] + 2 * t->u * fabs(value->v[i]));
}

static bool compute(const evaluation *e, store *s, int index, int target, tensor *bound) {
    const esrgan_layer *l = &e->g->layers[index];
    tensor inputs[8], own = {0};
    bool last = index == target;
    for (int i = 0; i < l->input_count; i++) {
        int from = l->inputs[i];
        if (!s->values[from].v && !e->load(e->context, from, &s->values[from])) return false;
        inputs[i] = s->values[from];
    }
    fault f = {FAULT_NONE, 0, 0};
    if ((e->where < 0 || e->where == index) && fault_applies(e->g, index, e->what)) f = e->what;
    bool disturbed = e->noise && !last;
    bool good = graph_compute(e->g, index, inputs, f, &s->values[index],
                              last        ? bound
                              : disturbed ? &own
                                          : NULL);
    if (good && disturbed) disturb(e, index, &s->values[index], &own);
    tensor_free(&own);
    for (int i = 0; i < l->input_count; i++)
        if (--s->uses[l->inputs[i]] == 0) tensor_free(&s->values[l->inputs[i]]);
    return good;
}

bool evaluate(const evaluation *e, int target, tensor *out, tensor *bound) {
    store s;
    out->v = NULL;
    if (bound) bound->v = NULL;
    bool good = store_make(&s, e, target);
    for (int i = 1; good && i <= target; i++)
        if (s.needed[i]) good = compute(e, &s, i, target, bound);
    if (good) {
        *out = s.values[target];
        s.values[target].v = NULL;
    }
    store_free(&s, e->g->count);
    return good;
}
