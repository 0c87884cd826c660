#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "codec.h"
#include "command.h"
#include "files.h"

/* A file in memory, read or being written. */
typedef struct tiff_memory {
    const char *name;
    const uint8_t *source; /* reading                      */
    uint8_t *data;         /* writing                      */
    size_t size, room, at;
    bool complained;
} tiff_memory;

static tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t size) {
    tiff_memory *m = handle;
    size_t left = m->at < m->size ? m->size - m->at : 0, take = (size_t)size;
    if (take > left) take = left;
    memcpy(to, (m->source ? m->source : m->data) + m->at, take);
    m->at += take;
    return (tmsize_t)take;
}

static tmsize_t write_bytes(thandle_t handle, void *from, tmsize_t size) {
    tiff_memory *m = handle;
    size_t end = m->at + (size_t)size;
    if (end > m->room) {
        size_t room = end + end / 2;
        uint8_t *larger = realloc(m->data, room);
        if (!larger) return -1;
        memset(larger + m->room, 0, room - m->room);
        m->data = larger;
        m->room = room;
    }
    memcpy(m->data + m->at, from, (size_t)size);
    m->at = end;
    if (end > m->size) m->size = end;
    return size;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    tiff_memory *m = handle;
    m->at = (size_t)(whence == SEEK_CUR   ? m->at + offset
                     : whence == SEEK_END ? m->size + offset
                                          : offset);
    return m->at;
}

static int close_memory(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle) { return ((tiff_memory *)handle)->size; }

static int map_nothing(thandle_t handle, void **base, toff_t *size) {
    (void)handle;
    (void)base;
    (void)size;
    return 0;
}

static void unmap_nothing(thandle_t handle, void *base, toff_t size) {
    (void)handle;
    (void)base;
    (void)size;
}

/* One complaint a file: libtiff tends to repeat itself. */
static void on_error(thandle_t handle, const char *module, const char *format, va_list arguments) {
    (void)module;
    tiff_memory *m = handle;
    if (!m || m->complained) return;
    char text[256];
    vsnprintf(text, sizeof text, format, arguments);
    complain("%s: %s TIFF: %s", m->name, m->source ? "damaged" : "cannot be written as", text);
    m->complained = true;
}

static void ignore(thandle_t handle, const char *module, const char *format, va_list arguments) {
    (void)handle;
    (void)module;
    (void)format;
    (void)arguments;
}

static TIFF *open_memory(tiff_memory *m, const char *mode) {
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
    TIFFSetErrorHandlerExt(on_error);
    TIFFSetWarningHandlerExt(ignore);
    return TIFFClientOpen(m->name, mode, m, read_bytes, write_bytes, seek, close_memory, size_of,
                          map_nothing, unmap_nothing);
}

typedef struct tiff_shape {
    uint32_t width, height;
    uint16_t bits, samples, planar, photometric, format;
    bool alpha, premultiplied;
} tiff_shape;

static void read_shape(TIFF *tiff, tiff_shape *s) {
    uint16_t extra_count = 0, *extra = NULL;
    memset(s, 0, sizeof *s);
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &s->width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &s->height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &s->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &s->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &s->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &s->format);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &s->photometric);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
    s->alpha = extra_count == 1 && extra[0] != EXTRASAMPLE_UNSPECIFIED;
    s->premultiplied = s->alpha && extra[0] == EXTRASAMPLE_ASSOCALPHA;
}

/* Rows that can be taken over as they are: grey or RGB, 8 or 16 bits, interleaved, in strips. */
static bool is_plain(TIFF *tiff, const tiff_shape *s) {
    int colours = s->photometric == PHOTOMETRIC_RGB ? 3 : 1;
    bool photometric = s->photometric == PHOTOMETRIC_RGB ||
                       s->photometric == PHOTOMETRIC_MINISBLACK ||
                       s->photometric == PHOTOMETRIC_MINISWHITE;
    return photometric && !TIFFIsTiled(tiff) && s->format == SAMPLEFORMAT_UINT &&
           (s->bits == 8 || s->bits == 16) && s->samples == colours + (s->alpha ? 1 : 0) &&
           (s->planar == PLANARCONFIG_CONTIG || s->samples == 1);
}

static uint32_t get_sample(const uint8_t *row, size_t i, int bits) {
    return bits == 8 ? row[i] : ((const uint16_t *)(const void *)row)[i];
}

static void set_sample(uint8_t *row, size_t i, int bits, uint32_t value) {
    if (bits == 8)
        row[i] = (uint8_t)value;
    else
        ((uint16_t *)(void *)row)[i] = (uint16_t)value;
}

/* Alpha is straight everywhere else in this program. */
static void unpremultiply(uint8_t *row, int width, int channels, int bits) {
    uint32_t top = bits == 8 ? 255 : 65535;
    for (int x = 0; x < width; x++) {
        size_t at = (size_t)x * (size_t)channels;
        uint32_t alpha = get_sample(row, at + (size_t)channels - 1, bits);
        if (alpha == 0 || alpha == top) continue;
        for (int c = 0; c < channels - 1; c++) {
            uint64_t value =
                ((uint64_t)get_sample(row, at + (size_t)c, bits) * top + alpha / 2) / alpha;
            set_sample(row, at + (size_t)c, bits, value > top ? top : (uint32_t)value);
        }
    }
}

