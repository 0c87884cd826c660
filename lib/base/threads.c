/*
 * The team.  Members meet at two kinds of places: between jobs and at barriers.  Both are built on
 * one thing, a counter that can be waited on: a waiter spins shortly, then lets others have its core in
 * between, then sleeps on a condition variable, and who changes the counter takes the lock only where
 * somebody sleeps.
 */
#include "base/threads.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

int (*es_thread_create_hook)(void *thread, void *(*start)(void *), void *argument);

/*
 * Seconds of spinning (by the clock: a pause is 1 to 60 ns), where each member can have a core, and where
 * members outnumber cores, so that whom one waits for may need this one; and seconds before sleep inside a job.
 * Who sleeps wakes late, on a virtual CPU later still, and others wait for it then and fall asleep.  Between jobs
 * nobody waits for a member, and another process may have a use for its core: with as much patience there, two
 * processes took 0.71 of the time instead of 0.51.  (x4plus, two cores, against 50 us, 1 us and sleep.  Two
 * processes of two threads: 0.51 at 16 x 16, 0.84 at 64 x 64.  Beside a process that never rests: 0.74 and 0.93.
 * Three threads: 0.85 at 32 x 32, four: 0.89, sixteen: 0.68.  Two threads alone: 1.00; a picture of 16 x 16 ten
 * times a second: 11 to 14 ms each instead of 20 to 44.)
 */
#define SPIN_ROOM  20e-6
#define SPIN_CROWD 1e-6
#define PATIENCE   500e-6

enum { MAX_MEMBERS = 4096 };

double es_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* ---- A counter to wait on ----------------------------------------------------------------- */

typedef struct counter {
    _Alignas(ES_ALIGN) atomic_uint value;
    atomic_int sleepers;
    int waker; /* the CPU that the last one to wake somebody ran on; under the lock */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} counter;

static bool counter_init(counter *c) {
    atomic_init(&c->value, 0);
    atomic_init(&c->sleepers, 0);
    c->waker = -1;
    if (pthread_mutex_init(&c->mutex, NULL) != 0) return false;
    if (pthread_cond_init(&c->changed, NULL) != 0) {
        pthread_mutex_destroy(&c->mutex);
        return false;
    }
    return true;
}

static void counter_destroy(counter *c) {
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
}

/* ---- The team ----------------------------------------------------------------------------- */

typedef struct worker {
    es_team *team;
    pthread_t thread;
    int member;
} worker;

struct es_team {
    counter start;   /* one more for each job */
    counter finish;  /* one more for each job that all workers have left */
    counter barrier; /* one more each time all members have come */
    counter news;    /* one more each time a member tells something */
    _Alignas(ES_ALIGN) atomic_int busy;
    _Alignas(ES_ALIGN) atomic_int arrived;
    es_job job; /* these four are written before start is bumped */
    void *context;
    pthread_t caller; /* who is member 0 of the job */
    bool stop;
    int members;
    bool room; /* each member can have a core */
    esrgan_allocator allocator;
    worker *workers; /* of members 1.. */
};

/* ---- Waiting ------------------------------------------------------------------------------ */

/* -1 where that is not known. */
static int current_cpu(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/*
 * Leaves a CPU, if this thread runs there.  Who has slept is often woken where its waker runs, though others
 * idle (virtual CPUs that their host has put aside do not count as idle); two members take turns there then,
 * until the system evens that out, which takes longer than a small picture.
 */
static void step_aside(int cpu) {
#if defined(__linux__)
    cpu_set_t all, others;
    if (cpu < 0 || cpu >= CPU_SETSIZE || cpu != current_cpu()) return;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    sched_setaffinity(0, sizeof all, &all); /* it may go anywhere again, and stays */
#else
    (void)cpu;
#endif
}

/* Only a team's own threads move, and where each member can have a core: the caller's stays where it is.  (Told
 * apart without a variable of the thread's own, which the loader's lock would guard.) */
static bool may_step_aside(const es_team *team) {
    return team->room && !pthread_equal(pthread_self(), team->caller);
}

static double spin_of(const es_team *team) { return team->room ? SPIN_ROOM : SPIN_CROWD; }

/* Returns once the value is no longer `old`: spins, lets others have the core in between until as many seconds as
 * `patience` are over, then sleeps. */
static void counter_wait(const es_team *team, counter *c, unsigned old, double patience) {
    const double begin = es_seconds(), spin = spin_of(team);
    double spent = 0;
    do {
        if (spent >= spin) sched_yield();
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&c->value, memory_order_acquire) != old) return;
            relax();
        }
        spent = es_seconds() - begin;
    } while (spent < patience);
    pthread_mutex_lock(&c->mutex);
    /* Announced before the value is looked at again; counter_bump does it the other way round, so
     * one of the two sees the other (both sequentially consistent). */
    atomic_fetch_add(&c->sleepers, 1);
    while (atomic_load(&c->value) == old) pthread_cond_wait(&c->changed, &c->mutex);
    atomic_fetch_sub(&c->sleepers, 1);
    const int waker = c->waker;
    pthread_mutex_unlock(&c->mutex);
    if (may_step_aside(team)) step_aside(waker);
}

