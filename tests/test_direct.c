/*
 * The direct engine: small networks of all kinds against the plain engine, the same bits however
 * the work is dealt out, memory as estimated, and every way of stopping.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "direct.h"
#include "engine/engine.h"
#include "model.h"
#include "support/decibels.h"
#include "support/model.h"
#include "support/slow.h"

/* ---- Running the engine ------------------------------------------------------------------- */

typedef struct picture {
    const float *in;
    float *out;
    int channels_in, channels_out, height, width, scale;
    int *written; /* how often each row of the result was */
} picture;

static void read_rows(void *context, int y, int rows, float *out, size_t channel_stride,
                      size_t row_stride) {
    const picture *p = context;
    assert_in_range(y, 0, p->height - rows);
    for (int c = 0; c < p->channels_in; c++)
        for (int r = 0; r < rows; r++)
            memcpy(out + (size_t)c * channel_stride + (size_t)r * row_stride,
                   p->in + ((size_t)c * (size_t)p->height + (size_t)(y + r)) * (size_t)p->width,
                   (size_t)p->width * sizeof *out);
}

static void write_rows(void *context, int y, int rows, const float *in, size_t channel_stride,
                       size_t row_stride) {
    picture *p = context;
    size_t width = (size_t)(p->width * p->scale), height = (size_t)(p->height * p->scale);
    assert_in_range(y, 0, (int)height - rows);
    for (int r = 0; r < rows; r++) p->written[y + r]++;
    for (int c = 0; c < p->channels_out; c++)
        for (int r = 0; r < rows; r++)
            memcpy(p->out + ((size_t)c * height + (size_t)(y + r)) * width,
                   in + (size_t)c * channel_stride + (size_t)r * row_stride, width * sizeof *in);
}

static size_t count_in(const esrgan_model *m, int height, int width) {
    return (size_t)m->network->in_channels * (size_t)height * (size_t)width;
}

static size_t count_out(const esrgan_model *m, int height, int width) {
    size_t scale = (size_t)m->network->scale;
    return (size_t)m->network->out_channels * scale * scale * (size_t)height * (size_t)width;
}

/* A context with a team and a meter of its own. */
typedef struct bench {
    es_context context;
    es_meter meter;
    es_progress_state progress;
} bench;

static bool is_oracle(const char *tier) { return strncmp(tier, "direct_scalar", 13) == 0; }

/* What a tier works in. */
static esrgan_precision precision_of(const char *tier) {
    for (int i = 0; es_direct_tiers[i] != NULL; i++)
        if (strcmp(es_direct_tiers[i]->tier, tier) == 0)
            return es_direct_tiers[i]->format == ES_DIRECT_F16 ? ESRGAN_FP16 : ESRGAN_BF16;
    fail_msg("no tier %s", tier);
    return ESRGAN_BF16;
}

static void set_up(bench *b, const esrgan_model *model, const char *tier, int members,
                   const esrgan_allocator *inner) {
    esrgan_allocator plain = es_allocator(inner), usual_memory = es_allocator(NULL);
    es_meter_init(&b->meter, &plain, 0);
    b->progress = (es_progress_state){.said = -1};
    b->context = (es_context){.network = model->network,
                              .members = members,
                              .meter = &b->meter,
                              .precision = precision_of(tier),
                              .backend = ESRGAN_NATIVE,
                              .isa = tier,
                              .progress_to = 1,
                              .progress_state = &b->progress};
    assert_int_equal(es_team_create(&b->context.team, members, &usual_memory, NULL), ESRGAN_OK);
    const char *why = es_engine_direct.refuses(&b->context);
    if (why) fail_msg("%s: %s", tier, why);
    assert_string_equal(es_engine_direct.tier(&b->context), tier);
}

static void tear_down(bench *b) {
    es_engine_direct.release(&b->context);
    assert_null(b->context.engine_state);
    es_team_free(b->context.team);
    assert_int_equal(b->meter.now, 0);
}

static esrgan_status run(bench *b, const esrgan_model *m, int height, int width, const float *in,
                         float *out, esrgan_error *error) {
    const es_network *n = m->network;
    int rows = height * n->scale;
    picture p = {in, out, n->in_channels, n->out_channels, height, width, n->scale, NULL};
    p.written = calloc((size_t)rows, sizeof *p.written);
    assert_non_null(p.written);
    es_io io = {read_rows, write_rows, &p};
    esrgan_status status = es_engine_direct.run(&b->context, height, width, &io, error);
    for (int y = 0; y < rows; y++)
        if (status == ESRGAN_OK ? p.written[y] != 1 : p.written[y] > 1)
            fail_msg("row %d was written %d times", y, p.written[y]);
    free(p.written);
    return status;
}

