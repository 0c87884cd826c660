/*
 * Groups in which every member goes its own way: the same bits for any number of members however one
 * of them dawdles, no hang where one stops, statistics that do not depend on who made what; and when two of
 * them make weights each for itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/native_copies.h"
#include "engine/tiers.h"
#include "model.h"
#include "support/model.h"
#include "support/plan.h"
#include "support/slow.h"

/* One strip a unit, two, strips of several rows of tiles; just enough of them for so many members, two of
 * whom need fewer. */
static const struct {
    int height, width, members;
} sizes[] = {{192, 115, 4}, {384, 85, 4}, {2880, 14, 4}, {96, 120, 2}};

enum { SIZES = sizeof sizes / sizeof *sizes };

static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 16, 8, 1, 0, 0};

static int span_unit(const es_stage *stage) { return stage->span_unit; }

/* Strips that a member does at once in the dense blocks, 0 where all share in everything. */
static int unit_of(const esrgan_model *model, int members, int height, int width) {
    const char *why;
    return plan_largest(model->network, es_tier_kernels(NULL, &why), members, height, width,
                        span_unit);
}

static void large_pictures_have_spans(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 1);
    for (int k = 0; k < SIZES; k++)
        for (int members = 1; members <= 4; members++) {
            const int unit = unit_of(model, members, sizes[k].height, sizes[k].width);
            if ((unit > 0) != (members > 1 && members <= sizes[k].members))
                fail_msg("%d x %d, %d members: %d strips at once", sizes[k].height, sizes[k].width,
                         members, unit);
        }
    assert_int_equal(unit_of(model, 2, 40, 90), 0);
    assert_int_equal(unit_of(model, 16, 200, 90), 0);
    esrgan_model_free(model);
}

static int has_copy(const es_stage *stage) { return stage->copy > 0; }

/* Two members have room for weights of their own where pictures are small enough, and nobody else has. */
static void two_members_have_copies(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 1);
    static const struct {
        int height, width, members, copies;
    } cases[] = {{96, 120, 1, 0}, {96, 120, 2, 1},  {192, 115, 2, 1}, {192, 115, 3, 0},
                 {40, 90, 2, 0},  {150, 192, 2, 1}, {168, 192, 2, 0}};
    const char *why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(plan_largest(model->network, es_tier_kernels(NULL, &why), cases[i].members,
                                      cases[i].height, cases[i].width, has_copy),
                         cases[i].copies);
    esrgan_model_free(model);
}

/* Groups made alone until the next one that is made together. */
static int alone_until_tried(es_copies *c) {
    int groups = 0;
    for (; es_copies_wanted(c); groups++) {
        assert_in_range(groups, 0, 100);
        es_copies_made(c, true);
    }
    es_copies_made(c, false);
    return groups;
}

static void weights_are_made_as_times_say(void **state) {
    (void)state;
    es_copies c = {0};
    assert_true(es_copies_wanted(&c));   /* to know how long that takes */
    es_copies_learn(&c, true, 2, 90e-6); /* pages are new */
    es_copies_made(&c, true);
    assert_true(es_copies_wanted(&c));
    for (int i = 0; i < 50; i++) es_copies_learn(&c, true, 2, 2 * 2e-6);
    es_copies_learn(&c, true, 1, 4e-6);
    es_copies_made(&c, true);
    assert_in_range(1e9 * es_pace_cost(&c.alone), 2000, 2300);
    assert_false(es_copies_wanted(&c));
    for (int i = 0; i < 50; i++) es_copies_learn(&c, false, 2, 2 * 5e-6);
    es_copies_learn(&c, false, 2, 1); /* one interruption makes no difference */
    assert_int_equal(alone_until_tried(&c), 0);
    for (int i = 0; i < 50; i++) es_copies_learn(&c, false, 2, 2 * 9e-6);
    const int first = alone_until_tried(&c), again = alone_until_tried(&c);
    assert_in_range(first, 2, 50);
    assert_int_equal(again, first);
    for (int i = 0; i < 50; i++) es_copies_learn(&c, false, 2, 2 * 3e-6);
    assert_int_equal(alone_until_tried(&c), 0);
}

/* What the caller does when it is told how far it is: nothing, sleep now and then, or stop. */
typedef struct caller {
    unsigned calls;
    unsigned every; /* sleeps at each of so many calls; 0: never */
    unsigned stop;  /* at this call */
    double last;
} caller;

static int told(void *context, double done) {
    caller *c = context;
    assert_true(done >= c->last);
    c->last = done;
    c->calls++;
    if (c->every && c->calls % c->every == 0) usleep(1000 + c->calls % 7 * 500);
    return c->stop && c->calls >= c->stop;
}

static esrgan_session *session_of(const esrgan_model *model, int threads, caller *c) {
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_NATIVE;
    o.threads = threads;
    o.progress = told;
    o.progress_context = c;
    esrgan_session *session;
    assert_int_equal(esrgan_session_create(model, &o, &session, NULL), ESRGAN_OK);
    return session;
}

