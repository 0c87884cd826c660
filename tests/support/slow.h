/* How much slower than a plain build on a plain machine this test may run: sanitizers are known,
 * valgrind and emulators say it with ESRGAN_TEST_SLOW=factor. */
#ifndef TEST_SLOW_H
#define TEST_SLOW_H

#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#endif

static inline double slow(void) {
    const char *factor = getenv("ESRGAN_TEST_SLOW");
#ifdef TEST_SANITIZED
    return factor != NULL ? atof(factor) : 20;
#else
    return factor != NULL ? atof(factor) : 1;
#endif
}

/* Long tables are gone through in steps of this: 1, or ESRGAN_TEST_SHARE where a sanitizer or an
 * emulator makes the whole of them too slow for every run. */
static inline unsigned share(void) {
    const char *step = getenv("ESRGAN_TEST_SHARE");
    return step != NULL && atoi(step) > 1 ? (unsigned)atoi(step) : 1;
}

/* Whether such a table's entry is left out this time; `entry` counts through all of them. */
static inline int left_out(unsigned *entry) { return (*entry)++ % share() != 0; }

#endif
