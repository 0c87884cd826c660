/* The zip reader: what archives look like, and what they must not look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "checkpoint/zip.h"
#include "support/forge.h"
#include "support/slow.h"

typedef struct archive {
    es_bytes bytes;
    es_meter meter;
    esrgan_error error;
    es_source source;
    es_zip zip;
    esrgan_status status;
    uint8_t *copy;
} archive;

static void archive_open(archive *a, const forge *file) {
    memset(a, 0, sizeof *a);
    es_meter_init(&a->meter, NULL, 1 << 20);
    a->copy = malloc(file->size);
    memcpy(a->copy, file->data, file->size);
    es_bytes_open_memory(&a->bytes, a->copy, file->size, "a.zip", false, 0, &a->meter.allocator,
                         NULL);
    a->source = (es_source){.bytes = &a->bytes, .meter = &a->meter, .error = &a->error};
    a->status = es_zip_open(&a->zip, &a->source);
}

static void archive_close(archive *a) {
    es_zip_close(&a->zip, &a->source);
    es_bytes_close(&a->bytes, &a->meter.allocator);
    free(a->copy);
    assert_int_equal(a->meter.now, 0);
}

static es_zip_entry *find(archive *a, const char *name) {
    return es_zip_find(&a->zip, "", 0, name, strlen(name));
}

/* Opens, asserts failure there or (with an entry's name) when that entry is asked for. */
static void expect_failure(const forge *file, const char *entry, esrgan_status status,
                           const char *text) {
    archive a;
    archive_open(&a, file);
    esrgan_status got = a.status;
    if (entry != NULL) {
        assert_int_equal(got, ESRGAN_OK);
        const uint8_t *data;
        got = es_zip_content(find(&a, entry), &a.source, &data);
        esrgan_status verified = es_zip_verify(find(&a, entry), &a.source);
        if (got == ESRGAN_OK) got = verified;
    }
    if (got != status || strstr(a.error.message, text) == NULL) {
        fail_msg("expected %d '%s', got %d '%s'", status, text, got, a.error.message);
    }
    archive_close(&a);
}

static char hundred[100];

static forge two_entries(bool deflate) {
    memset(hundred, 'h', sizeof hundred);
    forge f = {0};
    const forge_entry entries[] = {
        {.name = "x/first", .data = hundred, .size = sizeof hundred, .deflate = deflate},
        {.name = "x/second", .data = "second", .size = 6, .deflate = deflate},
    };
    forge_zip(&f, entries, 2, 64, false, NULL);
    return f;
}

static void check_content(archive *a, const char *name, const void *expected, size_t size) {
    es_zip_entry *e = find(a, name);
    assert_non_null(e);
    assert_int_equal(e->size, size);
    const uint8_t *data = NULL, *again = NULL;
    assert_int_equal(es_zip_content(e, &a->source, &data), ESRGAN_OK);
    assert_memory_equal(data, expected, size);
    assert_int_equal(es_zip_content(e, &a->source, &again), ESRGAN_OK);
    assert_ptr_equal(data, again);
    assert_int_equal(es_zip_verify(e, &a->source), ESRGAN_OK);
}

static void entries_are_found(void **state) {
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        forge f = two_entries(deflate);
        archive a;
        archive_open(&a, &f);
        assert_int_equal(a.status, ESRGAN_OK);
        assert_int_equal(a.zip.count, 2);
        check_content(&a, "x/first", hundred, sizeof hundred);
        check_content(&a, "x/second", "second", 6);
        assert_ptr_equal(es_zip_find(&a.zip, "x/", 2, "second", 6), find(&a, "x/second"));
        assert_null(find(&a, "x/secon"));
        assert_null(find(&a, "x/second2"));
        assert_null(find(&a, ""));
        assert_null(es_zip_find(&a.zip, "x/first/", 8, "y", 1));
        const uint8_t *data;
        es_zip_content(find(&a, "x/first"), &a.source, &data);
        bool in_place = data >= a.copy && data < a.copy + f.size;
        assert_true(in_place == !deflate);
        archive_close(&a);
        forge_free(&f);
    }
}

