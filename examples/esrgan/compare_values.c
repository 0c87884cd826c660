/*
 * Two pictures or two tensors, with no trace at all.  With the model and its input, faults are
 * found by running the network with each of them; without, or where the reference comes from other
 * weights, by comparing the shrunken result with the input read in every wrong way.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "files.h"

enum {
    MOST_SIDE = 64, /* of the piece of the input that faults inside the network are tried on */
    CUT_MARGIN = 10 /* of its input pixels: what lies nearer to a cut edge is left out */
};

typedef struct values {
    const graph *g;
    const tensor *ref, *test, *input;
    comparison *result;
    tensor run; /* the input that the network is run with now */
    int target; /* layer that ref and test are: conv_last or output */
} values;

static bool run_has(const void *context, int index) {
    (void)context;
    return index == 0;
}

static bool run_load(const void *context, int index, tensor *value) {
    (void)index;
    return tensor_copy(value, &((const values *)context)->run);
}

/* The upper left h x w of a value. */
static bool corner(const tensor *from, int h, int w, tensor *to) {
    if (!tensor_make(to, from->c, h, w)) return false;
    for (int c = 0; c < to->c; c++)
        for (int y = 0; y < h; y++)
            memcpy(to->v + ((size_t)c * (size_t)h + (size_t)y) * (size_t)w,
                   from->v + ((size_t)c * (size_t)from->h + (size_t)y) * (size_t)from->w,
                   (size_t)w * sizeof(double));
    return true;
}

/* The network over v->run, in double, with a fault; as large as `like`, or as it comes where that
 * is smaller. */
static bool run_network(const values *v, fault f, const tensor *like, tensor *out) {
    evaluation e = {v->g, run_has, run_load, v, f, -1, NULL};
    tensor all = {0};
    bool good = evaluate(&e, v->target, &all, NULL);
    if (good)
        good =
            corner(&all, all.h < like->h ? all.h : like->h, all.w < like->w ? all.w : like->w, out);
    tensor_free(&all);
    return good;
}

/* ---- Through the model ---- */

static bool make_limit(const values *v, const tensor *like, tensor *limit) {
    if (!tensor_make(limit, like->c, like->h, like->w)) return false;
    /* Both were rounded to 8 bits, or computed to the precision that was named. */
    double each = v->result->pictured ? (v->result->limits->lsb + 0.5) / 255 : 1e-4;
    for (size_t i = 0; i < tensor_count(limit); i++) limit->v[i] = each;
    return true;
}

/* Something fits: no use in trying what takes long. */
static bool found(const explanations *list) {
    for (int i = 0; i < list->count; i++)
        if (list->items[i].fits) return true;
    return false;
}

/* The whole network is run on what a wrong reading of the input gives. */
static bool try_input_readings(values *v, const suspect *s, explanations *list) {
    char text[300], id[64];
    bool good = true;
    for (int how = 0; good && how < READING_COUNT; how++)
        for (int swapped = 0; good && swapped < 2 && !found(list); swapped++) {
            tensor made = {0}, read = {0};
            if (swapped && (how > READ_HWC_AS_CHW || v->input->c != 3)) continue;
            if (!tensor_read_as(&read, v->input, (reading)how)) continue;
            good = !swapped || tensor_read_as(&v->run, &read, READ_REVERSED);
            if (!swapped) v->run = read;
            good = good && run_network(v, (fault){FAULT_NONE, 0, 0}, v->test, &made);
            snprintf(id, sizeof id, "input-%s%s", reading_id((reading)how, v->input->c),
                     swapped ? "-bgr" : "");
            snprintf(text, sizeof text, "the network was given a wrong input: %s%s",
                     reading_text((reading)how, v->input->c),
                     swapped ? ", and red and blue are swapped" : "");
            good = good && diagnose_consider(s, list, id, "input", text, &made, 0);
            if (swapped) tensor_free(&read);
            tensor_free(&v->run);
            tensor_free(&made);
        }
    return good;
}

