/*
 * esrgan_upscale: a picture through the network in one or more passes, without a copy of it in
 * floats: the engine asks for rows and hands rows back.
 */
#include <limits.h>
#include <string.h>

#include "base/status.h"
#include "kernels.h"
#include "picture/bleed.h"
#include "session.h"

/* One run.  Either `count` samples go to as many channels and come back from them, or one sample
 * goes to every channel and comes back as their mean. */
typedef struct pass {
    const es_network *network;
    const esrgan_picture *in, *out;
    int sample; /* the first, or the only one */
    int count;
    atomic_size_t nonfinite;
} pass;

static bool is_single(const pass *p) { return p->count == 1; }

/* ---- Rows in ------------------------------------------------------------------------------ */

/* Position i of a line of n continued by reflection, without repeating the edge. */
static int reflect(int i, int n) {
    if (n == 1) return 0;
    const int period = 2 * (n - 1), m = i % period;
    return m < n ? m : period - m;
}

static void unpack(const esrgan_picture *p, int y, int sample, float *out) {
    const size_t n = (size_t)p->width, step = (size_t)p->channels;
    if (p->bits == 8)
        es_unpack_u8(out, (const uint8_t *)es_picture_row(p, y) + sample, n, step);
    else
        es_unpack_u16(out, (const uint16_t *)es_picture_row(p, y) + sample, n, step);
}

static void read_rows(void *context, int y, int rows, float *out, size_t channel_stride,
                      size_t row_stride) {
    const pass *p = context;
    const int unit = p->network->unshuffle, width = p->in->width;
    const int padded = (width + unit - 1) / unit * unit;
    for (int c = 0; c < p->network->in_channels; c++)
        for (int r = 0; r < rows; r++) {
            float *row = out + (size_t)c * channel_stride + (size_t)r * row_stride;
            const int sample = is_single(p) ? p->sample : p->sample + c;
            unpack(p->in, reflect(y + r, p->in->height), sample, row);
            for (int x = width; x < padded; x++) row[x] = row[reflect(x, width)];
        }
}

/* ---- Rows out ----------------------------------------------------------------------------- */

enum { SEGMENT = 256 };

static void pack(const esrgan_picture *p, int y, size_t x, int sample, const float *in, size_t n) {
    const size_t step = (size_t)p->channels, i = x * step + (size_t)sample;
    if (p->bits == 8)
        es_pack_u8((uint8_t *)es_picture_row(p, y) + i, in, n, step);
    else
        es_pack_u16((uint16_t *)es_picture_row(p, y) + i, in, n, step);
}

static void pack_mean(const pass *p, int y, const float *in, size_t channel_stride) {
    const size_t width = (size_t)p->out->width;
    const int channels = p->network->out_channels;
    float mean[SEGMENT];
    for (size_t x = 0; x < width; x += SEGMENT) {
        const size_t n = width - x < SEGMENT ? width - x : SEGMENT;
        memcpy(mean, in + x, n * sizeof *mean);
        for (int c = 1; c < channels; c++)
            for (size_t i = 0; i < n; i++) mean[i] += in[(size_t)c * channel_stride + x + i];
        for (size_t i = 0; i < n; i++) mean[i] /= (float)channels;
        pack(p->out, y, x, p->sample, mean, n);
    }
}

static void write_rows(void *context, int y, int rows, const float *in, size_t channel_stride,
                       size_t row_stride) {
    pass *p = context;
    for (int r = 0; r < rows && y + r < p->out->height; r++) { /* the rest is padding */
        const float *row = in + (size_t)r * row_stride;
        for (int c = 0; c < p->network->out_channels; c++)
            es_count_nonfinite(row + (size_t)c * channel_stride, (size_t)p->out->width,
                               &p->nonfinite);
        if (is_single(p)) {
            pack_mean(p, y + r, row, channel_stride);
            continue;
        }
        for (int c = 0; c < p->count; c++)
            pack(p->out, y + r, 0, p->sample + c, row + (size_t)c * channel_stride,
                 (size_t)p->out->width);
    }
}

/* ---- Passes ------------------------------------------------------------------------------- */

static bool is_alpha_constant(const esrgan_picture *p, unsigned *value) {
    const size_t last = (size_t)p->channels - 1, step = (size_t)p->channels;
    *value = es_sample(p, p->data, last);
    for (int y = 0; y < p->height; y++) {
        const void *row = es_picture_row(p, y);
        for (size_t x = 0; x < (size_t)p->width; x++)
            if (es_sample(p, row, x * step + last) != *value) return false;
    }
    return true;
}

static void fill_alpha(const esrgan_picture *in, const esrgan_picture *out, unsigned value) {
    float alpha[SEGMENT];
    for (size_t i = 0; i < SEGMENT; i++) alpha[i] = (float)value / (float)es_picture_max(in);
    const size_t width = (size_t)out->width;
    for (int y = 0; y < out->height; y++)
        for (size_t x = 0; x < width; x += SEGMENT)
            pack(out, y, x, out->channels - 1, alpha, width - x < SEGMENT ? width - x : SEGMENT);
}

/* A network that takes alpha as one of its channels. */
static bool knows_alpha(const es_network *net) {
    return net->in_channels == 4 && net->out_channels == 4;
}

