/* Weights from the checkpoint into the kernels' form: [panel][point][channel in][channel out]. */
#include <string.h>

#include "base/dtype.h"
#include "engine/native_run.h"

/* To the precision that the session asked for, and back. */
static float rounded(es_native_format format, float x) {
    if (format == ES_NATIVE_F16) return es_f16_to_f32(es_f32_to_f16(x));
    if (format == ES_NATIVE_BF16) return es_bf16_to_f32(es_f32_to_bf16(x));
    return x;
}

static void round_all(es_native_format format, float *x, int count) {
    if (format == ES_NATIVE_F32) return;
    for (int i = 0; i < count; i++) x[i] = rounded(format, x[i]);
}

/* Which channels of the checkpoint's weight a chunk stands for: where they begin, how many. */
static void chunk_source(const es_native_plan *p, const es_stage *s, int chunk, int *first,
                         int *count) {
    *first = 0;
    for (int k = 0; k < s->input_count; k++) {
        const es_sheet *from = &p->sheets[p->caches[s->inputs[k]].sheet];
        int chunks = from->padded / ES_NATIVE_LANES;
        if (chunk < chunks) {
            int left = from->channels - chunk * ES_NATIVE_LANES;
            *first += chunk * ES_NATIVE_LANES;
            *count = left < ES_NATIVE_LANES ? left : ES_NATIVE_LANES;
            return;
        }
        chunk -= chunks;
        *first += from->channels;
    }
    *count = 0;
}

/* Some hundred bytes here and there are nothing that a CPU foresees: ask for the ones after next.
 * (Where a tensor is strided this asks for the wrong ones, which is all that happens.) */
static void ask_for(const es_tensor *t, int64_t first, int64_t count) {
    const int64_t size = (int64_t)es_dtype_size(t->dtype);
    if (first + count > t->numel) return;
    for (int64_t at = 0; at < count * size; at += ES_ALIGN)
        __builtin_prefetch(t->data + first * size + at, 0, 3);
}

/* One chunk of one panel: read as stored, turn so that channels out are neighbours, transform. */
static void make_chunk(const es_native_run *run, const es_stage *s, int panel, int chunk,
                       float *out, float *scratch) {
    const es_native_plan *p = run->plan;
    const es_op *op = s->op;
    const int taps = op->kernel * op->kernel, full = p->kernels->panel;
    const int from = panel * full, left = s->width_out - from;
    const int width = left < full ? ES_NATIVE_LANES : full;
    int first, count;
    chunk_source(p, s, chunk, &first, &count);
    float *stored = scratch, *turned = scratch + (size_t)ES_NATIVE_LANES * 9 * full;
    memset(turned, 0, sizeof(float) * ES_NATIVE_LANES * 9 * (size_t)width);
    for (int o = 0; o < width && from + o < op->channels; o++) {
        int64_t at = ((int64_t)(from + o) * op->channels_in + first) * taps;
        ask_for(op->weight, at + 3 * (int64_t)op->channels_in * taps, (int64_t)count * taps);
        es_tensor_read_f32_range(op->weight, at, (int64_t)count * taps, stored);
        round_all(p->format, stored, count * taps);
        for (int i = 0; i < count; i++)
            for (int t = 0; t < taps; t++) /* a 1x1 kernel is the middle of a 3x3 one */
                turned[((size_t)i * 9 + (taps == 1 ? 4 : t)) * width + o] = stored[i * taps + t];
    }
    const int channels = s->chunks * ES_NATIVE_LANES;
    const size_t point = (size_t)channels * width;
    for (int i = 0; i < ES_NATIVE_LANES; i++)
        p->kernels->weights[s->shape](turned + (size_t)i * 9 * width, width,
                                      out + ((size_t)chunk * ES_NATIVE_LANES + i) * width, point);
}

/* Panels of a convolution: full ones, then single vectors for what is left. */
static int panels_of(const es_native_plan *p, const es_stage *s) {
    int full = p->kernels->panel;
    return s->width_out / full + s->width_out % full / ES_NATIVE_LANES;
}

void es_native_weights_make(const es_native_run *run, int group, float *out, int member) {
    const es_native_plan *p = run->plan;
    float *scratch = es_native_scratch_of(run, member).staging;
    int unit = 0;
    for (int i = p->group_first[group]; i < p->group_first[group + 1]; i++) {
        const es_stage *s = &p->stages[i];
        if (s->kind != ES_STAGE_CONV) continue;
        const size_t points = (size_t)es_native_shape_geometry(s->shape).points;
        float *u = out + s->weights;
        for (int panel = 0; panel < panels_of(p, s); panel++) {
            int left = s->width_out - panel * p->kernels->panel;
            int width = left < p->kernels->panel ? ES_NATIVE_LANES : p->kernels->panel;
            for (int chunk = 0; chunk < s->chunks; chunk++)
                if (unit++ % p->members == member) make_chunk(run, s, panel, chunk, u, scratch);
            u += points * (size_t)s->chunks * ES_NATIVE_LANES * (size_t)width;
        }
        if (unit++ % p->members != member) continue;
        float *bias = out + s->bias;
        memset(bias, 0, sizeof(float) * (size_t)s->width_out);
        if (s->op->bias) es_tensor_read_f32_range(s->op->bias, 0, s->op->channels, bias);
        round_all(p->format, bias, s->op->channels);
    }
}
