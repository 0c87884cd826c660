/* One picture's worth of a value in double: channels x height x width, contiguous. */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tensor {
    int c, h, w;
    double *v;
} tensor;

/* False, having complained, where there is no memory; t->v is NULL then. */
bool tensor_make(tensor *t, int c, int h, int w);
bool tensor_copy(tensor *to, const tensor *from);
void tensor_free(tensor *t);
size_t tensor_count(const tensor *t);
bool tensor_same_shape(const tensor *a, const tensor *b);

/* Values of one height and width as one, channels one after the other; the last one first where `reversed`. */
bool tensor_join(tensor *to, const tensor *parts, int count, bool reversed);

/* How b differs from a.  Elements where either is NaN or Inf are counted and otherwise left out,
 * but for those that are equal infinities or NaN in both. */
typedef struct tensor_diff {
    size_t count;          /* elements compared */
    size_t nonfinite;      /* elements finite in one and not in the other */
    double max, mean, rms; /* of |b - a| */
    double rms_a;          /* of a itself */
    double squares;        /* sum of (b - a)^2 */
    size_t worst; /* index of the largest |b - a|; of the first nonfinite where there is one */
} tensor_diff;

void tensor_compare(const tensor *a, const tensor *b, tensor_diff *diff);

/* The sum of (b - a)^2 leaving out `margin` elements on every side, NaN and Inf left out. */
double tensor_squares(const tensor *a, const tensor *b, int margin);

/* Pearson's correlation of all elements; 0 where one is constant. */
double tensor_correlation(const tensor *a, const tensor *b);

/* The mean over blocks of (a.h / h) x (a.w / w): `to` has a's channels; sizes must divide. */
bool tensor_shrink(tensor *to, const tensor *a, int h, int w);

/* Ways of reading a value wrongly that keep its elements but move them. */
typedef enum reading {
    READ_CHW_AS_HWC, /* memory laid out CHW, read with HWC strides */
    READ_HWC_AS_CHW, /* memory laid out HWC, read with CHW strides */
    READ_REVERSED,   /* channels in reverse order: BGR for RGB     */
    READ_TRANSPOSED, /* height and width swapped (square values)   */
    READ_FLIPPED_X,  /* left to right                              */
    READ_FLIPPED_Y,  /* top to bottom                              */
    READ_TURNED,     /* both: by 180 degrees                       */
    READ_PACKED_4,   /* channels packed by 4 or 8 (NC4HW4), read as if they were planes ...       */
    READ_PACKED_8,
    READ_UNPACKED_4, /* ... and planes read as if they were packed */
    READ_UNPACKED_8,
    READING_COUNT
} reading;

/* Does the reading make sense for this shape, and move anything? */
bool reading_fits(reading how, int c, int h, int w);

/* False where the reading does not fit, or there is no memory. */
bool tensor_read_as(tensor *to, const tensor *from, reading how);
const char *reading_text(reading how, int channels);
const char *reading_id(reading how, int channels);

/* Moved by (dx, dy), edges repeated. */
bool tensor_shift(tensor *to, const tensor *from, int dx, int dy);

/* How a convolution might fill what lies outside. */
typedef enum padding { PAD_ZERO, PAD_REFLECT, PAD_REPLICATE, PAD_CIRCULAR, PADDING_COUNT } padding;

/* `from` with one more row and column on every side. */
bool tensor_pad(tensor *to, const tensor *from, padding how);
/* `from` without its outermost rows and columns. */
bool tensor_crop(tensor *to, const tensor *from);

/* Ways of enlarging by a whole factor. */
typedef enum enlarging {
    ENLARGE_BILINEAR,
    ENLARGE_BILINEAR_CORNERS,
    ENLARGE_BICUBIC,
    ENLARGE_COUNT
} enlarging;
bool tensor_enlarge(tensor *to, const tensor *from, int factor, enlarging how);

#endif
