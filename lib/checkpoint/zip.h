/*
 * A zip archive in memory.  Sizes come from the central directory alone; the local headers only
 * say where the payload begins.  Stored entries are used in place.
 */
#ifndef ES_CHECKPOINT_ZIP_H
#define ES_CHECKPOINT_ZIP_H

#include "checkpoint/source.h"

typedef struct es_zip_entry {
    const uint8_t *name; /* not terminated */
    size_t name_size;
    const uint8_t *payload; /* as it lies in the file */
    uint64_t payload_size;
    uint64_t size;     /* uncompressed */
    uint64_t header;   /* offset of the local header */
    uint8_t *inflated; /* of a deflated entry that was asked for */
    uint32_t crc;
    uint16_t method, flags;
} es_zip_entry;

typedef struct es_zip {
    es_zip_entry *entries; /* in the order of the central directory */
    uint32_t *by_name;
    size_t count;
} es_zip;

/* Reads the directory and checks that no two entries share a name or bytes. */
esrgan_status es_zip_open(es_zip *zip, const es_source *source);
void es_zip_close(es_zip *zip, const es_source *source);

/* The entry called `folder` + `name`, or NULL. */
es_zip_entry *es_zip_find(const es_zip *zip, const void *folder, size_t folder_size,
                          const void *name, size_t name_size);

/* The content of an entry: in place where stored, inflated (once) and checked where deflated. */
esrgan_status es_zip_content(es_zip_entry *entry, const es_source *source, const uint8_t **data);

/* Compares the CRC-32 of one entry's content. */
esrgan_status es_zip_verify(const es_zip_entry *entry, const es_source *source);

#endif
