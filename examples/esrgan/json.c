#include "json.h"

#include <math.h>
#include <stdlib.h>

/* Length of the well-formed UTF-8 sequence at `s`, 0 where there is none. */
static int utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    int length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return length;
}

void json_quote(FILE *to, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    putc('"', to);
    while (*s) {
        int length = utf8_length(s);
        if (length == 0) {
            fputs("\\ufffd", to);
            s++;
            continue;
        }
        if (*s == '"' || *s == '\\')
            fprintf(to, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(to, "\\u%04x", *s);
        else
            fwrite(s, 1, (size_t)length, to);
        s += length;
    }
    putc('"', to);
}

static void next_line(json *j, const char *key) {
    fprintf(j->to, "%s\n%*s", j->first ? "" : ",", 2 * j->depth, "");
    j->first = false;
    if (!key) return;
    json_quote(j->to, key);
    fputs(": ", j->to);
}

static void open_level(json *j, char bracket) {
    putc(bracket, j->to);
    j->depth++;
    j->first = true;
}

static void close_level(json *j, char bracket) {
    j->depth--;
    if (!j->first) fprintf(j->to, "\n%*s", 2 * j->depth, "");
    putc(bracket, j->to);
    j->first = false;
}

void json_begin(json *j, FILE *to) {
    j->to = to;
    j->depth = 0;
    open_level(j, '{');
}

void json_end(json *j) {
    close_level(j, '}');
    putc('\n', j->to);
}

void json_object(json *j, const char *key) {
    next_line(j, key);
    open_level(j, '{');
}

void json_list(json *j, const char *key) {
    next_line(j, key);
    open_level(j, '[');
}

void json_close_object(json *j) { close_level(j, '}'); }
void json_close_list(json *j) { close_level(j, ']'); }

void json_text(json *j, const char *key, const char *text) {
    next_line(j, key);
    if (text)
        json_quote(j->to, text);
    else
        fputs("null", j->to);
}

void json_number(json *j, const char *key, double number) {
    next_line(j, key);
    if (!isfinite(number)) {
        fputs("null", j->to);
        return;
    }
    /* The shortest text that reads back as the same number. */
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    fputs(text, j->to);
}

void json_integer(json *j, const char *key, int64_t number) {
    next_line(j, key);
    fprintf(j->to, "%lld", (long long)number);
}

void json_bool(json *j, const char *key, bool value) {
    next_line(j, key);
    fputs(value ? "true" : "false", j->to);
}
