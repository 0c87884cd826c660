#include "json_read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, CHUNK = 1 << 16 };

/* Memory of a tree: chunks that are only ever freed together.  The first holds the root. */
typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) char bytes[];
} chunk;

typedef struct parser {
    const char *p, *end, *begin;
    chunk *chunks;
    const char *problem;
    int depth;
} parser;

typedef struct document {
    json_node root;
    chunk *chunks;
} document;

static void *take(parser *s, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!s->chunks || s->chunks->size - s->chunks->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        chunk *fresh = malloc(sizeof *fresh + room);
        if (!fresh) {
            s->problem = "out of memory";
            return NULL;
        }
        *fresh = (chunk){.next = s->chunks, .size = room};
        s->chunks = fresh;
    }
    void *memory = s->chunks->bytes + s->chunks->used;
    s->chunks->used += size;
    return memory;
}

static void blanks(parser *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

static int fail(parser *s, const char *problem) {
    if (!s->problem) s->problem = problem;
    return 0;
}

static int literal(parser *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return 0;
    s->p += n;
    return 1;
}

static int hex4(parser *s, unsigned *value) {
    *value = 0;
    if (s->end - s->p < 4) return 0;
    for (int i = 0; i < 4; i++, s->p++) {
        unsigned c = (unsigned char)*s->p, digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            digit = (c | 32) - 'a' + 10;
        else
            return 0;
        *value = *value << 4 | digit;
    }
    return 1;
}

/* The code point of \uXXXX (the \u is read already), pairs joined, as UTF-8. */
static int unicode(parser *s, char **out) {
    unsigned c, low;
    if (!hex4(s, &c)) return fail(s, "a \\u without four hexadecimal digits");
    if (c >= 0xd800 && c < 0xdc00) {
        if (!literal(s, "\\u") || !hex4(s, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(s, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    char *o = *out;
    if (c == 0) c = 0xfffd; /* strings here end with a zero */
    if (c < 0x80) {
        *o++ = (char)c;
    } else if (c < 0x800) {
        *o++ = (char)(0xc0 | c >> 6);
        *o++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *o++ = (char)(0xe0 | c >> 12);
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    } else {
        *o++ = (char)(0xf0 | c >> 18);
        *o++ = (char)(0x80 | (c >> 12 & 63));
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    }
    *out = o;
    return 1;
}

static int string(parser *s, const char **out) {
    if (s->p == s->end || *s->p != '"') return fail(s, "a string was expected");
    const char *close = ++s->p;
    while (close < s->end && *close != '"') close += *close == '\\' && close + 1 < s->end ? 2 : 1;
    if (close >= s->end) return fail(s, "a string does not end");
    char *text = take(s, (size_t)(close - s->p) + 1), *o = text; /* escapes only ever shrink */
    if (!text) return 0;
    while (s->p < close) {
        char c = *s->p++;
        if ((unsigned char)c < 32) return fail(s, "a control character in a string");
        if (c != '\\') {
            *o++ = c;
            continue;
        }
        c = *s->p++;
        const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *at = c ? strchr(from, c) : NULL;
        if (at)
            *o++ = to[at - from];
        else if (c != 'u')
            return fail(s, "an unknown escape in a string");
        else if (!unicode(s, &o))
            return 0;
    }
    *o = 0;
    s->p = close + 1;
    *out = text;
    return 1;
}

static int number(parser *s, double *out) {
    char copy[64];
    size_t n = 0;
    while (s->p + n < s->end && n < sizeof copy - 1 && s->p[n] &&
           strchr("+-.eE0123456789", s->p[n]))
        n++;
    memcpy(copy, s->p, n);
    copy[n] = 0;
    char *stop = copy;
    *out = strtod(copy, &stop);
    if (n == 0 || *stop) return fail(s, "a value was expected");
    s->p += n;
    return 1;
}

static int value(parser *s, json_node *out);

static int members(parser *s, json_node *out, char close) {
    json_node **tail = &out->child;
    if (++s->depth > MAX_DEPTH) return fail(s, "nested too deeply");
    s->p++;
    blanks(s);
    if (s->p < s->end && *s->p == close) {
        s->p++;
        s->depth--;
        return 1;
    }
    for (;;) {
        json_node *member = take(s, sizeof *member);
        if (!member) return 0;
        *member = (json_node){0};
        blanks(s);
        if (close == '}') {
            if (!string(s, &member->key)) return 0;
            blanks(s);
            if (s->p == s->end || *s->p++ != ':') return fail(s, "a ':' was expected");
        }
        if (!value(s, member)) return 0;
        *tail = member;
        tail = &member->next;
        blanks(s);
        if (s->p == s->end) return fail(s, "the text ends too early");
        char c = *s->p++;
        if (c == close) break;
        if (c != ',')
            return fail(s,
                        close == '}' ? "a ',' or '}' was expected" : "a ',' or ']' was expected");
    }
    s->depth--;
    return 1;
}

static int value(parser *s, json_node *out) {
    blanks(s);
    if (s->p == s->end) return fail(s, "the text ends too early");
    switch (*s->p) {
    case '{': out->type = JSON_OBJECT; return members(s, out, '}');
    case '[': out->type = JSON_ARRAY; return members(s, out, ']');
    case '"': out->type = JSON_STRING; return string(s, &out->string);
    case 't':
        out->type = JSON_BOOL;
        out->number = 1;
        return literal(s, "true") || fail(s, "a value was expected");
    case 'f': out->type = JSON_BOOL; return literal(s, "false") || fail(s, "a value was expected");
    case 'n': out->type = JSON_NULL; return literal(s, "null") || fail(s, "a value was expected");
    case 'N':
        out->type = JSON_NUMBER; /* Python's json writes NaN, Infinity and -Infinity */
        out->number = NAN;
        return literal(s, "NaN") || fail(s, "a value was expected");
    case 'I':
        out->type = JSON_NUMBER;
        out->number = INFINITY;
        return literal(s, "Infinity") || fail(s, "a value was expected");
    default: break;
    }
    out->type = JSON_NUMBER;
    if (literal(s, "-Infinity")) {
        out->number = -INFINITY;
        return 1;
    }
    return number(s, &out->number);
}

json_node *json_parse(const char *text, size_t size, char *message, size_t message_size) {
    parser s = {.p = text, .end = text + size, .begin = text};
    document *doc = calloc(1, sizeof *doc);
    int good = doc && value(&s, &doc->root);
    if (good) blanks(&s);
    if (good && s.p != s.end) good = fail(&s, "something follows the end");
    if (doc) doc->chunks = s.chunks;
    if (good) return &doc->root;
    size_t line = 1;
    for (const char *p = text; p < s.p; p++) line += *p == '\n';
    snprintf(message, message_size, "line %zu: %s", line, s.problem ? s.problem : "out of memory");
    json_node_free(doc ? &doc->root : NULL);
    return NULL;
}

void json_node_free(json_node *root) {
    if (!root) return;
    document *doc = (document *)root; /* its first member */
    for (chunk *c = doc->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(doc);
}

const json_node *node_get(const json_node *object, const char *key) {
    if (!object || object->type != JSON_OBJECT) return NULL;
    for (const json_node *m = object->child; m; m = m->next)
        if (strcmp(m->key, key) == 0) return m;
    return NULL;
}

const char *node_text(const json_node *object, const char *key, const char *otherwise) {
    const json_node *m = node_get(object, key);
    return m && m->type == JSON_STRING ? m->string : otherwise;
}

double node_number(const json_node *object, const char *key, double otherwise) {
    const json_node *m = node_get(object, key);
    return m && m->type == JSON_NUMBER ? m->number : otherwise;
}
