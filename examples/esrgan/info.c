/* esrgan info: what a model is, what this CPU can do. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "esrgan.h"
#include "json.h"
#include "options.h"
#include "session.h"

typedef struct info_settings {
    int json, verify, cpu;
    int size[2];
} info_settings;

static const option OPTIONS[] = {
    {.name = "json",
     .kind = OPTION_FLAG,
     .help = "The same as JSON on standard output.",
     .offset = offsetof(info_settings, json)},
    {.name = "verify",
     .kind = OPTION_FLAG,
     .help = "Check the checksum of every entry of the file, and read every weight.",
     .offset = offsetof(info_settings, verify)},
    {.name = "size",
     .kind = OPTION_SIZE,
     .value = "WxH",
     .help = "Estimate the memory for a picture of this size. Default: 512x512.",
     .offset = offsetof(info_settings, size)},
    {.name = "cpu",
     .kind = OPTION_FLAG,
     .help = "No model: list the kernel tiers and say which are used here, and why.",
     .offset = offsetof(info_settings, cpu)},
    {0},
};

/* ---- --cpu -------------------------------------------------------------------------------- */

static void cpu_as_json(void) {
    json j;
    json_begin(&j, stdout);
    json_text(&j, "version", esrgan_version_string());
    json_list(&j, "tiers");
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        if (esrgan_tier_get(i, &tier, NULL) != ESRGAN_OK) continue;
        json_object(&j, NULL);
        json_text(&j, "name", tier.name);
        json_bool(&j, "built", tier.built);
        json_bool(&j, "usable", tier.usable);
        json_bool(&j, "chosen_fp32", tier.chosen_fp32);
        json_bool(&j, "chosen_fp16", tier.chosen_fp16);
        json_bool(&j, "chosen_bf16", tier.chosen_bf16);
        json_text(&j, "why", tier.why);
        json_close_object(&j);
    }
    json_close_list(&j);
    json_end(&j);
}

static void cpu_as_text(void) {
    printf("%-12s %-6s %-7s %-16s %s\n", "tier", "built", "usable", "used for", "why");
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = {.size = sizeof tier};
        if (esrgan_tier_get(i, &tier, NULL) != ESRGAN_OK) continue;
        char used[32];
        snprintf(used, sizeof used, "%s%s%s", tier.chosen_fp32 ? "fp32 " : "",
                 tier.chosen_fp16 ? "fp16 " : "", tier.chosen_bf16 ? "bf16 " : "");
        printf("%-12s %-6s %-7s %-16s %s\n", tier.name, tier.built ? "yes" : "no",
               tier.usable ? "yes" : "no", *used ? used : "-", tier.why ? tier.why : "");
    }
}

/* ---- A model ------------------------------------------------------------------------------ */

typedef struct model_facts {
    esrgan_model_info info;
    char sha256[65];
    int verified; /* 1 checked and good, 0 not asked for */
    int width, height;
    uint64_t memory;
} model_facts;

/* Weights that are not numbers are found here, not in a black picture later. */
static bool weights_are_finite(const esrgan_model *model, const char *path) {
    for (int i = 0; i < esrgan_layer_count(model); i++) {
        esrgan_layer layer = {.size = sizeof layer};
        if (esrgan_layer_get(model, i, &layer, NULL) != ESRGAN_OK || !layer.weight_key) continue;
        size_t count = (size_t)layer.channels_in * (size_t)layer.channels_out *
                       (size_t)layer.kernel * (size_t)layer.kernel;
        double *weight = calloc(count + (size_t)layer.channels_out, sizeof *weight);
        if (!weight) {
            complain("out of memory");
            return false;
        }
        esrgan_error error;
        bool good = esrgan_layer_weights(model, i, weight, weight + count, &error) == ESRGAN_OK;
        if (!good) complain("%s", error.message);
        for (size_t k = 0; good && k < count + (size_t)layer.channels_out; k++)
            if (!(weight[k] - weight[k] == 0)) {
                complain("%s: %s holds NaN or Inf", path, layer.weight_key);
                good = false;
            }
        free(weight);
        if (!good) return false;
    }
    return true;
}

static bool gather(const esrgan_model *model, const char *path, const info_settings *settings,
                   const run_settings *run, model_facts *facts) {
    esrgan_error error;
    esrgan_session_options options;
    uint8_t digest[32];
    facts->info.size = sizeof facts->info;
    facts->width = settings->size[0] ? settings->size[0] : 512;
    facts->height = settings->size[1] ? settings->size[1] : 512;
    run_options(run, &options);
    options.max_memory = 0;
    if (esrgan_model_get_info(model, &facts->info, &error) != ESRGAN_OK ||
        esrgan_model_sha256(model, digest, &error) != ESRGAN_OK ||
        esrgan_estimate_memory(model, &options, 1, facts->height, facts->width, &facts->memory,
                               &error) != ESRGAN_OK ||
        (settings->verify && esrgan_model_verify(model, &error) != ESRGAN_OK)) {
        complain("%s", error.message);
        return false;
    }
    for (int i = 0; i < 32; i++) snprintf(facts->sha256 + 2 * i, 3, "%02x", digest[i]);
    facts->verified = settings->verify;
    return !settings->verify || weights_are_finite(model, path);
}

