/*
 * Every native kernel of every tier of this CPU against plain arithmetic in double, buffers between
 * pages that must not be touched, outputs poisoned before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "base/dtype.h"
#include "engine/tiers.h"

enum { LANES = ES_NATIVE_LANES, MAX_SIDE = ES_NATIVE_MAX_PATCH };

/* ---- Memory between guard pages ------------------------------------------------------------- */

typedef struct guarded {
    char *map;
    size_t mapped;
    void *data; /* ends, or begins, at a page that faults */
} guarded;

static guarded guard(size_t bytes, bool at_start) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    guarded g = {.mapped = body + 2 * page};
    g.map = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.map, MAP_FAILED);
    assert_int_equal(mprotect(g.map + page, body, PROT_READ | PROT_WRITE), 0);
    g.data = g.map + page + (at_start ? 0 : body - bytes);
    return g;
}

static void unguard(const guarded *g) { assert_int_equal(munmap(g->map, g->mapped), 0); }

/* ---- Numbers -------------------------------------------------------------------------------- */

static uint32_t seed = 1;
static float number(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1 << 23) - 1.0f;
}

static const float POISON = -12345.25f;

static void poison(float *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = POISON;
}

static size_t size_of(es_native_format f) { return f == ES_NATIVE_F32 ? 4 : 2; }

static float get(es_native_format f, const void *p, size_t i) {
    if (f == ES_NATIVE_F16) return es_f16_to_f32(((const uint16_t *)p)[i]);
    if (f == ES_NATIVE_BF16) return es_bf16_to_f32(((const uint16_t *)p)[i]);
    return ((const float *)p)[i];
}

static void set(es_native_format f, void *p, size_t i, float x) {
    if (f == ES_NATIVE_F16)
        ((uint16_t *)p)[i] = es_f32_to_f16(x);
    else if (f == ES_NATIVE_BF16)
        ((uint16_t *)p)[i] = es_f32_to_bf16(x);
    else
        ((float *)p)[i] = x;
}

/* ---- Points and weights ---------------------------------------------------------------------- */

/* Channel c of a tile's points, of a block of so many tiles: number of the value, two of which share a
 * place where kernels take pairs, and take two where they are doubles. */
static size_t of_points(const es_native_kernels *k, size_t chunk, size_t from, int c) {
    const int wide = es_native_chunk(k);
    return ((size_t)(c / wide) * chunk + from) * (size_t)k->pack / (size_t)k->places +
           (size_t)(c % wide);
}

/* The weight of channel c for output o of `wide`. */
static size_t of_weights(const es_native_kernels *k, int wide, int c, int o) {
    return ((size_t)(c / k->pack * wide + o)) * (size_t)k->pack + (size_t)(c % k->pack);
}

static double sum_at(const es_native_kernels *k, const void *m, size_t i) {
    return k->places > 1 ? ((const double *)m)[i] : (double)((const float *)m)[i];
}

static void set_sum(const es_native_kernels *k, void *m, size_t i, double x) {
    if (k->places > 1)
        ((double *)m)[i] = x;
    else
        ((float *)m)[i] = (float)x;
}

/* A value of v or u. */
static double held(const es_native_kernels *k, const void *p, size_t i) {
    return k->pack > 1 ? (double)get(ES_NATIVE_BF16, p, i) : sum_at(k, p, i);
}

static void hold(const es_native_kernels *k, void *p, size_t i, double x) {
    if (k->pack > 1)
        set(ES_NATIVE_BF16, p, i, (float)x);
    else
        set_sum(k, p, i, x);
}

/* What sums are rounded by. */
static double unit_of(const es_native_kernels *k) { return k->places > 1 ? 1.2e-16 : 6e-8; }

/* ---- The transforms as matrices ------------------------------------------------------------- */

typedef double matrix[MAX_SIDE][MAX_SIDE];

/* By interpolation at these points and infinity: F(m, 3) with n = m + 2 points.  The scaling of points
 * is what the kernels' constants follow. */
static const double *points_of(es_native_shape s) {
    static const double usual[] = {0, 1, -1, 2, -2, 0.5, -0.5},
                        of_four[] = {0, 2.0 / 3, -2.0 / 3, 1.5, -1.5};
    return s == ES_NATIVE_F4 ? of_four : usual;
}

/* Row p of B^T: the polynomial that vanishes at all finite points but p, normalised so that
 * A^T ((G g) (B^T d)) is the convolution with A and G below. */
static void in_matrix(es_native_shape s, matrix b) {
    const int n = es_native_shape_geometry(s).tile + 2;
    const double *points = points_of(s);
    memset(b, 0, sizeof(matrix));
    for (int p = 0; p < n; p++) {
        double poly[MAX_SIDE + 1] = {1};
        int degree = 0;
        for (int q = 0; q < n - 1; q++) {
            if (q == p) continue;
            for (int i = ++degree; i > 0; i--) poly[i] = poly[i - 1] - points[q] * poly[i];
            poly[0] *= -points[q];
        }
        for (int i = 0; i <= degree; i++) b[p][i] = poly[i];
    }
}

static void out_matrix(es_native_shape s, matrix a) {
    const int tile = es_native_shape_geometry(s).tile, n = tile + 2;
    const double *points = points_of(s);
    memset(a, 0, sizeof(matrix));
    for (int i = 0; i < tile; i++)
        for (int p = 0; p < n - 1; p++) a[i][p] = pow(points[p], i);
    a[tile - 1][n - 1] = 1;
}

