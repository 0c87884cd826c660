#include "trace_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "npy.h"

bool trace_write_begin(trace_writer *w, const char *path, bool stats_only) {
    *w = (trace_writer){.path = path, .stats_only = stats_only};
    w->packed = !strcmp(path_extension(path), "npz");
    if (w->packed ? !npz_create(&w->npz, path) : !make_folders(path)) return false;
    w->list = open_memstream(&w->text, &w->text_size);
    if (w->list) return true;
    complain("out of memory");
    if (w->packed) npz_abandon(&w->npz);
    return false;
}

/* Numbers that JSON has no word for stand there as text. */
static void write_number(FILE *to, double v, int digits) {
    if (isnan(v))
        fputs("\"nan\"", to);
    else if (isinf(v))
        fputs(v < 0 ? "\"-inf\"" : "\"inf\"", to);
    else
        fprintf(to, "%.*g", digits, v);
}

/*
 * A float by nine digits, which tell it from every other, as "%.9g" has them; three quarters of a
 * million of them are most of what a trace of statistics writes.
 */
static void write_float(FILE *to, double v) {
    const double size = fabs(v);
    if (!(size >= 1e-4 && size < 1e9)) { /* and what is no number */
        write_number(to, v, 9);
        return;
    }
    static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
    int after = 8; /* digits after the point */
    while (after > 0 && size >= tens[9 - after]) after--;
    while (after < 12 && size * tens[after] < 1e8) after++;
    uint64_t digits = (uint64_t)rint(size * tens[after]);
    char text[24], *at = text + sizeof text;
    for (; after > 0 && digits % 10 == 0; after--) digits /= 10;
    for (int i = 0; i < after || i == after || digits > 0; i++) {
        if (i == after && i > 0) *--at = '.';
        *--at = (char)('0' + digits % 10);
        digits /= 10;
    }
    if (v < 0) *--at = '-';
    fwrite(at, 1, (size_t)(text + sizeof text - at), to);
}

static void write_stats(FILE *to, esrgan_dtype dtype, const esrgan_statistics *stats) {
    const double figures[4] = {stats->min, stats->max, stats->mean, stats->rms};
    static const char *const names[4] = {"min", "max", "mean", "rms"};
    fputs("\"stats\": {", to);
    for (int i = 0; i < 4; i++) {
        fprintf(to, "\"%s\": ", names[i]);
        write_number(to, figures[i], 17);
        fputs(", ", to);
    }
    fprintf(to, "\"nan\": %llu, \"inf\": %llu, \"hash\": \"%016llx\",\n      \"samples\": [",
            (unsigned long long)stats->nan, (unsigned long long)stats->inf,
            (unsigned long long)stats->hash);
    for (int k = 0; k < stats->samples; k++) {
        if (k) putc(',', to);
        if (dtype == ESRGAN_F64)
            write_number(to, stats->sample[k], 17);
        else
            write_float(to, stats->sample[k]);
    }
    fputs("]}", to);
}

static size_t element_size(esrgan_dtype dtype) {
    return dtype == ESRGAN_F64 ? 8 : dtype == ESRGAN_F32 ? 4 : 1;
}

/* The bytes of a .npy header, the caller's to free. */
static char *npy_head(esrgan_dtype dtype, const int64_t dims[4], size_t *size) {
    char *head = NULL;
    FILE *memory = open_memstream(&head, size);
    bool good = memory && npy_write_header(memory, dtype == ESRGAN_U8 ? 'u' : 'f',
                                           (int)element_size(dtype), 4, dims);
    if (memory && fclose(memory) != 0) good = false;
    if (good) return head;
    complain("out of memory");
    free(head);
    return NULL;
}

static bool write_file(trace_writer *w, const char *name, const void *head, size_t head_size,
                       const void *body, size_t size) {
    if (w->packed) return npz_add(&w->npz, name, head, head_size, body, size);
    file_out out;
    char *path = path_join(w->path, name);
    bool good = path && file_create(&out, path);
    if (good) {
        fwrite(head, 1, head_size, out.stream); /* failures show at the commit */
        if (size > 0) fwrite(body, 1, size, out.stream);
        good = file_commit(&out);
    }
    free(path);
    return good;
}

bool trace_write_value(trace_writer *w, const char *name, const char *op, esrgan_dtype dtype,
                       const int64_t dims[4], const void *data, const esrgan_statistics *statistics,
                       const char *const *inputs) {
    static const char *const types[] = {"float32", "float64", "uint8"};
    fprintf(w->list, "%s\n    {\"index\": %d, \"name\": ", w->count ? "," : "", w->count);
    json_quote(w->list, name);
    fputs(", \"op\": ", w->list);
    json_quote(w->list, op);
    fprintf(w->list, ", \"shape\": [%lld, %lld, %lld, %lld], \"dtype\": \"%s\", \"inputs\": [",
            (long long)dims[0], (long long)dims[1], (long long)dims[2], (long long)dims[3],
            types[dtype]);
    for (int i = 0; inputs[i]; i++) {
        if (i) fputs(", ", w->list);
        json_quote(w->list, inputs[i]);
    }
    fputs("],\n      ", w->list);
    bool good = true;
    if (!w->stats_only) {
        size_t head_size;
        char *head = npy_head(dtype, dims, &head_size);
        char *file = text_format("%s.npy", name);
        good = head && file;
        if (good) {
            fputs("\"file\": ", w->list);
            json_quote(w->list, file);
            fputs(",\n      ", w->list);
            good = write_file(w, file, head, head_size, data,
                              (size_t)statistics->count * element_size(dtype));
        }
        free(head);
        free(file);
    }
    write_stats(w->list, dtype, statistics);
    putc('}', w->list);
    w->count++;
    return good;
}

bool trace_write_end(trace_writer *w, const char *head) {
    fputs("\n  ]\n}\n", w->list);
    bool good = fclose(w->list) == 0;
    w->list = NULL;
    char *start = text_format("{\n  \"format\": \"esrgan-trace\",\n  \"version\": 1,\n  %s,\n"
                              "  \"values\": [",
                              head);
    good = good && start &&
           write_file(w, "manifest.json", start, strlen(start), w->text, w->text_size);
    free(start);
    free(w->text);
    if (!w->packed) return good;
    if (good) return npz_commit(&w->npz);
    npz_abandon(&w->npz);
    return false;
}

void trace_write_abandon(trace_writer *w) {
    fclose(w->list);
    free(w->text);
    if (w->packed) npz_abandon(&w->npz);
}