/* Inputs of another range than 0..1. */
static bool try_input_ranges(values *v, const suspect *s, explanations *list) {
    bool good = true;
    static const struct {
        const char *id, *text;
        double gain, offset;
    } ranges[] = {
        {"input-not-divided", "the network was given an input of 0..255, expected 0..1", 255, 0},
        {"input-divided-twice", "the network was given an input divided by 255 twice", 1 / 255.0,
         0},
        {"input-centred", "the network was given an input of -1..1, expected 0..1", 2, -1}};
    for (int k = 0; good && k < 3 && !found(list); k++) {
        tensor made = {0};
        good = tensor_copy(&v->run, v->input);
        for (size_t i = 0; good && i < tensor_count(&v->run); i++)
            v->run.v[i] = ranges[k].gain * v->run.v[i] + ranges[k].offset;
        good = good && run_network(v, (fault){FAULT_NONE, 0, 0}, v->test, &made) &&
               diagnose_consider(s, list, ranges[k].id, "input", ranges[k].text, &made, 0);
        tensor_free(&v->run);
        tensor_free(&made);
    }
    return good;
}

static int every_fault(fault faults[32]) {
    static const fault_kind plain[] = {FAULT_ACTIVATION_SKIPPED, FAULT_BIAS_MISSING,
                                       FAULT_SHORTCUT_MISSING,   FAULT_INPUTS_REVERSED,
                                       FAULT_OTHER_WEIGHTS,      FAULT_UNSHUFFLE_ORDER};
    int n = 0;
    for (int i = 0; i < (int)(sizeof plain / sizeof *plain); i++)
        faults[n++] = (fault){plain[i], 0, 0};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0.01};
    faults[n++] = (fault){FAULT_SLOPE, 0, 0.1};
    faults[n++] = (fault){FAULT_FACTOR, 0, 1};
    for (int p = PAD_REFLECT; p < PADDING_COUNT; p++) faults[n++] = (fault){FAULT_PADDING, p, 0};
    for (int i = 0; i < ENLARGE_COUNT; i++) faults[n++] = (fault){FAULT_ENLARGING, i, 0};
    static const reading turns[] = {READ_TURNED, READ_TRANSPOSED, READ_FLIPPED_X, READ_FLIPPED_Y};
    for (int i = 0; i < 4; i++) faults[n++] = (fault){FAULT_KERNEL_READ, (int)turns[i], 0};
    return n;
}

/* Faults in every layer at once, on a piece of the input: they are the same everywhere. */
static bool try_network(values *v, const suspect *whole, explanations *list) {
    const graph *g = v->g;
    int h = v->input->h < MOST_SIDE ? v->input->h : MOST_SIDE;
    int w = v->input->w < MOST_SIDE ? v->input->w : MOST_SIDE;
    int scale = g->info.scale;
    int oh = h * scale, ow = w * scale;
    if (h < v->input->h) oh -= CUT_MARGIN * scale;
    if (w < v->input->w) ow -= CUT_MARGIN * scale;
    if (oh > v->test->h) oh = v->test->h;
    if (ow > v->test->w) ow = v->test->w;
    tensor right = {0}, test = {0}, limit = {0};
    bool good = corner(v->input, h, w, &v->run) && corner(v->ref, oh, ow, &right) &&
                corner(v->test, oh, ow, &test) && make_limit(v, &test, &limit);
    suspect s = *whole;
    s.right = &right;
    s.test = &test;
    s.limit = &limit;
    fault faults[32];
    int count = every_fault(faults);
    for (int k = 0; good && k < count; k++) {
        int users = 0, first = -1;
        bool square =
            h == w || faults[k].option != READ_TRANSPOSED || faults[k].kind != FAULT_KERNEL_READ;
        for (int i = 0; i <= v->target; i++)
            if (fault_applies(g, i, faults[k]) && users++ == 0) first = i;
        if (users == 0 || !square) continue;
        char text[300];
        tensor made = {0}, cut = {0};
        fault_text(g, first, faults[k], text, sizeof text - 32);
        if (users > 1) strcat(text, ", in every layer");
        good = run_network(v, faults[k], &(tensor){test.c, h * scale, w * scale, NULL}, &made) &&
               corner(&made, oh, ow, &cut) &&
               diagnose_consider(&s, list, fault_id(g, first, faults[k]), g->layers[first].name,
                                 text, &cut, 0);
        tensor_free(&made);
        tensor_free(&cut);
    }
    tensor_free(&v->run);
    tensor_free(&right);
    tensor_free(&test);
    tensor_free(&limit);
    return good;
}

