/*
 * Pictures so wide that dense blocks are done in columns, and so small that channels out are dealt: which
 * are, and that it shows in no result.  Traced runs do one layer after the other over the whole width, and
 * deal tiles: what they make is what is expected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/native_cut.h"
#include "engine/tiers.h"
#include "model.h"
#include "support/model.h"
#include "support/plan.h"
#include "support/slow.h"

/* Two blocks, so that all of a slot's owners and their shifts occur; pairs need 32 channels. */
static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 16, 8, 2, 0, 0};
static const pth_rrdbnet net_of_pairs = {PTH_BASICSR, 3, 3, 32, 32, 1, 0, 0};

static int columns_of(const esrgan_model *model, int members, int height, int width) {
    const char *why;
    made_plan made;
    plan_make(&made, model->network, es_tier_kernels(NULL, &why), members, height, width);
    const es_native_plan *p = made.plan;
    int columns = 1;
    for (int i = 0; i < p->stage_count; i++) {
        const es_stage *s = &p->stages[i];
        if (s->grid.columns == 1) continue;
        assert_true(columns == 1 || s->grid.columns == columns); /* all groups are alike */
        columns = s->grid.columns;
        assert_true(members == 1 || s->span_unit > 0); /* as es_native_shift wants it */
        assert_int_equal(es_native_stretch(p, s->group), s->group + 1);
        /* Every stage does every tile once. */
        assert_int_equal(es_reach_of(s, 0).from, 0);
        assert_int_equal(es_reach_of(s, columns - 1).to, s->grid.across);
        for (int c = 0; c < columns; c++) {
            const es_reach r = es_reach_of(s, c);
            assert_true(r.held <= s->grid.held);
            assert_true(r.left <= r.from && r.from < r.to && r.to <= r.left + r.held);
            assert_true(c == 0 || r.from == es_reach_of(s, c - 1).to);
        }
    }
    plan_drop(&made);
    return columns;
}

static void wide_pictures_have_columns(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net, 1);
    for (int members = 1; members <= 4; members++) {
        assert_true(columns_of(model, members, 200, 1500) > 1);
        assert_int_equal(columns_of(model, members, 200, 300), 1);
        assert_true(columns_of(model, members, 200, 4000) > columns_of(model, members, 200, 1500));
    }
    /* Too few strips for two members to have spans: they share in all tasks. */
    assert_int_equal(columns_of(model, 2, 40, 1500), 1);
    assert_true(columns_of(model, 1, 40, 1500) > 1);
    assert_true(columns_of(model, 1, 4, 1500) > 1); /* a single strip */
    for (int members = 5; members <= 40; members++) columns_of(model, members, 2400, 3000);
    esrgan_model_free(model);
}

/* However wide the picture, a chain's rings are not. */
static void rings_stay_small(void **state) {
    (void)state;
    const char *why;
    esrgan_model *model = model_of(&(pth_rrdbnet){PTH_BASICSR, 3, 3, 64, 32, 1, 0, 0}, 1);
    size_t least = 0;
    for (int width = 1500; width <= 12000; width *= 2) {
        made_plan made;
        plan_make(&made, model->network, es_tier_kernels(NULL, &why), 2, 60, width);
        const es_native_plan *p = made.plan;
        size_t rings = 0;
        for (int g = 0; g < p->group_count; g++)
            for (int i = p->cache_first[g]; i < p->cache_first[g + 1]; i++)
                if (p->caches[i].grid.columns > 1 && p->caches[i].offset > p->group_offset + rings)
                    rings = p->caches[i].offset - p->group_offset;
        assert_true(rings > 0);
        if (least == 0) least = rings;
        assert_true(rings < least + least / 4);
        plan_drop(&made);
    }
    esrgan_model_free(model);
}

static int see(void *context, const esrgan_trace_value *v) {
    (void)v;
    ++*(int *)context;
    return 0;
}

