/* Files from before PyTorch 1.6: five pickles and the storages behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/reading.h"
#include "support/slow.h"

static const forge_tensor six = {.numel = 6, .ndim = 2, .shape = {2, 3}, .stride = {3, 1}};

static forge small_file(void) {
    forge object = {0}, file = {0};
    forge_small_dict(&object);
    forge_legacy(&file, &object, 10);
    forge_free(&object);
    return file;
}

static void a_file_is_read(void **state) {
    (void)state;
    forge file = small_file();
    FORGE(&file, "what follows is not looked at");
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    assert_int_equal(r.status, ESRGAN_OK);
    assert_string_equal(r.checkpoint->container, "pytorch-legacy");
    assert_string_equal(r.checkpoint->wrapper, "");
    assert_int_equal(r.checkpoint->count, 2);
    const es_tensor *b = es_checkpoint_find(r.checkpoint, "b");
    float values[4];
    es_tensor_read_f32(b, values);
    for (int i = 0; i < 4; i++) assert_true(values[i] == (float)(6 + i));
    assert_true(b->data > r.copy && b->data < r.copy + file.size); /* in place */
    assert_int_equal(es_checkpoint_verify(r.checkpoint, &r.error), ESRGAN_OK);
    reading_close(&r);
    forge_free(&file);
}

