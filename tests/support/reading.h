/* Opening forged files: from an exact copy (so that a sanitizer sees one byte too many), with an
 * allocator that counts and that fails when told to. */
#ifndef TEST_READING_H
#define TEST_READING_H

#include "checkpoint/checkpoint.h"
#include "forge.h"

typedef struct reading {
    es_checkpoint *checkpoint; /* NULL unless status is ESRGAN_OK */
    esrgan_status status;
    esrgan_error error;
    double seconds; /* of CPU that opening took */
    es_bytes bytes;
    es_meter meter;
    uint8_t *copy;
    long allowed, used; /* allocations: how many succeed (-1: all); how many were asked for */
} reading;

void reading_open(reading *r, const void *data, size_t size, const es_checkpoint_options *options,
                  long allowed);

/* Closes and asserts that nothing leaked. */
void reading_close(reading *r);

/* Opens, asserts the status, a text in the message and the file's name before it. */
void expect_refused(const forge *file, const es_checkpoint_options *options, esrgan_status status,
                    const char *text);

/* Every truncation, and each byte changed in several ways: a status, no leak, no hang. */
void expect_robust(const forge *file);

/* Each allocation failing in turn: ESRGAN_E_MEMORY until it opens. */
void expect_memory_errors(const forge *file, const es_checkpoint_options *options);

#endif
