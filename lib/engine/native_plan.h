/*
 * How the native engine goes about a network and a picture size: which operations become one
 * stage, which tiles they are cut into, where every byte lies, and in which order stages advance.
 *
 *   stage   a convolution with all that can be done to its result on the way out
 *   sheet   rows of channels-last pixels: a whole frame, or a ring of the rows still needed
 *   cache   a sheet's tiles after the input transform, a ring of strips; made once and read by all
 *           convolutions of the group that read the sheet
 *   strip   some rows of tiles, the unit in which stages advance
 *   group   stages that run as one pipeline: a dense block, the tail.  Only frames outlive it.
 *   column  where a picture is so wide that a dense block's rings would not stay in a cache, the block
 *           is done for some columns of tiles from top to bottom, then for the next (native_cut.h)
 *
 * Within a group each stage runs just as far ahead as the next one needs.  All members share in every
 * task, or, where there are strips enough, each has a span of them (native_spans.h).  An engine run
 * allocates one arena; its size is known from the plan alone.
 */
#ifndef ES_ENGINE_NATIVE_PLAN_H
#define ES_ENGINE_NATIVE_PLAN_H

#include "engine/engine.h"
#include "native.h"

enum { ES_NATIVE_SLOTS = 16 };

static inline int es_ceil_div(int a, int b) { return (a + b - 1) / b; }
static inline int es_at_most(int a, int b) { return a < b ? a : b; }
static inline int es_at_least(int a, int b) { return a > b ? a : b; }

/* Channels padded to whole vectors. */
static inline int es_native_padded(int channels) {
    return es_ceil_div(channels, ES_NATIVE_LANES) * ES_NATIVE_LANES;
}

typedef struct es_sheet {
    int channels, padded; /* of a pixel; padded to whole vectors with zeros */
    int height, width;
    es_native_format format;
    int rows;       /* held at once */
    int held;       /* pixels of a row held at once: all of them, or of a column */
    int slot;       /* of the frames, or -1 for a ring of its group */
    int border;     /* columns of zeros to the right, then there is one to the left, too */
    int pad;        /* of a frame: pixels before a row, ... */
    int shift;      /* ... and how many of them it lies further left (native_cut.h) */
    int seam;       /* pixels of a row that a column keeps for the next one (native_cut.h) ... */
    size_t seams;   /* ... and where, of all rows; in the arena */
    size_t pixel;   /* bytes */
    size_t stride;  /* bytes of a row */
    size_t offset;  /* in the arena */
    size_t apart;   /* bytes from a member's ring to the next one's; 0 where all have the same */
    int stage;      /* that makes it */
    int last_group; /* that reads it */
    int done;       /* rows made, while scheduling */
} es_sheet;

typedef struct es_grid {
    int tile;         /* pixels a side */
    int across, down; /* tiles */
    int right, lower; /* outputs along a side that the last tile of a row, column has at most */
    int rows;         /* of tiles in a strip */
    int strips;
    int columns;       /* that are done one after the other; 1: whole strips are */
    int beside;        /* tiles to the right of a column that its rings hold, too */
    int held;          /* tiles of a row in the widest column's rings */
    int blocks, block; /* register blocks of a full strip; tiles in the largest */
    int slabs; /* in which a strip's tiles lie in v: blocks, or all in one where there are columns,
                        * of which every stage has others of them */
    int room;  /* tiles that there is room for in a slab; odd: a tile's points are written
                        * all at once, so they must not fall into a few places of a cache */
} es_grid;

typedef struct es_cache {
    int sheet, up; /* what it is made from, enlarged how many times */
    const es_native_kernels *kernels;
    es_native_shape shape;
    es_grid grid;
    int points, chunks;
    int readers;   /* stages; where there is but one, it keeps its blocks to itself, in scratch */
    int strips;    /* held at once */
    size_t chunk;  /* floats of a block's chunk */
    size_t offset; /* in the arena, bytes */
    size_t apart;  /* floats from a member's ring to the next one's; 0 where all have the same */
    int done;      /* strips made, while scheduling */
} es_cache;

typedef enum es_stage_kind { ES_STAGE_READ, ES_STAGE_CONV, ES_STAGE_WRITE } es_stage_kind;

