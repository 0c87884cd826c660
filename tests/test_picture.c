/*
 * esrgan_upscale against what its documentation says, put together from esrgan_forward: padding,
 * grey and colour, alpha, every mix of depths, any strides.  Equal to the bit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "picture/bleed.h"
#include "support/model.h"

/* ---- Pictures ----------------------------------------------------------------------------- */

typedef struct image {
    esrgan_picture p;
    void *memory;
    size_t bytes;
} image;

/* `spare` bytes (even) between rows; rows from the bottom up where `upwards`. */
static image image_of(int width, int height, int channels, int bits, int spare, bool upwards) {
    const size_t row = (size_t)(width * channels * bits / 8), stride = row + (size_t)spare;
    image i = {.p = {width, height, channels, bits, (ptrdiff_t)stride, NULL}};
    i.bytes = stride * (size_t)height;
    i.memory = malloc(i.bytes);
    assert_non_null(i.memory);
    memset(i.memory, 0xa5, i.bytes);
    i.p.data = i.memory;
    if (upwards) {
        i.p.data = (char *)i.memory + stride * (size_t)(height - 1);
        i.p.stride = -i.p.stride;
    }
    return i;
}

static void *sample(const esrgan_picture *p, int x, int y, int c) {
    return (char *)p->data + (ptrdiff_t)y * p->stride +
           (ptrdiff_t)(x * p->channels + c) * (p->bits / 8);
}

static unsigned get(const esrgan_picture *p, int x, int y, int c) {
    const void *s = sample(p, x, y, c);
    return p->bits == 8 ? *(const uint8_t *)s : *(const uint16_t *)s;
}

static void put(const esrgan_picture *p, int x, int y, int c, unsigned value) {
    if (p->bits == 8)
        *(uint8_t *)sample(p, x, y, c) = (uint8_t)value;
    else
        *(uint16_t *)sample(p, x, y, c) = (uint16_t)value;
}

static unsigned top(const esrgan_picture *p) { return p->bits == 8 ? 255 : 65535; }

/* Noise; alpha from 1 up, so that every colour can be seen. */
static void fill(const esrgan_picture *p, uint32_t seed) {
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            for (int c = 0; c < p->channels; c++) {
                seed = seed * 1664525u + 1013904223u;
                const unsigned value = (seed >> 8) % (top(p) + 1);
                put(p, x, y, c, p->channels % 2 == 0 && c == p->channels - 1 ? value | 1 : value);
            }
}

/* ---- What should come out ----------------------------------------------------------------- */

typedef struct setting {
    esrgan_model *model;
    esrgan_model_info info;
    esrgan_session *session;
} setting;

static setting setting_of(esrgan_model *model, const esrgan_session_options *options) {
    setting s = {.model = model, .info = {.size = sizeof s.info}};
    assert_int_equal(esrgan_model_get_info(model, &s.info, NULL), ESRGAN_OK);
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_OPENBLAS;
    o.threads = 2;
    assert_int_equal(esrgan_session_create(model, options ? options : &o, &s.session, NULL),
                     ESRGAN_OK);
    return s;
}

static void release(setting *s) {
    esrgan_session_free(s->session);
    esrgan_model_free(s->model);
}

/* Walks to and fro: 0 1 2 3 2 1 0 1 ... */
static int mirrored(int i, int n) {
    int at = 0, step = 1;
    for (; i > 0; i--) {
        if (n == 1) return 0;
        if (at + step < 0 || at + step >= n) step = -step;
        at += step;
    }
    return at;
}

/* Samples first .. first+count-1 (count the network's channels, or 1: repeated) through the
 * network and into `out` the way the documentation says. */
