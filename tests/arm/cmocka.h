/* As much of cmocka as test_native_kernels.c uses, for a cross build without libraries. */
#ifndef ARM_CMOCKA_H
#define ARM_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(f)                                                                        \
    { #f, f }

#define arm_assert(x)                                                                              \
    do {                                                                                           \
        if (!(x)) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1);                 \
    } while (0)
#define assert_true(x)                  arm_assert(x)
#define assert_int_equal(a, b)          arm_assert((a) == (b))
#define assert_ptr_not_equal(a, b)      arm_assert((a) != (b))
#define assert_string_equal(a, b)       arm_assert(strcmp(a, b) == 0)
#define fail_msg(...)                   (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define cmocka_run_group_tests(t, a, b) arm_run(t, sizeof(t) / sizeof *(t))

int arm_run(const struct CMUnitTest *tests, size_t count);

#endif