static void all_kinds_of_headers(void **state) {
    (void)state;
    for (int kind = 0; kind < 32; kind++) {
        forge f = {0};
        forge_entry entries[20];
        char names[20][16];
        for (int i = 0; i < 20; i++) { /* names in no order */
            names[i][0] = (char)('a' + i * 7 % 20);
            strcpy(names[i] + 1, i % 2 ? "/x" : "");
            entries[i] = (forge_entry){.name = names[i],
                                       .data = names[i],
                                       .size = (size_t)i % 4,
                                       .deflate = kind & 1,
                                       .zip64 = kind & 2,
                                       .descriptor = kind & 4};
        }
        forge_zip(&f, entries, 20, 0, kind & 8, kind & 16 ? "with a comment" : NULL);
        archive a;
        archive_open(&a, &f);
        assert_int_equal(a.status, ESRGAN_OK);
        for (int i = 0; i < 20; i++) check_content(&a, names[i], names[i], (size_t)i % 4);
        archive_close(&a);
        forge_free(&f);
    }
}

static void ends_are_found(void **state) {
    (void)state;
    forge f = two_entries(false);
    FORGE(&f, "\r\n"); /* what a download may add */
    archive a;
    archive_open(&a, &f);
    assert_int_equal(a.status, ESRGAN_OK);
    archive_close(&a);
    forge_free(&f);
    forge_zip(&f, NULL, 0, 0, false, "empty");
    archive_open(&a, &f);
    assert_int_equal(a.status, ESRGAN_OK);
    assert_int_equal(a.zip.count, 0);
    archive_close(&a);
    forge_free(&f);
    char comment[65535]; /* the longest, with a signature that is none */
    memset(comment, 'c', sizeof comment);
    memcpy(comment + sizeof comment - 30, "PK\5\6", 4);
    comment[sizeof comment - 1] = 0;
    const forge_entry entry = {.name = "n", .data = "d", .size = 1};
    forge_zip(&f, &entry, 1, 0, false, comment);
    archive_open(&a, &f);
    assert_int_equal(a.status, ESRGAN_OK);
    archive_close(&a);
    forge_free(&f);
}

static void put32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> 8 * i);
}