static void weight_matrix(es_native_shape s, matrix g) {
    const int n = es_native_shape_geometry(s).tile + 2;
    const double *points = points_of(s);
    memset(g, 0, sizeof(matrix));
    for (int p = 0; p < n - 1; p++) {
        double scale = 1;
        for (int q = 0; q < n - 1; q++)
            if (q != p) scale *= points[p] - points[q];
        for (int i = 0; i < 3; i++) g[p][i] = pow(points[p], i) / scale;
    }
    g[n - 1][2] = 1;
}

/* Kernels are free to move a factor from G to B^T; V and U are compared up to that factor, which
 * has to be the same for all columns: it is read off one unit impulse. */
static int tile_of(es_native_shape s) { return es_native_shape_geometry(s).tile; }
static bool doubles(es_native_shape s) { return s >= ES_NATIVE_F2_UP; }
static int side_of(es_native_shape s) { return tile_of(s) + 2 - doubles(s); }
/* Point -1 is the third; shapes that double leave it out. */
static int full_point(es_native_shape s, int p) { return doubles(s) && p >= 2 ? p + 1 : p; }

/* ---- Tiers ---------------------------------------------------------------------------------- */

typedef void (*check_fn)(const es_native_kernels *k, es_native_shape s, es_native_format f);

static void every_tier(check_fn check, bool formats) {
    int tested = 0;
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        assert_int_equal(esrgan_tier_get(i, &tier, NULL), ESRGAN_OK);
        const char *why;
        const es_native_kernels *k = tier.usable ? es_tier_kernels(tier.name, &why) : NULL;
        if (!k && tier.usable) k = es_tier_pairs(tier.name);
        if (!k) continue;
        assert_true((k->f64 == NULL) == (k->pack > 1));
        for (const es_native_kernels *one = k; one; one = one->f64) {
            assert_string_equal(one->name, tier.name); /* the tier that was meant */
            for (int s = 0; s < ES_NATIVE_SHAPES; s++) {
                const bool there = one->pack > 1     ? s <= ES_NATIVE_F4
                                   : one->places > 1 ? s == ES_NATIVE_F6 || s == ES_NATIVE_F6_UP
                                                     : true;
                const int most = formats && one->places == 1 ? ES_NATIVE_FORMATS : 1;
                assert_true((one->weights[s] != NULL) == there);
                for (int f = 0; there && f < most; f++) {
                    seed = 1; /* the same numbers whatever other tiers there are */
                    check(one, (es_native_shape)s, (es_native_format)f);
                }
            }
        }
        tested++;
    }
    assert_true(tested > 0);
}

/* ---- Input ---------------------------------------------------------------------------------- */

/* B^T d B of channel c, and the same over magnitudes; d is enlarged first where the shape does. */
static double in_expected(es_native_shape s, double d[MAX_SIDE][MAX_SIDE], int i, int j,
                          double *bound) {
    matrix b;
    int n = tile_of(s) + 2;
    in_matrix(s, b);
    double sum = 0;
    *bound = 0;
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            double from = doubles(s) ? d[(y + 1) / 2][(x + 1) / 2] : d[y][x];
            double part = b[full_point(s, i)][y] * b[full_point(s, j)][x] * from;
            sum += part, *bound += fabs(part);
        }
    return sum;
}

static void check_input(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    const int patch = es_native_shape_geometry(s).patch, side = side_of(s), all = side * side;
    const double unit =
        k->pack > 1 ? 1.0 / 128 : 0; /* both are rounded: what is got, and its gain */
    for (int chunks = 1; chunks <= 5; chunks += 2) {
        const int channels = chunks * es_native_chunk(k);
        const size_t pixel = (size_t)(channels + LANES) * size_of(f); /* some are skipped */
        const size_t point = 3 * LANES, chunk = point * (size_t)all;
        const size_t floats = chunk * (size_t)chunks;
        guarded rows[MAX_SIDE], v = guard((floats - 2 * LANES) * 4, chunks == 1);
        const void *row[MAX_SIDE];
        for (int y = 0; y < patch; y++) {
            size_t count = (size_t)patch * pixel - LANES * size_of(f);
            rows[y] = guard(count, chunks == 1);
            row[y] = rows[y].data;
            for (size_t i = 0; i < count / size_of(f); i++) set(f, rows[y].data, i, number());
        }
        float *out = v.data;
        poison(out, floats - 2 * LANES);
        k->input[s][f](row, (ptrdiff_t)pixel, channels, out, point, chunk);
        matrix gain; /* what the kernel's constants differ by from in_matrix, point by point */
        for (int c = 0; c < channels; c++) {
            double d[MAX_SIDE][MAX_SIDE];
            for (int y = 0; y < patch; y++)
                for (int x = 0; x < patch; x++)
                    d[y][x] = get(f, (const char *)row[y] + (size_t)x * pixel, (size_t)c);
            for (int i = 0; i < side; i++)
                for (int j = 0; j < side; j++) {
                    const double got =
                        held(k, out, of_points(k, chunk, (size_t)(i * side + j) * point, c));
                    double bound, expected = in_expected(s, d, i, j, &bound);
                    if (c == 0) gain[i][j] = fabs(expected) > bound / 50 ? got / expected : NAN;
                    if (isnan(gain[i][j])) continue;
                    if (fabs(got - gain[i][j] * expected) >
                        fabs(gain[i][j]) * (bound * 60 * unit_of(k) + fabs(expected) * unit))
                        fail_msg("%s input shape %d format %d point %d,%d channel %d: %g not %g",
                                 k->name, s, f, i, j, c, got, gain[i][j] * expected);
                }
        }
        for (size_t i = 0; i < floats - 2 * LANES; i++)
            if (i % point >= LANES) assert_true(out[i] == POISON);
        for (int y = 0; y < patch; y++) unguard(&rows[y]);
        unguard(&v);
    }
}

