#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "progress.h"

void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) complain("out of memory (%zu bytes asked for)", count * size);
    return memory;
}

static const char *reading_name(const char *path) {
    return strcmp(path, "-") ? path : "standard input";
}

static bool read_stream(FILE *from, const char *path, file_bytes *bytes) {
    size_t room = 0;
    for (;;) {
        if (bytes->size == room) {
            room = room ? room + room / 2 : 1 << 16;
            uint8_t *larger = realloc(bytes->data, room);
            if (!larger) {
                complain("%s: out of memory", reading_name(path));
                return false;
            }
            bytes->data = larger;
        }
        size_t got = fread(bytes->data + bytes->size, 1, room - bytes->size, from);
        bytes->size += got;
        if (got) continue;
        if (!ferror(from)) return true;
        complain("%s: reading failed: %s", reading_name(path), strerror(errno));
        return false;
    }
}

bool file_read(const char *path, file_bytes *bytes) {
    bytes->data = NULL;
    bytes->size = 0;
    bool piped = !strcmp(path, "-");
    FILE *from = piped ? stdin : fopen(path, "rb");
    if (!from) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    bool good = read_stream(from, path, bytes);
    if (!piped) fclose(from);
    if (!good) file_bytes_free(bytes);
    return good;
}

void file_bytes_free(file_bytes *bytes) {
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}

/* "DIR/.esrgan-PID-N.tmp": short, so that a long target name does not make it too long. */
static char *temporary_name(const char *path) {
    static atomic_uint counter;
    const char *name = path_name(path);
    return text_format("%.*s.esrgan-%ld-%u.tmp", (int)(name - path), path, (long)getpid(),
                       atomic_fetch_add(&counter, 1));
}

bool file_create(file_out *out, const char *path) {
    out->path = path;
    out->temporary = NULL;
    out->stream = NULL;
    if (!strcmp(path, "-")) {
        out->stream = stdout;
        return true;
    }
    struct stat there;
    bool exists = stat(path, &there) == 0;
    if (exists && S_ISDIR(there.st_mode)) {
        complain("%s: is a folder", path);
        return false;
    }
    if (exists && !S_ISREG(there.st_mode)) {
        out->stream = fopen(path, "wb");
        if (!out->stream) complain("%s: %s", path, strerror(errno));
        return out->stream != NULL;
    }
    out->temporary = temporary_name(path);
    if (!out->temporary) return false;
    int descriptor = open(out->temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (descriptor >= 0) {
        interrupt_guard(out->temporary);
        out->stream = fdopen(descriptor, "wb");
    }
    if (out->stream) return true;
    complain("%s: cannot be written: %s", path, strerror(errno));
    if (descriptor >= 0) close(descriptor);
    file_abandon(out);
    return false;
}

bool file_commit(file_out *out) {
    bool good = !ferror(out->stream) && fflush(out->stream) == 0;
    int why = errno;
    if (out->stream != stdout && fclose(out->stream) != 0 && good) {
        good = false;
        why = errno;
    }
    out->stream = NULL;
    if (good && out->temporary && rename(out->temporary, out->path) != 0) {
        good = false;
        why = errno;
    }
    if (!good) {
        complain("%s: writing failed: %s", strcmp(out->path, "-") ? out->path : "standard output",
                 strerror(why));
        file_abandon(out);
        return false;
    }
    interrupt_guard(NULL);
    free(out->temporary);
    out->temporary = NULL;
    return true;
}

void file_abandon(file_out *out) {
    if (out->stream && out->stream != stdout) fclose(out->stream);
    out->stream = NULL;
    if (out->temporary) unlink(out->temporary);
    interrupt_guard(NULL);
    free(out->temporary);
    out->temporary = NULL;
}

char *text_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) {
        complain("out of memory");
        text = NULL;
    }
    va_end(arguments);
    return text;
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    bool slash = length && folder[length - 1] == '/';
    return text_format("%s%s%s", folder, slash ? "" : "/", name);
}

const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *path_extension(const char *path) {
    const char *name = path_name(path), *dot = strrchr(name, '.');
    return dot && dot != name ? dot + 1 : "";
}

bool is_folder(const char *path) {
    struct stat there;
    return stat(path, &there) == 0 && S_ISDIR(there.st_mode);
}

bool is_file(const char *path) {
    struct stat there;
    return stat(path, &there) == 0 && !S_ISDIR(there.st_mode);
}

bool same_file(const char *a, const char *b) {
    struct stat one, two;
    return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

bool make_folders(const char *path) {
    char *partial = strdup(path);
    if (!partial) {
        complain("out of memory");
        return false;
    }
    int failed = 0;
    for (char *c = partial + 1; *partial && !failed; c++) {
        if (*c && *c != '/') continue;
        char kept = *c;
        *c = 0;
        if (mkdir(partial, 0777) != 0 && !is_folder(partial)) failed = errno;
        *c = kept;
        if (!kept) break;
    }
    free(partial);
    if (failed) complain("%s: folder cannot be made: %s", path, strerror(failed));
    return !failed;
}

bool file_list_add(file_list *list, char *owned) {
    if (!owned) return false;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        char **larger = realloc(list->items, room * sizeof *larger);
        if (!larger) {
            complain("out of memory");
            free(owned);
            return false;
        }
        list->items = larger;
        list->room = room;
    }
    list->items[list->count++] = owned;
    return true;
}

void file_list_free(file_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `below` is the path from the folder asked for to the one being listed: "" or "x/y". */
static bool list_below(file_list *list, const char *folder, const char *below, bool recursive,
                       bool (*wanted)(const char *name)) {
    char *here = *below ? path_join(folder, below) : strdup(folder);
    DIR *open_folder = here ? opendir(here) : NULL;
    bool good = open_folder != NULL;
    if (!good) complain("%s: %s", here ? here : folder, strerror(errno));
    for (struct dirent *entry; good && (entry = readdir(open_folder));) {
        if (entry->d_name[0] == '.') continue;
        char *name = *below ? path_join(below, entry->d_name) : strdup(entry->d_name);
        char *full = name ? path_join(folder, name) : NULL;
        if (!full) good = false;
        struct stat there;
        /* Links to folders are not followed: they can lead in a circle. */
        if (good && recursive && lstat(full, &there) == 0 && S_ISDIR(there.st_mode))
            good = list_below(list, folder, name, true, wanted);
        else if (good && is_file(full) && wanted(name)) {
            good = file_list_add(list, name);
            name = NULL;
        }
        free(name);
        free(full);
    }
    if (open_folder) closedir(open_folder);
    free(here);
    return good;
}

bool file_list_folder(file_list *list, const char *folder, bool recursive,
                      bool (*wanted)(const char *name)) {
    size_t before = list->count;
    bool good = list_below(list, folder, "", recursive, wanted);
    if (list->count > before)
        qsort(list->items + before, list->count - before, sizeof *list->items, by_name);
    return good;
}

char *program_folder(void) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = 0;
    return strdup(path);
}
