#include "trace_file.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "npy.h"

bool trace_is(const char *path) {
    if (is_folder(path)) return true;
    const char *extension = path_extension(path);
    return !strcmp(extension, "npz");
}

/* The bytes of one file of a trace; either mapped, in place, or inflated. */
typedef struct blob {
    const uint8_t *data;
    size_t size;
    mapped_file file;
    void *owned;
} blob;

static bool blob_open(const trace_file *trace, const char *name, const char *shown, blob *b) {
    *b = (blob){0};
    if (trace->packed) {
        const npz_member *member = npz_find(&trace->npz, name);
        if (!member) {
            complain("%s: missing from the trace, though its manifest lists it", shown);
            return false;
        }
        b->data = npz_bytes(&trace->npz, member, &b->owned);
        b->size = (size_t)member->size;
        return b->data != NULL;
    }
    if (!map_file(&b->file, shown)) return false;
    b->data = b->file.data;
    b->size = b->file.size;
    return true;
}

static void blob_close(blob *b) {
    unmap_file(&b->file);
    free(b->owned);
}

static bool read_manifest(trace_file *trace) {
    char message[256];
    char *shown = path_join(trace->path, "manifest.json");
    if (!shown) return false;
    bool there = trace->packed ? npz_find(&trace->npz, "manifest.json") != NULL : is_file(shown);
    blob b = {0};
    bool good = false;
    if (!there) {
        complain("%s: missing; expected the manifest that 'esrgan trace' or esrgan_trace_hooks.py "
                 "writes beside the .npy files",
                 shown);
    } else if (blob_open(trace, "manifest.json", shown, &b)) {
        trace->manifest = json_parse((const char *)b.data, b.size, message, sizeof message);
        if (!trace->manifest)
            complain("%s: not JSON: %s", shown, message);
        else if (strcmp(node_text(trace->manifest, "format", ""), "esrgan-trace") != 0)
            complain("%s: expected \"format\": \"esrgan-trace\"", shown);
        else if (node_number(trace->manifest, "version", 1) != 1)
            complain("%s: version %g, expected 1", shown,
                     node_number(trace->manifest, "version", 1));
        else
            good = true;
    }
    blob_close(&b);
    free(shown);
    return good;
}

/* Sizes from a manifest's shape; leaves zeros where it has none. */
static void read_shape(trace_value *value) {
    const json_node *shape = node_get(value->about, "shape");
    int dims[4] = {1, 1, 1, 1}, n = 0;
    if (!shape || shape->type != JSON_ARRAY) return;
    for (const json_node *d = shape->child; d; d = d->next, n++) {
        if (n == 4 || d->type != JSON_NUMBER || !(d->number >= 1 && d->number <= INT_MAX)) return;
        dims[n] = (int)d->number;
    }
    if (n < 3) return;
    int *at = dims + n - 3;
    *value = (trace_value){.raw = value->raw,
                           .op = value->op,
                           .file = value->file,
                           .nhwc = value->nhwc,
                           .c = value->nhwc ? at[2] : at[0],
                           .h = value->nhwc ? at[0] : at[1],
                           .w = value->nhwc ? at[1] : at[2],
                           .about = value->about};
}

/* How many blocks and up stages names speak of that only make sense with these numbers: those of
 * the old layout and of ONNX.  -1 where there are none such. */
static void count_stages(const trace_file *trace, int *blocks, int *ups) {
    int highest = -1, top = -1, resized = 0, n, end;
    for (int i = 0; i < trace->count; i++) {
        const char *raw = trace->values[i].raw;
        end = 0;
        if (sscanf(raw, "model.1.sub.%4d%n", &n, &end) == 1 && end && n > highest) highest = n;
        end = 0;
        if (sscanf(raw, "model.%4d%n", &n, &end) == 1 && end && n > top) top = n;
        if (sscanf(raw, "/model/model.1/sub/sub.%4d/", &n) == 1 && n > highest) highest = n;
        if (sscanf(raw, "/model/model.%4d/", &n) == 1 && n > top) top = n;
        resized += strstr(raw, "/Resize") != NULL;
    }
    *blocks = highest; /* the trunk's convolution follows the last block */
    *ups = resized > 0 ? resized : top >= 4 && (top - 4) % 3 == 0 ? (top - 4) / 3 : -1;
}

