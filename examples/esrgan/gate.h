/*
 * When pictures of a batch that are worked at side by side, each by a thread of its own, are read, computed
 * and written.  The network has the machine's cores: one picture at a time runs on all of them, or several
 * small ones on one each.  Files are read and written meanwhile.
 */
#ifndef GATE_H
#define GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int cores;
    int read;            /* pictures being read, or waiting for cores                       */
    int small, large;    /* computed on one core, on all                                    */
    int large_waiting;   /* lest small ones go on for ever                                  */
    uint64_t held, room; /* bytes that pictures take from when they are computed until written */
} gate;

/* `room`: bytes that pictures being computed and written may take together; one may always be. */
void gate_open(gate *g, int cores, uint64_t room);
void gate_close(gate *g);

/* A thread's steps, each of which may wait: to read a picture, ... */
void gate_read(gate *g);
/* ... to compute it, which takes so many bytes, on one core or all, ... */
void gate_compute(gate *g, bool small, uint64_t bytes);
/* ... to write it: its cores are free now, ... */
void gate_write(gate *g, bool small);
/* ... and when it is written, or given up. */
void gate_done(gate *g, uint64_t bytes);

/* In place of all but the first step: it could not be read. */
void gate_unread(gate *g);

#endif