static void input_transforms(void **state) {
    (void)state;
    every_tier(check_input, true);
}

/* ---- Weights -> products -> pixels, as a whole against the convolution ------------------------ */

typedef struct job {
    int lanes, tiles, width, height, wide; /* lanes: channels in, or pairs, by LANES; wide: out */
    int activate, residuals;
    bool at_start;
} job;

static double reference(es_native_shape s, const double *d, const double *g, int channels, int y,
                        int x, double *bound) {
    int side = tile_of(s) + 2;
    double sum = 0;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                int yy = y + i, xx = x + j;
                if (doubles(s)) yy = (yy + 1) / 2, xx = (xx + 1) / 2;
                double part = d[(c * side + yy) * side + xx] * g[c * 9 + i * 3 + j];
                sum += part, *bound += fabs(part);
            }
    return sum;
}

/* Winograd's own growth is some tens; storing rounds once more. */
static double allowed_error(const es_native_kernels *k, es_native_format f, int channels,
                            double sum, double bound) {
    const double unit = f == ES_NATIVE_F16    ? 1.0 / 2048
                        : f == ES_NATIVE_BF16 ? 1.0 / 256
                        : k->places > 1       ? 6e-8
                                              : 0;
    return bound * 40 * unit_of(k) * (1 + sqrt(channels)) + fabs(sum) * unit + unit * 1e-4;
}

/* By how much errors of what is multiplied grow in row (or column) i of a tile, as squares: the sum
 * over points of |A|^2 |B|^2 |G|^2 (see native_winograd.h). */
static double growth(es_native_shape s, int i) {
    matrix a, b, g;
    double sum = 0;
    in_matrix(s, b), out_matrix(s, a), weight_matrix(s, g);
    for (int p = 0; p < tile_of(s) + 2; p++) {
        double in = 0, weights = 0;
        for (int j = 0; j < tile_of(s) + 2; j++) in += b[p][j] * b[p][j];
        for (int j = 0; j < 3; j++) weights += g[p][j] * g[p][j];
        sum += a[i][p] * a[i][p] * in * weights;
    }
    return sum / 3;
}

