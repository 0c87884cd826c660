/* One model, many threads, each with a session of its own (and a team in that).  Also what
 * `make check-tsan` runs. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "support/model.h"

enum { THREADS = 8, HEIGHT = 10, WIDTH = 14, IN = 3 * HEIGHT * WIDTH, OUT = 16 * IN };

typedef struct job {
    pthread_t thread;
    const esrgan_model *model;
    const float *in;
    esrgan_session_options options;
    int runs;
    float out[OUT];
    esrgan_status status; /* the first that is not fine */
    esrgan_error error;
} job;

static void *run(void *argument) {
    job *j = argument;
    for (int i = 0; i < j->runs && j->status == ESRGAN_OK; i++) {
        esrgan_session *session = NULL;
        esrgan_model_info info = {.size = sizeof info};
        uint64_t bytes;
        j->status = esrgan_session_create(j->model, &j->options, &session, &j->error);
        if (j->status == ESRGAN_OK)
            j->status =
                esrgan_estimate_memory(j->model, &j->options, 1, HEIGHT, WIDTH, &bytes, &j->error);
        for (int k = 0; k < 2 && j->status == ESRGAN_OK; k++)
            j->status = esrgan_forward(session, 1, HEIGHT, WIDTH, j->in, j->out, &j->error);
        if (j->status == ESRGAN_OK) j->status = esrgan_model_get_info(j->model, &info, &j->error);
        if (j->status == ESRGAN_OK && esrgan_layer_find(j->model, "conv_first") < 0)
            j->status = ESRGAN_E_NOT_FOUND;
        esrgan_session_free(session);
    }
    return NULL;
}

static void many_sessions(esrgan_backend backend, int team) {
    esrgan_model *model = model_x4();
    float *in = noise(IN, 11);
    job *jobs = calloc(THREADS + 1, sizeof *jobs);
    assert_non_null(jobs);
    for (int i = 0; i <= THREADS; i++) {
        jobs[i].model = model;
        jobs[i].in = in;
        jobs[i].runs = 2;
        esrgan_session_options_init(&jobs[i].options);
        jobs[i].options.backend = backend;
        jobs[i].options.precision = (esrgan_precision)(i % 3);
        jobs[i].options.threads = team;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        if (jobs[i].status != ESRGAN_OK) fail_msg("thread %d: %s", i, jobs[i].error.message);
    for (int precision = 0; precision < 3; precision++) { /* alone, on one thread */
        job *alone = &jobs[THREADS];
        alone->options.precision = (esrgan_precision)precision;
        alone->options.threads = 1;
        run(alone);
        assert_int_equal(alone->status, ESRGAN_OK);
        for (int i = precision; i < THREADS; i += 3)
            assert_memory_equal(jobs[i].out, alone->out, sizeof alone->out);
    }
    free(jobs), free(in);
    esrgan_model_free(model);
}

static void sessions_on_reference(void **state) {
    (void)state;
    many_sessions(ESRGAN_REFERENCE, 2);
}

static void sessions_on_openblas(void **state) {
    (void)state;
    many_sessions(ESRGAN_OPENBLAS, 2);
}

static void sessions_on_the_fastest(void **state) {
    (void)state;
    many_sessions(ESRGAN_AUTO, 1);
    many_sessions(ESRGAN_AUTO, 3);
}

/* A model's other functions while sessions run on it. */
static void *inspect(void *argument) {
    job *j = argument;
    uint8_t digest[32];
    for (int i = 0; i < 20 && j->status == ESRGAN_OK; i++) {
        j->status = esrgan_model_sha256(j->model, digest, &j->error);
        if (j->status == ESRGAN_OK) j->status = esrgan_model_verify(j->model, &j->error);
        for (int l = 0; l < esrgan_layer_count(j->model) && j->status == ESRGAN_OK; l++) {
            esrgan_layer layer = {.size = sizeof layer};
            j->status = esrgan_layer_get(j->model, l, &layer, &j->error);
        }
    }
    return NULL;
}

static void looking_while_running(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    float *in = noise(IN, 12);
    job *jobs = calloc(2, sizeof *jobs);
    assert_non_null(jobs);
    for (int i = 0; i < 2; i++) {
        jobs[i].model = model;
        jobs[i].in = in;
        jobs[i].runs = 2;
        esrgan_session_options_init(&jobs[i].options);
        jobs[i].options.threads = 2;
    }
    assert_int_equal(pthread_create(&jobs[0].thread, NULL, run, &jobs[0]), 0);
    assert_int_equal(pthread_create(&jobs[1].thread, NULL, inspect, &jobs[1]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
        assert_int_equal(jobs[i].status, ESRGAN_OK);
    }
    free(jobs), free(in);
    esrgan_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_on_reference),
        cmocka_unit_test(sessions_on_openblas),
        cmocka_unit_test(sessions_on_the_fastest),
        cmocka_unit_test(looking_while_running),
    };
    return cmocka_run_group_tests_name("concurrency", tests, NULL, NULL);
}
