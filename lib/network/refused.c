/* Families that are known by their keys and not run yet. */
#include <string.h>

#include "network/family.h"

static bool has(const es_checkpoint *checkpoint, const char *key) {
    return es_checkpoint_find(checkpoint, key) != NULL;
}

static bool any_contains(const es_checkpoint *checkpoint, const char *part) {
    for (size_t i = 0; i < checkpoint->count; i++) {
        if (strstr(checkpoint->tensors[i].name, part) != NULL) return true;
    }
    return false;
}

/* A plain sequence: every key is body.N.weight or body.N.bias, and body.0 is a convolution. */
static bool recognise_srvgg(const es_checkpoint *checkpoint) {
    const es_tensor *first = es_checkpoint_find(checkpoint, "body.0.weight");
    if (first == NULL || first->ndim != 4) return false;
    for (size_t i = 0; i < checkpoint->count; i++) {
        const char *name = checkpoint->tensors[i].name;
        if (strncmp(name, "body.", 5) != 0) return false;
        size_t digits = strspn(name + 5, "0123456789");
        const char *rest = name + 5 + digits;
        if (digits == 0 || (strcmp(rest, ".weight") != 0 && strcmp(rest, ".bias") != 0))
            return false;
    }
    return true;
}

static bool recognise_vapsr(const es_checkpoint *checkpoint) {
    return has(checkpoint, "body.0.atten_branch.depthwise_dilated.weight") ||
           has(checkpoint, "body.0.pixel_norm.weight");
}

static bool recognise_hat(const es_checkpoint *checkpoint) {
    return any_contains(checkpoint, "relative_position_index_SA") ||
           any_contains(checkpoint, ".conv_block.cab.") ||
           any_contains(checkpoint, ".overlap_attn.");
}

/* What SwinIR and Swin2SR have in common. */
static bool windowed(const es_checkpoint *checkpoint) {
    return has(checkpoint, "layers.0.residual_group.blocks.0.norm1.weight") &&
           has(checkpoint, "layers.0.residual_group.blocks.0.mlp.fc1.bias");
}

static bool recognise_swin2sr(const es_checkpoint *checkpoint) {
    return windowed(checkpoint) && has(checkpoint, "patch_embed.proj.weight");
}

static bool recognise_swinir(const es_checkpoint *checkpoint) {
    return windowed(checkpoint) &&
           (has(checkpoint, "conv_first.weight") || has(checkpoint, "conv_first.1.weight"));
}

#define REFUSAL(name, what)                                                                        \
    "this is a " name " model (" what "); this version runs RRDBNet models only"

const es_family es_family_srvgg = {
    .name = "SRVGGNetCompact",
    .recognise = recognise_srvgg,
    .refusal = REFUSAL("SRVGGNetCompact", "as realesr-animevideov3 and realesr-general-x4v3 are"),
};
const es_family es_family_vapsr = {
    .name = "VapSR",
    .recognise = recognise_vapsr,
    .refusal = REFUSAL("VapSR", "large receptive-field pixel attention"),
};
const es_family es_family_hat = {
    .name = "HAT",
    .recognise = recognise_hat,
    .refusal = REFUSAL("HAT", "hybrid attention transformer"),
};
const es_family es_family_swin2sr = {
    .name = "Swin2SR",
    .recognise = recognise_swin2sr,
    .refusal = REFUSAL("Swin2SR", "Swin transformer, second version"),
};
const es_family es_family_swinir = {
    .name = "SwinIR",
    .recognise = recognise_swinir,
    .refusal = REFUSAL("SwinIR", "Swin transformer"),
};