/* Tiles of random pixels through all four kernels; each pixel of each tile is compared. */
static void convolve(const es_native_kernels *k, es_native_shape s, es_native_format f, job j) {
    const es_native_geometry geometry = es_native_shape_geometry(s);
    const int patch = geometry.patch, all = geometry.points, side = tile_of(s) + 2;
    const int channels = j.lanes * LANES * k->pack, chunks = j.lanes * k->places;
    const int places = chunks * LANES; /* that an output's weights take */
    const size_t point = (size_t)j.tiles * LANES, chunk = point * (size_t)all;
    guarded v = guard(chunk * (size_t)chunks * 4, j.at_start);
    guarded u = guard((size_t)all * (size_t)places * (size_t)j.wide * 4, j.at_start);
    const size_t m_point = (size_t)(j.tiles * j.wide * k->places);
    guarded m = guard(m_point * (size_t)all * 4, j.at_start);
    double *d = calloc((size_t)(j.tiles * channels * side * side), sizeof *d);
    double *g = calloc((size_t)(j.wide * channels * 9), sizeof *g);
    const size_t pixel = (size_t)channels * size_of(f);
    char *pixels = malloc(pixel * (size_t)(patch * patch));
    /* As in a file: anywhere, and with other channels between the rows. */
    const size_t row = (9 * LANES + 3) * sizeof(float), odd = 1;
    guarded stored = guard(row * (LANES - 1) + 9 * LANES * sizeof(float) + odd, j.at_start);
    char *taps = (char *)stored.data + odd;
    assert_true(d && g && pixels);
    for (int t = 0; t < j.tiles; t++) {
        const void *rows[MAX_SIDE];
        for (int i = 0; i < patch * patch * channels; i++) set(f, pixels, (size_t)i, number());
        for (int y = 0; y < patch; y++) rows[y] = pixels + (size_t)(y * patch) * pixel;
        for (int c = 0; c < channels; c++)
            for (int y = 0; y < patch; y++)
                for (int x = 0; x < patch; x++)
                    d[((t * channels + c) * side + y) * side + x] =
                        get(f, rows[y], (size_t)(x * channels + c));
        k->input[s][f](rows, (ptrdiff_t)pixel, channels, (float *)v.data + t * LANES, point, chunk);
    }
    const es_native_format weight = k->pack > 1 ? ES_NATIVE_F32 : f; /* pairs are rounded later */
    for (int first = 0; first < j.wide; first += LANES)
        for (int c = 0; c < channels; c += LANES) {
            for (int i = 0; i < LANES * LANES * 9; i++) {
                int o = first + i / (LANES * 9), in = c + i / 9 % LANES;
                float tap = number(), held[1];
                set(weight, held, 0, tap);
                g[(o * channels + in) * 9 + i % 9] = get(weight, held, 0);
                memcpy(taps + (size_t)(i / (LANES * 9)) * row +
                           (size_t)(i % (LANES * 9)) * sizeof tap,
                       &tap, sizeof tap);
            }
            k->weights[s](taps, row, weight,
                          (float *)u.data + (c / k->pack * j.wide + first) * k->places,
                          (size_t)(j.wide * k->places), (size_t)(places * j.wide), taps);
        }
    const float *table[40];
    for (int c = 0; c < chunks + ES_NATIVE_AHEAD; c++)
        table[c] = (const float *)v.data + (size_t)(c < chunks ? c : chunks - 1) * chunk;
    poison(m.data, m_point * (size_t)all);
    for (int p = 0; p < all; p++) {
        const float *up = (const float *)u.data + (size_t)p * (size_t)(places * j.wide);
        es_native_ahead ahead = {table, point * (size_t)p, up, 1 + p % 3};
        (j.wide == k->panel ? k->multiply_panel
                            : k->multiply_lanes)(table, point * (size_t)p, j.tiles, up, chunks, 0,
                                                 (float *)m.data + (size_t)p * m_point, &ahead);
    }
    /* Out: rows of their own, poisoned, exactly as wide as what may be written. */
    float *bias = malloc((size_t)j.wide * 4);
    assert_true(bias != NULL);
    for (int o = 0; o < j.wide; o++) bias[o] = number();
    const size_t size = size_of(f), step = ((size_t)j.wide + 3) * size;
    for (int t = 0; t<j.tiles; t += j.tiles> 1 ? j.tiles - 1 : 1) {
        guarded rows[ES_NATIVE_MAX_TILE], added[2][ES_NATIVE_MAX_TILE];
        es_native_store store = {.bias = bias,
                                 .activate = j.activate,
                                 .slope = 0.2f,
                                 .residuals = j.residuals,
                                 .alpha = {0.2f, 0.7f},
                                 .residual_step = {(ptrdiff_t)step, (ptrdiff_t)step},
                                 .step = (ptrdiff_t)step,
                                 .height = j.height,
                                 .width = j.width};
        const size_t bytes = step * (size_t)(j.width - 1) + (size_t)j.wide * size;
        for (int y = 0; y < j.height; y++) {
            rows[y] = guard(bytes, j.at_start);
            store.row[y] = rows[y].data;
            for (size_t i = 0; i < bytes / size; i++) set(f, rows[y].data, i, POISON);
            for (int r = 0; r < j.residuals; r++) {
                added[r][y] = guard(bytes, j.at_start);
                store.residual[r][y] = added[r][y].data;
                for (size_t i = 0; i < bytes / size; i++) set(f, added[r][y].data, i, number());
            }
        }
        k->output[s][f]((const float *)m.data + t * j.wide * k->places, m_point, j.wide, &store);
        for (int y = 0; y < j.height; y++)
            for (int x = 0; x < j.width; x++)
                for (int o = 0; o < j.wide + (x + 1 < j.width ? 3 : 0); o++) {
                    size_t at = (size_t)x * (step / size) + (size_t)o;
                    float got = get(f, store.row[y], at);
                    if (o >= j.wide) {
                        float poisoned;
                        uint32_t raw = 0;
                        set(f, &raw, 0, POISON);
                        poisoned = get(f, &raw, 0);
                        assert_true(got == poisoned);
                        continue;
                    }
                    double bound = fabs(bias[o]);
                    double sum =
                        bias[o] + reference(s, d + (size_t)(t * channels * side * side),
                                            g + (size_t)(o * channels * 9), channels, y, x, &bound);
                    if (j.activate && sum < 0) sum *= (double)0.2f;
                    for (int r = 0; r < j.residuals; r++) {
                        double other = get(f, store.residual[r][y], at);
                        sum = (double)store.alpha[r] * sum + other, bound += fabs(other);
                    }
                    double allowed = allowed_error(k, f, channels, sum, bound);
                    if (k->pack > 1)
                        allowed += 8 * sqrt(growth(s, y) * growth(s, x)) * bound /
                                   (3 * sqrt(channels)) / 512;
                    if (!(fabs(got - sum) <= allowed))
                        fail_msg(
                            "%s shape %d format %d tile %d of %d pixel %d,%d channel %d of %d: "
                            "%.9g not %.9g (allowed %g)",
                            k->name, s, f, t, j.tiles, y, x, o, j.wide, got, sum, allowed);
                }
        for (int y = 0; y < j.height; y++) {
            unguard(&rows[y]);
            for (int r = 0; r < j.residuals; r++) unguard(&added[r][y]);
        }
    }
    unguard(&stored), free(bias), free(pixels), free(g), free(d);
    unguard(&v), unguard(&u), unguard(&m);
}

static void check_convolution(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    const int tile = tile_of(s);
    for (int tiles = 1; tiles <= k->block; tiles++) /* every register block */
        convolve(k, s, f,
                 (job){.lanes = 1 + tiles % 3,
                       .tiles = tiles,
                       .width = tile,
                       .height = tile,
                       .wide = tiles % 2 ? k->panel : LANES,
                       .activate = tiles % 2,
                       .residuals = tiles % 3,
                       .at_start = tiles % 4 < 2});
    for (int width = 1; width <= tile; width++) /* every edge */
        convolve(k, s, f,
                 (job){.lanes = 1,
                       .tiles = 2,
                       .width = width,
                       .height = tile + 1 - width,
                       .wide = k->panel,
                       .activate = 1,
                       .residuals = 2,
                       .at_start = width % 2});
    convolve(k, s, f,
             (job){.lanes = 13,
                   .tiles = k->block,
                   .width = tile,
                   .height = tile,
                   .wide = k->panel,
                   .residuals = 1}); /* a long sum */
}

