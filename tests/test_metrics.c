/* esrgan_resize against Pillow, esrgan_psnr and esrgan_ssim against scikit-image: the numbers are
 * in tests/golden/pictures, made by tests/golden/make_picture_goldens.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "support/npy.h"

#define FOLDER "tests/golden/pictures/"

static FILE *open_file(const char *name) {
    char path[200];
    snprintf(path, sizeof path, FOLDER "%s", name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    return file;
}

/* A picture with rows somewhat apart; free(data) where the first row is the lowest address. */
static esrgan_picture picture_of(int width, int height, int channels, int bits) {
    esrgan_picture p = {width, height, channels, bits, 0, NULL};
    p.stride = ((ptrdiff_t)width * channels + 3) * (bits / 8);
    p.data = calloc((size_t)height, (size_t)p.stride);
    assert_non_null(p.data);
    return p;
}

static void put(const esrgan_picture *p, size_t i, double value) {
    const size_t row = (size_t)(p->width * p->channels);
    char *line = (char *)p->data + (ptrdiff_t)(i / row) * p->stride;
    if (p->bits == 8)
        ((uint8_t *)line)[i % row] = (uint8_t)value;
    else
        ((uint16_t *)line)[i % row] = (uint16_t)value;
}

static double get(const esrgan_picture *p, size_t i) {
    const size_t row = (size_t)(p->width * p->channels);
    const char *line = (const char *)p->data + (ptrdiff_t)(i / row) * p->stride;
    return p->bits == 8 ? ((const uint8_t *)line)[i % row] : ((const uint16_t *)line)[i % row];
}

static esrgan_picture picture_from(FILE *file, int width, int height, int channels, int bits) {
    npy array;
    assert_true(npy_read(file, &array));
    const esrgan_picture p = picture_of(width, height, channels, bits);
    assert_int_equal(array.count, (size_t)(width * height * channels));
    for (size_t i = 0; i < array.count; i++) put(&p, i, array.data[i]);
    npy_free(&array);
    return p;
}

static esrgan_filter filter_of(const char *name) {
    static const char *const filters[] = {"bicubic", "lanczos", "nearest", "bilinear"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, filters[i]) == 0) return (esrgan_filter)i;
    fail_msg("filter %s", name);
    return ESRGAN_BICUBIC;
}

/* Every case of an index; results may be `tolerance` from Pillow's. */
static int compare_resizes(const char *index_name, const char *data_name, int bits,
                           double tolerance) {
    FILE *index = open_file(index_name), *data = open_file(data_name);
    char name[20];
    int channels, w, h, ow, oh, cases = 0;
    while (fscanf(index, "%19s %d %d %d %d %d", name, &channels, &w, &h, &ow, &oh) == 6) {
        const esrgan_picture in = picture_from(data, w, h, channels, bits);
        const esrgan_picture out = picture_of(ow, oh, channels, bits);
        npy want;
        assert_true(npy_read(data, &want));
        esrgan_error error;
        if (esrgan_resize(&in, &out, filter_of(name), &error)) fail_msg("%s", error.message);
        const double top = bits == 8 ? 255 : 65535;
        for (size_t i = 0; i < want.count; i++) {
            const double exact = fmin(fmax(want.data[i], 0), top);
            if (!(fabs(get(&out, i) - exact) <= tolerance))
                fail_msg("%s %d: %dx%d to %dx%d: sample %zu is %g, not %g", name, channels, w, h,
                         ow, oh, i, get(&out, i), exact);
        }
        npy_free(&want);
        free(in.data), free(out.data);
        cases++;
    }
    fclose(index), fclose(data);
    return cases;
}

static void resize_is_pillows(void **state) {
    (void)state;
    /* Half a unit of rounding, and the single precision that Pillow keeps its planes in; division
     * by a small alpha makes more of that. */
    assert_int_equal(compare_resizes("resize.txt", "resize.npy", 16, 0.52), 4 * 8);
}

static void resize_is_near_pillows_8_bits(void **state) {
    (void)state;
    assert_int_equal(compare_resizes("resize8.txt", "resize8.npy", 8, 1), 4 * 2);
}

