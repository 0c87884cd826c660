/*
 * Statistics of every value while the network runs as it always does: each tile is looked at where
 * it was just made and still is in the nearest cache.  Counts and hashes are kept by every member
 * on its own, sums by unit, so that they are added in the same order whoever made the unit.
 */
#include <stdlib.h>

#include "base/status.h"
#include "engine/native_run.h"
#include "engine/statistics.h"

static int chunks_of(const es_native_plan *p, const es_watch *w) {
    return p->sheets[w->sheet].padded / ES_NATIVE_LANES;
}

/* ---- What is looked at --------------------------------------------------------------------- */

/* Channels, height and width of the value that a watch is about. */
typedef struct extent {
    int channels;
    int64_t height, width;
} extent;

static extent extent_of(const es_sheet *s, int up, int spread) {
    const int scale = up * spread;
    return (extent){s->channels / (spread * spread), (int64_t)s->height * scale,
                    (int64_t)s->width * scale};
}

static uint64_t count_of(extent e) {
    return (uint64_t)e.channels * (uint64_t)e.height * (uint64_t)e.width;
}

static int by_unit(const void *left, const void *right) {
    const es_sample *a = left, *b = right;
    return a->unit != b->unit ? (a->unit < b->unit ? -1 : 1) : a->number - b->number;
}

/* From places in the value to places in the pixels that a stage makes. */
static void take_samples(es_sampling *m, const es_sheet *s) {
    const extent e = extent_of(s, m->up, m->spread);
    const int across = (s->width + m->unit_width - 1) / m->unit_width, r = m->spread;
    const int count = es_sample_count(count_of(e));
    for (int k = 0; k < count; k++) {
        int64_t at = (int64_t)es_sample_position(count_of(e), k);
        int x = (int)(at % e.width) / m->up, y = (int)(at / e.width % e.height) / m->up;
        int channel = (int)(at / e.width / e.height);
        channel = channel * r * r + y % r * r + x % r;
        y /= r;
        x /= r;
        m->at[k] = (es_sample){.unit = y / m->unit_height * across + x / m->unit_width,
                               .channel = channel,
                               .y = y % m->unit_height,
                               .x = x % m->unit_width,
                               .number = k};
    }
    qsort(m->at, (size_t)count, sizeof *m->at, by_unit);
    for (int unit = 0, k = 0; unit <= m->units; unit++) {
        while (k < count && m->at[k].unit < unit) k++;
        m->first[unit] = (uint16_t)k;
    }
}

static int find_sampling(es_native_plan *p, const es_watch *w, int unit_height, int unit_width) {
    const es_sheet *s = &p->sheets[w->sheet];
    for (int i = 0; i < p->sampling_count; i++) {
        const es_sampling *m = p->samplings[i];
        const es_sheet *same = &p->sheets[m->sheet];
        if (same->channels == s->channels && same->height == s->height && same->width == s->width &&
            m->up == w->up && m->spread == w->spread && m->unit_height == unit_height &&
            m->unit_width == unit_width)
            return i;
    }
    if (p->sampling_count == ES_MAX_SAMPLINGS) return -1;
    es_sampling *m = es_alloc(p->allocator, es_sampling_bytes(w->units));
    if (!m) return -1;
    p->sampling_bytes += es_sampling_bytes(w->units);
    m->units = w->units;
    m->sheet = w->sheet;
    m->up = w->up;
    m->spread = w->spread;
    m->unit_height = unit_height;
    m->unit_width = unit_width;
    take_samples(m, s);
    p->samplings[p->sampling_count] = m;
    return p->sampling_count++;
}

/* False where there is no memory.  Convolutions that are made twice are looked at once. */
static bool add_watch(es_native_plan *p, const es_context *context, es_stage *s, int op, int link,
                      int up, int spread) {
    if (!es_trace_wants(context, context->network->ops[op].name)) return true;
    for (int i = 0; i < p->watch_count; i++)
        if (p->watches[i].op == op) return true;
    es_watch *w = &p->watches[p->watch_count];
    *w = (es_watch){.op = op, .link = link, .up = up, .spread = spread, .sheet = s->output};
    const bool tiles = s->kind == ES_STAGE_CONV;
    w->units = tiles ? s->grid.across * s->grid.down : s->height;
    w->sampling = find_sampling(p, w, tiles ? s->grid.tile : 1, tiles ? s->grid.tile : s->width);
    if (w->sampling < 0) return false;
    if (s->watches++ == 0) s->first_watch = p->watch_count;
    s->watched |= 1u << link;
    p->watch_count++;
    return true;
}

