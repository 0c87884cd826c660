#include "network_input.h"

#include <math.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "trace_file.h"

bool is_tensor_name(const char *path) {
    const char *extension = path_extension(path);
    return !strcmp(extension, "npy") || !strcmp(extension, "npz");
}

static double sample(const esrgan_picture *p, int c, int y, int x) {
    const uint8_t *row = (const uint8_t *)p->data + y * p->stride;
    size_t at = (size_t)x * (size_t)p->channels + (size_t)c;
    uint16_t wide;
    if (p->bits == 8) return row[at] / 255.0;
    memcpy(&wide, row + 2 * at, 2);
    return wide / 65535.0;
}

bool tensor_from_picture(const esrgan_picture *p, tensor *to) {
    if (!tensor_make(to, p->channels < 3 ? 1 : 3, p->height, p->width)) return false;
    double *out = to->v;
    for (int c = 0; c < to->c; c++)
        for (int y = 0; y < to->h; y++)
            for (int x = 0; x < to->w; x++) *out++ = sample(p, c, y, x);
    return true;
}

bool tensor_to_picture(const tensor *from, picture *to) {
    int channels = from->c == 3 ? 3 : 1;
    if (!picture_make(to, "picture", from->w, from->h, channels, 8)) return false;
    for (int y = 0; y < from->h; y++) {
        uint8_t *row = (uint8_t *)to->pixels.data + y * to->pixels.stride;
        for (int x = 0; x < from->w; x++)
            for (int c = 0; c < channels; c++) {
                double v = from->v[((size_t)c * (size_t)from->h + (size_t)y) * (size_t)from->w +
                                   (size_t)x];
                *row++ = (uint8_t)(v > 0 ? lround(255 * fmin(v, 1)) : 0); /* NaN is black */
            }
    }
    return true;
}

/* The index that reflection gives for i >= n; the last where n is too small for it. */
static int reflect(int i, int n) {
    if (i < n) return i;
    i = 2 * n - 2 - i;
    return i < 0 ? 0 : i;
}

/* `channels` channels (one is repeated) at multiples of `multiple`. */
static bool fit(const tensor *from, int channels, int multiple, tensor *to) {
    int h = (from->h + multiple - 1) / multiple * multiple;
    int w = (from->w + multiple - 1) / multiple * multiple;
    if (!tensor_make(to, channels, h, w)) return false;
    double *out = to->v;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                *out++ = from->v[((size_t)(from->c == 1 ? 0 : c) * (size_t)from->h +
                                  (size_t)reflect(y, from->h)) *
                                     (size_t)from->w +
                                 (size_t)reflect(x, from->w)];
    return true;
}

bool network_input(const char *path, const esrgan_model_info *info, tensor *to, int *height,
                   int *width) {
    tensor whole = {0};
    picture p = {0};
    bool tensor_file = is_tensor_name(path);
    to->v = NULL;
    bool good = tensor_file ? tensor_read(path, NULL, &whole)
                            : picture_read(path, &p) && tensor_from_picture(&p.pixels, &whole);
    picture_free(&p);
    if (!good) return false;
    int multiple = info->unshuffle;
    if (whole.c != info->in_channels && (tensor_file || whole.c != 1)) {
        complain("%s: %d channels, but the network takes %d", path, whole.c, info->in_channels);
        good = false;
    } else if (tensor_file && (whole.h % multiple || whole.w % multiple)) {
        complain("%s: %d x %d, but the network takes multiples of %d", path, whole.w, whole.h,
                 multiple);
        good = false;
    }
    *height = whole.h;
    *width = whole.w;
    good = good && fit(&whole, info->in_channels, multiple, to);
    tensor_free(&whole);
    return good;
}
