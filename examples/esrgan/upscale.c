/* esrgan upscale: pictures and folders in, larger ones out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "esrgan.h"
#include "files.h"
#include "options.h"
#include "progress.h"
#include "upscale.h"

/* The order is that of --ext. */
const char *const UPSCALE_EXTENSIONS[] = {"auto", "png", "jpg", "webp", "tif", NULL};
static const char *const BITS_CHOICES[] = {"auto", "8", "16", NULL};

static const option OPTIONS[] = {
    {.letter = 'i',
     .name = "input",
     .kind = OPTION_OPERAND,
     .value = "IN",
     .help = "A picture or a folder; the same as naming it without -i."},
    {.letter = 'o',
     .name = "output",
     .kind = OPTION_TEXT,
     .value = "OUT",
     .help = "The file to write for one picture, the folder for several; - for standard output. "
             "Default: NAME_out beside the picture.",
     .offset = offsetof(upscale_settings, out)},
    {.letter = 's',
     .name = "scale",
     .other = "outscale",
     .kind = OPTION_REAL,
     .value = "FACTOR",
     .help = "Final enlargement. Other than the model's: resampled (Lanczos) from the network's "
             "16-bit result.",
     .offset = offsetof(upscale_settings, factor),
     .min = 0.01,
     .max = 64},
    {.letter = 't',
     .name = "tile",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Work in tiles of NxN pixels, which bounds memory but may show seams. 0 (default): "
             "the picture as a whole.",
     .offset = offsetof(upscale_settings, tile),
     .max = 65536},
    {.name = "tile-pad",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Pixels around a tile that the network sees too. Default: 10.",
     .offset = offsetof(upscale_settings, tile_pad),
     .max = 4096},
    {.name = "suffix",
     .kind = OPTION_TEXT,
     .value = "TEXT",
     .help = "Names become NAME_TEXT.EXT. Default: out; empty: names stay.",
     .offset = offsetof(upscale_settings, suffix)},
    {.name = "ext",
     .kind = OPTION_CHOICE,
     .value = "EXT",
     .help = "auto (default: as OUT says, else as the input), png, jpg, webp or tif.",
     .offset = offsetof(upscale_settings, extension),
     .choices = UPSCALE_EXTENSIONS},
    {.name = "bits",
     .kind = OPTION_CHOICE,
     .value = "N",
     .help = "Bits a sample, PNG and TIFF: auto (default: as the input), 8 or 16.",
     .offset = offsetof(upscale_settings, bits),
     .choices = BITS_CHOICES},
    {.name = "quality",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Of JPEG and WebP, 1 to 100. Default: 95.",
     .offset = offsetof(upscale_settings, quality),
     .min = 1,
     .max = 100},
    {.name = "lossless",
     .kind = OPTION_FLAG,
     .help = "Write WebP without loss.",
     .offset = offsetof(upscale_settings, lossless)},
    {.letter = 'r',
     .name = "recursive",
     .kind = OPTION_FLAG,
     .help = "Go into folders within folders; OUT gets the same ones.",
     .offset = offsetof(upscale_settings, recursive)},
    {.name = "at-once",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Pictures of a batch worked at side by side; 1: one after the other, as with "
             "--max-memory. Default: one more than threads, of which large ones are enlarged one "
             "by one on all threads, small ones on a thread each.",
     .offset = offsetof(upscale_settings, at_once),
     .min = 1,
     .max = 64},
    {.name = "skip-existing",
     .kind = OPTION_FLAG,
     .help = "Leave out pictures whose result is there already: goes on where a batch stopped. "
             "Default: results are written anew.",
     .offset = offsetof(upscale_settings, skip_existing)},
    {.name = "fp32",
     .kind = OPTION_FLAG,
     .help = "The same as --precision fp32.",
     .offset = offsetof(upscale_settings, fp32)},
    {.name = "json",
     .kind = OPTION_FLAG,
     .help = "Report as JSON on standard output.",
     .offset = offsetof(upscale_settings, json)},
    {0},
};

/* ---- What is to be done ------------------------------------------------------------------- */

/* Takes over both names. */
static bool add_job(batch *b, char *in, char *out) {
    if (in && out && b->count == b->room) {
        size_t room = b->room ? 2 * b->room : 16;
        job *larger = realloc(b->jobs, room * sizeof *larger);
        if (larger) {
            b->jobs = larger;
            b->room = room;
        }
    }
    if (!in || !out || b->count == b->room) {
        complain("out of memory");
        free(in);
        free(out);
        return false;
    }
    b->jobs[b->count++] = (job){.in = in, .out = out};
    return true;
}