/* The result of a whole run.  free() */
static float *result(const esrgan_model *m, const char *tier, int members, int height, int width,
                     const float *in) {
    bench b;
    esrgan_error error;
    float *out = malloc(count_out(m, height, width) * sizeof *out);
    assert_non_null(out);
    set_up(&b, m, tier, members, NULL);
    if (run(&b, m, height, width, in, out, &error) != ESRGAN_OK) fail_msg("%s", error.message);
    tear_down(&b);
    return out;
}

/* Tiers this CPU has; the scalar ones, which are slow, only where asked for. */
static int find_tiers(const char *tiers[4], bool scalar) {
    int count = 0;
    for (int i = 0; es_direct_tiers[i] != NULL; i++) {
        if (is_oracle(es_direct_tiers[i]->tier) && !scalar) continue;
        if (es_direct_usable(es_direct_tiers[i]))
            tiers[count++] = es_direct_tiers[i]->tier;
        else
            print_message("this CPU has no %s: not tested\n", es_direct_tiers[i]->tier);
    }
    return count;
}

/* ---- Against the plain engine ------------------------------------------------------------- */

static float *plain(const esrgan_model *m, esrgan_precision precision, int height, int width,
                    const float *in) {
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_OPENBLAS;
    o.precision = precision;
    o.threads = 1;
    esrgan_session *session;
    esrgan_error error;
    float *out = malloc(count_out(m, height, width) * sizeof *out);
    assert_non_null(out);
    if (esrgan_session_create(m, &o, &session, &error) != ESRGAN_OK ||
        esrgan_forward(session, 1, height, width, in, out, &error) != ESRGAN_OK)
        fail_msg("%s", error.message);
    esrgan_session_free(session);
    return out;
}

/* No further from FP32 than the plain engine's own half precision, which rounds more often; a little further
 * by chance, the more so the fewer values there are. */
static void check_against_plain(const pth_rrdbnet *net, const char *tier, int height, int width) {
    esrgan_model *m = model_of(net, 5);
    size_t n = count_out(m, height, width);
    float *in = noise(count_in(m, height, width), 11);
    float *exact = plain(m, ESRGAN_FP32, height, width, in);
    float *rounded = plain(m, precision_of(tier), height, width, in);
    float *got = result(m, tier, 2, height, width, in);
    double own = decibels(exact, got, n), allowed = decibels(exact, rounded, n);
    allowed -= 1.5 + 20 / sqrt((double)n);
    if (!(own >= allowed))
        fail_msg("%s, %d features, growth %d, %d in, %d ups, %d x %d: %.1f dB, expected %.1f", tier,
                 net->features, net->growth, net->in, net->ups, height, width, own, allowed);
    free(in);
    free(exact);
    free(rounded);
    free(got);
    esrgan_model_free(m);
}

static const pth_rrdbnet usual = {
    .in = 3, .out = 3, .features = 64, .growth = 32, .blocks = 1, .ups = 2};
static const pth_rrdbnet slim = {
    .in = 3, .out = 3, .features = 16, .growth = 8, .blocks = 1, .ups = 2};

static void sizes(void **state) {
    (void)state;
    static const int table[][2] = {{1, 1},  {1, 2},   {2, 1},   {1, 70},  {70, 1},  {3, 5},
                                   {7, 16}, {16, 16}, {17, 15}, {31, 49}, {48, 48}, {70, 37}};
    const char *tiers[4];
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++)
        for (size_t i = 0; i < sizeof table / sizeof *table; i += share())
            check_against_plain(&usual, tiers[t], table[i][0], table[i][1]);
    check_against_plain(&usual, "direct_scalar", 3, 5);
    check_against_plain(&usual, "direct_scalar_f16", 3, 5);
}

/* Units side by side: wider than a ring takes. */
static void wide(void **state) {
    (void)state;
    static const pth_rrdbnet narrow = {
        .in = 3, .out = 3, .features = 32, .growth = 8, .blocks = 1, .ups = 1};
    const char *tiers[4];
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++) {
        check_against_plain(&narrow, tiers[t], share() > 1 ? 1 : 9, share() > 1 ? 340 : 700);
        if (share() == 1) check_against_plain(&narrow, tiers[t], 300, 20);
    }
}

