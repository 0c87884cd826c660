#include "checkpoint/checkpoint.h"

#include <string.h>

#include "checkpoint/sniff.h"
#include "checkpoint/statedict.h"
#include "checkpoint/torch.h"

#define DEFAULT_LIMIT ((uint64_t)4 << 30)

typedef struct es_checkpoint_private {
    es_checkpoint checkpoint;
    esrgan_allocator allocator;
    es_meter meter; /* counts what the parts below allocate */
    es_container container;
    es_state_dict dict;
} es_checkpoint_private;

static esrgan_status verify(const es_container *c, esrgan_error *error) {
    es_source source = c->source;
    source.error = error;
    esrgan_status status = ESRGAN_OK;
    uint64_t left = source.meter->limit; /* few bytes can inflate to very many */
    for (size_t i = 0; i < c->zip.count && status == ESRGAN_OK; i++) {
        const es_zip_entry *e = &c->zip.entries[i];
        uint64_t gain = e->size > e->payload_size ? e->size - e->payload_size : 0;
        if (gain > left) {
            return es_source_fail(&source, ESRGAN_E_LIMIT,
                                  "inflates to more than the limit of %llu bytes",
                                  (unsigned long long)source.meter->limit);
        }
        left -= gain;
        status = es_zip_verify(&c->zip.entries[i], &source);
    }
    return status;
}

static bool is_zip(const es_bytes *bytes) {
    static const uint8_t local[4] = {'P', 'K', 3, 4}, end[4] = {'P', 'K', 5, 6};
    size_t size = bytes->size < 4 ? bytes->size : 4;
    if (size < 2) return false;
    return memcmp(bytes->data, local, size) == 0 || memcmp(bytes->data, end, size) == 0;
}

static esrgan_status open_container(es_container *c) {
    if (is_zip(c->source.bytes)) return es_torch_zip_open(c);
    if (es_torch_legacy_matches(c->source.bytes)) return es_torch_legacy_open(c);
    return es_sniff_refuse(&c->source);
}

static esrgan_status fill(es_checkpoint_private *p, const es_checkpoint_options *options) {
    es_container *c = &p->container;
    esrgan_status status = open_container(c);
    if (status == ESRGAN_OK && options != NULL && options->verify) {
        status = verify(c, c->source.error);
    }
    if (status == ESRGAN_OK) {
        status = es_state_dict_read(&p->dict, c, options != NULL ? options->wrapper : NULL);
    }
    if (status != ESRGAN_OK) return status;
    es_container_settle(c);
    p->checkpoint = (es_checkpoint){.container = c->name,
                                    .wrapper = p->dict.wrapper,
                                    .file = c->source.bytes->name,
                                    .tensors = p->dict.tensors,
                                    .count = p->dict.count,
                                    .priv = p};
    return ESRGAN_OK;
}

static void free_private(es_checkpoint_private *p) {
    esrgan_allocator a = p->allocator;
    es_state_dict_free(&p->dict, &p->container.source);
    es_container_close(&p->container);
    es_free(&a, p, sizeof *p);
}

esrgan_status es_checkpoint_open(es_checkpoint **out, const es_bytes *bytes,
                                 const es_checkpoint_options *options, const esrgan_allocator *a,
                                 esrgan_error *error) {
    *out = NULL;
    es_checkpoint_private *p = es_calloc(a, 1, sizeof *p);
    if (p == NULL) return es_fail(error, ESRGAN_E_MEMORY, "%s: out of memory", bytes->name);
    p->allocator = *a;
    uint64_t limit =
        options != NULL && options->max_bytes != 0 ? options->max_bytes : DEFAULT_LIMIT;
    es_meter_init(&p->meter, a, limit);
    p->container.source = (es_source){.bytes = bytes, .meter = &p->meter, .error = error};
    esrgan_status status = fill(p, options);
    p->container.source.error = NULL;
    if (status != ESRGAN_OK) {
        free_private(p);
        return status;
    }
    *out = &p->checkpoint;
    return ESRGAN_OK;
}

void es_checkpoint_free(es_checkpoint *checkpoint) {
    if (checkpoint != NULL) free_private(checkpoint->priv);
}

const es_tensor *es_checkpoint_find(const es_checkpoint *checkpoint, const char *name) {
    const es_state_dict *d = &checkpoint->priv->dict;
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const es_tensor *tensor = &d->tensors[d->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) return tensor;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

esrgan_status es_checkpoint_verify(const es_checkpoint *checkpoint, esrgan_error *error) {
    return verify(&checkpoint->priv->container, error);
}
