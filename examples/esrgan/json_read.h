/* A small JSON reader: text in, a tree out.  Numbers are doubles. */
#ifndef JSON_READ_H
#define JSON_READ_H

#include <stddef.h>

typedef enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type;

typedef struct json_node {
    json_type type;
    double number;           /* of a number; 0 or 1 of a bool */
    const char *string;      /* of a string, UTF-8 */
    const char *key;         /* within an object */
    struct json_node *child; /* first member of an array or object */
    struct json_node *next;  /* the member after this one */
} json_node;

/* A tree to release with json_node_free, or NULL with one line in `message` that says where and why. */
json_node *json_parse(const char *text, size_t size, char *message, size_t message_size);
void json_node_free(json_node *root);

/* A member of an object, or NULL: also where `object` is NULL or no object. */
const json_node *node_get(const json_node *object, const char *key);
/* Member as text or number, or the default where it is absent or of another type. */
const char *node_text(const json_node *object, const char *key, const char *otherwise);
double node_number(const json_node *object, const char *key, double otherwise);

#endif