static void put16(uint8_t *p, unsigned value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

/* A value of `width` bytes at `offset` of a record is changed; what is said then. */
typedef struct lie {
    char record; /* 'c' first central header, 'd' the second, 'e' end, 'l' first local header */
    int offset, width;
    uint32_t value;
    const char *entry;
    esrgan_status status;
    const char *text;
} lie;

static void tell(const lie *l, bool deflate) {
    forge f = two_entries(deflate);
    uint8_t *p = l->record == 'l'   ? f.data
                 : l->record == 'c' ? forge_central(&f, 0)
                 : l->record == 'd' ? forge_central(&f, 1)
                                    : forge_end(&f);
    if (l->width == 2) put16(p + l->offset, l->value);
    if (l->width == 4) put32(p + l->offset, l->value);
    expect_failure(&f, l->entry, l->status, l->text);
    forge_free(&f);
}

static void lies_are_found_out(void **state) {
    (void)state;
    static const lie lies[] = {
        {'e', 4, 2, 1, NULL, ESRGAN_E_UNSUPPORTED, "several volumes"},
        {'e', 6, 2, 1, NULL, ESRGAN_E_UNSUPPORTED, "several volumes"},
        {'e', 10, 2, 0xffff, NULL, ESRGAN_E_CORRUPT, "claims 65535 entries"},
        {'e', 10, 2, 3, NULL, ESRGAN_E_CORRUPT, "claims 3 entries"},
        {'e', 12, 4, 0xfffffff0u, NULL, ESRGAN_E_CORRUPT, "does not fit"},
        {'e', 16, 4, 0xfffffff0u, NULL, ESRGAN_E_CORRUPT, "does not fit"},
        {'e', 16, 4, 7, NULL, ESRGAN_E_CORRUPT, "directory is broken at offset 7"},
        {'e', 20, 2, 9, NULL, ESRGAN_E_TRUNCATED, "cut short"},
        {'c', 0, 4, 0, NULL, ESRGAN_E_CORRUPT, "directory is broken"},
        {'c', 8, 2, 1, "x/first", ESRGAN_E_UNSUPPORTED, "'x/first' is encrypted"},
        {'c', 10, 2, 12, "x/first", ESRGAN_E_UNSUPPORTED, "compressed by method 12"},
        {'c', 16, 4, 1, "x/first", ESRGAN_E_CORRUPT, "CRC-32 is"},
        {'c', 20, 4, 99, "x/first", ESRGAN_E_CORRUPT, "sizes differ: 100 and 99"},
        {'c', 20, 4, 4000, NULL, ESRGAN_E_CORRUPT, "run into the directory"},
        {'c', 20, 4, 150, NULL, ESRGAN_E_CORRUPT, "'x/first' and 'x/second' overlap"},
        {'c', 24, 4, 99, "x/first", ESRGAN_E_CORRUPT, "sizes differ: 99 and 100"},
        {'c', 28, 2, 6, NULL, ESRGAN_E_CORRUPT, "'x/firs' is called 'x/first'"},
        {'d', 28, 2, 1000, NULL, ESRGAN_E_CORRUPT, "ends inside an entry"},
        {'c', 30, 2, 1, NULL, ESRGAN_E_CORRUPT, "directory is broken"},
        {'c', 42, 4, 0xfffffffeu, NULL, ESRGAN_E_CORRUPT, "no local header at offset 4294967294"},
        {'c', 42, 4, 1, NULL, ESRGAN_E_CORRUPT, "no local header at offset 1"},
        {'d', 42, 4, 0, NULL, ESRGAN_E_CORRUPT, "'x/second' is called 'x/first'"},
        {'l', 26, 2, 60000, NULL, ESRGAN_E_CORRUPT, "run into the directory"},
        {'l', 28, 2, 60000, NULL, ESRGAN_E_CORRUPT, "run into the directory"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) tell(&lies[i], false);
    static const lie deflated[] = {
        {'c', 24, 4, 99, "x/first", ESRGAN_E_CORRUPT, "came out, expected 99"},
        {'c', 24, 4, 101, "x/first", ESRGAN_E_CORRUPT, "100 bytes came out, expected 101"},
        {'c', 24, 4, 0xfffffff0u, "x/first", ESRGAN_E_CORRUPT, "bytes inflate to 4294967280"},
        {'c', 20, 4, 1, "x/first", ESRGAN_E_CORRUPT, "broken deflate data"},
        {'c', 16, 4, 1, "x/first", ESRGAN_E_CORRUPT, "CRC-32 is"},
    };
    for (size_t i = 0; i < sizeof deflated / sizeof deflated[0]; i++) tell(&deflated[i], true);
}

static void lies_in_zip64(void **state) {
    (void)state;
    const forge_entry entry = {.name = "n", .data = "d", .size = 1, .zip64 = true};
    for (int i = 0; i < 6; i++) {
        forge f = {0};
        forge_zip(&f, &entry, 1, 0, true, NULL);
        uint8_t *end64 = forge_end(&f) - 20 - 56, *extra = forge_central(&f, 0) + 46 + 1 + 4;
        const char *text = "zip64 field is too short";
        if (i == 0) put32(end64 + 56 + 8, 5), text = "zip64 end record is not at offset 5";
        if (i == 1) put32(end64 + 56 + 12, 5), text = "zip64 end record is not at offset";
        if (i == 2) put16(extra + 2, 16);
        if (i == 3) put16(extra + 2, 1000);
        if (i == 4) put32(end64 + 36, 1), text = "claims 4294967297 entries";
        if (i == 5) put32(extra + 4 + 16 + 4, 0x80000000u), text = "no local header at";
        expect_failure(&f, NULL, ESRGAN_E_CORRUPT, text);
        forge_free(&f);
    }
    forge f = {0};
    forge_zip(&f, &entry, 1, 0, true, NULL);
    put32(forge_end(&f) - 20 - 56 + 16, 1);
    expect_failure(&f, NULL, ESRGAN_E_UNSUPPORTED, "several volumes");
    forge_free(&f);
}

static void duplicates_and_overlaps(void **state) {
    (void)state;
    forge f = {0};
    const forge_entry twice[] = {{.name = "same", .data = "1", .size = 1},
                                 {.name = "other", .data = "2", .size = 1},
                                 {.name = "same", .data = "3", .size = 1}};
    forge_zip(&f, twice, 3, 0, false, NULL);
    expect_failure(&f, NULL, ESRGAN_E_CORRUPT, "two entries are called 'same'");
    forge_free(&f);
    forge_zip(&f, twice, 2, 0, false, NULL);
    memcpy(forge_central(&f, 1) + 42, forge_central(&f, 0) + 42, 4); /* one payload for two */
    put16(forge_central(&f, 1) + 28, 4);
    put16(forge_central(&f, 1) + 32, 1); /* its last letter becomes a comment */
    memcpy(forge_central(&f, 1) + 46, "same", 4);
    expect_failure(&f, NULL, ESRGAN_E_CORRUPT, "overlap");
    forge_free(&f);
}

static void bombs_are_refused(void **state) {
    (void)state;
    forge f = {0};
    size_t size = 2 << 20;
    char *zeros = calloc(1, size);
    const forge_entry entry = {.name = "bomb", .data = zeros, .size = size, .deflate = true};
    forge_zip(&f, &entry, 1, 0, false, NULL);
    expect_failure(&f, "bomb", ESRGAN_E_LIMIT, "more than the limit of 1048576 bytes");
    forge_free(&f);
    free(zeros);
}

/* Thousands of names in the worst order for a naive sort, in time. */
static void many_entries(void **state) {
    (void)state;
    enum { COUNT = 30000 };
    forge_entry *entries = calloc(COUNT, sizeof *entries);
    char(*names)[8] = calloc(COUNT, sizeof *names);
    for (int i = 0; i < COUNT; i++) {
        int n = i % 2 ? COUNT - i : i; /* up and down */
        for (int d = 0; d < 5; d++, n /= 10) names[i][4 - d] = (char)('0' + n % 10);
        names[i][5] = i % 2 ? 'x' : 'y';
        entries[i] = (forge_entry){.name = names[i], .data = names[i], .size = 5};
    }
    forge f = {0};
    forge_zip(&f, entries, COUNT, 0, true, NULL);
    archive a;
    memset(&a, 0, sizeof a);
    es_meter_init(&a.meter, NULL, 0);
    es_bytes_open_memory(&a.bytes, f.data, f.size, "a", false, 0, &a.meter.allocator, NULL);
    a.source = (es_source){.bytes = &a.bytes, .meter = &a.meter, .error = &a.error};
    clock_t start = clock();
    assert_int_equal(es_zip_open(&a.zip, &a.source), ESRGAN_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 0.5 * slow());
    for (int i = 0; i < COUNT; i += 997) check_content(&a, names[i], names[i], 5);
    archive_close(&a);
    forge_free(&f);
    free(entries);
    free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found), cmocka_unit_test(all_kinds_of_headers),
        cmocka_unit_test(ends_are_found),    cmocka_unit_test(lies_are_found_out),
        cmocka_unit_test(lies_in_zip64),     cmocka_unit_test(duplicates_and_overlaps),
        cmocka_unit_test(bombs_are_refused), cmocka_unit_test(many_entries),
    };
    return cmocka_run_group_tests_name("zip", tests, NULL, NULL);
}
