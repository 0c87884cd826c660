/* A plan of the native engine in FP32, for tests that look into it. */
#ifndef TEST_PLAN_H
#define TEST_PLAN_H

#include "engine/native_plan.h"

typedef struct made_plan {
    es_native_plan *plan;
    esrgan_allocator memory;
    es_meter meter;
} made_plan;

/* Makes a plan for so many members; fails the test where that fails. */
void plan_make(made_plan *made, const es_network *network, const es_native_kernels *kernels,
               int members, int height, int width);

/* Of the stages of a plan that is made for this: the largest of what `of` says of one. */
int plan_largest(const es_network *network, const es_native_kernels *kernels, int members,
                 int height, int width, int (*of)(const es_stage *stage));

/* Releases it; fails the test where something is left. */
void plan_drop(made_plan *made);

#endif
