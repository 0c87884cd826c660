#include "tensor.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"

bool tensor_make(tensor *t, int c, int h, int w) {
    *t = (tensor){c, h, w, NULL};
    t->v = allocate((size_t)c * (size_t)h * (size_t)w, sizeof *t->v);
    return t->v != NULL;
}

bool tensor_copy(tensor *to, const tensor *from) {
    if (!tensor_make(to, from->c, from->h, from->w)) return false;
    memcpy(to->v, from->v, tensor_count(from) * sizeof *to->v);
    return true;
}

bool tensor_join(tensor *to, const tensor *parts, int count, bool reversed) {
    int channels = 0;
    for (int i = 0; i < count; i++) channels += parts[i].c;
    if (!tensor_make(to, channels, parts[0].h, parts[0].w)) return false;
    double *at = to->v;
    for (int i = 0; i < count; i++) {
        const tensor *part = &parts[reversed ? count - 1 - i : i];
        memcpy(at, part->v, tensor_count(part) * sizeof *at);
        at += tensor_count(part);
    }
    return true;
}

void tensor_free(tensor *t) {
    free(t->v);
    t->v = NULL;
}

size_t tensor_count(const tensor *t) { return (size_t)t->c * (size_t)t->h * (size_t)t->w; }

bool tensor_same_shape(const tensor *a, const tensor *b) {
    return a->c == b->c && a->h == b->h && a->w == b->w;
}

void tensor_compare(const tensor *a, const tensor *b, tensor_diff *diff) {
    size_t count = tensor_count(a);
    double sum = 0, squares = 0, own = 0;
    size_t own_count = 0;
    *diff = (tensor_diff){0};
    for (size_t i = 0; i < count; i++) {
        double x = a->v[i], y = b->v[i], d = fabs(y - x);
        if (isfinite(x)) {
            own += x * x;
            own_count++;
        }
        if (!isfinite(d)) {
            if (x == y || (isnan(x) && isnan(y))) continue;
            if (diff->nonfinite++ == 0) diff->worst = i;
            continue;
        }
        diff->count++;
        sum += d;
        squares += d * d;
        if (d > diff->max) {
            diff->max = d;
            if (diff->nonfinite == 0) diff->worst = i;
        }
    }
    diff->mean = diff->count ? sum / (double)diff->count : 0;
    diff->rms = diff->count ? sqrt(squares / (double)diff->count) : 0;
    diff->rms_a = own_count ? sqrt(own / (double)own_count) : 0;
    diff->squares = squares;
}

double tensor_squares(const tensor *a, const tensor *b, int margin) {
    double sum = 0;
    for (int c = 0; c < a->c; c++)
        for (int y = margin; y < a->h - margin; y++) {
            size_t row = ((size_t)c * (size_t)a->h + (size_t)y) * (size_t)a->w;
            for (int x = margin; x < a->w - margin; x++) {
                double d = b->v[row + (size_t)x] - a->v[row + (size_t)x];
                if (isfinite(d)) sum += d * d;
            }
        }
    return sum;
}

double tensor_correlation(const tensor *a, const tensor *b) {
    size_t count = tensor_count(a);
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        ma += a->v[i];
        mb += b->v[i];
    }
    ma /= (double)count;
    mb /= (double)count;
    for (size_t i = 0; i < count; i++) {
        double x = a->v[i] - ma, y = b->v[i] - mb;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    double r = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
    return isfinite(r) ? r : 0;
}

bool tensor_shrink(tensor *to, const tensor *a, int h, int w) {
    int fy = a->h / h, fx = a->w / w;
    if (!tensor_make(to, a->c, h, w)) return false;
    double *out = to->v;
    for (int c = 0; c < a->c; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, out++) {
                for (int j = 0; j < fy; j++)
                    for (int i = 0; i < fx; i++)
                        *out +=
                            a->v[((size_t)c * (size_t)a->h + (size_t)(y * fy + j)) * (size_t)a->w +
                                 (size_t)(x * fx + i)];
                *out /= fy * fx;
            }
    return true;
}

