/* PNG files read, by libpng. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "command.h"
#include "files.h"

/* What libpng's callbacks need, and what must be released after a longjmp. */
typedef struct png_job {
    png_structp png;
    png_infop info;
    const char *name;
    const uint8_t *data;
    size_t left;
    png_bytep *rows;
} png_job;

static void on_error(png_structp png, png_const_charp text) {
    png_job *job = png_get_error_ptr(png);
    complain("%s: damaged PNG: %s", job->name, text);
    longjmp(png_jmpbuf(png), 1);
}

/* libpng warns of harmless oddities (a wrong sRGB profile, say); the pixels are right. */
static void on_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t size) {
    png_job *job = png_get_io_ptr(png);
    if (size > job->left) png_error(png, "the file ends too early");
    memcpy(to, job->data, size);
    job->data += size;
    job->left -= size;
}

static bool make_rows(png_job *job, const picture *p) {
    job->rows = allocate((size_t)p->pixels.height, sizeof *job->rows);
    for (int y = 0; job->rows && y < p->pixels.height; y++) job->rows[y] = picture_row(p, y);
    return job->rows != NULL;
}

/* Everything becomes 8 or 16 bits of grey, grey+alpha, RGB or RGB+alpha. */
static void ask_for_plain_samples(png_structp png, png_infop info) {
    int depth = png_get_bit_depth(png, info), type = png_get_color_type(png, info);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_valid(png, info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(png);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (depth == 16) png_set_swap(png);
#endif
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static bool read_metadata(png_structp png, png_infop info, picture *out) {
    png_charp name;
    png_bytep profile;
    png_uint_32 size = 0;
    int compression;
    if (png_get_iCCP(png, info, &name, &compression, &profile, &size) &&
        !picture_set_icc(out, profile, size))
        return false;
    png_bytep exif;
    return !png_get_eXIf_1(png, info, &size, &exif) || picture_set_exif(out, exif, size);
}

static bool decode(png_job *job, picture *out) {
    if (setjmp(png_jmpbuf(job->png))) return false;
    png_set_read_fn(job->png, job, read_bytes);
    png_set_user_limits(job->png, 1 << 24, 1 << 24);
    png_read_info(job->png, job->info);
    ask_for_plain_samples(job->png, job->info);
    if (!picture_make(out, job->name, (int)png_get_image_width(job->png, job->info),
                      (int)png_get_image_height(job->png, job->info),
                      png_get_channels(job->png, job->info),
                      png_get_bit_depth(job->png, job->info)) ||
        !make_rows(job, out))
        return false;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, job->info);
    return read_metadata(job->png, job->info, out);
}

bool png_decode(const uint8_t *data, size_t size, const char *name, picture *out) {
    png_job job = {.name = name, .data = data, .left = size};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    if (!job.info) complain("%s: out of memory", name);
    bool good = job.info && decode(&job, out);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    free(job.rows);
    return good;
}
