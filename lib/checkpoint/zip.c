#include "checkpoint/zip.h"

#include <string.h>
#include <zlib.h>

#define SIG_LOCAL     0x04034b50u
#define SIG_CENTRAL   0x02014b50u
#define SIG_END       0x06054b50u
#define SIG_END64     0x06064b50u
#define SIG_LOCATOR64 0x07064b50u

#define LOCAL_SIZE   30
#define CENTRAL_SIZE 46
#define END_SIZE     22
#define END64_SIZE   56
#define LOCATOR_SIZE 20

#define FLAG_ENCRYPTED 0x0001u
#define METHOD_STORED  0
#define METHOD_DEFLATE 8

/* Deflate cannot do better than 1032 to 1; a size beyond that is a lie. */
#define DEFLATE_BEST 1032
#define SLACK        64

/* A checkpoint has an entry a storage, some thousands at most. */
#define MAX_ENTRIES (1u << 18)

typedef struct directory {
    uint64_t offset, size, count;
} directory;

static esrgan_status find_end(const es_source *s, size_t *end) {
    const uint8_t *data = s->bytes->data;
    size_t size = s->bytes->size;
    if (size >= END_SIZE) {
        size_t last = size - END_SIZE, lowest = last > 0xffff ? last - 0xffff : 0;
        for (size_t at = last + 1; at-- > lowest;) {
            if (es_le32(data + at) != SIG_END) continue;
            if (es_le16(data + at + 20) > size - at - END_SIZE) continue; /* the comment */
            *end = at;
            return ESRGAN_OK;
        }
    }
    return es_source_fail(s, ESRGAN_E_TRUNCATED,
                          "a zip archive without its end (%zu bytes are here): the file was cut "
                          "short, download it again",
                          size);
}

static esrgan_status read_end64(const es_source *s, size_t locator, directory *dir, size_t *end) {
    const uint8_t *data = s->bytes->data;
    uint64_t at = es_le64(data + locator + 8);
    if (locator < END64_SIZE || at > locator - END64_SIZE || es_le32(data + at) != SIG_END64) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "the zip64 end record is not at offset %llu, where it should be",
                              (unsigned long long)at);
    }
    const uint8_t *p = data + at;
    if (es_le32(p + 16) != 0 || es_le32(p + 20) != 0) {
        return es_source_fail(s, ESRGAN_E_UNSUPPORTED, "a zip archive of several volumes");
    }
    dir->count = es_le64(p + 32);
    dir->size = es_le64(p + 40);
    dir->offset = es_le64(p + 48);
    *end = (size_t)at;
    return ESRGAN_OK;
}

static esrgan_status read_end(const es_source *s, directory *dir) {
    size_t end = 0;
    esrgan_status status = find_end(s, &end);
    if (status != ESRGAN_OK) return status;
    const uint8_t *data = s->bytes->data, *p = data + end;
    size_t locator = end - LOCATOR_SIZE;
    if (end >= LOCATOR_SIZE && es_le32(data + locator) == SIG_LOCATOR64) {
        status = read_end64(s, locator, dir, &end);
        if (status != ESRGAN_OK) return status;
    } else {
        if (es_le16(p + 4) != 0 || es_le16(p + 6) != 0) {
            return es_source_fail(s, ESRGAN_E_UNSUPPORTED, "a zip archive of several volumes");
        }
        dir->count = es_le16(p + 10);
        dir->size = es_le32(p + 12);
        dir->offset = es_le32(p + 16);
    }
    if (dir->size > end || dir->offset > end - dir->size) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "the zip directory (offset %llu, %llu bytes) does not fit before its "
                              "end record at %zu: bytes are missing or were added",
                              (unsigned long long)dir->offset, (unsigned long long)dir->size, end);
    }
    if (dir->count > dir->size / CENTRAL_SIZE) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "the zip directory claims %llu entries, but has only %llu bytes",
                              (unsigned long long)dir->count, (unsigned long long)dir->size);
    }
    if (dir->count > MAX_ENTRIES) {
        return es_source_fail(s, ESRGAN_E_LIMIT, "a zip archive of more than %u entries",
                              MAX_ENTRIES);
    }
    return ESRGAN_OK;
}

/* Takes one 64-bit value out of the zip64 extra field where the 32-bit one says so. */
static bool widen(uint64_t *value, const uint8_t **extra, size_t *left) {
    if (*value != 0xffffffffu) return true;
    if (*left < 8) return false;
    *value = es_le64(*extra);
    *extra += 8;
    *left -= 8;
    return true;
}

