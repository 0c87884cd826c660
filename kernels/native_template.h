/*
 * The native kernels, once for all instruction sets.  The including file defines
 *
 *   VF, VL                       a vector of VL floats; VL divides ES_NATIVE_LANES
 *   vf_zero vf_set1 vf_load vf_store (unaligned) vf_add vf_sub vf_mul
 *   vf_fma(a, b, c)              a * b + c, rounded once where the set can
 *   vf_lrelu(x, slope)           x < 0 ? x * slope : x
 *   vf_turn(VF *rows)            VL x VL, turned: rows become columns
 *   vf_min vf_max                of finite values
 *   VD, vd_low vd_high           the halves of a VF as doubles
 *   vd_fma(a, b, c)              a * b + c, where a * b is exact
 *   vf_load_f16 vf_store_f16 vf_load_bf16 vf_store_bf16    of 16-bit elements
 *   vf_accumulate(sum, a, b)     sum = a * b + sum
 *   BLOCK, PANEL                 the register block: tiles x channels
 *   FEW_PIXELS                   of native_few.h, where 2 are not the best
 *   KERNELS                      the name of the table
 *
 * where a factor can come from memory,
 *
 *   FROM_MEMORY(tiles)           for how many tiles of a register block, from the first on, it does; with one
 *                                vector of channels, for which each is used once, it does for all
 *   vf_accumulate_at(sum, p, b)  sum = *p * b + sum, where compilers have to be told how
 *
 * and, where a product takes one lane of a vector (VL is 4 then),
 *
 *   HELD                         vectors of weights held at once; else all of the panel
 *   VF_FOUR, vf_four(p)          four channels of a tile
 *   vf_one(four, c)              channel c of them, as vf_accumulate_one(sum, one, c, w) takes it
 *
 * and, where a product takes pairs of channels in bfloat16 (a float's place then holds two of them),
 *
 *   PACK                         2
 *   vf_row(low, high)            2 VL channels in a row, rounded: VL pairs
 *   vf_pair(even, odd)           the same of VL even channels and VL odd ones
 *   vf_accumulate                sum = a * b of either channel + sum
 *
 * and, where numbers are doubles (VF then is a vector of those, vf_load and vf_store convert floats),
 *
 *   PLACES                       2
 *   NUMBER                       double
 *   vn_load vn_store             a VF as it is
 *
 * and, else, where the tier has a table of doubles,
 *
 *   KERNELS_F64                  its address
 *
 * Everything is inlined with constant arguments; the functions at the end are what comes of it.
 */
#include <stddef.h>
#include <stdint.h>

#include "inline.h"
#include "native.h"
#include "native_winograd.h"

#ifdef FROM_MEMORY
#define TILES_FROM_MEMORY(tiles, vectors) ((vectors) == 1 ? (tiles) : FROM_MEMORY(tiles))
#else
#define TILES_FROM_MEMORY(tiles, vectors) 0
#endif

#ifndef vf_accumulate_at
#define vf_accumulate_at(sum, p, w)                                                                \
    ((sum) = vf_fma(vf_set1(*(const NUMBER *)(const void *)(p)), w, sum))
#endif

#ifndef PACK
#define PACK               1
#define vf_row(low, high)  (low)
#define vf_pair(even, odd) (even)
#endif

#ifndef PLACES
#define PLACES         1
#define NUMBER         float
#define vn_load(p)     vf_load(p)
#define vn_store(p, v) vf_store(p, v)
#endif

#ifndef HELD
#define HELD (PANEL / VL)
#endif

#ifndef VF_FOUR
#define VF_FOUR                           const NUMBER *
#define vf_four(p)                        ((const NUMBER *)(const void *)(p))
#define vf_one(four, c)                   vf_set1((four)[c])
#define vf_accumulate_one(sum, one, c, w) vf_accumulate(sum, one, w)
#endif

ES_INLINE VF load(es_native_format format, const char *p) {
#if PLACES == 1
    if (format == ES_NATIVE_F16) return vf_load_f16((const uint16_t *)(const void *)p);
    if (format == ES_NATIVE_BF16) return vf_load_bf16((const uint16_t *)(const void *)p);
#endif
    (void)format;
    return vf_load((const float *)(const void *)p);
}

