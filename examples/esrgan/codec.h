/* What the picture codecs share; picture.c chooses among them. */
#ifndef CODEC_H
#define CODEC_H

#include "picture.h"

/* More pixels than this are not read: a small file can claim any size. */
enum { PICTURE_MAX_PIXELS = 1 << 30 };

/* Codecs read from bytes.  On failure they have complained; what they left in *out is freed by the
 * caller.  *orientation is EXIF's 1..8 where the container has its own tag (TIFF). */
bool png_decode(const uint8_t *data, size_t size, const char *name, picture *out);
bool jpeg_decode(const uint8_t *data, size_t size, const char *name, picture *out);
bool webp_decode(const uint8_t *data, size_t size, const char *name, picture *out);
bool tiff_decode(const uint8_t *data, size_t size, const char *name, picture *out,
                 int *orientation);
bool stb_decode(const uint8_t *data, size_t size, const char *name, picture *out);

/* Codecs write what their format can hold; conversion is picture.c's. */
bool png_encode(FILE *to, const char *name, const picture *p);
bool jpeg_encode(FILE *to, const char *name, const picture *p, int quality);
bool webp_encode(FILE *to, const char *name, const picture *p, int quality, bool lossless);
bool tiff_encode(FILE *to, const char *name, const picture *p);

/* Copies of metadata out of a decoder's memory; an empty one is left out. */
bool picture_set_icc(picture *p, const void *data, size_t size);
bool picture_set_exif(picture *p, const void *data, size_t size);

/* The n-th row. */
static inline uint8_t *picture_row(const picture *p, int y) {
    return (uint8_t *)p->pixels.data + (ptrdiff_t)y * p->pixels.stride;
}

#endif
