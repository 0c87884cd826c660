/* PyTorch's containers: where the pickle and the storages lie. */
#ifndef ES_CHECKPOINT_TORCH_H
#define ES_CHECKPOINT_TORCH_H

#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip.h"

/* What a persistent id says: ('storage', type, key, location, numel[, view]). */
typedef struct es_storage_ref {
    const es_node *key; /* text */
    es_dtype dtype;     /* where `known` */
    bool known;         /* false: complex, quantised ... */
    const char *type;   /* "FloatStorage" */
    size_t element;     /* bytes */
    int64_t numel;
    bool view; /* legacy: elements view_first .. view_first + view_count - 1 of it */
    int64_t view_first, view_count;
} es_storage_ref;

typedef struct es_container es_container;

struct es_container {
    const char *name; /* "pytorch-zip", "pytorch-legacy" */
    es_source source;
    es_pickle pickle;
    es_value root;
    esrgan_status (*find)(es_container *c, const es_storage_ref *ref, const uint8_t **data);
    es_zip zip;
    const uint8_t *folder; /* of data.pkl, with its slash */
    size_t folder_size;
    struct es_legacy_storage *storages; /* sorted by key */
    size_t storage_count, storage_capacity;
};

esrgan_status es_torch_zip_open(es_container *c);
esrgan_status es_torch_legacy_open(es_container *c);

/* Whether the bytes are a legacy file's: its magic number, or a beginning of it. */
bool es_torch_legacy_matches(const es_bytes *bytes);

/* Frees what only building the state dict needs, and all of it. */
void es_container_settle(es_container *c);
void es_container_close(es_container *c);

/* Reads a persistent id.  Not a storage at all: ESRGAN_E_CORRUPT. */
esrgan_status es_torch_storage(const es_container *c, const es_node *persistent,
                               es_storage_ref *ref);

/* Whether a value is meant to be a tensor: rebuilt by torch's own functions. */
bool es_torch_is_tensor(const es_pickle *p, const es_node *node);

/* Makes a tensor of such a value; `key` is for messages. */
esrgan_status es_torch_tensor(es_container *c, const es_node *key, const es_node *node,
                              es_tensor *tensor);

#endif
