/*
 * PyTorch before 1.6: five pickles in a row (magic number, protocol version, system, object, keys
 * of the storages in file order), then for each key the number of elements and the elements.
 */
#include <string.h>

#include "checkpoint/torch.h"

#define MAX_STORAGES ((size_t)1 << 18)

typedef struct es_legacy_storage {
    es_storage_ref ref;
    const uint8_t *data; /* NULL until its place in the file was met */
} es_legacy_storage;

/* 0x1950a86a20f9469cfc6c as LONG1 and as LONG */
static const uint8_t magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
static const char magic_text[] = "119547037146038801333356";

static bool begins(const es_bytes *bytes, size_t at, const void *what, size_t size) {
    if (bytes->size <= at) return true; /* cut short before it could differ */
    size_t left = bytes->size - at;
    return memcmp(bytes->data + at, what, left < size ? left : size) == 0;
}

bool es_torch_legacy_matches(const es_bytes *bytes) {
    static const uint8_t long1[2] = {0x8a, sizeof magic};
    if (bytes->size == 0) return false;
    if (bytes->data[0] == 'L') {
        return begins(bytes, 1, magic_text, sizeof magic_text - 1);
    }
    if (bytes->data[0] != 0x80 || (bytes->size > 1 && bytes->data[1] > 5)) return false;
    size_t at = bytes->size > 2 && bytes->data[2] == 0x95 ? 11 : 2; /* protocol 4 has frames */
    return begins(bytes, at, long1, sizeof long1) &&
           begins(bytes, at + sizeof long1, magic, sizeof magic);
}

/* Loads the pickle at *at and moves on behind it. */
static esrgan_status next(es_container *c, const char *where, size_t *at, es_value *root) {
    const es_bytes *bytes = c->source.bytes;
    size_t used = 0;
    esrgan_status status = es_pickle_load(&c->pickle, &c->source, where, ESRGAN_E_TRUNCATED,
                                          bytes->data + *at, bytes->size - *at, &used, root);
    *at += used;
    return status;
}

static esrgan_status check_head(es_container *c, size_t *at) {
    es_value value = 0;
    esrgan_status status = next(c, "magic number", at, &value);
    if (status != ESRGAN_OK) return status;
    if (es_pickle_node(&c->pickle, value)->kind != ES_NODE_LONG) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT, "the magic number is %s",
                              es_node_kind_text(es_pickle_node(&c->pickle, value)));
    }
    status = next(c, "protocol version", at, &value);
    if (status != ESRGAN_OK) return status;
    const es_node *version = es_pickle_node(&c->pickle, value);
    if (version->kind != ES_NODE_INT || version->integer != 1001) {
        return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                              "legacy protocol %lld; only 1001 can be read",
                              version->kind == ES_NODE_INT ? (long long)version->integer : -1LL);
    }
    status = next(c, "system information", at, &value);
    if (status != ESRGAN_OK) return status;
    const es_node *system = es_pickle_node(&c->pickle, value);
    if (system->kind != ES_NODE_DICT) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "the system information is %s, expected a dictionary",
                              es_node_kind_text(system));
    }
    const es_node *little = es_pickle_lookup(&c->pickle, system, "little_endian");
    if (little != NULL && little->kind == ES_NODE_BOOL && little->integer == 0) {
        return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                              "written on a big-endian machine; only little-endian files can be "
                              "read");
    }
    return ESRGAN_OK;
}

static int by_key(const void *context, uint32_t a, uint32_t b) {
    const es_pickle *p = context;
    const es_node *x = es_pickle_item(p, es_pickle_node(p, p->nodes[a].a), 2);
    const es_node *y = es_pickle_item(p, es_pickle_node(p, p->nodes[b].a), 2);
    return es_compare_bytes(x->bytes, x->size, y->bytes, y->size);
}

/* A view does not count: what the file holds is the storage it looks at. */
static bool same_storage(const es_storage_ref *a, const es_storage_ref *b) {
    return a->type == b->type && a->numel == b->numel;
}

/* Lists every storage that any part of the object refers to, sorted by key, each once. */
static esrgan_status collect(es_container *c, uint32_t *index, size_t count) {
    es_sort(index, count, by_key, &c->pickle);
    for (size_t i = 0; i < count; i++) {
        es_storage_ref ref;
        esrgan_status status = es_torch_storage(c, es_pickle_node(&c->pickle, index[i]), &ref);
        if (status != ESRGAN_OK) return status;
        es_legacy_storage *last = c->storage_count > 0 ? &c->storages[c->storage_count - 1] : NULL;
        if (last == NULL || es_compare_bytes(last->ref.key->bytes, last->ref.key->size,
                                             ref.key->bytes, ref.key->size) != 0) {
            c->storages[c->storage_count++].ref = ref;
        } else if (!same_storage(&last->ref, &ref)) {
            return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                                  "storage '%.*s' is referred to as two different ones",
                                  ES_SHOWN(ref.key->bytes, ref.key->size));
        }
    }
    return ESRGAN_OK;
}

