#include "npy.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"

static bool little_endian(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 1;
}

/* The value of a key in the header's dictionary; what follows the colon, blanks skipped. */
static const char *find_key(const char *text, const char *key) {
    char quoted[32];
    for (int i = 0; i < 2; i++) {
        snprintf(quoted, sizeof quoted, i ? "\"%s\"" : "'%s'", key);
        const char *at = strstr(text, quoted);
        if (!at) continue;
        at += strlen(quoted);
        at += strspn(at, " ");
        if (*at != ':') continue;
        at++;
        return at + strspn(at, " ");
    }
    return NULL;
}

static bool parse_type(const char *text, const char *name, npy_header *header) {
    char order = 0, kind = 0, quote = 0, end = 0;
    int bytes = 0;
    bool known =
        text && sscanf(text, "%c%c%c%d%c", &quote, &order, &kind, &bytes, &end) == 5 &&
        (quote == '\'' || quote == '"') && end == quote && strchr("<>=|", order) &&
        ((kind == 'f' && (bytes == 2 || bytes == 4 || bytes == 8)) || (kind == 'u' && bytes == 1));
    if (!known) {
        complain("%s: element type %.*s is not supported: expected f2, f4, f8 or u1", name,
                 text ? (int)strcspn(text, ",}") : 1, text ? text : "?");
        return false;
    }
    header->kind = kind;
    header->bytes = bytes;
    header->swapped = bytes > 1 && order == (little_endian() ? '>' : '<');
    return true;
}

static bool parse_shape(const char *text, const char *name, npy_header *header) {
    header->ndim = 0;
    header->count = 1;
    bool good = text && *text == '(';
    const char *at = good ? text + 1 : NULL;
    while (good) {
        at += strspn(at, " ,");
        if (*at == ')') break;
        char *end;
        long long number = strtoll(at, &end, 10);
        good = end != at && number >= 0 && header->ndim < NPY_MAX_DIMS &&
               !__builtin_mul_overflow(header->count, (size_t)number, &header->count);
        if (good) header->dims[header->ndim++] = number;
        at = end;
    }
    size_t bytes;
    if (good) good = !__builtin_mul_overflow(header->count, (size_t)header->bytes, &bytes);
    if (!good) complain("%s: damaged .npy: the shape makes no sense", name);
    return good;
}

bool npy_parse(const void *data, size_t size, uint64_t file_size, const char *name,
               npy_header *header) {
    const uint8_t *bytes = data;
    memset(header, 0, sizeof *header);
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        complain("%s: not a .npy file", name);
        return false;
    }
    bool longer = bytes[6] >= 2;
    if (bytes[6] < 1 || bytes[6] > 3) {
        complain("%s: .npy version %d.%d is not known", name, bytes[6], bytes[7]);
        return false;
    }
    size_t start = longer ? 12 : 10, length = (size_t)(bytes[8] | bytes[9] << 8);
    if (longer && size >= 12) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (size < start || size - start < length) {
        complain("%s: the file ends inside the .npy header", name);
        return false;
    }
    char *text = allocate(length + 1, 1);
    if (!text) return false;
    memcpy(text, bytes + start, length);
    const char *order = find_key(text, "fortran_order");
    header->fortran = order && !strncmp(order, "True", 4);
    header->offset = start + length;
    bool good = parse_type(find_key(text, "descr"), name, header) &&
                parse_shape(find_key(text, "shape"), name, header);
    free(text);
    if (!good) return false;
    uint64_t need = (uint64_t)header->count * (uint64_t)header->bytes;
    if (file_size < header->offset || file_size - header->offset < need) {
        complain("%s: truncated .npy: the shape asks for %llu bytes of data, %llu are there", name,
                 (unsigned long long)need,
                 (unsigned long long)(file_size > header->offset ? file_size - header->offset : 0));
        return false;
    }
    return true;
}

bool npy_check_dims(const npy_header *header, const char *name) {
    for (int i = 0; i < header->ndim; i++)
        if (header->dims[i] < 1 || header->dims[i] > INT_MAX) {
            complain("%s: dimension %d is %lld, expected 1 to %d", name, i,
                     (long long)header->dims[i], INT_MAX);
            return false;
        }
    return true;
}