ES_INLINE void store(es_native_format format, char *p, VF v) {
#if PLACES == 1
    if (format == ES_NATIVE_F16) {
        vf_store_f16((uint16_t *)(void *)p, v);
        return;
    }
    if (format == ES_NATIVE_BF16) {
        vf_store_bf16((uint16_t *)(void *)p, v);
        return;
    }
#endif
    (void)format;
    vf_store((float *)(void *)p, v);
}

/* What is done along a column or a row: that of a shape whose sides are alike, or of fewer outputs. */
enum { LINE_2_OF_6 = ES_NATIVE_SHAPES, LINE_4_OF_6 };

ES_INLINE int line_of(es_native_shape s, es_native_shape two, es_native_shape four) {
    return s < ES_NATIVE_SHAPES ? (int)s
           : s == two           ? (int)LINE_2_OF_6
           : s == four          ? (int)LINE_4_OF_6
                                : (int)ES_NATIVE_F6;
}
ES_INLINE int down_of(es_native_shape s) {
    return line_of(s, ES_NATIVE_F6_LOWER2, ES_NATIVE_F6_LOWER4);
}
ES_INLINE int across_of(es_native_shape s) {
    return line_of(s, ES_NATIVE_F6_RIGHT2, ES_NATIVE_F6_RIGHT4);
}

ES_INLINE void transform_in(int line, const VF *d, VF *t) {
    switch (line) {
    case ES_NATIVE_F2: winograd_in2(d, t); break;
    case ES_NATIVE_F4: winograd_in4(d, t); break;
    case ES_NATIVE_F6: winograd_in6(d, t); break;
    case ES_NATIVE_F2_UP: winograd_in2_up(d, t); break;
    case ES_NATIVE_F4_UP: winograd_in4_up(d, t); break;
    case ES_NATIVE_F6_UP: winograd_in6_up(d, t); break;
    case LINE_2_OF_6: winograd_in2_of6(d, t); break;
    default: winograd_in4_of6(d, t); break;
    }
}

ES_INLINE void transform_out(int line, const VF *m, VF *o) {
    switch (line) {
    case ES_NATIVE_F2: winograd_out2(m, 0, o); break;
    case ES_NATIVE_F4: winograd_out4(m, o); break;
    case ES_NATIVE_F6: winograd_out6(m, 0, o); break;
    case ES_NATIVE_F2_UP: winograd_out2(m, 1, o); break;
    case ES_NATIVE_F4_UP: winograd_out4_at2(m, 1, o); break;
    case ES_NATIVE_F6_UP: winograd_out6(m, 1, o); break;
    case LINE_2_OF_6: winograd_out2(m, 0, o); break;
    default: winograd_out4_at2(m, 0, o); break;
    }
}

ES_INLINE void transform_weights(es_native_shape shape, const VF *g, VF *t) {
    switch (shape) {
    case ES_NATIVE_F2: winograd_weights2(g, 0, t); break;
    case ES_NATIVE_F4: winograd_weights4(g, t); break;
    case ES_NATIVE_F6: winograd_weights6(g, 0, t); break;
    case ES_NATIVE_F2_UP: winograd_weights2(g, 1, t); break;
    case ES_NATIVE_F4_UP: winograd_weights4_up(g, t); break;
    default: winograd_weights6(g, 1, t); break;
    }
}

/* tile, patch, points along a line: constants once inlined; the place of its point i among all a side. */
ES_INLINE int tile_of(int line) { return 2 + 2 * (line % 3); }
ES_INLINE int up_of(int line) { return line >= ES_NATIVE_F2_UP && line < ES_NATIVE_SHAPES; }
ES_INLINE int points_of(int line) { return tile_of(line) + 2 - up_of(line); }
ES_INLINE int patch_of(int line) { return up_of(line) ? 3 + line % 3 : tile_of(line) + 2; }
ES_INLINE int place_of(int line, int i) {
    return line >= ES_NATIVE_SHAPES && i + 1 == points_of(line) ? 7 : i;
}
ES_INLINE int side_of(es_native_shape s) { return s < ES_NATIVE_SHAPES ? points_of(s) : 8; }

enum { CHANNELS = ES_NATIVE_LANES * PACK / PLACES }; /* of a chunk */

/*
 * What is written next is asked for as one's own, for others may have read what was there before:
 * between two cores that costs as much as to fetch it.  A tile's points and pixels take as many
 * lines as a first-level cache has, so that nothing is asked for long before its use.
 */
