/* Whole checkpoints: tensors of every kind, wrappers, what is refused and in which words. */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/reading.h"
#include "support/slow.h"

static forge small_zip(bool deflate) {
    forge pickle = {0}, file = {0};
    forge_small_dict(&pickle);
    forge_checkpoint(&file, &pickle, 10, deflate);
    forge_free(&pickle);
    return file;
}

static void a_zip_is_read(void **state) {
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        forge file = small_zip(deflate);
        const es_checkpoint_options options = {.verify = true};
        reading r;
        reading_open(&r, file.data, file.size, &options, -1);
        assert_int_equal(r.status, ESRGAN_OK);
        assert_string_equal(r.checkpoint->container, "pytorch-zip");
        assert_string_equal(r.checkpoint->wrapper, "");
        assert_string_equal(r.checkpoint->file, "forged.pth");
        assert_int_equal(r.checkpoint->count, 2);
        const es_tensor *a = es_checkpoint_find(r.checkpoint, "a");
        const es_tensor *b = es_checkpoint_find(r.checkpoint, "b");
        assert_ptr_equal(a, &r.checkpoint->tensors[0]);
        assert_ptr_equal(b, &r.checkpoint->tensors[1]);
        assert_null(es_checkpoint_find(r.checkpoint, "c"));
        assert_int_equal(a->dtype, ES_F32);
        assert_int_equal(a->ndim, 2);
        assert_int_equal(a->numel, 6);
        float values[4];
        es_tensor_read_f32(b, values);
        for (int i = 0; i < 4; i++) assert_true(values[i] == (float)(6 + i));
        bool in_place = a->data >= r.copy && a->data < r.copy + file.size;
        assert_true(in_place == !deflate);
        if (in_place) assert_int_equal((a->data - r.copy) % 64, 0);
        assert_ptr_equal(b->data, a->data + 24); /* one storage, shared */
        assert_int_equal(es_checkpoint_verify(r.checkpoint, &r.error), ESRGAN_OK);
        reading_close(&r);
        forge_free(&file);
    }
}

static void checksums_are_compared(void **state) {
    (void)state;
    const es_checkpoint_options options = {.verify = true};
    for (int deflate = 0; deflate < 2; deflate++) {
        forge file = small_zip(deflate);
        for (size_t i = 0; i < 4; i++) {
            forge_central(&file, i)[16] ^= 1;
            expect_refused(&file, &options, ESRGAN_E_CORRUPT, "CRC-32 is");
            forge_central(&file, i)[16] ^= 1;
        }
        forge_central(&file, 2)[16] ^= 1; /* a stored weight is not looked at unless asked for */
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        assert_int_equal(r.status, deflate ? ESRGAN_E_CORRUPT : ESRGAN_OK);
        if (r.status == ESRGAN_OK) {
            assert_int_equal(es_checkpoint_verify(r.checkpoint, &r.error), ESRGAN_E_CORRUPT);
            assert_non_null(strstr(r.error.message, "entry 'archive/data/0': CRC-32 is"));
        }
        reading_close(&r);
        forge_free(&file);
    }
}

/* ---- Tensors ---------------------------------------------------------------------------------- */

/* {"t": tensor} over a storage of so many floats */
static forge one_tensor(const forge_tensor *t, size_t floats) {
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "\x80\2}");
    forge_text(&pickle, "t");
    forge_tensor_v2(&pickle, t);
    FORGE(&pickle, "s.");
    forge_checkpoint(&file, &pickle, floats, false);
    forge_free(&pickle);
    return file;
}

/* Reads t and compares with what the definition of strides says, whole and in ranges. */
static void check_strides(const forge_tensor *t) {
    forge file = one_tensor(t, (size_t)t->numel);
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    if (r.status != ESRGAN_OK) fail_msg("%s", r.error.message);
    const es_tensor *tensor = &r.checkpoint->tensors[0];
    int64_t numel = 1;
    for (int i = 0; i < t->ndim; i++) numel *= t->shape[i];
    assert_int_equal(tensor->numel, numel);
    float *expected = calloc((size_t)numel + 1, 4), *got = calloc((size_t)numel + 1, 4);
    double *wide = calloc((size_t)numel + 1, 8);
    for (int64_t n = 0; n < numel; n++) {
        int64_t at = t->offset, rest = n;
        for (int d = t->ndim; d-- > 0; rest /= t->shape[d]) at += rest % t->shape[d] * t->stride[d];
        expected[n] = (float)at;
    }
    es_tensor_read_f32(tensor, got);
    assert_memory_equal(got, expected, ((size_t)numel + 1) * 4);
    es_tensor_read_f64(tensor, wide);
    for (int64_t n = 0; n < numel; n++) assert_true(wide[n] == (double)expected[n]);
    for (int64_t first = 0; first <= numel; first += 1 + first / 3) {
        for (int64_t count = 0; count <= numel - first; count += 1 + count / 3) {
            memset(got, 0, ((size_t)numel + 1) * 4);
            es_tensor_read_f32_range(tensor, first, count, got);
            assert_memory_equal(got, expected + first, (size_t)count * 4);
            assert_true(got[count] == 0);
        }
    }
    free(expected);
    free(got);
    free(wide);
    reading_close(&r);
    forge_free(&file);
}

