/*
 * The least a program needs: minimal MODEL.pth IN.ppm OUT.ppm
 *
 *     cc minimal.c $(pkg-config --cflags --libs esrgan)
 */
#include <stdio.h>
#include <stdlib.h>

#include <esrgan.h>

/* Reads a binary PPM (P6, 8 bits, no comments) into `p`; 0 on success. */
static int read_ppm(const char *path, esrgan_picture *p) {
    FILE *file = fopen(path, "rb");
    if (!file) return -1;
    *p = (esrgan_picture){.channels = 3, .bits = 8};
    int good = fscanf(file, "P6 %5d %5d 255", &p->width, &p->height) == 2 && getc(file) != EOF &&
               p->width > 0 && p->height > 0;
    if (good) {
        p->stride = 3 * (ptrdiff_t)p->width;
        p->data = malloc((size_t)p->stride * (size_t)p->height);
        good = p->data &&
               fread(p->data, (size_t)p->stride, (size_t)p->height, file) == (size_t)p->height;
    }
    fclose(file);
    return good ? 0 : -1;
}

static int write_ppm(const char *path, const esrgan_picture *p) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    fprintf(file, "P6\n%d %d\n255\n", p->width, p->height);
    fwrite(p->data, (size_t)p->stride, (size_t)p->height, file);
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}

int main(int argc, char **argv) {
    esrgan_error error = {ESRGAN_E_IO, "a picture could not be read or written"};
    esrgan_model *model = NULL;
    esrgan_session *session = NULL;
    esrgan_model_info info = {.size = sizeof info};
    esrgan_picture in = {0}, out = {0};
    int code = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: minimal MODEL.pth IN.ppm OUT.ppm\n");
        return 2;
    }
    if (read_ppm(argv[2], &in) == 0 &&
        esrgan_open_file(argv[1], NULL, &model, &error) == ESRGAN_OK &&
        esrgan_model_get_info(model, &info, &error) == ESRGAN_OK &&
        esrgan_session_create(model, NULL, &session, &error) == ESRGAN_OK) {
        out = in;
        out.width *= info.scale;
        out.height *= info.scale;
        out.stride *= info.scale;
        out.data = malloc((size_t)out.stride * (size_t)out.height);
        if (out.data && esrgan_upscale(session, &in, &out, &error) == ESRGAN_OK &&
            write_ppm(argv[3], &out) == 0)
            code = 0;
    }
    if (code) fprintf(stderr, "minimal: %s\n", error.message);

    esrgan_session_free(session);
    esrgan_model_free(model);
    free(in.data);
    free(out.data);
    return code;
}
