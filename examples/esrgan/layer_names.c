#include "layer_names.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"

/* ---- The map ---- */

static char *word(char **at) {
    char *p = *at;
    while (*p == ' ' || *p == '\t' || *p == '=' || *p == '\r') p++;
    char *start = p;
    while (*p && !strchr(" \t=\r", *p)) p++;
    if (*p) *p++ = 0;
    *at = p;
    return *start ? start : NULL;
}

static bool add_pair(name_map *map, char *theirs, char *ours) {
    if (map->count % 64 == 0) {
        size_t bytes = (map->count + 64) * sizeof(char *);
        char **a = realloc(map->theirs, bytes);
        if (a) map->theirs = a;
        char **b = realloc(map->ours, bytes);
        if (b) map->ours = b;
        if (!a || !b) {
            complain("out of memory");
            return false;
        }
    }
    map->theirs[map->count] = theirs;
    map->ours[map->count++] = ours;
    return true;
}

bool name_map_read(name_map *map, const char *path) {
    file_bytes bytes;
    *map = (name_map){0};
    if (!file_read(path, &bytes)) return false;
    map->text = allocate(bytes.size + 1, 1);
    if (map->text) memcpy(map->text, bytes.data, bytes.size);
    file_bytes_free(&bytes);
    bool good = map->text != NULL;
    char *next = map->text;
    for (int line = 1; good && next && *next; line++) {
        char *at = next, *end = strchr(at, '\n');
        next = end ? end + 1 : NULL;
        if (end) *end = 0;
        at[strcspn(at, "#")] = 0;
        char *theirs = word(&at), *ours = theirs ? word(&at) : NULL;
        if (!theirs) continue;
        if (!ours || word(&at)) {
            complain("%s: line %d: expected two names, theirs and ours", path, line);
            good = false;
        } else {
            good = add_pair(map, theirs, ours);
        }
    }
    if (!good) name_map_free(map);
    return good;
}

void name_map_free(name_map *map) {
    free(map->text);
    free(map->theirs);
    free(map->ours);
    *map = (name_map){0};
}

/* ---- The layouts ---- */

static const char *const PREFIXES[] = {"module.", "netG.", "generator.", "_orig_mod.", "net."};

static const struct {
    const char *theirs, *ours;
} WHOLE[] = {
    {"trunk_conv", "conv_body"},
    {"HRconv", "conv_hr.pre"},
    {"conv_hr", "conv_hr.pre"},
    {"HRconv.pre", "conv_hr.pre"},
    {"HRconv.act", "conv_hr.act"},
    {"in", "input"},
    {"in0", "input"},
    {"x", "input"},
    {"image", "input"},
    {"out0", "conv_last"},
    {"out", "conv_last"},
    {"", "conv_last"},
    {"conv_last.pre", "conv_last"},
    {"conv_first.pre", "conv_first"},
    {"conv_body.pre", "conv_body"},
};

/* "conv3" and the like, with what follows it ("", ".pre", ".act", ".0", ".1"): in a dense block.
 * `sequential`: a bare name is a module of convolution and activation. */
static void dense_name(const char *block, const char *dense, const char *rest, bool sequential,
                       char *name) {
    char k = 0;
    int end = 0;
    const char *tail = "";
    if (sscanf(rest, ".conv%c%n", &k, &end) == 1 && k >= '1' && k <= '5' &&
        strncmp(rest, ".conv1x1", 8)) {
        const char *after = rest + end;
        if (!strncmp(after, ".0", 2)) { /* the convolution within such a module, perhaps ".0.act" */
            sequential = false;
            after += 2;
        }
        bool act = !strcmp(after, ".act") || !strcmp(after, ".1") || (sequential && !*after);
        if (k != '5') tail = act ? ".act" : ".pre";
        snprintf(name, LAYER_NAME_SIZE, "body.%.12s.rdb%.12s.conv%c%s", block, dense, k, tail);
    } else {
        snprintf(name, LAYER_NAME_SIZE, "body.%.12s.rdb%.12s%.64s", block, dense, rest);
    }
}

/* Names within a block: "I", "I.rdbJ", "I.RDBJ.convK..." after the trunk's own name. */
static bool block_name(const char *path, bool sequential, char *name) {
    char block[13], dense[13];
    int end = 0;
    if (sscanf(path, "%12[0-9]%n", block, &end) != 1) return false;
    path += end;
    if (!*path) {
        snprintf(name, LAYER_NAME_SIZE, "body.%s", block);
        return true;
    }
    end = 0;
    if (sscanf(path, ".%*[rR]%*[dD]%*[bB]%12[0-9]%n", dense, &end) != 1 || end == 0) return false;
    dense_name(block, dense, path + end, sequential, name);
    return true;
}

/* "model.5" of the old layout, its number being `index`. */
static bool old_name(int index, const char *rest, int up_stages, char *name) {
    if (index == 0) return strcpy(name, "conv_first"), true;
    if (index == 1 && !*rest) return strcpy(name, "trunk_sum"), true;
    if (!strcmp(rest, ".act"))
        index++;
    else if (*rest && strcmp(rest, ".pre") != 0)
        return false;
    if (up_stages < 0) return false;
    int past = index - 2 - 3 * up_stages; /* 0 hr, 1 its activation, 2 last */
    if (past < 0) {
        int n = (index - 2) / 3 + 1, part = (index - 2) % 3;
        snprintf(name, LAYER_NAME_SIZE,
                 part == 0   ? "up%d.nearest"
                 : part == 1 ? "conv_up%d.pre"
                             : "conv_up%d.act",
                 n);
        return true;
    }
    static const char *const last[] = {"conv_hr.pre", "conv_hr.act", "conv_last"};
    if (past > 2) return false;
    strcpy(name, last[past]);
    return true;
}

