#include "forge.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void forge_free(forge *f) {
    free(f->data);
    memset(f, 0, sizeof *f);
}

void forge_bytes(forge *f, const void *data, size_t size) {
    if (f->size + size > f->capacity) {
        f->capacity = (f->size + size) * 2;
        f->data = realloc(f->data, f->capacity);
        if (f->data == NULL) abort();
    }
    if (size > 0) memcpy(f->data + f->size, data, size);
    f->size += size;
}

void forge_le(forge *f, uint64_t value, int width) {
    for (int i = 0; i < width; i++)
        forge_bytes(f, &(uint8_t){i < 8 ? (uint8_t)(value >> 8 * i) : 0}, 1);
}

/* ---- Pickles ---------------------------------------------------------------------------------- */

void forge_text(forge *f, const char *text) {
    FORGE(f, "X");
    forge_le(f, strlen(text), 4);
    forge_bytes(f, text, strlen(text));
}

void forge_int(forge *f, int64_t value) {
    if (value >= 0 && value < 256) {
        FORGE(f, "K");
        forge_le(f, (uint64_t)value, 1);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        FORGE(f, "J");
        forge_le(f, (uint64_t)value, 4);
    } else {
        FORGE(f, "\x8a\x08");
        forge_le(f, (uint64_t)value, 8);
    }
}

void forge_global(forge *f, const char *module, const char *name) {
    FORGE(f, "c");
    forge_bytes(f, module, strlen(module));
    FORGE(f, "\n");
    forge_bytes(f, name, strlen(name));
    FORGE(f, "\n");
}

void forge_storage(forge *f, const forge_tensor *t) {
    FORGE(f, "(");
    forge_text(f, "storage");
    forge_global(f, "torch", t->type != NULL ? t->type : "FloatStorage");
    forge_text(f, t->key != NULL ? t->key : "0");
    forge_text(f, "cpu");
    forge_int(f, t->numel);
    if (t->view != NULL) forge_bytes(f, t->view, strlen(t->view));
    FORGE(f, "tQ");
}

static void int_tuple(forge *f, const int64_t *values, int count) {
    FORGE(f, "(");
    for (int i = 0; i < count; i++) forge_int(f, values[i]);
    FORGE(f, "t");
}

void forge_tensor_v2(forge *f, const forge_tensor *t) {
    forge_global(f, "torch._utils", "_rebuild_tensor_v2");
    FORGE(f, "(");
    forge_storage(f, t);
    forge_int(f, t->offset);
    int_tuple(f, t->shape, t->ndim);
    int_tuple(f, t->stride, t->ndim);
    FORGE(f, "\x89");
    forge_global(f, "collections", "OrderedDict");
    FORGE(f, ")RtR");
}

/* ---- Zip -------------------------------------------------------------------------------------- */

