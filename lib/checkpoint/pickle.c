#include "checkpoint/pickle.h"

#include <string.h>

/* Budgets.  A checkpoint of a thousand tensors needs some 30000 nodes. */
#define MAX_PICKLE ((size_t)1 << 30)
#define MAX_NODES  ((size_t)1 << 22)
#define MAX_ITEMS  ((size_t)1 << 24)
#define MAX_STACK  ((size_t)1 << 20)
#define MAX_MARKS  1000

struct es_decoded {
    es_decoded *next;
    size_t size; /* of the whole block */
};

typedef struct argument {
    int64_t number;
    const uint8_t *bytes; /* of a line or a counted string */
    size_t size;
    const uint8_t *second; /* of two lines */
    size_t second_size;
} argument;

typedef struct machine {
    es_pickle *p;
    const es_source *s;
    const char *where;
    esrgan_status early;
    const uint8_t *data;
    size_t size, at, start; /* start: of the opcode under way */
    es_value *stack;
    size_t depth, stack_capacity;
    size_t *marks;
    size_t mark_count, mark_capacity;
    es_value *memo; /* handle + 1; 0 where nothing was put */
    size_t memo_count, memo_capacity;
    bool stopped;
} machine;

typedef struct opcode {
    const char *name;
    es_pickle_argument argument;
    esrgan_status (*run)(machine *m, const argument *arg);
} opcode;

static const opcode opcodes[256];

static esrgan_status corrupt(machine *m, const char *what) {
    return es_source_fail(m->s, ESRGAN_E_CORRUPT, "%s: %s at offset %zu (%s)", m->where, what,
                          m->start, opcodes[m->data[m->start]].name);
}

/* ---- Arena and stack -------------------------------------------------------------------------- */

static esrgan_status push(machine *m, es_value value) {
    esrgan_status status =
        es_source_grow(m->s, &m->stack, &m->stack_capacity, m->depth, m->depth + 1,
                       sizeof *m->stack, MAX_STACK, "values on the stack of a pickle");
    if (status == ESRGAN_OK) m->stack[m->depth++] = value;
    return status;
}

static esrgan_status add_node(machine *m, es_node node, es_value *value) {
    es_pickle *p = m->p;
    esrgan_status status = es_source_grow(m->s, &p->nodes, &p->capacity, p->count, p->count + 1,
                                          sizeof *p->nodes, MAX_NODES, "values in a pickle");
    if (status != ESRGAN_OK) return status;
    *value = (es_value)p->count;
    p->nodes[p->count++] = node;
    return ESRGAN_OK;
}

static esrgan_status push_node(machine *m, es_node node) {
    es_value value;
    esrgan_status status = add_node(m, node, &value);
    return status != ESRGAN_OK ? status : push(m, value);
}

static size_t base_of(const machine *m) {
    return m->mark_count > 0 ? m->marks[m->mark_count - 1] : 0;
}

/* Whether `count` values lie above the last mark. */
static bool has(const machine *m, size_t count) { return m->depth - base_of(m) >= count; }

static es_value pop(machine *m) { return m->stack[--m->depth]; }

/* Takes away the last mark; the values above it are stack[*from] .. stack[depth - 1]. */
static esrgan_status unmark(machine *m, size_t *from) {
    if (m->mark_count == 0) return corrupt(m, "no mark on the stack");
    *from = m->marks[--m->mark_count];
    return ESRGAN_OK;
}

/* Appends handles to the items of a node, which moves to the end when it has to grow. */
static esrgan_status append(machine *m, es_value target, const es_value *values, size_t count) {
    es_pickle *p = m->p;
    es_node *node = &p->nodes[target];
    size_t need = node->count + count;
    if (need > node->capacity) {
        size_t room = node->capacity > 0 ? (size_t)node->capacity * 2 : count;
        if (room < need) room = need;
        bool last = node->first + (size_t)node->capacity == p->item_count && node->capacity > 0;
        size_t first = last ? node->first : p->item_count;
        esrgan_status status =
            es_source_grow(m->s, &p->items, &p->item_capacity, p->item_count, first + room,
                           sizeof *p->items, MAX_ITEMS, "items in the containers of a pickle");
        if (status != ESRGAN_OK) return status;
        if (!last && node->count > 0) {
            memcpy(p->items + first, p->items + node->first, node->count * sizeof *p->items);
        }
        node->first = (uint32_t)first;
        node->capacity = (uint32_t)room;
        p->item_count = first + room;
    }
    if (count > 0) memcpy(p->items + node->first + node->count, values, count * sizeof *values);
    node->count = (uint32_t)need;
    return ESRGAN_OK;
}

