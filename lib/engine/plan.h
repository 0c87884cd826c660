/*
 * What the plain engine will do for a picture of one size: which operations go together, where
 * each value lies and for how long, how much memory that takes.  Made before anything is
 * computed, so an estimate is the plan's peak and nothing else.
 */
#ifndef ES_ENGINE_PLAN_H
#define ES_ENGINE_PLAN_H

#include "engine/engine.h"
#include "kernels.h"

/* Operations first .. last, the later ones applied in place to what the first has just computed.
 * Only the last one's value exists as a whole. */
typedef struct es_step {
    int first, last;
    int slot;     /* where the value lies */
    size_t chunk; /* pixels (of the value's planes) in a piece of work */
    size_t pieces;
    double work; /* for progress: multiply-adds */
} es_step;

/* Memory that is there for a while: taken before step `from`, given back before step `until`. */
typedef struct es_slot {
    size_t bytes;
    int from, until;
    bool busy; /* holds a value (used while planning) */
    void *data;
} es_slot;

typedef struct es_plan {
    const es_network *network;
    int height, width; /* of the picture */
    bool wide;         /* values are double */
    es_step *steps;
    int step_count;
    es_step result; /* handing the last value to the caller */
    int *slot_of;   /* of each operation's value; -1 where it is never there as a whole */
    int *last_step; /* the last step that reads it */
    int *readers;
    bool *wanted;        /* by the trace */
    const void **planes; /* room for the widest convolution's inputs */
    es_slot *slots;
    int slot_count;
    size_t weight_bytes;  /* for the largest weight and bias that cannot be used as they lie */
    size_t scratch_bytes; /* a member */
    double work;
    uint64_t peak; /* bytes taken from the meter, the plan itself included */
    void *memory;
    size_t memory_bytes;
} es_plan;

esrgan_status es_plan_create(es_plan *plan, const es_context *context, const es_kernels *kernels,
                             int height, int width, esrgan_error *error);
void es_plan_release(es_plan *plan, const es_context *context);

/* Height and width of an operation's value, and pixels of a plane. */
int es_plan_height(const es_plan *plan, int op);
int es_plan_width(const es_plan *plan, int op);
size_t es_plan_pixels(const es_plan *plan, int op);

/* The operation whose value a convolution reads in place of `input`: the input itself, or what a
 * nearest upsampling that is never written out reads; *zoom is its factor then, else 1. */
int es_plan_source(const es_plan *plan, int input, int *zoom);

/* True where the kernels can read this tensor as it lies in the file. */
bool es_plan_in_place(const es_context *context, const es_tensor *tensor);

/* Members that may work at once: OpenBLAS has a fixed number of buffers in the process. */
int es_plan_workers(const es_context *context);

#endif
