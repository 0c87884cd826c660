/*
 * Networks and pictures of sizes that nobody has thought of, with tiers, precisions, batches and numbers of
 * threads drawn with them: the same bits for all numbers of threads, for a session that has seen other sizes,
 * and for a traced run, which goes a way of its own; near to what OpenBLAS makes; in the memory that was
 * estimated, and refused with a byte less; statistics taken on the way are those of what a traced run shows.
 *
 * ESRGAN_TEST_SEED and ESRGAN_TEST_DRAWS: other draws, more of them (make check-sizes).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/model.h"
#include "support/slow.h"

enum { DRAWS = 60, MOST_THREADS = 7, TIERS = 16 };

/* A network, and the pixels that a picture may have. */
typedef struct kind {
    pth_rrdbnet net;
    int pixels;
} kind;

static const kind kinds[] = {
    {{PTH_BASICSR, 3, 3, 64, 32, 1, 2, 0}, 4000},   {{PTH_BASICSR, 3, 3, 64, 32, 2, 0, 0}, 6000},
    {{PTH_BASICSR, 12, 3, 32, 32, 1, 2, 0}, 10000}, {{PTH_BASICSR, 3, 3, 16, 8, 2, 1, 0}, 16000},
    {{PTH_ESRGAN, 1, 1, 40, 24, 1, 0, 0}, 10000},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Multiply-adds that a picture may take by a network that is drawn. */
static const double MOST_MACS = 4e9;

/* Error allowed, of the largest value, by esrgan_precision: two to three times what was seen in 4400 draws. */
static const double BOUND[] = {2e-5, 7e-3, 6e-2};
static double worst[3];

/* ---- Draws ----------------------------------------------------------------------------------- */

static uint64_t drawn;

/* 0 .. below-1 (xorshift64*, Vigna 2016). */
static int draw(int below) {
    drawn ^= drawn >> 12, drawn ^= drawn << 25, drawn ^= drawn >> 27;
    return (int)((drawn * UINT64_C(0x2545f4914f6cdd1d) >> 33) % (uint64_t)below);
}

/* 1 .. most, small numbers as often as large ones. */
static int draw_size(int most) {
    return (int)pow(most, draw(1 << 20) / (double)(1 << 20)) + draw(2);
}

/* Any channels, up to as many as are usual; and twice that, now and then. */
static int draw_channels(int usual) {
    const int most = draw(8) == 0 ? 2 * usual : usual;
    return draw(3) == 0 ? 1 + draw(most) : 8 * (1 + draw(most / 8));
}

static kind draw_kind(void) {
    static const pth_layout layouts[] = {PTH_BASICSR, PTH_BSRGAN, PTH_ESRGAN};
    static const int ins[] = {1, 2, 3, 3, 3, 4, 12, 48};
    pth_rrdbnet net = {.layout = layouts[draw(3)],
                       .in = ins[draw(8)],
                       .out = draw(2) ? 3 : 1 + draw(5),
                       .features = draw_channels(64),
                       .growth = draw_channels(32),
                       .blocks = 1 + draw(2),
                       .ups = draw(4)};
    if (net.in >= 4 * net.out && net.ups < 2) net.ups = 2; /* unshuffled by 2 or 4 */
    const double f = net.features, g = net.growth, scale2 = pow(4, net.ups);
    double macs = f * net.in + 3.0 * net.blocks * (f * f + 8 * f * g + 6 * g * g) + f * f;
    for (int i = 1; i <= net.ups; i++) macs += f * f * pow(4, i);
    macs += scale2 * f * (f + net.out);
    const double pixels = MOST_MACS / (9 * macs);
    return (kind){net, pixels < 20000 ? (int)pixels : 20000};
}

typedef struct size {
    int height, width;
} size;

/* One in three is as wide, or high, as can be. */
static size draw_picture(int pixels, int unit) {
    const int shape = draw(6);
    size s = {draw_size((int)sqrt(pixels)), draw_size((int)sqrt(pixels))};
    if (shape < 2) {
        const int low = draw_size(14), wide = pixels / low;
        s = (size){low, wide - draw(wide / 2 + 1)};
    }
    if (shape == 0) s = (size){s.width, s.height};
    return (size){s.height * unit, s.width * unit};
}

/* The names of tiers that a precision can be had in; NULL, the best, is the first. */
static int tiers_for(const esrgan_model *model, esrgan_precision precision, const char **names) {
    int count = 0;
    names[count++] = NULL;
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        assert_int_equal(esrgan_tier_get(i, &tier, NULL), ESRGAN_OK);
        esrgan_session_options o;
        esrgan_session_options_init(&o);
        o.backend = ESRGAN_NATIVE, o.precision = precision, o.isa = tier.name, o.threads = 1;
        esrgan_session *session;
        if (esrgan_session_create(model, &o, &session, NULL) != ESRGAN_OK) continue;
        esrgan_session_free(session);
        assert_true(count < TIERS);
        names[count++] = tier.name;
    }
    return count;
}