static void resize_changes_depth(void **state) {
    (void)state;
    const esrgan_picture in = picture_of(256, 1, 1, 8), out = picture_of(256, 1, 1, 16),
                         back = picture_of(256, 1, 1, 8);
    for (size_t i = 0; i < 256; i++) put(&in, i, (double)i);
    assert_int_equal(esrgan_resize(&in, &out, ESRGAN_BICUBIC, NULL), ESRGAN_OK);
    assert_int_equal(esrgan_resize(&out, &back, ESRGAN_LANCZOS, NULL), ESRGAN_OK);
    for (size_t i = 0; i < 256; i++) {
        assert_true(get(&out, i) == (double)i * 257);
        assert_true(get(&back, i) == (double)i);
    }
    free(in.data), free(out.data), free(back.data);
}

/* Colour that is there but cannot be seen does not come through. */
static void resize_weighs_by_alpha(void **state) {
    (void)state;
    const esrgan_picture in = picture_of(8, 1, 4, 8), out = picture_of(20, 1, 4, 8);
    for (size_t x = 0; x < 8; x++) {
        put(&in, 4 * x, x < 4 ? 200 : 0);
        put(&in, 4 * x + 1, x < 4 ? 100 : 255);
        put(&in, 4 * x + 2, x < 4 ? 50 : 255);
        put(&in, 4 * x + 3, x < 4 ? 255 : 0);
    }
    assert_int_equal(esrgan_resize(&in, &out, ESRGAN_BILINEAR, NULL), ESRGAN_OK);
    int partly = 0;
    for (size_t x = 0; x < 20; x++) {
        if (get(&out, 4 * x + 3) == 0) continue;
        partly += get(&out, 4 * x + 3) < 255;
        assert_true(get(&out, 4 * x) == 200);
        assert_true(get(&out, 4 * x + 1) == 100);
        assert_true(get(&out, 4 * x + 2) == 50);
    }
    assert_in_range(partly, 1, 4);
    free(in.data), free(out.data);
}

static void metrics_are_scikits(void **state) {
    (void)state;
    FILE *index = open_file("metrics.txt"), *data = open_file("metrics.npy");
    int channels, bits, border, cases = 0;
    double want[4];
    while (fscanf(index, "%d %d %d %lf %lf %lf %lf", &channels, &bits, &border, &want[0], &want[1],
                  &want[2], &want[3]) == 7) {
        npy first, second;
        assert_true(npy_read(data, &first) && npy_read(data, &second));
        const int h = (int)first.shape[0], w = (int)first.shape[1];
        esrgan_picture a = picture_of(w, h, channels, bits), b = picture_of(w, h, channels, bits);
        for (size_t i = 0; i < first.count; i++) {
            put(&a, i, first.data[i]);
            put(&b, i, second.data[i]);
        }
        for (int space = ESRGAN_RGB; space <= ESRGAN_LUMA; space++) {
            double psnr, ssim;
            assert_int_equal(esrgan_psnr(&a, &b, border, (esrgan_metric_space)space, &psnr, NULL),
                             ESRGAN_OK);
            assert_int_equal(esrgan_ssim(&a, &b, border, (esrgan_metric_space)space, &ssim, NULL),
                             ESRGAN_OK);
            if (!(fabs(psnr - want[2 * space]) < 1e-9 && fabs(ssim - want[2 * space + 1]) < 1e-9))
                fail_msg("case %d space %d: %.12g dB and %.12g; expected %.12g and %.12g", cases,
                         space, psnr, ssim, want[2 * space], want[2 * space + 1]);
        }
        npy_free(&first), npy_free(&second);
        free(a.data), free(b.data);
        cases++;
    }
    assert_int_equal(cases, 6);
    fclose(index), fclose(data);
}

