/* Two traces: every value against the reference, and against what its own input makes of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

/* Everything the parts below share. */
typedef struct traces {
    const compare_settings *settings;
    const graph *g; /* NULL: no model; layers are those of the reference */
    const trace_file *ref, *test;
    const tensor *input;               /* --input, or NULL */
    const trace_value **refs, **tests; /* by layer; NULL where not dumped */
    comparison *result;
    tensor culprit_right, culprit_test, culprit_limit;
    double culprit_rms_limit;
} traces;

static bool test_has(const void *context, int index) {
    const traces *t = context;
    if (index == 0 && (t->input || (t->refs[0] && t->refs[0]->file))) return true;
    return t->tests[index] && t->tests[index]->file;
}

/* The value's shape in the reference, for telling NHWC from NCHW. */
static const tensor *like(const traces *t, int index, tensor *shape) {
    const trace_value *v = t->refs[index];
    if (!v || !v->c) return NULL;
    *shape = (tensor){v->c, v->h, v->w, NULL};
    return shape;
}

static bool test_load(const void *context, int index, tensor *value) {
    const traces *t = context;
    tensor shape;
    value->v = NULL;
    if (t->tests[index] && t->tests[index]->file)
        return trace_load(t->test, t->tests[index], like(t, index, &shape), value);
    return t->input ? tensor_copy(value, t->input) : trace_load(t->ref, t->refs[0], NULL, value);
}

/* ---- Against the reference ---- */

static void accumulate(layer_result *l, const tensor *ref, const tensor *test) {
    tensor_diff d;
    tensor_compare(ref, test, &d);
    size_t plane = (size_t)ref->h * (size_t)ref->w;
    l->compared = true;
    l->max = d.max;
    l->mean = d.mean;
    l->rms = d.rms;
    l->relative = d.rms > 0 ? d.rms / (d.rms_a > 0 ? d.rms_a : 1) : 0;
    l->nonfinite = d.nonfinite;
    l->identical = d.max == 0 && d.nonfinite == 0;
    l->worst[0] = (int)(d.worst / plane);
    l->worst[1] = (int)(d.worst % plane / (size_t)ref->w);
    l->worst[2] = (int)(d.worst % (size_t)ref->w);
}

/* Only samples are there on one side or both. */
static bool sampled(const trace_value *v, const tensor *data, esrgan_statistics *stats) {
    if (!data->v) return trace_stats(v, stats);
    stats->size = sizeof *stats;
    if (esrgan_statistics_compute(ESRGAN_F64, data->v, tensor_count(data), stats, NULL))
        return false;
    stats->hash = 0; /* of doubles, whatever the trace's data was */
    return true;
}

static void accumulate_samples(layer_result *l, const esrgan_statistics *a,
                               const esrgan_statistics *b) {
    int n = a->samples < b->samples ? a->samples : b->samples;
    tensor ref = {1, 1, n, (double *)(uintptr_t)a->sample};
    tensor test = {1, 1, n, (double *)(uintptr_t)b->sample};
    if (n == 0) return;
    accumulate(l, &ref, &test);
    l->sampled = true;
    l->identical = a->hash && a->hash == b->hash;
    l->worst[0] = l->worst[1] = l->worst[2] = -1;
    if (b->nan + b->inf > a->nan + a->inf)
        l->nonfinite = (size_t)(b->nan + b->inf - a->nan - a->inf);
}

static bool load_if(const trace_file *trace, const trace_value *v, const tensor *shape,
                    tensor *to) {
    to->v = NULL;
    return !v || !v->file || trace_load(trace, v, shape, to);
}

static bool compare_layer(traces *t, int index, const tensor *ref, const tensor *test) {
    layer_result *l = &t->result->layers[index];
    const trace_value *rv = t->refs[index], *tv = t->tests[index];
    if (!tv) {
        l->state = LAYER_MISSING;
        return true;
    }
    l->c = test->v ? test->c : tv->c;
    l->h = test->v ? test->h : tv->h;
    l->w = test->v ? test->w : tv->w;
    if (!rv) return true;
    int c = ref->v ? ref->c : rv->c, h = ref->v ? ref->h : rv->h, w = ref->v ? ref->w : rv->w;
    if (c && l->c && (c != l->c || h != l->h || w != l->w)) {
        l->state = LAYER_SHAPE;
        comparison_note(t->result, "%s has the shape %d x %d x %d, expected %d x %d x %d", l->name,
                        l->c, l->h, l->w, c, h, w);
        return true;
    }
    if (ref->v && test->v) {
        accumulate(l, ref, test);
    } else {
        esrgan_statistics *a = allocate(2, sizeof *a);
        if (!a) return false;
        if (sampled(rv, ref, &a[0]) && sampled(tv, test, &a[1]))
            accumulate_samples(l, &a[0], &a[1]);
        free(a);
    }
    if (l->nonfinite || l->relative > t->result->limits->drift) l->state = LAYER_AWAY;
    return true;
}

