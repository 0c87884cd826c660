/* The whole way from bytes to a model.  Checksums of stored entries are put right first: a forger
 * would do so too, and else hardly a mutated pickle would get past them. */
#include <zlib.h>

#include "checkpoint/zip.h"
#include "fuzz.h"

static void put_checksums_right(uint8_t *file, size_t size) {
    es_meter meter;
    es_meter_init(&meter, NULL, FUZZ_LIMIT);
    const es_bytes bytes = {.data = file, .size = size, .name = (char *)"fuzz"};
    const es_source source = {.bytes = &bytes, .meter = &meter, .error = NULL};
    es_zip zip;
    if (es_zip_open(&zip, &source) != ESRGAN_OK) return;
    for (size_t i = 0; i < zip.count; i++) {
        const es_zip_entry *e = &zip.entries[i];
        if (e->method != 0) continue;
        uint32_t crc = (uint32_t)crc32(0, e->payload, (uInt)e->payload_size);
        uint8_t *field = file + (e->name - file) - 46 + 16; /* of its central header */
        for (int b = 0; b < 4; b++) field[b] = (uint8_t)(crc >> 8 * b);
    }
    es_zip_close(&zip, &source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    fuzz_memory_init(&memory, data, size);
    uint8_t *file = malloc(size + 1);
    if (size > 0) memcpy(file, data, size);
    put_checksums_right(file, size);
    esrgan_open_options options;
    esrgan_open_options_init(&options);
    options.max_bytes = FUZZ_LIMIT;
    options.allocator = &memory.allocator;
    esrgan_error error = {0};
    esrgan_model *model = NULL;
    esrgan_status status = esrgan_open_memory(file, size, NULL, &options, &model, &error);
    if ((status == ESRGAN_OK) != (model != NULL)) abort();
    fuzz_check(status, &error);
    if (model != NULL) {
        esrgan_model_info info = {.size = sizeof info};
        if (esrgan_model_get_info(model, &info, &error) != ESRGAN_OK) abort();
        fuzz_check(esrgan_model_verify(model, &error), &error);
    }
    esrgan_model_free(model);
    free(file);
    return 0;
}