static void equal_pictures(void **state) {
    (void)state;
    const esrgan_picture a = picture_of(12, 13, 3, 8);
    for (size_t i = 0; i < 12 * 13 * 3; i++) put(&a, i, (double)(i * 7 % 256));
    double psnr = 0, ssim = 0;
    assert_int_equal(esrgan_psnr(&a, &a, 0, ESRGAN_RGB, &psnr, NULL), ESRGAN_OK);
    assert_true(isinf(psnr) && psnr > 0);
    assert_int_equal(esrgan_ssim(&a, &a, 0, ESRGAN_RGB, &ssim, NULL), ESRGAN_OK);
    assert_true(fabs(ssim - 1) < 1e-12);
    free(a.data);
}

static void says(esrgan_status status, const esrgan_error *error, const char *part) {
    if (status != ESRGAN_E_ARGUMENT || !strstr(error->message, part))
        fail_msg("status %d, \"%s\"; expected \"%s\"", status, error->message, part);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    uint16_t samples[2 * 3 * 144];
    memset(samples, 0, sizeof samples);
    const esrgan_picture a = {12, 12, 3, 8, 36, samples}, b = {12, 12, 3, 8, 36, samples + 432};
    esrgan_error e;
    double x;
#define WITH(change, part)                                                                         \
    do {                                                                                           \
        esrgan_picture p = a;                                                                      \
        change;                                                                                    \
        says(esrgan_resize(&p, &b, ESRGAN_BICUBIC, &e), &e, part);                                 \
        says(esrgan_psnr(&p, &b, 0, ESRGAN_RGB, &x, &e), &e, "");                                  \
        says(esrgan_ssim(&p, &b, 0, ESRGAN_RGB, &x, &e), &e, "");                                  \
    } while (0)
    WITH(p.data = NULL, "data");
    WITH(p.width = 0, "0 x 12");
    WITH(p.height = -3, "12 x -3");
    WITH(p.channels = 5, "channels is 5");
    WITH(p.channels = 0, "channels is 0");
    WITH(p.bits = 10, "bits is 10");
    WITH(p.stride = 35, "stride is 35");
    WITH(p.stride = -35, "stride is -35");
    WITH(p.stride = PTRDIFF_MAX, "too large");
    WITH((p.bits = 16, p.stride = 73), "odd");
    WITH((p.bits = 16, p.stride = 72, p.data = (char *)samples + 1), "odd");
#undef WITH
    says(esrgan_resize(NULL, &b, ESRGAN_BICUBIC, &e), &e, "in is NULL");
    says(esrgan_resize(&a, NULL, ESRGAN_BICUBIC, &e), &e, "out is NULL");
    says(esrgan_resize(&a, &a, ESRGAN_BICUBIC, &e), &e, "overlap");
    says(esrgan_resize(&a, &b, (esrgan_filter)4, &e), &e, "filter");
    esrgan_picture other = b;
    other.channels = 1;
    says(esrgan_resize(&a, &other, ESRGAN_BICUBIC, &e), &e, "channels");
    says(esrgan_psnr(&a, &other, 0, ESRGAN_RGB, &x, &e), &e, "channels");
    other = b;
    other.width = 11;
    says(esrgan_psnr(&a, &other, 0, ESRGAN_RGB, &x, &e), &e, "11 x 12");
    says(esrgan_psnr(&a, &b, -1, ESRGAN_RGB, &x, &e), &e, "border is -1");
    says(esrgan_psnr(&a, &b, 6, ESRGAN_RGB, &x, &e), &e, "border is 6");
    says(esrgan_psnr(&a, &b, 0, (esrgan_metric_space)2, &x, &e), &e, "space");
    says(esrgan_psnr(&a, &b, 0, ESRGAN_RGB, NULL, &e), &e, "NULL");
    says(esrgan_ssim(&a, &b, 1, ESRGAN_RGB, &x, &e), &e, "11 x 11");
    says(esrgan_ssim(&a, &b, 0, ESRGAN_RGB, NULL, &e), &e, "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_is_pillows),       cmocka_unit_test(resize_is_near_pillows_8_bits),
        cmocka_unit_test(resize_changes_depth),    cmocka_unit_test(resize_weighs_by_alpha),
        cmocka_unit_test(metrics_are_scikits),     cmocka_unit_test(equal_pictures),
        cmocka_unit_test(bad_arguments_are_named),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