static bool watch_stage(es_native_plan *p, const es_context *context, es_stage *s) {
    const es_network *n = context->network;
    bool good = true;
    if (s->kind == ES_STAGE_WRITE) return true;
    if (s->kind == ES_STAGE_READ) {
        if (s->op->kind == ES_OP_UNSHUFFLE)
            good = add_watch(p, context, s, s->op->inputs[0], 0, 1, s->op->factor);
        good = good && add_watch(p, context, s, s->last_op, 0, 1, 1);
    }
    for (int i = 0; i < s->links && good; i++)
        good = add_watch(p, context, s, s->chain[i], i, 1, 1);
    for (int i = s->last_op + 1; i < n->op_count && good; i++)
        if (n->ops[i].kind == ES_OP_NEAREST && n->ops[i].inputs[0] == s->last_op)
            good =
                add_watch(p, context, s, i, s->links > 0 ? s->links - 1 : 0, n->ops[i].factor, 1);
    return good;
}

esrgan_status es_native_watch_plan(es_native_plan *p, const es_context *context,
                                   esrgan_error *error) {
    if (!context->trace || p->traced) return ESRGAN_OK;
    p->watch_capacity = context->network->op_count;
    p->watches = es_calloc(p->allocator, (size_t)p->watch_capacity, sizeof *p->watches);
    bool good = p->watches != NULL;
    for (int i = 0; i < p->stage_count && good; i++) good = watch_stage(p, context, &p->stages[i]);
    if (good) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_MEMORY, "no memory to plan statistics of %d values",
                   p->watch_capacity);
}

size_t es_native_watch_layout(es_native_plan *p, int group, size_t offset) {
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        const es_stage *s = &p->stages[i];
        for (int k = 0; k < s->watches; k++) {
            es_watch *w = &p->watches[s->first_watch + k];
            const size_t chunks = (size_t)chunks_of(p, w);
            w->tallies = offset;
            offset += es_aligned((size_t)p->members * chunks * sizeof(es_native_tally));
            w->totals = offset;
            offset += es_aligned((size_t)w->units * chunks * 2 * sizeof(double));
            w->samples = offset;
            offset += es_aligned(ESRGAN_SAMPLES * sizeof(float));
        }
    }
    return offset;
}

/* ---- Looking at it ------------------------------------------------------------------------- */

static es_native_tally *tallies_of(const es_native_run *run, const es_watch *w, int member) {
    es_native_tally *all = (es_native_tally *)(void *)(run->arena + w->tallies);
    return all + (size_t)member * (size_t)chunks_of(run->plan, w);
}

void es_native_watch_begin(const es_native_run *run, int group, int member) {
    const es_native_plan *p = run->plan;
    for (int i = p->group_first[group]; i < p->group_first[group + 1] && run->column == 0; i++) {
        const es_stage *s = &p->stages[i];
        for (int k = 0; k < s->watches; k++) {
            const es_watch *w = &p->watches[s->first_watch + k];
            for (int c = 0; c < chunks_of(p, w); c++) es_tally_init(&tallies_of(run, w, member)[c]);
        }
    }
}

static void keep_samples(const es_native_run *run, const es_watch *w, es_unit unit,
                         const es_native_region *pixels, es_native_format format) {
    const es_sampling *m = run->plan->samplings[w->sampling];
    float *out = (float *)(void *)(run->arena + w->samples);
    for (int i = m->first[unit.number]; i < m->first[unit.number + 1]; i++) {
        const es_sample *s = &m->at[i];
        const int channel = s->channel - unit.channel;
        if (channel < 0 || channel >= unit.channels) continue;
        const char *pixel = (const char *)pixels->row[s->y] + s->x * pixels->step;
        out[s->number] = es_pixel_at(format, pixel, channel);
    }
}

/*
 * Places are those of the value's elements, modulo 2^32 as in the hash, without what its channel
 * adds.  An element that is repeated up x up times counts with the sum of its places.
 */
