/* esrgan eval: a model measured on pictures, beside bicubic. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "enlarge.h"
#include "esrgan.h"
#include "files.h"
#include "json.h"
#include "options.h"
#include "picture.h"
#include "progress.h"
#include "session.h"
#include "sheet.h"

typedef struct eval_settings {
    const char *hr, *lr, *out;
    int scale, json;
} eval_settings;

static const option OPTIONS[] = {
    {.name = "hr",
     .kind = OPTION_TEXT,
     .value = "PATH",
     .help = "The originals: a folder, or one picture. Needed.",
     .offset = offsetof(eval_settings, hr)},
    {.name = "lr",
     .kind = OPTION_TEXT,
     .value = "PATH",
     .help = "The small pictures: a folder with the same names, or one picture. Default: the "
             "originals reduced by antialiased bicubic.",
     .offset = offsetof(eval_settings, lr)},
    {.name = "scale",
     .kind = OPTION_INT,
     .value = "N",
     .help = "The enlargement to measure; a model of another scale is refused. Default: the "
             "model's.",
     .offset = offsetof(eval_settings, scale),
     .min = 1,
     .max = 64},
    {.letter = 'o',
     .name = "output",
     .kind = OPTION_TEXT,
     .value = "FOLDER",
     .help = "Write a sheet a picture: original, result, bicubic, input.",
     .offset = offsetof(eval_settings, out)},
    {.name = "json",
     .kind = OPTION_FLAG,
     .help = "Report as JSON on standard output.",
     .offset = offsetof(eval_settings, json)},
    {0},
};

/* PSNR in dB and SSIM of one picture. */
typedef struct figures {
    double psnr_rgb, psnr_y, ssim_rgb, ssim_y;
} figures;

typedef struct result {
    char *name;
    int width, height;
    const char *skipped; /* why, or NULL */
    bool failed;
    figures ours, bicubic;
} result;

/* ---- One picture -------------------------------------------------------------------------- */

/* The pictures of one measurement, all 8-bit RGB; `hr` is cropped to a multiple of the scale. */
typedef struct subject {
    picture original, small, ours, bicubic;
    esrgan_picture hr;
} subject;

static void subject_free(subject *s) {
    picture_free(&s->original);
    picture_free(&s->small);
    picture_free(&s->ours);
    picture_free(&s->bicubic);
}

static bool failed(const char *name, const esrgan_error *error) {
    complain("%s: %s", name, error->message);
    return false;
}

/* Reads a picture as 8-bit RGB; grey ones stay grey. */
static bool read_rgb(const char *path, picture *out) {
    picture raw;
    if (!picture_read(path, &raw)) return false;
    bool good = picture_convert(&raw, path, raw.pixels.channels >= 3 ? 3 : 1, 8, out);
    picture_free(&raw);
    return good;
}

static bool resized(const char *name, const esrgan_picture *from, int width, int height,
                    esrgan_filter filter, picture *to) {
    esrgan_error error;
    return picture_make(to, name, width, height, 3, 8) &&
           (esrgan_resize(from, &to->pixels, filter, &error) == ESRGAN_OK || failed(name, &error));
}

static bool measure(const char *name, const esrgan_picture *hr, const esrgan_picture *other,
                    int border, figures *f) {
    esrgan_error error;
    return (esrgan_psnr(hr, other, border, ESRGAN_RGB, &f->psnr_rgb, &error) == ESRGAN_OK &&
            esrgan_psnr(hr, other, border, ESRGAN_LUMA, &f->psnr_y, &error) == ESRGAN_OK &&
            esrgan_ssim(hr, other, border, ESRGAN_RGB, &f->ssim_rgb, &error) == ESRGAN_OK &&
            esrgan_ssim(hr, other, border, ESRGAN_LUMA, &f->ssim_y, &error) == ESRGAN_OK) ||
           failed(name, &error);
}

/* Original and small picture; r->skipped is set where they are nothing to measure on. */
static bool prepare(subject *s, const char *hr, const char *lr, int scale, result *r) {
    if (!read_rgb(hr, &s->original)) return false;
    s->hr = s->original.pixels;
    s->hr.width -= s->hr.width % scale;
    s->hr.height -= s->hr.height % scale;
    r->width = s->hr.width;
    r->height = s->hr.height;
    /* SSIM's window is 11 pixels wide, within a border of `scale`. */
    int least = 11 + 2 * scale;
    if (s->hr.channels == 1)
        r->skipped = "grey";
    else if (s->hr.width < least || s->hr.height < least)
        r->skipped = "too small to measure";
    if (r->skipped) return true;
    if (!lr)
        return resized(hr, &s->hr, s->hr.width / scale, s->hr.height / scale, ESRGAN_BICUBIC,
                       &s->small);
    if (!read_rgb(lr, &s->small)) return false;
    const esrgan_picture *small = &s->small.pixels;
    if (small->channels == 1)
        r->skipped = "the small picture is grey";
    else if (small->width != s->hr.width / scale || small->height != s->hr.height / scale)
        r->skipped = "the small picture has not the size of the original divided by the scale";
    return true;
}