/* free() */
static float *forward(const esrgan_model *model, esrgan_precision precision, int threads,
                      int traced, const int *size, const float *in) {
    int values = 0;
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_NATIVE;
    o.precision = precision;
    o.threads = threads;
    if (traced) o.trace = see, o.trace_context = &values;
    esrgan_session *session;
    assert_int_equal(esrgan_session_create(model, &o, &session, NULL), ESRGAN_OK);
    const size_t floats = 3 * (size_t)size[0] * (size_t)size[1];
    float *out = malloc(floats * sizeof *out);
    assert_non_null(out);
    memset(out, 0xff, floats * sizeof *out);
    assert_int_equal(esrgan_forward(session, 1, size[0], size[1], in, out, NULL), ESRGAN_OK);
    assert_true(values > 20 || !traced);
    esrgan_session_free(session);
    return out;
}

static void same_as_traced(const esrgan_model *model, esrgan_precision precision, const int *size,
                           int most_threads) {
    const size_t floats = 3 * (size_t)size[0] * (size_t)size[1];
    float *in = noise(floats, 9), *want = forward(model, precision, 2, 1, size, in);
    for (int threads = 1; threads <= most_threads; threads++) {
        float *got = forward(model, precision, threads, 0, size, in);
        assert_memory_equal(want, got, floats * sizeof *got);
        free(got);
    }
    free(in), free(want);
}

static void columns_make_no_difference(void **state) {
    (void)state;
    /* The last column as wide as others, less; edges with four outputs, with one; a single strip. */
    static const int sizes[][2] = {{200, 1284}, {50, 1798}, {97, 2017}, {4, 1798}};
    esrgan_model *models[] = {model_of(&net, 3), model_of(&net_of_pairs, 4)};
    unsigned entry = 0;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision++)
            if (!left_out(&entry))
                same_as_traced(models[precision == ESRGAN_BF16], (esrgan_precision)precision,
                               sizes[k], 4);
    esrgan_model_free(models[0]);
    esrgan_model_free(models[1]);
}

static int parts(const es_stage *stage) { return stage->parts; }

static int parts_of(const esrgan_model *model, int members, int height, int width) {
    return plan_largest(model->network, &es_native_scalar, members, height, width, parts);
}

static void small_pictures_have_parts(void **state) {
    (void)state;
    esrgan_model *model = model_of(&net_of_pairs, 1);
    for (int members = 1; members <= 6; members++) {
        const int expected = members > 1 && members <= ES_PARTS_MEMBERS ? ES_PARTS : 1;
        assert_int_equal(parts_of(model, members, 16, 16), expected);
        assert_int_equal(parts_of(model, members, 1, 30), expected);
        assert_int_equal(parts_of(model, members, 100, 100), 1);
    }
    esrgan_model_free(model);
    /* One vector out is nothing to deal; nor where a member has no room for all blocks at once. */
    model = model_of(&net, 1);
    assert_int_equal(parts_of(model, 2, 16, 16), 1);
    esrgan_model_free(model);
    model = model_of(&(pth_rrdbnet){PTH_BASICSR, 3, 3, 320, 32, 1, 0, 0}, 1);
    assert_int_equal(parts_of(model, 2, 12, 12), ES_PARTS);
    assert_int_equal(parts_of(model, 2, 16, 40), 1);
    esrgan_model_free(model);
}

static void parts_make_no_difference(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {7, 21}, {16, 16}, {24, 22}, {3, 50}};
    esrgan_model *model = model_of(&(pth_rrdbnet){PTH_BASICSR, 3, 3, 64, 32, 1, 0, 0}, 5);
    unsigned entry = 0;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int precision = ESRGAN_FP32; precision <= ESRGAN_BF16; precision++)
            if (!left_out(&entry)) same_as_traced(model, (esrgan_precision)precision, sizes[k], 5);
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_pictures_have_columns), cmocka_unit_test(rings_stay_small),
        cmocka_unit_test(columns_make_no_difference), cmocka_unit_test(small_pictures_have_parts),
        cmocka_unit_test(parts_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
