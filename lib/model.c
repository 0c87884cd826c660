/* Models: from bytes by way of a checkpoint to a network, and what can be asked about one. */
#include "model.h"

#include "base/options.h"
#include "base/sha256.h"
#include "base/status.h"

#define DEFAULT_MAX_BYTES ((uint64_t)4 << 30)

void esrgan_open_options_init(esrgan_open_options *options) {
    if (options != NULL) *options = (esrgan_open_options){.size = sizeof *options};
}

/* What is common to all ways of opening: arguments checked, an empty model. */
static esrgan_status begin(const esrgan_open_options *given, esrgan_open_options *options,
                           esrgan_model **out, esrgan_model **model, esrgan_error *error) {
    if (out == NULL) return es_fail(error, ESRGAN_E_ARGUMENT, "model is NULL");
    *out = NULL;
    esrgan_open_options_init(options);
    esrgan_status status =
        es_options_read(options, sizeof *options, given, "esrgan_open_options", error);
    if (status != ESRGAN_OK) return status;
    if (options->allocator != NULL &&
        (options->allocator->alloc == NULL || options->allocator->release == NULL))
        return es_fail(error, ESRGAN_E_ARGUMENT, "esrgan_open_options.allocator lacks a function");
    if (options->up_factor != 0 && options->up_factor != 2 && options->up_factor != 3)
        return es_fail(error, ESRGAN_E_ARGUMENT,
                       "esrgan_open_options.up_factor is %d, expected 0, 2 or 3",
                       options->up_factor);
    if (options->max_bytes == 0) options->max_bytes = DEFAULT_MAX_BYTES;
    esrgan_allocator a = es_allocator(options->allocator);
    *model = es_calloc(&a, 1, sizeof **model);
    if (*model == NULL) return es_fail(error, ESRGAN_E_MEMORY, "no memory for a model");
    (*model)->allocator = a;
    return ESRGAN_OK;
}

/* The bytes are open (or status says why not): the rest of the way. */
static esrgan_status finish(esrgan_status status, esrgan_model *model,
                            const esrgan_open_options *options, esrgan_model **out,
                            esrgan_error *error) {
    if (status == ESRGAN_OK) {
        uint64_t copied = model->bytes.copy != NULL ? model->bytes.size : 0;
        es_checkpoint_options checkpoint = {
            .wrapper = options->wrapper,
            .verify = options->verify != 0,
            .max_bytes = options->max_bytes > copied ? options->max_bytes - copied : 1};
        status = es_checkpoint_open(&model->checkpoint, &model->bytes, &checkpoint,
                                    &model->allocator, error);
    }
    if (status == ESRGAN_OK)
        status = es_network_create(&model->network, model->checkpoint, options->up_factor,
                                   &model->allocator, error);
    if (status != ESRGAN_OK) {
        esrgan_model_free(model);
        return status;
    }
    *out = model;
    return ESRGAN_OK;
}

esrgan_status esrgan_open_file(const char *path, const esrgan_open_options *given,
                               esrgan_model **out, esrgan_error *error) {
    esrgan_open_options options;
    esrgan_model *model;
    esrgan_status status = begin(given, &options, out, &model, error);
    if (status != ESRGAN_OK) return status;
    if (path == NULL)
        status = es_fail(error, ESRGAN_E_ARGUMENT, "path is NULL");
    else
        status = es_bytes_open_file(&model->bytes, path, options.copy != 0, options.max_bytes,
                                    &model->allocator, error);
    return finish(status, model, &options, out, error);
}

esrgan_status esrgan_open_memory(const void *data, size_t size, const char *name,
                                 const esrgan_open_options *given, esrgan_model **out,
                                 esrgan_error *error) {
    esrgan_open_options options;
    esrgan_model *model;
    esrgan_status status = begin(given, &options, out, &model, error);
    if (status != ESRGAN_OK) return status;
    if (data == NULL && size > 0)
        status = es_fail(error, ESRGAN_E_ARGUMENT, "data is NULL, size is %zu", size);
    else
        status = es_bytes_open_memory(&model->bytes, data, size, name, options.copy != 0,
                                      options.max_bytes, &model->allocator, error);
    return finish(status, model, &options, out, error);
}

esrgan_status esrgan_open_callbacks(const esrgan_reader *reader, const char *name,
                                    const esrgan_open_options *given, esrgan_model **out,
                                    esrgan_error *error) {
    esrgan_open_options options;
    esrgan_model *model;
    esrgan_status status = begin(given, &options, out, &model, error);
    if (status != ESRGAN_OK) return status;
    if (reader == NULL || reader->read == NULL)
        status = es_fail(error, ESRGAN_E_ARGUMENT, "reader is NULL or lacks its function");
    else
        status = es_bytes_open_reader(&model->bytes, reader, name, options.max_bytes,
                                      &model->allocator, error);
    return finish(status, model, &options, out, error);
}

void esrgan_model_free(esrgan_model *model) {
    if (model == NULL) return;
    esrgan_allocator a = model->allocator;
    es_network_free(model->network);
    es_checkpoint_free(model->checkpoint);
    es_bytes_close(&model->bytes, &a);
    es_free(&a, model, sizeof *model);
}

/* How the weights that the network uses are stored. */
static const char *weight_type(const es_checkpoint *checkpoint) {
    for (size_t i = 1; i < checkpoint->count; i++) {
        if (checkpoint->tensors[i].dtype != checkpoint->tensors[0].dtype) return "mixed";
    }
    return es_dtype_name(checkpoint->tensors[0].dtype);
}

esrgan_status esrgan_model_get_info(const esrgan_model *model, esrgan_model_info *info,
                                    esrgan_error *error) {
    if (model == NULL) return es_fail(error, ESRGAN_E_ARGUMENT, "model is NULL");
    const es_checkpoint *checkpoint = model->checkpoint;
    const es_network *network = model->network;
    esrgan_model_info full = {
        .size = sizeof full,
        .container = checkpoint->container,
        .wrapper = checkpoint->wrapper,
        .layout = network->layout,
        .family = network->family,
        .weight_type = weight_type(checkpoint),
        .in_channels = network->in_channels,
        .out_channels = network->out_channels,
        .scale = network->scale,
        .features = network->features,
        .growth = network->growth,
        .blocks = network->blocks,
        .up_stages = network->up_stages,
        .up_factor = network->up_factor,
        .unshuffle = network->unshuffle,
        .plus = network->plus,
        .parameters = network->parameters,
        .tensors = checkpoint->count,
        .macs_per_pixel = network->macs_per_pixel,
        .file_bytes = model->bytes.size,
    };
    return es_info_write(info, &full, sizeof full, "esrgan_model_info", error);
}

esrgan_status esrgan_model_sha256(const esrgan_model *model, uint8_t digest[32],
                                  esrgan_error *error) {
    if (model == NULL || digest == NULL)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s is NULL", model == NULL ? "model" : "digest");
    es_sha256(model->bytes.data, model->bytes.size, digest);
    return ESRGAN_OK;
}

esrgan_status esrgan_model_verify(const esrgan_model *model, esrgan_error *error) {
    if (model == NULL) return es_fail(error, ESRGAN_E_ARGUMENT, "model is NULL");
    return es_checkpoint_verify(model->checkpoint, error);
}