/* A new container of the values from stack[from] on, which leave the stack. */
static esrgan_status gather(machine *m, es_node_kind kind, size_t from) {
    es_value value;
    esrgan_status status = add_node(m, (es_node){.kind = kind}, &value);
    if (status != ESRGAN_OK) return status;
    if (m->depth > from) { /* an empty stack has no address to count from */
        status = append(m, value, m->stack + from, m->depth - from);
        if (status != ESRGAN_OK) return status;
        m->depth = from;
    }
    return push(m, value);
}

/* ---- Scalars and text ------------------------------------------------------------------------- */

static es_node integer_node(es_node_kind kind, int64_t integer) {
    return (es_node){.kind = kind, .integer = integer};
}

static es_node bytes_node(es_node_kind kind, const uint8_t *bytes, size_t size) {
    es_node node = {.kind = kind};
    node.bytes = bytes;
    node.size = size;
    return node;
}

static bool parse_decimal(const uint8_t *p, size_t size, int64_t *out) {
    bool negative = size > 0 && p[0] == '-';
    if (negative) p++, size--;
    if (size == 0) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (p[i] < '0' || p[i] > '9' || value > (INT64_MAX - 9) / 10) return false;
        value = value * 10 + (uint64_t)(p[i] - '0');
    }
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static esrgan_status op_none(machine *m, const argument *arg) {
    (void)arg;
    return push_node(m, (es_node){.kind = ES_NODE_NONE});
}

static esrgan_status op_true(machine *m, const argument *arg) {
    (void)arg;
    return push_node(m, integer_node(ES_NODE_BOOL, 1));
}

static esrgan_status op_false(machine *m, const argument *arg) {
    (void)arg;
    return push_node(m, integer_node(ES_NODE_BOOL, 0));
}

static esrgan_status op_number(machine *m, const argument *arg) {
    return push_node(m, integer_node(ES_NODE_INT, arg->number));
}

static esrgan_status op_float(machine *m, const argument *arg) {
    (void)arg;
    return push_node(m, (es_node){.kind = ES_NODE_FLOAT});
}

/* INT and LONG of protocol 0: "00" and "01" are booleans, a long may end in L. */
static esrgan_status op_decimal(machine *m, const argument *arg) {
    const uint8_t *p = arg->bytes;
    size_t size = arg->size;
    if (size == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1')) {
        return push_node(m, integer_node(ES_NODE_BOOL, p[1] - '0'));
    }
    if (size > 0 && p[size - 1] == 'L') size--;
    int64_t value;
    if (parse_decimal(p, size, &value)) return push_node(m, integer_node(ES_NODE_INT, value));
    return push_node(m, bytes_node(ES_NODE_LONG, p, size));
}

/* LONG1 and LONG4: little-endian two's complement. */
static esrgan_status op_long(machine *m, const argument *arg) {
    if (arg->size > 8) return push_node(m, bytes_node(ES_NODE_LONG, arg->bytes, arg->size));
    uint64_t value = 0;
    for (size_t i = 0; i < arg->size; i++) value |= (uint64_t)arg->bytes[i] << 8 * i;
    if (arg->size > 0 && arg->size < 8 && (arg->bytes[arg->size - 1] & 0x80)) {
        value |= ~(uint64_t)0 << 8 * arg->size;
    }
    return push_node(m, integer_node(ES_NODE_INT, (int64_t)value));
}

static esrgan_status op_text(machine *m, const argument *arg) {
    return push_node(m, bytes_node(ES_NODE_TEXT, arg->bytes, arg->size));
}

static esrgan_status op_bytes(machine *m, const argument *arg) {
    return push_node(m, bytes_node(ES_NODE_BYTES, arg->bytes, arg->size));
}

