/* The scalar table, see kernels.h and plain_template.h. */
#include <string.h>

#include "kernels.h"

enum {
    COLUMNS = 64, /* outputs of a row that share one gathered patch */
    LANES = 16,   /* outputs whose sums are kept side by side */
    BLOCK = 128   /* elements worked on at a time */
};

static size_t conv_chunk(const es_conv *conv) {
    (void)conv;
    return 4 * COLUMNS;
}

#define REAL    float
#define NAME(x) x##_f32
#include "scalar/plain_template.h"
#undef REAL
#undef NAME

#define REAL    double
#define NAME(x) x##_f64
#include "scalar/plain_template.h"

void es_kernels_scalar(es_kernels *table, bool wide) { *table = wide ? table_f64 : table_f32; }