static void counter_bump(counter *c) {
    atomic_fetch_add(&c->value, 1);
    if (atomic_load(&c->sleepers) == 0) return;
    pthread_mutex_lock(&c->mutex);
    c->waker = current_cpu();
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

/* ---- Members ------------------------------------------------------------------------------- */

static void *work(void *argument) {
    worker *self = argument;
    es_team *team = self->team;
    for (unsigned seen = 0;; seen++) {
        counter_wait(team, &team->start, seen, spin_of(team));
        if (team->stop) return NULL;
        team->job(team->context, self->member, team->members);
        if (atomic_fetch_sub(&team->busy, 1) == 1) counter_bump(&team->finish);
    }
}

static int create_thread(pthread_t *thread, void *(*start)(void *), void *argument) {
    if (es_thread_create_hook) return es_thread_create_hook(thread, start, argument);
    return pthread_create(thread, NULL, start, argument);
}

/* Ends and joins workers 0 .. count-1. */
static void end_workers(es_team *team, int count) {
    team->stop = true;
    counter_bump(&team->start);
    for (int i = 0; i < count; i++) pthread_join(team->workers[i].thread, NULL);
}

enum { COUNTERS = 4 };

static counter *counter_of(es_team *team, int number) {
    counter *const all[COUNTERS] = {&team->start, &team->finish, &team->barrier, &team->news};
    return all[number];
}

/* The first `count` of them. */
static void counters_destroy(es_team *team, int count) {
    while (count > 0) counter_destroy(counter_of(team, --count));
}

static bool counters_init(es_team *team) {
    for (int i = 0; i < COUNTERS; i++) {
        if (counter_init(counter_of(team, i))) continue;
        counters_destroy(team, i);
        return false;
    }
    return true;
}

static void team_release(es_team *team, bool counters) {
    if (counters) counters_destroy(team, COUNTERS);
    const esrgan_allocator a = team->allocator;
    es_free(&a, team->workers, (size_t)(team->members - 1) * sizeof *team->workers);
    es_free(&a, team, sizeof *team);
}

static esrgan_status start_workers(es_team *team, esrgan_error *error) {
    /* Signals are for the caller's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0, code = 0;
    for (; started < team->members - 1; started++) {
        worker *w = &team->workers[started];
        *w = (worker){.team = team, .member = started + 1};
        code = create_thread(&w->thread, work, w);
        if (code != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) return ESRGAN_OK;
    end_workers(team, started);
    return es_fail(error, ESRGAN_E_THREAD, "thread %d of %d could not be created (error %d)",
                   started + 1, team->members - 1, code);
}

esrgan_status es_team_create(es_team **out, int members, const esrgan_allocator *a,
                             esrgan_error *error) {
    *out = NULL;
    if (members < 1 || members > MAX_MEMBERS)
        return es_fail(error, ESRGAN_E_ARGUMENT, "threads is %d; must be 1 to %d", members,
                       MAX_MEMBERS);
    es_team *team = es_calloc(a, 1, sizeof *team);
    if (!team) return es_fail(error, ESRGAN_E_MEMORY, "no memory for a team of threads");
    team->allocator = *a;
    team->members = members;
    team->room = members <= es_cpu_count();
    atomic_init(&team->busy, 0);
    atomic_init(&team->arrived, 0);
    if (members > 1) {
        team->workers = es_calloc(a, (size_t)(members - 1), sizeof *team->workers);
        if (!team->workers) {
            team_release(team, false);
            return es_fail(error, ESRGAN_E_MEMORY, "no memory for a team of %d threads", members);
        }
    }
    if (!counters_init(team)) {
        team_release(team, false);
        return es_fail(error, ESRGAN_E_THREAD, "no mutex or condition variable to be had");
    }
    esrgan_status status = start_workers(team, error);
    if (status != ESRGAN_OK) {
        team_release(team, true);
        return status;
    }
    *out = team;
    return ESRGAN_OK;
}

void es_team_free(es_team *team) {
    if (!team) return;
    end_workers(team, team->members - 1);
    team_release(team, true);
}

void es_team_run(es_team *team, es_job job, void *context) {
    if (team->members == 1) {
        job(context, 0, 1);
        return;
    }
    const unsigned finished = atomic_load(&team->finish.value);
    team->job = job;
    team->context = context;
    team->caller = pthread_self();
    atomic_store(&team->busy, team->members - 1);
    counter_bump(&team->start);
    job(context, 0, team->members);
    counter_wait(team, &team->finish, finished, PATIENCE);
}

unsigned es_team_arrive(es_team *team) {
    if (team->members == 1) return 0;
    const unsigned round = atomic_load(&team->barrier.value);
    if (atomic_fetch_add(&team->arrived, 1) == team->members - 1) {
        atomic_store(&team->arrived, 0); /* before anybody can come again */
        counter_bump(&team->barrier);
    }
    return round;
}