/* Is the reference what this model makes of this input?  Chooses the layer that it is, too. */
static bool check_reference(values *v, bool *same) {
    double best = INFINITY;
    int from = v->g->count - 3, chosen = from;
    *same = false;
    if (v->ref->c != v->g->info.out_channels || v->ref->h > v->input->h * v->g->info.scale ||
        v->ref->w > v->input->w * v->g->info.scale)
        return true;
    tensor made = {0};
    v->target = from;
    bool good =
        tensor_copy(&v->run, v->input) && run_network(v, (fault){FAULT_NONE, 0, 0}, v->ref, &made);
    for (int k = 0; good && k < 2; k++) { /* as it is, and clamped */
        tensor_diff d;
        for (size_t i = 0; k == 1 && i < tensor_count(&made); i++)
            made.v[i] = fmin(fmax(made.v[i], 0), 1);
        tensor_compare(v->ref, &made, &d);
        if (d.rms >= best) continue;
        best = d.rms;
        chosen = from + k;
    }
    tensor_free(&made);
    tensor_free(&v->run);
    v->target = chosen;
    *same = best < 0.04; /* 28 dB: a lossy file may stand between */
    if (good && isfinite(best))
        comparison_note(v->result, "this model makes of the input %s (%.1f dB)",
                        *same
                            ? "what the reference shows"
                            : "something else than the reference: "
                              "it has other weights, so explanations are tried on the input alone",
                        best > 0 ? -20 * log10(best) : INFINITY);
    return good;
}

/* ---- Without the model: the result is about what the input is ---- */

static bool try_correlations(const values *v, explanations *list) {
    const tensor *in = v->input;
    tensor small = {0}, base = {0};
    if (v->test->h % in->h || v->test->w % in->w || in->c != v->test->c) return true;
    if (!tensor_shrink(&small, v->test, in->h, in->w)) return false;
    bool good = tensor_shrink(&base, v->ref, in->h, in->w);
    double as_it_is = tensor_correlation(in, &small), best = as_it_is, second = as_it_is;
    double ref_itself = good ? tensor_correlation(in, &base) : 0;
    int found = -1;
    for (int how = 0; good && how < READING_COUNT; how++) {
        tensor read = {0};
        if (!tensor_read_as(&read, in, (reading)how)) continue;
        double r = tensor_correlation(&read, &small);
        tensor_free(&read);
        if (r > best) {
            second = best;
            best = r;
            found = how;
        } else if (r > second) {
            second = r;
        }
    }
    if (good && found >= 0 && best > 0.6 && best > second + 0.1 && ref_itself > 0.6) {
        char text[340], id[64];
        snprintf(id, sizeof id, "input-%s", reading_id((reading)found, in->c));
        snprintf(text, sizeof text,
                 "the network was given a wrong input: %s. Shrunk to the input's size the test "
                 "correlates "
                 "%.3f with the input read so, %.3f with the input as it is, at most %.3f with any "
                 "other reading",
                 reading_text((reading)found, in->c), best, as_it_is, second);
        explanation *e = explanations_add(list, id, "input", text);
        good = e != NULL;
        if (e) {
            tensor_diff d;
            tensor_compare(v->ref, v->test, &d);
            e->explained = best * best;
            e->rms = d.rms * sqrt(1 - best * best);
            e->max = d.max;
        }
    }
    tensor_free(&small);
    tensor_free(&base);
    return good;
}

/* ---- Both ---- */

/* A result that is right but read wrongly shows every pixel of the reference, at most changed by a
 * lossy file; where it leaves more than that, what happened to the input is the likelier story. */
static void doubt_readings(explanations *list) {
    for (int i = 0; i < list->count; i++)
        if (!list->items[i].fits && list->items[i].rms > 0.056)
            list->items[i].kind = list->items[i].kind ? list->items[i].kind : EXPLAINS_BY_FIT;
}