static esrgan_status list_storages(es_container *c) {
    const es_pickle *p = &c->pickle;
    const esrgan_allocator *a = &c->source.meter->allocator;
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (p->nodes[i].kind != ES_NODE_PERSISTENT) continue;
        es_storage_ref ref; /* the sort relies on each being sound */
        esrgan_status status = es_torch_storage(c, &p->nodes[i], &ref);
        if (status != ESRGAN_OK) return status;
        count++;
    }
    if (count == 0) return ESRGAN_OK;
    if (count > MAX_STORAGES) {
        return es_source_fail(&c->source, ESRGAN_E_LIMIT, "more than %zu storages", MAX_STORAGES);
    }
    c->storage_capacity = count * sizeof *c->storages;
    c->storages = es_calloc(a, count, sizeof *c->storages);
    uint32_t *index = es_calloc(a, count, sizeof *index);
    esrgan_status status = ESRGAN_OK;
    if (c->storages == NULL || index == NULL) {
        status = es_source_no_memory(&c->source);
    } else {
        size_t n = 0;
        for (size_t i = 0; i < p->count; i++) {
            if (p->nodes[i].kind == ES_NODE_PERSISTENT) index[n++] = (uint32_t)i;
        }
        status = collect(c, index, count);
    }
    es_free(a, index, count * sizeof *index);
    return status;
}

static es_legacy_storage *lookup(const es_container *c, const es_node *key) {
    size_t low = 0, high = c->storage_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const es_node *found = c->storages[middle].ref.key;
        int order = es_compare_bytes(key->bytes, key->size, found->bytes, found->size);
        if (order == 0) return &c->storages[middle];
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* The storage that begins at *at. */
static esrgan_status place_storage(es_container *c, const es_node *key, size_t *at) {
    const es_bytes *bytes = c->source.bytes;
    es_legacy_storage *storage = key->kind == ES_NODE_TEXT ? lookup(c, key) : NULL;
    if (storage == NULL || storage->data != NULL) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "the list of storages names '%.*s', which is %s",
                              ES_SHOWN(key->kind == ES_NODE_TEXT ? (const char *)key->bytes : "?",
                                       key->kind == ES_NODE_TEXT ? key->size : 1),
                              storage == NULL ? "unknown" : "there twice");
    }
    size_t left = bytes->size - *at, size = (size_t)storage->ref.numel * storage->ref.element;
    if (left < 8 ||
        (es_le64(bytes->data + *at) == (uint64_t)storage->ref.numel && left - 8 < size)) {
        return es_source_fail(&c->source, ESRGAN_E_TRUNCATED,
                              "ends inside storage '%.*s': %zu bytes are left, expected %zu: the "
                              "file was cut short, download it again",
                              ES_SHOWN(key->bytes, key->size), left < 8 ? 0 : left - 8, size);
    }
    uint64_t found = es_le64(bytes->data + *at);
    if (found != (uint64_t)storage->ref.numel) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "storage '%.*s' has %llu elements, expected %lld",
                              ES_SHOWN(key->bytes, key->size), (unsigned long long)found,
                              (long long)storage->ref.numel);
    }
    storage->data = bytes->data + *at + 8;
    *at += 8 + size;
    return ESRGAN_OK;
}

static esrgan_status find_storage(es_container *c, const es_storage_ref *ref,
                                  const uint8_t **data) {
    const es_legacy_storage *storage = lookup(c, ref->key);
    if (storage == NULL || storage->data == NULL) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "storage '%.*s' is not in the list of storages",
                              ES_SHOWN(ref->key->bytes, ref->key->size));
    }
    *data = storage->data;
    return ESRGAN_OK;
}

esrgan_status es_torch_legacy_open(es_container *c) {
    c->name = "pytorch-legacy";
    c->find = find_storage;
    size_t at = 0;
    es_value keys = 0;
    esrgan_status status = check_head(c, &at);
    if (status == ESRGAN_OK) status = next(c, "object", &at, &c->root);
    if (status == ESRGAN_OK) status = next(c, "storage keys", &at, &keys);
    if (status == ESRGAN_OK) status = list_storages(c); /* no node moves any more */
    if (status != ESRGAN_OK) return status;
    const es_node *list = es_pickle_node(&c->pickle, keys);
    if (list->kind != ES_NODE_LIST) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "the storage keys are %s, expected a list", es_node_kind_text(list));
    }
    for (size_t i = 0; i < list->count && status == ESRGAN_OK; i++) {
        status = place_storage(c, es_pickle_item(&c->pickle, list, i), &at);
    }
    return status;
}
