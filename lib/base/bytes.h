/* The bytes of a model: mapped, copied or borrowed, always one contiguous range. */
#ifndef ES_BASE_BYTES_H
#define ES_BASE_BYTES_H

#include <stdint.h>

#include "base/memory.h"
#include "esrgan.h"

typedef struct es_bytes {
    const uint8_t *data;
    size_t size;
    char *name;    /* for messages; owned */
    void *mapping; /* munmap at close, or NULL */
    void *copy;    /* es_free at close, or NULL */
} es_bytes;

/* On failure *out is zeroed and nothing is left open. */
esrgan_status es_bytes_open_file(es_bytes *out, const char *path, bool copy, uint64_t limit,
                                 const esrgan_allocator *a, esrgan_error *error);
esrgan_status es_bytes_open_memory(es_bytes *out, const void *data, size_t size, const char *name,
                                   bool copy, uint64_t limit, const esrgan_allocator *a,
                                   esrgan_error *error);
esrgan_status es_bytes_open_reader(es_bytes *out, const esrgan_reader *reader, const char *name,
                                   uint64_t limit, const esrgan_allocator *a, esrgan_error *error);
void es_bytes_close(es_bytes *bytes, const esrgan_allocator *a);

static inline uint16_t es_le16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t es_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t es_le64(const uint8_t *p) {
    return (uint64_t)es_le32(p) | (uint64_t)es_le32(p + 4) << 32;
}

#endif
