#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "command.h"
#include "files.h"
#include "progress.h"

#define DEFAULT_MODEL "esrgan-small-x4"

/* In the order of esrgan_precision; the last is another word for the one before. */
static const char *const PRECISIONS[] = {"fp32", "fp16", "bf16", "fp64", "f64", NULL};
static const char *const BACKENDS[] = {"auto", "reference", "openblas", "native", NULL};

const option MODEL_OPTIONS[] = {
    {.letter = 'm',
     .name = "model",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "The model: a PyTorch checkpoint (.pth). Without it the small x4 model that comes "
             "with this program.",
     .offset = offsetof(model_settings, file)},
    {.letter = 'n',
     .name = "model-name",
     .kind = OPTION_TEXT,
     .value = "NAME",
     .help = "A model by its name, for example RealESRGAN_x4plus: NAME.pth in the model folders.",
     .offset = offsetof(model_settings, name)},
    {.name = "wrapper",
     .kind = OPTION_TEXT,
     .value = "KEY",
     .help = "Which dictionary of the checkpoint holds the weights, for example params. Default: "
             "params_ema where there is one.",
     .offset = offsetof(model_settings, wrapper)},
    {.name = "up-factor",
     .kind = OPTION_INT,
     .value = "N",
     .help = "3 for the x3 models of the old layout, which nothing in the file tells from x2 "
             "models.",
     .offset = offsetof(model_settings, up_factor),
     .min = 2,
     .max = 3},
    {0},
};

const option RUN_OPTIONS[] = {
    {.letter = 'p',
     .name = "precision",
     .kind = OPTION_CHOICE,
     .value = "TYPE",
     .help = "fp32 (default), fp16 or bf16; fp64 with the reference backend.",
     .offset = offsetof(run_settings, precision),
     .choices = PRECISIONS},
    {.letter = 'b',
     .name = "backend",
     .kind = OPTION_CHOICE,
     .value = "NAME",
     .help = "auto (default: the fastest here), reference, openblas or native.",
     .offset = offsetof(run_settings, backend),
     .choices = BACKENDS},
    {.name = "isa",
     .kind = OPTION_TEXT,
     .value = "TIER",
     .help = "Force a tier of the native kernels; 'esrgan info --cpu' lists them.",
     .offset = offsetof(run_settings, isa)},
    {.letter = 'j',
     .name = "threads",
     .other = "jobs",
     .kind = OPTION_INT,
     .value = "N",
     .help = "Threads. Default: one for each CPU this process may use.",
     .offset = offsetof(run_settings, threads),
     .min = 1,
     .max = 1024},
    {.name = "max-memory",
     .kind = OPTION_BYTES,
     .value = "BYTES",
     .help = "Refuse to run where more would be needed, for example 2G or 500M.",
     .offset = offsetof(run_settings, max_memory)},
    {0},
};

const option QUIET_OPTIONS[] = {
    {.letter = 'q',
     .name = "quiet",
     .kind = OPTION_FLAG,
     .help = "Errors and warnings only: no progress, no account of what was done."},
    {0},
};

/* ---- Finding models ----------------------------------------------------------------------- */

/* Takes FOLDER (to be freed here) and looks for NAME or NAME.pth in it. */
static char *look_in(char *folder, const char *name, file_list *tried) {
    if (!folder) return NULL;
    static const char *const endings[] = {"", ".pth", ".pt"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char *path = text_format("%s/%s%s", folder, name, endings[i]);
        if (path && is_file(path)) {
            char *plain = realpath(path, NULL);
            if (plain) free(path);
            free(folder);
            return plain ? plain : path;
        }
        free(path);
    }
    file_list_add(tried, folder);
    return NULL;
}