void es_team_await(es_team *team, unsigned round) {
    if (team->members > 1) counter_wait(team, &team->barrier, round, PATIENCE);
}

void es_team_barrier(es_team *team) { es_team_await(team, es_team_arrive(team)); }

void es_team_tell(es_team *team) { counter_bump(&team->news); }

unsigned es_team_told(es_team *team) { return atomic_load(&team->news.value); }

void es_team_listen(es_team *team, unsigned told) {
    counter_wait(team, &team->news, told, PATIENCE);
}

/* ---- How many CPUs ------------------------------------------------------------------------ */

/* Reads a small text file; false where there is none. */
static bool read_text(const char *path, char *text, size_t size) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const ssize_t got = read(file, text, size - 1);
    close(file);
    if (got < 0) return false;
    text[got] = 0;
    return true;
}

static int cpus_of(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    const long long cpus = quota / period + (quota % period != 0);
    return cpus > MAX_MEMBERS ? 0 : (int)cpus;
}

static int quota_v2(const char *folder) {
    char path[1024], text[128];
    long long quota, period;
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= (int)sizeof path) return 0;
    if (!read_text(path, text, sizeof text)) return 0;
    return sscanf(text, "%lld %lld", &quota, &period) == 2 ? cpus_of(quota, period) : 0;
}

static int quota_v1(const char *folder) {
    char path[1024], quota[64], period[64];
    if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder) >= (int)sizeof path) return 0;
    if (!read_text(path, quota, sizeof quota)) return 0;
    if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder) >= (int)sizeof path) return 0;
    if (!read_text(path, period, sizeof period)) return 0;
    return cpus_of(atoll(quota), atoll(period));
}

/* The tightest quota of a cgroup and those above it, up to the mount. */
static int quota_upwards(const char *mount, const char *group, int (*quota)(const char *folder)) {
    char folder[900];
    const size_t root = strlen(mount);
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder) return 0;
    int tightest = 0;
    for (;;) {
        const int here = quota(folder);
        if (here > 0 && (tightest == 0 || here < tightest)) tightest = here;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= root || !slash || (size_t)(slash - folder) < root) return tightest;
        *slash = 0;
    }
}

static bool has_word(const char *list, const char *word) {
    const size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        if (*p == ',') p++;
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == 0)) return true;
    }
    return false;
}

int es_cgroup_cpus(const char *proc_file, const char *mount) {
    char text[4096];
    if (!read_text(proc_file, text, sizeof text)) return 0;
    int tightest = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        /* hierarchy:controllers:path */
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        controllers++;
        int here = 0;
        if (*controllers == 0) {
            here = quota_upwards(mount, group, quota_v2);
        } else if (has_word(controllers, "cpu")) {
            char cpu[512];
            if (snprintf(cpu, sizeof cpu, "%s/cpu", mount) < (int)sizeof cpu)
                here = quota_upwards(cpu, group, quota_v1);
        }
        if (here > 0 && (tightest == 0 || here < tightest)) tightest = here;
    }
    return tightest;
}

static int affinity_cpus(void) {
#if defined(__linux__)
    /* Room for 65536 CPUs: the call fails where the kernel's mask is larger than the buffer. */
    static const size_t size = 8192;
    cpu_set_t mask[8192 / sizeof(cpu_set_t)];
    if (sched_getaffinity(0, size, mask) == 0) return CPU_COUNT_S(size, mask);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

int es_cpu_count(void) {
    int cpus = affinity_cpus();
    if (cpus < 1) cpus = 1;
    if (cpus > MAX_MEMBERS) cpus = MAX_MEMBERS;
    const int quota = es_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 && quota < cpus ? quota : cpus;
}