static void strides_are_followed(void **state) {
    (void)state;
    static const forge_tensor tensors[] = {
        {.numel = 1, .ndim = 0},
        {.numel = 24, .ndim = 1, .shape = {24}, .stride = {1}},
        {.numel = 24, .ndim = 1, .shape = {8}, .stride = {3}, .offset = 2},
        {.numel = 24, .ndim = 4, .shape = {2, 3, 2, 2}, .stride = {12, 4, 2, 1}},
        {.numel = 24,
         .ndim = 4,
         .shape = {2, 3, 2, 2},
         .stride = {12, 1, 6, 3}},                                   /* channels last */
        {.numel = 24, .ndim = 2, .shape = {4, 6}, .stride = {1, 4}}, /* transposed */
        {.numel = 24,
         .ndim = 3,
         .shape = {2, 2, 3},
         .stride = {12, 4, 1},
         .offset = 1},                                              /* a slice */
        {.numel = 3, .ndim = 2, .shape = {5, 3}, .stride = {0, 1}}, /* expanded */
        {.numel = 3, .ndim = 3, .shape = {3, 1, 4}, .stride = {1, 99, 0}},
        {.numel = 3, .ndim = 2, .shape = {0, 3}, .stride = {3, 1}}, /* empty */
        {.numel = 24,
         .ndim = 8,
         .shape = {2, 1, 3, 1, 2, 1, 2, 1},
         .stride = {12, 7, 4, 7, 2, 7, 1, 7}},
        {.numel = 0, .ndim = 1, .shape = {0}, .stride = {1}},
        {.numel = 0, .ndim = 2, .shape = {3, 0}, .stride = {0, 2}, .offset = 7},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) check_strides(&tensors[i]);
}

static void all_types_are_read(void **state) {
    (void)state;
    static const struct {
        const char *name;
        es_dtype dtype;
        int64_t numel;
    } types[] = {
        {"FloatStorage", ES_F32, 6},      {"DoubleStorage", ES_F64, 3}, {"HalfStorage", ES_F16, 12},
        {"BFloat16Storage", ES_BF16, 12}, {"LongStorage", ES_I64, 3},   {"IntStorage", ES_I32, 6},
        {"ShortStorage", ES_I16, 12},     {"CharStorage", ES_I8, 24},   {"ByteStorage", ES_U8, 24},
        {"BoolStorage", ES_BOOL, 24},     {"UntypedStorage", ES_U8, 24}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        forge file = one_tensor(&(forge_tensor){.type = types[i].name,
                                                .numel = types[i].numel,
                                                .ndim = 1,
                                                .shape = {types[i].numel},
                                                .stride = {1}},
                                6);
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        assert_int_equal(r.status, ESRGAN_OK);
        const es_tensor *t = &r.checkpoint->tensors[0];
        assert_int_equal(t->dtype, types[i].dtype);
        double values[24];
        es_tensor_read_f64(t, values);
        for (size_t n = 0; n < (size_t)t->numel; n++) {
            double expected = es_dtype_get(t->data, t->dtype, n);
            assert_memory_equal(&values[n], &expected, 8);
        }
        reading_close(&r);
        forge_free(&file);
    }
}

