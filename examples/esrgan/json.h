/* A small JSON writer: commas, indentation and escaping looked after. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct json {
    FILE *to;
    int depth;
    bool first; /* nothing written yet on this level */
} json;

void json_begin(json *j, FILE *to); /* opens the outermost object            */
void json_end(json *j);             /* closes it and ends the line           */

/* `key` is NULL inside a list. */
void json_object(json *j, const char *key);
void json_list(json *j, const char *key);
void json_close_object(json *j);
void json_close_list(json *j);
void json_text(json *j, const char *key,
               const char *text); /* NULL gives null; broken UTF-8 U+FFFD */
void json_number(json *j, const char *key, double number); /* NaN and Inf give null  */
void json_integer(json *j, const char *key, int64_t number);
void json_bool(json *j, const char *key, bool value);

/* The text alone, quoted and escaped. */
void json_quote(FILE *to, const char *text);

#endif
