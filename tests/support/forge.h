/* Forging checkpoint files, sound ones and others: bytes, pickles, zip archives. */
#ifndef TEST_FORGE_H
#define TEST_FORGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow.  Zero is empty; free with forge_free. */
typedef struct forge {
    uint8_t *data;
    size_t size, capacity;
} forge;

void forge_free(forge *f);
void forge_bytes(forge *f, const void *data, size_t size);
void forge_le(forge *f, uint64_t value, int width);

/* A string literal, zero bytes and all: opcodes. */
#define FORGE(f, literal) forge_bytes(f, literal, sizeof(literal) - 1)

/* Pickled values. */
void forge_text(forge *f, const char *text);
void forge_int(forge *f, int64_t value);
void forge_global(forge *f, const char *module, const char *name);

/* torch._utils._rebuild_tensor_v2(storage(type, key, numel), offset, shape, stride, ...) */
typedef struct forge_tensor {
    const char *type, *key; /* "FloatStorage" for NULL; "0" for NULL */
    int64_t numel, offset;
    int ndim;
    int64_t shape[10], stride[10];
    const char *view; /* opcodes of the legacy view metadata, or NULL for none */
} forge_tensor;

void forge_tensor_v2(forge *f, const forge_tensor *t);
void forge_storage(forge *f, const forge_tensor *t); /* its persistent id and BINPERSID */

/* A zip archive. */
typedef struct forge_entry {
    const char *name;
    const void *data;
    size_t size;
    bool deflate;
    bool zip64;      /* sizes and offset in the extra field */
    bool descriptor; /* sizes behind the payload, zeros in the local header */
} forge_entry;

/* Alignment pads local headers to it, as PyTorch does with 64; 0 for none. */
void forge_zip(forge *f, const forge_entry *entries, size_t count, size_t align, bool zip64,
               const char *comment);

/* The i-th central header of an archive that forge_zip made; its end record. */
uint8_t *forge_central(const forge *f, size_t i);
uint8_t *forge_end(const forge *f);

/* archive/data.pkl with this pickle, and archive/data/0 with floats 0, 1, 2 ... */
void forge_checkpoint(forge *f, const forge *pickle, size_t floats, bool deflate);

/* The same as a legacy file, storage "0". */
void forge_legacy(forge *f, const forge *object, size_t floats);

/* Magic number, protocol version and system information of one. */
void forge_legacy_head(forge *f);

/* {"a": 2x3 tensor, "b": 4 tensor} of one storage of ten floats */
void forge_small_dict(forge *f);

#endif