static bool read_values(trace_file *trace, const name_map *map) {
    const json_node *list = node_get(trace->manifest, "values");
    int count = 0, blocks, ups;
    if (list && list->type == JSON_ARRAY)
        for (const json_node *m = list->child; m; m = m->next) count++;
    if (count == 0) {
        complain("%s: manifest.json lists no values; expected \"values\": [{\"name\": ...}, ...]",
                 trace->path);
        return false;
    }
    trace->values = allocate((size_t)count, sizeof *trace->values);
    if (!trace->values) return false;
    const char *layout = node_text(trace->manifest, "layout", "NCHW");
    trace->stats_only = true;
    for (const json_node *m = list->child; m; m = m->next) {
        trace_value *value = &trace->values[trace->count];
        value->raw = node_text(m, "name", NULL);
        if (!value->raw) {
            complain("%s: manifest.json: value %d has no \"name\"", trace->path, trace->count);
            return false;
        }
        value->about = m;
        value->op = node_text(m, "op", "");
        value->file = node_text(m, "file", NULL);
        value->nhwc = !strcmp(node_text(m, "layout", layout), "NHWC");
        if (value->file) trace->stats_only = false;
        read_shape(value);
        trace->count++;
    }
    count_stages(trace, &blocks, &ups);
    for (int i = 0; i < trace->count; i++)
        layer_name(trace->values[i].raw, map, blocks, ups, trace->values[i].name);
    return true;
}

bool trace_open(trace_file *trace, const char *path, const name_map *map) {
    *trace = (trace_file){.path = path, .packed = !is_folder(path)};
    bool good = (!trace->packed || npz_open(&trace->npz, path)) && read_manifest(trace) &&
                read_values(trace, map);
    if (good) {
        trace->precision = node_text(trace->manifest, "precision", "");
        trace->backend = node_text(trace->manifest, "backend", "");
        trace->model_sha256 = node_text(node_get(trace->manifest, "model"), "sha256", "");
    } else {
        trace_close(trace);
    }
    return good;
}

void trace_close(trace_file *trace) {
    json_node_free(trace->manifest);
    free(trace->values);
    if (trace->packed) npz_close(&trace->npz);
    *trace = (trace_file){0};
}

const trace_value *trace_find(const trace_file *trace, const char *name) {
    for (int i = 0; i < trace->count; i++)
        if (!strcmp(trace->values[i].name, name)) return &trace->values[i];
    return NULL;
}

/* The last three of an array's two to four dimensions; false, having complained, where there are others, or
 * no pictures. */
static bool last_three(const npy_header *header, const char *shown, int dims[3]) {
    if (header->ndim < 2 || header->ndim > 4) {
        complain("%s: an array of %d dimensions, expected N x C x H x W (or N x H x W x C)", shown,
                 header->ndim);
        return false;
    }
    if (!npy_check_dims(header, shown)) return false;
    for (int i = 0; i < 3; i++) {
        int d = header->ndim - 3 + i;
        dims[i] = d < 0 ? 1 : (int)header->dims[d];
    }
    return true;
}

