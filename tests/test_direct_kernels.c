/*
 * Kernels of the direct convolution, each tier this CPU has against the scalar one: sums within
 * the bound that their length gives, everything else bit for bit.  Every buffer ends at a page
 * that must not be touched, and begins behind one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "direct.h"

enum { PAGE = 4096, SUMS = ES_DIRECT_SUMS };

/* ---- Memory between pages that cannot be touched ------------------------------------------ */

typedef struct guarded {
    void *map, *data;
    size_t mapped;
} guarded;

/* `bytes` a multiple of 64, so that the end is aligned as the contract asks. */
static guarded guard(size_t bytes, bool at_start) {
    size_t body = (bytes + PAGE - 1) / PAGE * PAGE;
    guarded g = {.mapped = body + 2 * PAGE};
    g.map = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect((char *)g.map + PAGE, body, PROT_READ | PROT_WRITE), 0);
    g.data = (char *)g.map + PAGE + (at_start ? 0 : body - bytes);
    memset(g.data, 0xff, bytes); /* NaN, whatever the type */
    return g;
}

static void unguard(guarded *g) { assert_int_equal(munmap(g->map, g->mapped), 0); }

/* ---- Values ------------------------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t next(void) { return seed = seed * 1664525u + 1013904223u; }

static float uniform(void) { return (float)(next() >> 8) / (1 << 23) - 1.0f; }

/* Of the format that is being tested. */
static es_direct_format format;

static uint16_t bits_of(float f) {
    return format == ES_DIRECT_F16 ? es_f32_to_f16(f) : es_f32_to_bf16(f);
}

static float value_of(uint16_t h) {
    return format == ES_DIRECT_F16 ? es_f16_to_f32(h) : es_bf16_to_f32(h);
}

static void fill(uint16_t *values, size_t n) {
    for (size_t i = 0; i < n; i++) values[i] = bits_of(uniform());
}

/* NaN, infinities, denormals, zero, a huge number whose square is still finite as a float. */
static uint16_t special(void) {
    static const uint16_t table[][8] = {
        [ES_DIRECT_BF16] = {0x7fc0, 0x7f80, 0xff80, 0x0001, 0x8001, 0x007f, 0x8000, 0x5c00},
        [ES_DIRECT_F16] = {0x7e00, 0x7c00, 0xfc00, 0x0001, 0x8001, 0x03ff, 0x8000, 0x7bff}};
    return table[format][next() % 8];
}

/* Now and then one of those. */
static void spice(uint16_t *values, size_t n, int count) {
    for (int i = 0; i < count; i++) values[next() % n] = special();
}

static bool agrees(float got, float want, double limit) {
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return got == want;
    return fabs((double)got - (double)want) <= limit;
}

static const es_direct_kernels *oracle(void) {
    return format == ES_DIRECT_F16 ? &es_direct_scalar_f16 : &es_direct_scalar;
}

/* The tiers to test; the oracles are not among them. */
static const es_direct_kernels *tiers[4];

static int find_tiers(void) {
    int count = 0;
    for (int i = 0; es_direct_tiers[i] != NULL; i++) {
        format = es_direct_tiers[i]->format;
        if (es_direct_tiers[i] == oracle()) continue;
        if (es_direct_usable(es_direct_tiers[i]))
            tiers[count++] = es_direct_tiers[i];
        else
            print_message("this CPU has no %s: not tested\n", es_direct_tiers[i]->tier);
    }
    return count;
}

/* A tier, whose format is then the one that is tested. */
static const es_direct_kernels *take(int t) {
    format = tiers[t]->format;
    return tiers[t];
}

/* ---- Products ----------------------------------------------------------------------------- */

typedef struct shape {
    int chunks, kh, kw, halves;
} shape;

typedef struct fixture {
    guarded planes, weights, sums, done_sums, lines, out;
    es_direct_product product;
} fixture;

