/*
 * The scalar kernels, for elements of type REAL; NAME(x) names them.  Included once for float and
 * once for double.  This is the oracle: sums in double, one order of summation (input channel,
 * then kernel row, then kernel column), bias last, one rounding at the end.
 */

static size_t NAME(conv_scratch)(const es_conv *c, size_t count) {
    (void)count;
    return (size_t)c->channels_in * (size_t)c->kernel * (size_t)(COLUMNS + c->kernel - 1) *
           sizeof(double);
}

/* The input that COLUMNS outputs of row y from x on look at, zeros outside the picture:
 * patch[(ci * kernel + ky) * pitch + i] is the input at row y + ky - radius, column x + i - radius. */
static void NAME(gather)(const es_conv *c, int y, int x, double *patch) {
    const int radius = c->kernel / 2, pitch = COLUMNS + c->kernel - 1;
    const size_t in_width = (size_t)(c->width / c->zoom);
    for (int ci = 0; ci < c->channels_in; ci++) {
        const REAL *plane = c->in[ci];
        for (int ky = 0; ky < c->kernel; ky++, patch += pitch) {
            const int64_t yy = (int64_t)y + ky - radius;
            if (yy < 0 || yy >= c->height) {
                memset(patch, 0, (size_t)pitch * sizeof *patch);
                continue;
            }
            const REAL *row = plane + (size_t)(yy / c->zoom) * in_width;
            for (int i = 0; i < pitch; i++) {
                const int64_t xx = (int64_t)x + i - radius;
                patch[i] = xx < 0 || xx >= c->width ? 0.0 : (double)row[xx / c->zoom];
            }
        }
    }
}

/* LANES neighbouring outputs of one channel. */
static void NAME(dot)(double *sums, const double *patch, const REAL *weight, int rows, int kernel) {
    const int pitch = COLUMNS + kernel - 1;
    double s[LANES] = {0};
    for (int r = 0; r < rows; r++, patch += pitch) {
        for (int kx = 0; kx < kernel; kx++) {
            const double w = (double)*weight++;
            for (int i = 0; i < LANES; i++) s[i] += w * patch[kx + i];
        }
    }
    memcpy(sums, s, sizeof s);
}

static void NAME(conv)(const es_conv *c, size_t first, size_t count, void *scratch) {
    const size_t width = (size_t)c->width, plane = width * (size_t)c->height;
    const int rows = c->channels_in * c->kernel;
    const REAL *bias = c->bias;
    while (count > 0) {
        const size_t y = first / width, x = first % width;
        size_t n = width - x < count ? width - x : count;
        if (n > COLUMNS) n = COLUMNS;
        NAME(gather)(c, (int)y, (int)x, scratch);
        for (int co = 0; co < c->channels; co++) {
            const REAL *weight = (const REAL *)c->weight + (size_t)co * (size_t)(rows * c->kernel);
            REAL *out = (REAL *)c->out + (size_t)co * plane + first;
            const double b = bias ? (double)bias[co] : 0.0;
            for (size_t i = 0; i < n; i += LANES) {
                double sums[LANES];
                NAME(dot)(sums, (const double *)scratch + i, weight, rows, c->kernel);
                for (size_t j = 0; j < LANES && i + j < n; j++) out[i + j] = (REAL)(sums[j] + b);
            }
        }
        first += n;
        count -= n;
    }
}

/* The functions on elements work through a block on the side: out may be an input, and a compiler
 * that has to allow for that does not vectorise. */

static void NAME(lrelu)(void *out, const void *in, size_t n, double alpha) {
    const REAL *x = in, slope = (REAL)alpha;
    REAL block[BLOCK];
    for (size_t i = 0, m; i < n; i += m, x += m) {
        m = n - i < BLOCK ? n - i : BLOCK;
        for (size_t j = 0; j < m; j++) block[j] = x[j] < 0 ? slope * x[j] : x[j];
        memcpy((REAL *)out + i, block, m * sizeof *block);
    }
}

static void NAME(scale)(void *out, const void *in, size_t n, double alpha) {
    const REAL *x = in, factor = (REAL)alpha;
    REAL block[BLOCK];
    for (size_t i = 0, m; i < n; i += m, x += m) {
        m = n - i < BLOCK ? n - i : BLOCK;
        for (size_t j = 0; j < m; j++) block[j] = factor * x[j];
        memcpy((REAL *)out + i, block, m * sizeof *block);
    }
}

static void NAME(add)(void *out, const void *a, const void *b, size_t n) {
    const REAL *x = a, *y = b;
    REAL block[BLOCK];
    for (size_t i = 0, m; i < n; i += m, x += m, y += m) {
        m = n - i < BLOCK ? n - i : BLOCK;
        for (size_t j = 0; j < m; j++) block[j] = x[j] + y[j];
        memcpy((REAL *)out + i, block, m * sizeof *block);
    }
}

static void NAME(residual)(void *out, const void *a, const void *b, size_t n, double alpha) {
    const REAL *x = a, *y = b, factor = (REAL)alpha;
    REAL block[BLOCK];
    for (size_t i = 0, m; i < n; i += m, x += m, y += m) {
        m = n - i < BLOCK ? n - i : BLOCK;
        for (size_t j = 0; j < m; j++) {
            const REAL scaled = factor * x[j];
            block[j] = scaled + y[j];
        }
        memcpy((REAL *)out + i, block, m * sizeof *block);
    }
}

static void NAME(repeat)(void *out, const void *in, size_t n, int factor) {
    REAL *o = out;
    const REAL *x = in;
    for (size_t i = 0; i < n; i++) o[i] = x[i / (size_t)factor];
}

static void NAME(pick)(void *out, const void *in, size_t n, int factor) {
    REAL *o = out;
    const REAL *x = in;
    for (size_t i = 0; i < n; i++) o[i] = x[i * (size_t)factor];
}

static const es_kernels NAME(table) = {
    .name = "scalar",
    .wide = sizeof(REAL) == sizeof(double),
    .conv_chunk = conv_chunk,
    .conv_scratch = NAME(conv_scratch),
    .conv = NAME(conv),
    .lrelu = NAME(lrelu),
    .scale = NAME(scale),
    .add = NAME(add),
    .residual = NAME(residual),
    .repeat = NAME(repeat),
    .pick = NAME(pick),
};
