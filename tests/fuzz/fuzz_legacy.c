/* Legacy files.  The input follows a sound magic number, which no mutation is to be wasted on. */
#include "fuzz.h"

static const uint8_t head[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                               0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    fuzz_memory_init(&memory, data, size);
    uint8_t *file = malloc(sizeof head + size);
    memcpy(file, head, sizeof head);
    if (size > 0) memcpy(file + sizeof head, data, size);
    const es_bytes bytes = {.data = file, .size = sizeof head + size, .name = (char *)"fuzz"};
    const es_checkpoint_options options = {.max_bytes = FUZZ_LIMIT};
    esrgan_error error = {0};
    es_checkpoint *checkpoint;
    esrgan_status status =
        es_checkpoint_open(&checkpoint, &bytes, &options, &memory.allocator, &error);
    fuzz_check(status, &error);
    for (size_t i = 0; checkpoint != NULL && i < checkpoint->count; i++) {
        fuzz_read_tensor(&checkpoint->tensors[i]);
    }
    es_checkpoint_free(checkpoint);
    free(file);
    return 0;
}