#define ES_OWN(p)  __builtin_prefetch(p, 1, 3)
#define ES_NEAR(p) __builtin_prefetch(p, 0, 3)

/*
 * What may have to come from memory is asked for two tiles ahead, and into the second-level cache, for of so
 * much the first-level one has no room.  (x4plus, two threads, Zen 4 of whose third-level cache others leave 3
 * MB: a tile and 16 channels from a frame 510 -> 350 ns, to a frame 550 -> 380, with two residuals 700 -> 460;
 * whole runs, against asking for a tile of residuals and a chunk of channels ahead, FP32 0.95 to 0.97 of the time
 * at 128 x 128, 0.93 to 0.96 at 256 x 256, 0.98 at 64 x 64, 0.99 to 1.00 in smaller pictures; AVX2 0.97, BF16
 * 0.97.)
 */
#define ES_SOON(p) __builtin_prefetch(p, 0, 2)

/* Asks for points of the next channels and for pixels of the tile after the next one in the row. */
ES_INLINE void input(es_native_shape shape, es_native_format format, const void *const *rows,
                     ptrdiff_t step, int channels, float *v, size_t point_stride,
                     size_t chunk_stride) {
    const int down = down_of(shape), across = across_of(shape), n = patch_of(down);
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    const char *row[ES_NATIVE_MAX_PATCH];
    const ptrdiff_t soon = 2 * step * (tile_of(across) / (up_of(across) ? 2 : 1));
    const int chunks = channels / CHANNELS;
    const ptrdiff_t back = (ptrdiff_t)chunk_stride * (chunks - 1);
    ES_UNROLL for (int i = 0; i < n; i++) row[i] = rows[i];
    for (int c = 0; c < channels; c += PACK * VL) {
        VF t[PACK][ES_NATIVE_MAX_PATCH][ES_NATIVE_MAX_PATCH];
        for (int q = 0; q < PACK; q++) {
            ptrdiff_t at = (c + q * VL) * size;
            for (int j = 0; j < patch_of(across); j++, at += step) {
                VF d[ES_NATIVE_MAX_PATCH], r[ES_NATIVE_MAX_PATCH];
                ES_UNROLL for (int i = 0; i < n; i++) {
                    d[i] = load(format, row[i] + at);
                    ES_SOON(row[i] + at + soon);
                }
                transform_in(down, d, r);
                ES_UNROLL for (int i = 0; i < points_of(down); i++) t[q][i][j] = r[i];
            }
        }
        const int chunk = c / CHANNELS;
        const ptrdiff_t later =
            chunk + 1 < chunks ? (ptrdiff_t)chunk_stride : ES_NATIVE_LANES - back;
        for (int i = 0; i < points_of(down); i++) {
            float *out = v + (size_t)chunk * chunk_stride + c % CHANNELS * PLACES / PACK +
                         (size_t)(place_of(down, i) * side_of(shape)) * point_stride;
            VF r[PACK][ES_NATIVE_MAX_PATCH];
            ES_UNROLL for (int q = 0; q < PACK; q++) transform_in(across, t[q][i], r[q]);
            ES_UNROLL for (int j = 0; j < points_of(across); j++) {
                float *to = out + (size_t)place_of(across, j) * point_stride;
                vn_store(to, vf_row(r[0][j], r[PACK - 1][j]));
                ES_OWN(to + later);
            }
        }
    }
}

/* A square of numbers to what a format holds of them. */
ES_INLINE void round_to(es_native_format format, VF *x) {
    for (int l = 0; l < VL; l++) {
        float room[VL];
        store(format, (char *)room, x[l]);
        x[l] = load(format, (const char *)room);
    }
}

/* Part `part` of LANES of VL channels' kernels is asked for: in lines, of which LANES of them take ten. */
ES_INLINE void ask_kernels(const char *soon, size_t row, int part) {
    enum { LINE = 64, LINES = 10, PARTS = ES_NATIVE_LANES / VL };
    soon += (size_t)(part / PARTS) * row + (size_t)(part % PARTS * LINES / PARTS * LINE);
    ES_UNROLL for (int i = 0; i < (LINES + PARTS - 1) / PARTS; i++) ES_NEAR(soon + i * LINE);
}

