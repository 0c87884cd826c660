/* One run of the native engine: a plan, its arena, and where pixels come from and go to. */
#ifndef ES_ENGINE_NATIVE_RUN_H
#define ES_ENGINE_NATIVE_RUN_H

#include "base/dtype.h"
#include "engine/native_plan.h"
#include "engine/portions.h"

typedef struct es_native_run {
    const es_native_plan *plan;
    const es_context *context;
    const es_io *io;
    char *arena;
    float *weights; /* of the group under way */
    bool each;      /* of the group under way: members make weights each for itself */
    int column;     /* of the group under way, and the first pixel that its rings hold */
    int left;
} es_native_run;

/* The weights that a member has made for itself last: a stage's panel that begins at a channel. */
typedef struct es_native_made {
    const es_stage *stage;
    int channel;
} es_native_made;

/* A member's own part of the arena. */
typedef struct es_native_scratch {
    int member;
    float *products, *own;
    char *patch;
    float *staging;
    es_native_made *made;
} es_native_scratch;

static inline es_native_scratch es_native_scratch_of(const es_native_run *run, int member) {
    const es_native_plan *p = run->plan;
    char *base = run->arena + p->thread_offset + p->thread_bytes * (size_t)member;
    es_native_scratch s = {.member = member, .products = (float *)(void *)base};
    base += es_aligned(p->products * sizeof(float));
    s.own = (float *)(void *)base;
    base += es_aligned(p->own * sizeof(float));
    s.patch = base;
    base += es_aligned(p->patch);
    s.staging = (float *)(void *)base;
    s.made = (es_native_made *)(void *)(base + es_aligned(p->staging * sizeof(float)));
    return s;
}

/* How fast members have been of late, by member. */
static inline es_pace *es_native_paces(const es_native_run *run) {
    return (es_pace *)(void *)(run->arena + run->plan->paces);
}

/* Where the weights of the group under way begin that a member uses. */
static inline float *es_native_weights_at(const es_native_run *run, const es_stage *s, int member) {
    return run->weights + (run->each ? s->copy : s->apart) * (size_t)member;
}

/* Room for what members have left of two tasks, by member. */
static inline es_portions *es_native_hands(const es_native_run *run) {
    return (es_portions *)(void *)(run->arena + run->plan->hands);
}

/* Whose rings hold what: rows top .. bottom-1 the member's own, those before and after them others'.
 * Where all have the same rings, it does not matter. */
typedef struct es_native_span {
    int member;
    int top, bottom;
    int above, below;
} es_native_span;

/* The first pixel that there is of row y, of what all members have the same of. */
static inline char *es_sheet_row(const es_native_run *run, const es_sheet *s, int y) {
    size_t left = s->border > 0 ? s->pixel : 0;
    return run->arena + s->offset + (size_t)(y % s->rows) * s->stride + left;
}

/* One channel of a pixel. */
static inline float es_pixel_at(es_native_format format, const char *pixel, int channel) {
    const uint16_t *half = (const uint16_t *)(const void *)pixel;
    if (format == ES_NATIVE_F16) return es_f16_to_f32(half[channel]);
    if (format == ES_NATIVE_BF16) return es_bf16_to_f32(half[channel]);
    return ((const float *)(const void *)pixel)[channel];
}

/* To the precision that the session asked for, and back. */
void es_native_round(es_native_format format, float *x, size_t count);

/* A member's share of the zeros around what a group reads: frames, which are there before it begins, and
 * what it makes itself, whose place others may have had. */
enum { ES_NATIVE_FRAMES = 1, ES_NATIVE_RINGS = 2 };
void es_native_clear_borders(const es_native_run *run, int group, int which, int member);

/* Bytes that showing the largest value takes; 0 where nothing is traced. */
size_t es_native_trace_bytes(const es_context *context, int height, int width);

/* Shows what a group (a single stage, then) has made. */
esrgan_status es_native_trace(const es_native_run *run, int group, int height, int width,
                              esrgan_error *error);

/* Statistics alone: a member makes its own ready before a group begins, ... */
void es_native_watch_begin(const es_native_run *run, int group, int member);

/* ... looks at the pixels of a unit that it has made (link `link` of stage `s`): `channels` of them
 * from `channel` on, where unit `unit` lies at y, x.  The region's rows, step and size are set. */
typedef struct es_unit {
    int number, y, x, channel, channels;
} es_unit;
void es_native_watch(const es_native_run *run, const es_stage *s, int link, es_unit unit,
                     es_native_region *pixels, es_native_format format, int member);

/* ... and when a group is done, all is put together and shown. */
esrgan_status es_native_watch_show(const es_native_run *run, int group, esrgan_error *error);

/* What a task consists of: register blocks, or of channels out dealt in parts a part of them for a share of
 * the blocks, or rows of the picture.  They need nothing of each other; a member does `most` of them at
 * once. */
typedef struct es_native_units {
    int count, most;
} es_native_units;
es_native_units es_native_units_of(const es_native_plan *plan, const es_task *task, int column);

/* What a member can do of a task while others are still at the one before: weights that it makes for
 * itself. */
void es_native_begin(const es_native_run *run, const es_task *task, int member);

/* What a member has to do of a task before it does units of it, ... */
void es_native_prepare(const es_native_run *run, const es_task *task, const es_native_span *span);
/* ... and after the last one. */
void es_native_conclude(const es_native_run *run, const es_task *task, const es_native_span *span);

/* Does units first .. end-1; returns how much work that was: tiles times channels in and out, 0 where
 * it says nothing of the time it took, as weights were made, too, which is the same for any number of
 * tiles. */
double es_native_do(const es_native_run *run, const es_task *task, const es_native_span *span,
                    int first, int end);

/* A stage's weights consist of so many blocks; member `member` makes some of them, in the kernels'
 * form, to their place in the group's.  `soon`: the block that it is going to make after that; past the
 * last one: none. */
int es_native_weights_blocks(const es_stage *stage);
void es_native_weights_make(const es_native_run *run, const es_stage *stage, int first, int end,
                            int soon, int member);

/* What of the checkpoint is going to be read: rows of kernels. */
typedef struct es_native_soon {
    const char *from;
    size_t lines;
} es_native_soon;

/* Kernels of channels out from `channel` to `to`; nothing where they are not side by side. */
es_native_soon es_native_weights_soon(const es_stage *stage, int channel, int to);

/* Asks for part `part` of `parts` of it, as far as a second-level cache.  (GCC takes a function that only
 * asks for one that does nothing, and leaves out its calls, if it has not been put in their place before.) */
__attribute__((always_inline)) static inline void es_native_ask(const es_native_soon *soon,
                                                                int part, int parts) {
    if (soon->lines == 0) return; /* as it mostly is: no divisions for that */
    const size_t from = soon->lines * (size_t)part / (size_t)parts,
                 to = soon->lines * (size_t)(part + 1) / (size_t)parts;
    for (size_t i = from; i < to; i++) __builtin_prefetch(soon->from + i * ES_ALIGN, 0, 2);
}

/* A panel of them, made by a member for itself where it is not there already; and their bias. */
void es_native_weights_own(const es_native_run *run, const es_stage *stage, int channel, int width,
                           const es_native_scratch *scratch);
void es_native_bias(const es_native_run *run, const es_stage *stage, float *bias);

#endif
