/* F(4,3) along rows for the tiers with AVX512_BF16: pixels to points, sums to pixels, weights. */
#include "x86/direct_finish.h"

#define VF              __m512
#define vf_set1(x)      _mm512_set1_ps(x)
#define vf_add(a, b)    _mm512_add_ps(a, b)
#define vf_sub(a, b)    _mm512_sub_ps(a, b)
#define vf_mul(a, b)    _mm512_mul_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "native_winograd.h"

#define PATCH (ES_DIRECT_TILE + 2)

/* A half of a line as floats: every bfloat16 is the upper half of one. */
ES_INLINE __m512 half_of(__m512i line, __m512i places) {
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, places, line));
}

static void expand(const uint16_t *lines, int tiles, uint16_t *points, size_t point_stride) {
    const __m512i first = _mm512_slli_epi32(es_each(), 16);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(16 << 16));
    __m512 low[PATCH], high[PATCH], low_points[ES_DIRECT_POINTS], high_points[ES_DIRECT_POINTS];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++, lines += ES_DIRECT_LANES) {
        __m512i line = _mm512_loadu_si512(lines);
        low[i] = half_of(line, first);
        high[i] = half_of(line, second);
    }
    for (int t = 0; t < tiles; t++, points += ES_DIRECT_LANES) {
#pragma GCC unroll 4
        for (int i = 2; i < PATCH; i++, lines += ES_DIRECT_LANES) {
            __m512i line = _mm512_loadu_si512(lines);
            low[i] = half_of(line, first);
            high[i] = half_of(line, second);
        }
        winograd_in4(low, low_points);
        winograd_in4(high, high_points);
#pragma GCC unroll 6
        for (int p = 0; p < ES_DIRECT_POINTS; p++)
            _mm512_store_si512((void *)(points + (size_t)p * point_stride),
                               (__m512i)_mm512_cvtne2ps_pbh(high_points[p], low_points[p]));
        low[0] = low[ES_DIRECT_TILE], low[1] = low[ES_DIRECT_TILE + 1];
        high[0] = high[ES_DIRECT_TILE], high[1] = high[ES_DIRECT_TILE + 1];
    }
}

/* A tile's four pixels, channels o .. o + 15, before anything else is added to them. */
ES_INLINE void pixels_of(const es_direct_row *row, const float *sums, size_t point_stride, int o,
                         __m512 *out) {
    __m512 m[ES_DIRECT_POINTS];
#pragma GCC unroll 6
    for (int p = 0; p < ES_DIRECT_POINTS; p++)
        m[p] = _mm512_load_ps(sums + (size_t)p * point_stride);
    winograd_out4(m, out);
    const __m512 bias = _mm512_loadu_ps(row->bias + o);
#pragma GCC unroll 4
    for (int i = 0; i < ES_DIRECT_TILE; i++) {
        out[i] = _mm512_add_ps(out[i], bias);
        out[i] = _mm512_max_ps(out[i], _mm512_mul_ps(_mm512_set1_ps(row->slope), out[i]));
    }
}

/* A tile, of which `pixels` leave; `plain` where nothing is added and there are no low bytes. */
ES_INLINE void finish_tile(const es_direct_row *row, const float *sums, size_t point_stride, int x,
                           int pixels, int plain) {
    __m512 low[ES_DIRECT_TILE], high[ES_DIRECT_TILE];
    pixels_of(row, sums, point_stride, 0, low);
    pixels_of(row, sums + ES_DIRECT_SUMS / 2, point_stride, ES_DIRECT_HALF, high);
#pragma GCC unroll 4
    for (int i = 0; i < ES_DIRECT_TILE; i++) {
        const size_t at = (size_t)(x + i) * ES_DIRECT_LANES;
        if (i >= pixels) return;
        if (plain)
            es_leave(row->out + at, NULL, low[i], high[i]);
        else
            es_leave_position(row, at, low[i], high[i]);
    }
}

ES_INLINE void finish_row(const es_direct_row *row, const float *sums, size_t point_stride,
                          int plain) {
    int x = 0;
    for (; x + ES_DIRECT_TILE <= row->pixels; x += ES_DIRECT_TILE, sums += ES_DIRECT_HALF)
        finish_tile(row, sums, point_stride, x, ES_DIRECT_TILE, plain);
    if (x < row->pixels) finish_tile(row, sums, point_stride, x, row->pixels - x, plain);
}

static void finish(const es_direct_row *row, const float *sums, size_t point_stride) {
    if (row->near || row->far || row->out_low)
        finish_row(row, sums, point_stride, 0);
    else
        finish_row(row, sums, point_stride, 1);
}

/* The nine taps of an input channel, for all outputs. */
ES_INLINE void taps_of(const float *at, __m512i rows, __mmask16 wanted, __m512 *taps) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++)
        taps[t] = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), wanted, rows, at + t, 4);
}

static void pack(const float *weight, size_t stride, int outputs, int channels, uint16_t *packed,
                 size_t point_stride) {
    const __m512i pairs = es_pairs();
    const __m512i rows = _mm512_mullo_epi32(es_each(), _mm512_set1_epi32((int)stride));
    const __mmask16 wanted = (__mmask16)((1u << outputs) - 1);
    for (int c = 0; c < ES_DIRECT_LANES; c += 2, weight += 18, packed += ES_DIRECT_LANES) {
        __m512 even[9], odd[9];
        taps_of(weight, rows, c < channels ? wanted : 0, even);
        taps_of(weight + 9, rows, c + 1 < channels ? wanted : 0, odd);
        for (int i = 0; i < 3; i++) {
            __m512 low[ES_DIRECT_POINTS], high[ES_DIRECT_POINTS];
            winograd_weights4(even + 3 * i, low);
            winograd_weights4(odd + 3 * i, high);
            for (int p = 0; p < ES_DIRECT_POINTS; p++) {
                __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high[p], low[p]);
                _mm512_store_si512(
                    (void *)(packed + (size_t)p * point_stride + i * ES_DIRECT_PANEL),
                    _mm512_permutexvar_epi16(pairs, both));
            }
        }
    }
}

const es_direct_tiles es_avx512bf16_tiles = {.expand = expand, .finish = finish, .pack = pack};
