/* Sessions: options and the environment, the choice of a backend, the team, the runs. */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"

void esrgan_session_options_init(esrgan_session_options *options) {
    if (!options) return;
    *options = (esrgan_session_options){.size = sizeof *options, .check_finite = 1};
}

/* ---- Options and the environment ---------------------------------------------------------- */

static esrgan_status threads_from_environment(int *threads, esrgan_error *error) {
    const char *text = getenv("ESRGAN_THREADS");
    if (!text || !*text) {
        *threads = es_cpu_count();
        return ESRGAN_OK;
    }
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (*end || errno || value < 1 || value > 4096)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "ESRGAN_THREADS is \"%s\"; must be a number from 1 to 4096", text);
    *threads = (int)value;
    return ESRGAN_OK;
}

static esrgan_status memory_from_environment(uint64_t *bytes, esrgan_error *error) {
    const char *text = getenv("ESRGAN_MAX_MEMORY");
    if (!text || !*text) return ESRGAN_OK;
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    static const char units[] = "KMGT";
    int shift = 0;
    for (int i = 0; units[i] && end != text; i++) {
        if ((*end & ~0x20) != units[i]) continue;
        shift = 10 * (i + 1);
        end++;
        break;
    }
    if (end == text || *end || errno || *text == '-' || value == 0 || value > UINT64_MAX >> shift)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "ESRGAN_MAX_MEMORY is \"%s\"; must be a number of bytes, with K, M, G or T "
                       "for units of 1024",
                       text);
    *bytes = (uint64_t)value << shift;
    return ESRGAN_OK;
}

static esrgan_status check_options(const esrgan_session_options *o, esrgan_error *error) {
    if ((unsigned)o->precision > ESRGAN_FP64)
        return es_fail(error, ESRGAN_E_ARGUMENT, "precision is %d; no such value",
                       (int)o->precision);
    if ((unsigned)o->backend > ESRGAN_NATIVE)
        return es_fail(error, ESRGAN_E_ARGUMENT, "backend is %d; no such value", (int)o->backend);
    if ((unsigned)o->trace_content > ESRGAN_TRACE_BOTH)
        return es_fail(error, ESRGAN_E_ARGUMENT, "trace_content is %d; no such value",
                       (int)o->trace_content);
    if (o->threads < 0 || o->threads > 4096)
        return es_fail(error, ESRGAN_E_ARGUMENT, "threads is %d; must be 0 to 4096", o->threads);
    if (o->allocator && (!o->allocator->alloc || !o->allocator->release))
        return es_fail(error, ESRGAN_E_ARGUMENT, "the allocator lacks a function");
    return ESRGAN_OK;
}

/* The options with everything filled in that may be left open, but for the backend. */
static esrgan_status resolve_options(const esrgan_session_options *given, esrgan_session_options *o,
                                     esrgan_error *error) {
    esrgan_session_options_init(o);
    esrgan_status status = es_options_read(o, sizeof *o, given, "session options", error);
    if (status == ESRGAN_OK) status = check_options(o, error);
    if (status != ESRGAN_OK) return status;
    if (o->threads == 0) status = threads_from_environment(&o->threads, error);
    if (status == ESRGAN_OK && o->max_memory == 0)
        status = memory_from_environment(&o->max_memory, error);
    return status;
}

/* ---- The choice of a backend -------------------------------------------------------------- */

static const es_engine *engine_of(esrgan_backend backend) {
    switch (backend) {
    case ESRGAN_OPENBLAS: return &es_engine_openblas;
    case ESRGAN_NATIVE: return &es_engine_native;
    default: return &es_engine_reference;
    }
}

static const char *refusal(es_context *context, esrgan_backend backend) {
    context->backend = backend;
    return engine_of(backend)->refuses(context);
}

/* A tier asked for by name is the native backend's, so AUTO looks no further then: whoever names
 * a tier wants that one or an error.  The environment's is a default for where it applies. */
