#include "npz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "command.h"

enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    END_SIGNATURE = 0x06054b50,
    END64_SIGNATURE = 0x06064b50,
    LOCATOR64_SIGNATURE = 0x07064b50,
    DOS_DATE = 0x0021 /* the first of January 1980: equal traces make equal files */
};

/* ---- Writing ---- */

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *at++ = (uint8_t)(value >> 8 * i);
    return at;
}

static void emit(npz_writer *npz, const void *data, size_t size) {
    if (size > 0) fwrite(data, 1, size, npz->out.stream); /* failures show at the commit */
    npz->written += size;
}

bool npz_create(npz_writer *npz, const char *path) {
    *npz = (npz_writer){0};
    return file_create(&npz->out, path);
}

static uint32_t checksum(uint32_t crc, const void *data, size_t size) {
    const uint8_t *p = data;
    while (size > 0) {
        uInt step = size > 1u << 30 ? 1u << 30 : (uInt)size;
        crc = (uint32_t)crc32(crc, p, step);
        p += step;
        size -= step;
    }
    return crc;
}

bool npz_add(npz_writer *npz, const char *name, const void *head, size_t head_size,
             const void *body, size_t body_size) {
    if (npz->count == npz->room) {
        size_t room = npz->room ? 2 * npz->room : 64;
        npz_entry *grown = realloc(npz->entries, room * sizeof *grown);
        if (!grown) {
            complain("out of memory");
            return false;
        }
        npz->entries = grown;
        npz->room = room;
    }
    npz_entry *entry = &npz->entries[npz->count];
    *entry = (npz_entry){.name = text_format("%s", name), .offset = npz->written};
    if (!entry->name) return false;
    npz->count++;
    entry->size = (uint64_t)head_size + body_size;
    entry->crc = checksum(checksum(0, head, head_size), body, body_size);
    uint8_t header[64], *at = header;
    at = put(at, LOCAL_SIGNATURE, 4);
    at = put(at, 45, 2);
    at = put(at, 0x0800, 2); /* names are UTF-8 */
    at = put(at, 0, 2);
    at = put(at, 0, 2);
    at = put(at, DOS_DATE, 2);
    at = put(at, entry->crc, 4);
    at = put(at, 0xffffffff, 4);
    at = put(at, 0xffffffff, 4);
    at = put(at, strlen(name), 2);
    at = put(at, 20, 2);
    emit(npz, header, (size_t)(at - header));
    emit(npz, name, strlen(name));
    at = put(header, 1, 2);
    at = put(at, 16, 2);
    at = put(at, entry->size, 8);
    at = put(at, entry->size, 8);
    emit(npz, header, (size_t)(at - header));
    emit(npz, head, head_size);
    emit(npz, body, body_size);
    if (!ferror(npz->out.stream)) return true;
    complain("%s: writing failed: %s", npz->out.path, strerror(errno));
    return false;
}

static void emit_central(npz_writer *npz, const npz_entry *entry) {
    uint8_t header[64], *at = header;
    at = put(at, CENTRAL_SIGNATURE, 4);
    at = put(at, 45, 2);
    at = put(at, 45, 2);
    at = put(at, 0x0800, 2);
    at = put(at, 0, 2);
    at = put(at, 0, 2);
    at = put(at, DOS_DATE, 2);
    at = put(at, entry->crc, 4);
    at = put(at, 0xffffffff, 4);
    at = put(at, 0xffffffff, 4);
    at = put(at, strlen(entry->name), 2);
    at = put(at, 28, 2);
    at = put(at, 0, 2);
    at = put(at, 0, 2);
    at = put(at, 0, 2);
    at = put(at, 0, 4);
    at = put(at, 0xffffffff, 4);
    emit(npz, header, (size_t)(at - header));
    emit(npz, entry->name, strlen(entry->name));
    at = put(header, 1, 2);
    at = put(at, 24, 2);
    at = put(at, entry->size, 8);
    at = put(at, entry->size, 8);
    at = put(at, entry->offset, 8);
    emit(npz, header, (size_t)(at - header));
}

static void release(npz_writer *npz) {
    for (size_t i = 0; i < npz->count; i++) free(npz->entries[i].name);
    free(npz->entries);
    npz->entries = NULL;
    npz->count = npz->room = 0;
}