static bool from_npy(const uint8_t *data, size_t size, const char *shown, bool nhwc,
                     const tensor *like, tensor *to) {
    npy_header header;
    int d[3];
    to->v = NULL;
    if (!npy_parse(data, size, size, shown, &header)) return false;
    if (!last_three(&header, shown, d)) return false;
    bool as_nchw = like && d[0] == like->c && d[1] == like->h && d[2] == like->w;
    bool as_nhwc = like && d[2] == like->c && d[0] == like->h && d[1] == like->w;
    nhwc = nhwc || (as_nhwc && !as_nchw);
    size_t one = (size_t)d[0] * (size_t)d[1] * (size_t)d[2];
    bool good = nhwc ? tensor_make(to, d[2], d[0], d[1]) : tensor_make(to, d[0], d[1], d[2]);
    if (good && !nhwc && one == header.count) {
        npy_to_f64(&header, data + header.offset, to->v);
        return true;
    }
    double *all = good ? allocate(header.count, sizeof *all) : NULL;
    if (!all) {
        tensor_free(to);
        return false;
    }
    npy_to_f64(&header, data + header.offset, all); /* of a batch the first picture is taken */
    size_t c = (size_t)to->c, pixels = one / c;
    for (size_t i = 0; i < one; i++) to->v[nhwc ? i % c * pixels + i / c : i] = all[i];
    free(all);
    return true;
}

bool trace_load(const trace_file *trace, const trace_value *value, const tensor *like, tensor *to) {
    char *shown = path_join(trace->path, value->file);
    blob b;
    to->v = NULL;
    bool good = shown && blob_open(trace, value->file, shown, &b);
    if (good) {
        good = from_npy(b.data, b.size, shown, value->nhwc, like, to);
        blob_close(&b);
    }
    if (good && value->c && (to->c != value->c || to->h != value->h || to->w != value->w)) {
        complain("%s: holds %d x %d x %d, but manifest.json says %d x %d x %d", shown, to->c, to->h,
                 to->w, value->c, value->h, value->w);
        tensor_free(to);
        good = false;
    }
    free(shown);
    return good;
}

static double sample(const json_node *node) {
    if (node->type == JSON_NUMBER) return node->number;
    if (node->type == JSON_STRING && strstr(node->string, "inf"))
        return node->string[0] == '-' ? -INFINITY : INFINITY;
    return NAN;
}

/* A count: 0 where there is no number that can be one. */
static uint64_t count_of(const json_node *object, const char *key) {
    const double number = node_number(object, key, 0);
    return number >= 0 && number < 0x1p63 ? (uint64_t)number : 0;
}

bool trace_stats(const trace_value *value, esrgan_statistics *stats) {
    const json_node *s = node_get(value->about, "stats"), *samples = node_get(s, "samples");
    if (!s || !samples || samples->type != JSON_ARRAY) return false;
    *stats =
        (esrgan_statistics){.nan = count_of(s, "nan"),
                            .inf = count_of(s, "inf"),
                            .min = node_number(s, "min", NAN),
                            .max = node_number(s, "max", NAN),
                            .mean = node_number(s, "mean", NAN),
                            .rms = node_number(s, "rms", NAN),
                            .hash = strtoull(node_text(s, "hash", "0"), NULL, 16),
                            .count = (uint64_t)value->c * (uint64_t)value->h * (uint64_t)value->w};
    for (const json_node *n = samples->child; n && stats->samples < ESRGAN_SAMPLES; n = n->next)
        stats->sample[stats->samples++] = sample(n);
    return true;
}

bool tensor_read(const char *path, const tensor *like, tensor *to) {
    mapped_file file;
    npz_reader npz;
    void *owned = NULL;
    bool good;
    to->v = NULL;
    if (strcmp(path_extension(path), "npz") != 0) {
        if (!map_file(&file, path)) return false;
        good = from_npy(file.data, file.size, path, false, like, to);
        unmap_file(&file);
        return good;
    }
    if (!npz_open(&npz, path)) return false;
    good = npz.count == 1;
    if (!good)
        complain("%s: %zu arrays, expected one, or a trace with manifest.json", path, npz.count);
    const uint8_t *data = good ? npz_bytes(&npz, &npz.members[0], &owned) : NULL;
    good = data && from_npy(data, (size_t)npz.members[0].size, path, false, like, to);
    free(owned);
    npz_close(&npz);
    return good;
}
