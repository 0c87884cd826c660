/*
 * A pickle machine that executes nothing.  It builds an arena of nodes; a value is a handle into
 * it and is never copied, so that whatever a pickle does with its memo costs no more than the
 * bytes it is written in.  Calls of anything but OrderedDict and torch.Size are recorded as inert
 * objects.  The machine does not recurse and neither may those who walk its nodes.
 */
#ifndef ES_CHECKPOINT_PICKLE_H
#define ES_CHECKPOINT_PICKLE_H

#include "checkpoint/source.h"

typedef uint32_t es_value;

typedef enum es_node_kind {
    ES_NODE_NONE,
    ES_NODE_BOOL,       /* integer                                             */
    ES_NODE_INT,        /* integer                                             */
    ES_NODE_LONG,       /* bytes: beyond 64 bits, little-endian or decimal     */
    ES_NODE_FLOAT,      /* value not kept: nothing depends on one              */
    ES_NODE_TEXT,       /* bytes: str, or a Python 2 string                    */
    ES_NODE_BYTES,      /* bytes                                               */
    ES_NODE_TUPLE,      /* items                                               */
    ES_NODE_LIST,       /* items                                               */
    ES_NODE_DICT,       /* items: key, value, key, value ...                   */
    ES_NODE_GLOBAL,     /* a: module (text), b: name (text)                    */
    ES_NODE_OBJECT,     /* a: callable, b: arguments (tuple)                   */
    ES_NODE_PERSISTENT, /* a: id                                               */
    ES_NODE_INERT       /* a set, an extension, a buffer: nothing to look into */
} es_node_kind;

typedef struct es_node {
    es_node_kind kind;
    uint32_t count; /* of items */
    union {
        int64_t integer;
        struct {
            const uint8_t *bytes; /* not terminated; in the file or in es_pickle.decoded */
            size_t size;
        };
        struct {
            es_value a, b;
        };
        struct {
            uint32_t first, capacity; /* in es_pickle.items */
        };
    };
} es_node;

typedef struct es_decoded es_decoded;

/* The arena.  Several pickles may be loaded into one. */
typedef struct es_pickle {
    es_node *nodes;
    size_t count, capacity;
    es_value *items;
    size_t item_count, item_capacity;
    es_decoded *decoded; /* texts that had escapes */
} es_pickle;

/*
 * Runs the pickle at `data` until its STOP.  `where` names it in messages; `early` is the status
 * for one that ends before.  *used receives its length.
 */
esrgan_status es_pickle_load(es_pickle *pickle, const es_source *source, const char *where,
                             esrgan_status early, const uint8_t *data, size_t size, size_t *used,
                             es_value *root);
void es_pickle_free(es_pickle *pickle, const es_source *source);

static inline const es_node *es_pickle_node(const es_pickle *p, es_value v) { return &p->nodes[v]; }

/* The i-th item of a tuple, list or dict; i < count. */
static inline const es_node *es_pickle_item(const es_pickle *p, const es_node *node, size_t i) {
    return &p->nodes[p->items[node->first + i]];
}

bool es_node_is_text(const es_node *node, const char *text);
bool es_node_is_global(const es_pickle *p, const es_node *node, const char *module,
                       const char *name);

/* The value of a text key in a dict, or NULL; of several the last, as in Python. */
const es_node *es_pickle_lookup(const es_pickle *p, const es_node *dict, const char *key);

/* What a node is, in a word for messages: "a list". */
const char *es_node_kind_text(const es_node *node);

/* The opcodes as the machine knows them; name is NULL for a byte that is none. */
typedef enum es_pickle_argument {
    ES_ARG_NONE,
    ES_ARG_U1,
    ES_ARG_U2,
    ES_ARG_U4,
    ES_ARG_I4,
    ES_ARG_U8,
    ES_ARG_F8,
    ES_ARG_LINE,  /* up to a newline */
    ES_ARG_LINES, /* two of them */
    ES_ARG_BYTES1,
    ES_ARG_BYTES4,
    ES_ARG_BYTES8 /* a length and so many bytes */
} es_pickle_argument;

const char *es_pickle_opcode(uint8_t byte, es_pickle_argument *argument);

#endif