static bool apply_zip64(es_zip_entry *entry, const uint8_t *extra, size_t size) {
    if (entry->size != 0xffffffffu && entry->payload_size != 0xffffffffu &&
        entry->header != 0xffffffffu) {
        return true;
    }
    while (size >= 4) {
        size_t length = es_le16(extra + 2);
        if (length > size - 4) return false;
        if (es_le16(extra) == 1) {
            const uint8_t *p = extra + 4;
            return widen(&entry->size, &p, &length) && widen(&entry->payload_size, &p, &length) &&
                   widen(&entry->header, &p, &length);
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return true; /* exactly 4 GiB - 1 and no extra field: taken as it stands */
}

static esrgan_status locate_payload(const es_source *s, es_zip_entry *e, uint64_t limit) {
    const uint8_t *data = s->bytes->data;
    if (limit < LOCAL_SIZE || e->header > limit - LOCAL_SIZE ||
        es_le32(data + e->header) != SIG_LOCAL) {
        return es_source_fail(s, ESRGAN_E_CORRUPT, "entry '%.*s': no local header at offset %llu",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)e->header);
    }
    const uint8_t *local = data + e->header;
    size_t name_size = es_le16(local + 26), extra_size = es_le16(local + 28);
    uint64_t room = limit - e->header - LOCAL_SIZE;
    if (name_size + extra_size > room || e->payload_size > room - name_size - extra_size) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "entry '%.*s': %llu bytes at offset %llu run into the directory",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)e->payload_size,
                              (unsigned long long)e->header);
    }
    if (es_compare_bytes(local + LOCAL_SIZE, name_size, e->name, e->name_size) != 0) {
        return es_source_fail(
            s, ESRGAN_E_CORRUPT, "entry '%.*s' is called '%.*s' in its local header",
            ES_SHOWN(e->name, e->name_size), ES_SHOWN(local + LOCAL_SIZE, name_size));
    }
    e->payload = local + LOCAL_SIZE + name_size + extra_size;
    return ESRGAN_OK;
}

static esrgan_status read_entry(const es_source *s, const uint8_t *p, size_t left, uint64_t limit,
                                es_zip_entry *e, size_t *used) {
    if (left < CENTRAL_SIZE || es_le32(p) != SIG_CENTRAL) {
        return es_source_fail(s, ESRGAN_E_CORRUPT, "the zip directory is broken at offset %zu",
                              (size_t)(p - s->bytes->data));
    }
    size_t name = es_le16(p + 28), extra = es_le16(p + 30), comment = es_le16(p + 32);
    if (name + extra + comment > left - CENTRAL_SIZE) {
        return es_source_fail(s, ESRGAN_E_CORRUPT, "the zip directory ends inside an entry");
    }
    e->flags = es_le16(p + 8);
    e->method = es_le16(p + 10);
    e->crc = es_le32(p + 16);
    e->payload_size = es_le32(p + 20);
    e->size = es_le32(p + 24);
    e->header = es_le32(p + 42);
    e->name = p + CENTRAL_SIZE;
    e->name_size = name;
    *used = CENTRAL_SIZE + name + extra + comment;
    if (!apply_zip64(e, e->name + name, extra)) {
        return es_source_fail(s, ESRGAN_E_CORRUPT, "entry '%.*s': its zip64 field is too short",
                              ES_SHOWN(e->name, e->name_size));
    }
    return locate_payload(s, e, limit);
}

static int by_name(const void *context, uint32_t a, uint32_t b) {
    const es_zip_entry *x = (const es_zip_entry *)context + a;
    const es_zip_entry *y = (const es_zip_entry *)context + b;
    return es_compare_bytes(x->name, x->name_size, y->name, y->name_size);
}

static int by_offset(const void *context, uint32_t a, uint32_t b) {
    const es_zip_entry *x = (const es_zip_entry *)context + a;
    const es_zip_entry *y = (const es_zip_entry *)context + b;
    return x->header < y->header ? -1 : x->header > y->header;
}

static esrgan_status check_overlaps(es_zip *zip, const es_source *s) {
    es_sort(zip->by_name, zip->count, by_offset, zip->entries);
    for (size_t i = 1; i < zip->count; i++) {
        const es_zip_entry *a = &zip->entries[zip->by_name[i - 1]];
        const es_zip_entry *b = &zip->entries[zip->by_name[i]];
        if (a->payload + a->payload_size > s->bytes->data + b->header) {
            return es_source_fail(s, ESRGAN_E_CORRUPT, "entries '%.*s' and '%.*s' overlap",
                                  ES_SHOWN(a->name, a->name_size), ES_SHOWN(b->name, b->name_size));
        }
    }
    return ESRGAN_OK;
}