static void invert(uint8_t *row, int width, int channels, int bits, bool alpha) {
    uint32_t top = bits == 8 ? 255 : 65535;
    for (size_t i = 0; i < (size_t)width * (size_t)channels; i++)
        if (!alpha || (i + 1) % (size_t)channels)
            set_sample(row, i, bits, top - get_sample(row, i, bits));
}

static bool read_plain(TIFF *tiff, const tiff_shape *s, const char *name, picture *out) {
    if (!picture_make(out, name, (int)s->width, (int)s->height, s->samples, s->bits)) return false;
    if (TIFFScanlineSize64(tiff) > (uint64_t)out->pixels.stride) return false;
    for (int y = 0; y < out->pixels.height; y++) {
        uint8_t *row = picture_row(out, y);
        if (TIFFReadScanline(tiff, row, (uint32_t)y, 0) < 0) return false;
        if (s->photometric == PHOTOMETRIC_MINISWHITE)
            invert(row, out->pixels.width, s->samples, s->bits, s->alpha);
        if (s->premultiplied) unpremultiply(row, out->pixels.width, s->samples, s->bits);
    }
    return true;
}

/* Everything else through libtiff's own conversion to 8-bit RGBA. */
static bool read_converted(TIFF *tiff, const tiff_shape *s, const char *name, picture *out) {
    int channels = s->alpha ? 4 : 3;
    size_t count = (size_t)s->width * s->height;
    if (!picture_make(out, name, (int)s->width, (int)s->height, channels, 8)) return false;
    uint32_t *raster = allocate(count, sizeof *raster);
    bool good = raster && TIFFReadRGBAImageOriented(tiff, s->width, s->height, raster,
                                                    ORIENTATION_TOPLEFT, 1);
    uint8_t *to = out->pixels.data;
    for (size_t i = 0; good && i < count; i++, to += channels) {
        to[0] = (uint8_t)TIFFGetR(raster[i]);
        to[1] = (uint8_t)TIFFGetG(raster[i]);
        to[2] = (uint8_t)TIFFGetB(raster[i]);
        if (channels == 4) to[3] = (uint8_t)TIFFGetA(raster[i]);
    }
    if (good && channels == 4)
        for (int y = 0; y < out->pixels.height; y++)
            unpremultiply(picture_row(out, y), out->pixels.width, 4, 8);
    free(raster);
    return good;
}

bool tiff_decode(const uint8_t *data, size_t size, const char *name, picture *out,
                 int *orientation) {
    tiff_memory memory = {.name = name, .source = data, .size = size};
    TIFF *tiff = open_memory(&memory, "rm");
    if (!tiff) {
        if (!memory.complained) complain("%s: damaged TIFF", name);
        return false;
    }
    tiff_shape shape;
    read_shape(tiff, &shape);
    bool good = (uint64_t)shape.width * shape.height <= PICTURE_MAX_PIXELS;
    if (good && is_plain(tiff, &shape)) {
        uint16_t tag = 1;
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &tag);
        *orientation = tag;
        good = read_plain(tiff, &shape, name, out);
    } else if (good) {
        good = read_converted(tiff, &shape, name, out);
    }
    uint32_t icc_size = 0;
    void *icc = NULL;
    if (good && TIFFGetField(tiff, TIFFTAG_ICCPROFILE, &icc_size, &icc))
        good = picture_set_icc(out, icc, icc_size);
    if (!good && !memory.complained) complain("%s: damaged or unsupported TIFF", name);
    TIFFClose(tiff);
    return good;
}

static bool write_rows(TIFF *tiff, const picture *p) {
    const esrgan_picture *v = &p->pixels;
    bool colour = v->channels >= 3, alpha = v->channels == 2 || v->channels == 4;
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)v->width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)v->height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, v->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, v->channels);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, colour ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
    TIFFSetField(tiff, TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL);
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tiff, 0));
    if (alpha) {
        uint16_t kind = EXTRASAMPLE_UNASSALPHA;
        TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &kind);
    }
    if (p->icc) TIFFSetField(tiff, TIFFTAG_ICCPROFILE, (uint32_t)p->icc_size, p->icc);
    /* libtiff may turn the bytes of a row it is given, so it gets a copy. */
    size_t length = (size_t)v->width * (size_t)v->channels * (size_t)v->bits / 8;
    uint8_t *row = allocate(length, 1);
    bool good = row != NULL;
    for (int y = 0; good && y < v->height; y++) {
        memcpy(row, picture_row(p, y), length);
        good = TIFFWriteScanline(tiff, row, (uint32_t)y, 0) >= 0;
    }
    free(row);
    return good && TIFFFlush(tiff);
}

bool tiff_encode(FILE *to, const char *name, const picture *p) {
    tiff_memory memory = {.name = name};
    TIFF *tiff = open_memory(&memory, "wm");
    bool good = tiff && write_rows(tiff, p);
    if (tiff) TIFFClose(tiff);
    if (!good && !memory.complained) complain("%s: cannot be written as TIFF", name);
    if (good && fwrite(memory.data, 1, memory.size, to) != memory.size) {
        complain("%s: writing failed: %s", name, strerror(errno));
        good = false;
    }
    free(memory.data);
    return good;
}