/* Each kernel row's lines are just those that the taps reach, planes follow one another. */
static fixture set_up(shape s, bool at_start) {
    size_t lines = (size_t)(ES_DIRECT_BLOCK + s.kw - 1), plane = lines * (size_t)s.kh;
    size_t panel = (size_t)(s.chunks * s.kh * s.kw) * ES_DIRECT_PANEL;
    fixture f = {
        .planes = guard(plane * (size_t)s.chunks * ES_DIRECT_LANES * 2, at_start),
        .weights = guard(panel * 2, at_start),
        .sums = guard(SUMS * sizeof(float), at_start),
        .product = {.plane = plane * ES_DIRECT_LANES,
                    .chunks = s.chunks,
                    .kh = s.kh,
                    .kw = s.kw,
                    .halves = s.halves,
                    .positions = ES_DIRECT_BLOCK},
    };
    fill(f.planes.data, plane * (size_t)s.chunks * ES_DIRECT_LANES);
    fill(f.weights.data, panel);
    f.product.weights = f.weights.data;
    for (int i = 0; i < s.kh; i++)
        f.product.rows[i] = (uint16_t *)f.planes.data + (size_t)i * lines * ES_DIRECT_LANES;
    return f;
}

static void tear_down(fixture *f) {
    unguard(&f->planes);
    unguard(&f->weights);
    unguard(&f->sums);
}

/* The oracle's sums, and with magnitudes in place of values what errors are measured against. */
static void expect(const fixture *f, float *sums, float *bounds) {
    size_t planes = f->product.plane * (size_t)f->product.chunks;
    size_t panel = (size_t)(f->product.chunks * f->product.kh * f->product.kw) * ES_DIRECT_PANEL;
    oracle()->multiply(&f->product, sums, NULL, NULL);
    uint16_t *x = malloc(planes * 2), *w = malloc(panel * 2);
    assert_true(x && w);
    es_direct_product magnitude = f->product;
    const uint16_t *first = f->planes.data;
    for (size_t i = 0; i < planes; i++) x[i] = first[i] & 0x7fff;
    for (size_t i = 0; i < panel; i++) w[i] = f->product.weights[i] & 0x7fff;
    magnitude.weights = w;
    for (int i = 0; i < magnitude.kh; i++) magnitude.rows[i] = x + (f->product.rows[i] - first);
    oracle()->multiply(&magnitude, bounds, NULL, NULL);
    free(x);
    free(w);
}

static void check_sums(const es_direct_kernels *k, const fixture *f, shape s) {
    static float want[SUMS], bound[SUMS];
    expect(f, want, bound);
    const float *got = f->sums.data;
    double length = s.chunks * s.kh * s.kw * ES_DIRECT_LANES;
    for (int i = 0; i < s.halves * SUMS / 2; i++) {
        double limit = length * 0x1p-24 * (double)bound[i] + 0x1p-126 * length;
        if (!agrees(got[i], want[i], limit))
            fail_msg("%s %dx%dx%d/%d: sum %d is %g, expected %g +- %g", k->tier, s.chunks, s.kh,
                     s.kw, s.halves, i, (double)got[i], (double)want[i], limit);
    }
}

static void products(void **state) {
    (void)state;
    for (int t = 0, count = find_tiers(); t < count; t++) {
        const es_direct_kernels *k = take(t);
        k->begin();
        for (int chunks = 1; chunks <= 7; chunks++)
            for (int taps = 0; taps < 9; taps++)
                for (int halves = 1; halves <= 2; halves++)
                    for (int spiced = 0; spiced <= 1; spiced++) {
                        shape s = {chunks, taps / 3 + 1, taps % 3 + 1, halves};
                        fixture f = set_up(s, spiced);
                        if (spiced) {
                            spice(f.planes.data, f.product.plane, 9);
                            spice(f.weights.data, ES_DIRECT_PANEL, 2);
                        }
                        k->multiply(&f.product, f.sums.data, NULL, NULL);
                        check_sums(k, &f, s);
                        tear_down(&f);
                    }
        k->end();
    }
}