static void dawdling_makes_no_difference(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 2);
    static const unsigned dawdles[] = {0, 7, 40};
    unsigned entry = 0;
    for (int k = 0; k < SIZES; k++) {
        const int height = sizes[k].height, width = sizes[k].width;
        const size_t floats = 3 * (size_t)height * (size_t)width;
        float *in = noise(floats, 5), *want = malloc(floats * sizeof *want),
              *got = malloc(floats * sizeof *got);
        assert_non_null(want);
        assert_non_null(got);
        caller alone = {0};
        esrgan_session *one = session_of(model, 1, &alone);
        assert_int_equal(esrgan_forward(one, 1, height, width, in, want, NULL), ESRGAN_OK);
        esrgan_session_free(one);
        for (int threads = 2; threads <= 4; threads++)
            for (size_t d = 0; d < sizeof dawdles / sizeof *dawdles; d++) {
                if (left_out(&entry)) continue;
                caller c = {.every = dawdles[d]};
                esrgan_session *session = session_of(model, threads, &c);
                for (int again = 0; again < 2; again++) {
                    c.last = 0;
                    memset(got, 0xff, floats * sizeof *got);
                    assert_int_equal(esrgan_forward(session, 1, height, width, in, got, NULL),
                                     ESRGAN_OK);
                    assert_memory_equal(want, got, floats * sizeof *got);
                    assert_true(c.last == 1);
                }
                esrgan_session_free(session);
            }
        free(in), free(want), free(got);
    }
    esrgan_model_free(model);
}

/* Wherever the caller stops, all members do, and the next run is right. */
static void stopping_stops_all(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 3);
    const int height = sizes[0].height, width = sizes[0].width;
    const size_t floats = 3 * (size_t)height * (size_t)width;
    float *in = noise(floats, 6), *want = malloc(floats * sizeof *want),
          *got = malloc(floats * sizeof *got);
    assert_non_null(want);
    assert_non_null(got);
    for (int threads = 2; threads <= 4; threads++) {
        caller c = {0};
        esrgan_session *session = session_of(model, threads, &c);
        assert_int_equal(esrgan_forward(session, 1, height, width, in, want, NULL), ESRGAN_OK);
        const unsigned all = c.calls;
        for (unsigned stop = 1; stop < all; stop += 1 + all / 12) {
            c = (caller){.stop = stop};
            const esrgan_status status = esrgan_forward(session, 1, height, width, in, got, NULL);
            /* How often member 0 reports depends on how much it gets done. */
            assert_int_equal(status, c.calls < stop ? ESRGAN_OK : ESRGAN_E_CANCELLED);
            assert_true(c.calls == stop || (c.calls < stop && stop > 1));
        }
        c = (caller){0};
        assert_int_equal(esrgan_forward(session, 1, height, width, in, got, NULL), ESRGAN_OK);
        assert_memory_equal(want, got, floats * sizeof *got);
        esrgan_session_free(session);
    }
    free(in), free(want), free(got);
    esrgan_model_free(model);
}

typedef struct record {
    int values;
    esrgan_statistics value[64];
} record;

static int keep(void *context, const esrgan_trace_value *v) {
    record *r = context;
    assert_true(r->values < 64);
    r->value[r->values++] = *v->statistics;
    return 0;
}

static void statistics_are_the_same(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 4);
    const int height = sizes[0].height, width = sizes[0].width;
    const size_t floats = 3 * (size_t)height * (size_t)width;
    float *in = noise(floats, 7), *out = malloc(floats * sizeof *out);
    assert_non_null(out);
    static record seen[5];
    memset(seen, 0, sizeof seen);
    for (int threads = 1; threads <= 4; threads++) {
        esrgan_session_options o;
        esrgan_session_options_init(&o);
        o.backend = ESRGAN_NATIVE;
        o.threads = threads;
        o.trace = keep;
        o.trace_context = &seen[threads];
        o.trace_content = ESRGAN_TRACE_STATISTICS;
        esrgan_session *session;
        assert_int_equal(esrgan_session_create(model, &o, &session, NULL), ESRGAN_OK);
        assert_int_equal(esrgan_forward(session, 1, height, width, in, out, NULL), ESRGAN_OK);
        esrgan_session_free(session);
        assert_true(seen[threads].values > 10);
        assert_int_equal(seen[threads].values, seen[1].values);
        for (int i = 0; i < seen[1].values; i++) {
            const esrgan_statistics *one = &seen[1].value[i], *more = &seen[threads].value[i];
            assert_memory_equal(one, more, offsetof(esrgan_statistics, samples));
            assert_memory_equal(one->sample, more->sample, sizeof one->sample);
        }
    }
    free(in), free(out);
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_pictures_have_spans),
        cmocka_unit_test(two_members_have_copies),
        cmocka_unit_test(weights_are_made_as_times_say),
        cmocka_unit_test(dawdling_makes_no_difference),
        cmocka_unit_test(stopping_stops_all),
        cmocka_unit_test(statistics_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
