/*
 * The direct engine: RRDBNet in half precision by products of half-precision operands, for CPUs whose
 * instructions make that faster than Winograd in FP32, or where it is asked for (kernels/direct.h).
 * Convolutions are direct, but for dense blocks in BF16, which go by tiles along rows
 * (direct_dense.c).  Private to direct*.c.
 *
 * The picture is cut into columns, and their rows are dealt out (deal.h): a unit is a stretch of
 * rows of a column.  In a unit, convolutions that follow one another run as a pipeline over rings of
 * rows that stay in the L2 cache: each stage is as far behind the one before as its kernel reaches
 * down.  Only what the network truly keeps lies in full frames: the input of an RRDB and the values
 * between its dense blocks.  Units overlap: each computes for itself what it needs of its
 * neighbours' inner values, so units of one pipeline know nothing of each other.
 */
#ifndef ES_ENGINE_DIRECT_PLAN_H
#define ES_ENGINE_DIRECT_PLAN_H

#include "direct.h"
#include "engine/engine.h"

#define ES_DIRECT_MAX_SLICES 5
#define ES_DIRECT_MAX_RINGS  4 /* one for each scale: up to three up stages */
#define ES_DIRECT_MAX_STAGES 8
/* Lines after a ring's last that repeat its first, so that a block's taps need not wrap. */
#define ES_DIRECT_REPEAT (ES_DIRECT_BLOCK + 2)

/* Taps of a 3x3 convolution on a picture enlarged by nearest `factor`, seen from the small picture,
 * for outputs of one phase, one way. */
typedef struct es_direct_taps {
    int first, count; /* first: -1 or 0 */
} es_direct_taps;

static inline es_direct_taps es_direct_phase(int factor, int phase) {
    int first = phase - 1 < 0 ? -1 : 0, last = phase + 1 >= factor ? 1 : 0;
    return (es_direct_taps){first, last - first + 1};
}

/* A convolution with what comes before and after it. */
typedef struct es_direct_layer {
    const es_op *conv;
    int factor;                      /* of the nearest upsampling before it; 1: none */
    float slope;                     /* of the activation after it; 1: none */
    float scale;                     /* of the residual or sum after it */
    int slices;                      /* inputs, each padded to whole planes */
    int slice[ES_DIRECT_MAX_SLICES]; /* channels */
    int chunks, planes;              /* planes in and out */
    bool tiled;                      /* by tiles (direct_dense.c) */
    size_t weights, biases;          /* where they lie in the group's pack, in elements */
} es_direct_layer;

/* A network as this engine sees it.  Groups of layers share a pipeline and are packed together:
 * the first convolution; each dense block; the first convolution again with all that follows. */
typedef struct es_direct_net {
    es_direct_layer first, dense[5], body, up[3], hr, last; /* dense: the group being run */
    int dense_blocks, ups, unshuffle, input_channels;
    int feature_planes, growth_planes, input_planes;
    float far_scale; /* of an RRDB's own residual */
    size_t pack[3];  /* elements of a group: first, dense, tail */
    int body_op;     /* index of conv_body's operation */
    bool tiled;      /* dense blocks are */
} es_direct_net;

enum { ES_DIRECT_FIRST, ES_DIRECT_DENSE, ES_DIRECT_TAIL };

/* Whether a group goes by tiles. */
static inline bool es_direct_by_tiles(const es_direct_net *net, int group) {
    return net->tiled && group == ES_DIRECT_DENSE;
}

/* False where the network is not made as this engine expects.  `tiled`: dense blocks are to be run
 * by tiles. */
bool es_direct_net_read(es_direct_net *net, const es_network *network, bool tiled);
/* Sets net->dense to dense block `index` of the network, counted through. */
void es_direct_net_block(es_direct_net *net, const es_network *network, int index);

/* The layers of a group, in the order of their pipeline's stages; returns how many. */
int es_direct_group(const es_direct_net *net, int group,
                    const es_direct_layer *layers[ES_DIRECT_MAX_STAGES]);

/* Packs this member's share of a group; scratch holds es_direct_pack_scratch floats. */
size_t es_direct_pack_scratch(const es_direct_net *net);
void es_direct_pack(const es_direct_net *net, int group, const es_direct_kernels *kernels,
                    uint16_t *pack, float *scratch, int member, int members);
size_t es_direct_layer_weights(const es_direct_layer *layer);

/* A picture of lines at the size of the network's body; one more line for each member of the team
 * takes what nobody wants. */
typedef struct es_direct_frame {
    uint16_t *base;
    int8_t *low;  /* NULL, or the low bytes of its elements (es_direct_finish) */
    size_t plane; /* elements */
} es_direct_frame;

/* What a pipeline computes at a time. */
typedef struct es_direct_unit {
    int x0, x1, y0, y1;
} es_direct_unit;

/* One of the columns that a picture is cut into; they begin where tiles do. */
static inline es_direct_unit es_direct_column(int columns, int width, int col) {
    const int64_t tiles = width / ES_DIRECT_TILE;
    return (es_direct_unit){
        .x0 = (int)(tiles * col / columns) * ES_DIRECT_TILE,
        .x1 = col + 1 == columns ? width : (int)(tiles * (col + 1) / columns) * ES_DIRECT_TILE};
}

/* Who may change where a unit ends while it is run. */
typedef struct es_direct_claim {
    /* Claims the unit's rows before `row`, from which on no other may take them over; returns where
     * the unit ends now: where it did, or earlier, but not before what has been claimed. */
    int (*claim)(void *context, int row);
    void *context;
} es_direct_claim;

/* Where the tail's result goes: channel c, row y, column x of the unit to
 * base[c * plane_stride + y * row_stride + x]. */
typedef struct es_direct_planes {
    float *base;
    size_t plane_stride, row_stride;
} es_direct_planes;

/* What a pipeline works on, the same for all its units. */
typedef struct es_direct_work {
    const es_direct_net *net;
    const es_direct_kernels *kernels;
    int group;
    int height, width;     /* of the body */
    const uint16_t *pack;  /* the group's weights */
    es_direct_frame in;    /* first, tail: the picture; dense: the block's input */
    es_direct_frame trunk; /* tail: the last block's output */
    es_direct_frame out;   /* first, dense */
    bool far;              /* dense: the third of an RRDB, whose input lies in `out` */
} es_direct_work;

/* Bytes that es_direct_unit_run needs for any unit of these columns. */
size_t es_direct_ring_bytes(const es_direct_net *net, int group, int height, int width,
                            int columns);
/* The most columns of a unit, its surroundings included. */
int es_direct_max_width(const es_direct_net *net, int group);
/* Rows that a unit needs of its neighbours, each way, and columns. */
int es_direct_halo(int group);
int es_direct_aside(const es_direct_net *net, int group);

/* Runs one unit.  `rings` holds es_direct_ring_bytes.  `claim` is asked before each of the unit's
 * rows is computed for the last time; NULL: they are claimed already.  `planes` is the tail's. */
void es_direct_unit_run(const es_direct_work *work, es_direct_unit unit, int member, void *rings,
                        const es_direct_claim *claim, const es_direct_planes *planes);

/* The same for dense blocks by tiles, and the columns that a unit needs of its neighbours. */
enum { ES_DIRECT_DENSE_ASIDE = 4 * ES_DIRECT_TILE };
size_t es_direct_dense_bytes(const es_direct_net *net, int height, int width, int columns);
void es_direct_dense_run(const es_direct_work *work, es_direct_unit unit, void *memory,
                         const es_direct_claim *claim);

#endif