/* A position's sum does not depend on where in a block it lies. */
static void places(void **state) {
    (void)state;
    for (int t = 0, count = find_tiers(); t < count; t++) {
        const es_direct_kernels *k = take(t);
        size_t lines = 2 * ES_DIRECT_BLOCK + 2;
        uint16_t *x = aligned_alloc(64, lines * 3 * ES_DIRECT_LANES * 2);
        uint16_t *w = aligned_alloc(64, 9 * ES_DIRECT_PANEL * 2);
        static _Alignas(64) float a[SUMS], b[SUMS];
        assert_true(x && w);
        fill(x, lines * 3 * ES_DIRECT_LANES);
        fill(w, 9 * ES_DIRECT_PANEL);
        es_direct_product p = {.plane = 0,
                               .chunks = 1,
                               .kh = 3,
                               .kw = 3,
                               .halves = 2,
                               .weights = w,
                               .positions = ES_DIRECT_BLOCK};
        k->begin();
        for (int shift = 0; shift < ES_DIRECT_BLOCK; shift += 5) {
            for (size_t i = 0; i < 3; i++) p.rows[i] = x + i * lines * ES_DIRECT_LANES;
            k->multiply(&p, a, NULL, NULL);
            for (size_t i = 0; i < 3; i++) p.rows[i] += shift * ES_DIRECT_LANES;
            k->multiply(&p, b, NULL, NULL);
            for (int half = 0; half < 2; half++)
                assert_memory_equal(a + (half * ES_DIRECT_BLOCK + shift) * ES_DIRECT_HALF,
                                    b + half * ES_DIRECT_BLOCK * ES_DIRECT_HALF,
                                    (size_t)(ES_DIRECT_BLOCK - shift) * ES_DIRECT_HALF *
                                        sizeof(float));
        }
        k->end();
        free(x);
        free(w);
    }
}

/* Where fewer positions are wanted, those are the same bits. */
static void some_positions(void **state) {
    (void)state;
    for (int t = 0, count = find_tiers(); t < count; t++) {
        const es_direct_kernels *k = take(t);
        k->begin();
        static const int counts[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 48};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int wanted = counts[i];
            shape s = {1 + wanted % 6, 3, 1 + wanted % 2 * 2, 2};
            fixture f = set_up(s, wanted % 2);
            static _Alignas(64) float all[SUMS];
            const float *some = f.sums.data;
            k->multiply(&f.product, all, NULL, NULL);
            f.product.positions = wanted;
            k->multiply(&f.product, f.sums.data, NULL, NULL);
            for (int half = 0; half < SUMS; half += SUMS / 2)
                assert_memory_equal(some + half, all + half,
                                    (size_t)(wanted * ES_DIRECT_HALF) * sizeof(float));
            tear_down(&f);
        }
        k->end();
    }
}

/* ---- Finishing ---------------------------------------------------------------------------- */

/* Lines of `out` in some order, one of them standing for nowhere. */
static void shuffle_lines(int32_t *lines, int count) {
    for (int i = 0; i < ES_DIRECT_BLOCK; i++) lines[i] = (int32_t)((i * 7 + 3) % count);
    for (int i = 0; i < 5; i++) lines[next() % ES_DIRECT_BLOCK] = count;
}

static void same_bits(const es_direct_kernels *k, const char *what, const uint16_t *got,
                      const uint16_t *want, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i] && !(isnan(value_of(got[i])) && isnan(value_of(want[i]))))
            fail_msg("%s, %s: element %zu is %04x, expected %04x", k->tier, what, i, got[i],
                     want[i]);
}

static void fill_bytes(int8_t *values, size_t n) {
    for (size_t i = 0; i < n; i++) values[i] = (int8_t)(next() >> 24);
}

/* A way out: which of its parts are there. */
typedef struct way {
    bool near, far, low;
    float slope;
} way;

