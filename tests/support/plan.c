#include "plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void plan_make(made_plan *made, const es_network *network, const es_native_kernels *kernels,
               int members, int height, int width) {
    made->memory = es_allocator(NULL);
    es_meter_init(&made->meter, &made->memory, 0);
    es_context context = {.network = network,
                          .members = members,
                          .meter = &made->meter,
                          .precision = ESRGAN_FP32,
                          .backend = ESRGAN_NATIVE};
    assert_int_equal(
        es_native_plan_create(&made->plan, &context, kernels, NULL, height, width, NULL),
        ESRGAN_OK);
}

void plan_drop(made_plan *made) {
    es_native_plan_free(made->plan);
    assert_int_equal(made->meter.now, 0);
}

int plan_largest(const es_network *network, const es_native_kernels *kernels, int members,
                 int height, int width, int (*of)(const es_stage *stage)) {
    made_plan made;
    plan_make(&made, network, kernels, members, height, width);
    int largest = of(&made.plan->stages[0]);
    for (int i = 1; i < made.plan->stage_count; i++)
        largest = es_at_least(largest, of(&made.plan->stages[i]));
    plan_drop(&made);
    return largest;
}