/* All points of a kernel at once, out of registers: to read and to write is what takes the time. */
ES_INLINE void weights(es_native_shape shape, const char *g, size_t row, es_native_format format,
                       float *u, size_t channel_stride, size_t point_stride, const char *soon) {
    enum { TAPS = ES_NATIVE_LANES * 9 };
    const int side = points_of(shape);
    for (int o = 0; o < ES_NATIVE_LANES;
         o += VL, g += VL * row, soon += VL * row, u += VL * PLACES) {
        VF k[TAPS];
        for (int i = 0; i < TAPS; i += VL) {
            VF r[VL];
            ES_UNROLL for (int l = 0; l < VL; l++) r[l] =
                load(ES_NATIVE_F32, g + (size_t)l * row + (size_t)i * sizeof(float));
            vf_turn(r);
            ES_UNROLL for (int l = 0; l < VL; l++) k[i + l] = r[l];
            if (format != ES_NATIVE_F32) round_to(format, k + i);
        }
        for (int c = 0; c < ES_NATIVE_LANES; c += PACK) {
            VF t[PACK][ES_NATIVE_MAX_PATCH][3];
            for (int q = 0; q < PACK; q++) {
                ask_kernels(soon, row, c + q);
                ES_UNROLL for (int j = 0; j < 3; j++) {
                    VF d[3], r[ES_NATIVE_MAX_PATCH];
                    ES_UNROLL for (int i = 0; i < 3; i++) d[i] = k[(c + q) * 9 + i * 3 + j];
                    transform_weights(shape, d, r);
                    ES_UNROLL for (int i = 0; i < side; i++) t[q][i][j] = r[i];
                }
            }
            float *out = u + (size_t)(c / PACK) * channel_stride;
            ES_UNROLL for (int i = 0; i < side; i++, out += (size_t)side * point_stride) {
                VF r[PACK][ES_NATIVE_MAX_PATCH];
                ES_UNROLL for (int q = 0; q < PACK; q++) transform_weights(shape, t[q][i], r[q]);
                ES_UNROLL for (int j = 0; j < side; j++) {
                    vn_store(out + (size_t)j * point_stride, vf_pair(r[0][j], r[PACK - 1][j]));
                    ES_OWN(out + (size_t)j * point_stride + 2 * channel_stride);
                }
            }
        }
    }
}

/* A row of a tile's outputs on its way to pixels, at `at` bytes from each pixel's beginning: one
 * step for all of them before the next, so that loads do not wait for stores.  Pixels of tiles to come are
 * asked for. */
ES_INLINE void finish(es_native_format format, int tile, int width, const es_native_store *s, int i,
                      ptrdiff_t at, VF *x) {
    if (s->activate) {
        const VF slope = vf_set1(s->slope);
        ES_UNROLL for (int j = 0; j < tile; j++) x[j] = vf_lrelu(x[j], slope);
    }
    for (int k = 0; k < s->residuals; k++) {
        const VF alpha = vf_set1(s->alpha[k]);
        const char *other = (const char *)s->residual[k][i] + at;
        const ptrdiff_t step = s->residual_step[k];
        ES_UNROLL for (int j = 0; j < tile; j++) {
            if (j < width) x[j] = vf_fma(alpha, x[j], load(format, other + j * step));
            ES_SOON(other + (2 * tile + j) * step);
        }
    }
    char *out = (char *)s->row[i] + at;
    const ptrdiff_t step = s->step;
    ES_UNROLL for (int j = 0; j < tile; j++) {
        if (j < width) store(format, out + j * step, x[j]);
        ES_OWN(out + (tile + j) * step);
        if (s->residuals) ES_SOON(out + (2 * tile + j) * step); /* a frame */
    }
}

