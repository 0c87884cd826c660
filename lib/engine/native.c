/*
 * The native engine: the library's own vector kernels, Winograd convolutions over channels-last
 * tiles, a dense block as one pipeline (see native_plan.h).
 */
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "base/status.h"
#include "engine/native_spans.h"
#include "engine/tiers.h"

/* Kernels that multiply pairs of bfloat16, where the tier that is asked for, or the best, has them, and
 * the network has something for them. */
static const es_native_kernels *pairs_of(const es_context *context) {
    if (context->precision != ESRGAN_BF16) return NULL;
    const es_native_kernels *pairs = es_tier_pairs(context->isa);
    return pairs && es_native_plan_takes_pairs(context->network, pairs) ? pairs : NULL;
}

/* Half precision goes to the direct engine where there are instructions that make it the faster one,
 * or where one of its tiers is asked for. */
static bool goes_direct(const es_context *context) {
    if (pairs_of(context)) return false;
    return es_tier_is_direct(context->isa) ||
           (context->isa == NULL && es_engine_direct.refuses(context) == NULL);
}

/* Kernels for all that is not done in pairs. */
static const es_native_kernels *kernels_of(const es_context *context, const char **why) {
    return es_tier_kernels(pairs_of(context) ? NULL : context->isa, why);
}

static const char *refuses(const es_context *context) {
    if (goes_direct(context)) return es_engine_direct.refuses(context);
    const char *why;
    if (context->precision == ESRGAN_FP64) return "the native kernels compute in single precision";
    if (!kernels_of(context, &why)) return why;
    return es_native_plan_refuses(context->network);
}

static const char *tier_name(const es_context *context) {
    if (goes_direct(context)) return es_engine_direct.tier(context);
    const char *why;
    const es_native_kernels *kernels = pairs_of(context);
    if (!kernels) kernels = kernels_of(context, &why);
    return kernels ? kernels->name : "none";
}

static esrgan_status plan_of(const es_context *context, int height, int width,
                             es_native_plan **plan, esrgan_error *error) {
    const char *why;
    const es_native_kernels *kernels = kernels_of(context, &why);
    if (!kernels) return es_fail(error, ESRGAN_E_UNSUPPORTED, "%s", why);
    return es_native_plan_create(plan, context, kernels, pairs_of(context), height, width, error);
}

/* What stays with the session: weights in the kernels' form, of the groups up to `made`, where it keeps
 * them, and the last picture's arena. */
typedef struct kept {
    unsigned key;
    int made;
    size_t bytes, room;
    char *data, *arena;
} kept;

/*
 * Arenas up to this size are kept for the next picture.  malloc may take them from its heap, put something
 * else behind them and not find the room again: after three pictures of 128 x 128 x4plus had taken 170 MB,
 * now 107.  To clear fresh pages for every picture costs 12 % of the time at 16 x 16, 5 % at 32 x 32.
 */
enum { KEPT_ARENA = 48 << 20 };

static esrgan_status estimate(const es_context *context, int height, int width, uint64_t *bytes,
                              esrgan_error *error) {
    if (goes_direct(context))
        return es_engine_direct.estimate(context, height, width, bytes, error);
    es_native_plan *plan;
    esrgan_status status = plan_of(context, height, width, &plan, error);
    if (status != ESRGAN_OK) return status;
    *bytes = sizeof(kept) + (plan->keeps ? plan->group_weights[plan->group_count] : 0) +
             plan->arena + es_native_plan_bytes(plan) +
             (plan->traced ? es_native_trace_bytes(context, height, width) : 0);
    es_native_plan_free(plan);
    return ESRGAN_OK;
}

/* ---- Groups on the team --------------------------------------------------------------------- */

typedef struct job {
    es_native_run run;
    es_native_plan *plan;
    int group; /* the first of those under way */
    es_task *tasks;
    int task_count, task_capacity;
    bool made; /* the weights are there already */
    es_copies copies;
    atomic_int stop; /* the task that nobody is to begin, set by member 0 */
    double from, to; /* progress */
    esrgan_status status;
    esrgan_error *error;
} job;

/* Weights are made while others may still be at the task before the first that needs them, and side
 * by side, for they are read soon. */
static void make_weights(job *j, int task, int member) {
    if (j->made || task == j->task_count || j->tasks[task].from > 0) return;
    const es_stage *s = &j->plan->stages[j->tasks[task].stage];
    if (s->kind != ES_STAGE_CONV || s->apart) return;
    const int blocks = es_native_weights_blocks(s), members = j->plan->members;
    es_native_weights_make(&j->run, s, (int)((int64_t)blocks * member / members),
                           (int)((int64_t)blocks * (member + 1) / members), blocks, member);
}

/* What members have left of a task; member 0 deals it while they are at the one before. */
static es_portions *hands_of(const job *j, int task) {
    return es_native_hands(&j->run) + (task & 1) * j->plan->members;
}

static void deal(const job *j, int task) {
    if (task == j->task_count) return;
    const int count = es_native_units_of(j->plan, &j->tasks[task], j->run.column).count;
    es_portions_deal(hands_of(j, task), es_native_paces(&j->run), j->plan->members, count);
}

