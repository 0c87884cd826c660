/* The pickle machine and what makes tensors of its nodes.  Storages are made up: each exactly as
 * large as it says, so that reading a tensor finds every mistake in its extent. */
#include "checkpoint/statedict.h"
#include "fuzz.h"

#define STORAGE_LIMIT 65536
#define STORAGES      64

static uint8_t *storages[STORAGES];
static size_t storage_count;

static esrgan_status find(es_container *c, const es_storage_ref *ref, const uint8_t **data) {
    size_t size = (size_t)ref->numel * ref->element;
    if (size > STORAGE_LIMIT || storage_count == STORAGES) {
        return es_source_fail(&c->source, ESRGAN_E_LIMIT, "more than is made up here");
    }
    storages[storage_count] = calloc(1, size > 0 ? size : 1);
    *data = storages[storage_count++];
    return ESRGAN_OK;
}

static void read_dict(es_container *c, const char *wrapper, const esrgan_error *error) {
    es_state_dict dict;
    esrgan_status status = es_state_dict_read(&dict, c, wrapper);
    fuzz_check(status, error);
    for (size_t i = 0; status == ESRGAN_OK && i < dict.count; i++) {
        fuzz_read_tensor(&dict.tensors[i]);
    }
    es_state_dict_free(&dict, &c->source);
    while (storage_count > 0) free(storages[--storage_count]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    fuzz_memory_init(&memory, data, size);
    es_meter meter;
    es_meter_init(&meter, &memory.allocator, FUZZ_LIMIT);
    esrgan_error error = {0};
    const es_bytes bytes = {.data = data, .size = size, .name = (char *)"fuzz"};
    es_container c = {.find = find};
    c.source = (es_source){.bytes = &bytes, .meter = &meter, .error = &error};
    size_t used = 0;
    esrgan_status status = es_pickle_load(&c.pickle, &c.source, "pickle", ESRGAN_E_TRUNCATED, data,
                                          size, &used, &c.root);
    fuzz_check(status, &error);
    if (status == ESRGAN_OK) {
        if (used > size) abort();
        read_dict(&c, NULL, &error);
        read_dict(&c, "params", &error);
    }
    es_container_close(&c);
    if (meter.now != 0) abort();
    return 0;
}
