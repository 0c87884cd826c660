/* The team of threads: every member runs, barriers hold, creation may fail at any point. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/threads.h"

static es_team *team_of(int members) {
    const esrgan_allocator a = es_allocator(NULL);
    es_team *team = NULL;
    assert_int_equal(es_team_create(&team, members, &a, NULL), ESRGAN_OK);
    return team;
}

typedef struct tally {
    atomic_int runs[64];
    int members;
} tally;

static void count_run(void *context, int member, int members) {
    tally *t = context;
    atomic_fetch_add(&t->runs[member], 1);
    if (member == 0) t->members = members;
}

static void every_member_runs_every_job(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 24};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        es_team *team = team_of(sizes[s]);
        tally t = {0};
        for (int job = 1; job <= 200; job++) {
            es_team_run(team, count_run, &t);
            for (int m = 0; m < 64; m++)
                assert_int_equal(atomic_load(&t.runs[m]), m < sizes[s] ? job : 0);
            if (job % 50 == 0) usleep(2000); /* long enough for all to fall asleep */
        }
        assert_int_equal(t.members, sizes[s]);
        es_team_free(team);
    }
}

/* Where the members of a job may run, and those that may run where the first one may. */
typedef struct places {
    cpu_set_t allowed;
    atomic_int alike;
} places;

static void note_place(void *context, int member, int members) {
    (void)member, (void)members;
    places *p = context;
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_EQUAL(&mine, &p->allowed))
        atomic_fetch_add(&p->alike, 1);
}

/* Members that have slept may step aside; they may run wherever they could before. */
static void members_may_run_anywhere(void **state) {
    (void)state;
    enum { JOBS = 40, MEMBERS = 2 };
    es_team *team = team_of(MEMBERS);
    places p = {0};
    assert_int_equal(sched_getaffinity(0, sizeof p.allowed, &p.allowed), 0);
    for (int job = 0; job < JOBS; job++) {
        usleep(3000);
        es_team_run(team, note_place, &p);
    }
    assert_int_equal(atomic_load(&p.alike), JOBS * MEMBERS);
    es_team_free(team);
}

enum { ROUNDS = 300 };

typedef struct relay {
    es_team *team;
    int cells[64]; /* plain on purpose: only the barrier orders them */
    int own[64];
    atomic_int wrong;
} relay;

static void pass_on(void *context, int member, int members) {
    relay *r = context;
    for (int round = 1; round <= ROUNDS; round++) {
        r->cells[member] = round;
        es_team_barrier(r->team);
        for (int m = 0; m < members; m++)
            if (r->cells[m] != round) atomic_fetch_add(&r->wrong, 1);
        const unsigned arrived = es_team_arrive(r->team);
        if (round % 100 == 50 && member == 0) usleep(2000); /* others fall asleep */
        r->own[member] += round;
        es_team_await(r->team, arrived);
    }
}

static void barriers_hold(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 16};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        relay r = {.team = team_of(sizes[s])};
        es_team_run(r.team, pass_on, &r);
        es_team_run(r.team, pass_on, &r);
        assert_int_equal(atomic_load(&r.wrong), 0);
        for (int m = 0; m < sizes[s]; m++) assert_int_equal(r.own[m], ROUNDS * (ROUNDS + 1));
        es_team_free(r.team);
    }
}

typedef struct chain {
    es_team *team;
    int links[16]; /* plain on purpose: only `done` orders them */
    atomic_int done[16];
} chain;

/* Member m's link of a round is one more than that of m - 1, the first one's than the last's of the
 * round before. */
static void forge_links(void *context, int member, int members) {
    chain *c = context;
    for (int round = 0; round < ROUNDS; round++) {
        const int before = (member + members - 1) % members, wanted = round + (member > 0);
        for (;;) {
            const unsigned told = es_team_told(c->team);
            if (atomic_load(&c->done[before]) >= wanted) break;
            es_team_listen(c->team, told);
        }
        if (round % 100 == 50 && member == 0) usleep(2000); /* others fall asleep */
        c->links[member] = c->links[before] + 1;
        atomic_fetch_add(&c->done[member], 1);
        es_team_tell(c->team);
    }
}

static void members_hear_what_is_told(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 16};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        chain c = {.team = team_of(sizes[s])};
        es_team_run(c.team, forge_links, &c);
        assert_int_equal(c.links[sizes[s] - 1], ROUNDS * sizes[s]);
        es_team_free(c.team);
    }
}

static int creations, fail_at;

static int failing_create(void *thread, void *(*start)(void *), void *argument) {
    if (creations++ == fail_at) return EAGAIN;
    return pthread_create(thread, NULL, start, argument);
}

static int64_t outstanding; /* bytes; the team allocates on one thread only */

