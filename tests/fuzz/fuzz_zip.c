/* The zip reader alone: the directory, and the content of every entry, stored and deflated. */
#include "checkpoint/zip.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    fuzz_memory_init(&memory, data, size);
    es_meter meter;
    es_meter_init(&meter, &memory.allocator, FUZZ_LIMIT);
    esrgan_error error = {0};
    const es_bytes bytes = {.data = data, .size = size, .name = (char *)"fuzz"};
    const es_source source = {.bytes = &bytes, .meter = &meter, .error = &error};
    es_zip zip;
    esrgan_status status = es_zip_open(&zip, &source);
    fuzz_check(status, &error);
    if (status != ESRGAN_OK) return 0;
    unsigned sum = 0;
    for (size_t i = 0; i < zip.count; i++) {
        es_zip_entry *e = &zip.entries[i];
        if (es_zip_find(&zip, "", 0, e->name, e->name_size) != e) abort();
        fuzz_check(es_zip_verify(e, &source), &error);
        const uint8_t *content = NULL;
        status = es_zip_content(e, &source, &content);
        fuzz_check(status, &error);
        for (size_t b = 0; status == ESRGAN_OK && b < e->size; b += 64) sum += content[b];
    }
    es_zip_close(&zip, &source);
    if (meter.now != 0) abort();
    return sum == 1 ? 0 : 0;
}
