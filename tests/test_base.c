/* Statuses and messages, memory, bytes, element types, SHA-256. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/sha256.h"
#include "base/status.h"

static void statuses_have_texts(void **state) {
    (void)state;
    for (int i = ESRGAN_OK; i <= ESRGAN_E_NONFINITE; i++) {
        for (int j = ESRGAN_OK; j < i; j++) {
            assert_string_not_equal(esrgan_status_text(i), esrgan_status_text(j));
        }
        assert_string_not_equal(esrgan_status_text(i), "unknown status");
    }
    assert_string_equal(esrgan_status_text(ESRGAN_OK), "ok");
    assert_string_equal(esrgan_status_text((esrgan_status)17), "unknown status");
    assert_string_equal(esrgan_status_text((esrgan_status)-1), "unknown status");
    assert_int_equal(ESRGAN_E_NONFINITE, 16); /* pinned */
    assert_int_equal(esrgan_version(), ESRGAN_VERSION);
    assert_string_equal(esrgan_version_string(), ESRGAN_VERSION_STRING);
}

static const char *message_of(const char *text) {
    static esrgan_error error;
    assert_int_equal(es_fail(&error, ESRGAN_E_SHAPE, "%s", text), ESRGAN_E_SHAPE);
    assert_int_equal(error.status, ESRGAN_E_SHAPE);
    return error.message;
}

static void messages_are_clean(void **state) {
    (void)state;
    assert_int_equal(es_fail(NULL, ESRGAN_E_IO, "%d", 1), ESRGAN_E_IO);
    assert_string_equal(message_of("plain"), "plain");
    assert_string_equal(message_of("a\nb\tc\x1b[0m\x7f"), "a?b?c?[0m?");
    assert_string_equal(message_of("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82"),
                        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82");
    assert_string_equal(message_of("\xff\xc3[\xe2\x82."), "??[?"
                                                          "?.");      /* broken UTF-8 */
    assert_string_equal(message_of("\xc0\x80\xe0\x80\x80"), "?????"); /* overlong */
    assert_string_equal(message_of("\xed\xa0\x80"), "???");           /* a surrogate */
    assert_string_equal(message_of("\xe2\x80\xae"), "???");           /* right-to-left override */
    assert_string_equal(message_of("\xc2\x9b"), "??");                /* C1 control */
}

static void messages_are_cut_between_characters(void **state) {
    (void)state;
    char text[2000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) memcpy(text + i, "\xf0\x9f\x99\x82", 5);
        const char *message = message_of(text);
        assert_true(strlen(message) < 508 && strlen(message) > 503);
        assert_null(strchr(message, '?'));
    }
}

/* ---- Memory ----------------------------------------------------------------------------------- */

static void memory_is_aligned_and_counted(void **state) {
    (void)state;
    es_meter meter;
    es_meter_init(&meter, NULL, 1000);
    void *a = es_alloc(&meter.allocator, 600);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % ES_ALIGN, 0);
    assert_null(es_alloc(&meter.allocator, 401));
    assert_true(meter.refused);
    char *b = es_calloc(&meter.allocator, 4, 100);
    for (int i = 0; i < 400; i++) assert_int_equal(b[i], 0);
    assert_int_equal(meter.now, 1000);
    es_free(&meter.allocator, a, 600);
    es_free(&meter.allocator, b, 400);
    es_free(&meter.allocator, NULL, 7);
    assert_int_equal(meter.now, 0);
    assert_int_equal(meter.peak, 1000);
    assert_null(es_alloc(&meter.allocator, 0));
    assert_null(es_alloc(&meter.allocator, SIZE_MAX));
    assert_null(es_calloc(&meter.allocator, SIZE_MAX / 2, 3));
    char *copy = es_strdup(&meter.allocator, "text");
    assert_string_equal(copy, "text");
    assert_int_equal(meter.now, 5);
    es_free(&meter.allocator, copy, 5);
    size_t out = 0;
    assert_false(es_mul(SIZE_MAX, 2, &out));
    assert_false(es_add(SIZE_MAX, 1, &out));
    assert_true(es_mul(6, 7, &out) && out == 42);
    assert_true(es_add(6, 7, &out) && out == 13);
}

static void *churn(void *argument) {
    es_meter *meter = argument;
    for (int i = 0; i < 2000; i++) {
        void *p = es_alloc(&meter->allocator, 64);
        es_free(&meter->allocator, p, 64);
    }
    return NULL;
}