static double from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0) {
        double value = fraction * (1.0 / 16777216);
        return sign ? -value : value;
    }
    uint32_t bits = exponent == 31 ? sign | 0x7f800000u | fraction << 13
                                   : sign | (exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static double element(const npy_header *header, const uint8_t *data, size_t index) {
    uint8_t raw[8];
    const uint8_t *at = data + index * (size_t)header->bytes;
    for (int i = 0; i < header->bytes; i++)
        raw[i] = at[header->swapped ? header->bytes - 1 - i : i];
    uint16_t half;
    float single;
    double wide;
    switch (header->bytes) {
    case 1: return raw[0];
    case 2: memcpy(&half, raw, 2); return from_half(half);
    case 4: memcpy(&single, raw, 4); return single;
    default: memcpy(&wide, raw, 8); return wide;
    }
}

/* Steps in C order through the stored elements, into one of the two arrays. */
static void walk(const npy_header *header, const void *data, float *f32, double *f64) {
    int64_t at[NPY_MAX_DIMS] = {0};
    size_t step[NPY_MAX_DIMS] = {0}, run = 1;
    for (int i = 0; i < header->ndim; i++) {
        int d = header->fortran ? i : header->ndim - 1 - i;
        step[d] = run;
        run *= (size_t)header->dims[d];
    }
    size_t source = 0;
    for (size_t i = 0; i < header->count; i++) {
        double value = element(header, data, source);
        if (f32)
            f32[i] = (float)value;
        else
            f64[i] = value;
        for (int d = header->ndim - 1; d >= 0; d--) {
            source += step[d];
            if (++at[d] < header->dims[d]) break;
            source -= step[d] * (size_t)header->dims[d];
            at[d] = 0;
        }
    }
}

void npy_to_f32(const npy_header *header, const void *data, float *out) {
    if (header->kind == 'f' && header->bytes == 4 && !header->swapped && !header->fortran) {
        memcpy(out, data, header->count * sizeof *out);
        return;
    }
    walk(header, data, out, NULL);
}

void npy_to_f64(const npy_header *header, const void *data, double *out) {
    walk(header, data, NULL, out);
}

bool npy_read(const char *path, npy_header *header, float **data) {
    file_bytes bytes;
    *data = NULL;
    if (!file_read(path, &bytes)) return false;
    const char *name = strcmp(path, "-") ? path : "standard input";
    bool good = npy_parse(bytes.data, bytes.size, bytes.size, name, header);
    if (good) *data = allocate(header->count, sizeof **data);
    good = good && *data;
    if (good) npy_to_f32(header, bytes.data + header->offset, *data);
    file_bytes_free(&bytes);
    return good;
}

bool npy_write_header(FILE *to, char kind, int bytes, int ndim, const int64_t *dims) {
    char text[512];
    int used = snprintf(text, sizeof text, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (",
                        bytes == 1 ? '|' : '<', kind, bytes);
    for (int i = 0; i < ndim; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld,%s", (long long)dims[i],
                         i + 1 < ndim ? " " : "");
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    /* The data begin at a multiple of 64, a newline before them. */
    while ((10 + used + 1) % 64) text[used++] = ' ';
    text[used++] = '\n';
    uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)used, (uint8_t)(used >> 8)};
    return fwrite(start, 1, sizeof start, to) == sizeof start &&
           fwrite(text, 1, (size_t)used, to) == (size_t)used;
}

/* Little-endian bytes of float32 numbers, whatever this machine's order. */
static bool write_floats(FILE *to, const float *data, size_t count) {
    if (little_endian()) return fwrite(data, sizeof *data, count, to) == count;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &data[i], 4);
        uint8_t raw[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                          (uint8_t)(bits >> 24)};
        if (fwrite(raw, 1, 4, to) != 4) return false;
    }
    return true;
}

bool npy_write(const char *path, int ndim, const int64_t *dims, const float *data) {
    file_out out;
    if (!file_create(&out, path)) return false;
    size_t count = 1;
    for (int i = 0; i < ndim; i++) count *= (size_t)dims[i];
    if (npy_write_header(out.stream, 'f', 4, ndim, dims) && write_floats(out.stream, data, count))
        return file_commit(&out);
    complain("%s: writing failed: %s", path, strerror(errno));
    file_abandon(&out);
    return false;
}