static bool explain(values *v) {
    tensor limit = {0};
    bool same = false, good = make_limit(v, v->test, &limit);
    suspect s = {.index = -1,
                 .name = v->result->pictured ? "output" : v->result->layers[0].name,
                 .right = v->ref,
                 .test = v->test,
                 .limit = &limit};
    explanations *list = &v->result->why;
    good = good && diagnose(&s, list);
    if (good && v->input) doubt_readings(list);
    if (good && v->g && v->input) good = check_reference(v, &same);
    if (good && same)
        good = try_input_readings(v, &s, list) && try_input_ranges(v, &s, list) &&
               (found(list) || try_network(v, &s, list));
    if (good && v->input && !same) good = try_correlations(v, list);
    explanations_sort(list);
    tensor_free(&limit);
    return good;
}

static void conclude(const values *v) {
    comparison *r = v->result;
    char figures[200];
    const explanation *best = explanations_best(&r->why);
    if (r->pictured)
        snprintf(figures, sizeof figures,
                 "PSNR %.2f dB, %.3g %% of the samples off by more than 1/255", r->psnr,
                 100 * r->share1);
    else
        snprintf(figures, sizeof figures,
                 "largest difference %.3g, rms %.3g of the reference's rms", r->layers[0].max,
                 r->layers[0].relative);
    if (r->match)
        snprintf(r->verdict, sizeof r->verdict, "The two %s match (tolerance %s): %s.", r->kind,
                 r->limits->name, figures);
    else if (best)
        snprintf(r->verdict, sizeof r->verdict, "The two %s differ (%s). %s: %s.", r->kind, figures,
                 best->fits ? "Cause" : "The explanation that fits best", best->text);
    else
        snprintf(r->verdict, sizeof r->verdict,
                 "The two %s differ (%s). No explanation that was tried fits; %s.", r->kind,
                 figures,
                 v->g && v->input ? "a trace of both sides tells more"
                                  : "--model and --input, or a trace of both sides, tell more");
}

bool compare_values(const compare_settings *settings, const graph *g, const tensor *ref,
                    const tensor *test, const tensor *input, comparison *result) {
    values v = {.g = g, .ref = ref, .test = test, .input = input, .result = result};
    result->culprit = -1;
    result->limits = tolerance_get(settings->tolerance, "", "", false);
    result->layers = allocate(1, sizeof *result->layers);
    if (!result->layers) return false;
    result->layer_count = 1;
    layer_result *l = result->layers;
    tensor_diff d;
    snprintf(l->name, sizeof l->name, "%s", "value");
    l->op = "";
    l->c = test->c;
    l->h = test->h;
    l->w = test->w;
    if (!tensor_same_shape(ref, test)) {
        l->state = LAYER_SHAPE;
        snprintf(result->verdict, sizeof result->verdict,
                 "The two %s differ in shape: %d x %d x %d, expected %d x %d x %d.", result->kind,
                 test->c, test->h, test->w, ref->c, ref->h, ref->w);
        return true;
    }
    size_t plane = (size_t)ref->h * (size_t)ref->w;
    tensor_compare(ref, test, &d);
    l->compared = true;
    l->max = d.max;
    l->mean = d.mean;
    l->rms = d.rms;
    l->relative = d.rms > 0 ? d.rms / (d.rms_a > 0 ? d.rms_a : 1) : 0;
    l->nonfinite = d.nonfinite;
    l->identical = d.max == 0 && !d.nonfinite;
    l->worst[0] = (int)(d.worst / plane);
    l->worst[1] = (int)(d.worst % plane / (size_t)ref->w);
    l->worst[2] = (int)(d.worst % (size_t)ref->w);
    bool picture = !strcmp(result->kind, "pictures") || ((ref->c == 3 || ref->c == 1) && input);
    if (picture && !comparison_end_to_end(result, ref, test)) return false;
    result->match = d.nonfinite == 0 && (picture ? comparison_picture_good(result)
                                                 : l->relative <= result->limits->drift);
    if (!result->match) l->state = LAYER_AWAY;
    bool good = result->match || explain(&v);
    comparison_exhibit(result, picture ? "the pictures" : "the values", ref, test, l->worst[0]);
    if (good) conclude(&v);
    return good;
}
