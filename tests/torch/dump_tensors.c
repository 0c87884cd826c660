/* Prints every tensor of checkpoints as the library reads it: name, type, shape, SHA-256 of the
 * values as float64.  check_reader.py compares that with PyTorch's own. */
#include <stdio.h>
#include <stdlib.h>

#include "base/sha256.h"
#include "checkpoint/checkpoint.h"

static void print_tensor(const es_tensor *t) {
    size_t size = (size_t)t->numel * sizeof(double);
    double *values = malloc(size + 1);
    if (values == NULL) abort();
    es_tensor_read_f64(t, values);
    uint8_t digest[32];
    es_sha256(values, size, digest);
    printf("%s %s", t->name, es_dtype_name(t->dtype));
    for (int i = 0; i < t->ndim; i++) printf(" %lld", (long long)t->shape[i]);
    printf(" : ");
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    printf("\n");
    free(values);
}

static void print_file(const char *path) {
    esrgan_allocator a = es_allocator(NULL);
    const es_checkpoint_options options = {.verify = true};
    es_checkpoint *checkpoint = NULL;
    esrgan_error error;
    es_bytes bytes;
    esrgan_status status = es_bytes_open_file(&bytes, path, false, 0, &a, &error);
    if (status == ESRGAN_OK) status = es_checkpoint_open(&checkpoint, &bytes, &options, &a, &error);
    if (status == ESRGAN_OK) {
        printf("file %s\n", checkpoint->wrapper);
        for (size_t i = 0; i < checkpoint->count; i++) print_tensor(&checkpoint->tensors[i]);
    } else {
        printf("failed: %s\n", error.message);
    }
    es_checkpoint_free(checkpoint);
    es_bytes_close(&bytes, &a);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) print_file(argv[i]);
    return 0;
}