static void batch_free(batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        free(b->jobs[i].in);
        free(b->jobs[i].out);
    }
    free(b->jobs);
}

/* "a/b.jpg" becomes FOLDER/b_out.jpg; without a folder a/b_out.jpg. */
static char *result_name(const upscale_settings *s, const char *in, const char *folder) {
    const char *name = strcmp(in, "-") ? path_name(in) : "stdin.png";
    const char *extension = path_extension(name);
    int stem = (int)(strlen(name) - strlen(extension) - (*extension ? 1 : 0));
    if (s->extension != EXT_AUTO)
        extension = UPSCALE_EXTENSIONS[s->extension];
    else if (picture_format_of(extension) == PICTURE_OTHER)
        extension = "png";
    int before = folder ? (int)strlen(folder) : (int)(path_name(in) - in);
    bool slash = folder && before && folder[before - 1] != '/';
    return text_format("%.*s%s%.*s%s%s.%s", before, folder ? folder : in, slash ? "/" : "", stem,
                       name, *s->suffix ? "_" : "", s->suffix, extension);
}

/* The pictures of a folder, and of those below it with -r: the results go to the same places. */
static bool add_folder(batch *b, const upscale_settings *s, const char *folder) {
    file_list list = {0};
    bool good = file_list_folder(&list, folder, s->recursive, picture_is_name);
    if (good && list.count == 0) complain("%s: no pictures in this folder", folder);
    for (size_t i = 0; good && i < list.count; i++) {
        char *inner = strdup(list.items[i]);
        char *slash = inner ? strrchr(inner, '/') : NULL;
        if (slash) *slash = 0;
        char *target = inner ? (slash ? path_join(s->out, inner) : strdup(s->out)) : NULL;
        good = target &&
               add_job(b, path_join(folder, list.items[i]), result_name(s, list.items[i], target));
        free(target);
        free(inner);
    }
    good = good && list.count > 0;
    file_list_free(&list);
    return good;
}

static int by_result(const void *a, const void *b) {
    const job *one = *(job *const *)a, *two = *(job *const *)b;
    int order = strcmp(one->out, two->out);
    return order ? order : one < two ? -1 : 1;
}

/* Two inputs must not write the same file: the later ones are marked. */
static bool mark_clashes(batch *b) {
    job **sorted = allocate(b->count, sizeof *sorted);
    if (!sorted) return false;
    for (size_t i = 0; i < b->count; i++) sorted[i] = &b->jobs[i];
    qsort(sorted, b->count, sizeof *sorted, by_result);
    for (size_t i = 1; i < b->count; i++)
        if (!strcmp(sorted[i]->out, sorted[i - 1]->out))
            sorted[i]->clash = sorted[i - 1]->clash ? sorted[i - 1]->clash : sorted[i - 1]->in;
    free(sorted);
    return true;
}

/* Fills the batch; *missing counts operands that gave nothing.  -1, or an exit status. */
static int plan(batch *b, const upscale_settings *s, const operand_list *operands, int *missing) {
    bool several = operands->count > 1, folders = false;
    for (int i = 0; i < operands->count; i++) folders |= is_folder(operands->items[i]);
    several |= folders;
    if (folders && !s->out) {
        complain("upscale: a folder needs -o FOLDER for the results");
        return EXIT_USAGE;
    }
    if (several && s->out && (!strcmp(s->out, "-") || is_file(s->out))) {
        complain("upscale: -o %s: several pictures need a folder", s->out);
        return EXIT_USAGE;
    }
    size_t length = s->out ? strlen(s->out) : 0;
    bool into_folder = s->out && (several || is_folder(s->out) || s->out[length - 1] == '/');
    for (int i = 0; i < operands->count; i++) {
        const char *in = operands->items[i];
        if (is_folder(in)) {
            if (!add_folder(b, s, in)) ++*missing;
            continue;
        }
        char *out = into_folder        ? result_name(s, in, s->out)
                    : s->out           ? strdup(s->out)
                    : !strcmp(in, "-") ? strdup("-")
                                       : result_name(s, in, NULL);
        if (!add_job(b, strdup(in), out)) return EXIT_FAILED;
    }
    return mark_clashes(b) ? -1 : EXIT_FAILED;
}

