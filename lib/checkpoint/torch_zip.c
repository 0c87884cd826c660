/* PyTorch 1.6 and later: a zip archive with data.pkl and one entry a storage. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/torch.h"

static bool ends_with(const es_zip_entry *e, const char *tail) {
    size_t size = strlen(tail);
    return e->name_size >= size && memcmp(e->name + e->name_size - size, tail, size) == 0;
}

/* In whatever folder, or in none. */
static bool is_pickle(const es_zip_entry *e) {
    return ends_with(e, "/data.pkl") || (ends_with(e, "data.pkl") && e->name_size == 8);
}

static bool in_folder(const es_container *c, const es_zip_entry *e, const char *folder) {
    size_t size = strlen(folder);
    return e->name_size >= c->folder_size + size &&
           memcmp(e->name, c->folder, c->folder_size) == 0 &&
           memcmp(e->name + c->folder_size, folder, size) == 0;
}

/* A zip archive that holds no data.pkl: says what it may be. */
static esrgan_status other_archive(es_container *c) {
    static const struct {
        const char *tail, *text;
    } kinds[] = {
        {".pth", "a zip archive with '%.*s' in it: unpack it first"},
        {".pt", "a zip archive with '%.*s' in it: unpack it first"},
        {".ckpt", "a zip archive with '%.*s' in it: unpack it first"},
        {".safetensors", "a zip archive with '%.*s' in it, which is no PyTorch checkpoint"},
        {".npy", "a NumPy .npz archive ('%.*s'), not a PyTorch checkpoint"},
        {"[Content_Types].xml", "an Office document ('%.*s'), not a PyTorch checkpoint"},
        {"AndroidManifest.xml", "an Android or Java package ('%.*s'), not a PyTorch checkpoint"},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t i = 0; i < c->zip.count; i++) {
            const es_zip_entry *e = &c->zip.entries[i];
            if (!ends_with(e, kinds[k].tail)) continue;
            char text[300];
            snprintf(text, sizeof text, kinds[k].text, ES_SHOWN(e->name, e->name_size));
            return es_source_fail(&c->source, ESRGAN_E_NOT_CHECKPOINT, "%s", text);
        }
    }
    return es_source_fail(&c->source, ESRGAN_E_NOT_CHECKPOINT,
                          "a zip archive of %zu entries without data.pkl, not a PyTorch checkpoint",
                          c->zip.count);
}

static esrgan_status find_pickle(es_container *c, es_zip_entry **pickle) {
    *pickle = NULL;
    for (size_t i = 0; i < c->zip.count; i++) {
        es_zip_entry *e = &c->zip.entries[i];
        if (!is_pickle(e)) continue;
        if (*pickle != NULL) {
            return es_source_fail(
                &c->source, ESRGAN_E_CORRUPT, "two pickles in one archive: '%.*s' and '%.*s'",
                ES_SHOWN((*pickle)->name, (*pickle)->name_size), ES_SHOWN(e->name, e->name_size));
        }
        *pickle = e;
    }
    if (*pickle == NULL) return other_archive(c);
    c->folder = (*pickle)->name;
    c->folder_size = (*pickle)->name_size - strlen("data.pkl");
    for (size_t i = 0; i < c->zip.count; i++) {
        if (in_folder(c, &c->zip.entries[i], "code/")) {
            return es_source_fail(&c->source, ESRGAN_E_NOT_CHECKPOINT,
                                  "a TorchScript archive (made by torch.jit.save), not a "
                                  "checkpoint: save model.state_dict() with torch.save instead");
        }
    }
    return ESRGAN_OK;
}

static esrgan_status check_byte_order(es_container *c) {
    static const char name[] = "byteorder";
    es_zip_entry *e = es_zip_find(&c->zip, c->folder, c->folder_size, name, sizeof name - 1);
    if (e == NULL) return ESRGAN_OK;
    const uint8_t *text = NULL;
    esrgan_status status = es_zip_content(e, &c->source, &text);
    if (status != ESRGAN_OK || (e->size >= 6 && memcmp(text, "little", 6) == 0)) return status;
    return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                          "written on a big-endian machine (byteorder is '%.*s', only 'little' can "
                          "be read)",
                          ES_SHOWN(text, e->size));
}

static esrgan_status find_storage(es_container *c, const es_storage_ref *ref,
                                  const uint8_t **data) {
    const es_node *key = ref->key;
    char path[256] = "data/"; /* es_torch_storage has seen to it that keys are short */
    size_t prefix = strlen(path);
    memcpy(path + prefix, key->bytes, key->size);
    es_zip_entry *e = es_zip_find(&c->zip, c->folder, c->folder_size, path, prefix + key->size);
    if (e == NULL) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "the archive has no entry '%.*sdata/%.*s' for a storage",
                              ES_SHOWN(c->folder, c->folder_size), ES_SHOWN(key->bytes, key->size));
    }
    uint64_t expected = (uint64_t)ref->numel * ref->element;
    if (e->size < expected || e->size - expected >= ref->element) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "entry '%.*s' has %llu bytes, expected %llu (%lld elements of %s)",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)e->size,
                              (unsigned long long)expected, (long long)ref->numel, ref->type);
    }
    return es_zip_content(e, &c->source, data);
}

esrgan_status es_torch_zip_open(es_container *c) {
    c->name = "pytorch-zip";
    c->find = find_storage;
    esrgan_status status = es_zip_open(&c->zip, &c->source);
    if (status != ESRGAN_OK) return status;
    es_zip_entry *entry = NULL;
    status = find_pickle(c, &entry);
    if (status == ESRGAN_OK) status = check_byte_order(c);
    const uint8_t *data = NULL;
    if (status == ESRGAN_OK) status = es_zip_content(entry, &c->source, &data);
    /* Few bytes on which everything depends: their checksum is compared always. */
    if (status == ESRGAN_OK && data != entry->inflated) status = es_zip_verify(entry, &c->source);
    if (status != ESRGAN_OK) return status;
    size_t used;
    return es_pickle_load(&c->pickle, &c->source, "data.pkl", ESRGAN_E_CORRUPT, data,
                          (size_t)entry->size, &used, &c->root);
}
