/*
 * Template: statistics of one block of finite floats, LANES at a time.  Included once for each
 * instruction set, with BLOCK_NAME, BLOCK_TARGET and LANES defined: compilers lower vectors before they
 * inline, so that a shared function would be lowered for the baseline.
 */
/* Returns 0, having added nothing, where an element is not finite. */
BLOCK_TARGET static int BLOCK_NAME(running *r, const float *data, uint64_t from) {
    typedef float vf __attribute__((vector_size(4 * LANES)));
    typedef float half __attribute__((vector_size(2 * LANES)));
    typedef double vd __attribute__((vector_size(4 * LANES)));
    typedef int32_t vi __attribute__((vector_size(4 * LANES)));
    typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
    const float *p = data + from;
    vu words = {0}, placed = {0}, place;
    vi infinite = {0};
    vf low, high;
    vd sum0 = {0}, sum1 = {0}, squares0 = {0}, squares1 = {0};
    uint32_t first[LANES];
    for (int i = 0; i < LANES; i++) first[i] = (uint32_t)(2 * (from + (uint64_t)i) + 1);
    memcpy(&place, first, sizeof place);
    memcpy(&low, p, sizeof low);
    high = low;
    for (int i = 0; i < BLOCK; i += LANES, place += 2 * LANES) {
        vf v;
        half half0, half1;
        memcpy(&v, p + i, sizeof v);
        memcpy(&half0, p + i, sizeof half0);
        memcpy(&half1, p + i + LANES / 2, sizeof half1);
        vu w = (vu)v;
        infinite |= (vi)((w & 0x7f800000u) == 0x7f800000u);
        vi less = v < low;
        vi more = v > high;
        low = (vf)(((vi)v & less) | ((vi)low & ~less));
        high = (vf)(((vi)v & more) | ((vi)high & ~more));
        words += w;
        placed += w * place;
        vd d0 = __builtin_convertvector(half0, vd), d1 = __builtin_convertvector(half1, vd);
        sum0 += d0;
        sum1 += d1;
        squares0 += d0 * d0;
        squares1 += d1 * d1;
    }
    /* Indexing a vector by a variable would keep it in memory all through the loop. */
    struct {
        int32_t infinite[LANES];
        uint32_t words[LANES], placed[LANES];
        float low[LANES], high[LANES];
        double sum[LANES / 2], squares[LANES / 2];
    } lanes;
    sum0 += sum1;
    squares0 += squares1;
    memcpy(lanes.infinite, &infinite, sizeof infinite);
    memcpy(lanes.words, &words, sizeof words);
    memcpy(lanes.placed, &placed, sizeof placed);
    memcpy(lanes.low, &low, sizeof low);
    memcpy(lanes.high, &high, sizeof high);
    memcpy(lanes.sum, &sum0, sizeof sum0);
    memcpy(lanes.squares, &squares0, sizeof squares0);
    for (int i = 0; i < LANES; i++)
        if (lanes.infinite[i]) return 0;
    for (int i = 0; i < LANES; i++) {
        r->min = lanes.low[i] < r->min ? lanes.low[i] : r->min;
        r->max = lanes.high[i] > r->max ? lanes.high[i] : r->max;
        r->words += lanes.words[i];
        r->placed += lanes.placed[i];
    }
    for (int i = 0; i < LANES / 2; i++) {
        r->sum += lanes.sum[i];
        r->squares += lanes.squares[i];
    }
    return 1;
}

#undef BLOCK_NAME
#undef BLOCK_TARGET
#undef LANES