static bool write_sheet(const subject *s, const result *r, const char *folder) {
    picture input = {0};
    char ours[64], bicubic[64];
    const char *name = path_name(r->name), *extension = path_extension(name);
    int stem = (int)(strlen(name) - strlen(extension) - (*extension ? 1 : 0));
    char *path = text_format("%s/%.*s_sheet.png", folder, stem, name);
    snprintf(ours, sizeof ours, "esrgan  %.2f dB", r->ours.psnr_y);
    snprintf(bicubic, sizeof bicubic, "bicubic  %.2f dB", r->bicubic.psnr_y);
    bool good =
        path && resized(path, &s->small.pixels, s->hr.width, s->hr.height, ESRGAN_NEAREST, &input);
    const sheet_panel panels[] = {{"original", &s->hr},
                                  {ours, &s->ours.pixels},
                                  {bicubic, &s->bicubic.pixels},
                                  {"input", &input.pixels}};
    good = good && sheet_write(path, panels, 4);
    picture_free(&input);
    free(path);
    return good;
}

static bool evaluate(enlarger *e, const eval_settings *settings, const char *hr, const char *lr,
                     result *r) {
    subject s = {0};
    bool good = prepare(&s, hr, lr, e->info.scale, r);
    if (good && !r->skipped) {
        progress_begin(hr);
        good = enlarge(e, hr, &s.small, 8, &s.ours) &&
               resized(hr, &s.small.pixels, s.hr.width, s.hr.height, ESRGAN_BICUBIC, &s.bicubic);
        progress_end();
        good = good && measure(hr, &s.hr, &s.ours.pixels, e->info.scale, &r->ours) &&
               measure(hr, &s.hr, &s.bicubic.pixels, e->info.scale, &r->bicubic) &&
               (!settings->out || write_sheet(&s, r, settings->out));
    }
    if (r->skipped) warn("%s: left out: %s", hr, r->skipped);
    subject_free(&s);
    return good;
}

/* ---- All of them -------------------------------------------------------------------------- */

static bool list_pictures(const eval_settings *s, file_list *list) {
    if (!is_folder(s->hr)) return file_list_add(list, text_format("%s", path_name(s->hr)));
    if (!file_list_folder(list, s->hr, false, picture_is_name)) return false;
    if (list->count == 0) complain("%s: no pictures in this folder", s->hr);
    return list->count > 0;
}

/* The path of picture `name` under `place`, which may be the picture itself. */
static char *locate(const char *place, const char *name) {
    return is_folder(place) ? path_join(place, name) : text_format("%s", place);
}

static bool evaluate_named(enlarger *e, const eval_settings *s, const char *name, result *r) {
    char *hr = locate(s->hr, name), *lr = s->lr ? locate(s->lr, name) : NULL;
    r->name = text_format("%s", name);
    bool good = hr && r->name && (!s->lr || lr) && evaluate(e, s, hr, lr, r);
    free(hr);
    free(lr);
    return good;
}

static void add(figures *sum, const figures *f, double weight) {
    sum->psnr_rgb += weight * f->psnr_rgb;
    sum->psnr_y += weight * f->psnr_y;
    sum->ssim_rgb += weight * f->ssim_rgb;
    sum->ssim_y += weight * f->ssim_y;
}

static void figures_as_json(json *j, const char *key, const figures *f) {
    json_object(j, key);
    json_number(j, "psnr_y", f->psnr_y);
    json_number(j, "ssim_y", f->ssim_y);
    json_number(j, "psnr_rgb", f->psnr_rgb);
    json_number(j, "ssim_rgb", f->ssim_rgb);
    json_close_object(j);
}

static void report_as_json(const enlarger *e, const char *model, const result *results,
                           size_t count, const result *average) {
    json j;
    json_begin(&j, stdout);
    json_text(&j, "model", model);
    json_integer(&j, "scale", e->info.scale);
    json_integer(&j, "border", e->info.scale);
    json_list(&j, "pictures");
    for (size_t i = 0; i < count; i++) {
        const result *r = &results[i];
        json_object(&j, NULL);
        json_text(&j, "name", r->name);
        if (r->failed || r->skipped) {
            json_text(&j, "left_out", r->failed ? "failed" : r->skipped);
        } else {
            json_integer(&j, "width", r->width);
            json_integer(&j, "height", r->height);
            figures_as_json(&j, "model", &r->ours);
            figures_as_json(&j, "bicubic", &r->bicubic);
        }
        json_close_object(&j);
    }
    json_close_list(&j);
    json_object(&j, "average");
    figures_as_json(&j, "model", &average->ours);
    figures_as_json(&j, "bicubic", &average->bicubic);
    json_close_object(&j);
    json_end(&j);
}