static void convolutions(void **state) {
    (void)state;
    every_tier(check_convolution, true);
}

/* ---- Tiles at an edge: fewer outputs with F6's weights and some of its points -------------------- */

typedef struct edge {
    es_native_shape shape;
    int rows, columns; /* of outputs */
} edge;

static bool has_point(const edge *e, int p) {
    return es_native_has_line(e->rows, p / 8) && es_native_has_line(e->columns, p % 8);
}

/* A tile between two others; channels. */
enum { EDGE_CHUNKS = 2, EDGE_POINT = 3 * LANES, EDGE_CHANNELS = EDGE_CHUNKS * LANES };

/* Random pixels d[channel][y][x], rows and columns beyond the last ones out of reach, to points v; those that
 * the shape does not have, and other tiles, stay as they are. */
static void edge_input(const es_native_kernels *k, es_native_format f, const edge *e, double *d,
                       float *v) {
    const int channels = EDGE_CHANNELS;
    const size_t chunk = (size_t)EDGE_POINT * 64, pixel = (size_t)channels * size_of(f);
    guarded rows[MAX_SIDE];
    const void *row[MAX_SIDE] = {0};
    for (int y = 0; y < e->rows + 2; y++) {
        rows[y] = guard(pixel * (size_t)(e->columns + 2), false);
        row[y] = rows[y].data;
        for (int i = 0; i < (e->columns + 2) * channels; i++) {
            set(f, rows[y].data, (size_t)i, number());
            d[(i % channels * MAX_SIDE + y) * MAX_SIDE + i / channels] =
                get(f, rows[y].data, (size_t)i);
        }
    }
    poison(v, chunk * EDGE_CHUNKS);
    k->input[e->shape][f](row, (ptrdiff_t)pixel, channels, v + LANES, EDGE_POINT, chunk);
    for (size_t i = 0; i < chunk * EDGE_CHUNKS; i++) {
        const size_t at = i % EDGE_POINT;
        if (at < LANES || at >= 2 * LANES || !has_point(e, (int)(i % chunk / EDGE_POINT)))
            assert_true(v[i] == POISON);
    }
    for (int y = 0; y < e->rows + 2; y++) unguard(&rows[y]);
}

/* Points of random kernels g[out][in][9]. */
static void edge_weights(const es_native_kernels *k, double *g, float *u) {
    const int channels = EDGE_CHANNELS;
    float taps[LANES * LANES * 9];
    for (int c = 0; c < channels; c += LANES) {
        for (int i = 0; i < LANES * LANES * 9; i++) {
            taps[i] = number();
            g[(i / (LANES * 9) * channels + c) * 9 + i % (LANES * 9)] = taps[i];
        }
        k->weights[ES_NATIVE_F6](taps, sizeof taps / LANES, ES_NATIVE_F32, u + c * LANES, LANES,
                                 (size_t)(channels * LANES), taps);
    }
}

static void check_one_edge(const es_native_kernels *k, es_native_format f, const edge *e) {
    const int channels = EDGE_CHANNELS;
    const size_t chunk = (size_t)EDGE_POINT * 64;
    double *d = calloc((size_t)(MAX_SIDE * MAX_SIDE * channels), sizeof *d);
    double *g = calloc((size_t)(LANES * channels * 9), sizeof *g);
    float *v = malloc(chunk * EDGE_CHUNKS * 4), *u = malloc((size_t)(64 * channels * LANES) * 4);
    float m[64][LANES], bias[LANES];
    assert_true(d && g && v && u);
    edge_input(k, f, e, d, v);
    edge_weights(k, g, u);
    const float *table[EDGE_CHUNKS + ES_NATIVE_AHEAD];
    for (int c = 0; c < EDGE_CHUNKS + ES_NATIVE_AHEAD; c++)
        table[c] = v + LANES + (size_t)(c % EDGE_CHUNKS) * chunk;
    for (int o = 0; o < LANES; o++) bias[o] = number();
    for (int p = 0; p < 64; p++) {
        const float *at = u + (size_t)(p * channels * LANES);
        es_native_ahead ahead = {table, 0, at, 1};
        for (int o = 0; o < LANES; o++) m[p][o] = NAN;
        if (has_point(e, p))
            k->multiply_lanes(table, (size_t)p * EDGE_POINT, 1, at, EDGE_CHUNKS, 0, m[p], &ahead);
    }
    for (int inside = 0; inside < e->rows * e->columns; inside++) {
        const int height = 1 + inside / e->columns, width = 1 + inside % e->columns;
        const size_t size = size_of(f), step = LANES * size;
        guarded rows[ES_NATIVE_MAX_TILE];
        es_native_store store = {
            .bias = bias, .step = (ptrdiff_t)step, .height = height, .width = width};
        for (int y = 0; y < height; y++) {
            rows[y] = guard(step * (size_t)width, height % 2);
            store.row[y] = rows[y].data;
        }
        k->output[e->shape][f](m[0], LANES, LANES, &store);
        for (int i = 0; i < height * width * LANES; i++) {
            const int y = i / LANES / width, x = i / LANES % width, o = i % LANES;
            double bound = fabs(bias[o]);
            const double sum =
                bias[o] + reference(ES_NATIVE_F6, d, g + o * channels * 9, channels, y, x, &bound);
            const double allowed = allowed_error(k, f, channels, sum, bound);
            const float got = get(f, rows[y].data, (size_t)(x * LANES + o));
            if (!(fabs(got - sum) <= allowed))
                fail_msg(
                    "%s edge %d x %d format %d pixel %d,%d channel %d: %.9g not %.9g (allowed %g)",
                    k->name, e->rows, e->columns, f, y, x, o, got, sum, allowed);
        }
        for (int y = 0; y < height; y++) unguard(&rows[y]);
    }
    free(d), free(g), free(v), free(u);
}

