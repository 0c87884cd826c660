/* Filling in esrgan_error.  Knows nothing of the rooms below. */
#ifndef ES_BASE_STATUS_H
#define ES_BASE_STATUS_H

#include "esrgan.h"

#if defined(__GNUC__)
#define ES_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ES_PRINTF(f, a)
#endif

/*
 * Writes status and message to `error` (which may be NULL) and returns `status`, so that failing
 * is one statement: return es_fail(error, ESRGAN_E_SHAPE, "%s: ...", ...).  Control characters and
 * broken UTF-8 in the result are replaced by '?': names come out of files.
 */
esrgan_status es_fail(esrgan_error *error, esrgan_status status, const char *format, ...)
    ES_PRINTF(3, 4);

#endif
