#include "npy.h"

#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"

/* The value of 'name': in the header, up to `size` - 1 characters of it. */
static bool member(const char *header, const char *name, char *value, size_t size) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", name);
    const char *at = strstr(header, quoted);
    if (at == NULL) return false;
    snprintf(value, size, "%s", at + strlen(quoted) + strspn(at + strlen(quoted), " '"));
    return true;
}

static bool parse_shape(const char *text, npy *out) {
    if (*text++ != '(') return false;
    out->count = 1;
    for (out->ndim = 0; *text != ')'; out->ndim++) {
        char *end;
        long long n = strtoll(text, &end, 10);
        if (end == text || n < 0 || n > 1 << 28 || out->ndim == NPY_MAX_DIMS) return false;
        out->shape[out->ndim] = n;
        out->count *= (size_t)n;
        if (out->count > 1u << 28) return false;
        text = end + strspn(end, ", ");
    }
    return true;
}

bool npy_read(FILE *file, npy *out) {
    *out = (npy){0};
    unsigned char start[10];
    char header[1024], type[8], order[8], shape[128];
    if (fread(start, 1, sizeof start, file) != sizeof start) return false;
    if (memcmp(start, "\x93NUMPY\x01", 7) != 0) return false;
    size_t length = (size_t)(start[8] | start[9] << 8);
    if (length >= sizeof header || fread(header, 1, length, file) != length) return false;
    header[length] = 0;
    if (!member(header, "descr", type, 4) || !member(header, "fortran_order", order, 6) ||
        !member(header, "shape", shape, sizeof shape))
        return false;
    if (strcmp(order, "False") != 0 || !parse_shape(shape, out)) return false;

    es_dtype dtype = strcmp(type, "<f8") == 0   ? ES_F64
                     : strcmp(type, "<f4") == 0 ? ES_F32
                     : strcmp(type, "<f2") == 0 ? ES_F16
                     : strcmp(type, "<u2") == 0 ? ES_BF16
                                                : ES_BOOL;
    if (dtype == ES_BOOL) return false;
    size_t bytes = out->count * es_dtype_size(dtype);
    void *raw = malloc(bytes + 1);
    out->data = malloc(out->count * sizeof(double) + 1);
    bool ok = raw != NULL && out->data != NULL && fread(raw, 1, bytes, file) == bytes;
    for (size_t i = 0; ok && i < out->count; i++) out->data[i] = es_dtype_get(raw, dtype, i);
    free(raw);
    if (!ok) npy_free(out);
    return ok;
}

void npy_free(npy *array) {
    free(array->data);
    *array = (npy){0};
}
