/* What the functions on pictures share: checks, and rows of samples. */
#ifndef ES_PICTURE_H
#define ES_PICTURE_H

#include <stdbool.h>

#include "base/memory.h"
#include "esrgan.h"

/* Everything about a picture that does not need another: `name` stands for it in messages. */
esrgan_status es_picture_check(const esrgan_picture *picture, const char *name,
                               esrgan_error *error);

/* True where a byte belongs to both. */
bool es_pictures_overlap(const esrgan_picture *a, const esrgan_picture *b);

static inline void *es_picture_row(const esrgan_picture *p, int y) {
    return (char *)p->data + (ptrdiff_t)y * p->stride;
}

static inline bool es_picture_has_alpha(const esrgan_picture *p) { return p->channels % 2 == 0; }
static inline int es_picture_colours(const esrgan_picture *p) { return p->channels < 3 ? 1 : 3; }
static inline unsigned es_picture_max(const esrgan_picture *p) {
    return p->bits == 8 ? 255 : 65535;
}

/* Sample i of a row (x * channels + c). */
static inline unsigned es_sample(const esrgan_picture *p, const void *row, size_t i) {
    return p->bits == 8 ? ((const uint8_t *)row)[i] : ((const uint16_t *)row)[i];
}

#endif
