/* The native engine's plan: whether its tasks are even, for any number of members; how it rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/native_spans.h"
#include "model.h"
#include "support/model.h"
#include "support/plan.h"

enum { MOST_MEMBERS = 16 };

/* Products and transforms of all tasks, and of who has most of each, one after the other. */
typedef struct toll {
    const es_native_plan *plan;
    int column;
    double all, longest;
    es_native_run run; /* with an arena as large as the plan's, where groups have spans */
} toll;

/* Products and transforms of a register block. */
static double block_of(const es_stage *s) {
    return (double)es_native_shape_geometry(s->shape).points * s->grid.block * s->width_out *
           (s->chunks + 6);
}

/* Members as fast as each other take portions as a team does: who has least takes next. */
static bool add_task(void *context, const es_task *task) {
    toll *t = context;
    const es_native_plan *p = t->plan;
    const es_stage *s = &p->stages[task->stage];
    if (s->kind != ES_STAGE_CONV) return true;
    const es_native_units units = es_native_units_of(p, task, t->column);
    const double one = block_of(s);
    es_portions hands[MOST_MEMBERS];
    es_pace paces[MOST_MEMBERS] = {0};
    double load[MOST_MEMBERS] = {0}, most = 0;
    es_portions_deal(hands, paces, p->members, units.count);
    for (int taken = 0, first, end; taken < units.count; taken += end - first) {
        int next = 0;
        for (int m = 1; m < p->members; m++)
            if (load[m] < load[next]) next = m;
        assert_true(es_portions_take(hands, next, p->members, units.most, &first, &end));
        assert_in_range(end - first, 1, units.most);
        load[next] += one * (end - first);
        if (load[next] > most) most = load[next];
    }
    t->all += one * units.count;
    t->longest += most;
    return true;
}

/* A group of which each member does a span: of a pair, who is done takes the next unit. */
static void add_spans(toll *t, int group) {
    const es_native_plan *p = t->plan;
    for (int m = 0; m < p->members; m++) atomic_init(&es_native_paces(&t->run)[m].cost, 0);
    es_native_spans spans = {.run = &t->run, .group = group};
    es_native_spans_deal(&spans);
    double unit = 0;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++)
        unit += block_of(&p->stages[i]) * p->stages[i].grid.blocks * spans.unit;
    int all = 0, longest = 0;
    for (int m = 0; m < p->members; m += 2) {
        const int units = spans.seats[m].end - spans.seats[m].first;
        const int most = m + 1 < p->members ? (units + 1) / 2 : units;
        assert_int_equal(spans.seats[m].first, all);
        all += units;
        if (most > longest) longest = most;
    }
    const es_stage *s = &p->stages[p->group_first[group]];
    assert_int_equal(all, (s->grid.strips + spans.unit - 1) / spans.unit);
    t->all += unit * all;
    t->longest += unit * longest;
}

/* The part of the members' time in which they have something to do. */
static double evenness(const esrgan_model *model, const es_native_kernels *kernels, int members,
                       int height, int width) {
    made_plan made;
    plan_make(&made, model->network, kernels, members, height, width);
    const es_native_plan *plan = made.plan;
    const esrgan_allocator memory = es_allocator(NULL);
    toll t = {.plan = plan, .run = {.plan = plan, .arena = es_alloc(&memory, plan->arena)}};
    assert_non_null(t.run.arena);
    for (int group = 0; group < plan->group_count; group++) {
        const es_stage *first = &plan->stages[plan->group_first[group]];
        for (t.column = 0; t.column < first->grid.columns; t.column++) {
            if (first->span_unit > 0)
                add_spans(&t, group);
            else
                assert_true(es_native_schedule(made.plan, group, add_task, &t));
        }
    }
    es_free(&memory, t.run.arena, plan->arena);
    plan_drop(&made);
    return t.all / (t.longest * members);
}

