/* The direct convolution with VDPBF16PS: 12 positions times 32 channels of sums in registers. */
#include "x86/direct_finish.h"

#define GROUP 12 /* positions at a time; 24 accumulators, two weights, two broadcasts */

ES_INLINE __m512bh broadcast_pair(const uint16_t *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

ES_INLINE void group(const es_direct_product *p, int first, int halves, float *sums) {
    __m512 sum[2][GROUP];
    for (int h = 0; h < halves; h++)
        for (int i = 0; i < GROUP; i++) sum[h][i] = _mm512_setzero_ps();
    const uint16_t *w = p->weights;
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++)
            for (int j = 0; j < p->kw; j++, w += ES_DIRECT_PANEL) {
                const uint16_t *line =
                    p->rows[i] + (size_t)chunk * p->plane + (size_t)(first + j) * ES_DIRECT_LANES;
                for (int c = 0; c < ES_DIRECT_LANES; c += 2) {
                    __m512bh wl = (__m512bh)_mm512_load_si512((const void *)(w + c * 16));
                    __m512bh wh = (__m512bh)_mm512_load_si512(
                        (const void *)(w + ES_DIRECT_PANEL / 2 + c * 16));
#pragma GCC unroll 12
                    for (int n = 0; n < GROUP; n++) {
                        __m512bh x = broadcast_pair(line + n * ES_DIRECT_LANES + c);
                        sum[0][n] = _mm512_dpbf16_ps(sum[0][n], x, wl);
                        if (halves == 2) sum[1][n] = _mm512_dpbf16_ps(sum[1][n], x, wh);
                    }
                }
            }
    for (int h = 0; h < halves; h++)
        for (int i = 0; i < GROUP; i++)
            _mm512_store_ps(sums + (h * ES_DIRECT_BLOCK + first + i) * ES_DIRECT_HALF, sum[h][i]);
}

static void multiply(const es_direct_product *product, float *sums, const es_direct_finish *done,
                     const float *done_sums) {
    if (done) es_finish_positions(done, done_sums, 0, ES_DIRECT_BLOCK);
    for (int first = 0; first < product->positions; first += GROUP)
        if (product->halves == 2)
            group(product, first, 2, sums);
        else
            group(product, first, 1, sums);
}

void es_avx512bf16_finish(const es_direct_finish *done, const float *done_sums) {
    es_finish_positions(done, done_sums, 0, ES_DIRECT_BLOCK);
}

void es_avx512bf16_gather(const float *planes, size_t plane_stride, int channels, int count,
                          uint16_t *lines) {
    for (int p = 0; p < count; p++) {
        _Alignas(64) float line[ES_DIRECT_LANES] = {0};
        for (int c = 0; c < channels; c++) line[c] = planes[(size_t)c * plane_stride + (size_t)p];
        __m512bh both = _mm512_cvtne2ps_pbh(_mm512_load_ps(line + 16), _mm512_load_ps(line));
        _mm512_storeu_si512((void *)(lines + p * ES_DIRECT_LANES), (__m512i)both);
    }
}

void es_avx512bf16_pack(const float *weight, size_t stride, int outputs, int channels, int taps,
                        uint16_t *packed) {
    /* Channel c of all outputs and channel c + 1 of all become pairs, output by output. */
    const __m512i pairs = es_pairs();
    const __m512i rows = _mm512_mullo_epi32(es_each(), _mm512_set1_epi32((int)stride));
    const __m512 zero = _mm512_setzero_ps();
    __mmask16 wanted = (__mmask16)((1u << outputs) - 1);
    for (int c = 0; c < ES_DIRECT_LANES; c += 2, packed += ES_DIRECT_LANES)
        for (int t = 0; t < taps; t++) {
            const float *at = weight + c * taps + t;
            __m512 even = zero, odd = zero;
            if (c < channels) even = _mm512_mask_i32gather_ps(zero, wanted, rows, at, 4);
            if (c + 1 < channels) odd = _mm512_mask_i32gather_ps(zero, wanted, rows, at + taps, 4);
            __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
            _mm512_store_si512((void *)(packed + t * ES_DIRECT_PANEL),
                               _mm512_permutexvar_epi16(pairs, both));
        }
}

const es_direct_kernels es_direct_avx512bf16 = {.tier = "avx512bf16",
                                                .format = ES_DIRECT_BF16,
                                                .begin = es_direct_nothing,
                                                .end = es_direct_nothing,
                                                .multiply = multiply,
                                                .finish = es_avx512bf16_finish,
                                                .gather = es_avx512bf16_gather,
                                                .pack = es_avx512bf16_pack,
                                                .tiles = &es_avx512bf16_tiles};