static esrgan_status check_duplicates(es_zip *zip, const es_source *s) {
    es_sort(zip->by_name, zip->count, by_name, zip->entries);
    for (size_t i = 1; i < zip->count; i++) {
        if (by_name(zip->entries, zip->by_name[i - 1], zip->by_name[i]) == 0) {
            const es_zip_entry *e = &zip->entries[zip->by_name[i]];
            return es_source_fail(s, ESRGAN_E_CORRUPT, "two entries are called '%.*s'",
                                  ES_SHOWN(e->name, e->name_size));
        }
    }
    return ESRGAN_OK;
}

static esrgan_status read_directory(es_zip *zip, const es_source *s, const directory *dir) {
    zip->count = (size_t)dir->count;
    if (zip->count == 0) return ESRGAN_OK;
    zip->entries = es_calloc(&s->meter->allocator, zip->count, sizeof *zip->entries);
    zip->by_name = es_calloc(&s->meter->allocator, zip->count, sizeof *zip->by_name);
    if (zip->entries == NULL || zip->by_name == NULL) return es_source_no_memory(s);
    const uint8_t *p = s->bytes->data + dir->offset;
    size_t left = (size_t)dir->size;
    for (size_t i = 0; i < zip->count; i++) {
        size_t used = 0;
        esrgan_status status = read_entry(s, p, left, dir->offset, &zip->entries[i], &used);
        if (status != ESRGAN_OK) return status;
        zip->by_name[i] = (uint32_t)i;
        p += used;
        left -= used;
    }
    esrgan_status status = check_overlaps(zip, s);
    return status != ESRGAN_OK ? status : check_duplicates(zip, s);
}

esrgan_status es_zip_open(es_zip *zip, const es_source *source) {
    memset(zip, 0, sizeof *zip);
    directory dir = {0};
    esrgan_status status = read_end(source, &dir);
    if (status == ESRGAN_OK) status = read_directory(zip, source, &dir);
    if (status != ESRGAN_OK) es_zip_close(zip, source);
    return status;
}

void es_zip_close(es_zip *zip, const es_source *source) {
    const esrgan_allocator *a = &source->meter->allocator;
    for (size_t i = 0; zip->entries != NULL && i < zip->count; i++) {
        es_free(a, zip->entries[i].inflated, (size_t)zip->entries[i].size);
    }
    es_free(a, zip->entries, zip->count * sizeof *zip->entries);
    es_free(a, zip->by_name, zip->count * sizeof *zip->by_name);
    memset(zip, 0, sizeof *zip);
}

es_zip_entry *es_zip_find(const es_zip *zip, const void *folder, size_t folder_size,
                          const void *name, size_t name_size) {
    size_t low = 0, high = zip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        es_zip_entry *e = &zip->entries[zip->by_name[middle]];
        size_t head = e->name_size < folder_size ? e->name_size : folder_size;
        int order = es_compare_bytes(folder, folder_size, e->name, head);
        if (order == 0) {
            order = es_compare_bytes(name, name_size, e->name + head, e->name_size - head);
        }
        if (order == 0) return e;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static esrgan_status wrong_checksum(const es_zip_entry *e, const es_source *s, uint32_t found) {
    return es_source_fail(s, ESRGAN_E_CORRUPT, "entry '%.*s': CRC-32 is %08lx, expected %08lx",
                          ES_SHOWN(e->name, e->name_size), (unsigned long)found,
                          (unsigned long)e->crc);
}

static esrgan_status check_method(const es_zip_entry *e, const es_source *s) {
    if (e->flags & FLAG_ENCRYPTED) {
        return es_source_fail(s, ESRGAN_E_UNSUPPORTED, "entry '%.*s' is encrypted",
                              ES_SHOWN(e->name, e->name_size));
    }
    if (e->method != METHOD_STORED && e->method != METHOD_DEFLATE) {
        return es_source_fail(s, ESRGAN_E_UNSUPPORTED,
                              "entry '%.*s' is compressed by method %u; only stored (0) and "
                              "deflated (8) entries can be read",
                              ES_SHOWN(e->name, e->name_size), e->method);
    }
    if (e->method == METHOD_STORED && e->size != e->payload_size) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "entry '%.*s' is stored, but its sizes differ: %llu and %llu bytes",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)e->size,
                              (unsigned long long)e->payload_size);
    }
    if (e->method == METHOD_DEFLATE && e->size / DEFLATE_BEST > e->payload_size + SLACK) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "entry '%.*s' claims that %llu bytes inflate to %llu",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)e->payload_size,
                              (unsigned long long)e->size);
    }
    return ESRGAN_OK;
}

