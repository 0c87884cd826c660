/* The pickle machine: every opcode, every refusal, and bombs that must cost nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "checkpoint/pickle.h"
#include "support/forge.h"
#include "support/slow.h"

typedef struct loaded {
    es_bytes bytes;
    es_meter meter;
    esrgan_error error;
    es_source source;
    es_pickle pickle;
    es_value root;
    size_t used;
    esrgan_status status;
    uint8_t *copy;
    double seconds;
} loaded;

static void load(loaded *l, const void *data, size_t size) {
    memset(l, 0, sizeof *l);
    es_meter_init(&l->meter, NULL, 0);
    l->copy = malloc(size > 0 ? size : 1);
    if (size > 0) memcpy(l->copy, data, size);
    l->bytes = (es_bytes){.data = l->copy, .size = size, .name = (char *)"p"};
    l->source = (es_source){.bytes = &l->bytes, .meter = &l->meter, .error = &l->error};
    clock_t start = clock();
    l->status = es_pickle_load(&l->pickle, &l->source, "pickle", ESRGAN_E_TRUNCATED, l->copy, size,
                               &l->used, &l->root);
    l->seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
}

static void unload(loaded *l) {
    es_pickle_free(&l->pickle, &l->source);
    free(l->copy);
    assert_int_equal(l->meter.now, 0);
}

/* A value as text: enough of Python's notation to compare. */
static void show(const es_pickle *p, const es_node *n, char *out, size_t room) {
    size_t used = strlen(out);
    char *end = out + used;
    room -= used;
    switch (n->kind) {
    case ES_NODE_NONE: snprintf(end, room, "None"); return;
    case ES_NODE_BOOL: snprintf(end, room, n->integer ? "True" : "False"); return;
    case ES_NODE_INT: snprintf(end, room, "%lld", (long long)n->integer); return;
    case ES_NODE_LONG: snprintf(end, room, "long%zu", n->size); return;
    case ES_NODE_FLOAT: snprintf(end, room, "float"); return;
    case ES_NODE_TEXT: snprintf(end, room, "'%.*s'", (int)n->size, (const char *)n->bytes); return;
    case ES_NODE_BYTES:
        snprintf(end, room, "b'%.*s'", (int)n->size, (const char *)n->bytes);
        return;
    case ES_NODE_INERT: snprintf(end, room, "?"); return;
    default: break;
    }
    static const char *const open[] = {
        [ES_NODE_TUPLE] = "(",        [ES_NODE_LIST] = "[",       [ES_NODE_DICT] = "{",
        [ES_NODE_GLOBAL] = "global(", [ES_NODE_OBJECT] = "call(", [ES_NODE_PERSISTENT] = "pid("};
    strcat(out, open[n->kind]);
    if (n->kind == ES_NODE_GLOBAL || n->kind == ES_NODE_OBJECT || n->kind == ES_NODE_PERSISTENT) {
        show(p, es_pickle_node(p, n->a), out, room + used);
        if (n->kind != ES_NODE_PERSISTENT) {
            strcat(out, ",");
            show(p, es_pickle_node(p, n->b), out, room + used);
        }
    } else {
        for (size_t i = 0; i < n->count; i++) {
            if (i > 0) strcat(out, n->kind == ES_NODE_DICT && i % 2 ? ":" : ",");
            show(p, es_pickle_item(p, n, i), out, room + used);
        }
    }
    strcat(out, n->kind == ES_NODE_LIST ? "]" : n->kind == ES_NODE_DICT ? "}" : ")");
}

static void expect_shown(const void *data, size_t size, const char *expected) {
    loaded l;
    load(&l, data, size);
    if (l.status != ESRGAN_OK) fail_msg("expected %s, got '%s'", expected, l.error.message);
    char text[1000] = "";
    show(&l.pickle, es_pickle_node(&l.pickle, l.root), text, sizeof text);
    assert_string_equal(text, expected);
    assert_int_equal(l.used, size);
    unload(&l);
    for (size_t cut = 0; cut < size; cut++) { /* and truncated anywhere */
        load(&l, data, cut);
        assert_true(l.status == ESRGAN_E_TRUNCATED);
        unload(&l);
    }
}

