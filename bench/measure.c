/* One network in one setting: time, memory, what comes out; and what should. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "support/pth.h"

const net_shape shapes[3] = {{"x4plus", 3, 64, 32, 23, 2, 1},
                             {"x2plus", 3, 64, 32, 23, 2, 2},
                             {"anime_6B", 3, 64, 32, 6, 2, 1}};

uint8_t *make_checkpoint(const net_shape *s, size_t *size) {
    pth_list list = {0};
    pth_rrdbnet net = {PTH_BASICSR, s->in * s->unshuffle * s->unshuffle,
                       s->in,       s->features,
                       s->growth,   s->blocks,
                       s->ups,      0};
    pth_add_rrdbnet(&list, &net);
    uint8_t *data = pth_write(&list, 42, size);
    pth_clear(&list);
    return data;
}

esrgan_model *make_model(const net_shape *s) {
    size_t size;
    uint8_t *data = make_checkpoint(s, &size);
    esrgan_open_options o;
    esrgan_open_options_init(&o);
    o.copy = 1;
    esrgan_model *model = NULL;
    esrgan_error error;
    if (esrgan_open_memory(data, size, s->name, &o, &model, &error) != ESRGAN_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(2);
    }
    free(data);
    return model;
}

float *make_picture(int channels, int height, int width) {
    float *p = malloc((size_t)channels * (size_t)height * (size_t)width * sizeof *p), *at = p;
    uint32_t seed = 1;
    if (!p) abort();
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                seed = seed * 1664525u + 1013904223u;
                *at++ = 0.5f + 0.3f * sinf(0.13f * (float)x + (float)c) * cosf(0.07f * (float)y) +
                        0.1f * ((float)(seed >> 8) / (float)(1 << 24) - 0.5f);
            }
    return p;
}

double direct_time(const esrgan_model *model, int height, int width, int threads, double peak) {
    esrgan_model_info info = {.size = sizeof info};
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK) abort();
    return 2 * info.macs_per_pixel * height * width / (peak * threads);
}

/* ---- Memory counted --------------------------------------------------------------------------- */

typedef struct ledger {
    pthread_mutex_t lock;
    uint64_t now, peak;
} ledger;

static void *counted_alloc(void *context, size_t size, size_t alignment) {
    ledger *l = context;
    void *p = NULL;
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->now += size;
    if (l->now > l->peak) l->peak = l->now;
    pthread_mutex_unlock(&l->lock);
    return p;
}

static void counted_release(void *context, void *pointer, size_t size) {
    ledger *l = context;
    pthread_mutex_lock(&l->lock);
    l->now -= size;
    pthread_mutex_unlock(&l->lock);
    free(pointer);
}

/* ---- Runs ------------------------------------------------------------------------------------- */

bool measure(const esrgan_model *model, const setting *s, int repeats, outcome *o) {
    ledger held = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const esrgan_allocator allocator = {counted_alloc, counted_release, &held};
    esrgan_session_options options;
    esrgan_session_options_init(&options);
    options.backend = s->backend;
    options.isa = s->isa;
    options.precision = s->precision;
    options.threads = s->threads;
    options.allocator = &allocator;
    memset(o, 0, sizeof *o);
    esrgan_model_info info = {.size = sizeof info};
    esrgan_session *session;
    esrgan_error error;
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK ||
        esrgan_session_create(model, &options, &session, &error) != ESRGAN_OK)
        return false;
    esrgan_session_info about = {.size = sizeof about};
    if (esrgan_session_get_info(session, &about, NULL) == ESRGAN_OK)
        snprintf(o->tier, sizeof o->tier, "%s",
                 s->backend == ESRGAN_OPENBLAS ? about.backend : about.tier);
    float *in = make_picture(info.in_channels, s->height, s->width);
    o->count = (size_t)(info.out_channels * info.scale * info.scale) * (size_t)s->height *
               (size_t)s->width;
    o->result = malloc(o->count * sizeof *o->result);
    if (!o->result) abort();
    const bool narrow = strcmp(o->tier, "avx2") == 0 || strcmp(o->tier, "scalar") == 0;
    double times[64], ratios[64];
    bool fine = true;
    for (int i = -1; i < repeats && fine; i++) { /* the first only warms up */
        const int at = i < 0 ? 0 : i;
        const double peak = peak_fma(narrow, s->threads), t = seconds();
        fine = esrgan_forward(session, 1, s->height, s->width, in, o->result, &error) == ESRGAN_OK;
        times[at] = seconds() - t;
        ratios[at] = direct_time(model, s->height, s->width, s->threads, peak) / times[at];
        if (i < 0) o->first = times[0];
    }
    if (!fine) fprintf(stderr, "bench: %s\n", error.message);
    esrgan_session_free(session);
    free(in);
    const int counted = o->runs = repeats > 0 ? repeats : 1;
    o->median = median(times, counted);
    o->spread = (times[counted - 1] - times[0]) / o->median;
    o->ratio = median(ratios, counted);
    o->memory = held.peak;
    return fine;
}

/* ---- What should come out --------------------------------------------------------------------- */

/* The last layer that reads the value of each layer. */
static int *last_readers(const esrgan_model *model, int count) {
    int *last = calloc((size_t)count, sizeof *last);
    if (!last) abort();
    for (int i = 0; i < count; i++) {
        esrgan_layer layer = {.size = sizeof layer};
        if (esrgan_layer_get(model, i, &layer, NULL) != ESRGAN_OK) abort();
        for (int k = 0; k < layer.input_count; k++) last[layer.inputs[k]] = i;
    }
    return last;
}

float *exact_result(const esrgan_model *model, int height, int width) {
    const int count = esrgan_layer_count(model);
    int *last = last_readers(model, count);
    double **values = calloc((size_t)count, sizeof *values);
    float *result = NULL;
    if (!values) abort();
    for (int i = 0; i < count; i++) {
        esrgan_layer layer = {.size = sizeof layer}, from = {.size = sizeof from};
        if (esrgan_layer_get(model, i, &layer, NULL) != ESRGAN_OK) abort();
        const int h = height * layer.num / layer.den, w = width * layer.num / layer.den;
        const size_t n = (size_t)layer.channels_out * (size_t)h * (size_t)w;
        values[i] = malloc(n * sizeof **values);
        if (!values[i]) abort();
        if (layer.input_count == 0) {
            float *in = make_picture(layer.channels_out, h, w);
            for (size_t k = 0; k < n; k++) values[i][k] = in[k];
            free(in);
        } else {
            const double *inputs[8];
            for (int k = 0; k < layer.input_count; k++) inputs[k] = values[layer.inputs[k]];
            if (esrgan_layer_get(model, layer.inputs[0], &from, NULL) != ESRGAN_OK ||
                esrgan_layer_compute(model, i, inputs, height * from.num / from.den,
                                     width * from.num / from.den, values[i], NULL,
                                     NULL) != ESRGAN_OK)
                abort();
        }
        if (i + 1 == count) {
            result = malloc(n * sizeof *result);
            if (!result) abort();
            for (size_t k = 0; k < n; k++) result[k] = (float)values[i][k];
        }
        for (int k = 0; k <= i; k++)
            if (values[k] && last[k] <= i) free(values[k]), values[k] = NULL;
    }
    free(values), free(last);
    return result;
}
