#include "picture/bleed.h"

#include <string.h>

#include "base/status.h"

#define FAR UINT32_MAX
enum { STRAIGHT = 5, DIAGONAL = 7 }; /* a chamfer distance: 7 / 5 is near sqrt 2 */

size_t es_bleed_bytes(const esrgan_picture *in) {
    return (size_t)in->width * (size_t)in->height * (size_t)es_picture_colours(in) *
           (size_t)(in->bits / 8);
}

/* How many pixels are fully transparent. */
static size_t count_clear(const esrgan_picture *p) {
    size_t clear = 0;
    for (int y = 0; y < p->height; y++) {
        const void *row = es_picture_row(p, y);
        for (int x = 0; x < p->width; x++)
            clear += es_sample(p, row, (size_t)x * p->channels + p->channels - 1) == 0;
    }
    return clear;
}

static void copy_colours(const esrgan_picture *in, const esrgan_picture *out, uint32_t *distance) {
    const size_t sample = (size_t)in->bits / 8, colours = (size_t)out->channels * sample;
    for (int y = 0; y < in->height; y++) {
        const char *from = es_picture_row(in, y);
        char *to = es_picture_row(out, y);
        for (int x = 0; x < in->width; x++, from += (size_t)in->channels * sample, to += colours) {
            memcpy(to, from, colours);
            const bool clear = es_sample(in, from, (size_t)in->channels - 1) == 0;
            distance[(size_t)y * in->width + x] = clear ? FAR : 0;
        }
    }
}

/* Lets the pixel take the colour of its neighbour at (dx, dy) where that is nearer to one seen. */
static void take(const esrgan_picture *p, uint32_t *distance, int x, int y, int dx, int dy) {
    const int nx = x + dx, ny = y + dy;
    if (nx < 0 || nx >= p->width || ny < 0 || ny >= p->height) return;
    uint32_t *own = &distance[(size_t)y * p->width + x];
    const uint32_t other = distance[(size_t)ny * p->width + nx];
    const uint32_t step = dx != 0 && dy != 0 ? DIAGONAL : STRAIGHT;
    if (other == FAR || other + step >= *own) return;
    *own = other + step;
    const size_t bytes = (size_t)p->channels * (size_t)(p->bits / 8);
    memcpy((char *)es_picture_row(p, y) + (size_t)x * bytes,
           (char *)es_picture_row(p, ny) + (size_t)nx * bytes, bytes);
}

static void spread(const esrgan_picture *p, uint32_t *distance) {
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            take(p, distance, x, y, -1, 0);
            for (int dx = -1; dx <= 1; dx++) take(p, distance, x, y, dx, -1);
        }
    for (int y = p->height - 1; y >= 0; y--)
        for (int x = p->width - 1; x >= 0; x--) {
            take(p, distance, x, y, 1, 0);
            for (int dx = -1; dx <= 1; dx++) take(p, distance, x, y, dx, 1);
        }
}

esrgan_status es_bleed(const esrgan_picture *in, esrgan_picture *out, const esrgan_allocator *a,
                       esrgan_error *error) {
    *out = *in;
    out->data = NULL;
    if (!es_picture_has_alpha(in)) return ESRGAN_OK;
    const size_t pixels = (size_t)in->width * (size_t)in->height, clear = count_clear(in);
    if (clear == 0 || clear == pixels) return ESRGAN_OK;
    uint32_t *distance = es_alloc(a, pixels * sizeof *distance);
    out->channels = es_picture_colours(in);
    out->stride = (ptrdiff_t)in->width * out->channels * (in->bits / 8);
    out->data = es_alloc(a, es_bleed_bytes(in));
    const bool enough = distance && out->data;
    if (enough) {
        copy_colours(in, out, distance);
        spread(out, distance);
    }
    es_free(a, distance, pixels * sizeof *distance);
    if (enough) return ESRGAN_OK;
    es_bleed_release(out, a);
    return es_fail(error, ESRGAN_E_MEMORY, "no memory for a copy of the picture's colours");
}

void es_bleed_release(esrgan_picture *out, const esrgan_allocator *a) {
    if (out->data) es_free(a, out->data, es_bleed_bytes(out));
    out->data = NULL;
}
