/* What others hand to the compare command: a trace in an .npz, or an array in an .npy, by the names that
 * files have. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../examples/esrgan/command.h"
#include "../../examples/esrgan/npy.h"
#include "../../examples/esrgan/trace_file.h"
#include "fuzz.h"

/* ---- What the command says --------------------------------------------------------------------- */

int quiet = 1;
static int complaints;

void complain(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length <= 0) abort();
    complaints++;
}

/* Who fails has complained, who does not has not. */
static bool fuzz_told(bool good) {
    if (good != (complaints == 0)) abort();
    complaints = 0;
    return good;
}

/* ---- Arrays and traces ------------------------------------------------------------------------- */

/* Reads here and there: outside of the memory, a sanitizer stops us. */
static void use(const tensor *t) {
    const size_t count = tensor_count(t);
    if (t->c < 1 || t->h < 1 || t->w < 1) abort();
    const volatile double *v = t->v;
    for (size_t i = 0; i < count; i += 1 + count / 64) (void)v[i];
    (void)v[count - 1];
}

static void array(const char *path) {
    const tensor like = {.c = 3, .h = 2, .w = 2};
    for (int i = 0; i < 2; i++) {
        tensor t;
        if (!fuzz_told(tensor_read(path, i ? &like : NULL, &t))) continue;
        use(&t);
        tensor_free(&t);
    }
    npy_header header;
    float *data;
    if (fuzz_told(npy_read(path, &header, &data))) free(data);
}

static void trace(const char *path) {
    trace_file t;
    if (!fuzz_told(trace_open(&t, path, NULL))) return;
    for (int i = 0; i < t.count && i < 32; i++) {
        const trace_value *value = &t.values[i];
        static esrgan_statistics statistics;
        if (memchr(value->name, 0, sizeof value->name) == NULL) abort();
        if (trace_stats(value, &statistics) && statistics.samples > ESRGAN_SAMPLES) abort();
        tensor like = {.c = 2, .h = 3, .w = 4}, data;
        if (value->file == NULL || !fuzz_told(trace_load(&t, value, i % 2 ? &like : NULL, &data)))
            continue;
        use(&data);
        tensor_free(&data);
    }
    trace_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int fd = memfd_create("fuzz", 0);
    uint8_t *file = fuzz_with_checksums(data, size);
    if (fd < 0 || write(fd, file, size) != (ssize_t)size) abort();
    free(file);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (size > 1 && data[0] == 'P' && data[1] == 'K')
        trace(path);
    else
        array(path);
    close(fd);
    return 0;
}
