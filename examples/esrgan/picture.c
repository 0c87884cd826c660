#include "picture.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codec.h"
#include "command.h"
#include "files.h"

/* ---- Formats ------------------------------------------------------------------------------ */

static const struct {
    const char *extension;
    picture_format format;
} EXTENSIONS[] = {
    {"png", PICTURE_PNG},   {"jpg", PICTURE_JPEG},  {"jpeg", PICTURE_JPEG}, {"webp", PICTURE_WEBP},
    {"tif", PICTURE_TIFF},  {"tiff", PICTURE_TIFF}, {"bmp", PICTURE_OTHER}, {"gif", PICTURE_OTHER},
    {"tga", PICTURE_OTHER}, {"psd", PICTURE_OTHER}, {"ppm", PICTURE_OTHER}, {"pgm", PICTURE_OTHER},
    {"pnm", PICTURE_OTHER}, {"hdr", PICTURE_OTHER}, {"jpe", PICTURE_JPEG},  {"jfif", PICTURE_JPEG},
};

enum { EXTENSION_COUNT = sizeof EXTENSIONS / sizeof *EXTENSIONS };

picture_format picture_format_of(const char *extension) {
    for (int i = 0; i < EXTENSION_COUNT; i++)
        if (!strcasecmp(EXTENSIONS[i].extension, extension)) return EXTENSIONS[i].format;
    return PICTURE_OTHER;
}

const char *picture_format_extension(picture_format format) {
    for (int i = 0; i < EXTENSION_COUNT; i++)
        if (EXTENSIONS[i].format == format) return EXTENSIONS[i].extension;
    return "png";
}

bool picture_format_deep(picture_format format) {
    return format == PICTURE_PNG || format == PICTURE_TIFF;
}

bool picture_is_name(const char *name) {
    for (int i = 0; i < EXTENSION_COUNT; i++)
        if (!strcasecmp(EXTENSIONS[i].extension, path_extension(name))) return true;
    return false;
}

/* ---- Memory ------------------------------------------------------------------------------- */

bool picture_make(picture *p, const char *name, int width, int height, int channels, int bits) {
    size_t row = (size_t)width * (size_t)channels * (size_t)bits / 8;
    p->pixels = (esrgan_picture){.width = width,
                                 .height = height,
                                 .channels = channels,
                                 .bits = bits,
                                 .stride = (ptrdiff_t)row};
    if (width < 1 || height < 1 || (int64_t)width * height > PICTURE_MAX_PIXELS) {
        complain("%s: a picture of %dx%d pixels is more than fits (at most %d pixels)", name, width,
                 height, PICTURE_MAX_PIXELS);
        return false;
    }
    p->pixels.data = calloc((size_t)height, row);
    if (!p->pixels.data)
        complain("%s: no memory for %dx%d pixels (%zu bytes)", name, width, height,
                 (size_t)height * row);
    return p->pixels.data != NULL;
}

void picture_free(picture *p) {
    free(p->pixels.data);
    free(p->icc);
    free(p->exif);
    memset(p, 0, sizeof *p);
}

static bool set_copy(uint8_t **bytes, size_t *length, const void *data, size_t size) {
    free(*bytes);
    *bytes = NULL;
    *length = 0;
    if (!data || !size) return true;
    *bytes = allocate(size, 1);
    if (!*bytes) return false;
    memcpy(*bytes, data, size);
    *length = size;
    return true;
}

bool picture_set_icc(picture *p, const void *data, size_t size) {
    return set_copy(&p->icc, &p->icc_size, data, size);
}

bool picture_set_exif(picture *p, const void *data, size_t size) {
    /* WebP files carry the marker of JPEG's before it at times. */
    if (size > 6 && !memcmp(data, "Exif\0", 6))
        return set_copy(&p->exif, &p->exif_size, (const uint8_t *)data + 6, size - 6);
    return set_copy(&p->exif, &p->exif_size, data, size);
}

bool picture_copy_metadata(picture *to, const picture *from) {
    bool fits = (to->pixels.channels >= 3) == (from->pixels.channels >= 3);
    return (!fits || picture_set_icc(to, from->icc, from->icc_size)) &&
           picture_set_exif(to, from->exif, from->exif_size);
}

