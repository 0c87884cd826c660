/* What stands behind esrgan_session, and how everything that runs a network runs it. */
#ifndef ES_SESSION_H
#define ES_SESSION_H

#include <stdatomic.h>

#include "engine/engine.h"
#include "model.h"

struct esrgan_session {
    esrgan_allocator allocator; /* the caller's: the session itself */
    const esrgan_model *model;
    const es_engine *engine;
    es_meter meter; /* the runs */
    es_team *team;
    es_context context;
    es_progress_state progress_state;
    char *isa, *trace_filter; /* copies of the options' */
    bool check_finite;
    uint64_t held; /* bytes that the call under way has taken besides its runs */
};

/* Begins a call that makes one or more runs. */
esrgan_status es_session_begin(esrgan_session *session, esrgan_error *error);

/* Runs the network over one picture; `from` and `to` are its share of the call's progress.
 * Refused with ESRGAN_E_LIMIT where max_memory is not enough. */
esrgan_status es_session_run(esrgan_session *session, int height, int width, const es_io *io,
                             double from, double to, esrgan_error *error);

/* Adds to *count how many of n values are NaN or infinite. */
void es_count_nonfinite(const float *values, size_t n, atomic_size_t *count);

/* Ends a call that went well so far: ESRGAN_E_NONFINITE where such values were counted and the
 * session minds. */
esrgan_status es_session_end(esrgan_session *session, size_t nonfinite, esrgan_error *error);

#endif
