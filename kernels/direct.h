/*
 * Contract of the direct convolution in half precision: operands bfloat16 or binary16, as the tier
 * has them, sums float.
 *
 * A picture lies in planes of ES_DIRECT_LANES channels: line p of a plane holds the channels of
 * position p (64 bytes, aligned to 64).  Positions run through rows that are separated by one
 * column of zeros, so that a tap is one distance in lines for every pixel, row ends included, and
 * a block of consecutive positions needs no edges.
 *
 * One call multiplies a block of ES_DIRECT_BLOCK positions by the weights of one plane of output
 * channels, and meanwhile finishes the block multiplied before it: bias, activation, residuals,
 * rounding and storing run in the shadow of the products.  The order of every sum depends on
 * chunks, kh and kw only, never on where a position lies in its block.
 *
 * In bfloat16 there is Winograd's F(4,3) along rows as well, for half the products: TILE pixels of a
 * row come from POINTS sums over kernel rows and channels.  A tile of a plane of pixels becomes a line
 * for each point, and a point's sums are those of a convolution with three taps down and one across,
 * over the lines of that point.
 *
 * Kernels allocate nothing and know no threads.  NaN stays NaN.  In bfloat16 denormal operands count
 * as zero and denormal results of rounding become zero, as the instructions have it; in binary16,
 * whose range is short, denormals are kept.
 */
#ifndef ES_KERNELS_DIRECT_H
#define ES_KERNELS_DIRECT_H

#include <stddef.h>
#include <stdint.h>

#define ES_DIRECT_LANES  32 /* channels of a plane */
#define ES_DIRECT_BLOCK  48 /* positions of a block */
#define ES_DIRECT_HALF   16 /* channels of a panel of weights and of a vector of sums */
#define ES_DIRECT_PANEL  (ES_DIRECT_LANES * ES_DIRECT_LANES) /* weights of one tap, chunk, plane */
#define ES_DIRECT_TILE   4                                   /* pixels of a tile */
#define ES_DIRECT_POINTS 6

/* What operands are. */
typedef enum es_direct_format { ES_DIRECT_BF16, ES_DIRECT_F16 } es_direct_format;

/* Sums of a block: [half][position][channel of the half]. */
#define ES_DIRECT_SUMS (2 * ES_DIRECT_BLOCK * ES_DIRECT_HALF)

/* What to multiply.  Tap (i, j) of position p is line p + j of rows[i]; chunk c is c planes on. */
typedef struct es_direct_product {
    const uint16_t *rows[3];
    size_t plane;            /* elements from a plane to the next */
    int chunks, kh, kw;      /* input planes; taps, 1..3 each way */
    int halves;              /* 2, or 1 where only the first 16 output channels matter */
    int positions;           /* wanted, 1..BLOCK; of the others lines may be read and
                              * sums be anything */
    const uint16_t *weights; /* as packed */
} es_direct_product;

/*
 * How sums leave: v = sum + bias; v = max(v, slope * v); v = near_scale * v + near;
 * v = far_scale * v + far; rounded to the operands' format and stored.
 *
 * Where that is bfloat16, what is added and stored may have eight bits more, kept apart in planes of
 * bytes so that products need not skip over them: as bits, a float is (high << 16) + (low << 8), with
 * low signed.  Long sums of residuals keep their precision that way.  Binary16 has no low bytes.
 */
typedef struct es_direct_finish {
    const float *bias;      /* ES_DIRECT_LANES of them */
    float slope;            /* 0..1; 1 for no activation */
    const uint16_t *near;   /* NULL, or the line of the block's first position; consecutive lines */
    const int8_t *near_low; /* NULL, or the plane of its low bytes, by `lines` */
    float near_scale;
    const uint16_t *far;   /* NULL, or the plane to add, by `lines`; may be `out` itself */
    const int8_t *far_low; /* NULL, or its low bytes; may be `out_low` itself */
    float far_scale;
    uint16_t *out;
    int8_t *out_low;      /* NULL, or where low bytes go; may be `near_low` */
    const int32_t *lines; /* for each position its line; some may be repeated where nobody looks */
} es_direct_finish;