static void facts_as_json(const char *path, const model_facts *f) {
    const esrgan_model_info *info = &f->info;
    json j;
    json_begin(&j, stdout);
    json_text(&j, "file", path);
    json_integer(&j, "file_bytes", (int64_t)info->file_bytes);
    json_text(&j, "sha256", f->sha256);
    json_text(&j, "container", info->container);
    json_text(&j, "wrapper", info->wrapper);
    json_text(&j, "layout", info->layout);
    json_text(&j, "family", info->family);
    json_text(&j, "weight_type", info->weight_type);
    json_integer(&j, "scale", info->scale);
    json_integer(&j, "in_channels", info->in_channels);
    json_integer(&j, "out_channels", info->out_channels);
    json_integer(&j, "features", info->features);
    json_integer(&j, "growth", info->growth);
    json_integer(&j, "blocks", info->blocks);
    json_integer(&j, "up_stages", info->up_stages);
    json_integer(&j, "up_factor", info->up_factor);
    json_integer(&j, "unshuffle", info->unshuffle);
    json_bool(&j, "plus", info->plus);
    json_integer(&j, "parameters", (int64_t)info->parameters);
    json_integer(&j, "tensors", (int64_t)info->tensors);
    json_number(&j, "macs_per_pixel", info->macs_per_pixel);
    json_object(&j, "memory");
    json_integer(&j, "width", f->width);
    json_integer(&j, "height", f->height);
    json_integer(&j, "bytes", (int64_t)f->memory);
    json_close_object(&j);
    json_bool(&j, "verified", f->verified);
    json_end(&j);
}

static void facts_as_text(const char *path, const model_facts *f) {
    const esrgan_model_info *info = &f->info;
    char size[32], memory[32];
    printf("file         %s\n", path);
    printf("size         %llu bytes (%s)\n", (unsigned long long)info->file_bytes,
           bytes_text(info->file_bytes, size));
    printf("sha-256      %s\n", f->sha256);
    printf("container    %s\n", info->container);
    printf("weights in   %s, as %s\n", *info->wrapper ? info->wrapper : "the top level",
           info->weight_type);
    printf("family       %s%s, key names of the %s layout\n", info->family,
           info->plus ? " (plus)" : "", info->layout);
    printf("scale        x%d, %d to %d channels\n", info->scale, info->in_channels,
           info->out_channels);
    printf("network      %d features, %d blocks, growth %d, %d up stages of x%d", info->features,
           info->blocks, info->growth, info->up_stages, info->up_factor);
    if (info->unshuffle > 1) printf(", pixel-unshuffle %d", info->unshuffle);
    printf("\nparameters   %llu in %llu tensors\n", (unsigned long long)info->parameters,
           (unsigned long long)info->tensors);
    printf("arithmetic   %.0f multiply-adds an input pixel\n", info->macs_per_pixel);
    printf("memory       %s for %dx%d, beyond the model and the pictures\n",
           bytes_text(f->memory, memory), f->width, f->height);
    if (f->verified) printf("verified     checksums right, all weights finite\n");
}

static int describe(const model_settings *model_asked, const info_settings *settings,
                    const run_settings *run) {
    char *path;
    esrgan_model *model = model_open(model_asked, &path);
    if (!model) return EXIT_FAILED;
    model_facts facts = {0};
    bool good = gather(model, path, settings, run, &facts);
    if (good && settings->json)
        facts_as_json(path, &facts);
    else if (good)
        facts_as_text(path, &facts);
    esrgan_model_free(model);
    free(path);
    return good ? EXIT_DONE : EXIT_FAILED;
}

int cmd_info(int argc, char **argv) {
    info_settings settings = {0};
    model_settings model = {0};
    run_settings run = {0};
    const option_group groups[] = {
        {OPTIONS, &settings}, {MODEL_OPTIONS, &model}, {RUN_OPTIONS, &run}, {NULL, NULL}};
    const command_line line = {
        .name = "info",
        .synopsis = "[options] [MODEL]\n       esrgan info --cpu [--json]",
        .about = "Says what a model is: container, key layout, network, size, SHA-256, memory\n"
                 "needed; or, with --cpu, which kernels this CPU can run.\n",
        .groups = groups};
    operand_list operands;
    int code = options_parse(&line, argc, argv, &operands);
    if (code >= 0) return code;
    if (operands.count > 1 || (operands.count && (model.file || model.name))) {
        complain("info: one model at a time");
        code = EXIT_USAGE;
    } else if (settings.cpu && (operands.count || model.file || model.name)) {
        complain("info: --cpu describes no model");
        code = EXIT_USAGE;
    } else if (settings.cpu) {
        if (settings.json)
            cpu_as_json();
        else
            cpu_as_text();
        code = EXIT_DONE;
    } else {
        if (operands.count) model.file = operands.items[0];
        code = describe(&model, &settings, &run);
    }
    operands_free(&operands);
    return finish_output(code);
}
