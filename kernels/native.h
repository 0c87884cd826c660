/*
 * Contract of the native Winograd kernels: what an instruction set has to offer, and nothing else.
 * They allocate nothing, know no threads, read and write only what the text below names.
 *
 * Pictures are channels-last; the channels of a pixel are padded to ES_NATIVE_LANES with zeros.  A
 * tile is m x m outputs of a 3x3 convolution and is computed from n x n inputs, n = m + 2, by way
 * of `points` products a channel pair:
 *
 *   input     n x n pixels           -> v[point][tile][channel]
 *   weights   3 x 3                  -> u[point][channel in][channel out of a panel]
 *   multiply  v[point] u[point]      -> m[point][tile][channel out of a panel]
 *   output    m[point]               -> m x m pixels, with bias, activation and residuals
 *
 * In kernels that multiply bfloat16, two channels share a place: v[point][tile][channel / 2] and
 * u[point][channel in / 2][channel out] are pairs, the even channel in the lower half of 32 bits, and
 * what is a float below is such a pair.  Denormals count as zero there.  Sums are float as ever.
 *
 * In kernels that multiply doubles, v, u and m hold those, each in the places of two floats.  Offsets and
 * strides are in floats there, too.  Pixels, bias and the weights that are stored are floats.
 *
 * All sums run in an order that depends on nothing but the shapes, so a pixel's value does not
 * depend on how tiles are dealt out.
 */
#ifndef ES_KERNELS_NATIVE_H
#define ES_KERNELS_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#define ES_NATIVE_LANES 16

typedef enum es_native_format {
    ES_NATIVE_F32,
    ES_NATIVE_F16,
    ES_NATIVE_BF16,
    ES_NATIVE_FORMATS
} es_native_format;

/*
 * Shapes of tiles.  The _UP shapes convolve a picture enlarged by nearest x2 without making it:
 * every other input repeats its neighbour, and the transform's point -1 is then always zero, so
 * that 7 x 7 points do instead of 8 x 8.
 */
typedef enum es_native_shape {
    ES_NATIVE_F2,
    ES_NATIVE_F4,
    ES_NATIVE_F6,
    ES_NATIVE_F2_UP,
    ES_NATIVE_F4_UP,
    ES_NATIVE_F6_UP,
    ES_NATIVE_SHAPES,
    /* At a picture's edge a tile of F6 with two or four columns of outputs, or rows: it does with those
     * of F6's 8 x 8 points whose column (row) es_native_has_line knows, by the same weights. */
    ES_NATIVE_F6_RIGHT2 = ES_NATIVE_SHAPES,
    ES_NATIVE_F6_RIGHT4,
    ES_NATIVE_F6_LOWER2,
    ES_NATIVE_F6_LOWER4,
    ES_NATIVE_ALL_SHAPES
} es_native_shape;

/* Whether a tile of so many columns (rows) of outputs takes F6's points of column (row) `line`. */
static inline int es_native_has_line(int outputs, int line) { return line <= outputs || line == 7; }

#define ES_NATIVE_MAX_TILE   6
#define ES_NATIVE_MAX_PATCH  8
#define ES_NATIVE_MAX_POINTS 64

/* What a shape is, in numbers: outputs a side, input pixels read a side, points. */
typedef struct es_native_geometry {
    int tile, patch, points;
} es_native_geometry;

static inline es_native_geometry es_native_shape_geometry(es_native_shape shape) {
    static const es_native_geometry table[ES_NATIVE_SHAPES] = {{2, 4, 16}, {4, 6, 36}, {6, 8, 64},
                                                               {2, 3, 9},  {4, 4, 25}, {6, 5, 49}};
    return table[shape];
}

/* One tile's way out: rows of the destination and, for residuals, of what is added. */
typedef struct es_native_store {
    const float *bias; /* of the panel's channels                                      */
    int activate;      /* leaky ReLU with `slope`                                      */
    float slope;
    int residuals; /* how many times: x = alpha[i] * x + residual[i]               */
    float alpha[2];
    const void *residual[2][ES_NATIVE_MAX_TILE]; /* each row's first pixel, the panel's channel   */
    ptrdiff_t residual_step[2]; /* bytes from pixel to pixel                                    */
    void *row[ES_NATIVE_MAX_TILE];
    ptrdiff_t step;    /* bytes from pixel to pixel                                    */
    int height, width; /* of the tile that is inside the picture                       */
} es_native_store;

/*
 * rows[i] is the first channel of the i-th of `patch` rows, `step` the bytes between its pixels.
 * Channels come in chunks of LANES (in pairs of 2 LANES, as doubles of half of them):
 * v[c / LANES * chunk_stride + p * point_stride + c % LANES] is written for every point p and channel
 * c < channels (a multiple of a chunk's).  Shapes at an
 * edge read as many rows and columns as they need, two more than outputs, and write the points they have.
 */
typedef void (*es_native_input)(const void *const *rows, ptrdiff_t step, int channels, float *v,
                                size_t point_stride, size_t chunk_stride);

/* Kernels as stored, at any place in memory: LANES channels out, `row` bytes apart, of LANES channels
 * in of nine floats each, rounded to `format` -> u[p * point_stride + in * channel_stride + out]; of
 * pairs, in / 2.  Meanwhile those that lie from `soon` on are asked for; g itself will do. */