/* ---- Runs ------------------------------------------------------------------------------------ */

typedef struct picture {
    size size;
    int count; /* of them, in one batch */
    size_t floats_out;
    float *in, *want;
} picture;

static picture picture_of(const esrgan_model_info *info, int pixels) {
    const size s = draw_picture(pixels, info->unshuffle);
    const int count = draw(6) == 0 ? 2 : 1;
    const size_t area = (size_t)(count * s.height) * (size_t)s.width;
    picture p = {.size = s,
                 .count = count,
                 .floats_out = area * (size_t)(info->out_channels * info->scale * info->scale),
                 .in = noise((size_t)info->in_channels * area, (uint32_t)draw(1 << 30))};
    return p;
}

/* free() */
static float *run(esrgan_session *session, const picture *p) {
    float *out = malloc(p->floats_out * sizeof *out);
    assert_non_null(out);
    memset(out, 0xff, p->floats_out * sizeof *out);
    assert_int_equal(
        esrgan_forward(session, p->count, p->size.height, p->size.width, p->in, out, NULL),
        ESRGAN_OK);
    return out;
}

static esrgan_session *open(const esrgan_model *model, const esrgan_session_options *o) {
    esrgan_session *session;
    esrgan_error error;
    if (esrgan_session_create(model, o, &session, &error) != ESRGAN_OK)
        fail_msg("%s", error.message);
    return session;
}

/* Some pictures by one session; the first one to make them says what is wanted. */
static bool agree(const esrgan_model *model, const esrgan_session_options *o, picture *pictures,
                  int count) {
    static const int order[] = {0, 1, 0};
    esrgan_session *session = open(model, o);
    bool same = true;
    for (int i = 0; i < count; i++) {
        picture *p = &pictures[order[i]];
        float *got = run(session, p);
        if (p->want) {
            same &= memcmp(p->want, got, p->floats_out * sizeof *got) == 0;
            free(got);
        } else {
            p->want = got;
        }
    }
    esrgan_session_free(session);
    return same;
}

/* ---- Statistics ------------------------------------------------------------------------------ */

enum { VALUES = 512 };

/* What a run has shown, and how much of it another one shows, too. */
typedef struct shown {
    esrgan_statistics *values;
    int count, seen, alike;
} shown;

static int keep(void *context, const esrgan_trace_value *v) {
    shown *s = context;
    assert_true(s->count < VALUES);
    s->values[s->count++] = *v->statistics;
    return 0;
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-9 * fabs(a); }

static int look(void *context, const esrgan_trace_value *v) {
    shown *s = context;
    assert_null(v->data);
    assert_true(s->seen < s->count);
    const esrgan_statistics *got = v->statistics, *want = &s->values[s->seen++];
    s->alike += got->count == want->count && got->nan == want->nan && got->inf == want->inf &&
                got->hash == want->hash && got->min == want->min && got->max == want->max &&
                near(want->mean, got->mean) && near(want->rms, got->rms) &&
                memcmp(got->sample, want->sample, sizeof want->sample) == 0;
    return 0;
}

/* Traced, pictures are the same, and statistics of what is shown are those that are taken on the way. */
static bool traces_alike(const esrgan_model *model, const esrgan_session_options *options,
                         picture *pictures) {
    shown s = {.values = malloc(VALUES * sizeof *s.values)};
    assert_non_null(s.values);
    esrgan_session_options o = *options;
    o.trace_context = &s;
    o.trace = keep, o.trace_content = ESRGAN_TRACE_BOTH;
    bool same = agree(model, &o, pictures, 1);
    o.trace = look, o.trace_content = ESRGAN_TRACE_STATISTICS;
    same &= agree(model, &o, pictures, 1) && s.count > 20 && s.alike == s.count;
    free(s.values);
    return same;
}

/* Whether a traced session has the tier that another one has: direct convolutions are not traced. */
static bool traces(const esrgan_model *model, const esrgan_session_options *o) {
    esrgan_session_options traced = *o;
    traced.trace = look;
    esrgan_session_info infos[2] = {{.size = sizeof *infos}, {.size = sizeof *infos}};
    for (int i = 0; i < 2; i++) {
        esrgan_session *session;
        if (esrgan_session_create(model, i ? &traced : o, &session, NULL) != ESRGAN_OK)
            return false;
        assert_int_equal(esrgan_session_get_info(session, &infos[i], NULL), ESRGAN_OK);
        esrgan_session_free(session);
    }
    return strcmp(infos[0].tier, infos[1].tier) == 0;
}

