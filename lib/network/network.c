/* The table of families, and what holds for a network of any of them. */
#include "network/network.h"

#include <stdio.h>
#include <string.h>

#include "network/family.h"

/* The first that recognises itself wins, so those with telling names come first. */
static const es_family *const families[] = {
    &es_family_rrdbnet, &es_family_vapsr,  &es_family_hat,
    &es_family_swin2sr, &es_family_swinir, &es_family_srvgg,
};

struct es_network_private {
    esrgan_allocator allocator;
    int capacity;
    char *names;
};

static esrgan_status unknown(const es_checkpoint *checkpoint, esrgan_error *error) {
    if (checkpoint->count == 0)
        return es_fail(error, ESRGAN_E_UNKNOWN_NETWORK, "%s: holds no tensor", checkpoint->file);
    char keys[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < checkpoint->count && i < 3; i++)
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%.60s", i > 0 ? ", " : "",
                                 checkpoint->tensors[i].name);
    return es_fail(error, ESRGAN_E_UNKNOWN_NETWORK,
                   "%s: no known network has keys like %s%s (%zu tensors), expected RRDBNet",
                   checkpoint->file, keys, checkpoint->count > 3 ? ", ..." : "", checkpoint->count);
}

static esrgan_status describe(es_network *network, const es_family *family,
                              const es_checkpoint *checkpoint, int up_factor, esrgan_error *error) {
    es_builder builder = {.checkpoint = checkpoint,
                          .allocator = &network->priv->allocator,
                          .error = error,
                          .network = network};
    network->family = family->name;
    network->layout = "";
    family->describe(&builder, up_factor);
    es_build_end(&builder);
    es_free(builder.allocator, builder.wanted, checkpoint->count);
    network->priv->names = builder.names;
    network->priv->capacity = builder.capacity;
    return builder.status;
}

esrgan_status es_network_create(es_network **out, const es_checkpoint *checkpoint, int up_factor,
                                const esrgan_allocator *a, esrgan_error *error) {
    *out = NULL;
    if (up_factor != 0 && up_factor != 2 && up_factor != 3)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: up_factor is %d, expected 0, 2 or 3",
                       checkpoint->file, up_factor);
    const es_family *family = NULL;
    for (size_t i = 0; i < sizeof families / sizeof families[0] && family == NULL; i++) {
        if (families[i]->recognise(checkpoint)) family = families[i];
    }
    if (family == NULL) return unknown(checkpoint, error);
    if (family->describe == NULL)
        return es_fail(error, ESRGAN_E_UNSUPPORTED, "%s: %s", checkpoint->file, family->refusal);

    es_network *network = es_calloc(a, 1, sizeof *network);
    struct es_network_private *priv = es_calloc(a, 1, sizeof *priv);
    if (network == NULL || priv == NULL) {
        es_free(a, network, sizeof *network);
        es_free(a, priv, sizeof *priv);
        return es_fail(error, ESRGAN_E_MEMORY, "%s: no memory for the network", checkpoint->file);
    }
    network->priv = priv;
    priv->allocator = *a;
    esrgan_status status =
        describe(network, family, checkpoint, up_factor == 0 ? 2 : up_factor, error);
    if (status != ESRGAN_OK) {
        es_network_free(network);
        return status;
    }
    *out = network;
    return ESRGAN_OK;
}

void es_network_free(es_network *network) {
    if (network == NULL) return;
    struct es_network_private *priv = network->priv;
    esrgan_allocator a = priv->allocator;
    es_free(&a, network->ops, (size_t)priv->capacity * sizeof *network->ops);
    es_free(&a, priv->names, (size_t)priv->capacity * ES_NAME_SIZE);
    es_free(&a, priv, sizeof *priv);
    es_free(&a, network, sizeof *network);
}

int es_network_find(const es_network *network, const char *name) {
    for (int i = 0; i < network->op_count; i++) {
        if (strcmp(network->ops[i].name, name) == 0) return i;
    }
    size_t length = strlen(name);
    for (int i = 0; i < network->op_count; i++) {
        const char *key = network->ops[i].weight_key;
        if (key == NULL || strncmp(key, name, length) != 0) continue;
        if (key[length] == 0 || strcmp(key + length, ".weight") == 0) return i;
    }
    return -1;
}

const char *es_op_kind_name(es_op_kind kind) {
    switch (kind) {
    case ES_OP_INPUT: return "input";
    case ES_OP_UNSHUFFLE: return "unshuffle";
    case ES_OP_CONV: return "conv";
    case ES_OP_LRELU: return "lrelu";
    case ES_OP_RESIDUAL: return "residual";
    case ES_OP_ADD: return "add";
    case ES_OP_NEAREST: return "nearest";
    }
    return "unknown";
}
