/* Side-by-side sheets: pictures of one size next to each other, each under its label. */
#ifndef SHEET_H
#define SHEET_H

#include "picture.h"

typedef struct sheet_panel {
    const char *label;            /* ASCII; shown in capitals, cut to the panel's width */
    const esrgan_picture *pixels; /* 8 bits, RGB */
} sheet_panel;

/* All panels have the size of the first.  False after a complaint. */
bool sheet_write(const char *path, const sheet_panel *panels, int count);

#endif