static esrgan_status choose_engine(es_context *context, const esrgan_session_options *o,
                                   const es_engine **engine, esrgan_error *error) {
    static const esrgan_backend order[] = {ESRGAN_NATIVE, ESRGAN_OPENBLAS, ESRGAN_REFERENCE};
    const char *from_environment = getenv("ESRGAN_ISA");
    context->isa = o->isa;
    if (!o->isa && from_environment && *from_environment && o->precision != ESRGAN_FP64)
        context->isa = from_environment;
    const char *why;
    if (o->backend != ESRGAN_AUTO) {
        why = refusal(context, o->backend);
    } else if (context->isa) {
        why = refusal(context, ESRGAN_NATIVE);
    } else {
        why = NULL;
        for (size_t i = 0; i < sizeof order / sizeof *order; i++)
            if (!(why = refusal(context, order[i]))) break;
    }
    *engine = engine_of(context->backend);
    if (!why) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_UNSUPPORTED, "backend %s%s%s: %s", (*engine)->name,
                   context->isa ? ", tier " : "", context->isa ? context->isa : "", why);
}

static void fill_context(es_context *context, const esrgan_model *model,
                         const esrgan_session_options *o, es_meter *meter) {
    *context = (es_context){
        .network = model->network,
        .members = o->threads,
        .meter = meter,
        .precision = o->precision,
        .keep_weights = o->keep_weights != 0,
        .progress = o->progress,
        .progress_context = o->progress_context,
        .progress_to = 1,
        .trace = o->trace,
        .trace_content = o->trace_content,
        .trace_context = o->trace_context,
        .trace_filter = o->trace_filter,
    };
}

/* ---- Creation ----------------------------------------------------------------------------- */

static bool copy_text(const esrgan_session *s, const char **text, char **copy) {
    if (!*text) return true;
    *copy = es_strdup(&s->allocator, *text);
    *text = *copy;
    return *copy != NULL;
}

static esrgan_status fill_session(esrgan_session *s, const esrgan_session_options *o,
                                  esrgan_error *error) {
    es_meter_init(&s->meter, &s->allocator, o->max_memory);
    fill_context(&s->context, s->model, o, &s->meter);
    s->context.progress_state = &s->progress_state;
    s->check_finite = o->check_finite != 0;
    esrgan_status status = choose_engine(&s->context, o, &s->engine, error);
    if (status != ESRGAN_OK) return status;
    if (!copy_text(s, &s->context.isa, &s->isa) ||
        !copy_text(s, &s->context.trace_filter, &s->trace_filter))
        return es_fail(error, ESRGAN_E_MEMORY, "no memory for a session");
    status = es_team_create(&s->team, o->threads, &s->allocator, error);
    s->context.team = s->team;
    return status;
}

esrgan_status esrgan_session_create(const esrgan_model *model,
                                    const esrgan_session_options *options, esrgan_session **session,
                                    esrgan_error *error) {
    if (!session) return es_fail(error, ESRGAN_E_ARGUMENT, "session is NULL");
    *session = NULL;
    if (!model) return es_fail(error, ESRGAN_E_ARGUMENT, "model is NULL");
    esrgan_session_options o;
    esrgan_status status = resolve_options(options, &o, error);
    if (status != ESRGAN_OK) return status;
    const esrgan_allocator a = es_allocator(o.allocator);
    esrgan_session *s = es_calloc(&a, 1, sizeof *s);
    if (!s) return es_fail(error, ESRGAN_E_MEMORY, "no memory for a session");
    s->allocator = a;
    s->model = model;
    status = fill_session(s, &o, error);
    if (status != ESRGAN_OK) {
        esrgan_session_free(s);
        return status;
    }
    *session = s;
    return ESRGAN_OK;
}

void esrgan_session_free(esrgan_session *s) {
    if (!s) return;
    if (s->engine) s->engine->release(&s->context);
    es_team_free(s->team);
    const esrgan_allocator a = s->allocator;
    if (s->isa) es_free(&a, s->isa, strlen(s->isa) + 1);
    if (s->trace_filter) es_free(&a, s->trace_filter, strlen(s->trace_filter) + 1);
    es_free(&a, s, sizeof *s);
}

