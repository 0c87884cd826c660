/*
 * Structs of the public interface that begin with their own size, and may grow at their end: a
 * caller built against an older header hands in a shorter one.
 */
#ifndef ES_BASE_OPTIONS_H
#define ES_BASE_OPTIONS_H

#include <stddef.h>

#include "base/status.h"

/*
 * Copies the members that the caller's struct has over `full`, which holds the defaults.  `given`
 * may be NULL: the defaults stay.  A longer struct than this library knows is taken only where the
 * rest is zero.  Afterwards the size in `full` is full_size.
 */
esrgan_status es_options_read(void *full, size_t full_size, const void *given, const char *what,
                              esrgan_error *error);

/* Fills in the members that the caller's struct has room for; its size member stays as it is. */
esrgan_status es_info_write(void *out, const void *full, size_t full_size, const char *what,
                            esrgan_error *error);

#endif