static void check_edges(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    static const edge edges[] = {{ES_NATIVE_F6_RIGHT2, 6, 2},
                                 {ES_NATIVE_F6_RIGHT4, 6, 4},
                                 {ES_NATIVE_F6_LOWER2, 2, 6},
                                 {ES_NATIVE_F6_LOWER4, 4, 6}};
    if (s != ES_NATIVE_F6) return;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        assert_true((k->input[edges[i].shape][f] == NULL) == (k->places > 1));
        if (k->places == 1) check_one_edge(k, f, &edges[i]);
    }
}

static void tiles_at_edges(void **state) {
    (void)state;
    every_tier(check_edges, true);
}

/* ---- Few channels out -------------------------------------------------------------------------- */

/* Tiles of all sizes; rows that end, or begin, at a page that faults. */
static void convolve_few(const es_native_kernels *k, es_native_format f, int outs, int channels,
                         int height, int width) {
    const size_t size = size_of(f),
                 pixel = (size_t)(channels + LANES) * size; /* some are skipped */
    const size_t bytes = pixel * (size_t)(width + 1) + (size_t)channels * size;
    const size_t step = (LANES + 3) * sizeof(float);
    const size_t floats = (step * (size_t)(width - 1)) / sizeof(float) + LANES;
    guarded rows[MAX_SIDE], to[ES_NATIVE_FEW_TILE],
        w = guard((size_t)(outs * 9 * channels) * 4, outs % 2);
    const void *row[MAX_SIDE];
    float bias[LANES] = {0}, *taps = w.data;
    es_native_store store = {
        .bias = bias, .step = (ptrdiff_t)step, .height = height, .width = width};
    for (int y = 0; y < height + 2; y++) {
        rows[y] = guard(bytes, width % 2);
        row[y] = rows[y].data;
        for (size_t i = 0; i < bytes / size; i++) set(f, rows[y].data, i, number());
    }
    for (int y = 0; y < height; y++) {
        to[y] = guard(floats * 4, width % 2);
        store.row[y] = to[y].data;
        poison(to[y].data, floats);
    }
    for (int i = 0; i < outs * 9 * channels; i++) taps[i] = number();
    for (int o = 0; o < outs; o++) bias[o] = number();
    k->few[f](outs, row, (ptrdiff_t)pixel, channels, taps, &store);
    for (int y = 0; y < height; y++)
        for (size_t i = 0; i < floats; i++) {
            const float got = ((const float *)to[y].data)[i];
            const int x = (int)(i / (step / 4)), o = (int)(i % (step / 4));
            double sum = 0, bound = 0;
            for (int tap = 0; tap < 9 && o < outs; tap++)
                for (int c = 0; c < channels; c++) {
                    const char *from =
                        (const char *)row[y + tap / 3] + (size_t)(x + tap % 3) * pixel;
                    const double part = (double)get(f, from, (size_t)c) *
                                        (double)taps[(o * 9 + tap) * channels + c];
                    sum += part, bound += fabs(part);
                }
            if (o >= outs) {
                assert_true(got == (o < LANES ? 0 : POISON));
                continue;
            }
            sum += bias[o];
            /* A lane's products of a tap, then the taps; then all of it is rounded. */
            const double allowed = (channels / k->vector + 9) * 6e-8 * bound + 6e-8 * fabs(sum);
            if (!(fabs(got - sum) <= allowed))
                fail_msg("%s format %d, %d of %d x %d x %d: pixel %d,%d channel %d: %.9g not %.9g",
                         k->name, f, outs, channels, height, width, y, x, o, got, sum);
        }
    for (int y = 0; y < height + 2; y++) unguard(&rows[y]);
    for (int y = 0; y < height; y++) unguard(&to[y]);
    unguard(&w);
}

static void check_few(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    if (s != ES_NATIVE_F2) return;
    assert_true((k->few[f] == NULL) == (k->pack > 1));
    for (int outs = 1; outs <= ES_NATIVE_FEW && k->few[f]; outs++)
        for (int height = 1; height <= ES_NATIVE_FEW_TILE; height++)
            for (int width = 1; width <= ES_NATIVE_FEW_TILE; width++)
                convolve_few(k, f, outs, height % 2 ? LANES : 3 * LANES, height, width);
}

static void few_channels_out(void **state) {
    (void)state;
    every_tier(check_few, true);
}

/* ---- The multiplication alone: any vector of numbers ------------------------------------------ */

enum { SUMMED_CHUNKS = 3, SUMMED = SUMMED_CHUNKS * LANES }; /* places of a tile, or of an output */

static void fill(const es_native_kernels *k, void *p, int places) {
    for (int i = 0; i < places * k->pack / k->places; i++) hold(k, p, (size_t)i, number());
}

/* The tables of chunks of so many tiles. */
static void tables_of(const float *v, int tiles, const float **table) {
    for (int c = 0; c < SUMMED_CHUNKS + ES_NATIVE_AHEAD; c++)
        table[c] = v + c % SUMMED_CHUNKS * tiles * LANES;
}