/* ---- Against its own input ---- */

/* Turns the bound of a value's last layer into the tolerance of each of its elements. */
static void make_limit(const traces *t, int index, double spread, tensor *bound) {
    const tolerance *tol = t->result->limits;
    double terms = graph_terms(t->g, index), root = sqrt(terms);
    double factor = terms < 9 ? 4 : tol->wide && root > 3 ? 3 : root;
    double fixed = 8 * spread + tol->floor;
    if (index == t->g->count - 1) fixed += 1e-3; /* 8 bits: see round_towards */
    for (size_t i = 0; i < tensor_count(bound); i++)
        bound->v[i] = tol->c * tol->u * factor * bound->v[i] + fixed;
}

static double rms_of(const tensor *a) {
    double sum = 0;
    for (size_t i = 0; i < tensor_count(a); i++)
        if (isfinite(a->v[i])) sum += a->v[i] * a->v[i];
    return sqrt(sum / (double)tensor_count(a));
}

/* How much of the rows and columns of `right` the tester kept: pictures lose their padding. */
static bool cut_to(tensor *right, const tensor *test) {
    if (right->c != test->c || right->h < test->h || right->w < test->w) return false;
    for (int c = 0; c < test->c; c++)
        for (int y = 0; y < test->h; y++)
            memmove(right->v + ((size_t)c * (size_t)test->h + (size_t)y) * (size_t)test->w,
                    right->v + ((size_t)c * (size_t)right->h + (size_t)y) * (size_t)right->w,
                    (size_t)test->w * sizeof *right->v);
    right->h = test->h;
    right->w = test->w;
    return true;
}

/* Rounding to 8 bits may move a sample by a half, either way at a tie: what is left counts. */
static void round_towards(tensor *right, const tensor *test) {
    for (size_t i = 0; i < tensor_count(right); i++) {
        double d = test->v[i] - right->v[i];
        right->v[i] = fabs(d) <= 0.5 ? test->v[i] : right->v[i] + copysign(0.5, d);
    }
}

static void judge(layer_result *l, const tensor *right, const tensor *test, const tensor *limit,
                  double rms_limit) {
    double squares = 0;
    size_t count = 0;
    l->local = true;
    for (size_t i = 0; i < tensor_count(test); i++) {
        double d = fabs(test->v[i] - right->v[i]);
        if (!isfinite(d)) {
            if (isfinite(right->v[i])) l->ratio = INFINITY;
            continue; /* its input was not finite already */
        }
        l->local_max = fmax(l->local_max, d);
        l->ratio = fmax(l->ratio, d / limit->v[i]);
        squares += d * d;
        count++;
    }
    l->local_rms = count ? sqrt(squares / (double)count) : 0;
    if (rms_limit > 0) l->ratio = fmax(l->ratio, l->local_rms / rms_limit);
    if (l->ratio > 1)
        l->state = LAYER_WRONG;
    else if (l->state == LAYER_AWAY)
        l->state = LAYER_DRIFT;
}

/* Keeps the first wrong layer's figures for the diagnosis. */
static void keep_culprit(traces *t, int index, tensor *right, const tensor *test, tensor *limit,
                         double rms_limit) {
    if (t->result->culprit >= 0 || t->result->layers[index].state != LAYER_WRONG) return;
    if (!tensor_copy(&t->culprit_test, test)) return;
    t->result->culprit = index;
    t->culprit_right = *right;
    t->culprit_limit = *limit;
    t->culprit_rms_limit = rms_limit;
    right->v = limit->v = NULL;
}