/* Room for a text of at most `size` bytes that lives as long as the arena. */
static uint8_t *decoded_room(machine *m, size_t size) {
    es_decoded *block = es_alloc(&m->s->meter->allocator, sizeof *block + size);
    if (block == NULL) return NULL;
    block->size = sizeof *block + size;
    block->next = m->p->decoded;
    m->p->decoded = block;
    return (uint8_t *)(block + 1);
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` hexadecimal digits at p, or -1. */
static int64_t hex_number(const uint8_t *p, size_t left, size_t digits) {
    if (left < digits) return -1;
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (uint8_t)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (uint8_t)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (uint8_t)(0xe0 | code >> 12);
        } else {
            *out++ = (uint8_t)(0xf0 | (code >> 18 & 7));
            *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        }
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    }
    *out++ = (uint8_t)(0x80 | (code & 0x3f));
    return out;
}

/* UNICODE: Latin-1 with \uXXXX and \UXXXXXXXX. */
static esrgan_status op_unicode(machine *m, const argument *arg) {
    bool plain = true;
    for (size_t i = 0; i < arg->size; i++) plain &= arg->bytes[i] < 0x80 && arg->bytes[i] != '\\';
    if (plain) return op_text(m, arg);
    uint8_t *text = decoded_room(m, arg->size * 2), *out = text;
    if (text == NULL) return es_source_no_memory(m->s);
    for (size_t i = 0; i < arg->size;) {
        const uint8_t *p = arg->bytes + i;
        size_t digits = 0;
        if (p[0] == '\\' && i + 1 < arg->size) digits = p[1] == 'u' ? 4 : p[1] == 'U' ? 8 : 0;
        int64_t code = digits > 0 ? hex_number(p + 2, arg->size - i - 2, digits) : -1;
        out = put_utf8(out, code >= 0 ? (uint32_t)code : p[0]);
        i += code >= 0 ? digits + 2 : 1;
    }
    return push_node(m, bytes_node(ES_NODE_TEXT, text, (size_t)(out - text)));
}

/* One escape of a Python string literal; returns how many bytes it took. */
static size_t unescape(const uint8_t *p, size_t left, uint8_t *out) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *simple = p[1] != 0 ? strchr(from, p[1]) : NULL;
    if (simple != NULL) {
        *out = (uint8_t)to[simple - from];
        return 2;
    }
    int64_t code = p[1] == 'x' ? hex_number(p + 2, left - 2, 2) : -1;
    if (code >= 0) {
        *out = (uint8_t)code;
        return 4;
    }
    *out = p[0];
    return 1;
}

/* STRING: a Python literal in quotes. */
static esrgan_status op_string(machine *m, const argument *arg) {
    const uint8_t *p = arg->bytes;
    size_t size = arg->size;
    while (size > 0 && (p[size - 1] == ' ' || p[size - 1] == '\r')) size--;
    if (size < 2 || (p[0] != '\'' && p[0] != '"') || p[size - 1] != p[0]) {
        return corrupt(m, "a string without quotes");
    }
    p++, size -= 2;
    if (size == 0 || memchr(p, '\\', size) == NULL) {
        return push_node(m, bytes_node(ES_NODE_TEXT, p, size));
    }
    uint8_t *text = decoded_room(m, size), *out = text;
    if (text == NULL) return es_source_no_memory(m->s);
    for (size_t i = 0; i < size; out++) {
        if (p[i] == '\\' && i + 1 < size) {
            i += unescape(p + i, size - i, out);
        } else {
            *out = p[i++];
        }
    }
    return push_node(m, bytes_node(ES_NODE_TEXT, text, (size_t)(out - text)));
}

/* ---- Stack and memo --------------------------------------------------------------------------- */

static esrgan_status op_mark(machine *m, const argument *arg) {
    (void)arg;
    esrgan_status status =
        es_source_grow(m->s, &m->marks, &m->mark_capacity, m->mark_count, m->mark_count + 1,
                       sizeof *m->marks, MAX_MARKS, "nested marks in a pickle");
    if (status == ESRGAN_OK) m->marks[m->mark_count++] = m->depth;
    return status;
}

static esrgan_status op_pop(machine *m, const argument *arg) {
    (void)arg;
    if (has(m, 1)) {
        m->depth--;
        return ESRGAN_OK;
    }
    size_t from = 0; /* with nothing above it, POP takes the mark itself */
    return unmark(m, &from);
}

static esrgan_status op_pop_mark(machine *m, const argument *arg) {
    (void)arg;
    return unmark(m, &m->depth);
}

static esrgan_status op_dup(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 1)) return corrupt(m, "the stack is empty");
    return push(m, m->stack[m->depth - 1]);
}

static esrgan_status put(machine *m, uint64_t index) {
    if (!has(m, 1)) return corrupt(m, "the stack is empty");
    /* Picklers number their memo from 0 on, and each number takes an opcode at least. */
    if (index > m->start) return corrupt(m, "a memo number that no pickler writes");
    size_t had = m->memo_capacity;
    esrgan_status status =
        es_source_grow(m->s, &m->memo, &m->memo_capacity, had, (size_t)index + 1, sizeof *m->memo,
                       MAX_PICKLE, "numbers in the memo of a pickle");
    if (status != ESRGAN_OK) return status;
    memset(m->memo + had, 0, (m->memo_capacity - had) * sizeof *m->memo);
    m->memo[index] = m->stack[m->depth - 1] + 1;
    m->memo_count++;
    return ESRGAN_OK;
}

static esrgan_status get(machine *m, uint64_t index) {
    if (index >= m->memo_capacity || m->memo[index] == 0) {
        return corrupt(m, "a memo number that was never put");
    }
    return push(m, m->memo[index] - 1);
}

static esrgan_status op_put(machine *m, const argument *arg) {
    return put(m, (uint64_t)arg->number);
}

static esrgan_status op_get(machine *m, const argument *arg) {
    return get(m, (uint64_t)arg->number);
}

static esrgan_status op_put_line(machine *m, const argument *arg) {
    int64_t index;
    if (!parse_decimal(arg->bytes, arg->size, &index) || index < 0) {
        return corrupt(m, "not a memo number");
    }
    return put(m, (uint64_t)index);
}

static esrgan_status op_get_line(machine *m, const argument *arg) {
    int64_t index;
    if (!parse_decimal(arg->bytes, arg->size, &index) || index < 0) {
        return corrupt(m, "not a memo number");
    }
    return get(m, (uint64_t)index);
}

static esrgan_status op_memoize(machine *m, const argument *arg) {
    (void)arg;
    return put(m, m->memo_count);
}

/* ---- Containers ------------------------------------------------------------------------------- */

static esrgan_status op_empty_tuple(machine *m, const argument *arg) {
    (void)arg;
    return gather(m, ES_NODE_TUPLE, m->depth);
}

static esrgan_status op_empty_list(machine *m, const argument *arg) {
    (void)arg;
    return gather(m, ES_NODE_LIST, m->depth);
}

static esrgan_status op_empty_dict(machine *m, const argument *arg) {
    (void)arg;
    return gather(m, ES_NODE_DICT, m->depth);
}

static esrgan_status op_inert(machine *m, const argument *arg) {
    (void)arg;
    return push_node(m, (es_node){.kind = ES_NODE_INERT});
}

static esrgan_status gather_marked(machine *m, es_node_kind kind) {
    size_t from = 0;
    esrgan_status status = unmark(m, &from);
    if (status != ESRGAN_OK) return status;
    if (kind == ES_NODE_DICT && (m->depth - from) % 2 != 0) {
        return corrupt(m, "a key without a value");
    }
    return gather(m, kind, from);
}

static esrgan_status op_tuple(machine *m, const argument *arg) {
    (void)arg;
    return gather_marked(m, ES_NODE_TUPLE);
}

static esrgan_status op_list(machine *m, const argument *arg) {
    (void)arg;
    return gather_marked(m, ES_NODE_LIST);
}

static esrgan_status op_dict(machine *m, const argument *arg) {
    (void)arg;
    return gather_marked(m, ES_NODE_DICT);
}

static esrgan_status op_frozenset(machine *m, const argument *arg) {
    size_t from = 0;
    esrgan_status status = unmark(m, &from);
    if (status != ESRGAN_OK) return status;
    m->depth = from;
    return op_inert(m, arg);
}

static esrgan_status op_tuple_n(machine *m, const argument *arg) {
    (void)arg;
    size_t count = (size_t)(m->data[m->start] - 0x84); /* TUPLE1 is 0x85 */
    if (!has(m, count)) return corrupt(m, "too few values on the stack");
    return gather(m, ES_NODE_TUPLE, m->depth - count);
}

/* Adds stack[from..] to the container below them.  What cannot be looked into swallows them. */
static esrgan_status extend(machine *m, es_node_kind kind, size_t from) {
    if (from <= base_of(m)) return corrupt(m, "nothing on the stack to add to");
    es_value target = m->stack[from - 1];
    es_node_kind found = m->p->nodes[target].kind;
    size_t count = m->depth - from;
    if (kind == ES_NODE_DICT && count % 2 != 0) return corrupt(m, "a key without a value");
    m->depth = from;
    if (found == ES_NODE_OBJECT || found == ES_NODE_INERT || found == ES_NODE_PERSISTENT) {
        return ESRGAN_OK;
    }
    if (found == kind) return append(m, target, m->stack + from, count);
    return corrupt(m, "adding to something that is no container of that kind");
}

static esrgan_status extend_marked(machine *m, es_node_kind kind) {
    size_t from = 0;
    esrgan_status status = unmark(m, &from);
    return status != ESRGAN_OK ? status : extend(m, kind, from);
}

static esrgan_status op_append(machine *m, const argument *arg) {
    (void)arg;
    return has(m, 2) ? extend(m, ES_NODE_LIST, m->depth - 1) : corrupt(m, "too few values");
}

static esrgan_status op_appends(machine *m, const argument *arg) {
    (void)arg;
    return extend_marked(m, ES_NODE_LIST);
}

static esrgan_status op_setitem(machine *m, const argument *arg) {
    (void)arg;
    return has(m, 3) ? extend(m, ES_NODE_DICT, m->depth - 2) : corrupt(m, "too few values");
}

static esrgan_status op_setitems(machine *m, const argument *arg) {
    (void)arg;
    return extend_marked(m, ES_NODE_DICT);
}

static esrgan_status op_additems(machine *m, const argument *arg) {
    (void)arg;
    return extend_marked(m, ES_NODE_INERT);
}

/* ---- Calls: recorded, never made -------------------------------------------------------------- */

static esrgan_status push_global(machine *m, es_value module, es_value name) {
    es_node node = {.kind = ES_NODE_GLOBAL};
    node.a = module;
    node.b = name;
    return push_node(m, node);
}

static esrgan_status op_global(machine *m, const argument *arg) {
    es_value module, name;
    esrgan_status status = add_node(m, bytes_node(ES_NODE_TEXT, arg->bytes, arg->size), &module);
    if (status == ESRGAN_OK) {
        status = add_node(m, bytes_node(ES_NODE_TEXT, arg->second, arg->second_size), &name);
    }
    return status != ESRGAN_OK ? status : push_global(m, module, name);
}

static esrgan_status op_stack_global(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 2)) return corrupt(m, "too few values on the stack");
    es_value name = pop(m), module = pop(m);
    if (m->p->nodes[name].kind != ES_NODE_TEXT || m->p->nodes[module].kind != ES_NODE_TEXT) {
        return corrupt(m, "the name of a global that is no text");
    }
    return push_global(m, module, name);
}

/* OrderedDict(((key, value), ...)), as Python 2 wrote it. */
static esrgan_status ordered_dict(machine *m, const es_node *args) {
    es_value dict;
    esrgan_status status = add_node(m, (es_node){.kind = ES_NODE_DICT}, &dict);
    if (status != ESRGAN_OK) return status;
    /* Nodes do not move any more, and append() moves items only: copies of nodes stay good. */
    es_node list = {.kind = ES_NODE_NONE};
    if (args->count == 1) list = *es_pickle_item(m->p, args, 0);
    bool pairs = list.kind == ES_NODE_LIST || list.kind == ES_NODE_TUPLE;
    if (args->count > 1 || (args->count == 1 && !pairs)) {
        return corrupt(m, "an OrderedDict made of something else than pairs");
    }
    for (size_t i = 0; pairs && i < list.count; i++) {
        const es_node *pair = es_pickle_item(m->p, &list, i);
        if ((pair->kind != ES_NODE_LIST && pair->kind != ES_NODE_TUPLE) || pair->count != 2) {
            return corrupt(m, "an OrderedDict made of something else than pairs");
        }
        es_value both[2] = {m->p->items[pair->first], m->p->items[pair->first + 1]};
        status = append(m, dict, both, 2);
        if (status != ESRGAN_OK) return status;
    }
    return push(m, dict);
}

static esrgan_status call(machine *m, es_value callable, es_value arguments) {
    es_pickle *p = m->p;
    const es_node *function = &p->nodes[callable];
    es_node args = p->nodes[arguments]; /* a copy: adding nodes may move them */
    if (args.kind == ES_NODE_TUPLE) {
        if (es_node_is_global(p, function, "collections", "OrderedDict")) {
            return ordered_dict(m, &args);
        }
        if (es_node_is_global(p, function, "torch", "Size") && args.count == 1) {
            return push(m, p->items[args.first]);
        }
    }
    es_node node = {.kind = ES_NODE_OBJECT};
    node.a = callable;
    node.b = arguments;
    return push_node(m, node);
}

/* REDUCE and NEWOBJ */
static esrgan_status op_call(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 2)) return corrupt(m, "too few values on the stack");
    es_value arguments = pop(m), callable = pop(m);
    return call(m, callable, arguments);
}

static esrgan_status op_newobj_ex(machine *m, const argument *arg) {
    if (!has(m, 3)) return corrupt(m, "too few values on the stack");
    m->depth--; /* keyword arguments */
    return op_call(m, arg);
}

/* OBJ: mark, class, arguments ... */
static esrgan_status op_obj(machine *m, const argument *arg) {
    (void)arg;
    size_t from = 0;
    esrgan_status status = unmark(m, &from);
    if (status != ESRGAN_OK) return status;
    if (m->depth == from) return corrupt(m, "no class above the mark");
    status = gather(m, ES_NODE_TUPLE, from + 1);
    if (status != ESRGAN_OK) return status;
    es_value arguments = pop(m), callable = pop(m);
    return call(m, callable, arguments);
}

/* INST: mark, arguments ...; the class is named by two lines */
static esrgan_status op_inst(machine *m, const argument *arg) {
    esrgan_status status = gather_marked(m, ES_NODE_TUPLE);
    if (status != ESRGAN_OK) return status;
    es_value arguments = pop(m);
    status = op_global(m, arg);
    return status != ESRGAN_OK ? status : call(m, pop(m), arguments);
}

/* The state goes: no object is ever made of it. */
static esrgan_status op_build(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 2)) return corrupt(m, "too few values on the stack");
    m->depth--;
    return ESRGAN_OK;
}

static esrgan_status op_binpersid(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 1)) return corrupt(m, "the stack is empty");
    es_node node = {.kind = ES_NODE_PERSISTENT};
    node.a = pop(m);
    return push_node(m, node);
}

static esrgan_status op_persid(machine *m, const argument *arg) {
    esrgan_status status = op_text(m, arg);
    return status != ESRGAN_OK ? status : op_binpersid(m, arg);
}

/* ---- Framing ---------------------------------------------------------------------------------- */

static esrgan_status op_proto(machine *m, const argument *arg) {
    if (arg->number <= 5) return ESRGAN_OK;
    return es_source_fail(m->s, ESRGAN_E_UNSUPPORTED,
                          "%s: pickle protocol %lld; 0 to 5 can be read", m->where,
                          (long long)arg->number);
}

static esrgan_status op_nothing(machine *m, const argument *arg) {
    (void)m, (void)arg;
    return ESRGAN_OK;
}

static esrgan_status op_stop(machine *m, const argument *arg) {
    (void)arg;
    if (!has(m, 1)) return corrupt(m, "the stack is empty");
    m->stopped = true;
    return ESRGAN_OK;
}

/* The one table that everything that walks a pickle goes by. */
static const opcode opcodes[256] = {
    ['('] = {"MARK", ES_ARG_NONE, op_mark},
    ['.'] = {"STOP", ES_ARG_NONE, op_stop},
    ['0'] = {"POP", ES_ARG_NONE, op_pop},
    ['1'] = {"POP_MARK", ES_ARG_NONE, op_pop_mark},
    ['2'] = {"DUP", ES_ARG_NONE, op_dup},
    ['F'] = {"FLOAT", ES_ARG_LINE, op_float},
    ['I'] = {"INT", ES_ARG_LINE, op_decimal},
    ['J'] = {"BININT", ES_ARG_I4, op_number},
    ['K'] = {"BININT1", ES_ARG_U1, op_number},
    ['L'] = {"LONG", ES_ARG_LINE, op_decimal},
    ['M'] = {"BININT2", ES_ARG_U2, op_number},
    ['N'] = {"NONE", ES_ARG_NONE, op_none},
    ['P'] = {"PERSID", ES_ARG_LINE, op_persid},
    ['Q'] = {"BINPERSID", ES_ARG_NONE, op_binpersid},
    ['R'] = {"REDUCE", ES_ARG_NONE, op_call},
    ['S'] = {"STRING", ES_ARG_LINE, op_string},
    ['T'] = {"BINSTRING", ES_ARG_BYTES4, op_text},
    ['U'] = {"SHORT_BINSTRING", ES_ARG_BYTES1, op_text},
    ['V'] = {"UNICODE", ES_ARG_LINE, op_unicode},
    ['X'] = {"BINUNICODE", ES_ARG_BYTES4, op_text},
    ['a'] = {"APPEND", ES_ARG_NONE, op_append},
    ['b'] = {"BUILD", ES_ARG_NONE, op_build},
    ['c'] = {"GLOBAL", ES_ARG_LINES, op_global},
    ['d'] = {"DICT", ES_ARG_NONE, op_dict},
    ['}'] = {"EMPTY_DICT", ES_ARG_NONE, op_empty_dict},
    ['e'] = {"APPENDS", ES_ARG_NONE, op_appends},
    ['g'] = {"GET", ES_ARG_LINE, op_get_line},
    ['h'] = {"BINGET", ES_ARG_U1, op_get},
    ['i'] = {"INST", ES_ARG_LINES, op_inst},
    ['j'] = {"LONG_BINGET", ES_ARG_U4, op_get},
    ['l'] = {"LIST", ES_ARG_NONE, op_list},
    [']'] = {"EMPTY_LIST", ES_ARG_NONE, op_empty_list},
    ['o'] = {"OBJ", ES_ARG_NONE, op_obj},
    ['p'] = {"PUT", ES_ARG_LINE, op_put_line},
    ['q'] = {"BINPUT", ES_ARG_U1, op_put},
    ['r'] = {"LONG_BINPUT", ES_ARG_U4, op_put},
    ['s'] = {"SETITEM", ES_ARG_NONE, op_setitem},
    ['t'] = {"TUPLE", ES_ARG_NONE, op_tuple},
    [')'] = {"EMPTY_TUPLE", ES_ARG_NONE, op_empty_tuple},
    ['u'] = {"SETITEMS", ES_ARG_NONE, op_setitems},
    ['G'] = {"BINFLOAT", ES_ARG_F8, op_float},
    ['B'] = {"BINBYTES", ES_ARG_BYTES4, op_bytes},
    ['C'] = {"SHORT_BINBYTES", ES_ARG_BYTES1, op_bytes},
    [0x80] = {"PROTO", ES_ARG_U1, op_proto},
    [0x81] = {"NEWOBJ", ES_ARG_NONE, op_call},
    [0x82] = {"EXT1", ES_ARG_U1, op_inert},
    [0x83] = {"EXT2", ES_ARG_U2, op_inert},
    [0x84] = {"EXT4", ES_ARG_I4, op_inert},
    [0x85] = {"TUPLE1", ES_ARG_NONE, op_tuple_n},
    [0x86] = {"TUPLE2", ES_ARG_NONE, op_tuple_n},
    [0x87] = {"TUPLE3", ES_ARG_NONE, op_tuple_n},
    [0x88] = {"NEWTRUE", ES_ARG_NONE, op_true},
    [0x89] = {"NEWFALSE", ES_ARG_NONE, op_false},
    [0x8a] = {"LONG1", ES_ARG_BYTES1, op_long},
    [0x8b] = {"LONG4", ES_ARG_BYTES4, op_long},
    [0x8c] = {"SHORT_BINUNICODE", ES_ARG_BYTES1, op_text},
    [0x8d] = {"BINUNICODE8", ES_ARG_BYTES8, op_text},
    [0x8e] = {"BINBYTES8", ES_ARG_BYTES8, op_bytes},
    [0x8f] = {"EMPTY_SET", ES_ARG_NONE, op_inert},
    [0x90] = {"ADDITEMS", ES_ARG_NONE, op_additems},
    [0x91] = {"FROZENSET", ES_ARG_NONE, op_frozenset},
    [0x92] = {"NEWOBJ_EX", ES_ARG_NONE, op_newobj_ex},
    [0x93] = {"STACK_GLOBAL", ES_ARG_NONE, op_stack_global},
    [0x94] = {"MEMOIZE", ES_ARG_NONE, op_memoize},
    [0x95] = {"FRAME", ES_ARG_U8, op_nothing},
    [0x96] = {"BYTEARRAY8", ES_ARG_BYTES8, op_bytes},
    [0x97] = {"NEXT_BUFFER", ES_ARG_NONE, op_inert},
    [0x98] = {"READONLY_BUFFER", ES_ARG_NONE, op_nothing},
};

const char *es_pickle_opcode(uint8_t byte, es_pickle_argument *kind) {
    *kind = opcodes[byte].argument;
    return opcodes[byte].name;
}

/* ---- Reading opcodes -------------------------------------------------------------------------- */

static esrgan_status ends_early(machine *m) {
    bool inside = m->start < m->size; /* of an opcode, rather than before one */
    return es_source_fail(
        m->s, m->early, "%s: ends %s%s at offset %zu%s", m->where,
        inside ? "inside " : "without STOP", inside ? opcodes[m->data[m->start]].name : "",
        m->start,
        m->early == ESRGAN_E_TRUNCATED ? ": the file was cut short, download it again" : "");
}

static bool take_line(machine *m, const uint8_t **bytes, size_t *size) {
    const uint8_t *line = m->data + m->at;
    const uint8_t *end = m->at < m->size ? memchr(line, '\n', m->size - m->at) : NULL;
    if (end == NULL) return false;
    *bytes = line;
    *size = (size_t)(end - line);
    m->at += *size + 1;
    return true;
}

static esrgan_status take_bytes(machine *m, size_t width, argument *arg) {
    if (m->size - m->at < width) return ends_early(m);
    const uint8_t *p = m->data + m->at;
    uint64_t length = width == 1 ? p[0] : width == 4 ? es_le32(p) : es_le64(p);
    m->at += width;
    if (length > m->size - m->at) return ends_early(m);
    arg->bytes = m->data + m->at;
    arg->size = (size_t)length;
    m->at += (size_t)length;
    return ESRGAN_OK;
}

static esrgan_status take_number(machine *m, size_t width, bool is_signed, argument *arg) {
    if (m->size - m->at < width) return ends_early(m);
    const uint8_t *p = m->data + m->at;
    switch (width) {
    case 1: arg->number = p[0]; break;
    case 2: arg->number = es_le16(p); break;
    case 4: arg->number = is_signed ? (int32_t)es_le32(p) : (int64_t)es_le32(p); break;
    default: break; /* the value of a frame's length or a float is not used */
    }
    m->at += width;
    return ESRGAN_OK;
}

static esrgan_status take_argument(machine *m, es_pickle_argument kind, argument *arg) {
    switch (kind) {
    case ES_ARG_NONE: return ESRGAN_OK;
    case ES_ARG_U1: return take_number(m, 1, false, arg);
    case ES_ARG_U2: return take_number(m, 2, false, arg);
    case ES_ARG_U4: return take_number(m, 4, false, arg);
    case ES_ARG_I4: return take_number(m, 4, true, arg);
    case ES_ARG_U8: return take_number(m, 8, false, arg);
    case ES_ARG_F8: return take_number(m, 8, false, arg);
    case ES_ARG_LINE: return take_line(m, &arg->bytes, &arg->size) ? ESRGAN_OK : ends_early(m);
    case ES_ARG_LINES:
        if (!take_line(m, &arg->bytes, &arg->size)) return ends_early(m);
        return take_line(m, &arg->second, &arg->second_size) ? ESRGAN_OK : ends_early(m);
    case ES_ARG_BYTES1: return take_bytes(m, 1, arg);
    case ES_ARG_BYTES4: return take_bytes(m, 4, arg);
    case ES_ARG_BYTES8: return take_bytes(m, 8, arg);
    }
    return ESRGAN_OK;
}

static esrgan_status step(machine *m) {
    m->start = m->at;
    if (m->at >= m->size) return ends_early(m);
    const opcode *op = &opcodes[m->data[m->at++]];
    if (op->name == NULL) {
        return es_source_fail(m->s, ESRGAN_E_CORRUPT, "%s: unknown opcode 0x%02x at offset %zu",
                              m->where, m->data[m->start], m->start);
    }
    argument arg = {0};
    esrgan_status status = take_argument(m, op->argument, &arg);
    return status != ESRGAN_OK ? status : op->run(m, &arg);
}

esrgan_status es_pickle_load(es_pickle *pickle, const es_source *source, const char *where,
                             esrgan_status early, const uint8_t *data, size_t size, size_t *used,
                             es_value *root) {
    machine m = {.p = pickle, .s = source, .where = where, .early = early, .data = data};
    m.size = size < MAX_PICKLE ? size : MAX_PICKLE;
    esrgan_status status = ESRGAN_OK;
    while (status == ESRGAN_OK && !m.stopped) status = step(&m);
    if (status == ESRGAN_OK) {
        *root = m.stack[m.depth - 1];
        *used = m.at;
    }
    const esrgan_allocator *a = &source->meter->allocator;
    es_free(a, m.stack, m.stack_capacity * sizeof *m.stack);
    es_free(a, m.marks, m.mark_capacity * sizeof *m.marks);
    es_free(a, m.memo, m.memo_capacity * sizeof *m.memo);
    return status;
}

void es_pickle_free(es_pickle *p, const es_source *source) {
    const esrgan_allocator *a = &source->meter->allocator;
    es_free(a, p->nodes, p->capacity * sizeof *p->nodes);
    es_free(a, p->items, p->item_capacity * sizeof *p->items);
    while (p->decoded != NULL) {
        es_decoded *next = p->decoded->next;
        es_free(a, p->decoded, p->decoded->size);
        p->decoded = next;
    }
    memset(p, 0, sizeof *p);
}

/* ---- Looking at nodes ------------------------------------------------------------------------- */

bool es_node_is_text(const es_node *node, const char *text) {
    return node->kind == ES_NODE_TEXT &&
           es_compare_bytes(node->bytes, node->size, text, strlen(text)) == 0;
}

bool es_node_is_global(const es_pickle *p, const es_node *node, const char *module,
                       const char *name) {
    return node->kind == ES_NODE_GLOBAL && es_node_is_text(&p->nodes[node->b], name) &&
           es_node_is_text(&p->nodes[node->a], module);
}

const es_node *es_pickle_lookup(const es_pickle *p, const es_node *dict, const char *key) {
    for (size_t i = dict->count; i >= 2; i -= 2) {
        if (es_node_is_text(es_pickle_item(p, dict, i - 2), key)) {
            return es_pickle_item(p, dict, i - 1);
        }
    }
    return NULL;
}

const char *es_node_kind_text(const es_node *node) {
    static const char *const texts[] = {
        [ES_NODE_NONE] = "None",
        [ES_NODE_BOOL] = "a boolean",
        [ES_NODE_INT] = "an integer",
        [ES_NODE_LONG] = "a large integer",
        [ES_NODE_FLOAT] = "a float",
        [ES_NODE_TEXT] = "a text",
        [ES_NODE_BYTES] = "bytes",
        [ES_NODE_TUPLE] = "a tuple",
        [ES_NODE_LIST] = "a list",
        [ES_NODE_DICT] = "a dictionary",
        [ES_NODE_GLOBAL] = "a class",
        [ES_NODE_OBJECT] = "an object",
        [ES_NODE_PERSISTENT] = "a storage",
        [ES_NODE_INERT] = "something unknown",
    };
    return texts[node->kind];
}
