/* The kernels one by one: multiplication as a share of the FMA peak, transforms in cycles. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "engine/tiers.h"

enum { LANES = ES_NATIVE_LANES, TILES = 28 };

static float *floats(size_t n) {
    const size_t page = (size_t)1 << 21, bytes = (n * sizeof(float) + page - 1) / page * page;
    float *p = aligned_alloc(page, bytes);
    if (!p) abort();
    madvise(p, bytes, MADV_HUGEPAGE); /* as the engine's arena is */
    for (size_t i = 0; i < n; i++) p[i] = (float)(i % 17) * 0.01f;
    return p;
}

/* One convolution's products, F(6,3): weights stream as in a dense block, tiles lie in L2.  The
 * median of several shares, each against the peak measured just before. */
static double multiply_share(const es_native_kernels *k, int in, int out, bool wide) {
    const int points = 64, chunks = in / LANES, blocks = (TILES + k->block - 1) / k->block;
    const size_t step = (size_t)k->block * LANES, chunk = step * (size_t)points;
    const size_t all = 8u << 20; /* bytes of weights, more than any L2 */
    float *v = floats(chunk * (size_t)(chunks * blocks)), *u = floats(all / 4 + 65536);
    float *m = floats((size_t)(points * blocks * k->block * k->panel));
    const float *tables[16][64];
    for (int b = 0; b < blocks; b++)
        for (int c = 0; c < chunks + 2; c++)
            tables[b][c] = v + chunk * (size_t)(b * chunks + (c < chunks ? c : chunks - 1));
    double shares[9];
    size_t at = 0;
    for (int round = 0; round < 9; round++) {
        double peak = peak_fma(wide), t = seconds();
        for (int panel = 0; panel < out / k->panel; panel++)
            for (int p = 0; p < points; p++) {
                const float *up = u + at;
                for (int b = 0; b < blocks; b++) {
                    const bool last = b + 1 == blocks;
                    es_native_ahead ahead = {
                        tables[last ? 0 : b + 1], step * (size_t)((p + last) % points),
                        up + (size_t)(in * k->panel) * (size_t)(blocks - 1 + b) / (size_t)blocks,
                        blocks};
                    k->multiply_panel(tables[b], step * (size_t)p, k->block, up, chunks,
                                      m + (size_t)((b * points + p) * k->block * k->panel), &ahead);
                }
                at = (at + (size_t)(in * k->panel)) % (all / 4);
            }
        t = seconds() - t;
        shares[round] =
            2.0 * points * in * (out / k->panel * k->panel) * blocks * k->block / t / peak;
    }
    free(v), free(u), free(m);
    return median(shares, 9);
}

/* Nanoseconds a tile and vector of 16 channels. */
static double transform_time(const es_native_kernels *k, es_native_shape s, bool in) {
    const int points = es_native_shape_geometry(s).points, channels = 64, width = 40;
    const size_t step = TILES * LANES, chunk = step * (size_t)points;
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
                k->output[s][ES_NATIVE_F32](v + tile * 32, TILES * 32, 32, &store);
            }
        }
        times[round] = (seconds() - t) * 1e9 / (TILES * (in ? 4 : 2));
    }
    free(v), free(pixels);
    return median(times, 9);
}

int bench_stages(output *to) {
    static const int convs[][2] = {{64, 32}, {96, 32}, {128, 32}, {160, 32}, {192, 64}, {64, 64}};
    static const struct {
        es_native_shape s;
        bool in;
    } transforms[] = {{ES_NATIVE_F6, true},
                      {ES_NATIVE_F6, false},
                      {ES_NATIVE_F6_UP, true},
                      {ES_NATIVE_F4, true},
                      {ES_NATIVE_F4, false}};
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        const char *why;
        if (esrgan_tier_get(i, &tier, NULL) != ESRGAN_OK || !tier.usable) continue;
        const es_native_kernels *k = es_tier_kernels(tier.name, &why);
        bool wide = k && strcmp(k->name, "avx512") == 0;
        if (!k || strcmp(k->name, tier.name) != 0) continue;
        fprintf(to->markdown, "| %s |", k->name);
        fprintf(to->json, "{\"tier\": \"%s\", \"multiply\": [", k->name);
        for (int c = 0; c < 6; c++) {
            double share =
                peak_fma(wide) > 0 ? multiply_share(k, convs[c][0], convs[c][1], wide) : 0;
            fprintf(to->markdown, " %.0f %% |", 100 * share);
            fprintf(to->json, "%s%.3f", c ? ", " : "", share);
        }
        fprintf(to->json, "], \"transform_ns\": [");
        for (int t = 0; t < 5; t++) {
            double ns = transform_time(k, transforms[t].s, transforms[t].in);
            fprintf(to->markdown, " %.0f |", ns);
            fprintf(to->json, "%s%.1f", t ? ", " : "", ns);
        }
        fprintf(to->markdown, "\n");
        fprintf(to->json, "]}\n");
    }
    return 0;
}