typedef struct es_stage {
    es_stage_kind kind;
    int group;
    const es_op *op;     /* the convolution */
    int chain[4], links; /* the operations it does, from the convolution on: chain[0..links-1] */
    es_native_format formats[4]; /* of what each of them makes */
    int taps[3];                 /* where traced: sheets for all of them but the last */
    int last_op;                 /* index of the last operation done in this stage */
    int input_count;
    int inputs[ES_MAX_INPUTS]; /* caches; for WRITE a sheet */
    int output;                /* sheet, or -1 for WRITE */
    int height, width;         /* of what it makes */
    const es_native_kernels *kernels;
    es_native_shape shape;
    es_grid grid;          /* READ, WRITE: one row a strip */
    int chunks, width_out; /* of channels in; channels out padded */
    int part;              /* chunks that are summed up apart */
    bool few;              /* channels out: no transforms, no products by points */
    bool activate;
    float slope;
    int residuals, residual[2]; /* sheets */
    float alpha[2];
    /* Done in one task: members make the weights for themselves, panel by panel, each at so many
     * floats from the group's weights on times its number; 0: weights are made together. */
    size_t apart;
    /* Done in spans of two members: so many floats from the weights that they make together on, member 1
     * has room for its own; 0: it has none (native_copies.h). */
    size_t copy;
    size_t weights, bias; /* floats from the group's weights on, or from a member's own */
    int least;            /* strips to do at once */
    int span_unit;        /* strips that a member does at once, where it has a span of its own */
    int beside;           /* tiles that its columns lie further right than the last stage's */
    int parts;            /* that channels out are dealt in; 1: tiles alone are dealt */
    int watches, first_watch;
    unsigned watched; /* which links of the chain they look at, as bits */
    int done;         /* strips, while scheduling */
} es_stage;

/* Stage `stage` does strips from .. to-1; of input i the strips from fresh[i] on are new. */
typedef struct es_task {
    int stage, from, to;
    int fresh[ES_MAX_INPUTS];
} es_task;

/*
 * A value whose statistics are taken where a stage makes it, unit by unit: a tile, or a row of the
 * picture.  An enlarged value is counted where the small one is made, the picture where it has been
 * rearranged.
 */
typedef struct es_watch {
    int op, link; /* the stage's operation that makes it, or what it is counted by */
    int up;       /* enlarged so many times by `op` */
    int spread;   /* the factor by which pixels were rearranged into channels after `op` */
    int sheet;    /* of the size that the stage makes */
    int units;
    int sampling;
    /* in the arena */
    size_t tallies; /* es_native_tally [member][chunk] */
    size_t totals;  /* double [unit][chunk][2] */
    size_t samples; /* float [ESRGAN_SAMPLES] */
} es_watch;

/* A place that a sample is taken from: pixel y, x of a unit. */
typedef struct es_sample {
    int unit, channel, y, x;
    int number;
} es_sample;

/* The samples of all watches of one shape. */
typedef struct es_sampling {
    int sheet, up, spread, unit_height, unit_width; /* the sheet: one of this shape */
    es_sample at[ESRGAN_SAMPLES];                   /* by unit */
    int units;
    uint16_t first[]; /* of unit u: at[first[u]] .. at[first[u + 1] - 1] */
} es_sampling;

enum { ES_MAX_SAMPLINGS = 32 };

typedef struct es_native_plan {
    const esrgan_allocator *allocator;
    const es_native_kernels *kernels;
    const es_native_kernels *pairs; /* for convolutions in dense blocks, or NULL */
    int members;
    bool traced;       /* every stage a group of its own, every value kept until it is shown */
    es_watch *watches; /* where statistics are all that is asked for */
    int watch_count, watch_capacity;
    es_sampling *samplings[ES_MAX_SAMPLINGS];
    int sampling_count;
    size_t sampling_bytes; /* all of them */
    es_native_format format;
    es_stage *stages;
    int stage_count, group_count;
    es_sheet *sheets;
    int sheet_count;
    es_cache *caches;
    int cache_count;
    int capacity;          /* of each of the three */
    int *cache_first;      /* the same for caches */
    int *group_first;      /* stages of group g: group_first[g] .. group_first[g + 1] - 1 */
    double *group_work;    /* share of all work done before group g */
    size_t most_tasks;     /* of a group */
    bool keeps;            /* weights stay with the session, outside the arena */
    size_t *group_weights; /* then: where each group's begin, and the end of all; bytes */
    unsigned key;          /* tells weights of one form from those of another */
    /* the arena, in bytes */
    size_t slot_bytes[ES_NATIVE_SLOTS];
    int slot_owner[ES_NATIVE_SLOTS];
    int slot_count;
    size_t thread_bytes, thread_offset; /* one member's scratch; member m's is m times further */
    size_t group_offset, weights_bytes; /* weights first, then the group's rings */
    size_t arena;
    size_t zeros;                         /* offset of some pixels of zeros */
    size_t hands;                         /* of es_portions: two tasks', by member */
    size_t paces;                         /* of es_pace, by member */
    size_t seats;                         /* of es_native_seat, by member */
    size_t products, own, patch, staging; /* floats, bytes, floats of a member's scratch */
} es_native_plan;

/* NULL where the network is of a kind that this engine can run, else a sentence. */
const char *es_native_plan_refuses(const es_network *network);

/* Whether some of a network's convolutions can be done by kernels that multiply pairs. */
bool es_native_plan_takes_pairs(const es_network *network, const es_native_kernels *pairs);

/* `pairs`: kernels that multiply pairs of bfloat16, to be taken where they can be, or NULL. */
esrgan_status es_native_plan_create(es_native_plan **out, const es_context *context,
                                    const es_native_kernels *kernels,
                                    const es_native_kernels *pairs, int height, int width,
                                    esrgan_error *error);
