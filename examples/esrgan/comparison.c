/* The result of a comparison: explanations in order, end-to-end figures, small pictures. */
#include "compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "network_input.h"

void comparison_free(comparison *r) {
    for (int i = 0; i < r->exhibit_count; i++) {
        tensor_free(&r->exhibits[i].ref);
        tensor_free(&r->exhibits[i].test);
        tensor_free(&r->exhibits[i].difference);
    }
    free(r->layers);
    free(r->why.items);
    *r = (comparison){0};
}

void comparison_note(comparison *r, const char *format, ...) {
    va_list arguments;
    if (r->note_count == (int)(sizeof r->notes / sizeof *r->notes)) return;
    va_start(arguments, format);
    vsnprintf(r->notes[r->note_count++], sizeof *r->notes, format, arguments);
    va_end(arguments);
}

/* ---- Explanations ---- */

static explanation_kind kind_of(const char *id) {
    static const char *const fits[] = {"channel-gains", "channels-permuted", "gain-and-offset"};
    static const char *const places[] = {"border", "tile-seams", "some-channels",
                                         "past-power-of-two", "few-elements"};
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++)
        if (!strcmp(id, fits[i])) return EXPLAINS_BY_FIT;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strcmp(id, places[i])) return EXPLAINS_WHERE;
    return EXPLAINS_WHY;
}

explanation *explanations_add(explanations *list, const char *id, const char *layer,
                              const char *text) {
    if (list->count == list->room) {
        int room = list->room ? 2 * list->room : 32;
        explanation *grown = realloc(list->items, (size_t)room * sizeof *grown);
        if (!grown) {
            complain("out of memory");
            return NULL;
        }
        list->items = grown;
        list->room = room;
    }
    explanation *e = &list->items[list->count++];
    *e = (explanation){.kind = kind_of(id)};
    snprintf(e->id, sizeof e->id, "%s", id);
    snprintf(e->layer, sizeof e->layer, "%s", layer);
    snprintf(e->text, sizeof e->text, "%s", text);
    return e;
}

static const double DISCOUNT[] = {
    [EXPLAINS_WHY] = 0, [EXPLAINS_BY_FIT] = 0.4, [EXPLAINS_WHERE] = 0.5};

static bool before(const explanation *a, const explanation *b) {
    if (a->fits != b->fits) return a->fits;
    /* Of two that fit, the simpler one, but where the other leaves much less. */
    if (a->fits) return a->rms * (a->kind ? 4 : 1) < 0.5 * b->rms * (b->kind ? 4 : 1);
    return a->explained - DISCOUNT[a->kind] > b->explained - DISCOUNT[b->kind];
}

void explanations_sort(explanations *list) {
    for (int i = 1; i < list->count; i++) { /* stable: the more usual ones were tried first */
        explanation e = list->items[i];
        int at = i;
        for (; at > 0 && before(&e, &list->items[at - 1]); at--)
            list->items[at] = list->items[at - 1];
        list->items[at] = e;
    }
}

const explanation *explanations_best(const explanations *list) {
    for (int i = 0; i < list->count; i++) {
        const explanation *e = &list->items[i];
        if (e->fits || e->explained >= (e->kind ? 0.97 : 0.75)) return e;
    }
    return NULL;
}

/* ---- Pictures ---- */

/* Values of one channel stretched to 0..1 by what `like` spans; colours as they are. */
static bool show(const tensor *from, const tensor *like, int channel, tensor *to) {
    if (from->c == 3) return tensor_copy(to, from);
    size_t plane = (size_t)from->h * (size_t)from->w;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < plane; i++) {
        double v = like->v[(size_t)channel * plane + i];
        if (!isfinite(v)) continue;
        low = fmin(low, v);
        high = fmax(high, v);
    }
    if (!tensor_make(to, 1, from->h, from->w)) return false;
    for (size_t i = 0; i < plane; i++)
        to->v[i] = high > low ? (from->v[(size_t)channel * plane + i] - low) / (high - low) : 0.5;
    return true;
}

void comparison_exhibit(comparison *r, const char *title, const tensor *ref, const tensor *test,
                        int channel) {
    if (r->exhibit_count == MAX_EXHIBITS || !tensor_same_shape(ref, test)) return;
    exhibit *x = &r->exhibits[r->exhibit_count];
    *x = (exhibit){{0}, {0}, {0}, {0}};
    if (!show(ref, ref, channel, &x->ref) || !show(test, ref, channel, &x->test) ||
        !tensor_copy(&x->difference, &x->ref)) {
        tensor_free(&x->ref);
        tensor_free(&x->test);
        return;
    }
    size_t count = tensor_count(&x->ref);
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs(x->test.v[i] - x->ref.v[i]);
        x->difference.v[i] = isfinite(d) ? d : 1;
        largest = fmax(largest, isfinite(d) ? d : 0);
    }
    double gain = 1;
    while (largest > 0 && largest * gain < 0.5 && gain < 0x1p40) gain *= 2;
    for (size_t i = 0; i < count; i++) x->difference.v[i] = fmin(1, gain * x->difference.v[i]);
    snprintf(x->title, sizeof x->title, "%s (difference x %g)", title, gain);
    r->exhibit_count++;
}

bool comparison_end_to_end(comparison *r, const tensor *ref, const tensor *test) {
    picture a = {0}, b = {0};
    size_t off0 = 0, off1 = 0, off2 = 0, count = tensor_count(ref);
    double squares = 0;
    r->max_lsb = -1;
    for (size_t i = 0; i < count; i++) {
        double d = fmin(fmax(test->v[i], 0), 1) - fmin(fmax(ref->v[i], 0), 1), lsb = fabs(255 * d);
        if (isnan(test->v[i])) d = 1, lsb = 255;
        squares += d * d;
        off0 += lsb > 0.999;
        off1 += lsb > 1.001;
        off2 += lsb > 2.001;
        if (lsb > r->max_lsb) {
            size_t plane = (size_t)ref->h * (size_t)ref->w;
            r->max_lsb = lsb;
            r->worst[0] = (int)(i / plane);
            r->worst[1] = (int)(i % plane / (size_t)ref->w);
            r->worst[2] = (int)(i % (size_t)ref->w);
        }
    }
    r->pictured = true;
    r->psnr = squares > 0 ? -10 * log10(squares / (double)count) : INFINITY;
    r->share0 = (double)off0 / (double)count;
    r->share1 = (double)off1 / (double)count;
    r->share2 = (double)off2 / (double)count;
    r->ssim = NAN;
    bool good = tensor_to_picture(ref, &a) && tensor_to_picture(test, &b);
    if (good && ref->h >= 11 && ref->w >= 11)
        esrgan_ssim(&a.pixels, &b.pixels, 0, ESRGAN_RGB, &r->ssim, NULL);
    picture_free(&a);
    picture_free(&b);
    return good;
}

bool comparison_picture_good(const comparison *r) {
    const tolerance *t = r->limits;
    return r->max_lsb <= t->lsb + 0.001 && r->share0 <= t->share && r->psnr >= t->psnr;
}
