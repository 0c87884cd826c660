/* The kernels one by one: multiplication as a share of the FMA peak, transforms in cycles. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "direct.h"
#include "engine/tiers.h"

enum { LANES = ES_NATIVE_LANES, TILES = 28 };

static float *floats(size_t n) {
    float *p = large_pages(n * sizeof(float));
    if (!p) abort();
    for (size_t i = 0; i < n; i++) p[i] = (float)(i % 17) * 0.01f;
    return p;
}

/* One convolution's products, F(6,3), or F(4,3) in pairs: weights stream as in a dense block, tiles lie
 * in L2.  The median of several shares, each against the peak measured just before. */
static double multiply_share(const es_native_kernels *k, int in, int out, peak_kind kind) {
    const int points = k->pack > 1 ? 36 : 64, places = in / k->pack;
    const int chunks = places / LANES, blocks = (TILES + k->block - 1) / k->block;
    const size_t step = (size_t)k->block * LANES, chunk = step * (size_t)points;
    const size_t all = 8u << 20; /* bytes of weights, more than any L2 */
    float *v = floats(chunk * (size_t)(chunks * blocks)), *u = floats(all / 4 + 65536);
    float *m = floats((size_t)(points * blocks * k->block * k->panel));
    const float *tables[16][64];
    for (int b = 0; b < blocks; b++)
        for (int c = 0; c < chunks + ES_NATIVE_AHEAD; c++)
            tables[b][c] = v + chunk * (size_t)(b * chunks + (c < chunks ? c : chunks - 1));
    const int passes = 16; /* one is over before its weights and tiles lie where they do in a run */
    double shares[9];
    size_t at = 0;
    for (int round = 0; round < 9; round++) {
        double peak = peak_of(kind, 1), t = seconds();
        for (int panel = 0; panel < passes * (out / k->panel); panel++)
            for (int p = 0; p < points; p++) {
                const float *up = u + at;
                for (int b = 0; b < blocks; b++) {
                    const bool last = b + 1 == blocks;
                    es_native_ahead ahead = {tables[last ? 0 : b + 1],
                                             step * (size_t)((p + last) % points),
                                             up + (size_t)(places * k->panel) *
                                                      (size_t)(blocks - 1 + b) / (size_t)blocks,
                                             blocks};
                    k->multiply_panel(tables[b], step * (size_t)p, k->block, up, chunks, 0,
                                      m + (size_t)((b * points + p) * k->block * k->panel), &ahead);
                }
                at = (at + (size_t)(places * k->panel)) % (all / 4);
            }
        t = seconds() - t;
        shares[round] =
            2.0 * passes * points * in * (out / k->panel * k->panel) * blocks * k->block / t / peak;
    }
    free(v), free(u), free(m);
    return median(shares, 9);
}

/* Nanoseconds a tile and vector of 16 channels; tiles and products lie as in the engine, at a
 * distance of an odd number of lines from point to point. */
static double transform_time(const es_native_kernels *k, es_native_shape s, bool in) {
    const int points = es_native_shape_geometry(s).points, channels = 64, width = 40;
    const size_t step = (TILES | 1) * LANES, chunk = step * (size_t)points;
    float *v = floats(chunk * 4), *pixels = floats(8 * 64 * width), bias[64] = {0};
    double times[9];
    for (int round = 0; round < 9; round++) {
        double t = seconds();
        for (int tile = 0; tile < TILES; tile++) {
            float *x = pixels + tile % 5 * 6 * channels;
            if (in) {
                const void *rows[8];
                for (int y = 0; y < 8; y++) rows[y] = x + y * channels * width;
                k->input[s][ES_NATIVE_F32](rows, channels * 4, channels, v + tile * LANES, step,
                                           chunk);
            } else {
                es_native_store store = {.bias = bias,
                                         .activate = 1,
                                         .slope = 0.2f,
                                         .step = channels * 4,
                                         .height = es_native_shape_geometry(s).tile,
                                         .width = es_native_shape_geometry(s).tile};
                for (int y = 0; y < 6; y++) store.row[y] = x + y * channels * width;
                k->output[s][ES_NATIVE_F32](v + tile * 32, TILES * 32 + LANES, 32, &store);
            }
        }
        times[round] = (seconds() - t) * 1e9 / (TILES * (in ? 4 : 2));
    }
    free(v), free(pixels);
    return median(times, 9);
}

/*
 * One convolution's products in BF16, four times over, as in the engine: a row of a picture 192 wide by
 * 3x3 taps, each block finished in the shadow of the next; or (`points`: more than one) six rows of a
 * picture 128 wide by points of tiles, whose weights are used for all blocks in turn.  The median of
 * several shares.
 */
