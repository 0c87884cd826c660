/*
 * A fixed team of threads.  The caller is member 0; members 1..n-1 sleep between jobs (after a
 * short spin).  One job at a time, started by the owner of the team.  Where there are as many cores, a member that
 * is woken where its waker runs goes to another one; where it may run is not changed by that.
 */
#ifndef ES_BASE_THREADS_H
#define ES_BASE_THREADS_H

#include <stdbool.h>

#include "base/memory.h"
#include "esrgan.h"

typedef struct es_team es_team;

/* What each member runs: `member` is 0 .. members-1. */
typedef void (*es_job)(void *context, int member, int members);

/* Creates members-1 threads; on failure those already there are ended and joined. */
esrgan_status es_team_create(es_team **team, int members, const esrgan_allocator *a,
                             esrgan_error *error);
void es_team_free(es_team *team); /* NULL is fine */

/* Runs job on every member and returns when all have finished. */
void es_team_run(es_team *team, es_job job, void *context);

/* Inside a job: waits until all members have come here.  Spins shortly, then lets others have the core in between,
 * then sleeps. */
void es_team_barrier(es_team *team);

/* The same in two halves: a member that has arrived may do something else that nobody waits for, and then
 * waits until all have, by the number that it got. */
unsigned es_team_arrive(es_team *team);
void es_team_await(es_team *team, unsigned round);

/* Inside a job: a member that has done what others may wait for tells all of them.  Who waits takes
 * the number of what has been told so far, looks for something to do, and if there is nothing waits,
 * as at a barrier, until more has been told. */
void es_team_tell(es_team *team);
unsigned es_team_told(es_team *team);
void es_team_listen(es_team *team, unsigned told);

/* A clock that never goes back. */
double es_seconds(void);

/* CPUs this process may use (affinity mask, and a cgroup's CPU quota where there is one). */
int es_cpu_count(void);

/* The quota part of it, rounded up: the tightest over the cgroups (v2 and v1) that `proc_file`
 * (as /proc/self/cgroup) names below `mount`; 0 where there is no limit. */
int es_cgroup_cpus(const char *proc_file, const char *mount);

/* Seam for tests: where set, stands in for pthread_create. */
extern int (*es_thread_create_hook)(void *thread, void *(*start)(void *), void *argument);

#endif