bool npz_commit(npz_writer *npz) {
    uint64_t start = npz->written;
    for (size_t i = 0; i < npz->count; i++) emit_central(npz, &npz->entries[i]);
    uint64_t size = npz->written - start, end = npz->written;
    uint8_t records[128], *at = records;
    at = put(at, END64_SIGNATURE, 4);
    at = put(at, 44, 8);
    at = put(at, 45, 2);
    at = put(at, 45, 2);
    at = put(at, 0, 8);
    at = put(at, npz->count, 8);
    at = put(at, npz->count, 8);
    at = put(at, size, 8);
    at = put(at, start, 8);
    at = put(at, LOCATOR64_SIGNATURE, 4);
    at = put(at, 0, 4);
    at = put(at, end, 8);
    at = put(at, 1, 4);
    at = put(at, END_SIGNATURE, 4);
    at = put(at, 0, 4);
    at = put(at, npz->count < 0xffff ? npz->count : 0xffff, 2);
    at = put(at, npz->count < 0xffff ? npz->count : 0xffff, 2);
    at = put(at, size < 0xffffffff ? size : 0xffffffff, 4);
    at = put(at, start < 0xffffffff ? start : 0xffffffff, 4);
    at = put(at, 0, 2);
    emit(npz, records, (size_t)(at - records));
    release(npz);
    return file_commit(&npz->out);
}

void npz_abandon(npz_writer *npz) {
    release(npz);
    file_abandon(&npz->out);
}

/* ---- Reading ---- */

bool map_file(mapped_file *file, const char *path) {
    *file = (mapped_file){0};
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &about) == 0;
    if (good && about.st_size > 0) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        good = data != MAP_FAILED;
        if (good) *file = (mapped_file){data, (size_t)about.st_size};
    }
    if (!good) complain("%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return good;
}

void unmap_file(mapped_file *file) {
    if (file->data) munmap((void *)(uintptr_t)file->data, file->size);
    *file = (mapped_file){0};
}

