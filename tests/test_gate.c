/* The command's gate: what threads may do at the same time, whatever they want. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../examples/esrgan/gate.h"

enum { CORES = 3, THREADS = 9, PICTURES = 400, ROOM = 1000, AHEAD = 4 };

/* What is going on, as those see it who do it, and the most of each that was seen. */
static struct {
    gate gate;
    atomic_int next, read, small, large, wrong;
    atomic_int most_read, most_small, larges;
    atomic_llong held;
} now;

static void at_most(atomic_int *most, int count) {
    int before = atomic_load(most);
    while (before < count && !atomic_compare_exchange_weak(most, &before, count)) continue;
}

static void compute(unsigned *seed) {
    const bool small = rand_r(seed) % 4 != 0;
    const long long bytes = rand_r(seed) % 50 == 0 ? 2 * ROOM : rand_r(seed) % (ROOM / 2) + 1;
    gate_compute(&now.gate, small, (uint64_t)bytes);
    atomic_fetch_sub(&now.read, 1);
    const long long held = atomic_fetch_add(&now.held, bytes) + bytes;
    const int smalls = atomic_fetch_add(&now.small, small) + small;
    const int larges = atomic_fetch_add(&now.large, !small) + !small;
    now.wrong += larges > 1 || (larges > 0 && smalls > 0) || smalls > CORES;
    now.wrong += held > ROOM && held != bytes;
    at_most(&now.most_small, smalls);
    now.larges += !small;
    usleep((unsigned)rand_r(seed) % 200);
    atomic_fetch_sub(&now.small, small);
    atomic_fetch_sub(&now.large, !small);
    gate_write(&now.gate, small);
    usleep((unsigned)rand_r(seed) % 200);
    atomic_fetch_sub(&now.held, bytes);
    gate_done(&now.gate, (uint64_t)bytes);
}

static void *work(void *context) {
    unsigned seed = (unsigned)(uintptr_t)context;
    while (atomic_fetch_add(&now.next, 1) < PICTURES) {
        gate_read(&now.gate);
        at_most(&now.most_read, atomic_fetch_add(&now.read, 1) + 1);
        usleep((unsigned)rand_r(&seed) % 100);
        if (rand_r(&seed) % 10 == 0) {
            atomic_fetch_sub(&now.read, 1);
            gate_unread(&now.gate);
        } else {
            compute(&seed);
        }
    }
    return NULL;
}

static void nobody_does_what_excludes_another(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    gate_open(&now.gate, CORES, ROOM);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    gate_close(&now.gate);
    assert_int_equal(now.wrong, 0);
    /* A picture counts as read until it is known to be computed: one more for each that is begun just now. */
    assert_in_range(now.most_read, AHEAD, AHEAD + CORES);
    assert_int_equal(now.most_small, CORES);
    assert_true(now.larges > 0);
    assert_true(now.held == 0 && now.gate.held == 0 && now.gate.read == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_does_what_excludes_another)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