static bool compare_local(traces *t, int index, const tensor *test) {
    layer_result *l = &t->result->layers[index];
    const tolerance *tol = t->result->limits;
    evaluation e = {t->g, test_has, test_load, t, {FAULT_NONE, 0, 0}, -1, NULL};
    tensor right = {0}, bound = {0}, noisy = {0};
    double spread = 0;
    bool *needed = allocate((size_t)t->g->count, sizeof *needed);
    if (!needed) return false;
    l->span = evaluation_span(&e, index, needed);
    free(needed);
    if (l->span == 0) return true;
    bool good = evaluate(&e, index, &right, &bound);
    if (good && l->span > 1) {
        e.noise = tol;
        good = evaluate(&e, index, &noisy, NULL);
        tensor_diff d;
        if (good) tensor_compare(&right, &noisy, &d);
        if (good) spread = d.rms;
        tensor_free(&noisy);
    }
    if (good && !tensor_same_shape(&right, test)) {
        tensor whole = right;
        if (cut_to(&right, test)) {
            cut_to(&(tensor){bound.c, whole.h, whole.w, bound.v}, test);
            bound.h = test->h;
            bound.w = test->w;
        } else {
            l->state = LAYER_SHAPE;
            comparison_note(t->result, "%s has the shape %d x %d x %d, expected %d x %d x %d",
                            l->name, test->c, test->h, test->w, right.c, right.h, right.w);
        }
    }
    if (good && l->state != LAYER_SHAPE) {
        double terms = graph_terms(t->g, index);
        double rms_limit = tol->wide && terms >= 9
                               ? tol->u * (4 * rms_of(&bound) / sqrt(terms) + rms_of(&right)) +
                                     2 * spread + tol->floor
                               : 0;
        make_limit(t, index, spread, &bound);
        if (index == t->g->count - 1) round_towards(&right, test);
        judge(l, &right, test, &bound, rms_limit);
        keep_culprit(t, index, &right, test, &bound, rms_limit);
    }
    tensor_free(&right);
    tensor_free(&bound);
    tensor_free(&noisy);
    return good;
}

/* The input is computed by nothing: the reference's stands for what it should be. */
static bool compare_input(traces *t, const tensor *ref, const tensor *test) {
    layer_result *l = &t->result->layers[0];
    const tolerance *tol = t->result->limits;
    const tensor *right = t->input ? t->input : ref;
    tensor limit = {0}, copy = {0};
    if (!right->v || !test->v || !tensor_same_shape(right, test)) return true;
    bool good = tensor_make(&limit, right->c, right->h, right->w) && tensor_copy(&copy, right);
    for (size_t i = 0; good && i < tensor_count(right); i++)
        limit.v[i] = 4 * tol->u * fabs(right->v[i]) + tol->floor + 1e-7;
    if (good) {
        judge(l, &copy, test, &limit, 0);
        l->span = 1;
        keep_culprit(t, 0, &copy, test, &limit, 0);
    }
    tensor_free(&limit);
    tensor_free(&copy);
    return good;
}

static bool compare_one(traces *t, int index) {
    tensor ref = {0}, test = {0}, shape;
    bool good = load_if(t->ref, t->refs[index], NULL, &ref);
    const tensor *as = ref.v ? &ref : like(t, index, &shape);
    good = good && load_if(t->test, t->tests[index], as, &test) &&
           compare_layer(t, index, &ref, &test);
    layer_result *l = &t->result->layers[index];
    if (good && t->g && test.v && index == 0)
        good = compare_input(t, &ref, &test);
    else if (good && t->g && test.v && l->state != LAYER_SHAPE) {
        tensor_free(&ref);
        good = compare_local(t, index, &test);
    }
    /* Without a model the first value that is away is the one to look at. */
    if (good && !t->g && l->state == LAYER_AWAY && t->result->culprit < 0 && ref.v && test.v &&
        tensor_copy(&t->culprit_right, &ref) && tensor_copy(&t->culprit_test, &test)) {
        t->result->culprit = index;
        if (tensor_make(&t->culprit_limit, ref.c, ref.h, ref.w))
            for (size_t i = 0; i < tensor_count(&ref); i++)
                t->culprit_limit.v[i] = t->result->limits->drift * l->rms / l->relative;
    }
    tensor_free(&ref);
    tensor_free(&test);
    return good;
}

/* ---- What comes of it ---- */

/* The next value to dump: the middle of what lies between the last right and the first wrong. */
static void name_next(traces *t) {
    comparison *r = t->result;
    int last = r->culprit, first;
    if (!t->g) return;
    if (last < 0) { /* only known to be away: between the last that is close and the first away */
        for (last = 0; last < r->layer_count && r->layers[last].state != LAYER_AWAY; last++) {}
        if (last == r->layer_count) return;
        for (first = last; first > 0 && r->layers[first].state != LAYER_MATCH; first--) {}
        if (first + 1 >= last && !r->layers[last].sampled) return;
        snprintf(r->next_dump, sizeof r->next_dump, "%s", r->layers[last].name);
        size_t used = strlen(r->next_dump);
        for (int i = 0; i < t->g->layers[last].input_count && last < t->g->count - 2; i++) {
            used += (size_t)snprintf(r->next_dump + used, sizeof r->next_dump - used, ", %s",
                                     t->g->layers[t->g->layers[last].inputs[i]].name);
            if (used >= sizeof r->next_dump) return;
        }
        return;
    }
    if (r->layers[last].span < 2) return;
    bool *needed = allocate((size_t)t->g->count, sizeof *needed);
    evaluation e = {t->g, test_has, test_load, t, {FAULT_NONE, 0, 0}, -1, NULL};
    if (!needed) return;
    int span = evaluation_span(&e, last, needed), seen = 0;
    for (first = 0; first < last && !needed[first]; first++) {}
    snprintf(r->culprit_span, sizeof r->culprit_span, "from %s to %s (%d layers)",
             t->g->layers[first].name, t->g->layers[last].name, span);
    for (int i = first; i < last; i++)
        if (needed[i] && ++seen == (span + 1) / 2)
            snprintf(r->next_dump, sizeof r->next_dump, "%s", t->g->layers[i].name);
    free(needed);
}