static void bad_tensors_are_named(void **state) {
    (void)state;
    static const struct {
        forge_tensor t;
        esrgan_status status;
        const char *text;
    } cases[] = {
        {{.numel = 6, .ndim = 1, .shape = {7}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "'t': reaches element 6 of a storage that has 6"},
        {{.numel = 6, .ndim = 1, .shape = {6}, .stride = {1}, .offset = 1},
         ESRGAN_E_CORRUPT,
         "'t': reaches element 6"},
        {{.numel = 6, .ndim = 1, .shape = {1}, .stride = {1}, .offset = -1},
         ESRGAN_E_CORRUPT,
         "begins outside of its storage"},
        {{.numel = 6, .ndim = 1, .shape = {1}, .stride = {1}, .offset = INT64_MAX},
         ESRGAN_E_CORRUPT,
         "begins outside of its storage"},
        {{.numel = 6, .ndim = 1, .shape = {2}, .stride = {-1}, .offset = 3},
         ESRGAN_E_CORRUPT,
         "'t': a negative stride"},
        {{.numel = 6, .ndim = 1, .shape = {-2}, .stride = {1}}, ESRGAN_E_CORRUPT, "or negative"},
        {{.numel = 6, .ndim = 9}, ESRGAN_E_UNSUPPORTED, "has 9 dimensions; at most 8"},
        {{.numel = 6, .ndim = 3, .shape = {INT64_MAX, 2, 2}}, ESRGAN_E_CORRUPT, "passes 64 bits"},
        {{.numel = 6, .ndim = 2, .shape = {3, 3}, .stride = {INT64_MAX, INT64_MAX}},
         ESRGAN_E_CORRUPT,
         "(and beyond 64 bits)"},
        {{.numel = 6, .ndim = 2, .shape = {1 << 20, 1 << 20}, .stride = {0, 0}},
         ESRGAN_E_LIMIT,
         "repeats the 6 elements of its storage"},
        {{.numel = 7, .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "'archive/data/0' has 24 bytes, expected 28 (7 elements of FloatStorage)"},
        {{.numel = 5, .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "'archive/data/0' has 24 bytes, expected 20 (5 elements of FloatStorage)"},
        {{.numel = INT64_MAX, .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "storage '0' has an impossible number of elements"},
        {{.numel = -1, .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "impossible number"},
        {{.numel = 6, .key = "17", .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_CORRUPT,
         "no entry 'archive/data/17' for a storage"},
        {{.numel = 3, .type = "ComplexFloatStorage", .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_UNSUPPORTED,
         "'t': elements of a type that cannot be read (ComplexFloatStorage)"},
        {{.numel = 3, .type = "OddStorage", .ndim = 1, .shape = {1}, .stride = {1}},
         ESRGAN_E_UNSUPPORTED,
         "storages of type torch.OddStorage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forge file = one_tensor(&cases[i].t, 6);
        expect_refused(&file, NULL, cases[i].status, cases[i].text);
        forge_free(&file);
    }
}

/* {"t": ...} where ... are opcodes; $ stands for a storage of six floats. */
static void expect_value_error(const char *opcodes, size_t size, esrgan_status status,
                               const char *text) {
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "}");
    forge_text(&pickle, "t");
    for (size_t i = 0; i < size; i++) {
        if (opcodes[i] == '$') {
            forge_storage(&pickle, &(forge_tensor){.numel = 6});
        } else {
            forge_bytes(&pickle, opcodes + i, 1);
        }
    }
    FORGE(&pickle, "s.");
    forge_checkpoint(&file, &pickle, 6, false);
    if (status != ESRGAN_OK) {
        expect_refused(&file, NULL, status, text);
    } else {
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        if (r.status != ESRGAN_OK) fail_msg("%s", r.error.message);
        assert_int_equal(r.checkpoint->tensors[0].numel, 6);
        assert_string_equal(es_dtype_name(r.checkpoint->tensors[0].dtype), text);
        reading_close(&r);
    }
    forge_free(&pickle);
    forge_free(&file);
}

#define CALL(literal, status, text) expect_value_error(literal, sizeof(literal) - 1, status, text)
#define UTILS                       "ctorch._utils\n"

static void calls_of_torch(void **state) {
    (void)state;
    CALL(UTILS "_rebuild_tensor\n($K\0K\6\x85K\1\x85tR", ESRGAN_OK, "float32");
    CALL(UTILS "_rebuild_tensor_v2\n($K\0]K\6a]K\1atR", ESRGAN_OK, "float32");
    CALL(UTILS "_rebuild_parameter\n" UTILS "_rebuild_tensor\n($K\0K\6\x85K\1\x85tR\x88N\x87R",
         ESRGAN_OK, "float32");
    CALL(UTILS "_rebuild_parameter_with_state\n" UTILS "_rebuild_tensor\n($K\0K\6\x85K\1\x85tR"
               "\x88N\x87R",
         ESRGAN_OK, "float32");
    CALL(UTILS "_rebuild_tensor_v3\n((U\7storagectorch.storage\nUntypedStorage\nU\1"
               "0U\3cpuK\x18tQ"
               "K\0K\6\x85K\1\x85\x89Nctorch\nbfloat16\ntR",
         ESRGAN_OK, "bfloat16");
    CALL(UTILS "_rebuild_tensor_v3\n((U\7storagectorch.storage\nUntypedStorage\nU\1"
               "0U\3cpuK\x18tQ"
               "K\0K\6\x85K\1\x85\x89Nctorch\nfloat8_e5m2\ntR",
         ESRGAN_E_UNSUPPORTED, "'t': elements of a type that cannot be read");
    CALL(UTILS "_rebuild_qtensor\n)R", ESRGAN_E_UNSUPPORTED,
         "'t': a tensor made by _rebuild_qtensor");
    CALL("ctorch._tensor\n_rebuild_from_type_v2\n)R", ESRGAN_E_UNSUPPORTED,
         "_rebuild_from_type_v2");
    CALL(UTILS "_rebuild_tensor_v2\n)R", ESRGAN_E_CORRUPT, "'t': a tensor with too few arguments");
    CALL(UTILS "_rebuild_tensor_v2\nNR", ESRGAN_E_CORRUPT, "'t': a tensor with too few arguments");
    CALL(UTILS "_rebuild_parameter\n)R", ESRGAN_E_CORRUPT, "'t': a parameter without arguments");
    CALL(UTILS "_rebuild_parameter\nN\x85R", ESRGAN_E_CORRUPT, "'t': a parameter without a tensor");
    CALL(UTILS "_rebuild_tensor\n(NK\0K\6\x85K\1\x85tR", ESRGAN_E_CORRUPT, "without a storage");
    CALL(UTILS "_rebuild_tensor\n($NK\6\x85K\1\x85tR", ESRGAN_E_CORRUPT, "or an offset");
    CALL(UTILS "_rebuild_tensor\n($K\0K\6\x85)tR", ESRGAN_E_CORRUPT, "no tuples of one length");
    CALL(UTILS "_rebuild_tensor\n($K\0NNtR", ESRGAN_E_CORRUPT, "no tuples of one length");
    CALL(UTILS "_rebuild_tensor\n($K\0N\x85K\1\x85tR", ESRGAN_E_CORRUPT, "that is no number");
    CALL(UTILS "_rebuild_tensor\n(NQK\0K\6\x85K\1\x85tR", ESRGAN_E_CORRUPT,
         "names no storage (None)");
    CALL(UTILS "_rebuild_tensor\n((U\7storageNU\1"
               "0NK\6tQK\0K\6\x85K\1\x85tR",
         ESRGAN_E_CORRUPT, "a storage whose type is None");
    CALL(UTILS "_rebuild_tensor\n((U\7storageNNNK\6tQK\0K\6\x85K\1\x85tR", ESRGAN_E_CORRUPT,
         "a storage whose key is None");
}

static void parameters_in_parameters(void **state) {
    (void)state;
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "}");
    forge_text(&pickle, "t");
    FORGE(&pickle, UTILS "_rebuild_parameter\nq\1N\x85R");
    for (int i = 0; i < 20; i++)
        FORGE(&pickle, "q\2"
                       "0h\1h\2\x85R");
    FORGE(&pickle, "s.");
    forge_checkpoint(&file, &pickle, 1, false);
    expect_refused(&file, NULL, ESRGAN_E_LIMIT, "'t': a parameter nested too deep");
    forge_free(&pickle);
    forge_free(&file);
}

/* ---- Wrappers --------------------------------------------------------------------------------- */

/* A checkpoint {names[i]: {"weight": i + 1 elements, "step": 7}, ...} */
static forge wrapped(const char *const *names, size_t count) {
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "}(");
    for (size_t i = 0; i < count; i++) {
        forge_text(&pickle, names[i]);
        FORGE(&pickle, "}(");
        forge_text(&pickle, "weight");
        forge_tensor_v2(
            &pickle,
            &(forge_tensor){.numel = 20, .ndim = 1, .shape = {(int64_t)i + 1}, .stride = {1}});
        forge_text(&pickle, "step");
        FORGE(&pickle, "K\7u");
    }
    FORGE(&pickle, "u.");
    forge_checkpoint(&file, &pickle, 20, false);
    forge_free(&pickle);
    return file;
}

static void expect_wrapper(const forge *file, const char *asked, const char *got, int64_t numel) {
    const es_checkpoint_options options = {.wrapper = asked};
    reading r;
    reading_open(&r, file->data, file->size, &options, -1);
    if (r.status != ESRGAN_OK) fail_msg("%s", r.error.message);
    assert_string_equal(r.checkpoint->wrapper, got);
    assert_int_equal(r.checkpoint->count, 1);
    assert_string_equal(r.checkpoint->tensors[0].name, "weight");
    assert_int_equal(r.checkpoint->tensors[0].numel, numel);
    reading_close(&r);
}

static void wrappers_are_preferred_in_order(void **state) {
    (void)state;
    static const char *const names[] = {
        "optimizer",  "generator",        "netG",   "net",        "model",
        "state_dict", "model_state_dict", "params", "params-ema", "params_ema"};
    for (size_t count = 2; count <= 10; count++) {
        forge file = wrapped(names, count);
        expect_wrapper(&file, NULL, names[count - 1], (int64_t)count);
        expect_wrapper(&file, names[count - 1], names[count - 1], (int64_t)count);
        expect_wrapper(&file, "optimizer", "optimizer", 1);
        const es_checkpoint_options options = {.wrapper = "other"};
        expect_refused(&file, &options, ESRGAN_E_NOT_FOUND,
                       "has no dictionary 'other'; dictionaries present: optimizer, generator");
        forge_free(&file);
    }
    forge file = wrapped(names, 1); /* one dictionary and nothing else, whatever its name */
    expect_wrapper(&file, NULL, "optimizer", 1);
    forge_free(&file);
    file = small_zip(false);
    const es_checkpoint_options options = {.wrapper = "params"};
    expect_refused(&file, &options, ESRGAN_E_NOT_FOUND,
                   "has no dictionary 'params'; dictionaries present: none");
    forge_free(&file);
    static const char *const long_names[] = {
        "dictionary with a name that goes on for quite a while, one",
        "a dictionary, two",
        "dictionary with a name that goes on for quite a while, three",
        "dictionary with a name that goes on for quite a while, four",
        "dictionary with a name that goes on for quite a while, five",
        "dictionary with a name that goes on for quite a while, six"};
    file = wrapped(long_names, 6); /* the list ends where there is no more room */
    expect_refused(
        &file, NULL, ESRGAN_E_UNKNOWN_NETWORK,
        "a dictionary, two, dictionary with a name that goes on for , dictionary with a name "
        "that goes on for , dictionary with a name that goes on for  (choose one");
    forge_free(&file);
    static const char *const unknown[] = {"epoch", "weights"};
    file = wrapped(unknown, 2);
    expect_refused(&file, NULL, ESRGAN_E_UNKNOWN_NETWORK,
                   "holds no tensors; dictionaries in it: epoch, weights (choose one");
    forge_free(&file);
}

/* {"model": {"params": .., "params_ema": ..}} */
static void wrappers_inside_wrappers(void **state) {
    (void)state;
    static const struct {
        const char *asked, *got;
        int64_t numel;
    } cases[] = {{NULL, "model.params_ema", 2},
                 {"params", "model.params", 1},
                 {"params_ema", "model.params_ema", 2},
                 {"model", "model.params_ema", 2}};
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "}U\5model}(");
    for (int64_t i = 1; i <= 2; i++) {
        forge_text(&pickle, i == 1 ? "params" : "params_ema");
        FORGE(&pickle, "}");
        forge_text(&pickle, "weight");
        forge_tensor_v2(&pickle,
                        &(forge_tensor){.numel = 20, .ndim = 1, .shape = {i}, .stride = {1}});
        FORGE(&pickle, "s");
    }
    FORGE(&pickle, "us.");
    forge_checkpoint(&file, &pickle, 20, false);
    for (size_t i = 0; i < 4; i++) {
        expect_wrapper(&file, cases[i].asked, cases[i].got, cases[i].numel);
    }
    const es_checkpoint_options options = {.wrapper = "net"};
    expect_refused(&file, &options, ESRGAN_E_NOT_FOUND,
                   "has no dictionary 'net'; dictionaries present: params, params_ema");
    forge_free(&pickle);
    forge_free(&file);
}

static forge pickle_only(const char *opcodes, size_t size) {
    forge pickle = {0}, file = {0};
    forge_bytes(&pickle, opcodes, size);
    forge_checkpoint(&file, &pickle, 20, false);
    forge_free(&pickle);
    return file;
}

#define ROOT(literal, status, text)                                                                \
    do {                                                                                           \
        forge file_ = pickle_only(literal, sizeof(literal) - 1);                                   \
        expect_refused(&file_, NULL, status, text);                                                \
        forge_free(&file_);                                                                        \
    } while (0)

static void other_roots_are_named(void **state) {
    (void)state;
    ROOT("].", ESRGAN_E_UNKNOWN_NETWORK, "holds a list, expected a dictionary of tensors");
    ROOT("N.", ESRGAN_E_UNKNOWN_NETWORK, "holds None, expected");
    ROOT("}.", ESRGAN_E_UNKNOWN_NETWORK, "holds no tensors; dictionaries in it: none");
    ROOT("}U\6params}s.", ESRGAN_E_UNKNOWN_NETWORK, "holds no tensors in params");
    ROOT("cbasicsr.archs.rrdbnet_arch\nRRDBNet\n)\x81}b.", ESRGAN_E_UNSUPPORTED,
         "holds a whole pickled object (RRDBNet), not a dictionary of tensors: save "
         "model.state_dict()");
    ROOT("K\1)R.", ESRGAN_E_UNSUPPORTED, "whole pickled object (unnamed)");
    ROOT("ctorch._utils\n_rebuild_tensor_v2\n)R.", ESRGAN_E_UNKNOWN_NETWORK, "holds a tensor,");
    ROOT("}K\1ctorch._utils\n_rebuild_tensor_v2\n)Rs.", ESRGAN_E_UNSUPPORTED,
         "a tensor whose name is an integer");
    ROOT("}U\3a\0bctorch._utils\n_rebuild_tensor_v2\n)Rs.", ESRGAN_E_CORRUPT,
         "name is empty or holds a zero byte");
    ROOT("}U\0ctorch._utils\n_rebuild_tensor_v2\n)Rs.", ESRGAN_E_CORRUPT, "name is empty");
    ROOT("}q\0U\1dh\0s.", ESRGAN_E_LIMIT, "more than 8 dictionaries inside one another");
    ROOT("}U\1x", ESRGAN_E_CORRUPT, "data.pkl: ends without STOP at offset 4");
    ROOT("}\xfe", ESRGAN_E_CORRUPT, "data.pkl: unknown opcode 0xfe at offset 1");
    ROOT("}U\5a\nb\x1b\xff"
         "ctorch._utils\n_rebuild_qtensor\n)Rs.",
         ESRGAN_E_UNSUPPORTED,
         "'a?b?"
         "?'"); /* a name made to spoil a terminal */
}

/* {name: one-element tensor, ...} with names separated by blanks */
static forge named(const char *names) {
    forge pickle = {0}, file = {0};
    FORGE(&pickle, "}(");
    char list[200];
    snprintf(list, sizeof list, "%s", names);
    for (char *rest = list, *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
        forge_text(&pickle, name);
        forge_tensor_v2(&pickle, &(forge_tensor){.numel = 20});
    }
    FORGE(&pickle, "u.");
    forge_checkpoint(&file, &pickle, 20, false);
    forge_free(&pickle);
    return file;
}

static void expect_names(const char *names, const char *expected) {
    forge file = named(names);
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    assert_int_equal(r.status, ESRGAN_OK);
    char got[200] = "";
    for (size_t i = 0; i < r.checkpoint->count; i++) {
        if (i > 0) strcat(got, " ");
        strcat(got, r.checkpoint->tensors[i].name);
    }
    assert_string_equal(got, expected);
    reading_close(&r);
    forge_free(&file);
}

static void prefixes_are_stripped(void **state) {
    (void)state;
    expect_names("module.a module.b", "a b");
    expect_names("module.a b", "module.a b"); /* only if all have it */
    expect_names("netG.b netG.a", "b a");     /* file order stays */
    expect_names("generator.a", "a");
    expect_names("module._orig_mod.a module._orig_mod.b", "a b");
    expect_names("_orig_mod.module.a _orig_mod.module.b", "a b");
    expect_names("module.", "module.");
    forge file = named("a b a");
    expect_refused(&file, NULL, ESRGAN_E_CORRUPT, "two tensors are called 'a'");
    forge_free(&file);
}

/* ---- Archives that are none ------------------------------------------------------------------- */

static void expect_archive_error(const char *names, esrgan_status status, const char *text) {
    forge file = {0};
    forge_entry entries[8];
    char list[200];
    size_t count = 0;
    snprintf(list, sizeof list, "%s", names);
    for (char *rest = list, *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
        entries[count++] = (forge_entry){.name = name, .data = "big", .size = 3};
    }
    forge_zip(&file, entries, count, 0, false, NULL);
    expect_refused(&file, NULL, status, text);
    forge_free(&file);
}

static void other_archives_are_named(void **state) {
    (void)state;
    expect_archive_error("a/x a/y", ESRGAN_E_NOT_CHECKPOINT,
                         "a zip archive of 2 entries without data.pkl");
    expect_archive_error("", ESRGAN_E_NOT_CHECKPOINT, "a zip archive of 0 entries");
    expect_archive_error("m/RRDB.pth", ESRGAN_E_NOT_CHECKPOINT, "with 'm/RRDB.pth' in it: unpack");
    expect_archive_error("x.npy y.npy", ESRGAN_E_NOT_CHECKPOINT, "a NumPy .npz archive ('x.npy')");
    expect_archive_error("a/data.pkl a/code/x.py a/constants.pkl", ESRGAN_E_NOT_CHECKPOINT,
                         "a TorchScript archive");
    expect_archive_error("a/data.pkl b/data.pkl", ESRGAN_E_CORRUPT,
                         "two pickles in one archive: 'a/data.pkl' and 'b/data.pkl'");
    expect_archive_error("a/data.pkl a/byteorder", ESRGAN_E_UNSUPPORTED,
                         "big-endian machine (byteorder is 'big'");
    expect_archive_error("a/data.pkl", ESRGAN_E_CORRUPT,
                         "data.pkl: too few values on the stack at offset 0 (BUILD)");
}

static void any_folder_will_do(void **state) {
    (void)state;
    static const char *const folders[] = {"archive/", "RealESRGAN_x4plus/", "a/b/", "\xc3\xbc ber/",
                                          ""};
    for (size_t i = 0; i < 5; i++) {
        forge pickle = {0}, file = {0};
        forge_small_dict(&pickle);
        char first[64], second[64];
        snprintf(first, sizeof first, "%sdata/0", folders[i]);
        snprintf(second, sizeof second, "%sdata.pkl", folders[i]);
        const forge_entry entries[] = {
            {.name = first, .data = "0123456789012345678901234567890123456789", .size = 40},
            {.name = second, .data = pickle.data, .size = pickle.size}};
        forge_zip(&file, entries, 2, 0, false, NULL);
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        assert_int_equal(r.status, ESRGAN_OK);
        reading_close(&r);
        forge_free(&pickle);
        forge_free(&file);
    }
}

static void expect_not_checkpoint(const void *data, size_t size, const char *text) {
    const forge file = {.data = (uint8_t *)(uintptr_t)data, .size = size};
    expect_refused(&file, NULL, ESRGAN_E_NOT_CHECKPOINT, text);
}

#define SNIFF(literal, text) expect_not_checkpoint(literal, sizeof(literal) - 1, text)

static void other_files_are_named(void **state) {
    (void)state;
    SNIFF("", "the file is empty");
    SNIFF("<!DOCTYPE html><html>", "an HTML page");
    SNIFF("\xef\xbb\xbf\r\n <HTML lang=en>", "an HTML page");
    SNIFF("<?xml version=\"1.0\"?>", "XML or HTML text");
    SNIFF("version https://git-lfs.github.com/spec/v1\noid sha256:4fa0\nsize 67040989\n",
          "a Git LFS pointer");
    SNIFF("{\"error\": \"not found\"}", "JSON text");
    SNIFF("Not Found", "plain text");
    SNIFF("\x10\0\0\0\0\0\0\0{\"a\":{}}        ", "a safetensors file");
    SNIFF("7767517\n75 83\nInput data 0 1", "an ncnn .param file");
    SNIFF("\x47\x6b\x30\x01\0\0\0\0", "an ncnn .bin file");
    SNIFF("\x08\x07\x12\x07pytorch\x1a\x03"
          "1.9....",
          "an ONNX model");
    SNIFF("\x89PNG\r\n\x1a\n....", "a PNG picture");
    SNIFF("\xff\xd8\xff\xe0....", "a JPEG picture");
    SNIFF("RIFF....WEBPVP8 ", "a WebP picture");
    SNIFF("\x1f\x8b\x08....", "compressed with gzip: unpack it first");
    SNIFF("7z\xbc\xaf\x27\x1c....", "a 7-Zip archive");
    SNIFF("\x80\2}q\0.", "a Python pickle, but not one that torch.save wrote");
    SNIFF("\0\0\0\0\0\0\0\0\0\0", "zeros only");
    SNIFF("\xde\xad\xbe\xef\x01", "not a PyTorch checkpoint (begins with bytes de ad be ef 01 )");
    char tar[512] = "pickle";
    memcpy(tar + 257, "ustar", 5);
    expect_not_checkpoint(tar, sizeof tar, "a tar archive; where it is a checkpoint from before");
    const forge cut = {.data = (uint8_t *)"PK\3\4\x14\0", .size = 6};
    expect_refused(&cut, NULL, ESRGAN_E_TRUNCATED, "a zip archive without its end (6 bytes");
}

static void limits_hold(void **state) {
    (void)state;
    forge file = small_zip(true);
    const es_checkpoint_options options = {.max_bytes = 500};
    expect_refused(&file, &options, ESRGAN_E_LIMIT, "more than the limit of 500 bytes");
    forge_free(&file);
    char name[700];
    memset(name, 'n', sizeof name - 1); /* a file name longer than a message */
    name[sizeof name - 1] = 0;
    es_bytes bytes = {.data = (const uint8_t *)"x", .size = 1, .name = name};
    esrgan_allocator a = es_allocator(NULL);
    es_checkpoint *checkpoint;
    esrgan_error error;
    assert_int_equal(es_checkpoint_open(&checkpoint, &bytes, NULL, &a, &error),
                     ESRGAN_E_NOT_CHECKPOINT);
    assert_non_null(strstr(error.message, "nnn: plain text"));
    assert_int_equal(es_checkpoint_open(&checkpoint, &bytes, NULL, &a, NULL),
                     ESRGAN_E_NOT_CHECKPOINT);
    es_checkpoint_free(NULL);
}

static void expect_limit(const forge *pickle, const char *text) {
    forge file = {0};
    forge_checkpoint(&file, pickle, 20, false);
    reading r;
    reading_open(&r, file.data, file.size, NULL, -1);
    if (r.status != ESRGAN_E_LIMIT || strstr(r.error.message, text) == NULL) {
        fail_msg("expected '%s', got %d '%s'", text, r.status, r.error.message);
    }
    assert_true(r.seconds < 0.5 * slow());
    assert_true(r.meter.peak < (uint64_t)64 << 20);
    reading_close(&r);
    forge_free(&file);
}

/* What is written once and referred to a million times must not be compared or copied as often. */
static void references_are_no_bombs(void **state) {
    (void)state;
    forge pickle = {0};
    FORGE(&pickle, "}(X");
    forge_le(&pickle, 1 << 20, 4);
    for (int i = 0; i < 1 << 20; i++) FORGE(&pickle, "n");
    FORGE(&pickle, "q\0");
    forge_tensor_v2(&pickle, &(forge_tensor){.numel = 20});
    FORGE(&pickle, "q\1");
    for (int i = 0; i < 60000; i++) FORGE(&pickle, "h\0h\1");
    FORGE(&pickle, "u.");
    expect_limit(&pickle, "a tensor with a name of 1048576 bytes");
    pickle.size = 0;
    FORGE(&pickle, "}(U\1nq\0");
    forge_tensor_v2(&pickle, &(forge_tensor){.numel = 20});
    FORGE(&pickle, "q\1");
    for (int i = 0; i < 500000; i++) FORGE(&pickle, "h\0h\1");
    FORGE(&pickle, "u.");
    expect_limit(&pickle, "a dictionary of 500001 entries, where at most 131072");
    pickle.size = 0; /* a dictionary that holds itself, with much to look through each time */
    FORGE(&pickle, "}q\0(U\tgeneratorh\0");
    for (int i = 0; i < 100000; i++) FORGE(&pickle, "U\nparams_em1N");
    FORGE(&pickle, "u.");
    expect_limit(&pickle, "more than 8 dictionaries inside one another");
    pickle.size = 0;
    FORGE(&pickle, "}U\1n");
    char key[300];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = 0;
    forge_tensor_v2(&pickle, &(forge_tensor){.numel = 20, .key = key});
    FORGE(&pickle, "s.");
    expect_limit(&pickle, "a storage with a key of 299 bytes");
    forge_free(&pickle);
}

static void verifying_is_limited(void **state) {
    (void)state;
    forge pickle = {0}, file = {0};
    forge_small_dict(&pickle);
    size_t size = 2 << 20;
    char *zeros = calloc(1, size);
    const forge_entry entries[] = {
        {.name = "a/data.pkl", .data = pickle.data, .size = pickle.size},
        {.name = "a/data/0", .data = zeros, .size = 40},
        {.name = "a/unused", .data = zeros, .size = size, .deflate = true}};
    forge_zip(&file, entries, 3, 0, false, NULL);
    es_checkpoint_options options = {.verify = true, .max_bytes = 1 << 20};
    expect_refused(&file, &options, ESRGAN_E_LIMIT, "inflates to more than the limit of 1048576");
    options.verify = false;
    reading r;
    reading_open(&r, file.data, file.size, &options, -1);
    assert_int_equal(r.status, ESRGAN_OK); /* what is not used is not inflated */
    reading_close(&r);
    free(zeros);
    forge_free(&pickle);
    forge_free(&file);
}

/* ---- Truncation, corruption, allocation failures ---------------------------------------------- */

static void truncation_and_corruption(void **state) {
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        forge file = small_zip(deflate);
        for (size_t size = 2; size < file.size; size++) {
            const forge cut = {.data = file.data, .size = size};
            expect_refused(&cut, NULL, ESRGAN_E_TRUNCATED, "cut short, download it again");
        }
        expect_robust(&file);
        forge_free(&file);
    }
}

/* With sound checksums around a changed pickle: what a forger would write. */
static void corruption_behind_checksums(void **state) {
    (void)state;
    forge pickle = {0};
    forge_small_dict(&pickle);
    for (size_t at = 0; at < pickle.size; at++) {
        uint8_t was = pickle.data[at];
        for (int value = 0; value < 256; value += 1 + value / 16) {
            pickle.data[at] = (uint8_t)value;
            forge file = {0};
            forge_checkpoint(&file, &pickle, 10, false);
            reading r;
            reading_open(&r, file.data, file.size, NULL, -1);
            assert_true(r.seconds < slow());
            reading_close(&r);
            forge_free(&file);
        }
        pickle.data[at] = was;
    }
    forge_free(&pickle);
}

static void *verify_again(void *argument) {
    const es_checkpoint *checkpoint = argument;
    esrgan_status status = ESRGAN_OK;
    for (int i = 0; i < 200 && status == ESRGAN_OK; i++) {
        status = es_checkpoint_verify(checkpoint, NULL);
        if (es_checkpoint_find(checkpoint, "b") != &checkpoint->tensors[1]) return argument;
    }
    return status == ESRGAN_OK ? NULL : argument;
}

/* A checkpoint is immutable: several threads may look at it. */
static void threads_share_a_checkpoint(void **state) {
    (void)state;
    forge file = small_zip(true);
    esrgan_allocator a = es_allocator(NULL);
    es_bytes bytes;
    es_checkpoint *checkpoint;
    assert_int_equal(es_bytes_open_memory(&bytes, file.data, file.size, "f", false, 0, &a, NULL),
                     ESRGAN_OK);
    assert_int_equal(es_checkpoint_open(&checkpoint, &bytes, NULL, &a, NULL), ESRGAN_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, verify_again, checkpoint), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    es_checkpoint_free(checkpoint);
    es_bytes_close(&bytes, &a);
    forge_free(&file);
}

static void every_allocation_fails(void **state) {
    (void)state;
    const es_checkpoint_options options = {.verify = true};
    for (int deflate = 0; deflate < 2; deflate++) {
        forge file = small_zip(deflate);
        expect_memory_errors(&file, &options);
        forge_free(&file);
    }
}

/* ---- Files of the real world ------------------------------------------------------------------ */

static esrgan_status open_path(const char *path, const es_checkpoint_options *options,
                               es_bytes *bytes, es_checkpoint **checkpoint, esrgan_error *error) {
    esrgan_allocator a = es_allocator(NULL);
    esrgan_status status = es_bytes_open_file(bytes, path, false, 0, &a, error);
    if (status != ESRGAN_OK) return status;
    return es_checkpoint_open(checkpoint, bytes, options, &a, error);
}

static void models_in_shared(void **state) {
    (void)state;
    static const struct {
        const char *file, *wrapper;
        size_t count;
        es_dtype dtype;
    } models[] = {
        {"VapSR-S.pth", "params_ema", 140, ES_F32},  {"VapSR_X2.pth", "params_ema", 248, ES_F32},
        {"VapSR_X3.pth", "params_ema", 248, ES_F32}, {"VapSR_X4.pth", "params_ema", 260, ES_F32},
        {"catid-upsampling.pth", "", 248, ES_F16},
    };
    const char *shared = getenv("ESRGAN_SHARED");
    if (shared == NULL) shared = "../shared";
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/models/%s", shared, models[i].file);
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            print_message("%s is not there: skipped\n", path);
            skip();
        }
        fclose(file);
        esrgan_allocator a = es_allocator(NULL);
        es_checkpoint_options options = {.verify = true};
        es_checkpoint *checkpoint, *other;
        esrgan_error error;
        es_bytes bytes;
        if (open_path(path, &options, &bytes, &checkpoint, &error) != 0)
            fail_msg("%s", error.message);
        assert_string_equal(checkpoint->wrapper, models[i].wrapper);
        assert_int_equal(checkpoint->count, models[i].count);
        const es_tensor *first = es_checkpoint_find(checkpoint, "conv_first.weight");
        assert_non_null(first);
        for (size_t t = 0; t < checkpoint->count; t++) {
            const es_tensor *tensor = &checkpoint->tensors[t];
            assert_int_equal(tensor->dtype, models[i].dtype);
            float value;
            es_tensor_read_f32_range(tensor, tensor->numel - 1, 1, &value);
            assert_true(isfinite(value));
        }
        options.wrapper = "params"; /* the weights before averaging are there as well */
        esrgan_status status = es_checkpoint_open(&other, &bytes, &options, &a, &error);
        if (models[i].wrapper[0] != 0 && status == ESRGAN_OK) {
            assert_string_equal(other->wrapper, "params");
            assert_int_equal(other->count, models[i].count);
        } else {
            assert_int_equal(status, ESRGAN_E_NOT_FOUND);
        }
        es_checkpoint_free(other);
        es_checkpoint_free(checkpoint);
        es_bytes_close(&bytes, &a);
    }
}

/* What PyTorch itself wrote: all open, verify, and give finite numbers. */
static void goldens_open(void **state) {
    (void)state;
    DIR *folder = opendir("tests/golden/cases");
    if (folder == NULL) fail_msg("tests/golden/cases: run this from the root");
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strstr(entry->d_name, ".pth") == NULL) continue;
        char path[400];
        snprintf(path, sizeof path, "tests/golden/cases/%s", entry->d_name);
        esrgan_allocator a = es_allocator(NULL);
        const es_checkpoint_options options = {.verify = true};
        es_checkpoint *checkpoint;
        esrgan_error error;
        es_bytes bytes;
        if (open_path(path, &options, &bytes, &checkpoint, &error) != 0)
            fail_msg("%s", error.message);
        assert_true(checkpoint->count > 10);
        for (size_t t = 0; t < checkpoint->count; t++) {
            double value[1000];
            if (checkpoint->tensors[t].numel > 1000) continue;
            es_tensor_read_f64(&checkpoint->tensors[t], value);
            assert_true(isfinite(value[0]));
        }
        es_checkpoint_free(checkpoint);
        es_bytes_close(&bytes, &a);
        count++;
    }
    closedir(folder);
    assert_true(count >= 20);
}

