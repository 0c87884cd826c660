/*
 * Statistics of channels-last pixels: part of native_template.h, whose macros it uses.
 *
 * The sums are of doubles, one for each of LANES channels in the order of rows and pixels, then the
 * channels together.  Squares of floats are exact in double, so it does not matter whether an
 * instruction set adds them in one step.
 */
#ifndef ES_KERNELS_NATIVE_TALLY_H
#define ES_KERNELS_NATIVE_TALLY_H

#include <string.h>

typedef uint32_t VU __attribute__((vector_size(4 * VL)));

ES_INLINE double total_of(const double *lanes) {
    double part[4] = {0};
    for (int i = 0; i < ES_NATIVE_LANES; i += 4)
        for (int j = 0; j < 4; j++) part[j] += lanes[i + j];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

/* One value that may be anything. */
static inline void tally_value(float x, uint32_t place, int lane, es_native_tally *t, double *sum,
                               double *squares) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    t->words[lane] += bits;
    t->placed[lane] += bits * place;
    if ((bits & 0x7f800000) == 0x7f800000) {
        t->nan[lane] += (bits & 0x7fffff) != 0;
        t->infinite[lane] += (bits & 0x7fffff) == 0;
        return;
    }
    if (x < t->low[lane]) t->low[lane] = x;
    if (x > t->high[lane]) t->high[lane] = x;
    *sum += (double)x;
    *squares += (double)x * (double)x;
}

static inline void tally_slowly(es_native_format format, const es_native_region *r,
                                es_native_tally *t, double totals[2]) {
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    double sum[ES_NATIVE_LANES] = {0}, squares[ES_NATIVE_LANES] = {0};
    for (int i = 0; i < r->height; i++)
        for (int j = 0; j < r->width; j++) {
            const char *pixel = (const char *)r->row[i] + r->offset + j * r->step;
            const uint32_t place = r->place + (uint32_t)i * r->down + (uint32_t)j * r->across;
            float x[ES_NATIVE_LANES];
            for (int c = 0; c < ES_NATIVE_LANES; c += VL)
                vf_store(x + c, load(format, pixel + c * size));
            for (int c = 0; c < ES_NATIVE_LANES; c++)
                tally_value(x[c], place, c, t, &sum[c], &squares[c]);
        }
    totals[0] = total_of(sum);
    totals[1] = total_of(squares);
}

/* As if every value were finite: where one is not, the sum of the squares is not either, and what is
 * known so far has been left alone. */
ES_INLINE void tally_region(es_native_format format, const es_native_region *r, es_native_tally *t,
                            double totals[2]) {
    const ptrdiff_t size = format == ES_NATIVE_F32 ? 4 : 2;
    double sum[ES_NATIVE_LANES], squares[ES_NATIVE_LANES];
    float lowest[ES_NATIVE_LANES], highest[ES_NATIVE_LANES];
    uint32_t all[ES_NATIVE_LANES], all_placed[ES_NATIVE_LANES];
    for (int c = 0; c < ES_NATIVE_LANES; c += VL) {
        VF low = vf_load(t->low + c), high = vf_load(t->high + c);
        VU words, placed;
        VD sums[2] = {{0}, {0}}, products[2] = {{0}, {0}};
        memcpy(&words, t->words + c, sizeof words);
        memcpy(&placed, t->placed + c, sizeof placed);
        uint32_t first = r->place;
        for (int i = 0; i < r->height; i++, first += r->down) {
            const char *pixel = (const char *)r->row[i] + r->offset + c * size;
            VU place = (VU){0} + first;
            for (int j = 0; j < r->width; j++, pixel += r->step, place += r->across) {
                const VF x = load(format, pixel);
                const VD x0 = vd_low(x), x1 = vd_high(x);
                low = vf_min(x, low);
                high = vf_max(x, high);
                words += (VU)x;
                placed += (VU)x * place;
                sums[0] += x0;
                sums[1] += x1;
                products[0] = vd_fma(x0, x0, products[0]);
                products[1] = vd_fma(x1, x1, products[1]);
            }
        }
        vf_store(lowest + c, low);
        vf_store(highest + c, high);
        memcpy(all + c, &words, sizeof words);
        memcpy(all_placed + c, &placed, sizeof placed);
        memcpy(sum + c, sums, sizeof sums);
        memcpy(squares + c, products, sizeof products);
    }
    totals[0] = total_of(sum);
    totals[1] = total_of(squares);
    if (!(totals[1] - totals[1] == 0)) {
        tally_slowly(format, r, t, totals);
        return;
    }
    memcpy(t->low, lowest, sizeof lowest);
    memcpy(t->high, highest, sizeof highest);
    memcpy(t->words, all, sizeof all);
    memcpy(t->placed, all_placed, sizeof all_placed);
}

#endif