static void work_off(const job *j, int task, int member, int members) {
    const es_task *t = &j->tasks[task];
    const int most = es_native_units_of(j->plan, t, j->run.column).most;
    const es_native_span whole = {.member = member, .bottom = INT_MAX};
    const double began = es_seconds();
    double work = 0;
    es_native_prepare(&j->run, t, &whole);
    for (int first, end; es_portions_take(hands_of(j, task), member, members, most, &first, &end);)
        work += es_native_do(&j->run, t, &whole, first, end);
    es_native_conclude(&j->run, t, &whole);
    if (work > 0) es_pace_learn(es_native_paces(&j->run) + member, work, es_seconds() - began);
}

/* Says how much of the group is done: false where the caller does not want more. */
static bool report(void *context, double done) {
    job *j = context;
    j->status = es_progress(j->run.context, j->from + (j->to - j->from) * done, j->error);
    return j->status == ESRGAN_OK;
}

/* Waits for the others before a task. */
static void meet(const job *j, int task, int member) {
    es_team *team = j->run.context->team;
    const unsigned round = es_team_arrive(team);
    if (task < j->task_count) es_native_begin(&j->run, &j->tasks[task], member);
    es_team_await(team, round);
}

/* The group that a task is the first of, but for the very first one; else -1. */
static int group_begun(const job *j, int task) {
    if (task == j->task_count) return -1;
    const es_stage *stages = j->plan->stages;
    const int group = stages[j->tasks[task].stage].group;
    return group != stages[j->tasks[task - 1].stage].group ? group : -1;
}

/* Members run the tasks in step.  Member 0 alone says when to stop, one barrier ahead, so that all
 * of them stop at the same task. */
static void run_tasks(void *context, int member, int members) {
    job *j = context;
    es_native_scratch_of(&j->run, member).made->stage = NULL;
    es_native_clear_borders(&j->run, j->group, ES_NATIVE_FRAMES | ES_NATIVE_RINGS, member);
    es_native_watch_begin(&j->run, j->group, member);
    make_weights(j, 0, member);
    if (member == 0) deal(j, 0);
    meet(j, 0, member);
    for (int i = 0; i < j->task_count && i < atomic_load(&j->stop); i++) {
        if (member == 0) deal(j, i + 1);
        work_off(j, i, member, members);
        make_weights(j, i + 1, member);
        const int next = group_begun(j, i + 1);
        if (next >= 0) es_native_clear_borders(&j->run, next, ES_NATIVE_FRAMES, member);
        if (member == 0 && !report(j, (i + 1.0) / j->task_count)) atomic_store(&j->stop, i + 1);
        meet(j, i + 1, member);
        if (next >= 0) es_native_clear_borders(&j->run, next, ES_NATIVE_RINGS, member);
    }
}

static bool count_task(void *context, const es_task *task) {
    (void)task;
    ((job *)context)->task_capacity++;
    return true;
}

static bool keep_task(void *context, const es_task *task) {
    job *j = context;
    j->tasks[j->task_count++] = *task;
    return true;
}

static esrgan_status do_spans(job *j, int group) {
    es_native_spans spans = {.run = &j->run,
                             .group = group,
                             .weights_made = j->made,
                             .copies = &j->copies,
                             .report = report,
                             .context = j};
    const bool choice = !j->made && j->plan->stages[j->plan->group_first[group]].copy > 0;
    j->run.each = choice && es_copies_wanted(&j->copies);
    es_native_spans_deal(&spans);
    es_team_run(j->run.context->team, es_native_spans_run, &spans);
    if (choice) es_copies_made(&j->copies, j->run.each);
    j->run.each = false;
    return j->status;
}

static esrgan_status do_tasks(job *j, int group, int end) {
    const esrgan_allocator *a = &j->run.context->meter->allocator;
    j->group = group;
    j->task_count = j->task_capacity = 0;
    for (int g = group; g < end; g++) es_native_schedule(j->plan, g, count_task, j);
    size_t bytes = (size_t)j->task_capacity * sizeof *j->tasks;
    j->tasks = es_alloc(a, bytes);
    if (!j->tasks)
        return es_fail(j->error, ESRGAN_E_MEMORY, "no memory for %d tasks", j->task_capacity);
    for (int g = group; g < end; g++) es_native_schedule(j->plan, g, keep_task, j);
    atomic_store(&j->stop, j->task_count);
    es_team_run(j->run.context->team, run_tasks, j);
    es_free(a, j->tasks, bytes);
    return j->status;
}

static esrgan_status do_column(job *j, int group, int end) {
    const bool spans = j->plan->stages[j->plan->group_first[group]].span_unit > 0;
    return spans ? do_spans(j, group) : do_tasks(j, group, end);
}