static void expect_pass(const setting *s, const esrgan_picture *in, const esrgan_picture *out,
                        int first, int count) {
    const int unit = s->info.unshuffle, scale = s->info.scale;
    const int height = (in->height + unit - 1) / unit * unit,
              width = (in->width + unit - 1) / unit * unit;
    const size_t plane = (size_t)(height * width), out_plane = plane * (size_t)(scale * scale);
    float *x = malloc((size_t)s->info.in_channels * plane * sizeof *x);
    float *y = malloc((size_t)s->info.out_channels * out_plane * sizeof *y);
    for (int c = 0; c < s->info.in_channels; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                x[(size_t)c * plane + (size_t)(i * width + j)] =
                    (float)get(in, mirrored(j, in->width), mirrored(i, in->height),
                               count == 1 ? first : first + c) /
                    (float)top(in);
    assert_int_equal(esrgan_forward(s->session, 1, height, width, x, y, NULL), ESRGAN_OK);
    for (int i = 0; i < out->height; i++)
        for (int j = 0; j < out->width; j++)
            for (int c = 0; c < count; c++) {
                const float *at = y + (size_t)(i * width * scale + j);
                float v = at[(size_t)c * out_plane];
                if (count == 1) {
                    for (int k = 1; k < s->info.out_channels; k++) v += at[(size_t)k * out_plane];
                    v /= (float)s->info.out_channels;
                }
                v = fminf(fmaxf(v, 0), 1);
                put(out, j, i, first + c, (unsigned)nearbyintf(v * (float)top(out)));
            }
    free(x), free(y);
}

static void same(const image *got, const image *want) {
    assert_int_equal(got->bytes, want->bytes);
    if (memcmp(got->memory, want->memory, got->bytes) == 0) return;
    for (int y = 0; y < got->p.height; y++)
        for (int x = 0; x < got->p.width; x++)
            for (int c = 0; c < got->p.channels; c++)
                if (get(&got->p, x, y, c) != get(&want->p, x, y, c))
                    fail_msg("%d x %d x %d: sample (%d, %d, %d) is %u, not %u", got->p.width,
                             got->p.height, got->p.channels, x, y, c, get(&got->p, x, y, c),
                             get(&want->p, x, y, c));
    fail_msg("what lies between rows was changed");
}

static void upscale(const setting *s, const image *in, const image *out) {
    esrgan_error error;
    if (esrgan_upscale(s->session, &in->p, &out->p, &error)) fail_msg("%s", error.message);
}

/* One picture of a shape, with visible noise everywhere. */
static void check_shape(const setting *s, int width, int height, int channels, int bits_in,
                        int bits_out, uint32_t seed) {
    const int scale = s->info.scale, colours = channels < 3 ? 1 : 3;
    const bool upwards = seed % 3 == 0;
    image in = image_of(width, height, channels, bits_in, (int)(seed % 4) * 2, upwards);
    image out = image_of(width * scale, height * scale, channels, bits_out, 6, !upwards);
    image want = image_of(width * scale, height * scale, channels, bits_out, 6, !upwards);
    fill(&in.p, seed);
    upscale(s, &in, &out);
    if (colours == 3 && s->info.in_channels == 3)
        expect_pass(s, &in.p, &want.p, 0, 3);
    else
        for (int c = 0; c < colours; c++) expect_pass(s, &in.p, &want.p, c, 1);
    if (channels % 2 == 0 && width * height > 1)
        expect_pass(s, &in.p, &want.p, channels - 1, 1);
    else if (channels % 2 == 0) /* one pixel: alpha is constant */
        put(&want.p, 0, 0, channels - 1, 0);
    if (channels % 2 == 0 && width * height == 1)
        for (int i = 0; i < scale * scale; i++) {
            const double alpha = (double)get(&in.p, 0, 0, channels - 1) / top(&in.p);
            put(&want.p, i % scale, i / scale, channels - 1,
                (unsigned)floor(alpha * top(&want.p) + 0.5));
        }
    same(&out, &want);
    free(in.memory), free(out.memory), free(want.memory);
}

static void upscale_is_what_it_says(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 5}, {6, 1}, {2, 2}, {3, 7}, {5, 4}, {10, 9}};
    esrgan_model *models[] = {
        model_x4(),
        model_x2plus(),
        model_grey(),
        model_of(&(pth_rrdbnet){PTH_BASICSR, 48, 3, 8, 4, 1, 2, 0}, 9), /* unshuffle 4 */
        model_of(&(pth_rrdbnet){PTH_BASICSR, 1, 3, 8, 4, 1, 2, 0}, 9),
    };
    uint32_t seed = 1;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        setting s = setting_of(models[m], NULL);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int channels = 1; channels <= 4; channels++) {
                const int in = seed % 2 ? 8 : 16, out = seed / 2 % 2 ? 8 : 16;
                check_shape(&s, sizes[i][0], sizes[i][1], channels, in, out, seed);
                seed++;
            }
        release(&s);
    }
}

