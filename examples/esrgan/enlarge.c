#include "enlarge.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "progress.h"

bool enlarger_open(enlarger *e) {
    esrgan_error error;
    const char *limit = getenv("ESRGAN_MAX_MEMORY");
    /* Here the pictures count too, so the library's own reading of it is not enough.  What it
     * cannot read, it complains about. */
    if (!e->run.max_memory && limit) parse_bytes(limit, &e->run.max_memory);
    e->info.size = sizeof e->info;
    if (esrgan_model_get_info(e->model, &e->info, &error) != ESRGAN_OK) {
        complain("%s", error.message);
        return false;
    }
    e->session = session_open(e->model, &e->run);
    esrgan_session_info session = {.size = sizeof session};
    if (!e->session || esrgan_session_get_info(e->session, &session, NULL) != ESRGAN_OK)
        return false;
    e->threads = session.threads;
    return true;
}

void enlarger_close(enlarger *e) {
    esrgan_session_free(e->session);
    esrgan_session_free(e->fallback);
    e->session = e->fallback = NULL;
}

static int times(int size, double factor) {
    double result = floor(size * factor + 0.5);
    return result < 1 ? 1 : result > INT_MAX ? INT_MAX : (int)result;
}

void enlarger_size(const enlarger *e, int width, int height, int *out_width, int *out_height) {
    double factor = e->factor > 0 ? e->factor : e->info.scale;
    *out_width = times(width, factor);
    *out_height = times(height, factor);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static uint64_t run_bytes(const enlarger *e, int width, int height) {
    esrgan_session_options options;
    uint64_t bytes = 0;
    run_options(&e->run, &options);
    options.max_memory = 0;
    if (esrgan_estimate_memory(e->model, &options, 1, height, width, &bytes, NULL) != ESRGAN_OK)
        return 0;
    return bytes;
}

static uint64_t picture_bytes(double width, double height, int channels, int bits) {
    return (uint64_t)(width * height * channels * bits / 8);
}

/* What the pictures take: the one read, the network's, and the final one where it differs. */
static uint64_t pictures_bytes(const enlarger *e, const picture *in, int bits) {
    const esrgan_picture *p = &in->pixels;
    int width, height, scale = e->info.scale;
    enlarger_size(e, p->width, p->height, &width, &height);
    bool resized = width != p->width * scale || height != p->height * scale;
    uint64_t bytes = picture_bytes(p->width, p->height, p->channels, p->bits) +
                     picture_bytes((double)p->width * scale, (double)p->height * scale, p->channels,
                                   resized ? 16 : bits);
    return resized ? bytes + picture_bytes(width, height, p->channels, bits) : bytes;
}

/* What the network takes: for all of a picture, or a tile. */
static uint64_t network_bytes(const enlarger *e, const picture *in) {
    int width = in->pixels.width, height = in->pixels.height, reach = e->tile + 2 * e->tile_pad;
    if (e->tile && width > reach) width = reach;
    if (e->tile && height > reach) height = reach;
    return run_bytes(e, width, height);
}

uint64_t enlarger_bytes(const enlarger *e, const picture *in, int bits) {
    return network_bytes(e, in) + pictures_bytes(e, in, bits);
}

/* The largest tile with which a run stays within `room`; 0 where none does. */
static int fitting_tile(const enlarger *e, uint64_t room) {
    for (int tile = 2048; tile >= 32; tile /= 2)
        if (run_bytes(e, tile + 2 * e->tile_pad, tile + 2 * e->tile_pad) <= room) return tile;
    return 0;
}

/* Checks before anything is allocated what the run will take; says how to go on with less. */
static bool memory_suffices(const enlarger *e, const char *name, const picture *in, int bits) {
    uint64_t limit = e->run.max_memory;
    bool binding = limit != 0;
    if (!binding) limit = available_memory();
    if (!limit) return true;
    uint64_t run = network_bytes(e, in), held = pictures_bytes(e, in, bits);
    if (run + held <= limit) return true;
    int tile = held < limit ? fitting_tile(e, limit - held) : 0;
    char need[32], have[32], pictures[32], way[96] = "";
    if (tile && (!e->tile || tile < e->tile))
        snprintf(way, sizeof way, "; with -t %d it fits", tile);
    else
        snprintf(way, sizeof way, "; the pictures alone take %s", bytes_text(held, pictures));
    bytes_text(run + held, need);
    bytes_text(limit, have);
    if (!binding) {
        warn("%s: %s of memory will be needed and only %s is free%s", name, need, have, way);
        return true;
    }
    complain("%s: %s of memory would be needed (%llu bytes), --max-memory is %s%s", name, need,
             (unsigned long long)(run + held), have, way);
    return false;
}

/* ---- Running ------------------------------------------------------------------------------ */

/* Half precision can overflow where FP32 does not. */
static esrgan_session *fallback_session(enlarger *e, const char *name) {
    if (!e->fell_back)
        warn("%s: the result holds NaN or Inf at this precision: repeated with fp32", name);
    e->fell_back = true;
    if (e->fallback) return e->fallback;
    run_settings run = e->run;
    run.precision = ESRGAN_FP32;
    e->fallback = session_open(e->model, &run);
    return e->fallback;
}

static bool run_network(enlarger *e, const char *name, const esrgan_picture *in,
                        const esrgan_picture *out) {
    esrgan_error error;
    esrgan_status status = esrgan_upscale(e->session, in, out, &error);
    bool half = e->run.precision == ESRGAN_FP16 || e->run.precision == ESRGAN_BF16;
    if (status == ESRGAN_E_NONFINITE && half) {
        esrgan_session *session = fallback_session(e, name);
        if (!session) return false;
        status = esrgan_upscale(session, in, out, &error);
    }
    if (status == ESRGAN_OK) return true;
    if (status != ESRGAN_E_CANCELLED) complain("%s: %s", name, error.message);
    return false;
}

/* A part of a picture, without copying. */
static esrgan_picture part(const esrgan_picture *p, int x, int y, int width, int height) {
    esrgan_picture result = *p;
    result.data =
        (uint8_t *)p->data + (ptrdiff_t)y * p->stride + (ptrdiff_t)x * p->channels * p->bits / 8;
    result.width = width;
    result.height = height;
    return result;
}

static void copy_rows(const esrgan_picture *from, const esrgan_picture *to) {
    for (int y = 0; y < to->height; y++)
        memcpy((uint8_t *)to->data + y * to->stride, (uint8_t *)from->data + y * from->stride,
               (size_t)to->width * (size_t)to->channels * (size_t)to->bits / 8);
}

typedef struct span {
    int from, to;               /* the tile itself        */
    int padded_from, padded_to; /* with its surroundings */
} span;

/* Beginnings are multiples of what the model unshuffles by, or the pixels would fall out of step
 * with those of the whole picture. */
static span tile_span(const enlarger *e, int index, int size) {
    int unit = e->info.unshuffle;
    int tile = (e->tile + unit - 1) / unit * unit, pad = (e->tile_pad + unit - 1) / unit * unit;
    span s = {.from = index * tile};
    s.to = size - s.from > tile ? s.from + tile : size;
    s.padded_from = s.from > pad ? s.from - pad : 0;
    s.padded_to = size - s.to > pad ? s.to + pad : size;
    return s;
}

static bool run_tile(enlarger *e, const char *name, const esrgan_picture *in,
                     const esrgan_picture *out, span x, span y) {
    int scale = e->info.scale;
    esrgan_picture source = part(in, x.padded_from, y.padded_from, x.padded_to - x.padded_from,
                                 y.padded_to - y.padded_from);
    picture result = {0};
    bool good = picture_make(&result, name, source.width * scale, source.height * scale,
                             out->channels, out->bits) &&
                run_network(e, name, &source, &result.pixels);
    if (good) {
        int width = (x.to - x.from) * scale, height = (y.to - y.from) * scale;
        esrgan_picture inner = part(&result.pixels, (x.from - x.padded_from) * scale,
                                    (y.from - y.padded_from) * scale, width, height);
        esrgan_picture target = part(out, x.from * scale, y.from * scale, width, height);
        copy_rows(&inner, &target);
    }
    picture_free(&result);
    return good;
}

static bool run_tiles(enlarger *e, const char *name, const esrgan_picture *in,
                      const esrgan_picture *out) {
    span first = tile_span(e, 0, INT_MAX);
    int tile = first.to, columns = (in->width - 1) / tile + 1, rows = (in->height - 1) / tile + 1;
    double count = (double)columns * rows;
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++) {
            double done = (double)row * columns + column;
            progress_span(done / count, (done + 1) / count);
            if (!run_tile(e, name, in, out, tile_span(e, column, in->width),
                          tile_span(e, row, in->height)))
                return false;
        }
    return true;
}