/* Bytes that the plan itself and a group's tasks take. */
size_t es_native_plan_bytes(const es_native_plan *plan);
void es_native_plan_free(es_native_plan *plan);

/*
 * The end of the groups from `group` on that a team does without parting: dense blocks of small pictures, every
 * stage of which is one task, and which are alike in where members have their weights, for one may be ahead.
 */
int es_native_stretch(const es_native_plan *plan, int group);

/* What a group does, in order.  `take` returning false ends it early. */
typedef bool (*es_native_take)(void *context, const es_task *task);
bool es_native_schedule(es_native_plan *plan, int group, es_native_take take, void *context);

static inline size_t es_sampling_bytes(int units) {
    return sizeof(es_sampling) + ((size_t)units + 1) * sizeof(uint16_t);
}

/* What statistics are asked for; the stages' tiles must be known. */
esrgan_status es_native_watch_plan(es_native_plan *plan, const es_context *context,
                                   esrgan_error *error);
/* Where a group's watches count, from `offset` in the arena on; returns the end. */
size_t es_native_watch_layout(es_native_plan *plan, int group, size_t offset);

/* Tiles that a member should have before it reads the weights once more, and what it does at once
 * where it is faster than others and has more. */
enum { ES_TILES_A_PASS = 19, ES_MOST_TILES = 28 };

/* Blocks of a pass at most, and places for their chunks and those that they look ahead. */
enum { ES_NATIVE_BLOCKS = 64, ES_NATIVE_TABLES = 576 };

/* Register blocks that there is room for in a pass. */
static inline int es_native_most_blocks(const es_stage *s) {
    return es_at_most(ES_NATIVE_TABLES / (s->chunks + ES_NATIVE_AHEAD), ES_NATIVE_BLOCKS);
}

/* ... and that a member does at once at most, to read the weights once for them: some, or all that it has
 * of a task where it makes the weights for itself. */
int es_native_pass_blocks(const es_native_plan *plan, const es_stage *stage);

/* Channels of the panel that begins at `channel`, where there are `left` from there on: a full one, or one
 * vector. */
static inline int es_panel_width(const es_stage *s, int left) {
    return left < s->kernels->panel ? ES_NATIVE_LANES : s->kernels->panel;
}

/* Floats from one point of a panel's weights to the next: a line more than they are, for weights are
 * written at many points at a time, which must not all fall into the same few places of a cache. */
static inline size_t es_weights_point(const es_stage *s, int width) {
    return ((size_t)s->chunks * (size_t)width + 1) * ES_NATIVE_LANES;
}
/* ... and from a panel of so many channels to the next. */
static inline size_t es_weights_panel(const es_stage *s, int width) {
    if (s->few) return (size_t)(ES_NATIVE_FEW * 9 * s->chunks * ES_NATIVE_LANES);
    return (size_t)es_native_shape_geometry(s->shape).points * es_weights_point(s, width);
}

static inline int es_strip_rows(const es_grid *grid) { return grid->rows * grid->tile; }

/* Register blocks of a full strip of so many tiles: at least so many, and as even as can be. */
static inline void es_grid_divide(es_grid *grid, int tiles, int blocks) {
    grid->block = es_ceil_div(tiles, blocks);
    grid->blocks = es_ceil_div(tiles, grid->block);
    grid->slabs = grid->blocks;
    grid->room = grid->block | 1;
}

/* Which of a row's tiles a column's last stage does, left .. end-1, are in its rings, left .. left+held-1, and
 * are done by a stage of it, from .. to-1 (native_cut.h). */
typedef struct es_reach {
    int left, end, held, from, to;
} es_reach;

static inline es_reach es_reach_of(const es_stage *s, int column) {
    const es_grid *g = &s->grid;
    es_reach r = {.left = (int)((int64_t)g->across * column / g->columns),
                  .end = (int)((int64_t)g->across * (column + 1) / g->columns)};
    r.held = es_at_most(r.end + g->beside, g->across) - r.left;
    r.from = column > 0 ? r.left + s->beside : 0;
    r.to = column + 1 < g->columns ? r.end + s->beside : g->across;
    return r;
}

/* Tiles of a strip that a stage does, and the register blocks they make. */
static inline int es_strip_tiles(const es_grid *grid, const es_reach *reach, int strip) {
    return es_at_most(grid->down - strip * grid->rows, grid->rows) * (reach->to - reach->from);
}
static inline int es_strip_blocks(const es_grid *grid, const es_reach *reach, int strip) {
    return es_ceil_div(es_strip_tiles(grid, reach, strip), grid->block);
}

/* The register blocks of a task of convolutions. */
static inline int es_task_blocks(const es_native_plan *p, const es_task *task, int column) {
    const es_stage *s = &p->stages[task->stage];
    const es_reach reach = es_reach_of(s, column);
    int all = 0;
    for (int strip = task->from; strip < task->to; strip++)
        all += es_strip_blocks(&s->grid, &reach, strip);
    return all;
}

#endif
