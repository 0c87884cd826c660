/*
 * The plain kernels: the scalar convolution against the definition written out, OpenBLAS against
 * the scalar one, elementwise kernels, rounding and samples against exact arithmetic.  Inputs and
 * outputs lie against guard pages.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "engine/engine.h"
#include "kernels.h"

/* ---- Memory that ends where a page that cannot be touched begins -------------------------- */

typedef struct guarded {
    void *map, *data;
    size_t mapped;
} guarded;

static guarded guard(size_t bytes) {
    const size_t page = 4096, body = (bytes + page - 1) / page * page;
    guarded g = {.mapped = body + 2 * page};
    g.map = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect((char *)g.map + page, body, PROT_READ | PROT_WRITE), 0);
    g.data = (char *)g.map + page + (body - bytes);
    return g;
}

static void unguard(guarded *g) { assert_int_equal(munmap(g->map, g->mapped), 0); }

static uint32_t seed = 1;

static double uniform(void) { /* -1 .. 1 */
    seed = seed * 1664525u + 1013904223u;
    return (double)(seed >> 8) / (1 << 23) - 1.0;
}

/* ---- Convolution -------------------------------------------------------------------------- */

typedef struct shape {
    int channels_in, channels, kernel, height, width, zoom;
    bool bias;
} shape;

typedef struct fixture {
    es_conv conv;
    guarded planes[256], weight, bias, out, scratch;
    const void *in[256];
    size_t element, weight_count;
} fixture;

static void put(const fixture *f, void *array, size_t i, double x) {
    if (f->element == sizeof(double))
        ((double *)array)[i] = x;
    else
        ((float *)array)[i] = (float)x;
}

static double get(const fixture *f, const void *array, size_t i) {
    return f->element == sizeof(double) ? ((const double *)array)[i]
                                        : (double)((const float *)array)[i];
}

static void set_up(fixture *f, const shape *s, bool wide) {
    *f = (fixture){.element = wide ? sizeof(double) : sizeof(float)};
    const size_t plane = (size_t)(s->height / s->zoom) * (size_t)(s->width / s->zoom);
    const size_t weights = (size_t)(s->channels * s->channels_in * s->kernel * s->kernel);
    for (int c = 0; c < s->channels_in; c++) {
        f->planes[c] = guard(plane * f->element);
        f->in[c] = f->planes[c].data;
        for (size_t i = 0; i < plane; i++) put(f, f->planes[c].data, i, uniform());
    }
    f->weight = guard(weights * f->element);
    f->weight_count = weights;
    for (size_t i = 0; i < weights; i++) put(f, f->weight.data, i, uniform());
    f->bias = guard((size_t)s->channels * f->element);
    for (int i = 0; i < s->channels; i++) put(f, f->bias.data, (size_t)i, uniform());
    f->out = guard((size_t)s->channels * (size_t)s->height * (size_t)s->width * f->element);
    f->conv = (es_conv){.in = f->in,
                        .out = f->out.data,
                        .weight = f->weight.data,
                        .bias = s->bias ? f->bias.data : NULL,
                        .channels_in = s->channels_in,
                        .channels = s->channels,
                        .kernel = s->kernel,
                        .height = s->height,
                        .width = s->width,
                        .zoom = s->zoom};
}

static void tear_down(fixture *f) {
    for (int c = 0; c < f->conv.channels_in; c++) unguard(&f->planes[c]);
    unguard(&f->weight);
    unguard(&f->bias);
    unguard(&f->out);
}

/* The definition.  *bound is the sum of the terms' sizes. */
static double expected(const fixture *f, int co, int y, int x, double *bound) {
    const es_conv *c = &f->conv;
    const int r = c->kernel / 2;
    double sum = c->bias ? get(f, c->bias, (size_t)co) : 0;
    *bound = fabs(sum);
    for (int ci = 0; ci < c->channels_in; ci++)
        for (int ky = 0; ky < c->kernel; ky++)
            for (int kx = 0; kx < c->kernel; kx++) {
                const int yy = y + ky - r, xx = x + kx - r;
                if (yy < 0 || yy >= c->height || xx < 0 || xx >= c->width) continue;
                const double w =
                    get(f, c->weight,
                        (size_t)(((co * c->channels_in + ci) * c->kernel + ky) * c->kernel + kx));
                const double v =
                    get(f, c->in[ci], (size_t)(yy / c->zoom * (c->width / c->zoom) + xx / c->zoom));
                sum += w * v;
                *bound += fabs(w * v);
            }
    return sum;
}