/* What is finished, what is added to it and where it goes: `out` and its low bytes as a tier leaves
 * them, `want` as the oracle does. */
typedef struct exits {
    guarded sums, bias, out, low, beside, beside_low;
    uint16_t *want;
    int8_t *want_low;
} exits;

/* So many sums; elements of out, and of what is added. */
static exits make_exits(size_t sums, size_t size, size_t near_size, bool odd) {
    exits e = {.sums = guard(sums * sizeof(float), odd),
               .bias = guard(ES_DIRECT_LANES * sizeof(float), false),
               .out = guard(size * 2, !odd),
               .low = guard(size, odd),
               .beside = guard(near_size * 2, odd),
               .beside_low = guard(size, !odd),
               .want = malloc(size * 2),
               .want_low = malloc(size)};
    assert_true(e.want && e.want_low);
    float *sum = e.sums.data, *bias = e.bias.data;
    for (size_t i = 0; i < sums; i++) sum[i] = 3 * uniform();
    for (size_t i = 0; i < sums; i += 77) sum[next() % sums] = value_of(special());
    for (int i = 0; i < ES_DIRECT_LANES; i++) bias[i] = uniform();
    fill(e.out.data, size);
    fill(e.beside.data, near_size);
    fill_bytes(e.low.data, size);
    fill_bytes(e.beside_low.data, size);
    memcpy(e.want, e.out.data, size * 2);
    memcpy(e.want_low, e.low.data, size);
    return e;
}

/* Compares the first `count` elements, and gives all back. */
static void compare_exits(const es_direct_kernels *k, const char *what, exits *e, size_t count) {
    const int8_t *low = e->low.data;
    same_bits(k, what, e->out.data, e->want, count);
    for (size_t i = 0; i < count; i++)
        if (!isnan(value_of(e->want[i])) && low[i] != e->want_low[i])
            fail_msg("%s, %s: low byte %zu is %d, expected %d", k->tier, what, i, low[i],
                     e->want_low[i]);
    free(e->want);
    free(e->want_low);
    guarded *all[] = {&e->sums, &e->bias, &e->out, &e->low, &e->beside, &e->beside_low};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unguard(all[i]);
}

/* Alone (`product` NULL) or in the shadow of a product. */
static void check_finish(const es_direct_kernels *k, const es_direct_product *product, way w) {
    enum { LINES = 61 }; /* and one that stands for nowhere */
    exits e =
        make_exits(SUMS, (LINES + 1) * ES_DIRECT_LANES, ES_DIRECT_BLOCK * ES_DIRECT_LANES, false);
    guarded lines = guard(ES_DIRECT_BLOCK * sizeof(int32_t), false);
    static _Alignas(64) float other[SUMS];
    shuffle_lines(lines.data, LINES);
    es_direct_finish f = {.bias = e.bias.data,
                          .slope = w.slope,
                          .near = w.near ? e.beside.data : NULL,
                          .near_low = w.near && w.low ? e.beside_low.data : NULL,
                          .near_scale = 0.2f,
                          .far = w.far ? e.want : NULL,
                          .far_low = w.far && w.low ? e.want_low : NULL,
                          .far_scale = 0.7f,
                          .out = e.want,
                          .out_low = w.low ? e.want_low : NULL,
                          .lines = lines.data};
    oracle()->finish(&f, e.sums.data);
    f.out = e.out.data;
    if (w.low) f.out_low = e.low.data;
    if (w.far) f.far = f.out, f.far_low = f.out_low;
    if (product)
        k->multiply(product, other, &f, e.sums.data);
    else
        k->finish(&f, e.sums.data);
    compare_exits(k, "finish", &e, LINES * ES_DIRECT_LANES);
    unguard(&lines);
}

static float join(uint16_t high, int8_t low) {
    uint32_t bits = ((uint32_t)high << 16) + (uint32_t)(low * 256);
    float joined;
    memcpy(&joined, &bits, sizeof joined);
    return joined;
}

