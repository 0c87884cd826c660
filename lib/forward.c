/* esrgan_forward: the network alone, over NCHW floats. */
#include <limits.h>
#include <string.h>

#include "base/status.h"
#include "session.h"

typedef struct tensors {
    const float *in; /* one picture */
    float *out;
    size_t in_width, in_plane, out_width, out_plane;
    int in_channels, out_channels;
    atomic_size_t nonfinite;
} tensors;

static void read_rows(void *context, int y, int rows, float *out, size_t channel_stride,
                      size_t row_stride) {
    const tensors *t = context;
    for (int c = 0; c < t->in_channels; c++)
        for (int r = 0; r < rows; r++)
            memcpy(out + (size_t)c * channel_stride + (size_t)r * row_stride,
                   t->in + (size_t)c * t->in_plane + (size_t)(y + r) * t->in_width,
                   t->in_width * sizeof *out);
}

static void write_rows(void *context, int y, int rows, const float *in, size_t channel_stride,
                       size_t row_stride) {
    tensors *t = context;
    for (int c = 0; c < t->out_channels; c++)
        for (int r = 0; r < rows; r++) {
            const float *row = in + (size_t)c * channel_stride + (size_t)r * row_stride;
            memcpy(t->out + (size_t)c * t->out_plane + (size_t)(y + r) * t->out_width, row,
                   t->out_width * sizeof *row);
            es_count_nonfinite(row, t->out_width, &t->nonfinite);
        }
}

/* The sizes of both tensors in bytes; every product in this file is smaller than these. */
static esrgan_status sizes(const es_network *net, int n, int height, int width, size_t *in_bytes,
                           size_t *out_bytes, esrgan_error *error) {
    const size_t scale = (size_t)net->scale;
    size_t pixels, in, out;
    if ((int64_t)height * net->scale > INT_MAX || (int64_t)width * net->scale > INT_MAX ||
        !es_mul((size_t)height, (size_t)width, &pixels) || !es_mul(pixels, (size_t)n, &pixels) ||
        !es_mul(pixels, (size_t)net->in_channels * sizeof(float), &in) ||
        !es_mul(pixels, (size_t)net->out_channels * sizeof(float) * scale * scale, &out) ||
        in > PTRDIFF_MAX || out > PTRDIFF_MAX)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%d x %d x %d x %d is too large", n,
                       net->in_channels, height, width);
    *in_bytes = in;
    *out_bytes = out;
    return ESRGAN_OK;
}

static esrgan_status check(const es_network *net, int n, int height, int width, const float *input,
                           const float *output, esrgan_error *error) {
    if (!input || !output)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s is NULL", input ? "output" : "input");
    if (n < 1 || height < 1 || width < 1)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "n, height and width are %d, %d and %d; must be positive", n, height, width);
    if (height % net->unshuffle != 0 || width % net->unshuffle != 0)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "height and width are %d and %d; this model takes multiples of %d", height,
                       width, net->unshuffle);
    size_t in_bytes = 0, out_bytes = 0;
    esrgan_status status = sizes(net, n, height, width, &in_bytes, &out_bytes, error);
    if (status != ESRGAN_OK) return status;
    const uintptr_t in = (uintptr_t)input, out = (uintptr_t)output;
    if (in < out + out_bytes && out < in + in_bytes)
        return es_fail(error, ESRGAN_E_ARGUMENT, "input and output overlap");
    return ESRGAN_OK;
}

esrgan_status esrgan_forward(esrgan_session *session, int n, int height, int width,
                             const float *input, float *output, esrgan_error *error) {
    if (!session) return es_fail(error, ESRGAN_E_ARGUMENT, "session is NULL");
    const es_network *net = session->context.network;
    esrgan_status status = check(net, n, height, width, input, output, error);
    if (status == ESRGAN_OK) status = es_session_begin(session, error);
    const size_t scale = (size_t)net->scale;
    tensors t = {.in_channels = net->in_channels,
                 .out_channels = net->out_channels,
                 .in_width = (size_t)width,
                 .in_plane = (size_t)width * (size_t)height,
                 .out_width = (size_t)width * scale,
                 .out_plane = (size_t)width * (size_t)height * scale * scale};
    const es_io io = {read_rows, write_rows, &t};
    for (int i = 0; i < n && status == ESRGAN_OK; i++) {
        t.in = input + (size_t)i * (size_t)net->in_channels * t.in_plane;
        t.out = output + (size_t)i * (size_t)net->out_channels * t.out_plane;
        status = es_session_run(session, height, width, &io, (double)i / n, (i + 1.0) / n, error);
    }
    if (status != ESRGAN_OK) return status;
    return es_session_end(session, atomic_load(&t.nonfinite), error);
}