/* zlib's release function is not told the size, so it lies before the block. */
static voidpf zlib_alloc(voidpf context, uInt items, uInt size) {
    size_t bytes;
    if (!es_mul(items, size, &bytes) || !es_add(bytes, ES_ALIGN, &bytes)) return NULL;
    uint8_t *block = es_alloc(context, bytes);
    if (block == NULL) return NULL;
    memcpy(block, &bytes, sizeof bytes);
    return block + ES_ALIGN;
}

static void zlib_free(voidpf context, voidpf pointer) {
    uint8_t *block = (uint8_t *)pointer - ES_ALIGN;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    es_free(context, block, bytes);
}

static uInt at_most(uint64_t size) { return size < (1u << 30) ? (uInt)size : 1u << 30; }

static uint32_t crc_of(uint32_t crc, const uint8_t *data, uint64_t size) {
    while (size > 0) {
        uInt part = at_most(size);
        crc = (uint32_t)crc32(crc, data, part);
        data += part;
        size -= part;
    }
    return crc;
}

/* Inflates an entry to `to`, or (NULL) only looks at what would come out. */
static esrgan_status inflate_entry(const es_zip_entry *e, const es_source *s, uint8_t *to) {
    uint8_t scratch[16384];
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    z.opaque = &s->meter->allocator;
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return es_source_no_memory(s);
    const uint8_t *in = e->payload;
    uint64_t in_left = e->payload_size, done = 0;
    uint32_t crc = 0;
    int result = Z_OK;
    while (result == Z_OK) {
        if (z.avail_in == 0 && in_left > 0) {
            z.next_in = (z_const Bytef *)in;
            z.avail_in = at_most(in_left);
            in += z.avail_in;
            in_left -= z.avail_in;
        }
        /* One byte more than expected is offered at the end, to see whether it is used. */
        bool whole = to != NULL && done < e->size;
        uint8_t *target = whole ? to + done : scratch;
        uInt room = whole ? at_most(e->size - done) : (uInt)sizeof scratch;
        z.next_out = target;
        z.avail_out = room;
        result = inflate(&z, Z_NO_FLUSH);
        uInt made = room - z.avail_out;
        crc = crc_of(crc, target, made);
        done += made;
        if (done > e->size) break;
    }
    inflateEnd(&z);
    if (result == Z_MEM_ERROR) return es_source_no_memory(s);
    if (result != Z_STREAM_END || done != e->size) {
        return es_source_fail(s, ESRGAN_E_CORRUPT,
                              "entry '%.*s': broken deflate data (%llu bytes came out, expected "
                              "%llu)",
                              ES_SHOWN(e->name, e->name_size), (unsigned long long)done,
                              (unsigned long long)e->size);
    }
    return crc == e->crc ? ESRGAN_OK : wrong_checksum(e, s, crc);
}

esrgan_status es_zip_content(es_zip_entry *e, const es_source *s, const uint8_t **data) {
    esrgan_status status = check_method(e, s);
    if (status != ESRGAN_OK) return status;
    if (e->method == METHOD_STORED || e->size == 0) {
        *data = e->payload;
        return ESRGAN_OK;
    }
    if (e->inflated == NULL) {
        uint8_t *buffer =
            e->size > SIZE_MAX ? NULL : es_alloc(&s->meter->allocator, (size_t)e->size);
        if (buffer == NULL) return es_source_no_memory(s);
        status = inflate_entry(e, s, buffer);
        if (status != ESRGAN_OK) {
            es_free(&s->meter->allocator, buffer, (size_t)e->size);
            return status;
        }
        e->inflated = buffer;
    }
    *data = e->inflated;
    return ESRGAN_OK;
}

esrgan_status es_zip_verify(const es_zip_entry *e, const es_source *s) {
    esrgan_status status = check_method(e, s);
    if (status != ESRGAN_OK) return status;
    if (e->method == METHOD_DEFLATE) return inflate_entry(e, s, NULL);
    uint32_t crc = crc_of(0, e->payload, e->payload_size);
    return crc == e->crc ? ESRGAN_OK : wrong_checksum(e, s, crc);
}