static bool explain(traces *t) {
    comparison *r = t->result;
    evaluation e = {t->g, test_has, test_load, t, {FAULT_NONE, 0, 0}, -1, NULL};
    if (r->culprit < 0 || !t->culprit_limit.v) return true;
    suspect s = {.from = t->g && r->culprit > 0 ? &e : NULL,
                 .index = t->g ? r->culprit : -1,
                 .name = r->layers[r->culprit].name,
                 .right = &t->culprit_right,
                 .test = &t->culprit_test,
                 .limit = &t->culprit_limit,
                 .rms_limit = t->culprit_rms_limit,
                 .all_faults = true};
    return diagnose(&s, &r->why);
}

static bool end_to_end(traces *t) {
    static const char *const finals[] = {"output.u8", "output", "conv_last"};
    for (int k = 0; k < 3; k++) {
        const trace_value *a = trace_find(t->ref, finals[k]), *b = trace_find(t->test, finals[k]);
        tensor ref = {0}, test = {0};
        if (!a || !b || !a->file || !b->file) continue;
        bool good = trace_load(t->ref, a, NULL, &ref) && trace_load(t->test, b, &ref, &test);
        bool usable = good && tensor_same_shape(&ref, &test) && (ref.c == 3 || ref.c == 1);
        for (size_t i = 0; usable && k == 0 && i < tensor_count(&ref); i++) {
            ref.v[i] /= 255;
            test.v[i] /= 255;
        }
        if (usable) good = comparison_end_to_end(t->result, &ref, &test);
        if (usable) comparison_exhibit(t->result, finals[k], &ref, &test, 0);
        tensor_free(&ref);
        tensor_free(&test);
        if (!good) return false;
        if (usable) return true;
    }
    return true;
}

static void conclude(traces *t) {
    comparison *r = t->result;
    bool away = false, complete = t->g != NULL;
    int missing = 0, first_away = -1, shaped = -1;
    for (int i = 0; i < r->layer_count; i++) {
        layer_result *l = &r->layers[i];
        if (l->state == LAYER_SHAPE || l->state == LAYER_WRONG) away = true;
        if (l->state == LAYER_AWAY && first_away < 0) first_away = i;
        if (l->state == LAYER_SHAPE && shaped < 0) shaped = i;
        missing += l->state == LAYER_MISSING;
        complete = complete && (l->local || l->state == LAYER_MISSING);
    }
    if (first_away >= 0) away = true;
    if (!complete && r->pictured && !comparison_picture_good(r)) away = true;
    r->match = !away;
    if (r->culprit < 0) r->culprit = first_away;
    if (shaped >= 0 && (r->culprit < 0 || shaped < r->culprit)) r->culprit = shaped;
    const explanation *best = explanations_best(&r->why);
    size_t size = sizeof r->verdict;
    const char *name = r->culprit >= 0 ? r->layers[r->culprit].name : "";
    if (r->match)
        snprintf(r->verdict, size, "The traces match (tolerance %s)%s.", r->limits->name,
                 complete ? ": every value that was dumped is what its own input makes of it" : "");
    else if (r->culprit >= 0 && r->culprit == shaped)
        snprintf(r->verdict, size,
                 "The first value of another shape is %s (%d x %d x %d): another network, or "
                 "another input.",
                 name, r->layers[shaped].c, r->layers[shaped].h, r->layers[shaped].w);
    else if (r->culprit == 0 && t->g)
        snprintf(r->verdict, size, "The input is already wrong%s%s.", best ? ": " : "",
                 best ? best->text : "");
    else if (r->culprit >= 0 && r->layers[r->culprit].local)
        snprintf(r->verdict, size,
                 "The first wrong %s is %s: recomputed from the tester's own input it is off by "
                 "%.3g times its tolerance%s%s.",
                 r->layers[r->culprit].span > 1 ? "piece" : "layer",
                 r->culprit_span[0] ? r->culprit_span : name, r->layers[r->culprit].ratio,
                 best ? ". Cause: " : "", best ? best->text : "");
    else if (first_away >= 0)
        snprintf(r->verdict, size, "The first value away from the reference is %s%s%s.",
                 r->layers[first_away].name, best ? ": " : "", best ? best->text : "");
    else
        snprintf(r->verdict, size, "The traces differ: see the notes.");
    size_t used = strlen(r->verdict);
    if (!r->match && best && best->layer[0] && r->culprit >= 0 && strcmp(best->layer, name) != 0)
        used += (size_t)snprintf(r->verdict + used, size - used, " (In %s.)", best->layer);
    if (!r->match && !best && r->culprit >= 0 && r->culprit != shaped &&
        !r->layers[r->culprit].sampled)
        used += (size_t)snprintf(r->verdict + used, size - used,
                                 " No explanation that was tried fits.");
    if (r->next_dump[0])
        snprintf(r->verdict + used, size - used, " To narrow it down, dump next: %s.",
                 r->next_dump);
    if (missing) comparison_note(r, "%d of %d values are not in the test", missing, r->layer_count);
}