/* NaN and infinity stay in the tile and channel they belong to. */
static void check_nonfinite(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    (void)s, (void)f;
    const int tiles = k->block, wide = k->panel, channels = SUMMED_CHUNKS * es_native_chunk(k);
    const size_t chunk = (size_t)(tiles * LANES);
    float *v = malloc((size_t)(SUMMED * tiles) * 4), *u = malloc((size_t)(SUMMED * wide) * 4);
    float *m = malloc((size_t)(tiles * wide * k->places) * 4);
    assert_true(v && u && m);
    fill(k, v, SUMMED * tiles), fill(k, u, SUMMED * wide);
    const int bad_tile = tiles / 2, bad_out = wide - 3;
    hold(k, v, of_points(k, chunk, (size_t)(bad_tile * LANES), channels / 2), NAN);
    hold(k, u, of_weights(k, wide, 7, bad_out), INFINITY);
    const float *table[SUMMED_CHUNKS + ES_NATIVE_AHEAD];
    tables_of(v, tiles, table);
    es_native_ahead ahead = {table, 0, u, 1};
    k->multiply_panel(table, 0, tiles, u, SUMMED_CHUNKS, 0, m, &ahead);
    for (int t = 0; t < tiles; t++)
        for (int o = 0; o < wide; o++) {
            const double got = sum_at(k, m, (size_t)(t * wide + o));
            if (t == bad_tile)
                assert_true(isnan(got));
            else if (o == bad_out)
                assert_true(isinf(got));
            else {
                double sum = 0, bound = 0;
                for (int c = 0; c < channels; c++) {
                    double part = held(k, v, of_points(k, chunk, (size_t)(t * LANES), c)) *
                                  held(k, u, of_weights(k, wide, c, o));
                    sum += part, bound += fabs(part);
                }
                assert_true(fabs(got - sum) <= bound * channels * unit_of(k));
            }
        }
    free(v), free(u), free(m);
}

/* What is added to something is added as the sum that it is alone, to the bit. */
static void check_adding(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    (void)s, (void)f;
    const int tiles = k->block, most = k->panel;
    const size_t room = (size_t)(tiles * most * k->places);
    guarded v = guard((size_t)(SUMMED * tiles) * 4, false);
    guarded u = guard((size_t)(SUMMED * most) * 4, false);
    float *alone = malloc(room * 4), *before = malloc(room * 4);
    assert_true(alone && before);
    fill(k, v.data, SUMMED * tiles), fill(k, u.data, SUMMED * most);
    const float *table[SUMMED_CHUNKS + ES_NATIVE_AHEAD];
    tables_of(v.data, tiles, table);
    const es_native_ahead ahead = {table, 0, u.data, 1};
    for (int n = 1; n <= tiles; n++)
        for (int wide = most; wide > 0; wide = wide == LANES ? 0 : LANES)
            for (int chunks = 1; chunks <= SUMMED_CHUNKS; chunks++) {
                const size_t all = (size_t)(n * wide), floats = all * (size_t)k->places;
                guarded m = guard(floats * 4, n % 2);
                float *sum = m.data;
                es_native_multiply multiply = wide == most ? k->multiply_panel : k->multiply_lanes;
                poison(alone, floats);
                multiply(table, 0, n, u.data, chunks, 0, alone, &ahead);
                for (size_t i = 0; i < all; i++) set_sum(k, before, i, number());
                memcpy(sum, before, floats * 4);
                multiply(table, 0, n, u.data, chunks, 1, sum, &ahead);
                for (size_t i = 0; i < all; i++) {
                    double expected = sum_at(k, before, i) + sum_at(k, alone, i);
                    if (k->places == 1) expected = (double)(float)expected;
                    assert_true(sum_at(k, sum, i) == expected);
                }
                unguard(&m);
            }
    free(alone), free(before);
    unguard(&v), unguard(&u);
}

static void sums_are_added(void **state) {
    (void)state;
    every_tier(check_adding, false);
}

static void nonfinite_values_stay_where_they_are(void **state) {
    (void)state;
    every_tier(check_nonfinite, false);
}

/* ---- Statistics --------------------------------------------------------------------------------- */

typedef struct counted {
    es_native_tally tally;
    double sum[LANES], squares[LANES];
} counted;

static void count_plainly(counted *all, const es_native_region *r, es_native_format f) {
    memset(all->sum, 0, sizeof all->sum), memset(all->squares, 0, sizeof all->squares);
    for (int y = 0; y < r->height; y++)
        for (int x = 0; x < r->width; x++)
            for (int c = 0; c < LANES; c++) {
                const char *pixel = (const char *)r->row[y] + r->offset + x * r->step;
                const float v = get(f, pixel, (size_t)c);
                es_native_tally *t = &all->tally;
                uint32_t bits;
                memcpy(&bits, &v, sizeof bits);
                t->words[c] += bits;
                t->placed[c] += bits * (r->place + (uint32_t)y * r->down + (uint32_t)x * r->across);
                t->nan[c] += isnan(v) != 0;
                t->infinite[c] += isinf(v) != 0;
                if (!isfinite(v)) continue;
                if (v < t->low[c]) t->low[c] = v;
                if (v > t->high[c]) t->high[c] = v;
                all->sum[c] += (double)v;
                all->squares[c] += (double)v * (double)v;
            }
}