static bool resample(const char *name, const picture *from, int width, int height, int bits,
                     picture *out) {
    esrgan_error error;
    if (!picture_make(out, name, width, height, from->pixels.channels, bits)) return false;
    if (esrgan_resize(&from->pixels, &out->pixels, ESRGAN_LANCZOS, &error) == ESRGAN_OK)
        return true;
    complain("%s: %s", name, error.message);
    return false;
}

bool enlarge(enlarger *e, const char *name, const picture *in, int bits, picture *out) {
    const esrgan_picture *p = &in->pixels;
    int width, height, scale = e->info.scale;
    enlarger_size(e, p->width, p->height, &width, &height);
    bool resized = width != p->width * scale || height != p->height * scale;
    picture whole = {0};
    memset(out, 0, sizeof *out);
    e->fell_back = false;
    /* Resampled from 16 bits: one rounding to 8, at the very end. */
    bool good = memory_suffices(e, name, in, bits) &&
                picture_make(&whole, name, p->width * scale, p->height * scale, p->channels,
                             resized ? 16 : bits);
    if (good)
        good =
            e->tile ? run_tiles(e, name, p, &whole.pixels) : run_network(e, name, p, &whole.pixels);
    if (good && resized) {
        good = resample(name, &whole, width, height, bits, out);
    } else if (good) {
        *out = whole;
        memset(&whole, 0, sizeof whole);
    }
    good = good && picture_copy_metadata(out, in);
    if (!good) picture_free(out);
    picture_free(&whole);
    return good;
}
