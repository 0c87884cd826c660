/* BMP, GIF (first frame), TGA, PSD, PNM and HDR, by stb_image. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "command.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wundef"
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_NO_PNG
#define STBI_NO_JPEG
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

enum { PIXELS_A_BYTE = 4096 };

bool stb_decode(const uint8_t *data, size_t size, const char *name, picture *out) {
    int width, height, channels;
    if (size > INT_MAX || !stbi_info_from_memory(data, (int)size, &width, &height, &channels)) {
        complain("%s: not a picture of a known format%s", name,
                 size == 0 ? ": the file is empty" : "");
        return false;
    }
    if ((int64_t)width * height > PICTURE_MAX_PIXELS) {
        complain("%s: %dx%d pixels are more than can be read", name, width, height);
        return false;
    }
    /* None of these formats packs more than some thousand pixels into a byte. */
    if ((int64_t)width * height / PIXELS_A_BYTE > (int64_t)size) {
        complain("%s: damaged picture: %zu bytes cannot hold %dx%d pixels", name, size, width,
                 height);
        return false;
    }
    bool deep = stbi_is_16_bit_from_memory(data, (int)size);
    void *pixels =
        deep ? (void *)stbi_load_16_from_memory(data, (int)size, &width, &height, &channels, 0)
             : (void *)stbi_load_from_memory(data, (int)size, &width, &height, &channels, 0);
    if (!pixels) {
        complain("%s: damaged picture: %s", name, stbi_failure_reason());
        return false;
    }
    bool good = picture_make(out, name, width, height, channels, deep ? 16 : 8);
    if (good) memcpy(out->pixels.data, pixels, (size_t)out->pixels.stride * (size_t)height);
    stbi_image_free(pixels);
    return good;
}