static bool backwards; /* the last piece first */

static void run(const es_kernels *k, fixture *f, size_t piece) {
    const size_t pixels = (size_t)f->conv.height * (size_t)f->conv.width;
    const size_t bytes = k->conv_scratch(&f->conv, piece);
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    const void *weight = f->conv.weight;
    guarded arranged = guard(f->weight_count * f->element);
    if (k->arrange) {
        k->arrange(&f->conv, arranged.data);
        f->conv.weight = arranged.data;
    }
    memset(scratch, 0xff, bytes); /* NaN: what is left over from before must not matter */
    memset(f->out.data, 0xff, pixels * (size_t)f->conv.channels * f->element);
    const size_t pieces = (pixels + piece - 1) / piece;
    for (size_t i = 0; i < pieces; i++) {
        const size_t first = (backwards ? pieces - 1 - i : i) * piece;
        k->conv(&f->conv, first, pixels - first < piece ? pixels - first : piece, scratch);
    }
    f->conv.weight = weight;
    unguard(&arranged);
    free(scratch);
}

/* `unit` is the rounding of one step, `steps` how many there are a term. */
static void check_conv(const es_kernels *k, const shape *s, size_t piece, double unit) {
    fixture f;
    set_up(&f, s, k->wide);
    run(k, &f, piece);
    for (int co = 0; co < s->channels; co++)
        for (int y = 0; y < s->height; y++)
            for (int x = 0; x < s->width; x++) {
                double bound;
                const double want = expected(&f, co, y, x, &bound);
                const double got =
                    get(&f, f.out.data, (size_t)((co * s->height + y) * s->width + x));
                if (!(fabs(got - want) <= unit * bound))
                    fail_msg("%s %dx%d %d->%d k%d zoom %d: (%d, %d, %d) is %.9g, not %.9g", k->name,
                             s->height, s->width, s->channels_in, s->channels, s->kernel, s->zoom,
                             co, y, x, got, want);
            }
    tear_down(&f);
}

static void sweep(const es_kernels *k, double unit_a_term) {
    static const int channels[] = {1, 2, 3, 5, 16, 33};
    int count = 0;
    for (int height = 1; height <= 5; height++)
        for (int width = 1; width <= 9; width++)
            for (size_t c = 0; c < sizeof channels / sizeof *channels; c++) {
                const shape s = {
                    channels[c], channels[(c + 2) % 6], count % 4 == 3 ? 1 : 3, height, width,
                    1,           count % 3 != 0};
                check_conv(k, &s, (size_t)(1 + count % 13), unit_a_term * (9 * s.channels_in + 4));
                count++;
            }
    static const shape others[] = {
        {3, 4, 3, 3, 63, 1, true},  {3, 4, 3, 3, 64, 1, true},   {3, 4, 3, 3, 65, 1, true},
        {2, 3, 3, 4, 131, 1, true}, {64, 32, 3, 9, 17, 1, true}, {192, 64, 3, 5, 7, 1, true},
        {4, 5, 3, 8, 12, 2, true},  {4, 5, 3, 9, 15, 3, true},   {4, 5, 1, 6, 4, 2, false},
        {7, 2, 5, 6, 11, 1, true},  {1, 1, 3, 2, 2, 2, true},    {2, 70, 3, 40, 1, 1, true},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const double unit = unit_a_term * (9 * others[i].channels_in + 4);
        check_conv(k, &others[i],
                   k->conv_chunk(&(es_conv){.channels_in = others[i].channels_in,
                                            .channels = others[i].channels,
                                            .kernel = others[i].kernel,
                                            .height = others[i].height,
                                            .width = others[i].width,
                                            .zoom = others[i].zoom}),
                   unit);
        check_conv(k, &others[i], 1, unit);
        check_conv(k, &others[i], 50, unit);
    }
}

static const double float_unit = 0x1p-24, double_unit = 0x1p-53;

static void scalar_is_the_definition(void **state) {
    (void)state;
    es_kernels k;
    es_kernels_scalar(&k, false);
    assert_string_equal(k.name, "scalar");
    /* Sums in double: one rounding to float, whatever the number of terms. */
    static const shape s = {192, 3, 3, 6, 70, 1, true};
    check_conv(&k, &s, 100, float_unit * 1.001);
    sweep(&k, float_unit);
}

static void scalar_in_double(void **state) {
    (void)state;
    es_kernels k;
    es_kernels_scalar(&k, true);
    assert_true(k.wide);
    sweep(&k, double_unit);
}