/* Widths that fill no plane, all scales, unshuffled input, other numbers of channels. */
static void kinds(void **state) {
    (void)state;
    static const pth_rrdbnet table[] = {
        {.in = 3, .out = 3, .features = 64, .growth = 32, .blocks = 2, .ups = 0},
        {.in = 3, .out = 3, .features = 32, .growth = 16, .blocks = 2, .ups = 1},
        {.in = 3, .out = 3, .features = 64, .growth = 32, .blocks = 1, .ups = 3},
        {.in = 12, .out = 3, .features = 64, .growth = 32, .blocks = 1, .ups = 2},
        {.in = 48, .out = 3, .features = 24, .growth = 8, .blocks = 1, .ups = 2},
        {.in = 1, .out = 1, .features = 33, .growth = 17, .blocks = 1, .ups = 1},
        {.in = 4, .out = 4, .features = 96, .growth = 48, .blocks = 1, .ups = 2},
        {.in = 3, .out = 3, .features = 8, .growth = 4, .blocks = 3, .ups = 2},
        {.in = 3, .out = 20, .features = 40, .growth = 40, .blocks = 1, .ups = 1},
    };
    const char *tiers[4];
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++)
        for (size_t i = share() > 1 ? 5 : 0; i < sizeof table / sizeof *table; i += share())
            check_against_plain(&table[i], tiers[t], share() > 1 ? 7 : 24, share() > 1 ? 9 : 20);
    check_against_plain(&table[7], "direct_scalar", 8, 4);
    check_against_plain(&table[5], "direct_scalar", 2, 3);
    check_against_plain(&table[7], "direct_scalar_f16", 8, 4);
    check_against_plain(&table[3], "direct_scalar_f16", 2, 4);
}

/* A x3 model, which the keys do not tell from a x2 one. */
static void threefold(void **state) {
    (void)state;
    pth_list list = {0};
    pth_rrdbnet net = usual;
    net.ups = 1;
    pth_add_rrdbnet(&list, &net);
    size_t size;
    uint8_t *data = pth_write(&list, 3, &size);
    pth_clear(&list);
    esrgan_open_options o;
    esrgan_open_options_init(&o);
    o.up_factor = 3;
    esrgan_model *m;
    assert_int_equal(esrgan_open_memory(data, size, "x3", &o, &m, NULL), ESRGAN_OK);
    assert_int_equal(m->network->scale, 3);
    const int height = share() > 1 ? 7 : 19, width = share() > 1 ? 9 : 23;
    float *in = noise(count_in(m, height, width), 1);
    float *exact = plain(m, ESRGAN_FP32, height, width, in);
    const char *tiers[4];
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++) {
        float *rounded = plain(m, precision_of(tiers[t]), height, width, in);
        float *got = result(m, tiers[t], 2, height, width, in);
        size_t n = count_out(m, height, width);
        assert_true(decibels(exact, got, n) >= decibels(exact, rounded, n) - 1.5);
        free(got);
        free(rounded);
    }
    free(in);
    free(exact);
    esrgan_model_free(m);
    free(data);
}

/* ---- However the work is dealt out -------------------------------------------------------- */

static void threads(void **state) {
    (void)state;
    static const int table[][2] = {{1, 1}, {5, 17}, {37, 40}, {9, 400}};
    const char *tiers[4];
    esrgan_model *m = model_of(share() > 1 ? &slim : &usual, 9);
    const size_t sizes = share() > 1 ? 2 : sizeof table / sizeof *table;
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++)
        for (size_t i = 0; i < sizes; i++) {
            int height = table[i][0], width = table[i][1];
            float *in = noise(count_in(m, height, width), 2);
            float *want = result(m, tiers[t], 1, height, width, in);
            for (int members = 2; members <= 8; members += share() > 1 ? 3 : 1) {
                float *got = result(m, tiers[t], members, height, width, in);
                assert_memory_equal(got, want, count_out(m, height, width) * sizeof *got);
                free(got);
            }
            free(want);
            free(in);
        }
    esrgan_model_free(m);
}

/* Whose rows of the result are whose, and a caller that is slow to come back from its progress
 * function: the team's first member falls behind, and others take its rows over. */
typedef struct dawdler {
    pthread_t caller;
    picture picture;
    struct timespec since; /* it last came back */
    int calls, of_caller;  /* rows of the result */
    unsigned luck;
} dawdler;