static void meters_are_shared_by_threads(void **state) {
    (void)state;
    es_meter meter;
    es_meter_init(&meter, NULL, 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], 0, churn, &meter), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(meter.now, 0);
    assert_in_range(meter.peak, 64, 256);
    assert_false(meter.refused);
}

/* ---- Bytes ------------------------------------------------------------------------------------ */

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/esrgan-base-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    FILE *file = fopen(in_folder("file"), "wb");
    fwrite("hello, bytes", 1, 12, file);
    fclose(file);
    fclose(fopen(in_folder("empty"), "wb"));
    return mkfifo(in_folder("pipe"), 0600);
}

static int remove_folder(void **state) {
    (void)state;
    unlink(in_folder("file"));
    unlink(in_folder("empty"));
    unlink(in_folder("pipe"));
    return rmdir(folder);
}

static void expect_open_error(const char *path, esrgan_status status, const char *text) {
    esrgan_allocator a = es_allocator(NULL);
    esrgan_error error = {0};
    es_bytes bytes;
    assert_int_equal(es_bytes_open_file(&bytes, path, false, 0, &a, &error), status);
    assert_non_null(strstr(error.message, text));
    assert_null(bytes.data);
    assert_null(bytes.name);
}

static void files_are_mapped_or_copied(void **state) {
    (void)state;
    esrgan_allocator a = es_allocator(NULL);
    esrgan_error error;
    es_bytes bytes;
    for (int copy = 0; copy < 2; copy++) {
        assert_int_equal(es_bytes_open_file(&bytes, in_folder("file"), copy, 100, &a, &error), 0);
        assert_int_equal(bytes.size, 12);
        assert_memory_equal(bytes.data, "hello, bytes", 12);
        assert_string_equal(bytes.name, in_folder("file"));
        assert_true(copy ? bytes.copy != NULL && bytes.mapping == NULL : bytes.mapping != NULL);
        es_bytes_close(&bytes, &a);
        assert_null(bytes.data);
    }
    assert_int_equal(es_bytes_open_file(&bytes, in_folder("file"), true, 11, &a, &error),
                     ESRGAN_E_LIMIT);
    assert_non_null(strstr(error.message, "12 bytes would pass the limit of 11"));
    assert_int_equal(es_bytes_open_file(&bytes, in_folder("empty"), false, 0, &a, &error), 0);
    assert_int_equal(bytes.size, 0);
    es_bytes_close(&bytes, &a);
    expect_open_error(in_folder("none"), ESRGAN_E_IO, "No such file");
    expect_open_error(folder, ESRGAN_E_IO, "is a directory");
    expect_open_error(in_folder("pipe"), ESRGAN_E_IO, "not a regular file");
    expect_open_error("/dev/null", ESRGAN_E_IO, "not a regular file");
    expect_open_error(NULL, ESRGAN_E_ARGUMENT, "NULL");
}

static void *no_alloc(void *context, size_t size, size_t alignment) {
    (void)alignment;
    size_t *left = context;
    if (*left == 0) return NULL;
    --*left;
    return malloc(size);
}

static void no_release(void *context, void *pointer, size_t size) {
    (void)context, (void)size;
    free(pointer);
}

static void memory_is_borrowed_or_copied(void **state) {
    (void)state;
    esrgan_allocator a = es_allocator(NULL);
    esrgan_error error;
    es_bytes bytes;
    char text[] = "abc";
    assert_int_equal(es_bytes_open_memory(&bytes, text, 3, NULL, false, 1, &a, &error), 0);
    assert_ptr_equal(bytes.data, text);
    es_bytes_close(&bytes, &a);
    assert_int_equal(es_bytes_open_memory(&bytes, text, 3, "name", true, 3, &a, &error), 0);
    text[0] = 'x';
    assert_memory_equal(bytes.data, "abc", 3);
    es_bytes_close(&bytes, &a);
    assert_int_equal(es_bytes_open_memory(&bytes, text, 3, "name", true, 2, &a, &error),
                     ESRGAN_E_LIMIT);
    assert_int_equal(es_bytes_open_memory(&bytes, NULL, 3, "name", true, 0, &a, &error),
                     ESRGAN_E_ARGUMENT);
    for (size_t left = 0; left < 2; left++) {
        size_t count = left;
        esrgan_allocator none = {no_alloc, no_release, &count};
        assert_int_equal(es_bytes_open_memory(&bytes, text, 3, "n", true, 0, &none, &error),
                         ESRGAN_E_MEMORY);
        assert_string_equal(error.message, "n: out of memory");
    }
}