static void *counted_alloc(void *context, size_t size, size_t alignment) {
    (void)context;
    void *p = NULL;
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    outstanding += (int64_t)size;
    return p;
}

static void counted_release(void *context, void *pointer, size_t size) {
    (void)context;
    outstanding -= (int64_t)size;
    free(pointer);
}

static void creation_may_fail_at_any_thread(void **state) {
    (void)state;
    const esrgan_allocator a = {counted_alloc, counted_release, NULL};
    es_thread_create_hook = failing_create;
    for (fail_at = 0; fail_at < 6; fail_at++) {
        esrgan_error error = {ESRGAN_OK, ""};
        es_team *team = (es_team *)1;
        creations = 0;
        assert_int_equal(es_team_create(&team, 7, &a, &error), ESRGAN_E_THREAD);
        assert_null(team);
        assert_int_equal(creations, fail_at + 1);
        assert_non_null(strstr(error.message, "could not be created"));
        assert_int_equal(outstanding, 0);
    }
    es_team *team = NULL;
    creations = 0;
    assert_int_equal(es_team_create(&team, 7, &a, NULL), ESRGAN_OK); /* only six are needed */
    assert_true(outstanding > 0);
    es_team_free(team);
    es_thread_create_hook = NULL;
    assert_int_equal(outstanding, 0);
}

static int allocations_left;

static void *scarce_alloc(void *context, size_t size, size_t alignment) {
    return allocations_left-- > 0 ? counted_alloc(context, size, alignment) : NULL;
}

static void memory_may_run_out(void **state) {
    (void)state;
    const esrgan_allocator a = {scarce_alloc, counted_release, NULL};
    for (int n = 0; n < 2; n++) {
        es_team *team = NULL;
        allocations_left = n;
        assert_int_equal(es_team_create(&team, 3, &a, NULL), ESRGAN_E_MEMORY);
        assert_null(team);
        assert_int_equal(outstanding, 0);
    }
}

static void member_counts_are_checked(void **state) {
    (void)state;
    const esrgan_allocator a = es_allocator(NULL);
    es_team *team = NULL;
    assert_int_equal(es_team_create(&team, 0, &a, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(es_team_create(&team, -1, &a, NULL), ESRGAN_E_ARGUMENT);
    assert_int_equal(es_team_create(&team, 1000000, &a, NULL), ESRGAN_E_ARGUMENT);
    es_team_free(NULL);
}

static void put(const char *folder, const char *name, const char *text) {
    char path[512];
    assert_true(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void make_folder(char *path, const char *folder, const char *name) {
    assert_true(snprintf(path, 300, "%s/%s", folder, name) < 300);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void cgroup_quotas_are_read(void **state) {
    (void)state;
    char root[] = "/tmp/esrgan-cgroup-XXXXXX", cgroup[300], a[300], b[300], cpu[300], v1[300];
    assert_non_null(mkdtemp(root));
    snprintf(cgroup, sizeof cgroup, "%s/cgroup", root);
    make_folder(a, root, "a");
    make_folder(b, a, "b");
    make_folder(cpu, root, "cpu");
    make_folder(v1, cpu, "job");

    put(root, "cgroup", "0::/a/b\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 0); /* no files at all */
    put(b, "cpu.max", "max 100000\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 0);
    put(b, "cpu.max", "350000 100000\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 4); /* rounded up */
    put(a, "cpu.max", "200000 100000\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 2); /* the tightest counts */

    put(root, "cgroup", "5:memory:/x\n3:cpuset:/job\n2:cpuacct,cpu:/job\n");
    put(v1, "cpu.cfs_quota_us", "-1\n");
    put(v1, "cpu.cfs_period_us", "100000\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 0);
    put(v1, "cpu.cfs_quota_us", "50000\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 1);
    put(root, "cgroup", "2:cpuacct,cpu:/job\n0::/a\n");
    assert_int_equal(es_cgroup_cpus(cgroup, root), 1);

    put(root, "cgroup", "rubbish\n::\n");
    assert_int_equal(es_cgroup_cpus(cgroup, "/nonexistent"), 0);
    assert_int_equal(es_cgroup_cpus("/nonexistent", root), 0);
    char remove[320];
    snprintf(remove, sizeof remove, "rm -r %s", root);
    assert_int_equal(system(remove), 0);
    assert_in_range(es_cpu_count(), 1, 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_runs_every_job),
        cmocka_unit_test(members_may_run_anywhere),
        cmocka_unit_test(barriers_hold),
        cmocka_unit_test(members_hear_what_is_told),
        cmocka_unit_test(creation_may_fail_at_any_thread),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(member_counts_are_checked),
        cmocka_unit_test(cgroup_quotas_are_read),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