static void networks_that_know_alpha(void **state) {
    (void)state;
    setting s = setting_of(model_of(&(pth_rrdbnet){PTH_ESRGAN, 4, 4, 8, 4, 1, 1, 0}, 4), NULL);
    image in = image_of(5, 6, 4, 8, 0, false), out = image_of(10, 12, 4, 8, 0, false),
          want = image_of(10, 12, 4, 8, 0, false);
    fill(&in.p, 3);
    put(&in.p, 2, 2, 3, 0);
    upscale(&s, &in, &out);
    expect_pass(&s, &in.p, &want.p, 0, 4);
    same(&out, &want);
    image grey = image_of(5, 6, 1, 8, 0, false), grey_out = image_of(10, 12, 1, 8, 0, false);
    esrgan_error error;
    assert_int_equal(esrgan_upscale(s.session, &grey.p, &grey_out.p, &error), ESRGAN_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "1 channels through a network of 4"));
    free(in.memory), free(out.memory), free(want.memory), free(grey.memory), free(grey_out.memory);
    release(&s);
    s = setting_of(model_of(&(pth_rrdbnet){PTH_ESRGAN, 3, 1, 8, 4, 1, 1, 0}, 4), NULL);
    in = image_of(5, 6, 3, 8, 0, false), out = image_of(10, 12, 3, 8, 0, false);
    assert_int_equal(esrgan_upscale(s.session, &in.p, &out.p, &error), ESRGAN_E_UNSUPPORTED);
    free(in.memory), free(out.memory);
    release(&s);
}

/* ---- Alpha -------------------------------------------------------------------------------- */

static void constant_alpha_is_carried_over(void **state) {
    (void)state;
    setting s = setting_of(model_x4(), NULL);
    static const unsigned alphas[] = {0, 1, 128, 254, 255};
    for (size_t a = 0; a < 5; a++)
        for (int channels = 2; channels <= 4; channels += 2) {
            image in = image_of(4, 3, channels, 8, 0, false),
                  out = image_of(16, 12, channels, 16, 0, false),
                  want = image_of(16, 12, channels, 16, 0, false);
            fill(&in.p, 8);
            for (int i = 0; i < 12; i++) put(&in.p, i % 4, i / 4, channels - 1, alphas[a]);
            for (int i = 0; i < 192; i++)
                put(&want.p, i % 16, i / 16, channels - 1, alphas[a] * 257);
            expect_pass(&s, &in.p, &want.p, 0, channels - 1);
            upscale(&s, &in, &out);
            same(&out, &want);
            free(in.memory), free(out.memory), free(want.memory);
        }
    release(&s);
}

/* Bytes of colour under pixels that nobody sees have no influence. */
static void hidden_colour_makes_no_halo(void **state) {
    (void)state;
    setting s = setting_of(model_x4(), NULL);
    image out[2], in[2];
    for (unsigned k = 0; k < 2; k++) {
        in[k] = image_of(12, 9, 4, 8, 0, false);
        out[k] = image_of(48, 36, 4, 8, 0, false);
        fill(&in[k].p, 2);
        for (int y = 0; y < 9; y++)
            for (int x = 0; x < 12; x++)
                if ((x - 5) * (x - 5) + (y - 4) * (y - 4) > 9) {
                    for (int c = 0; c < 3; c++) put(&in[k].p, x, y, c, k == 0 ? 0 : 255);
                    put(&in[k].p, x, y, 3, 0);
                }
        upscale(&s, &in[k], &out[k]);
    }
    same(&out[0], &out[1]);
    for (int k = 0; k < 2; k++) free(in[k].memory), free(out[k].memory);
    release(&s);
}