/* Takes as long as the caller worked since, or twice as long. */
static int dawdle(void *context, double done) {
    dawdler *d = context;
    struct timespec now;
    (void)done;
    d->calls++;
    d->luck = d->luck * 1664525 + 1013904223;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long worked =
        (now.tv_sec - d->since.tv_sec) * 1000000 + (now.tv_nsec - d->since.tv_nsec) / 1000;
    if (d->calls > 1) usleep((useconds_t)(worked * (1 + (d->luck >> 31))) + 100);
    clock_gettime(CLOCK_MONOTONIC, &d->since);
    return 0;
}

static void read_for(void *context, int y, int rows, float *out, size_t channel_stride,
                     size_t row_stride) {
    read_rows(&((dawdler *)context)->picture, y, rows, out, channel_stride, row_stride);
}

static void write_for(void *context, int y, int rows, const float *in, size_t channel_stride,
                      size_t row_stride) {
    dawdler *d = context;
    write_rows(&d->picture, y, rows, in, channel_stride, row_stride);
    if (pthread_equal(pthread_self(), d->caller)) d->of_caller += rows;
}

/* The same bits, though members got other shares than in any undisturbed run. */
static void uneven(void **state) {
    (void)state;
    static const int table[][2] = {{70, 40}, {30, 350}};
    int of_callers = 0, even = 0;
    if (share() > 1) skip(); /* pictures of fewer rows have nothing to take over */
    const char *tiers[4];
    esrgan_model *m = model_of(&usual, 9);
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++)
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
            int height = table[i][0], width = table[i][1];
            size_t n = count_out(m, height, width);
            float *in = noise(count_in(m, height, width), 2), *out = malloc(n * sizeof *out);
            float *want = result(m, tiers[t], 1, height, width, in);
            for (unsigned run = 0; run < 3; run++) {
                int members = run % 2 ? 3 : 2, *written = calloc((size_t)height * 4, sizeof(int));
                bench b;
                dawdler d = {.caller = pthread_self(), .luck = run};
                d.picture = (picture){in, out, 3, 3, height, width, 4, written};
                es_io io = {read_for, write_for, &d};
                memset(out, 0, n * sizeof *out);
                set_up(&b, m, tiers[t], members, NULL);
                b.context.progress = dawdle;
                b.context.progress_context = &d;
                assert_int_equal(es_engine_direct.run(&b.context, height, width, &io, NULL),
                                 ESRGAN_OK);
                tear_down(&b);
                assert_memory_equal(out, want, n * sizeof *out);
                assert_true(d.calls > 5);
                of_callers += d.of_caller;
                even += height * 4 / members;
                free(written);
            }
            free(want);
            free(out);
            free(in);
        }
    /* In all, for in one run the other members may have been stopped for long. */
    if (even > 0) assert_in_range(of_callers, 0, even * 9 / 10);
    esrgan_model_free(m);
}

/* Whether a tier runs dense blocks by tiles. */
static bool is_tiled(const char *tier) {
    for (int i = 0; es_direct_tiers[i] != NULL; i++)
        if (strcmp(es_direct_tiers[i]->tier, tier) == 0) return es_direct_tiers[i]->tiles != NULL;
    return false;
}

/* The first rows and columns of a picture do not see what is beyond the network's reach: the same
 * bits in a picture that is cut into other bands.  By tiles a convolution of a dense block reaches a
 * tile to the side and not only a pixel: what lies there alters how sums are rounded. */