/* The folders where models are looked for, in order; the first hit, or NULL. */
static char *search(const char *name, file_list *tried) {
    const char *asked = getenv("ESRGAN_MODEL"), *home = getenv("HOME");
    const char *data = getenv("XDG_DATA_HOME");
    char *here = program_folder(), *found = NULL;
    if (asked && is_folder(asked)) found = look_in(strdup(asked), name, tried);
    if (!found) found = look_in(strdup("weights"), name, tried);
    if (!found) found = look_in(strdup("models"), name, tried);
    if (!found && data && *data) found = look_in(path_join(data, "esrgan/models"), name, tried);
    if (!found && home && *home && !(data && *data))
        found = look_in(path_join(home, ".local/share/esrgan/models"), name, tried);
    /* Beside the program: as it was installed, and in the tree it was built in. */
    if (!found && here) found = look_in(path_join(here, "../share/esrgan/models"), name, tried);
    if (!found && here) found = look_in(path_join(here, "../examples/models"), name, tried);
    if (!found) found = look_in(strdup("/usr/local/share/esrgan/models"), name, tried);
    if (!found) found = look_in(strdup("/usr/share/esrgan/models"), name, tried);
    free(here);
    return found;
}

char *model_find(const model_settings *settings) {
    if (settings->file) return text_format("%s", settings->file);
    const char *asked = getenv("ESRGAN_MODEL");
    if (!settings->name && asked && *asked && !is_folder(asked)) return text_format("%s", asked);
    const char *name = settings->name ? settings->name : DEFAULT_MODEL;
    file_list tried = {0};
    char *found = search(name, &tried);
    if (!found) {
        char list[700] = "";
        for (size_t i = 0; i < tried.count; i++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", tried.items[i]);
        }
        complain("no model '%s.pth' in %s; give one with -m FILE", name, list);
    }
    file_list_free(&tried);
    return found;
}

esrgan_model *model_open(const model_settings *settings, char **path) {
    esrgan_error error;
    esrgan_open_options options;
    esrgan_model *model = NULL;
    char *found = model_find(settings);
    if (path) *path = NULL;
    if (!found) return NULL;
    esrgan_open_options_init(&options);
    options.wrapper = settings->wrapper;
    options.up_factor = settings->up_factor;
    if (esrgan_open_file(found, &options, &model, &error) != ESRGAN_OK)
        complain("%s", error.message);
    if (path && model)
        *path = found;
    else
        free(found);
    return model;
}

/* ---- Sessions ----------------------------------------------------------------------------- */

void run_options(const run_settings *settings, esrgan_session_options *options) {
    esrgan_session_options_init(options);
    options->precision =
        settings->precision > ESRGAN_FP64 ? ESRGAN_FP64 : (esrgan_precision)settings->precision;
    options->backend = (esrgan_backend)settings->backend;
    options->isa = settings->isa;
    options->threads = settings->threads;
    options->max_memory = settings->max_memory;
    options->progress = progress_update;
}

esrgan_session *session_open(const esrgan_model *model, const run_settings *settings) {
    esrgan_error error;
    esrgan_session_options options;
    esrgan_session *session = NULL;
    run_options(settings, &options);
    if (esrgan_session_create(model, &options, &session, &error) != ESRGAN_OK)
        complain("%s", error.message);
    return session;
}

void session_json(json *to, const esrgan_session *session) {
    esrgan_session_info info = {.size = sizeof info};
    if (esrgan_session_get_info(session, &info, NULL) != ESRGAN_OK) return;
    json_text(to, "backend", info.backend);
    json_text(to, "tier", info.tier);
    json_text(to, "precision", info.precision);
    json_integer(to, "threads", info.threads);
}

/* ---- Figures ------------------------------------------------------------------------------ */

const char *bytes_text(uint64_t bytes, char buffer[32]) {
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    double number = (double)bytes;
    int unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    snprintf(buffer, 32, unit && number < 100 ? "%.1f %s" : "%.0f %s", number, units[unit]);
    return buffer;
}

/* The figure of a line of one of /proc's files, in bytes; 0 where there is none. */
static uint64_t figure_of(const char *path, const char *line_of) {
    FILE *file = fopen(path, "r");
    char line[256];
    unsigned long long kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, line_of, &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes * 1024;
}

uint64_t peak_rss(void) {
    /* ru_maxrss remembers the program that called exec; VmHWM does not. */
    uint64_t bytes = figure_of("/proc/self/status", "VmHWM: %llu kB");
    if (bytes) return bytes;
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

uint64_t available_memory(void) { return figure_of("/proc/meminfo", "MemAvailable: %llu kB"); }