static void openblas_agrees(void **state) {
    (void)state;
    es_kernels k;
    es_kernels_scalar(&k, false);
    assert_null(es_openblas_load());
    es_kernels_openblas(&k);
    assert_string_equal(k.name, "openblas");
    assert_true(strlen(es_openblas_core()) > 0);
    sweep(&k, float_unit);
}

/* The same pixels in the same pieces, in any order, are the same bits. */
static void openblas_repeats_itself(void **state) {
    (void)state;
    es_kernels k;
    es_kernels_scalar(&k, false);
    assert_null(es_openblas_load());
    es_kernels_openblas(&k);
    const shape s = {64, 32, 3, 33, 41, 1, true};
    fixture f;
    seed = 77;
    set_up(&f, &s, false);
    const size_t pixels = 33 * 41, bytes = pixels * 32 * sizeof(float), piece = 512;
    run(&k, &f, piece);
    void *once = malloc(bytes);
    memcpy(once, f.out.data, bytes);
    const shape same = s;
    tear_down(&f);
    seed = 77;
    set_up(&f, &same, false);
    backwards = true;
    run(&k, &f, piece);
    backwards = false;
    assert_memory_equal(once, f.out.data, bytes);
    free(once);
    tear_down(&f);
}

static void nan_and_infinity_come_through(void **state) {
    (void)state;
    assert_null(es_openblas_load());
    for (int openblas = 0; openblas < 2; openblas++) {
        es_kernels k;
        es_kernels_scalar(&k, false);
        if (openblas) es_kernels_openblas(&k);
        const shape s = {2, 3, 3, 5, 6, 1, true};
        fixture f;
        set_up(&f, &s, false);
        ((float *)f.planes[1].data)[2 * 6 + 3] = NAN;
        ((float *)f.planes[0].data)[0] = INFINITY;
        run(&k, &f, 7);
        const float *out = f.out.data;
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 6; x++) {
                const bool near_nan = abs(y - 2) <= 1 && abs(x - 3) <= 1;
                const bool near_infinity = y <= 1 && x <= 1;
                assert_int_equal(!isfinite(out[y * 6 + x]), near_nan || near_infinity);
            }
        tear_down(&f);
    }
}

/* ---- Element by element ------------------------------------------------------------------- */

static void elementwise_float(void **state) {
    (void)state;
    es_kernels k;
    es_kernels_scalar(&k, false);
    for (size_t n = 1; n <= 40; n++) {
        guarded a = guard(n * 4), b = guard(n * 4), o = guard(n * 4);
        float *x = a.data, *y = b.data, *out = o.data;
        for (size_t i = 0; i < n; i++) x[i] = (float)uniform(), y[i] = (float)uniform();
        const float alpha = (float)0.2;
        k.lrelu(out, x, n, 0.2);
        for (size_t i = 0; i < n; i++) assert_true(out[i] == (x[i] < 0 ? alpha * x[i] : x[i]));
        k.scale(out, x, n, 0.2);
        for (size_t i = 0; i < n; i++) assert_true(out[i] == alpha * x[i]);
        k.add(out, x, y, n);
        for (size_t i = 0; i < n; i++) assert_true(out[i] == x[i] + y[i]);
        k.residual(out, x, y, n, 0.2);
        for (size_t i = 0; i < n; i++) {
            const volatile float scaled = alpha * x[i];
            assert_true(out[i] == scaled + y[i]);
        }
        k.residual(y, x, y, n, 0.2); /* in place */
        assert_memory_equal(out, y, n * 4);
        unguard(&a), unguard(&b), unguard(&o);
    }
}

static void rows_are_repeated_and_picked(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++)
        for (int factor = 1; factor <= 4; factor++)
            for (size_t n = 1; n <= 24; n++) {
                es_kernels k;
                es_kernels_scalar(&k, wide);
                const fixture f = {.element = wide ? 8 : 4};
                const size_t fewer = (n + (size_t)factor - 1) / (size_t)factor;
                guarded in = guard(fewer * f.element), out = guard(n * f.element);
                for (size_t i = 0; i < fewer; i++) put(&f, in.data, i, (double)i);
                k.repeat(out.data, in.data, n, factor);
                for (size_t i = 0; i < n; i++)
                    assert_true(get(&f, out.data, i) == (double)(i / (size_t)factor));
                unguard(&in), unguard(&out);

                in = guard(((n - 1) * (size_t)factor + 1) * f.element), out = guard(n * f.element);
                for (size_t i = 0; i <= (n - 1) * (size_t)factor; i++)
                    put(&f, in.data, i, (double)i);
                k.pick(out.data, in.data, n, factor);
                for (size_t i = 0; i < n; i++)
                    assert_true(get(&f, out.data, i) == (double)(i * (size_t)factor));
                unguard(&in), unguard(&out);
            }
}

