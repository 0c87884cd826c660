#include "reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "slow.h"

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* other load is not to count */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *limited_alloc(void *context, size_t size, size_t alignment) {
    reading *r = context;
    r->used++;
    if (r->allowed >= 0 && r->used > r->allowed) return NULL;
    return r->meter.allocator.alloc(&r->meter, size, alignment);
}

static void limited_release(void *context, void *pointer, size_t size) {
    reading *r = context;
    r->meter.allocator.release(&r->meter, pointer, size);
}

void reading_open(reading *r, const void *data, size_t size, const es_checkpoint_options *options,
                  long allowed) {
    memset(r, 0, sizeof *r);
    es_meter_init(&r->meter, NULL, 0);
    r->allowed = -1;
    r->copy = malloc(size > 0 ? size : 1);
    if (r->copy == NULL) abort();
    if (size > 0) memcpy(r->copy, data, size);
    esrgan_allocator a = {limited_alloc, limited_release, r};
    assert_int_equal(
        es_bytes_open_memory(&r->bytes, r->copy, size, "forged.pth", false, 0, &a, NULL),
        ESRGAN_OK);
    r->allowed = allowed;
    r->used = 0;
    double start = cpu_seconds();
    r->status = es_checkpoint_open(&r->checkpoint, &r->bytes, options, &a, &r->error);
    r->seconds = cpu_seconds() - start;
    if ((r->status == ESRGAN_OK) != (r->checkpoint != NULL)) fail_msg("status and handle disagree");
    if (r->status != ESRGAN_OK && r->error.status != r->status) fail_msg("no message");
}

void reading_close(reading *r) {
    esrgan_allocator a = {limited_alloc, limited_release, r};
    es_checkpoint_free(r->checkpoint);
    es_bytes_close(&r->bytes, &a);
    free(r->copy);
    assert_int_equal(r->meter.now, 0);
}

void expect_refused(const forge *file, const es_checkpoint_options *options, esrgan_status status,
                    const char *text) {
    reading r;
    reading_open(&r, file->data, file->size, options, -1);
    if (r.status != status || strstr(r.error.message, text) == NULL) {
        fail_msg("expected %d '%s', got %d '%s'", status, text, r.status, r.error.message);
    }
    assert_int_equal(strncmp(r.error.message, "forged.pth: ", 12), 0);
    reading_close(&r);
}

static void open_and_read(const uint8_t *data, size_t size) {
    reading r;
    reading_open(&r, data, size, NULL, -1);
    if (r.seconds > slow()) fail_msg("opening took %g s", r.seconds);
    for (size_t i = 0; r.checkpoint != NULL && i < r.checkpoint->count; i++) {
        const es_tensor *t = &r.checkpoint->tensors[i];
        if (t->numel > 1000) continue; /* changed into something that repeats itself */
        double values[1000];
        es_tensor_read_f64(t, values);
        assert_ptr_equal(es_checkpoint_find(r.checkpoint, t->name), t);
    }
    reading_close(&r);
}

void expect_robust(const forge *file) {
    for (size_t size = 0; size < file->size; size++) open_and_read(file->data, size);
    uint8_t *changed = malloc(file->size);
    if (changed == NULL) abort();
    memcpy(changed, file->data, file->size);
    for (size_t at = 0; at < file->size; at++) {
        const uint8_t was = changed[at];
        const uint8_t values[] = {
            (uint8_t)(was ^ 1), (uint8_t)(was ^ 0x80), (uint8_t)~was, (uint8_t)(was + 1), 0, 0xff};
        for (size_t i = 0; i < sizeof values; i++) {
            changed[at] = values[i];
            open_and_read(changed, file->size);
        }
        changed[at] = was;
    }
    free(changed);
}

void expect_memory_errors(const forge *file, const es_checkpoint_options *options) {
    for (long allowed = 0; allowed < 1000; allowed++) {
        reading r;
        reading_open(&r, file->data, file->size, options, allowed);
        esrgan_status status = r.status;
        reading_close(&r);
        if (status == ESRGAN_OK) {
            assert_true(allowed > 3);
            return;
        }
        assert_int_equal(status, ESRGAN_E_MEMORY);
    }
    fail_msg("never opened");
}
