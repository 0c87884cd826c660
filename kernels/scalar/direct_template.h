/*
 * The direct convolution for one format of operands; NAME(x) names what belongs to it.  To be defined
 * before: NAME(operand), NAME(narrow), NAME(place) of a weight, NAME(join) and NAME(leave) for what is
 * added and stored; KERNELS, KERNELS_TIER, KERNELS_FORMAT and KERNELS_TILES.  This is the oracle: sums in double.
 */

static double NAME(product_of)(const es_direct_product *p, int position, int o) {
    const uint16_t *weights = p->weights + o / ES_DIRECT_HALF * (ES_DIRECT_PANEL / 2);
    double sum = 0;
    for (int chunk = 0; chunk < p->chunks; chunk++)
        for (int i = 0; i < p->kh; i++)
            for (int j = 0; j < p->kw; j++, weights += ES_DIRECT_PANEL) {
                const uint16_t *line = p->rows[i] + (size_t)chunk * p->plane +
                                       (size_t)(position + j) * ES_DIRECT_LANES;
                for (int c = 0; c < ES_DIRECT_LANES; c++)
                    sum += (double)NAME(operand)(line[c]) *
                           NAME(operand)(weights[NAME(place)(c, o % ES_DIRECT_HALF)]);
            }
    return sum;
}

static void NAME(finish)(const es_direct_finish *f, const float *sums) {
    for (int p = 0; p < ES_DIRECT_BLOCK; p++) {
        size_t line = (size_t)f->lines[p] * ES_DIRECT_LANES;
        for (int o = 0; o < ES_DIRECT_LANES; o++) {
            size_t at = line + (size_t)o;
            float v = sums[(o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF +
                           o % ES_DIRECT_HALF] +
                      f->bias[o];
            if (f->slope * v > v) v = f->slope * v;
            if (f->near)
                v = f->near_scale * v + NAME(join)(f->near[p * ES_DIRECT_LANES + o],
                                                   f->near_low ? f->near_low + at : NULL);
            if (f->far)
                v = f->far_scale * v + NAME(join)(f->far[at], f->far_low ? f->far_low + at : NULL);
            NAME(leave)(v, f->out + at, f->out_low ? f->out_low + at : NULL);
        }
    }
}

static void NAME(multiply)(const es_direct_product *product, float *sums,
                           const es_direct_finish *done, const float *done_sums) {
    if (done) NAME(finish)(done, done_sums);
    for (int o = 0; o < product->halves * ES_DIRECT_HALF; o++)
        for (int p = 0; p < ES_DIRECT_BLOCK; p++)
            sums[(o / ES_DIRECT_HALF * ES_DIRECT_BLOCK + p) * ES_DIRECT_HALF + o % ES_DIRECT_HALF] =
                (float)NAME(product_of)(product, p, o);
}

static void NAME(gather)(const float *planes, size_t plane_stride, int channels, int count,
                         uint16_t *lines) {
    for (int p = 0; p < count; p++)
        for (int c = 0; c < ES_DIRECT_LANES; c++)
            lines[p * ES_DIRECT_LANES + c] =
                c < channels ? NAME(narrow)(planes[(size_t)c * plane_stride + (size_t)p]) : 0;
}

static void NAME(pack)(const float *weight, size_t stride, int outputs, int channels, int taps,
                       uint16_t *packed) {
    for (int t = 0; t < taps; t++, packed += ES_DIRECT_PANEL)
        for (int c = 0; c < ES_DIRECT_LANES; c++)
            for (int o = 0; o < ES_DIRECT_HALF; o++)
                packed[NAME(place)(c, o)] =
                    o < outputs && c < channels
                        ? NAME(narrow)(weight[(size_t)o * stride + (size_t)(c * taps + t)])
                        : 0;
}

const es_direct_kernels KERNELS = {.tier = KERNELS_TIER,
                                   .format = KERNELS_FORMAT,
                                   .begin = es_direct_nothing,
                                   .end = es_direct_nothing,
                                   .multiply = NAME(multiply),
                                   .finish = NAME(finish),
                                   .gather = NAME(gather),
                                   .pack = NAME(pack),
                                   .tiles = KERNELS_TILES};