static void colour_spreads_from_the_nearest(void **state) {
    (void)state;
    const esrgan_allocator a = es_allocator(NULL);
    for (int bits = 8; bits <= 16; bits += 8) {
        image in = image_of(9, 7, 4, bits, 2, true);
        static const int seen[3][2] = {{1, 1}, {7, 2}, {4, 6}};
        for (int y = 0; y < 7; y++)
            for (int x = 0; x < 9; x++)
                for (int c = 0; c < 4; c++) put(&in.p, x, y, c, 0);
        for (unsigned i = 0; i < 3; i++) {
            for (unsigned c = 0; c < 3; c++)
                put(&in.p, seen[i][0], seen[i][1], (int)c, 10 * (i + 1) + c);
            put(&in.p, seen[i][0], seen[i][1], 3, 77);
        }
        esrgan_picture out;
        assert_int_equal(es_bleed(&in.p, &out, &a, NULL), ESRGAN_OK);
        assert_non_null(out.data);
        assert_int_equal(out.channels, 3);
        for (int y = 0; y < 7; y++)
            for (int x = 0; x < 9; x++) {
                double distance[3], least = 1e9;
                for (int i = 0; i < 3; i++) {
                    distance[i] = hypot(x - seen[i][0], y - seen[i][1]);
                    least = fmin(least, distance[i]);
                }
                const unsigned from = get(&out, x, y, 0) / 10 - 1;
                assert_in_range(from, 0, 2);
                assert_true(distance[from] <= least * 1.08 + 0.01); /* as a chamfer sees it */
                for (unsigned c = 0; c < 3; c++)
                    assert_int_equal(get(&out, x, y, (int)c), 10 * (from + 1) + c);
            }
        es_bleed_release(&out, &a);
        /* Nothing to do: all seen, or nothing. */
        for (unsigned alpha = 0; alpha < 2; alpha++) {
            for (int y = 0; y < 7; y++)
                for (int x = 0; x < 9; x++) put(&in.p, x, y, 3, alpha);
            assert_int_equal(es_bleed(&in.p, &out, &a, NULL), ESRGAN_OK);
            assert_null(out.data);
        }
        free(in.memory);
    }
}

/* ---- What can go wrong -------------------------------------------------------------------- */

static void says(esrgan_status got, esrgan_status want, const esrgan_error *error,
                 const char *part) {
    if (got != want || error->status != want || !strstr(error->message, part))
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", got, error->message, want, part);
}

static void bad_pictures_are_named(void **state) {
    (void)state;
    setting s = setting_of(model_x4(), NULL);
    image in = image_of(4, 3, 3, 8, 0, false), out = image_of(16, 12, 3, 8, 0, false);
    esrgan_error e;
    says(esrgan_upscale(NULL, &in.p, &out.p, &e), ESRGAN_E_ARGUMENT, &e, "session");
    says(esrgan_upscale(s.session, NULL, &out.p, &e), ESRGAN_E_ARGUMENT, &e, "in is NULL");
    says(esrgan_upscale(s.session, &in.p, NULL, &e), ESRGAN_E_ARGUMENT, &e, "out is NULL");
    esrgan_picture p = out.p;
    p.width = 15;
    says(esrgan_upscale(s.session, &in.p, &p, &e), ESRGAN_E_ARGUMENT, &e, "15 x 12");
    p = out.p, p.channels = 1;
    says(esrgan_upscale(s.session, &in.p, &p, &e), ESRGAN_E_ARGUMENT, &e, "channels");
    p = out.p, p.stride = 47;
    says(esrgan_upscale(s.session, &in.p, &p, &e), ESRGAN_E_ARGUMENT, &e, "out.stride");
    p = in.p, p.data = (char *)out.memory + 5;
    says(esrgan_upscale(s.session, &p, &out.p, &e), ESRGAN_E_ARGUMENT, &e, "overlap");
    p = in.p, p.bits = 12;
    says(esrgan_upscale(s.session, &p, &out.p, &e), ESRGAN_E_ARGUMENT, &e, "in.bits");
    free(in.memory), free(out.memory);
    release(&s);
}

typedef struct watch {
    double last, stop_at;
    bool backwards;
} watch;