static int read_some(void *context, uint64_t offset, void *buffer, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)(offset + i);
    return *(int *)context;
}

static void readers_are_read(void **state) {
    (void)state;
    esrgan_allocator a = es_allocator(NULL);
    esrgan_error error;
    es_bytes bytes;
    int result = 0;
    esrgan_reader reader = {read_some, &result, 1000};
    assert_int_equal(es_bytes_open_reader(&bytes, &reader, NULL, 0, &a, &error), 0);
    assert_int_equal(bytes.size, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(bytes.data[i], i & 255);
    es_bytes_close(&bytes, &a);
    result = 1;
    assert_int_equal(es_bytes_open_reader(&bytes, &reader, "cb", 0, &a, &error), ESRGAN_E_IO);
    assert_non_null(strstr(error.message, "cb: the read callback failed at offset 0"));
    reader.size = UINT64_MAX;
    assert_int_equal(es_bytes_open_reader(&bytes, &reader, "cb", 0, &a, &error), ESRGAN_E_LIMIT);
    reader.size = 1000;
    assert_int_equal(es_bytes_open_reader(&bytes, &reader, "cb", 9, &a, &error), ESRGAN_E_LIMIT);
    reader.read = NULL;
    assert_int_equal(es_bytes_open_reader(&bytes, &reader, "cb", 0, &a, &error), ESRGAN_E_ARGUMENT);
    assert_int_equal(es_bytes_open_reader(&bytes, NULL, "cb", 0, &a, &error), ESRGAN_E_ARGUMENT);
}

/* ---- Element types ---------------------------------------------------------------------------- */

/* The value of binary16 or bfloat16 bits from the definition. */
static double half_value(unsigned h, int exponent_bits, int fraction_bits) {
    int exponent = h >> fraction_bits & ((1 << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double fraction = (double)(h & ((1u << fraction_bits) - 1)), sign = h & 0x8000 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

static uint32_t float_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static void halves_widen_exactly(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f16 = es_f16_to_f32((uint16_t)h), bf16 = es_bf16_to_f32((uint16_t)h);
        double d16 = half_value(h, 5, 10), dbf16 = half_value(h, 8, 7);
        if (isnan(d16)) {
            assert_true(isnan(f16) && (float_bits(f16) & 0x400000));
            assert_true(isnan(es_f16_to_f32(es_f32_to_f16(f16))));
        } else {
            assert_true((double)f16 == d16 && !!signbit(f16) == (int)(h >> 15));
            assert_int_equal(es_f32_to_f16(f16), h);
        }
        if (isnan(dbf16)) {
            assert_true(isnan(bf16) && (float_bits(bf16) & 0x400000));
            assert_true(isnan(es_bf16_to_f32(es_f32_to_bf16(bf16))));
        } else {
            assert_true((double)bf16 == dbf16 && !!signbit(bf16) == (int)(h >> 15));
            assert_int_equal(es_f32_to_bf16(bf16), h);
        }
    }
}

/* Nearest of the two neighbours below and above, ties to the even one; beyond the largest number
 * the next step of the same size would be infinity. */
static void check_narrowing(float f, uint16_t h, int exponent_bits, int fraction_bits) {
    double exact = fabs((double)f), got = fabs(half_value(h, exponent_bits, fraction_bits));
    unsigned inf = ((1u << exponent_bits) - 1) << fraction_bits, magnitude = h & 0x7fff;
    int bias = (1 << (exponent_bits - 1)) - 1;
    double limit = ldexp(1, bias + 1);
    assert_true((h >> 15) == (signbit(f) != 0));
    double below = magnitude > 0 ? half_value(magnitude - 1, exponent_bits, fraction_bits) : got;
    double above = magnitude < inf ? half_value(magnitude + 1, exponent_bits, fraction_bits) : got;
    if (magnitude == inf) got = above = limit;
    if (magnitude == inf - 1) above = limit;
    if (exact > limit) {
        assert_int_equal(magnitude, inf);
        return;
    }
    double error = fabs(exact - got), down = fabs(exact - below), up = fabs(exact - above);
    if (magnitude > 0) assert_true(error < down || (error == down && magnitude % 2 == 0));
    if (magnitude < inf) assert_true(error < up || (error == up && magnitude % 2 == 0));
}

static void floats_narrow_to_nearest_even(void **state) {
    (void)state;
    uint32_t step = 65521; /* a prime: all patterns of low bits come up */
    for (uint64_t u = 0; u < 0x100000000u; u += step) {
        uint32_t patterns[] = {(uint32_t)u, (uint32_t)u & ~0x1fffu,
                               ((uint32_t)u & ~0x1fffu) | 0x1000,
                               ((uint32_t)u & ~0xffffu) | 0x8000};
        for (int i = 0; i < 4; i++) {
            float f;
            memcpy(&f, &patterns[i], 4);
            if (isnan(f)) {
                assert_true(isnan(es_f16_to_f32(es_f32_to_f16(f))));
                assert_true(isnan(es_bf16_to_f32(es_f32_to_bf16(f))));
            } else {
                check_narrowing(f, es_f32_to_f16(f), 5, 10);
                check_narrowing(f, es_f32_to_bf16(f), 8, 7);
            }
        }
    }
    assert_int_equal(es_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(es_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(es_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(es_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(es_f32_to_f16(0x1.000002p-25f), 1);
    assert_int_equal(es_f32_to_bf16(3.4e38f), 0x7f80);
}

static void elements_are_read(void **state) {
    (void)state;
    static const uint8_t data[] = {0x55, 0,    0,    0xc0, 0x3f, 0,    0,    0,
                                   0,    0,    0,    0xf8, 0x3f, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0x80, 0xfe};
    assert_true(es_dtype_get(data + 1, ES_F32, 0) == 1.5);
    assert_true(es_dtype_get(data + 5, ES_F64, 0) == 1.5);
    assert_true(es_dtype_get(data + 13, ES_I32, 0) == -1);
    assert_true(es_dtype_get(data + 13, ES_I16, 1) == -1);
    assert_true(es_dtype_get(data + 13, ES_I8, 7) == -128);
    assert_true(es_dtype_get(data + 13, ES_U8, 7) == 128);
    assert_true(es_dtype_get(data + 13, ES_BOOL, 7) == 1);
    assert_true(es_dtype_get(data + 14, ES_I64, 0) == (double)-107804916080181249.0);
    assert_true(es_dtype_get(data + 11, ES_BF16, 0) == 1.9375);
    assert_true(es_dtype_get(data + 11, ES_F16, 0) == 1.9921875);
    static const struct {
        const char *name;
        size_t size;
    } types[] = {{"float32", 4}, {"float16", 2}, {"bfloat16", 2}, {"float64", 8}, {"int64", 8},
                 {"int32", 4},   {"int16", 2},   {"int8", 1},     {"uint8", 1},   {"bool", 1}};
    for (int t = ES_F32; t <= ES_BOOL; t++) {
        assert_string_equal(es_dtype_name((es_dtype)t), types[t].name);
        assert_int_equal(es_dtype_size((es_dtype)t), types[t].size);
        uint8_t noise[8 * 40 + 1];
        for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)(i * 167 + 13);
        for (size_t stride = 0; stride < 4; stride++) {
            float out[11] = {0};
            es_dtype_read_f32(noise + 1, (es_dtype)t, stride, 10, out);
            for (size_t i = 0; i < 10; i++) {
                float expected = (float)es_dtype_get(noise + 1, (es_dtype)t, i * stride);
                assert_memory_equal(&out[i], &expected, 4);
            }
            assert_true(out[10] == 0);
        }
    }
}

static void sha256_of_known_texts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t repeat;
        const char *digest;
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = strlen(cases[i].text), size = length * cases[i].repeat;
        char *text = malloc(size + 1);
        for (size_t r = 0; r < cases[i].repeat; r++)
            memcpy(text + r * length, cases[i].text, length);
        uint8_t digest[32];
        char hex[65];
        es_sha256(text, size, digest);
        for (int b = 0; b < 32; b++) snprintf(hex + 2 * b, 3, "%02x", digest[b]);
        assert_string_equal(hex, cases[i].digest);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_texts),
        cmocka_unit_test(messages_are_clean),
        cmocka_unit_test(messages_are_cut_between_characters),
        cmocka_unit_test(memory_is_aligned_and_counted),
        cmocka_unit_test(meters_are_shared_by_threads),
        cmocka_unit_test_setup_teardown(files_are_mapped_or_copied, make_folder, remove_folder),
        cmocka_unit_test(memory_is_borrowed_or_copied),
        cmocka_unit_test(readers_are_read),
        cmocka_unit_test(halves_widen_exactly),
        cmocka_unit_test(floats_narrow_to_nearest_even),
        cmocka_unit_test(elements_are_read),
        cmocka_unit_test(sha256_of_known_texts),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