ES_INLINE void output(es_native_shape shape, es_native_format format, const float *m,
                      size_t point_stride, int channels, const es_native_store *s) {
    const int down = down_of(shape), across = across_of(shape), tile = tile_of(across);
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    for (int c = 0; c < channels; c += VL) {
        VF t[ES_NATIVE_MAX_TILE][ES_NATIVE_MAX_PATCH];
        for (int j = 0; j < points_of(across); j++) {
            const float *in = m + c * PLACES + (size_t)place_of(across, j) * point_stride;
            VF d[ES_NATIVE_MAX_PATCH], r[ES_NATIVE_MAX_TILE];
            ES_UNROLL for (int i = 0; i < points_of(down); i++) {
                const float *at = in + (size_t)(place_of(down, i) * side_of(shape)) * point_stride;
                d[i] = vn_load(at);
                ES_NEAR(at + channels * PLACES);
            }
            transform_out(down, d, r);
            ES_UNROLL for (int i = 0; i < tile_of(down); i++) t[i][j] = r[i];
        }
        const VF bias = vf_load(s->bias + c);
        for (int i = 0; i < s->height; i++) {
            VF r[ES_NATIVE_MAX_TILE];
            /* Point 1 is part of every output, where there is one. */
            if (across != ES_NATIVE_F4) t[i][1] = vf_add(t[i][1], bias);
            transform_out(across, t[i], r);
            if (across == ES_NATIVE_F4)
                ES_UNROLL for (int j = 0; j < tile; j++) r[j] = vf_add(r[j], bias);
            if (s->width == tile)
                finish(format, tile, tile, s, i, c * size, r);
            else
                finish(format, tile, s->width, s, i, c * size, r);
        }
    }
}

#if PLACES == 1
#include "native_tally.h"
#endif
#if PLACES == 1 && PACK == 1
#include "native_few.h"
#endif

/*
 * A register block of `tiles` tiles x `vectors` vectors.  Tiles are asked for some chunks ahead of
 * their use, and into the next block's at the end; weights as they are used up, a line a channel
 * (of two where nobody shares in the asking: CPUs fetch lines in pairs).
 */
/* The same pointer, but Clang cannot know: what is read through both it does not keep in a register,
 * it makes it a part of either instruction.  (GCC is told by vf_accumulate_at.) */
ES_INLINE const float *again(const float *p) {
#if defined(__clang__)
    __asm__("" : "+r"(p));
#endif
    return p;
}

ES_INLINE void block(int tiles, int vectors, const float *const *v, size_t offset, const float *u,
                     int chunks, int add, float *m, const es_native_ahead *ahead) {
    const size_t width = (size_t)vectors * VL;
    const size_t ask_step = width * sizeof(NUMBER) / (unsigned)ahead->share;
    const char *ask = (const char *)ahead->u;
    enum { STEP = 4 * PLACES, STEPS = ES_NATIVE_LANES / STEP }; /* four channels each */
    const int tiles_asked = (tiles + STEPS - 1) / STEPS;        /* in one */
    VF sum[BLOCK][PANEL / VL];
    ES_UNROLL for (int t = 0; t < tiles; t++) ES_UNROLL for (int o = 0; o < vectors; o++)
        sum[t][o] = vf_zero();
    for (int chunk = 0; chunk < chunks; chunk++) {
        const float *x = v[chunk] + offset, *end = x + ES_NATIVE_LANES;
        const int later = chunk + ES_NATIVE_AHEAD - chunks;
        const float *near =
            later < 0 ? v[chunk + ES_NATIVE_AHEAD] + offset : ahead->v[later] + ahead->offset;
        for (; x != end; x += STEP, u += STEP * width, near += tiles_asked * ES_NATIVE_LANES) {
            const float *x_again = TILES_FROM_MEMORY(tiles, vectors) > 0 ? again(x) : x;
            VF_FOUR four[BLOCK];
            ES_UNROLL for (int t = 0; t < tiles; t++) four[t] = vf_four(x + t * ES_NATIVE_LANES);
            ES_UNROLL for (int c = 0; c < 4; c++) {
                ES_NEAR(ask);
                ask += ask_step;
                ES_UNROLL for (int t = c; t < tiles_asked; t += 4)
                    ES_NEAR(near + t * ES_NATIVE_LANES);
                ES_UNROLL for (int first = 0; first < vectors; first += HELD) {
                    const int some = vectors - first < HELD ? vectors - first : HELD;
                    VF w[HELD];
                    ES_UNROLL for (int o = 0; o < some; o++) w[o] =
                        vn_load(u + (c * width + (first + o) * VL) * PLACES);
                    ES_UNROLL for (int t = 0; t < tiles; t++) {
                        if (t < TILES_FROM_MEMORY(tiles, vectors)) {
                            const int at = t * ES_NATIVE_LANES + c * PLACES;
                            ES_UNROLL for (int o = 0; o < some; o++) vf_accumulate_at(
                                sum[t][first + o], (o % 2 ? x_again : x) + at, w[o]);
                        } else {
                            VF a = vf_one(four[t], c);
                            ES_UNROLL for (int o = 0; o < some; o++)
                                vf_accumulate_one(sum[t][first + o], a, c, w[o]);
                        }
                    }
                }
            }
        }
    }
    if (add)
        ES_UNROLL for (int t = 0; t < tiles; t++) ES_UNROLL for (int o = 0; o < vectors; o++)
            sum[t][o] = vf_add(vn_load(m + (t * width + o * VL) * PLACES), sum[t][o]);
    ES_UNROLL for (int t = 0; t < tiles; t++) ES_UNROLL for (int o = 0; o < vectors; o++)
        vn_store(m + (t * width + o * VL) * PLACES, sum[t][o]);
}