static void print_line(const char *name, const result *r) {
    const figures *a = &r->ours, *b = &r->bicubic;
    printf("%-24s %6.2f %6.2f %+6.2f  %.4f %.4f   %6.2f %6.2f %+6.2f  %.4f %.4f\n", name, a->psnr_y,
           b->psnr_y, a->psnr_y - b->psnr_y, a->ssim_y, b->ssim_y, a->psnr_rgb, b->psnr_rgb,
           a->psnr_rgb - b->psnr_rgb, a->ssim_rgb, b->ssim_rgb);
}

static void report_as_text(const enlarger *e, const char *model, const result *results,
                           size_t count, const result *average) {
    printf("%s, x%d, border %d\n", model, e->info.scale, e->info.scale);
    printf("%-24s %-36s %-36s\n", "", "Y", "RGB");
    printf("%-24s %6s %6s %6s  %-6s %-6s   %6s %6s %6s  %-6s %-6s\n", "picture", "PSNR", "bicub.",
           "gain", "SSIM", "bicub.", "PSNR", "bicub.", "gain", "SSIM", "bicub.");
    for (size_t i = 0; i < count; i++)
        if (!results[i].failed && !results[i].skipped) print_line(results[i].name, &results[i]);
    print_line("average", average);
}

static int evaluate_all(enlarger *e, const eval_settings *s, const char *model,
                        const file_list *list) {
    result *results = allocate(list->count, sizeof *results), average = {0};
    size_t count = 0, measured = 0, broken = 0;
    if (!results) return EXIT_FAILED;
    for (; count < list->count && !interrupted(); count++) {
        result *r = &results[count];
        r->failed = !evaluate_named(e, s, list->items[count], r);
        broken += r->failed;
        measured += !r->failed && !r->skipped;
    }
    for (size_t i = 0; i < count; i++)
        if (!results[i].failed && !results[i].skipped) {
            add(&average.ours, &results[i].ours, 1.0 / (double)measured);
            add(&average.bicubic, &results[i].bicubic, 1.0 / (double)measured);
        }
    if (interrupted())
        complain("interrupted");
    else if (!measured)
        complain("%s: nothing could be measured", s->hr);
    else if (s->json)
        report_as_json(e, model, results, count, &average);
    else
        report_as_text(e, model, results, count, &average);
    for (size_t i = 0; i < count; i++) free(results[i].name);
    free(results);
    if (interrupted()) return EXIT_INTERRUPTED;
    return !measured ? EXIT_FAILED : broken ? EXIT_SOME_FAILED : EXIT_DONE;
}

static int open_and_evaluate(const eval_settings *s, const model_settings *model,
                             const run_settings *run) {
    char *path;
    int code = EXIT_FAILED;
    file_list list = {0};
    esrgan_model *opened = model_open(model, &path);
    enlarger e = {.model = opened, .run = *run};
    if (opened && enlarger_open(&e)) {
        if (s->scale && s->scale != e.info.scale)
            complain("%s: this model enlarges by %d, not by %d", path, e.info.scale, s->scale);
        else if (list_pictures(s, &list) && (!s->out || make_folders(s->out)))
            code = evaluate_all(&e, s, path, &list);
    }
    enlarger_close(&e);
    esrgan_model_free(opened);
    file_list_free(&list);
    free(path);
    return code;
}

int cmd_eval(int argc, char **argv) {
    eval_settings s = {0};
    model_settings model = {0};
    run_settings run = {0};
    const option_group groups[] = {{OPTIONS, &s},
                                   {MODEL_OPTIONS, &model},
                                   {RUN_OPTIONS, &run},
                                   {QUIET_OPTIONS, &quiet},
                                   {NULL, NULL}};
    const command_line line = {
        .name = "eval",
        .synopsis = "[options] --hr PATH",
        .about =
            "Reduces pictures by antialiased bicubic, upscales them with a model and compares the\n"
            "result with the original: PSNR and SSIM, on Y (ITU-R BT.601) and on RGB, a border as\n"
            "wide as the scale left out, beside those of bicubic.\n",
        .groups = groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    if (operands.count || !s.hr) {
        complain(operands.count ? "eval: '%s' is not expected here; originals follow --hr"
                                : "eval: --hr PATH is needed",
                 operands.count ? operands.items[0] : "");
        code = EXIT_USAGE;
    } else {
        interrupt_watch();
        code = open_and_evaluate(&s, &model, &run);
    }
    operands_free(&operands);
    return finish_output(code);
}
