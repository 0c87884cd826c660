#include "engine/statistics.h"

#include <math.h>
#include <string.h>

#include "engine/tiers.h"

/* ---- Sums ---------------------------------------------------------------------------------- */

void es_sums_init(es_sums *s) { *s = (es_sums){.min = INFINITY, .max = -INFINITY}; }

void es_tally_init(es_native_tally *t) {
    memset(t, 0, sizeof *t);
    for (int i = 0; i < ES_NATIVE_LANES; i++) t->low[i] = INFINITY, t->high[i] = -INFINITY;
}

static void widen(es_sums *s, double low, double high) {
    if (low < s->min) s->min = low;
    if (high > s->max) s->max = high;
}

void es_sums_add_tally(es_sums *s, const es_native_tally *t, int lanes,
                       const uint32_t first[ES_NATIVE_LANES], uint32_t times) {
    for (int i = 0; i < lanes; i++) {
        widen(s, (double)t->low[i], (double)t->high[i]);
        s->words += t->words[i] * times;
        s->placed += 2 * t->placed[i] + t->words[i] * (2 * first[i] + times);
        s->nan += (uint64_t)t->nan[i] * times;
        s->inf += (uint64_t)t->infinite[i] * times;
    }
}

void es_sums_finish(const es_sums *s, uint64_t count, esrgan_statistics *statistics) {
    const uint64_t finite = count - s->nan - s->inf;
    statistics->size = sizeof *statistics;
    statistics->count = count;
    statistics->nan = s->nan;
    statistics->inf = s->inf;
    statistics->min = finite ? s->min + 0.0 : (double)NAN; /* which zero came first must not show */
    statistics->max = finite ? s->max + 0.0 : (double)NAN;
    statistics->mean = finite ? s->sum / (double)finite : (double)NAN;
    statistics->rms = finite ? sqrt(s->squares / (double)finite) : (double)NAN;
    statistics->hash = (uint64_t)s->placed << 32 | s->words;
    statistics->samples = es_sample_count(count);
    for (int k = statistics->samples; k < ESRGAN_SAMPLES; k++) statistics->sample[k] = 0;
}

/* ---- Samples ------------------------------------------------------------------------------- */

int es_sample_count(uint64_t count) { return count < ESRGAN_SAMPLES ? (int)count : ESRGAN_SAMPLES; }

uint64_t es_sample_position(uint64_t count, int k) {
    if (count <= ESRGAN_SAMPLES) return (uint64_t)k;
    const uint64_t piece = count / ESRGAN_SAMPLES;
    const uint64_t jitter = ((uint64_t)k * 2654435761u & 0xffffffffu) * piece >> 32;
    return (uint64_t)k * count / ESRGAN_SAMPLES + jitter;
}

/* ---- Elements one after the other ---------------------------------------------------------- */

enum {
    BLOCK = 4096, /* elements looked at together */
    MOST_PARTS = 256
};

/* How a value is cut follows from its size alone, and so does the order of all additions. */
typedef struct planes {
    esrgan_dtype dtype;
    const void *data;
    uint64_t count, part; /* elements of a part: whole blocks */
    int parts;
    es_sums sums[MOST_PARTS];
} planes;

static double element(esrgan_dtype dtype, const void *data, uint64_t i) {
    if (dtype == ESRGAN_F32) return (double)((const float *)data)[i];
    if (dtype == ESRGAN_F64) return ((const double *)data)[i];
    return ((const uint8_t *)data)[i];
}

static void add_word(es_sums *s, uint32_t word, uint64_t place) {
    s->words += word;
    s->placed += word * (uint32_t)(2 * place + 1);
}

static void add_element(es_sums *s, esrgan_dtype dtype, const void *data, uint64_t i) {
    const double v = element(dtype, data, i);
    if (dtype == ESRGAN_F64) {
        uint64_t wide;
        memcpy(&wide, &v, sizeof wide);
        add_word(s, (uint32_t)wide, 2 * i);
        add_word(s, (uint32_t)(wide >> 32), 2 * i + 1);
    } else {
        uint32_t word = dtype == ESRGAN_U8 ? ((const uint8_t *)data)[i] : 0;
        if (dtype == ESRGAN_F32) memcpy(&word, (const float *)data + i, sizeof word);
        add_word(s, word, i);
    }
    if (isnan(v)) {
        s->nan++;
    } else if (isinf(v)) {
        s->inf++;
    } else {
        widen(s, v, v);
        s->sum += v;
        s->squares += v * v;
    }
}

/* To the kernels, floats in a row are pixels of LANES channels. */
static uint64_t add_blocks(es_sums *s, const float *data, uint64_t from, uint64_t to) {
    const char *why;
    const es_native_tally_add add = es_tier_kernels(NULL, &why)->tally[ES_NATIVE_F32];
    uint32_t first[ES_NATIVE_LANES];
    es_native_tally tally;
    es_tally_init(&tally);
    for (uint32_t i = 0; i < ES_NATIVE_LANES; i++) first[i] = i;
    while (to - from >= ES_NATIVE_LANES) {
        uint64_t most = to - from < BLOCK ? to - from : BLOCK;
        const void *const row = data + from;
        const es_native_region region = {.row = &row,
                                         .step = ES_NATIVE_LANES * sizeof *data,
                                         .height = 1,
                                         .width = (int)(most / ES_NATIVE_LANES),
                                         .place = (uint32_t)from,
                                         .across = ES_NATIVE_LANES};
        double totals[2];
        add(&region, &tally, totals);
        s->sum += totals[0];
        s->squares += totals[1];
        from += most / ES_NATIVE_LANES * ES_NATIVE_LANES;
    }
    es_sums_add_tally(s, &tally, ES_NATIVE_LANES, first, 1);
    return from;
}

static void add_parts(void *context, int member, int members) {
    planes *p = context;
    for (int i = member; i < p->parts; i += members) {
        uint64_t from = p->part * (uint64_t)i, to = from + p->part;
        if (to > p->count) to = p->count;
        es_sums_init(&p->sums[i]);
        if (p->dtype == ESRGAN_F32) from = add_blocks(&p->sums[i], p->data, from, to);
        for (; from < to; from++) add_element(&p->sums[i], p->dtype, p->data, from);
    }
}

static void join(es_sums *to, const es_sums *from) {
    widen(to, from->min, from->max);
    to->sum += from->sum;
    to->squares += from->squares;
    to->nan += from->nan;
    to->inf += from->inf;
    to->words += from->words;
    to->placed += from->placed;
}

void es_statistics_planes(es_team *team, esrgan_dtype dtype, const void *data, uint64_t count,
                          esrgan_statistics *statistics) {
    const uint64_t blocks = (count + BLOCK - 1) / BLOCK;
    planes p = {.dtype = dtype, .data = data, .count = count};
    p.part = (blocks + MOST_PARTS - 1) / MOST_PARTS * BLOCK;
    p.parts = count > 0 ? (int)((count + p.part - 1) / p.part) : 0;
    if (team && p.parts > 1)
        es_team_run(team, add_parts, &p);
    else
        add_parts(&p, 0, 1);
    es_sums all;
    es_sums_init(&all);
    for (int i = 0; i < p.parts; i++) join(&all, &p.sums[i]);
    es_sums_finish(&all, count, statistics);
    for (int k = 0; k < statistics->samples; k++)
        statistics->sample[k] = element(dtype, data, es_sample_position(count, k));
}
