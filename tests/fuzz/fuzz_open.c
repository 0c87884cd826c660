/* The whole way from bytes to a model. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    fuzz_memory_init(&memory, data, size);
    uint8_t *file = fuzz_with_checksums(data, size);
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
