/* Values for the trace: from channels-last sheets to planes, after every stage. */
#include <string.h>

#include "base/dtype.h"
#include "base/status.h"
#include "engine/native_run.h"

typedef struct turn {
    const es_native_run *run;
    const es_sheet *sheet;
    int up, height, width;
    float *out;
} turn;

/* Pixels turned together: the lines that are written to then stay in the cache until they are full,
 * though planes often lie a power of two apart. */
enum { PIXELS = 16 };

/* Up to PIXELS pixels from x on of up to ES_NATIVE_LANES channels from `first` on. */
static void turn_block(const turn *t, const char *row, int first, int channels, int x, int pixels,
                       float *out, size_t plane) {
    const es_sheet *s = t->sheet;
    float block[ES_NATIVE_LANES][PIXELS];
    for (int i = 0; i < pixels; i++) {
        const char *pixel = row + (size_t)((x + i) / t->up) * s->pixel;
        for (int c = 0; c < channels; c++) block[c][i] = es_pixel_at(s->format, pixel, first + c);
    }
    for (int c = 0; c < channels; c++)
        memcpy(out + (size_t)c * plane + x, block[c], (size_t)pixels * sizeof(float));
}

static void turn_rows(void *context, int member, int members) {
    const turn *t = context;
    const es_sheet *s = t->sheet;
    const size_t plane = (size_t)t->height * (size_t)t->width;
    for (int y = member; y < t->height; y += members) {
        const char *row = es_sheet_row(t->run, s, y / t->up);
        for (int first = 0; first < s->channels; first += ES_NATIVE_LANES) {
            int left = s->channels - first;
            int count = left < ES_NATIVE_LANES ? left : ES_NATIVE_LANES;
            float *out = t->out + (size_t)first * plane + (size_t)y * (size_t)t->width;
            for (int x = 0; x < t->width; x += PIXELS)
                turn_block(t, row, first, count, x, t->width - x < PIXELS ? t->width - x : PIXELS,
                           out, plane);
        }
    }
}

/* Shows op's value, which lies in `sheet` (enlarged `up` times) or, for NULL, is the picture. */
static esrgan_status show(const es_native_run *run, int op_index, int sheet, int up, int height,
                          int width, esrgan_error *error) {
    const es_context *context = run->context;
    const es_op *op = &context->network->ops[op_index];
    const esrgan_allocator *a = &context->meter->allocator;
    if (!es_trace_wants(context, op->name)) return ESRGAN_OK;
    const int h = (int)((int64_t)height * op->num / op->den);
    const int w = (int)((int64_t)width * op->num / op->den);
    const size_t plane = (size_t)h * (size_t)w;
    const size_t bytes = plane * (size_t)op->channels * sizeof(float);
    float *planes = es_alloc(a, bytes);
    if (!planes) return es_fail(error, ESRGAN_E_MEMORY, "no memory to show %s", op->name);
    if (sheet < 0) {
        run->io->read(run->io->context, 0, h, planes, plane, (size_t)w);
        es_native_round(run->plan->format, planes, plane * (size_t)op->channels);
    } else {
        turn t = {run, &run->plan->sheets[sheet], up, h, w, planes};
        es_team_run(context->team, turn_rows, &t);
    }
    esrgan_status status = es_trace_emit(context, op_index, h, w, ESRGAN_F32, planes, error);
    es_free(a, planes, bytes);
    return status;
}

size_t es_native_trace_bytes(const es_context *context, int height, int width) {
    size_t most = 0;
    for (int i = 0; i < context->network->op_count && context->trace; i++) {
        const es_op *op = &context->network->ops[i];
        size_t h = (size_t)((int64_t)height * op->num / op->den);
        size_t w = (size_t)((int64_t)width * op->num / op->den);
        size_t bytes = h * w * (size_t)op->channels * sizeof(float);
        if (es_trace_wants(context, op->name) && most < bytes) most = bytes;
    }
    return most;
}

esrgan_status es_native_trace(const es_native_run *run, int group, int height, int width,
                              esrgan_error *error) {
    const es_native_plan *p = run->plan;
    const es_stage *s = &p->stages[p->group_first[group]];
    const es_op *ops = run->context->network->ops;
    esrgan_status status = ESRGAN_OK;
    if (s->kind == ES_STAGE_READ) {
        if (s->op->kind == ES_OP_UNSHUFFLE)
            status = show(run, s->op->inputs[0], -1, 1, height, width, error);
        if (status == ESRGAN_OK) status = show(run, s->last_op, s->output, 1, height, width, error);
    } else if (s->kind == ES_STAGE_CONV) {
        int from = s->op->inputs[0];
        if (ops[from].kind == ES_OP_NEAREST)
            status = show(run, from, p->caches[s->inputs[0]].sheet, ops[from].factor, height, width,
                          error);
        for (int i = 0; i < s->links && status == ESRGAN_OK; i++)
            status = show(run, s->chain[i], i + 1 < s->links ? s->taps[i] : s->output, 1, height,
                          width, error);
    }
    return status;
}