static void bands(void **state) {
    (void)state;
    /* More columns than a unit has, where that does not take too long. */
    const int wide = share() > 1 ? 72 : 360, narrow = share() > 1 ? 68 : 330;
    const int tall = share() > 1 ? 24 : 90, low = share() > 1 ? 22 : 60, reach = 3 * 5 + 5;
    const char *tiers[4];
    pth_rrdbnet net = slim;
    if (share() > 1) net.ups = 0;
    esrgan_model *m = model_of(&net, 4);
    const int scale = m->network->scale;
    float *in = noise(count_in(m, tall, wide), 8);
    float *part = malloc(count_in(m, low, narrow) * sizeof *part);
    assert_non_null(part);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < low; y++)
            memcpy(part + (c * low + y) * narrow, in + (c * tall + y) * wide,
                   (size_t)narrow * sizeof *part);
    for (int t = 0, count = find_tiers(tiers, false); t < count; t++) {
        float *all = result(m, tiers[t], 3, tall, wide, in);
        float *some = result(m, tiers[t], 2, low, narrow, part);
        const int aside = is_tiled(tiers[t]) ? 3 * 5 * ES_DIRECT_TILE + 5 : reach;
        assert_true(aside < narrow);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < scale * (low - reach); y++)
                assert_memory_equal(some + (c * low * scale + y) * narrow * scale,
                                    all + (c * tall * scale + y) * wide * scale,
                                    (size_t)(scale * (narrow - aside)) * sizeof *all);
        free(all);
        free(some);
    }
    free(part);
    free(in);
    esrgan_model_free(m);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static void estimates(void **state) {
    (void)state;
    static const int table[][2] = {{1, 1}, {16, 16}, {12, 170}, {30, 17}};
    const char *tiers[4];
    esrgan_model *models[] = {model_of(&usual, 1), model_x2plus()};
    for (int t = 0, count = find_tiers(tiers, true); t < count; t++)
        for (int i = 0; i < 16; i += (int)share()) {
            esrgan_model *m = models[i / 8];
            int height = table[i % 4][0] * 2, width = table[i % 4][1] * 2;
            if (is_oracle(tiers[t]) && (i / 8 == 0 || height * width > 1024)) continue;
            bench b;
            set_up(&b, m, tiers[t], 1 + i % 3, NULL);
            b.context.keep_weights = i % 8 >= 4;
            uint64_t bytes;
            assert_int_equal(es_engine_direct.estimate(&b.context, height, width, &bytes, NULL),
                             ESRGAN_OK);
            assert_int_equal(b.meter.peak, 0);
            float *in = noise(count_in(m, height, width), 2);
            float *out = malloc(count_out(m, height, width) * sizeof *out);
            assert_int_equal(run(&b, m, height, width, in, out, NULL), ESRGAN_OK);
            assert_true(bytes >= b.meter.peak && (double)bytes <= 1.05 * (double)b.meter.peak);
            free(in);
            free(out);
            tear_down(&b);
        }
    esrgan_model_free(models[0]);
    esrgan_model_free(models[1]);
}

/* The promise of 0.6 KB an input pixel. */
static void frugality(void **state) {
    (void)state;
    bench b;
    esrgan_model *m = model_of(&usual, 1);
    set_up(&b, m, "direct_scalar", 2, NULL);
    uint64_t bytes;
    assert_int_equal(es_engine_direct.estimate(&b.context, 256, 256, &bytes, NULL), ESRGAN_OK);
    assert_true(bytes <= 256 * 256 * 600);
    assert_int_equal(es_engine_direct.estimate(&b.context, 720, 1280, &bytes, NULL), ESRGAN_OK);
    assert_true(bytes <= 720 * 1280 * 600);
    assert_int_equal(es_engine_direct.estimate(&b.context, 100000, 100000, &bytes, NULL),
                     ESRGAN_E_LIMIT);
    tear_down(&b);
    esrgan_model_free(m);
}

/* Kept weights give the same bits, for pictures of other sizes too, and after a run cut short. */
static void kept_weights(void **state) {
    (void)state;
    const char *tiers[4];
    esrgan_model *m = model_x2plus();
    for (int t = 0, count = find_tiers(tiers, true); t < count; t++) {
        bench b;
        set_up(&b, m, tiers[t], 2, NULL);
        b.context.keep_weights = true;
        for (int i = 0; i < (share() > 1 ? 2 : 3); i++) {
            int height = 4 + 6 * i, width = 10 - 2 * i;
            float *in = noise(count_in(m, height, width), 2);
            float *out = malloc(count_out(m, height, width) * sizeof *out);
            assert_int_equal(run(&b, m, height, width, in, out, NULL), ESRGAN_OK);
            assert_non_null(b.context.engine_state);
            float *want = result(m, tiers[t], 1, height, width, in);
            assert_memory_equal(out, want, count_out(m, height, width) * sizeof *out);
            free(in);
            free(out);
            free(want);
        }
        tear_down(&b);
    }
    esrgan_model_free(m);
}

static void failing_allocations(void **state) {
    (void)state;
    const char *tiers[4];
    esrgan_model *m = model_x4();
    float *in = noise(count_in(m, 6, 5), 2), *out = malloc(count_out(m, 6, 5) * sizeof *out);
    find_tiers(tiers, true);
    for (int keep = 0; keep <= 1; keep++) {
        ledger l;
        for (int fail = 0;; fail++) {
            bench b;
            ledger_init(&l);
            set_up(&b, m, tiers[0], 2, &l.allocator);
            b.context.keep_weights = keep;
            l.fail_at = fail;
            esrgan_error error = {0};
            esrgan_status status = run(&b, m, 6, 5, in, out, &error);
            tear_down(&b);
            assert_int_equal(l.now, 0);
            if (status == ESRGAN_OK) break;
            assert_int_equal(status, ESRGAN_E_MEMORY);
            assert_int_equal(error.status, ESRGAN_E_MEMORY);
            assert_true(fail < 20);
        }
        assert_true(l.calls >= 5);
    }
    free(in);
    free(out);
    esrgan_model_free(m);
}