static void the_magic_number_in_all_protocols(void **state) {
    (void)state;
    forge plain = small_file();
    static const struct {
        const char *head;
        size_t size;
    } heads[] = {
        {"\x80\4\x95\r\0\0\0\0\0\0\0\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 24},
        {"L119547037146038801333356L\n.", 28},
    };
    for (size_t i = 0; i < 2; i++) {
        forge file = {0};
        forge_bytes(&file, heads[i].head, heads[i].size);
        forge_bytes(&file, plain.data + 15, plain.size - 15);
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        assert_int_equal(r.status, ESRGAN_OK);
        assert_int_equal(r.checkpoint->count, 2);
        reading_close(&r);
        forge_free(&file);
    }
    forge_free(&plain);
}

/* One tensor "t" of a storage of ten floats. */
static forge one_tensor(const forge_tensor *t) {
    forge object = {0}, file = {0};
    FORGE(&object, "\x80\2}");
    forge_text(&object, "t");
    forge_tensor_v2(&object, t);
    FORGE(&object, "s.");
    forge_legacy(&file, &object, 10);
    forge_free(&object);
    return file;
}

static void views_are_followed(void **state) {
    (void)state;
    /* view_metadata (key, 4, 5): elements 4..8 of the storage, and of those 1.. */
    forge file = one_tensor(&(forge_tensor){.numel = 10,
                                            .offset = 1,
                                            .ndim = 1,
                                            .shape = {4},
                                            .stride = {1},
                                            .view = "U\1vK\4K\5\x87"});
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    assert_int_equal(r.status, ESRGAN_OK);
    float values[4];
    es_tensor_read_f32(&r.checkpoint->tensors[0], values);
    for (int i = 0; i < 4; i++) assert_true(values[i] == (float)(5 + i));
    reading_close(&r);
    forge_free(&file);
    file = one_tensor(&(forge_tensor){.numel = 10,
                                      .offset = 2,
                                      .ndim = 1,
                                      .shape = {4},
                                      .stride = {1},
                                      .view = "U\1vK\4K\5\x87"});
    expect_refused(&file, NULL, ESRGAN_E_CORRUPT, "'t': reaches element 5 of a storage that has 5");
    forge_free(&file);
    file = one_tensor(&(forge_tensor){
        .numel = 10, .ndim = 1, .shape = {4}, .stride = {1}, .view = "U\1vK\6K\5\x87"});
    expect_refused(&file, NULL, ESRGAN_E_CORRUPT, "storage '0': its view leaves the 10 elements");
    forge_free(&file);
}

/* The parts of a file, each replaced in turn. */
static void refuse_parts(const char *version, size_t version_size, const char *system,
                         size_t system_size, const char *keys, size_t keys_size, uint64_t count,
                         esrgan_status status, const char *text) {
    forge whole = {0}, file = {0};
    forge_legacy_head(&whole);
    forge_bytes(&file, whole.data, 15);
    if (version != NULL) {
        forge_bytes(&file, version, version_size);
    } else {
        FORGE(&file, "\x80\2M\xe9\3.");
    }
    if (system != NULL) {
        forge_bytes(&file, system, system_size);
    } else {
        FORGE(&file, "}.");
    }
    FORGE(&file, "}");
    forge_text(&file, "t");
    forge_tensor_v2(&file, &six);
    FORGE(&file, "s.");
    if (keys != NULL) {
        forge_bytes(&file, keys, keys_size);
    } else {
        FORGE(&file, "]U\1"
                     "0a.");
    }
    forge_le(&file, count, 8);
    for (int i = 0; i < 6; i++) forge_le(&file, 0, 4);
    expect_refused(&file, NULL, status, text);
    forge_free(&whole);
    forge_free(&file);
}

#define VERSION(v, s, t) refuse_parts(v, sizeof(v) - 1, NULL, 0, NULL, 0, 6, s, t)
#define SYSTEM(v, s, t)  refuse_parts(NULL, 0, v, sizeof(v) - 1, NULL, 0, 6, s, t)
#define KEYS(v, s, t)    refuse_parts(NULL, 0, NULL, 0, v, sizeof(v) - 1, 6, s, t)

static void wrong_parts_are_named(void **state) {
    (void)state;
    VERSION("M\xea\3.", ESRGAN_E_UNSUPPORTED, "legacy protocol 1002; only 1001");
    VERSION("N.", ESRGAN_E_UNSUPPORTED, "legacy protocol -1");
    VERSION("\xff.", ESRGAN_E_CORRUPT, "protocol version: unknown opcode 0xff");
    SYSTEM("N.", ESRGAN_E_CORRUPT, "the system information is None, expected a dictionary");
    SYSTEM("}U\rlittle_endian\x89s.", ESRGAN_E_UNSUPPORTED, "big-endian");
    KEYS("N.", ESRGAN_E_CORRUPT, "the storage keys are None, expected a list");
    KEYS("]U\1"
         "1a.",
         ESRGAN_E_CORRUPT, "names '1', which is unknown");
    KEYS("]K\1a.", ESRGAN_E_CORRUPT, "names '?', which is unknown");
    KEYS("].", ESRGAN_E_CORRUPT, "storage '0' is not in the list of storages");
    refuse_parts(NULL, 0, NULL, 0,
                 "](U\1"
                 "0U\1"
                 "0e.",
                 10, 6, ESRGAN_E_CORRUPT, "names '0', which is there twice");
    refuse_parts(NULL, 0, NULL, 0, NULL, 0, 7, ESRGAN_E_CORRUPT,
                 "storage '0' has 7 elements, expected 6");
    refuse_parts(NULL, 0, NULL, 0, NULL, 0, UINT64_MAX, ESRGAN_E_CORRUPT, "elements, expected 6");
}

static void other_first_pickles(void **state) {
    (void)state;
    forge file = {0};
    FORGE(&file, "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
                 "0N.");
    expect_refused(&file, NULL, ESRGAN_E_CORRUPT, "the magic number is None");
    file.data[5] ^= 1;
    expect_refused(&file, NULL, ESRGAN_E_NOT_CHECKPOINT, "a Python pickle, but not one");
    forge_free(&file);
}

static void storages_are_checked(void **state) {
    (void)state;
    forge object = {0}, file = {0};
    FORGE(&object, "}(");
    forge_text(&object, "a");
    forge_tensor_v2(&object, &six);
    forge_text(&object, "b");
    forge_tensor_v2(&object, &(forge_tensor){.numel = 7, .ndim = 1, .shape = {1}, .stride = {1}});
    FORGE(&object, "u.");
    forge_legacy(&file, &object, 6);
    expect_refused(&file, NULL, ESRGAN_E_CORRUPT, "'0' is referred to as two different ones");
    forge_free(&file);
    object.size = 0; /* a storage that nothing but an optimiser refers to has its place too */
    FORGE(&object, "}(");
    forge_text(&object, "a");
    forge_tensor_v2(&object, &six);
    forge_text(&object, "optimizer");
    FORGE(&object, "}");
    forge_text(&object, "x");
    forge_storage(&object, &(forge_tensor){.key = "9", .numel = 3, .type = "ComplexFloatStorage"});
    FORGE(&object, "su.");
    forge_legacy_head(&file);
    forge_bytes(&file, object.data, object.size);
    FORGE(&file, "](U\1"
                 "9U\1"
                 "0e.");
    forge_le(&file, 3, 8);
    for (int i = 0; i < 3; i++) forge_le(&file, 0, 8);
    forge_le(&file, 6, 8);
    for (int i = 0; i < 6; i++) forge_le(&file, 0x3f800000, 4);
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    assert_int_equal(r.status, ESRGAN_OK);
    float values[6];
    es_tensor_read_f32(&r.checkpoint->tensors[0], values);
    for (int i = 0; i < 6; i++) assert_true(values[i] == 1.0f);
    reading_close(&r);
    file.size -= 1;
    expect_refused(&file, NULL, ESRGAN_E_TRUNCATED,
                   "ends inside storage '0': 23 bytes are left, expected 24");
    forge_free(&file);
    forge_free(&object);
}

static void many_storages(void **state) {
    (void)state;
    forge object = {0}, file = {0};
    FORGE(&object, "}(U\1n");
    forge_storage(&object, &(forge_tensor){.numel = 6});
    FORGE(&object, "(");
    forge_text(&object, "storage");
    forge_global(&object, "torch", "FloatStorage");
    FORGE(&object, "U\1"
                   "0U\1cK\6tq\0"); /* an id, and many storages of it */
    for (int i = 0; i < 300000; i++) FORGE(&object, "Q0h\0");
    FORGE(&object, "0u.");
    forge_legacy(&file, &object, 6);
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    assert_int_equal(r.status, ESRGAN_E_LIMIT);
    assert_non_null(strstr(r.error.message, "more than 262144 storages"));
    assert_true(r.seconds < 0.5 * slow());
    reading_close(&r);
    forge_free(&object);
    forge_free(&file);
}

static void truncation_and_corruption(void **state) {
    (void)state;
    forge file = small_file();
    for (size_t size = 1; size < file.size;
         size++) { /* where only the end is missing, it says so */
        reading r;
        reading_open(&r, file.data, size, NULL, -1);
        assert_int_equal(r.status, ESRGAN_E_TRUNCATED);
        assert_non_null(strstr(r.error.message, "cut short, download it again"));
        reading_close(&r);
    }
    expect_robust(&file);
    expect_memory_errors(&file, NULL);
    forge_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),      cmocka_unit_test(the_magic_number_in_all_protocols),
        cmocka_unit_test(views_are_followed),  cmocka_unit_test(wrong_parts_are_named),
        cmocka_unit_test(other_first_pickles), cmocka_unit_test(storages_are_checked),
        cmocka_unit_test(many_storages),       cmocka_unit_test(truncation_and_corruption),
    };
    return cmocka_run_group_tests_name("legacy", tests, NULL, NULL);
}
