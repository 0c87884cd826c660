#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "codec.h"
#include "command.h"
#include "files.h"

typedef struct jpeg_job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    jmp_buf back;
    const char *name;
    bool decoding;
    uint8_t *row; /* CMYK, on its way to RGB     */
    JOCTET *icc;
    bool odd; /* damage of a harmless kind   */
} jpeg_job;

static void on_error(j_common_ptr jpeg) {
    jpeg_job *job = (jpeg_job *)jpeg->err;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    if (jpeg->err->msg_code == JERR_FILE_WRITE) snprintf(text, sizeof text, "%s", strerror(errno));
    complain("%s: %s JPEG: %s", job->name, job->decoding ? "damaged" : "cannot be written as",
             text);
    longjmp(job->back, 1);
}

/* A picture whose end is missing is an error; other damage is passed over, and said. */
static void on_message(j_common_ptr jpeg, int level) {
    jpeg_job *job = (jpeg_job *)jpeg->err;
    if (level >= 0) return;
    if (jpeg->err->msg_code == JWRN_JPEG_EOF || jpeg->err->msg_code == JWRN_HIT_MARKER)
        on_error(jpeg);
    job->odd = true;
}

static void on_output(j_common_ptr jpeg) { (void)jpeg; }

static struct jpeg_error_mgr *error_manager(jpeg_job *job) {
    jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    job->errors.output_message = on_output;
    return &job->errors;
}

static bool read_metadata(struct jpeg_decompress_struct *jpeg, jpeg_job *job, picture *out) {
    unsigned size = 0;
    if (jpeg->num_components != 4 && jpeg_read_icc_profile(jpeg, &job->icc, &size) &&
        !picture_set_icc(out, job->icc, size))
        return false;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, "Exif\0", 6))
            return picture_set_exif(out, m->data + 6, m->data_length - 6);
    return true;
}

/* Adobe writes CMYK inverted: 255 is no ink. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, int width, bool inverted) {
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++) {
            int ink = inverted ? cmyk[c] : 255 - cmyk[c], key = inverted ? cmyk[3] : 255 - cmyk[3];
            rgb[c] = (uint8_t)((ink * key + 127) / 255);
        }
}

static bool read_rows(struct jpeg_decompress_struct *jpeg, jpeg_job *job, picture *out) {
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    if (cmyk && !(job->row = allocate(jpeg->output_width, 4))) return false;
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW target = picture_row(out, (int)jpeg->output_scanline);
        JSAMPROW row = cmyk ? job->row : target;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (cmyk) cmyk_to_rgb(row, target, out->pixels.width, jpeg->saw_Adobe_marker);
    }
    return true;
}

static bool decode(struct jpeg_decompress_struct *jpeg, jpeg_job *job, const uint8_t *data,
                   size_t size, picture *out) {
    if (setjmp(job->back)) return false;
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, data, (unsigned long)size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_save_markers(jpeg, JPEG_APP0 + 2, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->num_components == 4)
        jpeg->out_color_space = JCS_CMYK;
    else
        jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg);
    if (!picture_make(out, job->name, (int)jpeg->output_width, (int)jpeg->output_height,
                      jpeg->num_components == 1 ? 1 : 3, 8))
        return false;
    if (!read_rows(jpeg, job, out) || !read_metadata(jpeg, job, out)) return false;
    jpeg_finish_decompress(jpeg);
    return true;
}

bool jpeg_decode(const uint8_t *data, size_t size, const char *name, picture *out) {
    struct jpeg_decompress_struct jpeg;
    jpeg_job job = {.name = name, .decoding = true};
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = error_manager(&job);
    bool good = decode(&jpeg, &job, data, size, out);
    jpeg_destroy_decompress(&jpeg);
    free(job.row);
    free(job.icc);
    if (good && job.odd) warn("%s: the JPEG data are slightly damaged", name);
    return good;
}

static void write_exif(struct jpeg_compress_struct *jpeg, const picture *p) {
    /* A marker holds 64 KB; larger EXIF (with its own preview) is left out. */
    if (!p->exif || p->exif_size > 65533 - 6) return;
    jpeg_write_m_header(jpeg, JPEG_APP0 + 1, (unsigned)(p->exif_size + 6));
    for (int i = 0; i < 6; i++) jpeg_write_m_byte(jpeg, "Exif\0"[i]);
    for (size_t i = 0; i < p->exif_size; i++) jpeg_write_m_byte(jpeg, p->exif[i]);
}

static bool encode(struct jpeg_compress_struct *jpeg, jpeg_job *job, FILE *to, const picture *p,
                   int quality) {
    if (setjmp(job->back)) return false;
    jpeg_create_compress(jpeg);
    jpeg_stdio_dest(jpeg, to);
    jpeg->image_width = (JDIMENSION)p->pixels.width;
    jpeg->image_height = (JDIMENSION)p->pixels.height;
    jpeg->input_components = p->pixels.channels;
    jpeg->in_color_space = p->pixels.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    /* Fine detail is what was asked for: colour is not halved at high quality. */
    if (quality >= 90 && p->pixels.channels == 3)
        jpeg->comp_info[0].h_samp_factor = jpeg->comp_info[0].v_samp_factor = 1;
    jpeg->optimize_coding = TRUE;
    jpeg_start_compress(jpeg, TRUE);
    write_exif(jpeg, p);
    if (p->icc) jpeg_write_icc_profile(jpeg, p->icc, (unsigned)p->icc_size);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = picture_row(p, (int)jpeg->next_scanline);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    return true;
}

bool jpeg_encode(FILE *to, const char *name, const picture *p, int quality) {
    struct jpeg_compress_struct jpeg;
    jpeg_job job = {.name = name};
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = error_manager(&job);
    bool good = encode(&jpeg, &job, to, p, quality);
    jpeg_destroy_compress(&jpeg);
    return good;
}