/* ---- Progress and stopping ---------------------------------------------------------------- */

typedef struct stopper {
    int calls, stop_at;
    double last;
} stopper;

static int told(void *context, double done) {
    stopper *s = context;
    assert_true(done >= s->last && done <= 1);
    s->last = done;
    return s->calls++ == s->stop_at;
}

static void stopping(void **state) {
    (void)state;
    const char *tiers[4];
    esrgan_model *m = model_x4();
    float *in = noise(count_in(m, 12, 9), 2);
    size_t n = count_out(m, 12, 9);
    float *out = malloc(n * sizeof *out);
    find_tiers(tiers, true);
    float *want = result(m, tiers[0], 2, 12, 9, in);
    for (int keep = 0; keep <= 1; keep++) {
        bench b;
        set_up(&b, m, tiers[0], 2, NULL);
        b.context.keep_weights = keep;
        b.context.progress = told;
        esrgan_status status = ESRGAN_E_CANCELLED;
        for (int stop = 0; status != ESRGAN_OK; stop++) {
            stopper s = {.stop_at = stop};
            b.progress = (es_progress_state){.said = -1};
            b.context.progress_context = &s;
            status = run(&b, m, 12, 9, in, out, NULL);
            if (status == ESRGAN_OK) {
                assert_true(s.last == 1);
                assert_true(stop >= 4);
            } else {
                assert_int_equal(status, ESRGAN_E_CANCELLED);
                assert_int_equal(s.calls, stop + 1);
            }
        }
        assert_memory_equal(out, want, n * sizeof *out);
        tear_down(&b);
    }
    free(in);
    free(out);
    free(want);
    esrgan_model_free(m);
}

/* ---- What it does not take on ------------------------------------------------------------- */

static int no_trace(void *context, const esrgan_trace_value *value) {
    (void)context;
    (void)value;
    return 0;
}

static void refusals(void **state) {
    (void)state;
    bench b;
    esrgan_model *m = model_x4();
    set_up(&b, m, "direct_scalar", 1, NULL);
    b.context.precision = ESRGAN_FP32;
    assert_non_null(es_engine_direct.refuses(&b.context));
    b.context.precision = ESRGAN_FP16;
    assert_string_equal(es_engine_direct.refuses(&b.context), "this tier works in bf16 only");
    b.context.isa = "direct_scalar_f16";
    assert_null(es_engine_direct.refuses(&b.context));
    b.context.precision = ESRGAN_BF16;
    assert_string_equal(es_engine_direct.refuses(&b.context), "this tier works in fp16 only");
    b.context.isa = "direct_scalar";
    b.context.trace = no_trace;
    assert_non_null(es_engine_direct.refuses(&b.context));
    b.context.trace = NULL;
    b.context.isa = "neon";
    assert_non_null(es_engine_direct.refuses(&b.context));
    assert_string_equal(es_engine_direct.tier(&b.context), "none");
    esrgan_error error;
    assert_int_equal(run(&b, m, 4, 4, NULL, NULL, &error), ESRGAN_E_UNSUPPORTED);
    b.context.isa = "direct_scalar";
    pth_rrdbnet net = usual;
    net.plus = 1;
    esrgan_model *plus = model_of(&net, 1);
    b.context.network = plus->network;
    assert_non_null(es_engine_direct.refuses(&b.context));
    assert_int_equal(run(&b, plus, 4, 4, NULL, NULL, &error), ESRGAN_E_UNSUPPORTED);
    tear_down(&b);
    esrgan_model_free(plus);
    esrgan_model_free(m);
}

int main(void) {
    const struct CMUnitTest direct[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(wide),
        cmocka_unit_test(kinds),
        cmocka_unit_test(threefold),
        cmocka_unit_test(threads),
        cmocka_unit_test(uneven),
        cmocka_unit_test(bands),
        cmocka_unit_test(estimates),
        cmocka_unit_test(frugality),
        cmocka_unit_test(kept_weights),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(stopping),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(direct, NULL, NULL);
}