/* Where element (c, y, x) of a value read as `how` really comes from. */
static size_t source(const tensor *t, reading how, size_t c, size_t y, size_t x) {
    size_t C = (size_t)t->c, H = (size_t)t->h, W = (size_t)t->w, flat = (c * H + y) * W + x;
    size_t pack = how == READ_PACKED_4 || how == READ_UNPACKED_4 ? 4 : 8, in, pixel;
    switch (how) {
    case READ_CHW_AS_HWC: return (y * W + x) * C + c;
    case READ_HWC_AS_CHW: return (flat % C) * H * W + flat / C;
    case READ_REVERSED: return ((C - 1 - c) * H + y) * W + x;
    case READ_TRANSPOSED: return (c * H + x) * W + y;
    case READ_FLIPPED_X: return (c * H + y) * W + (W - 1 - x);
    case READ_FLIPPED_Y: return (c * H + (H - 1 - y)) * W + x;
    case READ_TURNED: return (c * H + (H - 1 - y)) * W + (W - 1 - x);
    case READ_PACKED_4:
    case READ_PACKED_8: /* memory at `flat` holds channel in+g*pack of some pixel */
        in = flat % pack;
        pixel = flat / pack % (H * W);
        return (flat / (pack * H * W) * pack + in) * H * W + pixel;
    default: return ((c / pack * H + y) * W + x) * pack + c % pack;
    }
}

bool reading_fits(reading how, int c, int h, int w) {
    switch (how) {
    case READ_TRANSPOSED: return h == w;
    case READ_PACKED_4:
    case READ_UNPACKED_4: return c % 4 == 0;
    case READ_PACKED_8:
    case READ_UNPACKED_8: return c % 8 == 0;
    case READ_CHW_AS_HWC:
    case READ_HWC_AS_CHW:
    case READ_REVERSED: return c > 1;
    default: return true;
    }
}

bool tensor_read_as(tensor *to, const tensor *from, reading how) {
    to->v = NULL;
    if (!reading_fits(how, from->c, from->h, from->w)) return false;
    if (!tensor_make(to, from->c, from->h, from->w)) return false;
    double *out = to->v;
    for (size_t c = 0; c < (size_t)from->c; c++)
        for (size_t y = 0; y < (size_t)from->h; y++)
            for (size_t x = 0; x < (size_t)from->w; x++)
                *out++ = from->v[source(from, how, c, y, x)];
    return true;
}

static const char *const READING_TEXTS[READING_COUNT] = {
    "its CHW memory was read with HWC strides",
    "its HWC memory was read with CHW strides",
    "its channels are in reverse order",
    "its rows and columns are swapped (transposed)",
    "it is flipped left to right",
    "it is flipped top to bottom",
    "it is turned by 180 degrees",
    "its channels are packed by 4 (NC4HW4) and were read as planes",
    "its channels are packed by 8 (NC8HW8) and were read as planes",
    "its planes were read as channels packed by 4 (NC4HW4)",
    "its planes were read as channels packed by 8 (NC8HW8)",
};

static const char *const READING_IDS[READING_COUNT] = {
    "chw-as-hwc",
    "hwc-as-chw",
    "channels-reversed",
    "transposed",
    "flipped-x",
    "flipped-y",
    "turned",
    "packed-4-as-planes",
    "packed-8-as-planes",
    "planes-as-packed-4",
    "planes-as-packed-8",
};

const char *reading_text(reading how, int channels) {
    return how == READ_REVERSED && channels == 3 ? "red and blue are swapped (BGR for RGB)"
                                                 : READING_TEXTS[how];
}

const char *reading_id(reading how, int channels) {
    return how == READ_REVERSED && channels == 3 ? "rgb-bgr" : READING_IDS[how];
}