static uint64_t get(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

/* Where the directory lies: its offset, size and number of entries. */
static bool find_directory(const npz_reader *npz, uint64_t *start, uint64_t *size,
                           uint64_t *count) {
    const uint8_t *data = npz->file.data;
    size_t total = npz->file.size, at = total;
    if (total < 22) return false;
    size_t lowest = total > 65557 ? total - 65557 : 0;
    for (at = total - 22;; at--) {
        if (get(data + at, 4) == END_SIGNATURE) break;
        if (at == lowest) return false;
    }
    *count = get(data + at + 10, 2);
    *size = get(data + at + 12, 4);
    *start = get(data + at + 16, 4);
    if (at >= 20 && get(data + at - 20, 4) == LOCATOR64_SIGNATURE) {
        uint64_t end64 = get(data + at - 12, 8);
        if (end64 > total || total - end64 < 56 || get(data + end64, 4) != END64_SIGNATURE)
            return false;
        *count = get(data + end64 + 32, 8);
        *size = get(data + end64 + 40, 8);
        *start = get(data + end64 + 48, 8);
    }
    return *start <= total && *size <= total - *start && *count <= *size / 46;
}

/* 64-bit figures from the extra field of a central record, in the order that the format says. */
static void read_zip64(npz_member *m, const uint8_t *extra, size_t size) {
    while (size >= 4) {
        size_t length = (size_t)get(extra + 2, 2);
        if (length > size - 4) return;
        if (get(extra, 2) == 1) {
            uint64_t *figures[3] = {&m->size, &m->packed, &m->offset};
            const uint8_t *p = extra + 4, *end = p + length;
            for (int i = 0; i < 3; i++)
                if (*figures[i] == 0xffffffff && end - p >= 8) {
                    *figures[i] = get(p, 8);
                    p += 8;
                }
            return;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
}

static bool read_directory(npz_reader *npz) {
    uint64_t start, size, count;
    if (!find_directory(npz, &start, &size, &count)) {
        complain("%s: truncated or damaged .npz: the zip directory at its end is not there",
                 npz->path);
        return false;
    }
    npz->members = allocate((size_t)count + 1, sizeof *npz->members);
    if (!npz->members) return false;
    const uint8_t *at = npz->file.data + start, *end = at + size;
    for (; npz->count < count; npz->count++) {
        npz_member *m = &npz->members[npz->count];
        if (end - at < 46 || get(at, 4) != CENTRAL_SIGNATURE) break;
        size_t name = (size_t)get(at + 28, 2), extra = (size_t)get(at + 30, 2),
               comment = (size_t)get(at + 32, 2);
        if ((size_t)(end - at) < 46 + name + extra + comment) break;
        m->method = (int)get(at + 10, 2);
        m->crc = (uint32_t)get(at + 16, 4);
        m->packed = get(at + 20, 4);
        m->size = get(at + 24, 4);
        m->offset = get(at + 42, 4);
        m->name = (const char *)at + 46;
        m->name_size = name;
        read_zip64(m, at + 46 + name, extra);
        at += 46 + name + extra + comment;
    }
    if (npz->count == count) return true;
    complain("%s: damaged .npz: entry %zu of its directory makes no sense", npz->path, npz->count);
    return false;
}

bool npz_open(npz_reader *npz, const char *path) {
    *npz = (npz_reader){.path = path};
    if (!map_file(&npz->file, path)) return false;
    if (read_directory(npz)) return true;
    npz_close(npz);
    return false;
}

void npz_close(npz_reader *npz) {
    free(npz->members);
    npz->members = NULL;
    unmap_file(&npz->file);
}

const npz_member *npz_find(const npz_reader *npz, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < npz->count; i++)
        if (npz->members[i].name_size == size && memcmp(npz->members[i].name, name, size) == 0)
            return &npz->members[i];
    return NULL;
}

static bool inflate_all(const uint8_t *from, uint64_t packed, uint8_t *to, uint64_t size) {
    z_stream z = {0};
    if (inflateInit2(&z, -15) != Z_OK) return false;
    int code = Z_OK;
    while (code == Z_OK) {
        if (z.avail_in == 0 && packed > 0) {
            z.next_in = (Bytef *)(uintptr_t)from;
            z.avail_in = packed > 1u << 30 ? 1u << 30 : (uInt)packed;
            from += z.avail_in;
            packed -= z.avail_in;
        }
        if (z.avail_out == 0 && size > 0) {
            z.next_out = to;
            z.avail_out = size > 1u << 30 ? 1u << 30 : (uInt)size;
            to += z.avail_out;
            size -= z.avail_out;
        }
        code = inflate(&z, Z_NO_FLUSH);
    }
    bool good = code == Z_STREAM_END && z.avail_out == 0 && size == 0;
    inflateEnd(&z);
    return good;
}

const uint8_t *npz_bytes(const npz_reader *npz, const npz_member *m, void **owned) {
    const uint8_t *data = npz->file.data;
    size_t total = npz->file.size;
    int shown = (int)m->name_size;
    *owned = NULL;
    bool good = m->offset <= total && total - m->offset >= 30 &&
                get(data + m->offset, 4) == LOCAL_SIGNATURE;
    uint64_t start =
        good ? m->offset + 30 + get(data + m->offset + 26, 2) + get(data + m->offset + 28, 2) : 0;
    good = good && start <= total && m->packed <= total - start;
    if (!good) {
        complain("%s: damaged .npz: entry %.*s lies outside the file", npz->path, shown, m->name);
        return NULL;
    }
    if (m->method == 0 && m->packed == m->size) {
        data += start;
    } else if (m->method == 8 && m->size / 1100 <= m->packed) { /* deflate's best is 1032 : 1 */
        *owned = malloc((size_t)m->size + 1);
        if (!*owned) {
            complain("out of memory");
            return NULL;
        }
        good = inflate_all(data + start, m->packed, *owned, m->size);
        data = *owned;
    } else {
        good = false;
    }
    if (good && checksum(0, data, (size_t)m->size) == m->crc) return data;
    complain("%s: damaged .npz: entry %.*s does not %s", npz->path, shown, m->name,
             good ? "match its checksum" : "unpack");
    free(*owned);
    *owned = NULL;
    return NULL;
}