/* ---- EXIF's orientation ------------------------------------------------------------------- */

static uint32_t exif_number(const uint8_t *at, int bytes, bool big) {
    uint32_t number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[big ? i : bytes - 1 - i];
    return number;
}

/* Reads the orientation (1 where there is none) and sets it to 1 in the bytes. */
static int exif_take_orientation(uint8_t *exif, size_t size) {
    if (!exif || size < 8 || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return 1;
    bool big = exif[0] == 'M';
    size_t folder = exif_number(exif + 4, 4, big);
    if (folder > size - 2) return 1;
    size_t entries = exif_number(exif + folder, 2, big);
    for (size_t i = 0; i < entries; i++) {
        size_t at = folder + 2 + 12 * i;
        if (at + 12 > size) return 1;
        if (exif_number(exif + at, 2, big) != 0x0112) continue;
        int orientation = (int)exif_number(exif + at + 8, 2, big);
        exif[at + 8] = big ? 0 : 1;
        exif[at + 9] = big ? 1 : 0;
        return orientation;
    }
    return 1;
}

/* Turns and mirrors the pixels so that they stand as orientation 1..8 says they are meant. */
static bool apply_orientation(picture *p, const char *name, int orientation) {
    if (orientation < 2 || orientation > 8) return true;
    const esrgan_picture from = p->pixels;
    bool turned = orientation >= 5;
    picture to = {.format = p->format};
    if (!picture_make(&to, name, turned ? from.height : from.width,
                      turned ? from.width : from.height, from.channels, from.bits))
        return false;
    size_t pixel = (size_t)from.channels * (size_t)from.bits / 8;
    bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    /* `right`, `down`: the stored column, the stored row runs backwards. */
    for (int y = 0; y < to.pixels.height; y++) {
        uint8_t *target = picture_row(&to, y);
        for (int x = 0; x < to.pixels.width; x++, target += pixel) {
            int column = turned ? y : x, row = turned ? x : y;
            if (right) column = from.width - 1 - column;
            if (down) row = from.height - 1 - row;
            memcpy(target, picture_row(p, row) + (size_t)column * pixel, pixel);
        }
    }
    free(p->pixels.data);
    p->pixels = to.pixels;
    return true;
}

/* ---- Reading ------------------------------------------------------------------------------ */

static picture_format sniff(const uint8_t *data, size_t size) {
    if (size >= 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8)) return PICTURE_PNG;
    if (size >= 3 && !memcmp(data, "\xff\xd8\xff", 3)) return PICTURE_JPEG;
    if (size >= 12 && !memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WEBP", 4)) return PICTURE_WEBP;
    if (size >= 4 && (!memcmp(data, "II*\0", 4) || !memcmp(data, "MM\0*", 4) ||
                      !memcmp(data, "II+\0", 4) || !memcmp(data, "MM\0+", 4)))
        return PICTURE_TIFF;
    return PICTURE_OTHER;
}

bool picture_decode(const uint8_t *data, size_t size, const char *name, picture *out) {
    int tagged = 1;
    bool good = false;
    memset(out, 0, sizeof *out);
    out->format = sniff(data, size);
    switch (out->format) {
    case PICTURE_PNG: good = png_decode(data, size, name, out); break;
    case PICTURE_JPEG: good = jpeg_decode(data, size, name, out); break;
    case PICTURE_WEBP: good = webp_decode(data, size, name, out); break;
    case PICTURE_TIFF: good = tiff_decode(data, size, name, out, &tagged); break;
    case PICTURE_OTHER: good = stb_decode(data, size, name, out); break;
    }
    int orientation = exif_take_orientation(out->exif, out->exif_size);
    if (good) good = apply_orientation(out, name, tagged > 1 ? tagged : orientation);
    if (!good) picture_free(out);
    return good;
}

bool picture_read(const char *path, picture *out) {
    file_bytes bytes;
    memset(out, 0, sizeof *out);
    if (!file_read(path, &bytes)) return false;
    bool good =
        picture_decode(bytes.data, bytes.size, strcmp(path, "-") ? path : "standard input", out);
    file_bytes_free(&bytes);
    return good;
}

/* ---- Converting --------------------------------------------------------------------------- */

/* A sample as 16 bits. */
static uint32_t sample16(const uint8_t *row, size_t i, int bits) {
    return bits == 8 ? row[i] * 257u : ((const uint16_t *)(const void *)row)[i];
}

static void put_sample(uint8_t *row, size_t i, int bits, uint32_t value) {
    if (bits == 8)
        row[i] = (uint8_t)((value * 255u + 32767u) / 65535u);
    else
        ((uint16_t *)(void *)row)[i] = (uint16_t)value;
}

bool picture_convert(const picture *from, const char *name, int channels, int bits, picture *to) {
    const esrgan_picture *f = &from->pixels;
    memset(to, 0, sizeof *to);
    to->format = from->format;
    if (!picture_make(to, name, f->width, f->height, channels, bits)) return false;
    bool has_alpha = f->channels == 2 || f->channels == 4,
         to_alpha = channels == 2 || channels == 4;
    int colours = f->channels >= 3 ? 3 : 1, to_colours = channels >= 3 ? 3 : 1;
    for (int y = 0; y < f->height; y++) {
        const uint8_t *source = picture_row(from, y);
        uint8_t *target = picture_row(to, y);
        for (int x = 0; x < f->width; x++) {
            size_t in = (size_t)x * (size_t)f->channels, out = (size_t)x * (size_t)channels;
            uint32_t alpha = has_alpha ? sample16(source, in + (size_t)colours, f->bits) : 65535u;
            for (int c = 0; c < to_colours; c++) {
                uint32_t value = sample16(source, in + (size_t)(colours == 3 ? c : 0), f->bits);
                if (!to_alpha && alpha != 65535u) /* over white */
                    value = (uint32_t)(((uint64_t)value * alpha + 65535ull * (65535u - alpha)) /
                                       65535u);
                put_sample(target, out + (size_t)c, bits, value);
            }
            if (to_alpha) put_sample(target, out + (size_t)to_colours, bits, alpha);
        }
    }
    if (picture_copy_metadata(to, from)) return true;
    picture_free(to);
    return false;
}

/* ---- Writing ------------------------------------------------------------------------------ */

/* Whether alpha says anything: some pixel is not opaque. */
static bool has_transparency(const picture *p) {
    int channels = p->pixels.channels;
    if (channels == 1 || channels == 3) return false;
    for (int y = 0; y < p->pixels.height; y++)
        for (int x = 0; x < p->pixels.width; x++)
            if (sample16(picture_row(p, y), (size_t)x * (size_t)channels + (size_t)channels - 1,
                         p->pixels.bits) != 65535u)
                return true;
    return false;
}

/* The nearest shape that the format can hold. */
static void held_shape(picture_format format, const picture *p, int *channels, int *bits) {
    *channels = p->pixels.channels;
    *bits = picture_format_deep(format) ? p->pixels.bits : 8;
    if (format == PICTURE_JPEG) *channels = p->pixels.channels >= 3 ? 3 : 1;
    if (format == PICTURE_WEBP) *channels = has_transparency(p) ? 4 : 3;
}

static bool encode(FILE *to, const char *name, const picture *p,
                   const picture_write_options *options) {
    switch (options->format) {
    case PICTURE_JPEG: return jpeg_encode(to, name, p, options->quality);
    case PICTURE_WEBP: return webp_encode(to, name, p, options->quality, options->lossless);
    case PICTURE_TIFF: return tiff_encode(to, name, p);
    default: return png_encode(to, name, p);
    }
}

bool picture_write(const char *path, const picture *p, const picture_write_options *options) {
    const char *name = strcmp(path, "-") ? path : "standard output";
    int channels, bits;
    held_shape(options->format, p, &channels, &bits);
    picture converted = {0};
    const picture *source = p;
    if (channels != p->pixels.channels || bits != p->pixels.bits) {
        if (options->format == PICTURE_JPEG && has_transparency(p))
            warn("%s: JPEG knows no transparency: the picture is laid over white", name);
        if (!picture_convert(p, name, channels, bits, &converted)) return false;
        source = &converted;
    }
    file_out out;
    bool good = file_create(&out, path);
    if (good && encode(out.stream, name, source, options))
        good = file_commit(&out);
    else if (good) {
        file_abandon(&out);
        good = false;
    }
    picture_free(&converted);
    return good;
}
