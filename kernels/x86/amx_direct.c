/*
 * The direct convolution with AMX tiles: three tiles of 16 positions times two panels of 16
 * channels are six accumulators; what is left, one tile for weights and one for pixels, is loaded
 * anew for each product but one, which the load ports just bear (eight loads of eight cycles
 * against six products of sixteen).
 */
#include "x86/direct_finish.h"

#define LINE (ES_DIRECT_LANES * 2)  /* bytes */
#define TILE (16 * ES_DIRECT_LANES) /* elements from a tile of positions to the next */

/* Numbers of the tiles of weights and of pixels; the instructions' names need plain numbers. */
#define W 6
#define X 7

/* Eight tiles of 16 rows of a line.  Constant, for gcc 12 believes that loading a configuration
 * reads its first eight bytes only, and leaves out stores to the others. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} shape = {.palette = 1,
           .bytes = {LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE},
           .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static void begin(void) { _tile_loadconfig(&shape); }

static void end(void) { _tile_release(); }

/*
 * Steps that may follow one another without storing a tile.  Measured on Granite Rapids: a run of
 * more than some 126 products loses 250 ns once, unless a tile is stored meanwhile, be it for
 * nothing.  With operands in L1 that is 98 % of the products' peak in place of 87 %.
 */
#define MOST_UNREAD 9

/*
 * One tap of one input plane: sums of `tiles` tiles of positions, in 0 .. 2 those of the first half of
 * the output channels, in 3 .. 5 those of the second.  With fewer tiles of positions, 5 and 2 are
 * free for operands that are needed twice.
 */
ES_INLINE void step(const uint16_t *x, const uint16_t *w, int tiles, int halves) {
    _tile_loadd(W, w, LINE);
    _tile_loadd(X, x, LINE);
    _tile_dpbf16ps(0, X, W);
    if (tiles < 3) {
        _tile_loadd(5, w + ES_DIRECT_PANEL / 2, LINE);
        _tile_dpbf16ps(3, X, 5);
        if (tiles == 1) return;
        _tile_loadd(2, x + TILE, LINE);
        _tile_dpbf16ps(1, 2, W);
        _tile_dpbf16ps(4, 2, 5);
        return;
    }
    _tile_loadd(X, x + TILE, LINE);
    _tile_dpbf16ps(1, X, W);
    _tile_loadd(X, x + 2 * TILE, LINE);
    _tile_dpbf16ps(2, X, W);
    if (halves == 1) return;
    _tile_loadd(W, w + ES_DIRECT_PANEL / 2, LINE);
    _tile_dpbf16ps(5, X, W);
    _tile_loadd(X, x + TILE, LINE);
    _tile_dpbf16ps(4, X, W);
    _tile_loadd(X, x, LINE);
    _tile_dpbf16ps(3, X, W);
}

ES_INLINE void zero(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
}

ES_INLINE void store(float *sums, int tiles, int halves) {
    _tile_stored(0, sums, LINE);
    if (tiles > 1) _tile_stored(1, sums + 256, LINE);
    if (tiles > 2) _tile_stored(2, sums + 512, LINE);
    if (halves == 1) return;
    if (tiles > 2) _tile_stored(5, sums + 1280, LINE);
    if (tiles > 1) _tile_stored(4, sums + 1024, LINE);
    _tile_stored(3, sums + 768, LINE);
}

/* Two halves wherever there are fewer than three tiles of positions. */
ES_INLINE void run(const es_direct_product *p, float *sums, const es_direct_finish *done,
                   const float *done_sums, int tiles, int halves) {
    int steps = p->chunks * p->kh * p->kw;
    int share = (ES_DIRECT_BLOCK + steps - 1) / steps, finished = done ? 0 : ES_DIRECT_BLOCK;
    int unread = 0; /* steps since a tile was stored */
    const uint16_t *w = p->weights;
    zero();
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++) {
            const uint16_t *x = p->rows[i] + (size_t)chunk * p->plane;
            if (unread > MOST_UNREAD - p->kw) {
                _tile_stored(0, sums, LINE);
                unread = 0;
            }
            unread += p->kw;
            for (int j = 0; j < p->kw; j++, x += ES_DIRECT_LANES, w += ES_DIRECT_PANEL) {
                step(x, w, tiles, halves);
                if (finished < ES_DIRECT_BLOCK) {
                    int to =
                        finished + share < ES_DIRECT_BLOCK ? finished + share : ES_DIRECT_BLOCK;
                    es_finish_positions(done, done_sums, finished, to);
                    finished = to;
                }
            }
        }
    store(sums, tiles, halves);
}

static void multiply(const es_direct_product *product, float *sums, const es_direct_finish *done,
                     const float *done_sums) {
    if (product->halves == 1)
        run(product, sums, done, done_sums, 3, 1);
    else if (product->positions > 32)
        run(product, sums, done, done_sums, 3, 2);
    else if (product->positions > 16)
        run(product, sums, done, done_sums, 2, 2);
    else
        run(product, sums, done, done_sums, 1, 2);
}

const es_direct_kernels es_direct_amx = {.tier = "amx",
                                         .format = ES_DIRECT_BF16,
                                         .begin = begin,
                                         .end = end,
                                         .multiply = multiply,
                                         .finish = es_avx512bf16_finish,
                                         .gather = es_avx512bf16_gather,
                                         .pack = es_avx512bf16_pack,
                                         .tiles = &es_avx512bf16_tiles};