typedef void (*es_native_weights)(const void *g, size_t row, es_native_format format, float *u,
                                  size_t channel_stride, size_t point_stride, const void *soon);

/* Chunks that a multiplication asks for before it uses them: what lies in a third-level cache that others
 * use, too, may take a thousand cycles. */
#define ES_NATIVE_AHEAD 4

/* Hints for a multiplication: what the next one reads, to be brought nearer meanwhile. */
typedef struct es_native_ahead {
    const float *const *v; /* chunks of the next block or point ... */
    size_t offset;         /* ... and where in them                 */
    const float *u;        /* weights, and by how many multiplications with ... */
    int share;             /* ... the same ones asking for them is shared       */
} es_native_ahead;

/*
 * One point of one block of `tiles` <= block tiles; v[c] is chunk c of LANES channels, as input
 * wrote it, at `offset` (with ES_NATIVE_AHEAD more of them, which are only asked for):
 *   m[t * width + o] = sum over c, i of v[c][offset + t * LANES + i] * u[(c * LANES + i) * width + o]
 * in ascending order; where `add` is not 0, added to what is there, so that what is summed up in parts is
 * rounded less.
 */
typedef void (*es_native_multiply)(const float *const *v, size_t offset, int tiles, const float *u,
                                   int chunks, int add, float *m, const es_native_ahead *ahead);

/* One tile and `channels` of its panel (multiple of LANES): m[p * point_stride + o] -> pixels. */
typedef void (*es_native_output)(const float *m, size_t point_stride, int channels,
                                 const es_native_store *store);

/*
 * Channels out that are few, and the tile, of outputs, that they are done in.  A convolution to `outs` <=
 * ES_NATIVE_FEW channels, 1 at least, without transforms: rows[i] is the first channel of the i-th of
 * height + 2 rows of width + 2 pixels, `step` the bytes between them, `channels` a multiple of LANES;
 * w[(out * 9 + tap) * channels + channel].  Pixels out are floats, LANES of them, zeros after the first
 * `outs`; of `store` bias, row, step, height, width matter.
 */
enum { ES_NATIVE_FEW = 4, ES_NATIVE_FEW_TILE = 6 };
typedef void (*es_native_few)(int outs, const void *const *rows, ptrdiff_t step, int channels,
                              const float *w, const es_native_store *store);

/* Some pixels whose statistics are wanted, LANES channels of each. */
typedef struct es_native_region {
    const void *const *row; /* each row's first pixel */
    ptrdiff_t offset;       /* bytes from there to the first of the channels */
    ptrdiff_t step;         /* bytes from pixel to pixel */
    int height, width;
    uint32_t place, down, across; /* pixel x of row y has place + y * down + x * across */
} es_native_region;

/* What has been seen so far, channel by channel.  Everything here is the same whatever order regions
 * come in. */
typedef struct es_native_tally {
    float low[ES_NATIVE_LANES], high[ES_NATIVE_LANES]; /* of finite values */
    uint32_t words[ES_NATIVE_LANES];                   /* the sum of their bits, modulo 2^32 */
    uint32_t placed[ES_NATIVE_LANES];                  /* the same, each times its place */
    uint32_t nan[ES_NATIVE_LANES], infinite[ES_NATIVE_LANES];
} es_native_tally;

/* Adds a region.  totals[0] and totals[1] become the sum of its finite values and of their squares,
 * all channels together, in an order that is the same in every instruction set. */
typedef void (*es_native_tally_add)(const es_native_region *region, es_native_tally *tally,
                                    double totals[2]);

typedef struct es_native_kernels {
    const char *name;
    int vector; /* channels of a vector                                                          */
    int pack;   /* channels of a place in v and u: 1 float, or 2 bfloat16 */
    int places; /* of floats that a number takes in v, u and m: 1, or 2 where it is a double */
    int panel; /* channels out of a full panel; a multiple of LANES, the rest goes LANES at a time */
    int block; /* tiles that one register block takes                                             */
    es_native_multiply multiply_panel, multiply_lanes;
    /* Of pairs, which are for dense blocks, F2 and F4 alone; of doubles F6 and F6_UP, with pixels in F32,
     * and no tally; NULL elsewhere. */
    es_native_weights weights[ES_NATIVE_SHAPES];
    es_native_input input[ES_NATIVE_ALL_SHAPES][ES_NATIVE_FORMATS];
    es_native_output output[ES_NATIVE_ALL_SHAPES][ES_NATIVE_FORMATS];
    es_native_tally_add tally[ES_NATIVE_FORMATS];
    es_native_few
        few[ES_NATIVE_FORMATS]; /* by the format of pixels in; of floats alone, else NULL */
    const struct es_native_kernels
        *f64; /* the same tier's that multiply doubles; NULL: it has none */
} es_native_kernels;

/* Channels of a chunk. */
static inline int es_native_chunk(const es_native_kernels *k) {
    return ES_NATIVE_LANES * k->pack / k->places;
}

extern const es_native_kernels es_native_scalar;
extern const es_native_kernels es_native_avx2;
extern const es_native_kernels es_native_avx512;
extern const es_native_kernels es_native_avx512bf16;
extern const es_native_kernels es_native_neon;
extern const es_native_kernels es_native_scalar_f64;
extern const es_native_kernels es_native_avx2_f64;
extern const es_native_kernels es_native_avx512_f64;
extern const es_native_kernels es_native_neon_f64;

#endif
