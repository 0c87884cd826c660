/* A file is mapped, or read into memory where the caller cannot trust it to stay as it is. */
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

/* A callback or read() is never asked for more at a time. */
#define CHUNK ((size_t)1 << 30)

static esrgan_status no_memory(esrgan_error *error, const char *name) {
    return es_fail(error, ESRGAN_E_MEMORY, "%s: out of memory", name);
}

/* Names the bytes, and makes room for a copy of `size` bytes where one is wanted. */
static esrgan_status prepare(es_bytes *out, const char *name, uint64_t size, bool copy,
                             uint64_t limit, const esrgan_allocator *a, esrgan_error *error) {
    if (size > SIZE_MAX || size > PTRDIFF_MAX) {
        return es_fail(error, ESRGAN_E_LIMIT, "%s: %llu bytes do not fit into the address space",
                       name, (unsigned long long)size);
    }
    if (copy && limit != 0 && size > limit) {
        return es_fail(error, ESRGAN_E_LIMIT,
                       "%s: a copy of %llu bytes would pass the limit of %llu bytes", name,
                       (unsigned long long)size, (unsigned long long)limit);
    }
    out->size = (size_t)size;
    out->name = es_strdup(a, name);
    if (out->name == NULL) return no_memory(error, name);
    if (copy && size > 0) {
        out->copy = es_alloc(a, (size_t)size);
        if (out->copy == NULL) return no_memory(error, name);
        out->data = out->copy;
    }
    return ESRGAN_OK;
}

static esrgan_status read_all(int fd, uint8_t *to, size_t size, const char *name,
                              esrgan_error *error) {
    size_t done = 0;
    while (done < size) {
        size_t want = size - done < CHUNK ? size - done : CHUNK;
        ssize_t got = read(fd, to + done, want);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            return es_fail(error, ESRGAN_E_IO, "%s: cannot read: %s", name, strerror(errno));
        }
        if (got == 0) {
            return es_fail(error, ESRGAN_E_IO, "%s: became shorter while it was read", name);
        }
        done += (size_t)got;
    }
    return ESRGAN_OK;
}

static esrgan_status map(es_bytes *out, int fd, const char *name, esrgan_error *error) {
    void *mapping = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
        return es_fail(error, ESRGAN_E_IO, "%s: cannot map: %s", name, strerror(errno));
    }
    out->mapping = mapping;
    out->data = mapping;
    return ESRGAN_OK;
}

static esrgan_status from_descriptor(es_bytes *out, int fd, const char *path, bool copy,
                                     uint64_t limit, const esrgan_allocator *a,
                                     esrgan_error *error) {
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return es_fail(error, ESRGAN_E_IO, "%s: cannot stat: %s", path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return es_fail(error, ESRGAN_E_IO, "%s: is a directory, expected a file", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return es_fail(error, ESRGAN_E_IO,
                       "%s: is not a regular file (pipes and devices cannot be mapped)", path);
    }
    esrgan_status status = prepare(out, path, (uint64_t)info.st_size, copy, limit, a, error);
    if (status != ESRGAN_OK || out->size == 0) return status;
    return copy ? read_all(fd, out->copy, out->size, path, error) : map(out, fd, path, error);
}

esrgan_status es_bytes_open_file(es_bytes *out, const char *path, bool copy, uint64_t limit,
                                 const esrgan_allocator *a, esrgan_error *error) {
    memset(out, 0, sizeof *out);
    if (path == NULL) return es_fail(error, ESRGAN_E_ARGUMENT, "the path is NULL");
    /* Without O_NONBLOCK opening a pipe would wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return es_fail(error, ESRGAN_E_IO, "%s: cannot open: %s", path, strerror(errno));
    }
    esrgan_status status = from_descriptor(out, fd, path, copy, limit, a, error);
    close(fd);
    if (status != ESRGAN_OK) es_bytes_close(out, a);
    return status;
}

esrgan_status es_bytes_open_memory(es_bytes *out, const void *data, size_t size, const char *name,
                                   bool copy, uint64_t limit, const esrgan_allocator *a,
                                   esrgan_error *error) {
    memset(out, 0, sizeof *out);
    if (name == NULL) name = "(memory)";
    if (data == NULL && size > 0) {
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: the data is NULL", name);
    }
    esrgan_status status = prepare(out, name, size, copy, limit, a, error);
    if (status != ESRGAN_OK) {
        es_bytes_close(out, a);
        return status;
    }
    if (out->copy != NULL) {
        memcpy(out->copy, data, size);
    } else {
        out->data = data;
    }
    return ESRGAN_OK;
}

esrgan_status es_bytes_open_reader(es_bytes *out, const esrgan_reader *reader, const char *name,
                                   uint64_t limit, const esrgan_allocator *a, esrgan_error *error) {
    memset(out, 0, sizeof *out);
    if (name == NULL) name = "(callbacks)";
    if (reader == NULL || reader->read == NULL) {
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: the reader or its read function is NULL",
                       name);
    }
    esrgan_status status = prepare(out, name, reader->size, true, limit, a, error);
    for (size_t done = 0; status == ESRGAN_OK && done < out->size;) {
        size_t want = out->size - done < CHUNK ? out->size - done : CHUNK;
        if (reader->read(reader->context, done, (uint8_t *)out->copy + done, want) != 0) {
            status = es_fail(error, ESRGAN_E_IO,
                             "%s: the read callback failed at offset %zu (%zu bytes wanted)", name,
                             done, want);
        }
        done += want;
    }
    if (status != ESRGAN_OK) es_bytes_close(out, a);
    return status;
}

void es_bytes_close(es_bytes *bytes, const esrgan_allocator *a) {
    if (bytes->mapping != NULL) munmap(bytes->mapping, bytes->size);
    es_free(a, bytes->copy, bytes->size);
    if (bytes->name != NULL) es_free(a, bytes->name, strlen(bytes->name) + 1);
    memset(bytes, 0, sizeof *bytes);
}