static void deflate_to(forge *f, const void *data, size_t size) {
    z_stream z = {0};
    if (deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    size_t room = deflateBound(&z, size);
    uint8_t *out = malloc(room);
    if (out == NULL) abort();
    z.next_in = (z_const Bytef *)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    forge_bytes(f, out, z.total_out);
    deflateEnd(&z);
    free(out);
}

static void local_header(forge *f, const forge_entry *e, uint32_t crc, size_t packed, size_t pad) {
    bool later = e->descriptor;
    FORGE(f, "PK\3\4\x14\0");
    forge_le(f, later ? 8 : 0, 2);
    forge_le(f, e->deflate ? 8 : 0, 2);
    forge_le(f, 0, 4);
    forge_le(f, later ? 0 : crc, 4);
    forge_le(f, later ? 0 : packed, 4);
    forge_le(f, later ? 0 : e->size, 4);
    forge_le(f, strlen(e->name), 2);
    forge_le(f, pad, 2);
    forge_bytes(f, e->name, strlen(e->name));
    for (size_t i = 0; i < pad; i++) FORGE(f, "Z");
}

static void central_header(forge *f, const forge_entry *e, uint32_t crc, size_t packed,
                           size_t header) {
    FORGE(f, "PK\1\2\x14\0\x14\0");
    forge_le(f, e->descriptor ? 8 : 0, 2);
    forge_le(f, e->deflate ? 8 : 0, 2);
    forge_le(f, 0, 4);
    forge_le(f, crc, 4);
    forge_le(f, e->zip64 ? 0xffffffffu : packed, 4);
    forge_le(f, e->zip64 ? 0xffffffffu : e->size, 4);
    forge_le(f, strlen(e->name), 2);
    forge_le(f, e->zip64 ? 32 : 0, 2);
    forge_le(f, 0, 2 + 2 + 2 + 4);
    forge_le(f, e->zip64 ? 0xffffffffu : header, 4);
    forge_bytes(f, e->name, strlen(e->name));
    if (e->zip64) { /* after a field that is to be skipped */
        FORGE(f, "\x99\x99\0\0\1\0\x18\0");
        forge_le(f, e->size, 8);
        forge_le(f, packed, 8);
        forge_le(f, header, 8);
    }
}

static size_t put_entry(forge *f, forge *directory, const forge_entry *e, size_t align) {
    forge payload = {0};
    if (e->deflate) {
        deflate_to(&payload, e->data, e->size);
    } else {
        forge_bytes(&payload, e->data, e->size);
    }
    size_t header = f->size, pad = 0;
    uint32_t crc = (uint32_t)crc32(0, e->data, (uInt)e->size);
    if (align > 0) pad = (align - (header + 30 + strlen(e->name)) % align) % align;
    local_header(f, e, crc, payload.size, pad);
    forge_bytes(f, payload.data, payload.size);
    if (e->descriptor) {
        FORGE(f, "PK\7\x8");
        forge_le(f, crc, 4);
        forge_le(f, payload.size, 4);
        forge_le(f, e->size, 4);
    }
    central_header(directory, e, crc, payload.size, header);
    forge_free(&payload);
    return header;
}

void forge_zip(forge *f, const forge_entry *entries, size_t count, size_t align, bool zip64,
               const char *comment) {
    forge directory = {0};
    for (size_t i = 0; i < count; i++) put_entry(f, &directory, &entries[i], align);
    size_t offset = f->size;
    forge_bytes(f, directory.data, directory.size);
    if (zip64) {
        size_t end64 = f->size;
        FORGE(f, "PK\6\6");
        forge_le(f, 44, 8);
        forge_le(f, 45, 2);
        forge_le(f, 45, 2);
        forge_le(f, 0, 8);
        forge_le(f, count, 8);
        forge_le(f, count, 8);
        forge_le(f, directory.size, 8);
        forge_le(f, offset, 8);
        FORGE(f, "PK\6\7\0\0\0\0");
        forge_le(f, end64, 8);
        forge_le(f, 1, 4);
    }
    FORGE(f, "PK\5\6\0\0\0\0");
    forge_le(f, zip64 ? 0xffff : count, 2);
    forge_le(f, zip64 ? 0xffff : count, 2);
    forge_le(f, zip64 ? 0xffffffffu : directory.size, 4);
    forge_le(f, zip64 ? 0xffffffffu : offset, 4);
    size_t length = comment != NULL ? strlen(comment) : 0;
    forge_le(f, length, 2);
    forge_bytes(f, comment, length);
    forge_free(&directory);
}

uint8_t *forge_end(const forge *f) {
    for (size_t at = f->size - 22;; at--) {
        if (memcmp(f->data + at, "PK\5\6", 4) == 0) return f->data + at;
    }
}

uint8_t *forge_central(const forge *f, size_t i) {
    uint8_t *p = f->data;
    size_t at = 0;
    for (;; at++) {
        if (memcmp(p + at, "PK\1\2", 4) == 0 && i-- == 0) return p + at;
    }
}

static void ramp(forge *f, size_t floats) {
    for (size_t i = 0; i < floats; i++) {
        float value = (float)i;
        forge_bytes(f, &value, sizeof value);
    }
}

void forge_checkpoint(forge *f, const forge *pickle, size_t floats, bool deflate) {
    forge storage = {0};
    ramp(&storage, floats);
    const forge_entry entries[] = {
        {.name = "archive/data.pkl",
         .data = pickle->data,
         .size = pickle->size,
         .deflate = deflate},
        {.name = "archive/byteorder", .data = "little", .size = 6, .deflate = deflate},
        {.name = "archive/data/0", .data = storage.data, .size = storage.size, .deflate = deflate},
        {.name = "archive/version", .data = "3\n", .size = 2, .deflate = deflate},
        {.name = "archive/.format_version", .data = "1", .size = 1, .deflate = deflate},
        {.name = "archive/.data/serialization_id", .data = "0636", .size = 4},
    };
    forge_zip(f, entries, sizeof entries / sizeof entries[0], 64, false, NULL);
    forge_free(&storage);
}

void forge_legacy_head(forge *f) {
    FORGE(f, "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
    FORGE(f, "\x80\2M\xe9\3.");
    FORGE(f, "\x80\2}q\0(");
    forge_text(f, "protocol_version");
    FORGE(f, "M\xe9\3");
    forge_text(f, "little_endian");
    FORGE(f, "\x88u.");
}

void forge_legacy(forge *f, const forge *object, size_t floats) {
    forge_legacy_head(f);
    forge_bytes(f, object->data, object->size);
    FORGE(f, "\x80\2]q\0");
    forge_text(f, "0");
    FORGE(f, "a.");
    forge_le(f, floats, 8);
    ramp(f, floats);
}

void forge_small_dict(forge *f) {
    FORGE(f, "\x80\2}q\0(");
    forge_text(f, "a");
    forge_tensor_v2(f, &(forge_tensor){.numel = 10, .ndim = 2, .shape = {2, 3}, .stride = {3, 1}});
    forge_text(f, "b");
    forge_tensor_v2(
        f, &(forge_tensor){.numel = 10, .offset = 6, .ndim = 1, .shape = {4}, .stride = {1}});
    FORGE(f, "u.");
}