static bool known_name(const char *raw, int blocks, int up_stages, char *name) {
    int n, end = 0;
    for (size_t i = 0; i < sizeof WHOLE / sizeof *WHOLE; i++)
        if (!strcmp(raw, WHOLE[i].theirs)) return strcpy(name, WHOLE[i].ours), true;
    if (!strncmp(raw, "body.", 5)) return block_name(raw + 5, false, name);
    if (!strncmp(raw, "RRDB_trunk.", 11)) return block_name(raw + 11, false, name);
    if (sscanf(raw, "model.1.sub.%4d%n", &n, &end) == 1 && end) {
        if (n == blocks && !raw[end]) return strcpy(name, "conv_body"), true;
        return block_name(raw + 12, true, name);
    }
    if (sscanf(raw, "model.%4d%n", &n, &end) == 1 && end)
        return old_name(n, raw + end, up_stages, name);
    if ((sscanf(raw, "conv_up%4d%n", &n, &end) == 1 || sscanf(raw, "upconv%4d%n", &n, &end) == 1) &&
        end) {
        const char *rest = raw + end;
        if (*rest && strcmp(rest, ".pre") && strcmp(rest, ".act")) return false;
        snprintf(name, LAYER_NAME_SIZE, "conv_up%d%s", n, *rest ? rest : ".pre");
        return true;
    }
    return false;
}

/* The module path in "/body/body.0/rdb1/conv1/Conv_output_0": each level repeats the one above it
 * where that is a list.  Returns what follows the last slash. */
static const char *onnx_path(const char *raw, char *path) {
    const char *above = "", *at = raw + 1, *end;
    size_t above_size = 0, start = 0, used = 0;
    path[0] = 0;
    for (; (end = strchr(at, '/')) != NULL; at = end + 1) {
        size_t size = (size_t)(end - at);
        bool again = size > above_size && above_size > 0 && !strncmp(at, above, above_size) &&
                     at[above_size] == '.';
        if (!again) start = used + (used > 0);
        if (start + size + 2 > LAYER_NAME_SIZE) break;
        if (start > 0) path[start - 1] = '.';
        memcpy(path + start, at, size);
        used = start + size;
        path[used] = 0;
        above = at;
        above_size = size;
    }
    return at;
}

/* Names that PyTorch's ONNX export gives.  An activation that several convolutions share is
 * numbered: "lrelu", "lrelu_1" ... in the order of its calls. */
static bool onnx_name(const char *raw, int up_stages, char *name) {
    char path[LAYER_NAME_SIZE];
    int n = 0;
    const char *op = onnx_path(raw, path);
    if (!strncmp(op, "Resize", 6) && !*path) {
        sscanf(op, "Resize_%4d", &n);
        snprintf(name, LAYER_NAME_SIZE, "up%d.nearest", n + 1);
    } else if (!strncmp(op, "Add_output", 10)) {
        snprintf(name, LAYER_NAME_SIZE, "%s", *path ? path : "trunk_sum");
    } else if (!strncmp(op, "LeakyRelu", 9)) {
        char *shared = strstr(path, "lrelu");
        snprintf(name, LAYER_NAME_SIZE, "%s", path);
        if (!shared) return true;
        sscanf(shared, "lrelu_%4d", &n);
        *shared = 0;
        if (*path)
            snprintf(name, LAYER_NAME_SIZE, "%.120sconv%d.act", path, n + 1);
        else if (n < up_stages)
            snprintf(name, LAYER_NAME_SIZE, "conv_up%d.act", n + 1);
        else
            strcpy(name, "conv_hr.act");
    } else if (!strncmp(op, "Conv_output", 11) || !strncmp(op, "Resize", 6)) {
        snprintf(name, LAYER_NAME_SIZE, "%s", path);
    } else {
        return false;
    }
    return true;
}

void layer_name(const char *raw, const name_map *map, int blocks, int up_stages,
                char name[LAYER_NAME_SIZE]) {
    for (size_t i = 0; map && i < map->count; i++)
        if (!strcmp(map->theirs[i], raw)) {
            snprintf(name, LAYER_NAME_SIZE, "%s", map->ours[i]);
            return;
        }
    char bare[LAYER_NAME_SIZE], onnx[LAYER_NAME_SIZE];
    if (raw[0] == '/' && onnx_name(raw, up_stages, onnx)) raw = onnx;
    for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        if (!strncmp(raw, PREFIXES[i], strlen(PREFIXES[i]))) raw += strlen(PREFIXES[i]);
    snprintf(bare, sizeof bare, "%s", raw);
    size_t size = strlen(bare);
    if (size > 7 && !strcmp(bare + size - 7, ".weight")) bare[size - 7] = 0;
    if (!known_name(bare, blocks, up_stages, name)) strcpy(name, bare);
}
