#include "sheet.h"

#include <ctype.h>
#include <string.h>

enum {
    GLYPH_WIDTH = 5,
    GLYPH_HEIGHT = 7,
    ADVANCE = 6,
    MARGIN = 4, /* around the label and between panels */
    STRIP = GLYPH_HEIGHT + 2 * MARGIN,
    INK = 235,
    PAPER = 32
};

/* Rows from top to bottom, five bits each, the leftmost pixel in the highest. */
static const struct glyph {
    char letter;
    uint8_t rows[GLYPH_HEIGHT];
} FONT[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},
    {'2', {14, 17, 1, 6, 8, 16, 31}},    {'3', {30, 1, 1, 14, 1, 1, 30}},
    {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},
    {'8', {14, 17, 17, 14, 17, 17, 14}}, {'9', {14, 17, 17, 15, 1, 2, 12}},
    {'A', {4, 10, 17, 17, 31, 17, 17}},  {'B', {30, 17, 17, 30, 17, 17, 30}},
    {'C', {14, 17, 16, 16, 16, 17, 14}}, {'D', {28, 18, 17, 17, 17, 18, 28}},
    {'E', {31, 16, 16, 30, 16, 16, 31}}, {'F', {31, 16, 16, 30, 16, 16, 16}},
    {'G', {14, 17, 16, 23, 17, 17, 15}}, {'H', {17, 17, 17, 31, 17, 17, 17}},
    {'I', {14, 4, 4, 4, 4, 4, 14}},      {'J', {7, 2, 2, 2, 2, 18, 12}},
    {'K', {17, 18, 20, 24, 20, 18, 17}}, {'L', {16, 16, 16, 16, 16, 16, 31}},
    {'M', {17, 27, 21, 21, 17, 17, 17}}, {'N', {17, 25, 21, 19, 17, 17, 17}},
    {'O', {14, 17, 17, 17, 17, 17, 14}}, {'P', {30, 17, 17, 30, 16, 16, 16}},
    {'Q', {14, 17, 17, 17, 21, 18, 13}}, {'R', {30, 17, 17, 30, 20, 18, 17}},
    {'S', {15, 16, 16, 14, 1, 1, 30}},   {'T', {31, 4, 4, 4, 4, 4, 4}},
    {'U', {17, 17, 17, 17, 17, 17, 14}}, {'V', {17, 17, 17, 17, 17, 10, 4}},
    {'W', {17, 17, 17, 21, 21, 27, 17}}, {'X', {17, 17, 10, 4, 10, 17, 17}},
    {'Y', {17, 17, 10, 4, 4, 4, 4}},     {'Z', {31, 1, 2, 4, 8, 16, 31}},
    {'.', {0, 0, 0, 0, 0, 12, 12}},      {',', {0, 0, 0, 0, 12, 4, 8}},
    {'-', {0, 0, 0, 14, 0, 0, 0}},       {'_', {0, 0, 0, 0, 0, 0, 31}},
    {'/', {1, 1, 2, 4, 8, 16, 16}},      {':', {0, 12, 12, 0, 12, 12, 0}},
    {'(', {2, 4, 8, 8, 8, 4, 2}},        {')', {8, 4, 2, 2, 2, 4, 8}},
    {'+', {0, 4, 4, 31, 4, 4, 0}},       {'?', {14, 17, 1, 2, 4, 0, 4}},
};

static const struct glyph *glyph_of(char letter) {
    const struct glyph *unknown = NULL;
    for (size_t i = 0; i < sizeof FONT / sizeof *FONT; i++) {
        if (FONT[i].letter == toupper((unsigned char)letter)) return &FONT[i];
        if (FONT[i].letter == '?') unknown = &FONT[i];
    }
    return unknown;
}

static uint8_t *at(const esrgan_picture *p, int x, int y) {
    return (uint8_t *)p->data + y * p->stride + 3 * (ptrdiff_t)x;
}

static void draw_text(const esrgan_picture *p, int x, int y, int width, const char *text) {
    for (; *text && width >= GLYPH_WIDTH; text++, x += ADVANCE, width -= ADVANCE) {
        if (*text == ' ') continue;
        const struct glyph *g = glyph_of(*text);
        for (int row = 0; row < GLYPH_HEIGHT; row++)
            for (int column = 0; column < GLYPH_WIDTH; column++)
                if (g->rows[row] >> (GLYPH_WIDTH - 1 - column) & 1)
                    memset(at(p, x + column, y + row), INK, 3);
    }
}

bool sheet_write(const char *path, const sheet_panel *panels, int count) {
    int width = panels[0].pixels->width, height = panels[0].pixels->height;
    picture sheet = {0};
    if (!picture_make(&sheet, path, count * width + (count - 1) * MARGIN, height + STRIP, 3, 8))
        return false;
    memset(sheet.pixels.data, PAPER, (size_t)sheet.pixels.stride * (size_t)sheet.pixels.height);
    for (int i = 0; i < count; i++) {
        int left = i * (width + MARGIN);
        draw_text(&sheet.pixels, left + MARGIN, MARGIN, width - 2 * MARGIN, panels[i].label);
        for (int y = 0; y < height; y++)
            memcpy(at(&sheet.pixels, left, STRIP + y), at(panels[i].pixels, 0, y),
                   3 * (size_t)width);
    }
    picture_write_options how = {.format = PICTURE_PNG};
    bool good = picture_write(path, &sheet, &how);
    picture_free(&sheet);
    return good;
}