static double added_up(const double *lanes) {
    double part[4] = {0};
    for (int i = 0; i < LANES; i++) part[i % 4] += lanes[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

/* Every figure to the last bit, of regions of every size, one after the other; the last ones hold
 * values that are not finite. */
static void check_tally(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    if (s != ES_NATIVE_F2) return;
    counted expected = {{.low = {0}}, {0}, {0}};
    es_native_tally tally = {.low = {0}};
    for (int c = 0; c < LANES; c++) {
        tally.low[c] = expected.tally.low[c] = INFINITY;
        tally.high[c] = expected.tally.high[c] = -INFINITY;
    }
    for (int round = 0; round < 200; round++) {
        const int height = 1 + round % 6, width = 1 + round / 6 % 9;
        const size_t pixel = (size_t)(LANES + round % 3 * LANES) * size_of(f);
        const size_t offset = pixel > LANES * size_of(f) ? LANES * size_of(f) : 0;
        const size_t bytes = pixel * (size_t)(width - 1) + offset + LANES * size_of(f);
        guarded rows[6];
        const void *row[6];
        for (int y = 0; y < height; y++) {
            rows[y] = guard(bytes, false);
            row[y] = rows[y].data;
            for (size_t i = 0; i < bytes / size_of(f); i++)
                set(f, rows[y].data, i, ldexpf(number(), round % 20 - 10));
        }
        if (round > 150)
            set(f, rows[height - 1].data, offset / size_of(f) + (size_t)round % LANES,
                round % 3 == 0   ? NAN
                : round % 3 == 1 ? INFINITY
                                 : -INFINITY);
        const es_native_region region = {row,
                                         (ptrdiff_t)offset,
                                         (ptrdiff_t)pixel,
                                         height,
                                         width,
                                         0x1000193u * (uint32_t)round,
                                         65521,
                                         3};
        double totals[2];
        k->tally[f](&region, &tally, totals);
        count_plainly(&expected, &region, f);
        assert_int_equal(memcmp(&tally, &expected.tally, sizeof tally), 0);
        assert_true(totals[0] == added_up(expected.sum));
        assert_true(totals[1] == added_up(expected.squares));
        for (int y = 0; y < height; y++) unguard(&rows[y]);
    }
}

static void statistics(void **state) {
    (void)state;
    every_tier(check_tally, true);
}

/* ---- 16-bit formats --------------------------------------------------------------------------- */

/* Every number of 16 bits is read and written back as it was; floats round as es_f32_to_* do. */
static void check_formats(const es_native_kernels *k, es_native_shape s, es_native_format f) {
    if (s != ES_NATIVE_F2 || f == ES_NATIVE_F32) return;
    float products[16][LANES] = {{0}}, bias[LANES] = {0};
    for (uint32_t base = 0; base < 65536; base += LANES) {
        uint16_t in[LANES], out[LANES];
        for (uint32_t i = 0; i < LANES; i++) in[i] = (uint16_t)(base + i);
        es_native_store store = {.bias = bias,
                                 .residuals = 1,
                                 .alpha = {0},
                                 .residual = {{in}},
                                 .row = {out},
                                 .height = 1,
                                 .width = 1};
        k->output[s][f](products[0], LANES, LANES, &store);
        for (int i = 0; i < LANES; i++) {
            if (isnan(get(f, in, (size_t)i)))
                assert_true(isnan(get(f, out, (size_t)i)));
            else
                assert_int_equal(out[i] & (in[i] & 0x7fff ? 0xffff : 0x7fff),
                                 in[i] & (in[i] & 0x7fff ? 0xffff : 0x7fff));
        }
    }
    for (int round = 0; round < 4000; round++) {
        float in[LANES];
        uint16_t out[LANES];
        for (int i = 0; i < LANES; i++) in[i] = products[0][i] = ldexpf(number(), round % 60 - 40);
        es_native_store store = {.bias = bias, .row = {out}, .height = 1, .width = 1};
        k->output[s][f](products[0], LANES, LANES, &store);
        for (size_t i = 0; i < LANES; i++) {
            uint16_t expected = f == ES_NATIVE_F16 ? es_f32_to_f16(in[i]) : es_f32_to_bf16(in[i]);
            assert_int_equal(out[i], expected);
        }
    }
}

static void sixteen_bits(void **state) {
    (void)state;
    every_tier(check_formats, true);
}

/* The weights' matrix, too, is that of the points; compared as products with the input's. */
static void matrices_agree(void **state) {
    (void)state;
    for (es_native_shape s = ES_NATIVE_F2; s <= ES_NATIVE_F6; s++) {
        const int tile = tile_of(s);
        matrix a, b, g;
        in_matrix(s, b), out_matrix(s, a), weight_matrix(s, g);
        for (int y = 0; y < tile; y++)
            for (int x = 0; x < tile + 2; x++)
                for (int t = 0; t < 3; t++) {
                    double sum = 0;
                    for (int p = 0; p < tile + 2; p++) sum += a[y][p] * g[p][t] * b[p][x];
                    assert_true(fabs(sum - (x == y + t)) < 1e-12);
                }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_agree),   cmocka_unit_test(input_transforms),
        cmocka_unit_test(convolutions),     cmocka_unit_test(nonfinite_values_stay_where_they_are),
        cmocka_unit_test(tiles_at_edges),   cmocka_unit_test(sums_are_added),
        cmocka_unit_test(sixteen_bits),     cmocka_unit_test(statistics),
        cmocka_unit_test(few_channels_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