/* ---- Rounding and samples ----------------------------------------------------------------- */

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void same_rounding(uint32_t bits, void (*round)(float *, size_t), uint16_t (*to)(float),
                          float (*from)(uint16_t)) {
    float x = float_of(bits);
    const float want = from(to(x));
    round(&x, 1);
    if (isnan(want) ? !isnan(x) : memcmp(&x, &want, sizeof x) != 0)
        fail_msg("%08x rounds to %.9g, not %.9g", bits, (double)x, (double)want);
}

/* Every sign, exponent and half-precision fraction, with what lies around each tie. */
static void rounding_to_half(void **state) {
    (void)state;
    static const uint32_t low[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x1fff};
    for (uint32_t high = 0; high < 1u << 19; high++)
        for (int i = 0; i < 6; i++)
            same_rounding(high << 13 | low[i], es_round_f16, es_f32_to_f16, es_f16_to_f32);
    static const uint32_t low16[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (uint32_t high = 0; high < 1u << 16; high++)
        for (int i = 0; i < 6; i++)
            same_rounding(high << 16 | low16[i], es_round_bf16, es_f32_to_bf16, es_bf16_to_f32);
    for (int i = 0; i < 1000000; i++) {
        const uint32_t bits = seed = seed * 1664525u + 1013904223u;
        same_rounding(bits, es_round_f16, es_f32_to_f16, es_f16_to_f32);
        same_rounding(bits ^ bits >> 16, es_round_bf16, es_f32_to_bf16, es_bf16_to_f32);
    }
}

static void samples_there_and_back(void **state) {
    (void)state;
    for (int i = 0; i < 256; i++) {
        const uint8_t in[3] = {(uint8_t)i, 99, (uint8_t)(255 - i)};
        float x[2];
        uint8_t back[3] = {7, 7, 7};
        es_unpack_u8(x, in, 2, 2);
        assert_true(x[0] == (float)i / 255.0f);
        es_pack_u8(back, x, 2, 2);
        assert_int_equal(back[0], in[0]);
        assert_int_equal(back[1], 7);
        assert_int_equal(back[2], in[2]);
    }
    for (int i = 0; i < 65536; i++) {
        const uint16_t in = (uint16_t)i;
        uint16_t back;
        float x;
        es_unpack_u16(&x, &in, 1, 1);
        es_pack_u16(&back, &x, 1, 1);
        assert_int_equal(back, i);
    }
}

static void samples_are_clamped_and_rounded(void **state) {
    (void)state;
    static const float odd[] = {-1,
                                -0.0f,
                                0,
                                1,
                                1.5f,
                                1e30f,
                                -1e30f,
                                0.5f / 255,
                                1.49f / 255,
                                1.51f / 255,
                                (float)INFINITY,
                                -(float)INFINITY,
                                (float)NAN,
                                254.4f / 255};
    static const uint8_t want[] = {0, 0, 0, 255, 255, 255, 0, 0, 1, 2, 255, 0, 0, 254};
    uint8_t got[sizeof want];
    es_pack_u8(got, odd, sizeof want, 1);
    assert_memory_equal(got, want, sizeof want);
    for (int i = 0; i < 100000; i++) {
        const float x = (float)uniform() * 0.6f + 0.5f;
        uint8_t a;
        uint16_t b;
        es_pack_u8(&a, &x, 1, 1);
        es_pack_u16(&b, &x, 1, 1);
        const float c = fminf(fmaxf(x, 0), 1);
        assert_int_equal(a, (int)nearbyintf(c * 255.0f));
        assert_int_equal(b, (int)nearbyintf(c * 65535.0f));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_the_definition),
        cmocka_unit_test(scalar_in_double),
        cmocka_unit_test(openblas_agrees),
        cmocka_unit_test(openblas_repeats_itself),
        cmocka_unit_test(nan_and_infinity_come_through),
        cmocka_unit_test(elementwise_float),
        cmocka_unit_test(rows_are_repeated_and_picked),
        cmocka_unit_test(rounding_to_half),
        cmocka_unit_test(samples_there_and_back),
        cmocka_unit_test(samples_are_clamped_and_rounded),
    };
    return cmocka_run_group_tests_name("kernels_scalar", tests, NULL, NULL);
}