static int watching(void *context, double done) {
    watch *w = context;
    if (done < w->last) w->backwards = true;
    w->last = done;
    return done >= w->stop_at;
}

static image transparent_picture(void) {
    image in = image_of(9, 8, 4, 8, 0, false);
    fill(&in.p, 5);
    put(&in.p, 3, 3, 3, 0);
    return in;
}

static void progress_spans_colour_and_alpha(void **state) {
    (void)state;
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    watch w = {.last = -1, .stop_at = 2};
    ledger l;
    ledger_init(&l);
    o.backend = ESRGAN_OPENBLAS;
    o.progress = watching;
    o.progress_context = &w;
    o.allocator = &l.allocator;
    setting s = setting_of(model_x4(), &o);
    image in = transparent_picture(), out = image_of(36, 32, 4, 8, 0, false);
    upscale(&s, &in, &out);
    assert_true(w.last == 1 && !w.backwards);
    const int64_t idle = l.now;
    static const double stops[] = {0, 0.2, 0.7, 1};
    for (size_t i = 0; i < 4; i++) {
        esrgan_error error;
        w.last = -1;
        w.stop_at = stops[i];
        says(esrgan_upscale(s.session, &in.p, &out.p, &error), ESRGAN_E_CANCELLED, &error,
             "cancelled");
        assert_int_equal(l.now, idle);
    }
    free(in.memory), free(out.memory);
    release(&s);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    ledger l;
    ledger_init(&l);
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_OPENBLAS;
    o.threads = 2;
    o.allocator = &l.allocator;
    setting s = setting_of(model_x4(), &o);
    image in = transparent_picture(), out = image_of(36, 32, 4, 8, 0, false),
          want = image_of(36, 32, 4, 8, 0, false);
    upscale(&s, &in, &want);
    const int64_t idle = l.now;
    esrgan_status status = ESRGAN_E_MEMORY;
    for (int64_t fail = 0; status != ESRGAN_OK; fail++) {
        assert_true(fail < 1000);
        esrgan_error error;
        l.calls = 0;
        l.fail_at = fail;
        status = esrgan_upscale(s.session, &in.p, &out.p, &error);
        if (status != ESRGAN_OK) says(status, ESRGAN_E_MEMORY, &error, "memory");
        assert_int_equal(l.now, idle);
    }
    assert_true(l.calls > 10);
    same(&out, &want);
    free(in.memory), free(out.memory), free(want.memory);
    release(&s);
    assert_int_equal(l.now, 0);
}

/* The copy of the colours counts against max_memory, and it is what the run says it needs. */
static void memory_is_limited(void **state) {
    (void)state;
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = ESRGAN_OPENBLAS;
    o.threads = 1;
    image in = transparent_picture(), out = image_of(36, 32, 4, 8, 0, false);
    esrgan_error error;
    uint64_t needed;
    esrgan_model *model = model_x4();
    assert_int_equal(esrgan_estimate_memory(model, &o, 1, 8, 9, &needed, NULL), ESRGAN_OK);
    esrgan_model_free(model);
    needed += 8 * 9 * 3;
    for (int i = 0; i < 3; i++) {
        o.max_memory = i == 0 ? 100 : needed - 2 + (unsigned)i;
        setting s = setting_of(model_x4(), &o);
        const esrgan_status status = esrgan_upscale(s.session, &in.p, &out.p, &error);
        if (i < 2)
            says(status, ESRGAN_E_LIMIT, &error, "max_memory");
        else
            assert_int_equal(status, ESRGAN_OK);
        release(&s);
    }
    free(in.memory), free(out.memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upscale_is_what_it_says),
        cmocka_unit_test(networks_that_know_alpha),
        cmocka_unit_test(constant_alpha_is_carried_over),
        cmocka_unit_test(hidden_colour_makes_no_halo),
        cmocka_unit_test(colour_spreads_from_the_nearest),
        cmocka_unit_test(bad_pictures_are_named),
        cmocka_unit_test(progress_spans_colour_and_alpha),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_is_limited),
    };
    return cmocka_run_group_tests_name("picture", tests, NULL, NULL);
}