static int clamp(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

bool tensor_shift(tensor *to, const tensor *from, int dx, int dy) {
    if (!tensor_make(to, from->c, from->h, from->w)) return false;
    double *out = to->v;
    for (int c = 0; c < from->c; c++)
        for (int y = 0; y < from->h; y++)
            for (int x = 0; x < from->w; x++)
                *out++ = from->v[((size_t)c * (size_t)from->h + (size_t)clamp(y - dy, from->h)) *
                                     (size_t)from->w +
                                 (size_t)clamp(x - dx, from->w)];
    return true;
}

/* The index that stands for -1 or n; -1 where it is a zero. */
static int outside(int i, int n, padding how) {
    if (i >= 0 && i < n) return i;
    switch (how) {
    case PAD_ZERO: return -1;
    case PAD_REFLECT: return clamp(i < 0 ? -i : 2 * n - 2 - i, n);
    case PAD_CIRCULAR: return (i + n) % n;
    default: return clamp(i, n);
    }
}

bool tensor_pad(tensor *to, const tensor *from, padding how) {
    if (!tensor_make(to, from->c, from->h + 2, from->w + 2)) return false;
    double *out = to->v;
    for (int c = 0; c < from->c; c++)
        for (int y = -1; y <= from->h; y++)
            for (int x = -1; x <= from->w; x++, out++) {
                int sy = outside(y, from->h, how), sx = outside(x, from->w, how);
                if (sy >= 0 && sx >= 0)
                    *out = from->v[((size_t)c * (size_t)from->h + (size_t)sy) * (size_t)from->w +
                                   (size_t)sx];
            }
    return true;
}

bool tensor_crop(tensor *to, const tensor *from) {
    if (!tensor_make(to, from->c, from->h - 2, from->w - 2)) return false;
    for (int c = 0; c < to->c; c++)
        for (int y = 0; y < to->h; y++)
            memcpy(to->v + ((size_t)c * (size_t)to->h + (size_t)y) * (size_t)to->w,
                   from->v + ((size_t)c * (size_t)from->h + (size_t)y + 1) * (size_t)from->w + 1,
                   (size_t)to->w * sizeof *to->v);
    return true;
}

/* Keys' cubic kernel with PyTorch's a. */
static double cubic(double t) {
    const double a = -0.75;
    t = fabs(t);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* The up to four places and weights that output index `o` of `n * factor` is made of. */
static int taps(int o, int n, int factor, enlarging how, int at[4], double weight[4]) {
    double place = how == ENLARGE_BILINEAR_CORNERS
                       ? (n * factor > 1 ? (double)o * (n - 1) / (n * factor - 1) : 0)
                       : (o + 0.5) / factor - 0.5;
    if (how != ENLARGE_BICUBIC && place < 0) place = 0;
    int base = (int)floor(place);
    double t = place - base;
    if (how != ENLARGE_BICUBIC) {
        at[0] = clamp(base, n);
        at[1] = clamp(base + 1, n);
        weight[0] = 1 - t;
        weight[1] = t;
        return 2;
    }
    for (int i = 0; i < 4; i++) {
        at[i] = clamp(base - 1 + i, n);
        weight[i] = cubic(t + 1 - i);
    }
    return 4;
}

bool tensor_enlarge(tensor *to, const tensor *from, int factor, enlarging how) {
    if (!tensor_make(to, from->c, from->h * factor, from->w * factor)) return false;
    double *out = to->v;
    for (int c = 0; c < to->c; c++)
        for (int y = 0; y < to->h; y++) {
            int ay[4], ax[4];
            double wy[4], wx[4];
            int n = taps(y, from->h, factor, how, ay, wy);
            for (int x = 0; x < to->w; x++, out++) {
                taps(x, from->w, factor, how, ax, wx);
                for (int j = 0; j < n; j++)
                    for (int i = 0; i < n; i++)
                        *out += wy[j] * wx[i] *
                                from->v[((size_t)c * (size_t)from->h + (size_t)ay[j]) *
                                            (size_t)from->w +
                                        (size_t)ax[i]];
            }
        }
    return true;
}