/*
 * Each size of a block is a function of its own: where one function has them all, Clang 14 puts together what two
 * of them have in common before it unrolls their loops, and then keeps sums in memory, which took 2.5 times as long
 * with one vector of channels.
 */
#define ES_EACH_2(of)   of(1) of(2)
#define ES_EACH_3(of)   ES_EACH_2(of) of(3)
#define ES_EACH_6(of)   ES_EACH_3(of) of(4) of(5) of(6)
#define ES_EACH_14(of)  ES_EACH_6(of) of(7) of(8) of(9) of(10) of(11) of(12) of(13) of(14)
#define ES_EACH_(n, of) ES_EACH_##n(of)
#define ES_EACH(n, of)  ES_EACH_(n, of)

#define ES_BLOCK(n, name, vectors)                                                                 \
    static void name##_##n(const float *const *v, size_t offset, const float *u, int chunks,       \
                           int add, float *m, const es_native_ahead *ahead) {                      \
        block(n, vectors, v, offset, u, chunks, add, m, ahead);                                    \
    }
#define ES_BLOCK_PANEL(n) ES_BLOCK(n, panel, PANEL / VL)
#define ES_BLOCK_LANES(n) ES_BLOCK(n, lanes, ES_NATIVE_LANES / VL)
ES_EACH(BLOCK, ES_BLOCK_PANEL)
ES_EACH(BLOCK, ES_BLOCK_LANES)

#define ES_MULTIPLY(name, entry)                                                                   \
    static void multiply_##name(const float *const *v, size_t offset, int tiles, const float *u,   \
                                int chunks, int add, float *m, const es_native_ahead *ahead) {     \
        static void (*const blocks[])(const float *const *, size_t, const float *, int, int,       \
                                      float *, const es_native_ahead *) = {ES_EACH(BLOCK, entry)}; \
        blocks[tiles - 1](v, offset, u, chunks, add, m, ahead);                                    \
    }
#define ES_ENTRY_PANEL(n) panel_##n,
#define ES_ENTRY_LANES(n) lanes_##n,
ES_MULTIPLY(panel, ES_ENTRY_PANEL)
ES_MULTIPLY(lanes, ES_ENTRY_LANES)

