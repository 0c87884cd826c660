/*
 * What people call layers, and what we call them.  Canonical names are those of esrgan_layer in
 * esrgan.h, and "output" (clamped to 0..1) and "output.u8" for the picture made of conv_last.
 */
#ifndef LAYER_NAMES_H
#define LAYER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "esrgan.h"

enum { LAYER_NAME_SIZE = 160 };

/* --map FILE: lines "THEIRS OURS" or "THEIRS = OURS"; '#' begins a comment. */
typedef struct name_map {
    char *text; /* the file; the pairs point into it */
    char **theirs, **ours;
    size_t count;
} name_map;

bool name_map_read(name_map *map, const char *path); /* complains */
void name_map_free(name_map *map);

/*
 * The canonical name for `raw`: by the map (may be NULL) where it is in it, else by the key layouts
 * of BasicSR, BSRGAN and old ESRGAN, with or without wrapper prefixes and ".weight", as modules or
 * as PyTorch's ONNX export writes them ("/body/body.0/rdb1/conv1/Conv_output_0").  `blocks` and
 * `up_stages` tell what the numbers of the old layout mean; -1 where they are not known.
 * A name that is none of these comes back as it is.
 */
void layer_name(const char *raw, const name_map *map, int blocks, int up_stages,
                char name[LAYER_NAME_SIZE]);

#endif
