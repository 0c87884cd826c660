/* Files of the command: read whole, written under a temporary name, listed, found. */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where a function says false or NULL it has complained, naming the file. */

/* The whole of a file, or of standard input for "-". */
typedef struct file_bytes {
    uint8_t *data;
    size_t size;
} file_bytes;

bool file_read(const char *path, file_bytes *bytes);
void file_bytes_free(file_bytes *bytes);

/*
 * A file being written.  It lies under a temporary name beside its target until file_commit
 * renames it; file_abandon removes it.  "-" is standard output; devices and pipes are written to
 * directly.
 */
typedef struct file_out {
    FILE *stream;
    const char *path; /* as given; must live until the commit */
    char *temporary;  /* NULL where there is none */
} file_out;

bool file_create(file_out *out, const char *path);
bool file_commit(file_out *out);
void file_abandon(file_out *out);

/* Names.  The results are the caller's to free. */
char *path_join(const char *folder, const char *name);
const char *path_name(const char *path);      /* behind the last slash                  */
const char *path_extension(const char *path); /* "png" of "a/b.png"; "" where none      */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool is_folder(const char *path);
bool is_file(const char *path); /* anything that is there and no folder */
bool same_file(const char *a, const char *b);
bool make_folders(const char *path); /* with its parents */

typedef struct file_list {
    char **items;
    size_t count, room;
} file_list;

bool file_list_add(file_list *list, char *owned);
void file_list_free(file_list *list);

/* Adds what `folder` holds that `wanted` says yes to, sorted by name, hidden files left out; paths
 * are relative to the folder. */
bool file_list_folder(file_list *list, const char *folder, bool recursive,
                      bool (*wanted)(const char *name));

/* The folder this program lies in, or NULL. */
char *program_folder(void);

/* calloc and realloc that complain. */
void *allocate(size_t count, size_t size);

#endif