/* 700 tensors with a storage each, 70 MB: milliseconds. */
static void a_large_file_opens_at_once(void **state) {
    (void)state;
    enum { COUNT = 700, FLOATS = 25000 };
    forge pickle = {0}, file = {0};
    forge_entry *entries = calloc(COUNT + 1, sizeof *entries);
    char(*names)[48] = calloc(COUNT, sizeof *names);
    float *data = calloc(FLOATS, sizeof *data);
    FORGE(&pickle, "}(");
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        snprintf(names[i], sizeof names[i], "body.%d.rdb1.conv1.weight", i);
        forge_text(&pickle, names[i]);
        forge_tensor_v2(
            &pickle, &(forge_tensor){
                         .key = key, .numel = FLOATS, .ndim = 1, .shape = {FLOATS}, .stride = {1}});
        snprintf(names[i], sizeof names[i], "RealESRGAN_x4plus/data/%d", i);
        entries[i + 1] = (forge_entry){.name = names[i], .data = data, .size = FLOATS * 4};
    }
    FORGE(&pickle, "u.");
    entries[0] = (forge_entry){
        .name = "RealESRGAN_x4plus/data.pkl", .data = pickle.data, .size = pickle.size};
    forge_zip(&file, entries, COUNT + 1, 64, false, NULL);
    double best = 1;
    for (int i = 0; i < 5; i++) {
        reading r;
        reading_open(&r, file.data, file.size, NULL, -1);
        assert_int_equal(r.status, ESRGAN_OK);
        assert_int_equal(r.checkpoint->count, COUNT);
        assert_true(r.meter.peak < 2 << 20);
        if (r.seconds < best) best = r.seconds;
        reading_close(&r);
    }
    print_message("70 MB, 700 tensors: opened in %.2f ms\n", best * 1e3);
    assert_true(best < 0.005 * slow());
    forge_free(&pickle);
    forge_free(&file);
    free(entries);
    free(names);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zip_is_read),
        cmocka_unit_test(checksums_are_compared),
        cmocka_unit_test(strides_are_followed),
        cmocka_unit_test(all_types_are_read),
        cmocka_unit_test(bad_tensors_are_named),
        cmocka_unit_test(calls_of_torch),
        cmocka_unit_test(parameters_in_parameters),
        cmocka_unit_test(wrappers_are_preferred_in_order),
        cmocka_unit_test(wrappers_inside_wrappers),
        cmocka_unit_test(other_roots_are_named),
        cmocka_unit_test(prefixes_are_stripped),
        cmocka_unit_test(other_archives_are_named),
        cmocka_unit_test(any_folder_will_do),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(references_are_no_bombs),
        cmocka_unit_test(verifying_is_limited),
        cmocka_unit_test(truncation_and_corruption),
        cmocka_unit_test(corruption_behind_checksums),
        cmocka_unit_test(threads_share_a_checkpoint),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(models_in_shared),
        cmocka_unit_test(goldens_open),
        cmocka_unit_test(a_large_file_opens_at_once),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