/* Register blocks of both kinds, whatever this CPU has; pictures of 60 tiles a member and more. */
static void members_have_as_much_to_do(void **state) {
    (void)state;
    static const int sizes[][2] = {{96, 96},   {100, 150}, {128, 128}, {131, 77},  {192, 192},
                                   {256, 256}, {320, 240}, {512, 512}, {300, 1900}};
    static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 64, 32, 2, 2, 0};
    esrgan_model *model = model_of(&net, 3);
    es_native_kernels wide = es_native_scalar, narrow = es_native_scalar;
    wide.vector = 16, wide.panel = 32, wide.block = 14;
    narrow.vector = 8, narrow.panel = 16, narrow.block = 6;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int members = 1; members <= MOST_MEMBERS; members++) {
            const int height = sizes[i][0], width = sizes[i][1];
            if (height * width < 60 * 36 * members) continue;
            const es_native_kernels *const both[] = {&wide, &narrow};
            for (int k = 0; k < 2; k++) {
                const double even = evenness(model, both[k], members, height, width);
                if (even < (members <= 4 ? 0.94 : 0.85))
                    fail_msg("%d x %d, blocks of %d tiles: %d members idle %.0f %% of the time",
                             height, width, both[k]->block, members, 100 - 100 * even);
            }
        }
    esrgan_model_free(model);
}

/* Doubles where they cost little, short sums everywhere else. */
static void errors_are_kept_small(void **state) {
    (void)state;
    static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 64, 32, 6, 2, 0};
    static const struct {
        const char *name;
        int places, part; /* of a number, in floats; chunks that are summed up apart */
    } expected[] = {{"conv_first", 2, 2}, {"conv_body", 2, 8}, {"conv_up1", 2, 8},
                    {"conv_up2", 1, 1},   {"conv_hr", 1, 1},   {"conv_last", 1, 1},
                    {"conv1", 1, 4},      {"conv2", 1, 6},     {"conv3", 1, 8},
                    {"conv4", 1, 10},     {"conv5", 1, 6}};
    enum { EXPECTED = sizeof expected / sizeof *expected };
    esrgan_model *model = model_of(&net, 3);
    made_plan made;
    plan_make(&made, model->network, &es_native_scalar, 2, 64, 64);
    int seen[EXPECTED] = {0};
    for (int i = 0; i < made.plan->stage_count; i++) {
        const es_stage *s = &made.plan->stages[i];
        if (s->kind != ES_STAGE_CONV) continue;
        for (int k = 0; k < EXPECTED; k++) {
            if (!strstr(s->op->name, expected[k].name)) continue;
            seen[k]++;
            assert_true(s->few == (strcmp(expected[k].name, "conv_last") == 0));
            if (s->kernels->places != expected[k].places || s->part != expected[k].part)
                fail_msg("%s: %d places, parts of %d chunks", s->op->name, s->kernels->places,
                         s->part);
        }
    }
    assert_in_range(seen[0], 1, 2); /* again, where it is added, instead of keeping a frame */
    for (int k = 1; k < EXPECTED; k++) assert_int_equal(seen[k], k < 6 ? 1 : 6 * 3);
    plan_drop(&made);
    esrgan_model_free(model);
}

/* All dense blocks in one go where each of their stages is one task; else one by one, as all else. */
static void small_pictures_are_done_in_one_go(void **state) {
    (void)state;
    static const pth_rrdbnet net = {PTH_BASICSR, 3, 3, 64, 32, 2, 2, 0};
    static const int sides[] = {8, 32, 64, 128, 256};
    esrgan_model *model = model_of(&net, 3);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int members = 1; members <= 3; members++) {
            made_plan made;
            plan_make(&made, model->network, &es_native_scalar, members, sides[i], sides[i]);
            const es_native_plan *p = made.plan;
            for (int g = 0, end; g < p->group_count; g = end) {
                end = es_native_stretch(p, g);
                const int stages = p->group_first[g + 1] - p->group_first[g];
                const es_stage *first = &p->stages[p->group_first[g]];
                if (first->kind != ES_STAGE_CONV || !first->apart || stages != 5)
                    assert_int_equal(end, g + 1);
                else /* two blocks of three dense ones after the group of the first convolution */
                    assert_true(g == 1 && end == 7);
                if (sides[i] < 64) assert_int_equal(end, g == 1 ? 7 : g + 1);
                if (sides[i] > 64) assert_int_equal(end, g + 1);
            }
            plan_drop(&made);
        }
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_have_as_much_to_do),
        cmocka_unit_test(errors_are_kept_small),
        cmocka_unit_test(small_pictures_are_done_in_one_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