#define ES_INSTANCE(shape, format)                                                                 \
    static void input_##shape##_##format(const void *const *rows, ptrdiff_t step, int channels,    \
                                         float *v, size_t point_stride, size_t chunk_stride) {     \
        input(ES_NATIVE_##shape, ES_NATIVE_##format, rows, step, channels, v, point_stride,        \
              chunk_stride);                                                                       \
    }                                                                                              \
    static void output_##shape##_##format(const float *m, size_t point_stride, int channels,       \
                                          const es_native_store *s) {                              \
        output(ES_NATIVE_##shape, ES_NATIVE_##format, m, point_stride, channels, s);               \
    }
#if PLACES == 1
#define ES_TRANSFORMS(shape)                                                                       \
    ES_INSTANCE(shape, F32)                                                                        \
    ES_INSTANCE(shape, F16)                                                                        \
    ES_INSTANCE(shape, BF16)
#define ES_ROW(stage, shape)                                                                       \
    [ES_NATIVE_##shape] = {stage##_##shape##_F32, stage##_##shape##_F16, stage##_##shape##_BF16}
#else
#define ES_TRANSFORMS(shape) ES_INSTANCE(shape, F32)
#define ES_ROW(stage, shape) [ES_NATIVE_##shape] = {stage##_##shape##_F32}
#endif
#define ES_INSTANCES(shape)                                                                        \
    ES_TRANSFORMS(shape)                                                                           \
    static void weights_##shape(const void *g, size_t row, es_native_format format, float *u,      \
                                size_t channel_stride, size_t point_stride, const void *soon) {    \
        weights(ES_NATIVE_##shape, g, row, format, u, channel_stride, point_stride, soon);         \
    }
#define ES_WEIGHT(shape) [ES_NATIVE_##shape] = weights_##shape

#if PLACES > 1
ES_INSTANCES(F6)
ES_INSTANCES(F6_UP)
#define ES_WEIGHTS                                                                                 \
    { ES_WEIGHT(F6), ES_WEIGHT(F6_UP) }
#define ES_ROWS(stage)                                                                             \
    { ES_ROW(stage, F6), ES_ROW(stage, F6_UP) }
#elif PACK > 1
ES_INSTANCES(F2)
ES_INSTANCES(F4)
#define ES_WEIGHTS                                                                                 \
    { ES_WEIGHT(F2), ES_WEIGHT(F4) }
#define ES_ROWS(stage)                                                                             \
    { ES_ROW(stage, F2), ES_ROW(stage, F4) }
#else
ES_INSTANCES(F2)
ES_INSTANCES(F4)
ES_INSTANCES(F6)
ES_INSTANCES(F2_UP)
ES_INSTANCES(F4_UP)
ES_INSTANCES(F6_UP)
ES_TRANSFORMS(F6_RIGHT2)
ES_TRANSFORMS(F6_RIGHT4)
ES_TRANSFORMS(F6_LOWER2)
ES_TRANSFORMS(F6_LOWER4)
#define ES_WEIGHTS                                                                                 \
    {                                                                                              \
        ES_WEIGHT(F2), ES_WEIGHT(F4), ES_WEIGHT(F6), ES_WEIGHT(F2_UP), ES_WEIGHT(F4_UP),           \
            ES_WEIGHT(F6_UP)                                                                       \
    }
#define ES_ROWS(stage)                                                                             \
    {                                                                                              \
        ES_ROW(stage, F2), ES_ROW(stage, F4), ES_ROW(stage, F6), ES_ROW(stage, F2_UP),             \
            ES_ROW(stage, F4_UP), ES_ROW(stage, F6_UP), ES_ROW(stage, F6_RIGHT2),                  \
            ES_ROW(stage, F6_RIGHT4), ES_ROW(stage, F6_LOWER2), ES_ROW(stage, F6_LOWER4)           \
    }
#endif

#if PLACES == 1 && PACK == 1
#define ES_FEW(format)                                                                             \
    static void few_##format(int outs, const void *const *rows, ptrdiff_t step, int channels,      \
                             const float *w, const es_native_store *s) {                           \
        switch (outs) {                                                                            \
        case 1: few(ES_NATIVE_##format, 1, rows, step, channels, w, s); break;                     \
        case 2: few(ES_NATIVE_##format, 2, rows, step, channels, w, s); break;                     \
        case 3: few(ES_NATIVE_##format, 3, rows, step, channels, w, s); break;                     \
        case 4: few(ES_NATIVE_##format, 4, rows, step, channels, w, s); break;                     \
        }                                                                                          \
    }
ES_FEW(F32)
ES_FEW(F16)
ES_FEW(BF16)
#endif

#if PLACES == 1
#define ES_TALLY(format)                                                                           \
    static void tally_##format(const es_native_region *region, es_native_tally *tally,             \
                               double totals[2]) {                                                 \
        tally_region(ES_NATIVE_##format, region, tally, totals);                                   \
    }
ES_TALLY(F32)
ES_TALLY(F16)
ES_TALLY(BF16)
#endif

const es_native_kernels KERNELS = {
    .name = KERNELS_NAME,
    .vector = VL,
    .pack = PACK,
    .places = PLACES,
    .panel = PANEL,
    .block = BLOCK,
    .multiply_panel = multiply_panel,
    .multiply_lanes = multiply_lanes,
    .weights = ES_WEIGHTS,
    .input = ES_ROWS(input),
    .output = ES_ROWS(output),
#if PLACES == 1
    .tally = {tally_F32, tally_F16, tally_BF16},
#endif
#if PLACES == 1 && PACK == 1
    .few = {few_F32, few_F16, few_BF16},
#endif
#ifdef KERNELS_F64
    .f64 = KERNELS_F64,
#endif
};