static void expect_error(const void *data, size_t size, esrgan_status status, const char *text) {
    loaded l;
    load(&l, data, size);
    if (l.status != status || strstr(l.error.message, text) == NULL) {
        fail_msg("expected %d '%s', got %d '%s'", status, text, l.status, l.error.message);
    }
    unload(&l);
}

#define VALUE(literal, expected)     expect_shown(literal, sizeof(literal) - 1, expected)
#define ERROR(literal, status, text) expect_error(literal, sizeof(literal) - 1, status, text)

static void scalars(void **state) {
    (void)state;
    VALUE("N.", "None");
    VALUE("\x88.", "True");
    VALUE("\x89.", "False");
    VALUE("I00\n.", "False");
    VALUE("I01\n.", "True");
    VALUE("I-17\n.", "-17");
    VALUE("I1\n.", "1");
    VALUE("L123L\n.", "123");
    VALUE("L119547037146038801333356L\n.", "long24");
    VALUE("I9223372036854775807\n.", "long19"); /* near the end of 64 bits: not needed */
    VALUE("I900719925474099200\n.", "900719925474099200");
    VALUE("J\xff\xff\xff\xff.", "-1");
    VALUE("K\xff.", "255");
    VALUE("M\x01\x02.", "513");
    VALUE("\x8a\x00.", "0");
    VALUE("\x8a\x01\xff.", "-1");
    VALUE("\x8a\x02\x00\x80.", "-32768");
    VALUE("\x8a\x08\x01\x00\x00\x00\x00\x00\x00\x80.", "-9223372036854775807");
    VALUE("\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x01.", "long9");
    VALUE("\x8b\x02\x00\x00\x00\x01\x02.", "513");
    VALUE("F1.5\n.", "float");
    VALUE("G\x3f\xf8\x00\x00\x00\x00\x00\x00.", "float");
}

static void texts(void **state) {
    (void)state;
    VALUE("X\x03\x00\x00\x00"
          "abc.",
          "'abc'");
    VALUE("\x8c\x03"
          "abc.",
          "'abc'");
    VALUE("\x8d\x03\0\0\0\0\0\0\0"
          "abc.",
          "'abc'");
    VALUE("U\x03"
          "abc.",
          "'abc'");
    VALUE("T\x03\x00\x00\x00"
          "abc.",
          "'abc'");
    VALUE("C\x03"
          "abc.",
          "b'abc'");
    VALUE("B\x03\x00\x00\x00"
          "abc.",
          "b'abc'");
    VALUE("\x8e\x03\0\0\0\0\0\0\0"
          "abc.",
          "b'abc'");
    VALUE("\x96\x03\0\0\0\0\0\0\0"
          "abc.",
          "b'abc'");
    VALUE("S'abc'\n.", "'abc'");
    VALUE("S\"abc\"\n.", "'abc'");
    VALUE("S''\n.", "''");
    VALUE("S'a\\x62\\\\c\\'\\n\\q\\x6'\n.", "'ab\\c'\n\\q\\x6'");
    VALUE("Vabc\n.", "'abc'");
    VALUE("V\\u00fc\\u20ac\\U0001f642\xfc\\u12\n.",
          "'\xc3\xbc\xe2\x82\xac\xf0\x9f\x99\x82\xc3\xbc\\u12'");
    ERROR("Sabc\n.", ESRGAN_E_CORRUPT, "a string without quotes at offset 0 (STRING)");
    ERROR("S'abc\n.", ESRGAN_E_CORRUPT, "a string without quotes");
    ERROR("S'\n.", ESRGAN_E_CORRUPT, "a string without quotes");
}

static void containers(void **state) {
    (void)state;
    VALUE(").", "()");
    VALUE("].", "[]");
    VALUE("}.", "{}");
    VALUE("\x8f.", "?");
    VALUE("K\1\x85.", "(1)");
    VALUE("K\1K\2\x86.", "(1,2)");
    VALUE("K\1K\2K\3\x87.", "(1,2,3)");
    VALUE("(K\1K\2K\3K\4t.", "(1,2,3,4)");
    VALUE("(K\1K\2l.", "[1,2]");
    VALUE("(K\1K\2d.", "{1:2}");
    VALUE("]K\1aK\2a.", "[1,2]");
    VALUE("](K\1K\2e(K\3e(e.", "[1,2,3]");
    VALUE("}K\1K\2s.", "{1:2}");
    VALUE("}(K\1K\2K\3K\4u(u.", "{1:2,3:4}");
    VALUE("\x8f(K\1K\2\x90.", "?");
    VALUE("(K\1K\2\x91.", "?");
}