/* ---- The whole --------------------------------------------------------------------------- */

static void session_as_json(json *to, const enlarger *e, const char *path, double open_s,
                            int at_once) {
    json_begin(to, stdout);
    json_text(to, "model", path);
    json_integer(to, "scale", e->info.scale);
    session_json(to, e->session);
    json_integer(to, "at_once", at_once);
    json_number(to, "open_s", open_s);
}

static int open_and_run(enlarger *e, const model_settings *model, const upscale_settings *s,
                        const batch *b, size_t missing) {
    char *path;
    double started = seconds_now();
    esrgan_model *opened = model_open(model, &path);
    e->model = opened;
    int code = EXIT_FAILED;
    if (opened && enlarger_open(e)) {
        json to;
        if (s->json) {
            session_as_json(&to, e, path, seconds_now() - started, batch_at_once(e, s, b));
            json_list(&to, "files");
        }
        code = batch_run(e, s, b, missing, s->json ? &to : NULL);
        if (s->json) {
            json_close_list(&to);
            json_integer(&to, "peak_rss_bytes", (int64_t)peak_rss());
            json_integer(&to, "exit_status", code);
            json_end(&to);
        }
        enlarger_close(e);
    }
    esrgan_model_free(opened);
    free(path);
    return code;
}

/* What contradicts itself on the command line; -1 where nothing does. */
static int check_usage(const upscale_settings *s, const operand_list *operands) {
    const char *wrong = NULL;
    bool to_stdout =
        s->out ? !strcmp(s->out, "-") : operands->count == 1 && !strcmp(operands->items[0], "-");
    const char *extension = s->out && !is_folder(s->out) ? path_extension(s->out) : "";
    if (operands->count == 0)
        wrong = "name at least one picture or folder";
    else if (to_stdout && s->json)
        wrong = "--json and the picture cannot both go to standard output";
    else if (to_stdout && isatty(STDOUT_FILENO))
        wrong = "standard output is a terminal: name a file with -o";
    else if (s->out && !*s->out)
        wrong = "-o needs a name";
    else if (strchr(s->suffix, '/'))
        wrong = "--suffix cannot hold a slash";
    else if (operands->count == 1 && !is_folder(operands->items[0]) && *extension &&
             s->extension == EXT_AUTO && picture_format_of(extension) == PICTURE_OTHER)
        wrong = "the name after -o must end in .png, .jpg, .webp or .tif; or say which with --ext";
    if (!wrong) return -1;
    complain("upscale: %s", wrong);
    return EXIT_USAGE;
}

int cmd_upscale(int argc, char **argv) {
    upscale_settings s = {.suffix = "out", .tile_pad = 10, .quality = 95};
    model_settings model = {0};
    run_settings run = {0};
    const option_group groups[] = {{OPTIONS, &s},
                                   {MODEL_OPTIONS, &model},
                                   {RUN_OPTIONS, &run},
                                   {QUIET_OPTIONS, &quiet},
                                   {NULL, NULL}};
    const command_line line = {
        .name = "upscale",
        .synopsis = "[options] IN...",
        .about =
            "Upscales pictures by an ESRGAN or Real-ESRGAN model. IN is a picture (PNG, JPEG,\n"
            "WebP, TIFF, BMP, GIF, TGA, PSD, PNM, HDR), a folder, or - for standard input.\n",
        .notes = "Examples:\n"
                 "  esrgan upscale photo.jpg -o large.png\n"
                 "  esrgan upscale -m RealESRGAN_x4plus.pth -s 2 -o results holiday/\n"
                 "  curl -s URL | esrgan upscale - -o - > large.png\n",
        .groups = groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    if (s.fp32) run.precision = ESRGAN_FP32;
    batch b = {0};
    int missing = 0;
    code = check_usage(&s, &operands);
    if (code < 0) code = plan(&b, &s, &operands, &missing);
    if (code < 0) {
        interrupt_watch();
        enlarger e = {.run = run, .tile = s.tile, .tile_pad = s.tile_pad, .factor = s.factor};
        code = b.count ? open_and_run(&e, &model, &s, &b, (size_t)missing) : EXIT_FAILED;
    }
    batch_free(&b);
    operands_free(&operands);
    return finish_output(code);
}