static void look(const es_native_run *run, const es_watch *w, es_unit unit,
                 es_native_region *pixels, es_native_format format, int member) {
    const es_native_plan *p = run->plan;
    const extent e = extent_of(&p->sheets[w->sheet], w->up, w->spread);
    const uint32_t step = (uint32_t)(w->up * w->spread), times = (uint32_t)(w->up * w->up);
    const int chunks = chunks_of(p, w);
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    es_native_tally *tallies = tallies_of(run, w, member);
    double *totals = (double *)(void *)(run->arena + w->totals);
    pixels->across = times * step;
    pixels->down = pixels->across * (uint32_t)e.width;
    pixels->place = (uint32_t)unit.y * pixels->down + (uint32_t)unit.x * pixels->across;
    for (int c = 0; c < unit.channels; c += ES_NATIVE_LANES) {
        const size_t chunk = (size_t)(unit.channel + c) / ES_NATIVE_LANES;
        pixels->offset = c * size;
        p->kernels->tally[format](pixels, &tallies[chunk],
                                  totals + ((size_t)unit.number * (size_t)chunks + chunk) * 2);
    }
}

void es_native_watch(const es_native_run *run, const es_stage *s, int link, es_unit unit,
                     es_native_region *pixels, es_native_format format, int member) {
    for (int i = 0; i < s->watches; i++) {
        const es_watch *w = &run->plan->watches[s->first_watch + i];
        if (w->link != link) continue;
        look(run, w, unit, pixels, format, member);
        keep_samples(run, w, unit, pixels, format);
    }
}

/* ---- Putting it together ------------------------------------------------------------------- */

/* The place of a channel's first element, summed over its repetitions. */
static uint32_t first_place(const es_watch *w, extent e, int channel) {
    const uint32_t r = (uint32_t)w->spread, up = (uint32_t)w->up, c = (uint32_t)channel;
    const uint32_t plane = (uint32_t)((uint64_t)e.height * (uint64_t)e.width);
    const uint32_t place = c / (r * r) * plane + c / r % r * (uint32_t)e.width + c % r;
    return up * up * place + up * up * (up - 1) / 2 * ((uint32_t)e.width + 1);
}

static void join(const es_native_run *run, const es_watch *w, es_sums *sums) {
    const es_native_plan *p = run->plan;
    const es_sheet *s = &p->sheets[w->sheet];
    const extent e = extent_of(s, w->up, w->spread);
    const uint32_t times = (uint32_t)(w->up * w->up);
    const double *totals = (const double *)(const void *)(run->arena + w->totals);
    const size_t count = (size_t)w->units * (size_t)chunks_of(p, w);
    es_sums_init(sums);
    for (int c = 0; c < chunks_of(p, w); c++) {
        const int from = c * ES_NATIVE_LANES, left = s->channels - from;
        uint32_t first[ES_NATIVE_LANES];
        for (int i = 0; i < ES_NATIVE_LANES; i++) first[i] = first_place(w, e, from + i);
        for (int m = 0; m < p->members; m++)
            es_sums_add_tally(sums, &tallies_of(run, w, m)[c],
                              left < ES_NATIVE_LANES ? left : ES_NATIVE_LANES, first, times);
    }
    for (size_t i = 0; i < count; i++) {
        sums->sum += totals[2 * i] * times;
        sums->squares += totals[2 * i + 1] * times;
    }
}

static esrgan_status show(const es_native_run *run, const es_watch *w, esrgan_error *error) {
    const es_native_plan *p = run->plan;
    const extent e = extent_of(&p->sheets[w->sheet], w->up, w->spread);
    const float *samples = (const float *)(const void *)(run->arena + w->samples);
    es_sums sums;
    esrgan_statistics statistics;
    join(run, w, &sums);
    es_sums_finish(&sums, count_of(e), &statistics);
    for (int i = 0; i < statistics.samples; i++) statistics.sample[i] = (double)samples[i];
    return es_trace_emit_statistics(run->context, w->op, (int)e.height, (int)e.width, &statistics,
                                    error);
}

/* The group's watch with the lowest operation after `last`. */
static const es_watch *next_watch(const es_native_plan *p, int group, int last) {
    const es_watch *next = NULL;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        const es_stage *s = &p->stages[i];
        for (int k = 0; k < s->watches; k++) {
            const es_watch *w = &p->watches[s->first_watch + k];
            if (w->op > last && (!next || w->op < next->op)) next = w;
        }
    }
    return next;
}

esrgan_status es_native_watch_show(const es_native_run *run, int group, esrgan_error *error) {
    esrgan_status status = ESRGAN_OK;
    const es_watch *w = next_watch(run->plan, group, -1);
    for (; w && status == ESRGAN_OK; w = next_watch(run->plan, group, w->op))
        status = show(run, w, error);
    return status;
}