static bool prepare(traces *t) {
    comparison *r = t->result;
    int count = t->g ? t->g->count : t->ref->count, unknown = 0, known = 0;
    r->layers = allocate((size_t)count, sizeof *r->layers);
    t->refs = allocate((size_t)count, sizeof *t->refs);
    t->tests = allocate((size_t)count, sizeof *t->tests);
    if (!r->layers || !t->refs || !t->tests) return false;
    r->layer_count = count;
    for (int i = 0; i < count; i++) {
        const char *name = t->g ? t->g->layers[i].name : t->ref->values[i].name;
        snprintf(r->layers[i].name, sizeof r->layers[i].name, "%s", name);
        t->refs[i] = trace_find(t->ref, name);
        t->tests[i] = trace_find(t->test, name);
        r->layers[i].op = t->g ? t->g->layers[i].op : t->ref->values[i].op;
        known += t->tests[i] != NULL;
    }
    const char *stranger = "";
    for (int i = 0; i < t->test->count; i++) {
        bool found = false;
        for (int k = 0; k < count && !found; k++)
            found = !strcmp(r->layers[k].name, t->test->values[i].name);
        if (!found && unknown++ == 0) stranger = t->test->values[i].raw;
    }
    if (known == 0) {
        complain("%s: none of its %d names is known (the first is '%s'); expected names such as "
                 "'%s', or a --map FILE with lines THEIRS OURS",
                 t->test->path, t->test->count, stranger, r->layers[count > 1 ? 1 : 0].name);
        return false;
    }
    if (unknown)
        comparison_note(r,
                        "%d values of the test have unknown names, the first '%s'; --map FILE "
                        "can give them ours",
                        unknown, stranger);
    return true;
}

bool compare_traces(const compare_settings *settings, const graph *g, const trace_file *ref,
                    const trace_file *test, const tensor *input, comparison *result) {
    traces t = {
        .settings = settings, .g = g, .ref = ref, .test = test, .input = input, .result = result};
    result->kind = "traces";
    result->culprit = -1;
    bool transformed = !strcmp(ref->backend, "native") || !strcmp(test->backend, "native");
    result->limits =
        tolerance_get(settings->tolerance, ref->precision, test->precision, transformed);
    bool good = prepare(&t);
    if (good && ref->model_sha256[0] && test->model_sha256[0] &&
        strcmp(ref->model_sha256, test->model_sha256) != 0)
        comparison_note(result, "the two traces come from different model files (SHA-256)");
    if (good && g && !t.tests[0])
        comparison_note(result, "the tester dumped no input: %s is used",
                        input ? "--input" : "the reference's");
    for (int i = 0; good && i < result->layer_count; i++) good = compare_one(&t, i);
    good = good && explain(&t) && end_to_end(&t);
    if (good && result->culprit >= 0 && t.culprit_right.v)
        comparison_exhibit(result, result->layers[result->culprit].name, &t.culprit_right,
                           &t.culprit_test,
                           result->layers[result->culprit].worst[0] < 0
                               ? 0
                               : result->layers[result->culprit].worst[0]);
    if (good) name_next(&t);
    if (good) conclude(&t);
    free(t.refs);
    free(t.tests);
    tensor_free(&t.culprit_right);
    tensor_free(&t.culprit_test);
    tensor_free(&t.culprit_limit);
    return good;
}
