#include "gate.h"

/* Pictures that are read before there are cores for them. */
enum { AHEAD = 4 };

void gate_open(gate *g, int cores, uint64_t room) {
    *g = (gate){.cores = cores, .room = room};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
}

void gate_close(gate *g) {
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

static void leave(gate *g) {
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void gate_read(gate *g) {
    pthread_mutex_lock(&g->lock);
    while (g->read >= AHEAD) pthread_cond_wait(&g->changed, &g->lock);
    g->read++;
    leave(g);
}

void gate_unread(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->read--;
    leave(g);
}

static bool may_compute(const gate *g, bool small, uint64_t bytes) {
    if (g->held > 0 && g->held + bytes > g->room) return false;
    if (small) return g->large == 0 && g->large_waiting == 0 && g->small < g->cores;
    return g->large == 0 && g->small == 0;
}

void gate_compute(gate *g, bool small, uint64_t bytes) {
    pthread_mutex_lock(&g->lock);
    g->large_waiting += !small;
    while (!may_compute(g, small, bytes)) pthread_cond_wait(&g->changed, &g->lock);
    g->large_waiting -= !small;
    g->read--;
    g->small += small;
    g->large += !small;
    g->held += bytes;
    leave(g);
}

void gate_write(gate *g, bool small) {
    pthread_mutex_lock(&g->lock);
    g->small -= small;
    g->large -= !small;
    leave(g);
}

void gate_done(gate *g, uint64_t bytes) {
    pthread_mutex_lock(&g->lock);
    g->held -= bytes;
    leave(g);
}