esrgan_status esrgan_session_get_info(const esrgan_session *session, esrgan_session_info *info,
                                      esrgan_error *error) {
    static const char *const precisions[] = {"fp32", "fp16", "bf16", "fp64"};
    if (!session) return es_fail(error, ESRGAN_E_ARGUMENT, "session is NULL");
    const esrgan_session_info full = {
        .size = sizeof full,
        .backend = session->engine->name,
        .tier = session->engine->tier(&session->context),
        .precision = precisions[session->context.precision],
        .threads = session->context.members,
    };
    return es_info_write(info, &full, sizeof full, "session info", error);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Up to the next multiple of the model's unshuffle: what a picture is padded to. */
static esrgan_status padded(const es_network *network, int *height, int *width,
                            esrgan_error *error) {
    const int64_t unit = network->unshuffle, h = (*height + unit - 1) / unit * unit,
                  w = (*width + unit - 1) / unit * unit;
    if (*height < 1 || *width < 1)
        return es_fail(error, ESRGAN_E_ARGUMENT, "height and width are %d and %d; must be positive",
                       *height, *width);
    if (h * network->scale > INT32_MAX || w * network->scale > INT32_MAX)
        return es_fail(error, ESRGAN_E_LIMIT, "a picture of %d x %d times %d is too large", *width,
                       *height, network->scale);
    *height = (int)h;
    *width = (int)w;
    return ESRGAN_OK;
}

esrgan_status esrgan_estimate_memory(const esrgan_model *model,
                                     const esrgan_session_options *options, int n, int height,
                                     int width, uint64_t *bytes, esrgan_error *error) {
    if (!model || !bytes)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s is NULL", model ? "bytes" : "model");
    if (n < 1) return es_fail(error, ESRGAN_E_ARGUMENT, "n is %d; must be positive", n);
    esrgan_session_options o;
    es_context context;
    es_meter meter;
    const es_engine *engine;
    esrgan_status status = padded(model->network, &height, &width, error);
    if (status == ESRGAN_OK) status = resolve_options(options, &o, error);
    if (status != ESRGAN_OK) return status;
    const esrgan_allocator a = es_allocator(o.allocator);
    es_meter_init(&meter, &a, 0);
    fill_context(&context, model, &o, &meter);
    status = choose_engine(&context, &o, &engine, error);
    if (status != ESRGAN_OK) return status;
    return engine->estimate(&context, height, width, bytes, error); /* pictures go one by one */
}

/* ---- Runs --------------------------------------------------------------------------------- */

esrgan_status es_session_begin(esrgan_session *s, esrgan_error *error) {
    s->progress_state = (es_progress_state){.said = -1};
    s->context.progress_from = 0;
    s->context.progress_to = 1;
    s->meter.refused = false;
    s->held = 0;
    return es_progress(&s->context, 0, error);
}

static esrgan_status too_little(const esrgan_session *s, uint64_t needed, int height, int width,
                                esrgan_error *error) {
    return es_fail(error, ESRGAN_E_LIMIT,
                   "a run over %d x %d pixels needs %llu bytes; max_memory is %llu", width, height,
                   (unsigned long long)needed, (unsigned long long)s->meter.limit);
}

esrgan_status es_session_run(esrgan_session *s, int height, int width, const es_io *io, double from,
                             double to, esrgan_error *error) {
    uint64_t needed = 0;
    if (s->meter.limit != 0) {
        es_context unlimited = s->context; /* the question itself takes a little memory */
        es_meter meter;
        es_meter_init(&meter, &s->allocator, 0);
        unlimited.meter = &meter;
        esrgan_status status = s->engine->estimate(&unlimited, height, width, &needed, error);
        if (status != ESRGAN_OK) return status;
        needed += s->held;
        if (needed > s->meter.limit) return too_little(s, needed, height, width, error);
    }
    s->context.progress_from = from;
    s->context.progress_to = to;
    esrgan_status status = s->engine->run(&s->context, height, width, io, error);
    if (status == ESRGAN_E_MEMORY && s->meter.refused)
        return too_little(s, needed, height, width, error);
    return status;
}

void es_count_nonfinite(const float *values, size_t n, atomic_size_t *count) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found += (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (found > 0) atomic_fetch_add(count, found);
}

esrgan_status es_session_end(esrgan_session *s, size_t nonfinite, esrgan_error *error) {
    s->context.progress_from = 0;
    s->context.progress_to = 1;
    const esrgan_status status = es_progress(&s->context, 1, error);
    if (status != ESRGAN_OK) return status;
    if (nonfinite == 0 || !s->check_finite) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_NONFINITE, "%zu values of the output are NaN or infinite",
                   nonfinite);
}