static const char *refusal(const es_network *net, const esrgan_picture *in) {
    if (knows_alpha(net)) return in->channels == 4 ? NULL : "it takes RGB with alpha only";
    if (net->in_channels != 1 && net->in_channels != 3) return "no picture has such channels";
    if (es_picture_colours(in) == 3 && net->in_channels == 3 && net->out_channels != 3)
        return "it does not return RGB";
    return NULL;
}

/* Divides a picture into passes and returns how many. */
static int divide(pass passes[4], const es_network *net, const esrgan_picture *in,
                  const esrgan_picture *colours, const esrgan_picture *out, bool alpha) {
    const pass base = {.network = net, .in = colours, .out = out, .count = 1};
    int n = 0;
    if (knows_alpha(net) || (net->in_channels == 3 && es_picture_colours(in) == 3)) {
        passes[n] = base;
        passes[n++].count = net->in_channels;
    } else {
        for (int c = 0; c < es_picture_colours(in); c++) {
            passes[n] = base;
            passes[n++].sample = c;
        }
    }
    if (alpha) {
        passes[n] = base;
        passes[n].in = in;
        passes[n++].sample = in->channels - 1;
    }
    return n;
}

static esrgan_status run_passes(esrgan_session *session, pass *passes, int count,
                                esrgan_error *error) {
    const es_network *net = session->context.network;
    const int unit = net->unshuffle, height = (passes->in->height + unit - 1) / unit * unit,
              width = (passes->in->width + unit - 1) / unit * unit;
    size_t nonfinite = 0;
    for (int i = 0; i < count; i++) {
        const es_io io = {read_rows, write_rows, &passes[i]};
        esrgan_status status = es_session_run(session, height, width, &io, (double)i / count,
                                              (i + 1.0) / count, error);
        if (status != ESRGAN_OK) return status;
        nonfinite += atomic_load(&passes[i].nonfinite);
    }
    return es_session_end(session, nonfinite, error);
}

static esrgan_status check(const es_network *net, const esrgan_picture *in,
                           const esrgan_picture *out, esrgan_error *error) {
    esrgan_status status = es_picture_check(in, "in", error);
    if (status == ESRGAN_OK) status = es_picture_check(out, "out", error);
    if (status != ESRGAN_OK) return status;
    const int64_t width = (int64_t)in->width * net->scale,
                  height = (int64_t)in->height * net->scale;
    if (out->width != width || out->height != height)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "out is %d x %d pixels; %d x %d times %d is %lld x %lld", out->width,
                       out->height, in->width, in->height, net->scale, (long long)width,
                       (long long)height);
    if (out->channels != in->channels)
        return es_fail(error, ESRGAN_E_ARGUMENT, "out has %d channels and in has %d", out->channels,
                       in->channels);
    if (es_pictures_overlap(in, out))
        return es_fail(error, ESRGAN_E_ARGUMENT, "in and out overlap");
    if (width > INT_MAX - 8 * net->scale || height > INT_MAX - 8 * net->scale)
        return es_fail(error, ESRGAN_E_LIMIT, "a picture of %lld x %lld is too large",
                       (long long)width, (long long)height);
    return ESRGAN_OK;
}

/* The passes over the picture, given the colours to take. */
static esrgan_status upscale(esrgan_session *session, const esrgan_picture *in,
                             const esrgan_picture *colours, const esrgan_picture *out,
                             esrgan_error *error) {
    const es_network *net = session->context.network;
    const bool separate = es_picture_has_alpha(in) && !knows_alpha(net);
    unsigned value = 0;
    const bool constant = separate && is_alpha_constant(in, &value);
    pass passes[4];
    const int count = divide(passes, net, in, colours, out, separate && !constant);
    if (constant) fill_alpha(in, out, value);
    return run_passes(session, passes, count, error);
}

esrgan_status esrgan_upscale(esrgan_session *session, const esrgan_picture *in,
                             const esrgan_picture *out, esrgan_error *error) {
    if (!session) return es_fail(error, ESRGAN_E_ARGUMENT, "session is NULL");
    const es_network *net = session->context.network;
    esrgan_status status = check(net, in, out, error);
    if (status != ESRGAN_OK) return status;
    const char *why = refusal(net, in);
    if (why)
        return es_fail(error, ESRGAN_E_UNSUPPORTED,
                       "a picture of %d channels through a network of %d to %d: %s", in->channels,
                       net->in_channels, net->out_channels, why);
    status = es_session_begin(session, error);
    if (status != ESRGAN_OK || !es_picture_has_alpha(in) || knows_alpha(net))
        return status == ESRGAN_OK ? upscale(session, in, in, out, error) : status;

    const esrgan_allocator *a = &session->meter.allocator;
    esrgan_picture bled;
    status = es_bleed(in, &bled, a, error);
    if (status == ESRGAN_E_MEMORY && session->meter.refused)
        return es_fail(error, ESRGAN_E_LIMIT, "max_memory is %llu bytes: too little to begin with",
                       (unsigned long long)session->meter.limit);
    if (status != ESRGAN_OK) return status;
    session->held = bled.data ? es_bleed_bytes(&bled) : 0;
    status = upscale(session, in, bled.data ? &bled : in, out, error);
    es_bleed_release(&bled, a);
    return status;
}
