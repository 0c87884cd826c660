/*
 * .npz files: zip archives, written stored and with zip64 records so that any size fits; read stored
 * or deflated.
 */
#ifndef NPZ_H
#define NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files.h"

/* ---- Writing ---- */

typedef struct npz_entry {
    char *name;
    uint64_t offset, size;
    uint32_t crc;
} npz_entry;

typedef struct npz_writer {
    file_out out;
    uint64_t written;
    npz_entry *entries;
    size_t count, room;
} npz_writer;

bool npz_create(npz_writer *npz, const char *path);

/* Adds one entry whose bytes are `head` and then `body`. */
bool npz_add(npz_writer *npz, const char *name, const void *head, size_t head_size,
             const void *body, size_t body_size);

/* Writes the directory and puts the file in its place.  The writer is released in any case. */
bool npz_commit(npz_writer *npz);
void npz_abandon(npz_writer *npz);

/* ---- Reading ---- */

typedef struct npz_member {
    const char *name; /* of name_size bytes, not zero-terminated */
    size_t name_size;
    uint64_t offset; /* of the local header */
    uint64_t packed, size;
    int method; /* 0 stored, 8 deflated */
    uint32_t crc;
} npz_member;

/* A file mapped into memory. */
typedef struct mapped_file {
    const uint8_t *data;
    size_t size;
} mapped_file;

bool map_file(mapped_file *file, const char *path);
void unmap_file(mapped_file *file);

typedef struct npz_reader {
    const char *path; /* for messages; must live as long */
    mapped_file file;
    npz_member *members;
    size_t count;
} npz_reader;

/* Where these say false they have complained, naming the file. */
bool npz_open(npz_reader *npz, const char *path);
void npz_close(npz_reader *npz);

/* The member of that name, or NULL (no complaint). */
const npz_member *npz_find(const npz_reader *npz, const char *name);

/* A member's bytes: in place where it is stored (*owned is NULL), else inflated to memory that
 * *owned points to, the caller's to free.  `size` bytes in either case. */
const uint8_t *npz_bytes(const npz_reader *npz, const npz_member *member, void **owned);

#endif