static void containers_grow(void **state) {
    (void)state;
    forge f = {0};
    FORGE(&f, "]]q\0"); /* two lists that grow in turn, so that both have to move */
    for (int i = 0; i < 300; i++) {
        FORGE(&f, "K\7a");
        if (i % 3 == 0) FORGE(&f, "]K\1aK\2a0");
    }
    FORGE(&f, "a.");
    loaded l;
    load(&l, f.data, f.size);
    assert_int_equal(l.status, ESRGAN_OK);
    const es_node *outer = es_pickle_node(&l.pickle, l.root);
    assert_int_equal(outer->count, 1);
    const es_node *inner = es_pickle_item(&l.pickle, outer, 0);
    assert_int_equal(inner->count, 300);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(es_pickle_item(&l.pickle, inner, i)->integer, 7);
    }
    unload(&l);
    forge_free(&f);
}

static void stack_and_memo(void **state) {
    (void)state;
    VALUE("K\1K\2"
          "0.",
          "1");
    VALUE("K\1(K\2K\3"
          "1.",
          "1");
    VALUE("K\1(0.", "1");
    VALUE("K\1"
          "2\x86.",
          "(1,1)");
    VALUE("K\5q\1K\6h\1\x86.", "(6,5)");
    VALUE("K\5r\1\0\0\0K\6j\1\0\0\0\x86.", "(6,5)");
    VALUE("K\5p1\nK\6g1\n\x86.", "(6,5)");
    VALUE("K\5\x94K\6\x94h\0h\1\x87\x85.", "((6,5,6))");
    ERROR("0.", ESRGAN_E_CORRUPT, "no mark");
    ERROR("1.", ESRGAN_E_CORRUPT, "no mark");
    ERROR("2.", ESRGAN_E_CORRUPT, "the stack is empty");
    ERROR("(2.", ESRGAN_E_CORRUPT, "the stack is empty");
    ERROR("q\0.", ESRGAN_E_CORRUPT, "the stack is empty");
    ERROR("h\0.", ESRGAN_E_CORRUPT, "never put at offset 0 (BINGET)");
    ERROR("gx\n.", ESRGAN_E_CORRUPT, "not a memo number");
    ERROR("Npx\n.", ESRGAN_E_CORRUPT, "not a memo number");
    ERROR("Np-1\n.", ESRGAN_E_CORRUPT, "not a memo number");
    ERROR("Nr\xff\xff\xff\xff.", ESRGAN_E_CORRUPT, "a memo number that no pickler writes");
    ERROR(".", ESRGAN_E_CORRUPT, "the stack is empty at offset 0 (STOP)");
    ERROR("K\1(.", ESRGAN_E_CORRUPT, "the stack is empty");
    ERROR("\xfe.", ESRGAN_E_CORRUPT, "unknown opcode 0xfe at offset 0");
    ERROR("K\1\x86.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("t.", ESRGAN_E_CORRUPT, "no mark");
    ERROR("(Nd.", ESRGAN_E_CORRUPT, "a key without a value");
    ERROR("}(Nu.", ESRGAN_E_CORRUPT, "a key without a value");
    ERROR("(Nu.", ESRGAN_E_CORRUPT, "nothing on the stack to add to");
    ERROR("]Na(N(Ne.", ESRGAN_E_CORRUPT, "no container of that kind");
    ERROR("N(Ne.", ESRGAN_E_CORRUPT, "adding to something that is no container");
    ERROR("](NNu.", ESRGAN_E_CORRUPT, "adding to something that is no container");
    ERROR("a.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("Ns.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("\x80\6N.", ESRGAN_E_UNSUPPORTED, "pickle protocol 6; 0 to 5");
    VALUE("\x80\5\x95\2\0\0\0\0\0\0\0N.", "None");
}

static void calls_are_recorded(void **state) {
    (void)state;
    VALUE("cos\nsystem\nS'rm'\n\x85R.", "call(global('os','system'),('rm'))");
    VALUE("\x8c\2os\x8c\6system\x93)\x81.", "call(global('os','system'),())");
    VALUE("cm\nC\n)}\x92.", "call(global('m','C'),())");
    VALUE("(K\1im\nC\n.", "call(global('m','C'),(1))");
    VALUE("(cm\nC\nK\1o.", "call(global('m','C'),(1))");
    VALUE("cm\nC\n)RK\1b.", "call(global('m','C'),())");
    VALUE("cm\nC\n)R(K\1e(K\1K\2uK\3aK\1K\2s.", "call(global('m','C'),())");
}

static void known_calls(void **state) {
    (void)state;
    VALUE("ccollections\nOrderedDict\n)R.", "{}");
    VALUE("ccollections\nOrderedDict\n)R(K\1K\2u}b.", "{1:2}");
    VALUE("ccollections\nOrderedDict\n](](K\1K\2e](K\3K\4ee\x85R.", "{1:2,3:4}");
    VALUE("(icollections\nOrderedDict\n.", "{}");
    VALUE("ctorch\nSize\n(K\1K\2t\x85R.", "(1,2)");
    VALUE("cnot\nOrderedDict\n)R.", "call(global('not','OrderedDict'),())");
    ERROR("ccollections\nOrderedDict\nK\1\x85R.", ESRGAN_E_CORRUPT, "something else than pairs");
    ERROR("ccollections\nOrderedDict\n]K\1a\x85R.", ESRGAN_E_CORRUPT, "something else than pairs");
    ERROR("ccollections\nOrderedDict\n]]\x86R.", ESRGAN_E_CORRUPT, "something else than pairs");
}

static void other_opcodes(void **state) {
    (void)state;
    VALUE("Pid\n.", "pid('id')");
    VALUE("K\1Q.", "pid(1)");
    VALUE("\x82\1.", "?");
    VALUE("\x83\1\2.", "?");
    VALUE("\x84\1\2\3\4.", "?");
    VALUE("\x97\x98.", "?");
    ERROR("Q.", ESRGAN_E_CORRUPT, "the stack is empty");
    ERROR("R.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("NR.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("NN\x92.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("Nb.", ESRGAN_E_CORRUPT, "too few values");
    ERROR("(o.", ESRGAN_E_CORRUPT, "no class above the mark");
    ERROR("K\1K\2\x93.", ESRGAN_E_CORRUPT, "no text at offset 4 (STACK_GLOBAL)");
}

/* The table knows exactly the opcodes of Python's pickletools, protocols 0 to 5. */
static void the_table_is_complete(void **state) {
    (void)state;
    static const char known[] = "IJKMLFGNSTUXVBC()]}{adeltusgphqrjcioRbPQ.012";
    size_t count = 0;
    for (int byte = 0; byte < 256; byte++) {
        es_pickle_argument argument;
        bool expected = byte >= 0x80 && byte <= 0x98;
        if (byte > 0 && byte < 0x80 && byte != '{') expected = strchr(known, byte) != NULL;
        assert_int_equal(es_pickle_opcode((uint8_t)byte, &argument) != NULL, expected);
        count += expected;
    }
    assert_int_equal(count, 68);
}

/* ---- Bombs ------------------------------------------------------------------------------------ */

static void expect_cheap(const forge *f, esrgan_status status, const char *text) {
    loaded l;
    load(&l, f->data, f->size);
    if (l.status != status || (text != NULL && strstr(l.error.message, text) == NULL)) {
        fail_msg("expected %d '%s', got %d '%s'", status, text, l.status, l.error.message);
    }
    assert_true(l.seconds < 0.2 * slow());
    assert_true(l.meter.peak < ((uint64_t)1 << 20) + 64 * f->size);
    unload(&l);
}

static void memo_bombs(void **state) {
    (void)state;
    forge f = {0};
    FORGE(&f, ")"); /* 2^5000 empty tuples, if one were to copy */
    for (int i = 0; i < 5000; i++) FORGE(&f, "2\x86");
    FORGE(&f, ".");
    expect_cheap(&f, ESRGAN_OK, NULL);
    f.size = 0;
    FORGE(&f, "]q\0");
    for (int i = 0; i < 5000; i++) FORGE(&f, "(h\0h\0h\0h\0h\0tq\0");
    FORGE(&f, ".");
    expect_cheap(&f, ESRGAN_OK, NULL);
    f.size = 0;
    FORGE(&f, "]q\0h\0a}q\1(h\1h\1u\x86."); /* a list and a dict that hold themselves */
    expect_cheap(&f, ESRGAN_OK, NULL);
    forge_free(&f);
}

static void deep_nesting(void **state) {
    (void)state;
    forge f = {0};
    for (int i = 0; i < 100000; i++) FORGE(&f, "]");
    for (int i = 0; i < 99999; i++) FORGE(&f, "a");
    FORGE(&f, ".");
    expect_cheap(&f, ESRGAN_OK, NULL);
    f.size = 0;
    for (int i = 0; i < 100000; i++) FORGE(&f, "(");
    expect_cheap(&f, ESRGAN_E_LIMIT, "more than 1000 nested marks");
    f.size = 0;
    FORGE(&f, "N");
    for (int i = 0; i < 1 << 20; i++) FORGE(&f, "2");
    expect_cheap(&f, ESRGAN_E_LIMIT, "more than 1048576 values on the stack");
    forge_free(&f);
}

static void huge_numbers(void **state) {
    (void)state;
    ERROR("X\xff\xff\xff\xff", ESRGAN_E_TRUNCATED, "ends inside BINUNICODE at offset 0");
    ERROR("T\xff\xff\xff\xff", ESRGAN_E_TRUNCATED, "ends inside BINSTRING");
    ERROR("\x8b\xff\xff\xff\x7f", ESRGAN_E_TRUNCATED, "ends inside LONG4");
    ERROR("\x8d\xff\xff\xff\xff\xff\xff\xff\xff", ESRGAN_E_TRUNCATED, "ends inside BINUNICODE8");
    ERROR("\x96\xff\xff\xff\xff\xff\xff\xff\xff", ESRGAN_E_TRUNCATED, "ends inside BYTEARRAY8");
    forge f = {0};
    for (int i = 0; i < (1 << 22) + 1; i++) FORGE(&f, "N0");
    loaded l;
    load(&l, f.data, f.size);
    assert_int_equal(l.status, ESRGAN_E_LIMIT);
    assert_non_null(strstr(l.error.message, "more than 4194304 values in a pickle"));
    assert_true(l.seconds < slow());
    unload(&l);
    f.size = 0;
    FORGE(&f, "](");
    for (int i = 0; i < 10000; i++) FORGE(&f, "]");
    FORGE(&f, "eq\0");
    for (int i = 0; i < 3000; i++) FORGE(&f, "(h\0h\0h\0h\0l0");
    FORGE(&f, ".");
    expect_cheap(&f, ESRGAN_OK, NULL);
    /* OrderedDict(pairs) copies handles: 2000 pairs, again and again, meet the budget of items */
    f.size = 0;
    FORGE(&f, "(");
    for (int i = 0; i < 2000; i++) FORGE(&f, "NN\x86");
    FORGE(&f, "tq\0");
    for (int i = 0; i < 6000; i++) FORGE(&f, "ccollections\nOrderedDict\nh\0\x85R0");
    load(&l, f.data, f.size);
    assert_int_equal(l.status, ESRGAN_E_LIMIT);
    assert_non_null(strstr(l.error.message, "items in the containers"));
    assert_true(l.seconds < slow());
    unload(&l);
    forge_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),        cmocka_unit_test(texts),
        cmocka_unit_test(containers),     cmocka_unit_test(containers_grow),
        cmocka_unit_test(stack_and_memo), cmocka_unit_test(calls_are_recorded),
        cmocka_unit_test(known_calls),    cmocka_unit_test(other_opcodes),
        cmocka_unit_test(memo_bombs),     cmocka_unit_test(deep_nesting),
        cmocka_unit_test(huge_numbers),   cmocka_unit_test(the_table_is_complete),
    };
    return cmocka_run_group_tests_name("pickle", tests, NULL, NULL);
}