static double direct_share(const es_direct_kernels *k, int in, int out, int points,
                           peak_kind kind) {
    enum { WIDTH = 192, ACROSS = 32, BLOCKS = WIDTH / ES_DIRECT_BLOCK, ROUNDS = 9 };
    const int chunks = in / ES_DIRECT_LANES, planes = out / ES_DIRECT_LANES,
              kw = points > 1 ? 1 : 3;
    const size_t row = (size_t)(points > 1 ? ACROSS : WIDTH + 2) * ES_DIRECT_LANES;
    const size_t point = points > 1 ? (size_t)WIDTH * ES_DIRECT_LANES + 2 * row : 3 * row;
    const size_t plane = point * (size_t)points;
    const size_t weights = (size_t)(3 * kw * chunks) * ES_DIRECT_PANEL;
    uint16_t *x = (uint16_t *)floats(plane * (size_t)chunks / 2),
             *w = (uint16_t *)floats(weights * (size_t)(points * planes) / 2),
             *y = (uint16_t *)floats((size_t)WIDTH * ES_DIRECT_LANES / 2);
    float *sums = floats(ES_DIRECT_SUMS * (BLOCKS + 1)), bias[ES_DIRECT_LANES] = {0};
    int32_t lines[WIDTH];
    double shares[ROUNDS];
    for (int i = 0; i < WIDTH; i++) lines[i] = i;
    /* What random bits would be: NaN, denormals. */
    memset(x, 0, plane * (size_t)chunks * sizeof *x);
    memset(w, 0, weights * (size_t)(points * planes) * sizeof *w);
    k->begin();
    for (int round = 0; round < ROUNDS; round++) {
        k->end();
        const double peak = peak_of(kind, 1);
        k->begin();
        const double t = seconds();
        for (int i = 0; i < 4 * planes * points * BLOCKS; i++) {
            const int block = i % BLOCKS, p = i / BLOCKS % (planes * points);
            const uint16_t *from = x + (size_t)(p % points) * point +
                                   (size_t)(block * ES_DIRECT_BLOCK) * ES_DIRECT_LANES;
            es_direct_product product = {.plane = plane,
                                         .chunks = chunks,
                                         .kh = 3,
                                         .kw = kw,
                                         .halves = 2,
                                         .positions = ES_DIRECT_BLOCK,
                                         .weights = w + weights * (size_t)p};
            for (size_t r = 0; r < 3; r++) product.rows[r] = from + r * row;
            const es_direct_finish done = {.bias = bias,
                                           .slope = 0.2f,
                                           .out = y,
                                           .lines = lines + (block + BLOCKS - 1) % BLOCKS *
                                                                ES_DIRECT_BLOCK};
            k->multiply(&product, sums + i % (BLOCKS + 1) * ES_DIRECT_SUMS,
                        i && points == 1 ? &done : NULL,
                        sums + (i + BLOCKS) % (BLOCKS + 1) * ES_DIRECT_SUMS);
        }
        shares[round] = 2.0 * WIDTH * 4 * 3 * kw * points * in * (planes * ES_DIRECT_LANES) /
                        (seconds() - t) / peak;
    }
    k->end();
    free(x), free(w), free(y), free(sums);
    return median(shares, ROUNDS);
}

static const int convs[][2] = {{64, 32}, {96, 32}, {128, 32}, {160, 32}, {192, 64}, {64, 64}};
enum { CONVS = sizeof convs / sizeof *convs };

static void print_shares(const char *tier, const double *shares, output *to) {
    fprintf(to->markdown, "| %s |", tier);
    fprintf(to->json, "{\"tier\": \"%s\", \"multiply\": [", tier);
    for (int c = 0; c < CONVS; c++) {
        fprintf(to->markdown, " %.0f %% |", 100 * shares[c]);
        fprintf(to->json, "%s%.3f", c ? ", " : "", shares[c]);
    }
    fprintf(to->json, "], \"transform_ns\": [");
}

static void direct_stages(const es_direct_kernels *k, peak_kind kind, output *to) {
    double shares[CONVS];
    if (!es_direct_usable(k)) return;
    for (int c = 0; c < CONVS; c++) { /* the last one is not of a dense block */
        const int points = k->tiles && c + 1 < CONVS ? ES_DIRECT_POINTS : 1;
        shares[c] = direct_share(k, convs[c][0], convs[c][1], points, kind);
    }
    print_shares(k->tier, shares, to);
    fprintf(to->markdown, " | | | | |\n");
    fprintf(to->json, "]}\n");
}

static void native_stages(const es_native_kernels *k, peak_kind kind, output *to) {
    static const struct {
        es_native_shape s;
        bool in;
    } transforms[] = {{ES_NATIVE_F6, true},
                      {ES_NATIVE_F6, false},
                      {ES_NATIVE_F6_UP, true},
                      {ES_NATIVE_F4, true},
                      {ES_NATIVE_F4, false}};
    double shares[CONVS] = {0};
    for (int c = 0; c < CONVS && peak_of(kind, 1) > 0; c++)
        shares[c] = multiply_share(k, convs[c][0], convs[c][1], kind);
    print_shares(k->name, shares, to);
    for (int t = 0; t < 5; t++) {
        if (k->pack > 1 && transforms[t].s != ES_NATIVE_F4) { /* not what pairs are taken for */
            fprintf(to->markdown, " |");
            fprintf(to->json, "%snull", t ? ", " : "");
            continue;
        }
        const double ns = transform_time(k, transforms[t].s, transforms[t].in);
        fprintf(to->markdown, " %.0f |", ns);
        fprintf(to->json, "%s%.1f", t ? ", " : "", ns);
    }
    fprintf(to->markdown, "\n");
    fprintf(to->json, "]}\n");
}

int bench_stages(output *to) {
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        const char *why;
        if (esrgan_tier_get(i, &tier, NULL) != ESRGAN_OK || !tier.usable) continue;
        const es_native_kernels *k = es_tier_kernels(tier.name, &why);
        if (k && strcmp(k->name, tier.name) == 0)
            native_stages(k, strcmp(k->name, "avx512") == 0 ? PEAK_FMA512 : PEAK_FMA256, to);
        else if ((k = es_tier_pairs(tier.name)) != NULL)
            native_stages(k, PEAK_DOT, to);
    }
#if defined(__x86_64__)
    direct_stages(&es_direct_amx, PEAK_TILES, to);
#endif
    return 0;
}
