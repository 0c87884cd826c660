/* Picture files: read by what they hold, written by format; colour profile and EXIF kept. */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "esrgan.h"

typedef enum picture_format {
    PICTURE_PNG,
    PICTURE_JPEG,
    PICTURE_WEBP,
    PICTURE_TIFF,
    PICTURE_OTHER /* read only: BMP, GIF, TGA, PSD, PNM, HDR */
} picture_format;

/* A picture and what came with it.  Zeroed is empty; released by picture_free. */
typedef struct picture {
    esrgan_picture pixels;
    uint8_t *icc; /* colour profile, or NULL */
    size_t icc_size;
    uint8_t *exif; /* from its byte-order mark on, orientation already applied and set to 1 */
    size_t exif_size;
    picture_format format; /* of the file it was read from */
} picture;

/* All of these return false after a complaint that names the file. */

/* Room for the pixels, cleared; `name` is for complaints, here and below. */
bool picture_make(picture *p, const char *name, int width, int height, int channels, int bits);
void picture_free(picture *p);

/* "-" is standard input.  Palettes become RGB, CMYK becomes RGB; EXIF's orientation is applied. */
bool picture_read(const char *path, picture *out);

/* The same from bytes; `name` stands for the file in complaints. */
bool picture_decode(const uint8_t *data, size_t size, const char *name, picture *out);

typedef struct picture_write_options {
    picture_format format;
    int quality;  /* 1 to 100: JPEG, WebP                    */
    int lossless; /* WebP                                    */
} picture_write_options;

/* "-" is standard output; files are written under a temporary name, then renamed.  What the format
 * cannot hold is converted: 16 bits to 8, alpha blended over white for JPEG (with a warning). */
bool picture_write(const char *path, const picture *p, const picture_write_options *options);

picture_format
picture_format_of(const char *extension); /* PICTURE_OTHER where it cannot be written */
const char *picture_format_extension(picture_format format); /* "png" */
bool picture_format_deep(picture_format format);             /* takes 16 bits */
bool picture_is_name(const char *name); /* has the extension of a format that can be read */

/* Copies metadata from one to the other; the profile only where it fits (colour or grey). */
bool picture_copy_metadata(picture *to, const picture *from);

/* The same pixels with another depth or channel count: 8 or 16 bits; alpha dropped or kept. */
bool picture_convert(const picture *from, const char *name, int channels, int bits, picture *to);

#endif