/* How tiles that follow one another in a row leave; as es_direct_finish, but that all pointers are to
 * the first tile's first pixel. */
typedef struct es_direct_row {
    const float *bias;
    float slope;
    const uint16_t *near; /* NULL, or pixels to add */
    const int8_t *near_low;
    float near_scale;
    const uint16_t *far;
    const int8_t *far_low;
    float far_scale;
    uint16_t *out;
    int8_t *out_low;
    int pixels; /* TILE for each tile, or fewer of the last one */
} es_direct_row;

/* F(4,3) along rows, at the points of native_winograd.h. */
typedef struct es_direct_tiles {
    /* Tile t's lines TILE * t .. TILE * t + 5, of which the first and the last belong to its
     * neighbours, become line t of each point's lines; rounded. */
    void (*expand)(const uint16_t *lines, int tiles, uint16_t *points, size_t point_stride);
    /* `sums` are the first tile's, in a block as it comes from es_direct_kernels.multiply, in which all
     * of the tiles lie; each point's are `point_stride` floats apart. */
    void (*finish)(const es_direct_row *row, const float *sums, size_t point_stride);
    /* As es_direct_kernels.pack, of nine taps: kernel row i's weights at a point go to
     * packed[point * point_stride + i * ES_DIRECT_PANEL + at]. */
    void (*pack)(const float *weight, size_t stride, int outputs, int channels, uint16_t *packed,
                 size_t point_stride);
} es_direct_tiles;

typedef struct es_direct_kernels {
    const char *tier;
    es_direct_format format;
    /* Makes the calling thread ready for multiply, and back.  begin..end do not nest. */
    void (*begin)(void);
    void (*end)(void);
    /* sums = products of `product`; also finishes (done, done_sums) where done is not NULL. */
    void (*multiply)(const es_direct_product *product, float *sums, const es_direct_finish *done,
                     const float *done_sums);
    void (*finish)(const es_direct_finish *done, const float *done_sums);
    /* Lines of a plane from floats: line p's channel c is planes[c * plane_stride + p], rounded, for
     * c < channels <= ES_DIRECT_LANES; the other channels are zero. */
    void (*gather)(const float *planes, size_t plane_stride, int channels, int count,
                   uint16_t *lines);
    /*
     * Weights of one half of the output channels and one input plane: output channel o's weight of
     * input channel c at tap t is weight[o * stride + c * taps + t], o < outputs <= 16, channels <=
     * 32, taps <= 9.  Rounded, it goes to packed[t * ES_DIRECT_PANEL + at], in bfloat16 by pairs of
     * channels, at = (c / 2) * 32 + o * 2 + c % 2, in binary16 one by one, at = c * 16 + o; what no
     * weight goes to is set to zero.
     */
    void (*pack)(const float *weight, size_t stride, int outputs, int channels, int taps,
                 uint16_t *packed);
    const es_direct_tiles *tiles; /* NULL in tiers that have none */
} es_direct_kernels;

/* `begin` and `end` of tiers that have no state to set up. */
static inline void es_direct_nothing(void) {}

/* Tiers of this build, best first, ended by NULL.  The last two, one a format, run everywhere and are
 * the oracles of the others. */
extern const es_direct_kernels *const es_direct_tiers[];

/* Whether this CPU (and its operating system) can run a tier; and, more, whether it gains by it
 * against FP32 kernels. */
int es_direct_usable(const es_direct_kernels *kernels);
int es_direct_worthwhile(const es_direct_kernels *kernels);

extern const es_direct_kernels es_direct_scalar, es_direct_scalar_f16, es_direct_avx512bf16,
    es_direct_amx, es_direct_neonbf16, es_direct_neonfp16;

#endif