/* Whether a run takes as many bytes as are estimated, or up to 5 % less; so many may be a session's limit, but
 * not one less. */
static bool fits(const esrgan_model *model, const esrgan_session_options *options,
                 const picture *p) {
    ledger l;
    ledger_init(&l);
    esrgan_session_options o = *options;
    o.allocator = &l.allocator;
    uint64_t estimate;
    assert_int_equal(
        esrgan_estimate_memory(model, &o, p->count, p->size.height, p->size.width, &estimate, NULL),
        ESRGAN_OK);
    o.max_memory = estimate;
    esrgan_session *session = open(model, &o);
    const int64_t before = l.now;
    l.peak = l.now;
    free(run(session, p));
    esrgan_session_free(session);
    const double used = (double)(l.peak - before);
    o.max_memory = estimate - 1;
    session = open(model, &o);
    float *out = malloc(p->floats_out * sizeof *out);
    assert_non_null(out);
    const esrgan_status status =
        esrgan_forward(session, p->count, p->size.height, p->size.width, p->in, out, NULL);
    free(out);
    esrgan_session_free(session);
    assert_int_equal(l.now, 0);
    return used <= (double)estimate && used >= 0.95 * (double)estimate && status == ESRGAN_E_LIMIT;
}

/* The largest difference from OpenBLAS in FP32, of the largest value. */
static double error_of(const esrgan_model *model, const picture *p) {
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_OPENBLAS, o.threads = 2;
    esrgan_session *session = open(model, &o);
    float *right = run(session, p);
    double most = 0, error = 0;
    for (size_t i = 0; i < p->floats_out; i++) {
        const double d = fabs((double)p->want[i] - right[i]);
        if (fabsf(right[i]) > most) most = fabsf(right[i]);
        if (!(d <= error)) error = d; /* a NaN stays */
    }
    free(right);
    esrgan_session_free(session);
    return error / most;
}

/* Two pictures by one network, in one precision and tier. */
static void check_draw(uint64_t number) {
    const kind k = draw(2) ? draw_kind() : kinds[draw(KINDS)];
    const int precision = draw(4) % 3;
    esrgan_model *model = model_of(&k.net, number);
    esrgan_model_info info = {.size = sizeof info};
    assert_int_equal(esrgan_model_get_info(model, &info, NULL), ESRGAN_OK);
    const char *names[TIERS];
    const int tiers = tiers_for(model, (esrgan_precision)precision, names);
    picture pictures[] = {picture_of(&info, k.pixels), picture_of(&info, k.pixels / 2)};
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_NATIVE, o.precision = (esrgan_precision)precision;
    o.isa = draw(2) ? NULL : names[draw(tiers)];
    o.keep_weights = draw(8) == 0;
    const int threads[] = {1, 2, 3 + draw(MOST_THREADS - 2)};
    bool same = true;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        o.threads = threads[i];
        same &= agree(model, &o, pictures, 3);
    }
    const bool fit = fits(model, &o, &pictures[0]),
               alike = !traces(model, &o) || traces_alike(model, &o, pictures);
    for (int i = 0; i < 2; i++) {
        const double error = error_of(model, &pictures[i]);
        if (!(error <= worst[precision])) worst[precision] = error;
        if (!same || !fit || !alike || !(error <= BOUND[precision]))
            fail_msg("seed %llu: layout %d, %d -> %d, %d features, %d growth, %d blocks, %d ups; "
                     "precision %d, tier %s, %d threads, weights kept %d, %d x "
                     "%d and %d x %d: same bits %d, memory %d, traces %d, error %g in picture %d",
                     (unsigned long long)number, k.net.layout, k.net.in, k.net.out, k.net.features,
                     k.net.growth, k.net.blocks, k.net.ups, precision, o.isa ? o.isa : "of choice",
                     threads[2], o.keep_weights, pictures[0].size.height, pictures[0].size.width,
                     pictures[1].size.height, pictures[1].size.width, same, fit, alike, error, i);
    }
    for (int i = 0; i < 2; i++) free(pictures[i].in), free(pictures[i].want);
    esrgan_model_free(model);
}

static void any_size_is_right(void **state) {
    (void)state;
    const char *seed = getenv("ESRGAN_TEST_SEED"), *draws = getenv("ESRGAN_TEST_DRAWS");
    const uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    const uint64_t count = draws ? strtoull(draws, NULL, 10) : DRAWS;
    assert_true(count > 0);
    unsigned entry = 0;
    for (uint64_t i = 0; i < count; i++) {
        drawn = (first + i) * UINT64_C(0x9e3779b97f4a7c15);
        if (!left_out(&entry)) check_draw(first + i);
    }
    print_message("largest errors: FP32 %.1e, FP16 %.1e, BF16 %.1e\n", worst[0], worst[1],
                  worst[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_size_is_right)};
    return cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
}