/* Sixteen bits of a float survive being taken apart and put together. */
static void low_bytes(void **state) {
    (void)state;
    static _Alignas(64) float sums[SUMS];
    static _Alignas(64) uint16_t high[ES_DIRECT_BLOCK * ES_DIRECT_LANES], again[sizeof high / 2];
    static int8_t low[sizeof high / 2], low_again[sizeof high / 2];
    float bias[ES_DIRECT_LANES] = {0};
    int32_t lines[ES_DIRECT_BLOCK];
    for (int i = 0; i < ES_DIRECT_BLOCK; i++) lines[i] = i;
    for (int i = 0; i < SUMS; i++) sums[i] = uniform() * ldexpf(1, (int)(next() >> 25) - 64);
    es_direct_finish f = {.bias = bias, .slope = 1, .out = high, .out_low = low, .lines = lines};
    es_direct_scalar.finish(&f, sums);
    for (int i = 0; i < SUMS; i++) {
        int p = i / ES_DIRECT_LANES, o = i % ES_DIRECT_LANES;
        float v =
            sums[(o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF + o % ES_DIRECT_HALF];
        float joined = join(high[i], low[i]);
        assert_true(fabsf(joined - v) <= fabsf(v) * 0x1p-15f);
    }
    /* Added to nothing they stay what they are, but for the one tie: -128 belongs to the next number
     * down as well, as 128, for which there is no byte. */
    memset(sums, 0, sizeof sums);
    f = (es_direct_finish){.bias = bias,
                           .slope = 1,
                           .near = high,
                           .near_low = low,
                           .out = again,
                           .out_low = low_again,
                           .lines = lines};
    es_direct_scalar.finish(&f, sums);
    for (int i = 0; i < SUMS; i++) {
        if (low[i] != -128) {
            assert_int_equal(again[i], high[i]);
            assert_int_equal(low_again[i], low[i]);
        }
        float joined = join(high[i], low[i]);
        assert_true(fabsf(join(again[i], low_again[i]) - joined) <= fabsf(joined) * 0x1p-15f);
    }
}

static void finishing(void **state) {
    (void)state;
    for (int t = 0, count = find_tiers(); t < count; t++) {
        const es_direct_kernels *k = take(t);
        k->begin();
        for (int i = 0; i < 16; i++) {
            way w = {i & 1, i & 2, i & 4, i & 8 ? 0.2f : 1};
            if (w.low && format == ES_DIRECT_F16) continue; /* has none */
            check_finish(k, NULL, w);
            for (int chunks = 1; chunks <= 6; chunks++) { /* few steps and many */
                shape s = {chunks, 1 + i % 3, 1 + chunks % 3, 2};
                fixture f = set_up(s, false);
                check_finish(k, &f.product, w);
                tear_down(&f);
            }
        }
        k->end();
    }
}

/* ---- Pixels and weights ------------------------------------------------------------------- */

static void gathering(void **state) {
    (void)state;
    for (int t = 0, tested = find_tiers(); t < tested; t++) {
        const es_direct_kernels *k = take(t);
        for (int channels = 1; channels <= ES_DIRECT_LANES; channels++)
            for (int count = 1; count <= 40; count += 13) {
                size_t floats = (size_t)(channels * count), lines = (size_t)count;
                size_t pad = (16 - floats % 16) % 16;
                guarded planes = guard((floats + pad) * sizeof(float), false);
                guarded got = guard(lines * ES_DIRECT_LANES * 2, channels % 2);
                uint16_t *want = malloc(lines * ES_DIRECT_LANES * 2);
                assert_non_null(want);
                float *in = (float *)planes.data + pad; /* ends at the guard */
                for (size_t i = 0; i < floats; i++) in[i] = uniform();
                in[next() % floats] = value_of(special());
                oracle()->gather(in, lines, channels, count, want);
                k->gather(in, lines, channels, count, got.data);
                same_bits(k, "gather", got.data, want, lines * ES_DIRECT_LANES);
                free(want);
                unguard(&planes);
                unguard(&got);
            }
    }
}

static void check_pack(const es_direct_kernels *k, int outputs, int channels, int taps) {
    size_t stride = (size_t)(channels * taps) + next() % 40;
    size_t floats = stride * (size_t)(outputs - 1) + (size_t)(channels * taps);
    size_t pad = (16 - floats % 16) % 16, size = (size_t)taps * ES_DIRECT_PANEL;
    guarded weight = guard((floats + pad) * sizeof(float), false);
    guarded got = guard(size * 2, channels % 2);
    uint16_t *want = malloc(size * 2);
    assert_non_null(want);
    float *in = (float *)weight.data + pad; /* ends at the guard */
    for (size_t i = 0; i < floats; i++) in[i] = uniform();
    memset(want, 0xff, size * 2);
    /* One half is written and the other left alone. */
    oracle()->pack(in, stride, outputs, channels, taps, want);
    k->pack(in, stride, outputs, channels, taps, got.data);
    assert_memory_equal(got.data, want, size * 2);
    free(want);
    unguard(&weight);
    unguard(&got);
}

static void packing(void **state) {
    (void)state;
    static const int taps[] = {1, 2, 4, 6, 9};
    for (int t = 0, tested = find_tiers(); t < tested; t++) {
        const es_direct_kernels *k = take(t);
        for (int n = 0; n < 5; n++)
            for (int channels = 1; channels <= ES_DIRECT_LANES; channels++)
                check_pack(k, 1 + (int)(next() % ES_DIRECT_HALF), channels, taps[n]);
        for (int outputs = 1; outputs <= ES_DIRECT_HALF; outputs++)
            check_pack(k, outputs, ES_DIRECT_LANES, 9);
    }
}

/* ---- Tiles -------------------------------------------------------------------------------- */

/* Each tier that has them: whose format is then the one that is tested. */
static const es_direct_tiles *take_tiles(int t) {
    return take(t)->tiles != NULL && oracle()->tiles != NULL ? tiers[t]->tiles : NULL;
}

static void expanding(void **state) {
    (void)state;
    for (int t = 0, tested = find_tiers(); t < tested; t++) {
        const es_direct_tiles *k = take_tiles(t);
        for (int tiles = 1; k != NULL && tiles <= 21; tiles++) {
            const size_t lines = (size_t)(tiles * ES_DIRECT_TILE + 2) * ES_DIRECT_LANES;
            const size_t each = (size_t)(tiles + tiles % 3) * ES_DIRECT_LANES; /* of a point */
            const size_t size = each * ES_DIRECT_POINTS;
            guarded in = guard(lines * 2, tiles % 2), got = guard(size * 2, tiles % 2 == 0);
            uint16_t *want = malloc(size * 2);
            assert_non_null(want);
            fill(in.data, lines);
            spice(in.data, lines, tiles % 4 * 3);
            memset(want, 0xff, size * 2); /* as guard does: what lies between is left alone */
            oracle()->tiles->expand(in.data, tiles, want, each);
            k->expand(in.data, tiles, got.data, each);
            same_bits(tiers[t], "expand", got.data, want, size);
            free(want);
            unguard(&in);
            unguard(&got);
        }
    }
}

/* Tiles first .. of a block leave, `pixels` of them, to rows that end at a guard. */
static void check_row(int t, int first, int pixels, way w) {
    enum { POINT = SUMS + 32 }; /* from a point's sums to the next's */
    const size_t size = (size_t)pixels * ES_DIRECT_LANES;
    exits e = make_exits(POINT * ES_DIRECT_POINTS, size, size, first % 2);
    const float *sums = (const float *)e.sums.data + first * ES_DIRECT_HALF;
    es_direct_row r = {.bias = e.bias.data,
                       .slope = w.slope,
                       .near = w.near ? e.beside.data : NULL,
                       .near_low = w.near && w.low ? e.beside_low.data : NULL,
                       .near_scale = 0.2f,
                       .far = w.far ? e.want : NULL,
                       .far_low = w.far && w.low ? e.want_low : NULL,
                       .far_scale = 0.7f,
                       .out = e.want,
                       .out_low = w.low ? e.want_low : NULL,
                       .pixels = pixels};
    oracle()->tiles->finish(&r, sums, POINT);
    r.out = e.out.data;
    if (w.low) r.out_low = e.low.data;
    if (w.far) r.far = r.out, r.far_low = r.out_low;
    tiers[t]->tiles->finish(&r, sums, POINT);
    compare_exits(tiers[t], "finish of tiles", &e, size);
}

static void finishing_tiles(void **state) {
    (void)state;
    for (int t = 0, tested = find_tiers(); t < tested; t++)
        for (int pixels = 1; take_tiles(t) != NULL && pixels <= 40; pixels++)
            for (int i = 0; i < 16; i++) {
                way w = {i & 1, i & 2, i & 4, i & 8 ? 0.2f : 1};
                check_row(t, (int)(next() % (ES_DIRECT_BLOCK - 9)), pixels, w);
            }
}

static void check_pack_tiles(int t, int outputs, int channels) {
    const size_t stride = (size_t)(channels * 9) + next() % 40;
    const size_t floats = stride * (size_t)(outputs - 1) + (size_t)(channels * 9);
    const size_t pad = (16 - floats % 16) % 16, point = 3 * ES_DIRECT_PANEL * (1 + next() % 3);
    /* The second half's weights would follow the first's of the last tap. */
    const size_t size = (ES_DIRECT_POINTS - 1) * point + 3 * ES_DIRECT_PANEL;
    guarded weight = guard((floats + pad) * sizeof(float), false);
    guarded got = guard(size * 2, channels % 2);
    uint16_t *want = malloc(size * 2);
    assert_non_null(want);
    float *in = (float *)weight.data + pad; /* ends at the guard */
    for (size_t i = 0; i < floats; i++) in[i] = uniform();
    memset(want, 0xff, size * 2);
    oracle()->tiles->pack(in, stride, outputs, channels, want, point);
    tiers[t]->tiles->pack(in, stride, outputs, channels, got.data, point);
    assert_memory_equal(got.data, want, size * 2);
    free(want);
    unguard(&weight);
    unguard(&got);
}

static void packing_tiles(void **state) {
    (void)state;
    for (int t = 0, tested = find_tiers(); t < tested; t++) {
        if (take_tiles(t) == NULL) continue;
        for (int channels = 1; channels <= ES_DIRECT_LANES; channels++)
            check_pack_tiles(t, 1 + (int)(next() % ES_DIRECT_HALF), channels);
        for (int outputs = 1; outputs <= ES_DIRECT_HALF; outputs++)
            check_pack_tiles(t, outputs, ES_DIRECT_LANES);
    }
}

/* The oracle itself: a row by tiles is the row by the plain convolution, but for what rounding points
 * and their weights to eight bits adds (in float64, of twenty draws: 4.3e-5 to 6.9e-5 of the
 * signal's power). */
static void tiles_convolve(void **state) {
    (void)state;
    enum { TILES = 5, PIXELS = TILES * ES_DIRECT_TILE, LINE = PIXELS + 2 };
    const es_direct_kernels *k = &es_direct_scalar;
    format = ES_DIRECT_BF16;
    static uint16_t x[3][ES_DIRECT_BLOCK + 2][ES_DIRECT_LANES];
    static uint16_t points[3][ES_DIRECT_POINTS][ES_DIRECT_BLOCK][ES_DIRECT_LANES];
    static uint16_t w[9][ES_DIRECT_PANEL], u[ES_DIRECT_POINTS][3][ES_DIRECT_PANEL];
    static float g[ES_DIRECT_HALF][ES_DIRECT_LANES][9];
    static float want[SUMS], sums[ES_DIRECT_POINTS][SUMS];
    static uint16_t pixels[PIXELS][ES_DIRECT_LANES];
    static int8_t low[PIXELS][ES_DIRECT_LANES];
    const float bias[ES_DIRECT_LANES] = {[3] = 0.5f};
    for (size_t i = 0; i < sizeof g / sizeof(float); i++) (&g[0][0][0])[i] = uniform();
    for (int i = 0; i < 3; i++) fill(x[i][0], LINE * ES_DIRECT_LANES);
    k->pack(&g[0][0][0], ES_DIRECT_LANES * 9, ES_DIRECT_HALF, ES_DIRECT_LANES, 9, w[0]);
    k->tiles->pack(&g[0][0][0], ES_DIRECT_LANES * 9, ES_DIRECT_HALF, ES_DIRECT_LANES, u[0][0],
                   3 * ES_DIRECT_PANEL);
    es_direct_product p = {.rows = {x[0][0], x[1][0], x[2][0]},
                           .chunks = 1,
                           .kh = 3,
                           .kw = 3,
                           .halves = 1,
                           .positions = PIXELS,
                           .weights = w[0]};
    k->multiply(&p, want, NULL, NULL);
    for (int i = 0; i < 3; i++)
        k->tiles->expand(x[i][0], TILES, points[i][0][0], ES_DIRECT_BLOCK * ES_DIRECT_LANES);
    p.kw = 1;
    p.positions = TILES;
    for (int point = 0; point < ES_DIRECT_POINTS; point++) {
        for (int i = 0; i < 3; i++) p.rows[i] = points[i][point][0];
        p.weights = u[point][0];
        k->multiply(&p, sums[point], NULL, NULL);
    }
    es_direct_row r = {
        .bias = bias, .slope = 1, .out = pixels[0], .out_low = low[0], .pixels = PIXELS};
    k->tiles->finish(&r, sums[0], SUMS);
    double error = 0, signal = 0;
    for (int i = 0; i < PIXELS; i++)
        for (int o = 0; o < ES_DIRECT_HALF; o++) {
            double exact = want[i * ES_DIRECT_HALF + o] + bias[o];
            double off = (double)join(pixels[i][o], low[i][o]) - exact;
            error += off * off;
            signal += exact * exact;
        }
    if (!(error < 1e-4 * signal)) fail_msg("%g of the signal", error / signal);
    assert_true(error > 0);
}

/* The last tiers, one a format, are those that run everywhere, and what pays can run. */
static void choice(void **state) {
    (void)state;
    int count = 0;
    for (; es_direct_tiers[count] != NULL; count++)
        assert_true(!es_direct_worthwhile(es_direct_tiers[count]) ||
                    es_direct_usable(es_direct_tiers[count]));
    assert_true(count >= 2);
    assert_ptr_equal(es_direct_tiers[count - 2], &es_direct_scalar_f16);
    assert_ptr_equal(es_direct_tiers[count - 1], &es_direct_scalar);
    assert_int_equal(es_direct_scalar_f16.format, ES_DIRECT_F16);
    assert_int_equal(es_direct_scalar.format, ES_DIRECT_BF16);
    assert_true(es_direct_usable(&es_direct_scalar_f16) && es_direct_usable(&es_direct_scalar));
}

int main(void) {
    const struct CMUnitTest direct_kernels[] = {
        cmocka_unit_test(choice),        cmocka_unit_test(products),
        cmocka_unit_test(places),        cmocka_unit_test(finishing),
        cmocka_unit_test(low_bytes),     cmocka_unit_test(gathering),
        cmocka_unit_test(packing),       cmocka_unit_test(some_positions),
        cmocka_unit_test(expanding),     cmocka_unit_test(finishing_tiles),
        cmocka_unit_test(packing_tiles), cmocka_unit_test(tiles_convolve),
    };
    return cmocka_run_group_tests(direct_kernels, NULL, NULL);
}