/* Where there are columns, or spans, one group. */
static esrgan_status do_groups(job *j, int group, int end) {
    const es_stage *s = &j->plan->stages[j->plan->group_first[group]];
    const double from = j->from, to = j->to, part = (to - from) / s->grid.columns;
    esrgan_status status = ESRGAN_OK;
    for (int column = 0; column < s->grid.columns && status == ESRGAN_OK; column++) {
        j->run.column = column;
        j->run.left = es_reach_of(s, column).left * s->grid.tile;
        j->from = from + part * column;
        j->to = column + 1 < s->grid.columns ? from + part * (column + 1) : to;
        status = do_column(j, group, end);
        j->made = true;
    }
    return status;
}

static void drop_weights(const es_context *context, kept *k) {
    es_free(&context->meter->allocator, k->data, k->bytes);
    k->data = NULL;
}

static void drop_arena(const es_context *context, kept *k) {
    es_free(&context->meter->allocator, k->arena, k->room);
    k->arena = NULL;
    k->room = 0;
}

static void release(es_context *context) {
    if (goes_direct(context)) {
        es_engine_direct.release(context);
        return;
    }
    kept *k = context->engine_state;
    if (!k) return;
    drop_weights(context, k);
    drop_arena(context, k);
    es_free(&context->meter->allocator, k, sizeof *k);
    context->engine_state = NULL;
}

static char *large_room(const es_context *context, size_t bytes) {
    char *room = es_alloc(&context->meter->allocator, bytes);
    if (room) es_large_pages(room, bytes);
    return room;
}

/* Room for all weights, with those of the last run where they have the form that is wanted now. */
static esrgan_status keep(const es_context *context, kept *k, const es_native_plan *plan,
                          esrgan_error *error) {
    if (k->data && k->key == plan->key) return ESRGAN_OK;
    drop_weights(context, k);
    const size_t bytes = plan->group_weights[plan->group_count];
    k->data = large_room(context, bytes);
    if (!k->data)
        return es_fail(error, ESRGAN_E_MEMORY, "no memory to keep %zu bytes of weights", bytes);
    k->key = plan->key, k->made = 0, k->bytes = bytes;
    return ESRGAN_OK;
}

/* An arena of so many bytes: the last picture's, where that will do. */
static bool has_arena(const es_context *context, kept *k, size_t bytes) {
    if (k->room >= bytes) return true;
    drop_arena(context, k);
    k->arena = large_room(context, bytes);
    if (k->arena) k->room = bytes;
    return k->arena != NULL;
}

/* Where there is a limit, what else the next picture takes may be more than what this one took. */
static void tidy_up(es_context *context, kept *k) {
    if (k->room > KEPT_ARENA || context->meter->limit != 0) drop_arena(context, k);
    if (!k->arena && !k->data) release(context);
}

static esrgan_status run_groups(es_context *context, es_native_plan *plan, char *arena, int height,
                                int width, const es_io *io, esrgan_error *error) {
    kept *k = plan->keeps ? context->engine_state : NULL;
    job j = {.run = {.plan = plan, .context = context, .io = io, .arena = arena},
             .plan = plan,
             .error = error};
    esrgan_status status = ESRGAN_OK;
    for (int m = 0; m < plan->members; m++) atomic_init(&es_native_paces(&j.run)[m].cost, 0);
    memset(arena + plan->zeros, 0, plan->patch);
    for (int g = 0, end; g < plan->group_count && status == ESRGAN_OK; g = end) {
        end = es_native_stretch(plan, g);
        char *weights = k ? k->data + plan->group_weights[g] : arena + plan->group_offset;
        j.run.weights = (float *)(void *)weights;
        j.made = k && g < k->made;
        j.from = plan->group_work[g], j.to = plan->group_work[end];
        status = do_groups(&j, g, end);
        if (k && status == ESRGAN_OK && k->made <= g) k->made = g + 1;
        if (status == ESRGAN_OK && plan->traced)
            status = es_native_trace(&j.run, g, height, width, error);
        if (status == ESRGAN_OK && plan->watch_count > 0)
            status = es_native_watch_show(&j.run, g, error);
    }
    return status;
}

static esrgan_status run(es_context *context, int height, int width, const es_io *io,
                         esrgan_error *error) {
    if (goes_direct(context)) return es_engine_direct.run(context, height, width, io, error);
    const esrgan_allocator *a = &context->meter->allocator;
    es_native_plan *plan;
    esrgan_status status = plan_of(context, height, width, &plan, error);
    if (status != ESRGAN_OK) return status;
    if (!context->engine_state) context->engine_state = es_calloc(a, 1, sizeof(kept));
    kept *k = context->engine_state;
    if (k && plan->keeps) status = keep(context, k, plan, error);
    if (k && status == ESRGAN_OK && has_arena(context, k, plan->arena))
        status = run_groups(context, plan, k->arena, height, width, io, error);
    else if (status == ESRGAN_OK)
        status = es_fail(error, ESRGAN_E_MEMORY, "no memory: a picture of %d x %d takes %zu bytes",
                         width, height, plan->arena);
    if (k) tidy_up(context, k);
    es_native_plan_free(plan);
    return status;
}

const es_engine es_engine_native = {.name = "native",
                                    .refuses = refuses,
                                    .tier = tier_name,
                                    .estimate = estimate,
                                    .run = run,
                                    .release = release};
