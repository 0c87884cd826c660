/* What an engine says while it runs: progress, and values for the trace. */
#include <string.h>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/statistics.h"

esrgan_status es_progress(const es_context *context, double done, esrgan_error *error) {
    if (!context->progress) return ESRGAN_OK;
    es_progress_state *state = context->progress_state;
    if (done < 0) done = 0;
    if (done > 1) done = 1;
    double all = context->progress_from + done * (context->progress_to - context->progress_from);
    if (all > 1) all = 1;
    if (all < state->said) all = state->said;
    const double now = es_seconds();
    const bool first = state->said < 0, last = all >= 1 && state->said < 1;
    if (!first && !last && all - state->said < 1.0 / 256 && now - state->seconds < 0.1)
        return ESRGAN_OK;
    state->said = all;
    state->seconds = now;
    if (context->progress(context->progress_context, all) == 0) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_CANCELLED, "cancelled by the caller at %.0f %%", 100 * all);
}

/* A glob that ends at `end` against a whole name: * for any run of characters, ? for one. */
static bool glob(const char *pattern, const char *end, const char *name) {
    const char *star = NULL, *back = NULL;
    while (*name) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            back = name;
        } else if (pattern < end && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (star) { /* let the last star take one more */
            pattern = star;
            name = ++back;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*') pattern++;
    return pattern == end;
}

bool es_trace_wants(const es_context *context, const char *name) {
    if (!context->trace) return false;
    const char *filter = context->trace_filter;
    while (filter) {
        const char *comma = strchr(filter, ',');
        if (glob(filter, comma ? comma : filter + strlen(filter), name)) return true;
        if (!comma) return false;
        filter = comma + 1;
    }
    return true;
}

static esrgan_status emit(const es_context *context, int op_index, int height, int width,
                          esrgan_dtype dtype, const void *data, const esrgan_statistics *statistics,
                          esrgan_error *error) {
    const es_op *op = &context->network->ops[op_index];
    const esrgan_trace_value value = {
        .size = sizeof value,
        .name = op->name,
        .op = es_op_kind_name(op->kind),
        .index = op_index,
        .dtype = dtype,
        .dims = {1, op->channels, height, width},
        .data = data,
        .statistics = statistics,
    };
    if (context->trace(context->trace_context, &value) == 0) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_CANCELLED, "cancelled by the caller at %s", op->name);
}

esrgan_status es_trace_emit(const es_context *context, int op_index, int height, int width,
                            esrgan_dtype dtype, const void *data, esrgan_error *error) {
    if (context->trace_content == ESRGAN_TRACE_DATA)
        return emit(context, op_index, height, width, dtype, data, NULL, error);
    const uint64_t count =
        (uint64_t)context->network->ops[op_index].channels * (uint64_t)height * (uint64_t)width;
    esrgan_statistics statistics;
    es_statistics_planes(context->team, dtype, data, count, &statistics);
    if (context->trace_content == ESRGAN_TRACE_STATISTICS) data = NULL;
    return emit(context, op_index, height, width, dtype, data, &statistics, error);
}

esrgan_status es_trace_emit_statistics(const es_context *context, int op_index, int height,
                                       int width, const esrgan_statistics *statistics,
                                       esrgan_error *error) {
    return emit(context, op_index, height, width, ESRGAN_F32, NULL, statistics, error);
}
