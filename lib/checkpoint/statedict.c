#include "checkpoint/statedict.h"

#include <stdio.h>
#include <string.h>

/* How many dictionaries inside one another are gone through. */
#define MAX_UNWRAPPED 8

/* Names and tensors can be referred to again and again in few bytes; what is made of them cannot. */
#define MAX_ENTRIES (1 << 17)
#define MAX_NAME    1000

static const char *const wrappers[] = {"params_ema", "params-ema", "params", "model_state_dict",
                                       "state_dict", "model",      "net",    "netG",
                                       "generator"};

static const char *const prefixes[] = {"module.", "netG.", "generator.", "_orig_mod."};

/* Names the dictionaries among the values of `dict`: "params, optimizer". */
static void list_dictionaries(const es_pickle *p, const es_node *dict, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const es_node *key = es_pickle_item(p, dict, i);
        if (key->kind != ES_NODE_TEXT || es_pickle_item(p, dict, i + 1)->kind != ES_NODE_DICT) {
            continue;
        }
        int n = snprintf(text + used, size - used, "%s%.*s", used > 0 ? ", " : "",
                         (int)(key->size < 40 ? key->size : 40), (const char *)key->bytes);
        if (n < 0 || (size_t)n >= size - used) {
            text[used] = 0;
            return;
        }
        used += (size_t)n;
    }
    if (used == 0) snprintf(text, size, "none");
}

static void add_wrapper(es_state_dict *d, const void *name, size_t size) {
    size_t used = strlen(d->wrapper);
    snprintf(d->wrapper + used, sizeof d->wrapper - used, "%s%.*s", used > 0 ? "." : "",
             ES_SHOWN(name, size));
}

static esrgan_status no_wrapper(const es_container *c, const es_node *root, const char *wrapper) {
    char present[200];
    list_dictionaries(&c->pickle, root, present, sizeof present);
    return es_source_fail(&c->source, ESRGAN_E_NOT_FOUND,
                          "has no dictionary '%s'; dictionaries present: %s", wrapper, present);
}

/* The dictionary to go on with inside `dict`, and its key: the one asked for, else the preferred
 * one, else the only one.  NULL where there is none. */
static const es_node *inner_dictionary(const es_pickle *p, const es_node *dict, const char *asked,
                                       const uint8_t **key, size_t *size) {
    const char *const *names = asked != NULL ? &asked : wrappers;
    size_t count = asked != NULL ? 1 : sizeof wrappers / sizeof wrappers[0];
    for (size_t i = 0; i < count; i++) {
        const es_node *inner = es_pickle_lookup(p, dict, names[i]);
        if (inner == NULL || inner->kind != ES_NODE_DICT) continue;
        *key = (const uint8_t *)names[i];
        *size = strlen(names[i]);
        return inner;
    }
    if (dict->count != 2 || es_pickle_item(p, dict, 1)->kind != ES_NODE_DICT) return NULL;
    const es_node *name = es_pickle_item(p, dict, 0);
    *key = name->kind == ES_NODE_TEXT ? name->bytes : (const uint8_t *)"?";
    *size = name->kind == ES_NODE_TEXT ? name->size : 1;
    return es_pickle_item(p, dict, 1);
}

static esrgan_status check_size(const es_container *c, const es_node *dict) {
    if (dict->count / 2 <= MAX_ENTRIES) return ESRGAN_OK;
    return es_source_fail(&c->source, ESRGAN_E_LIMIT,
                          "a dictionary of %lu entries, where at most %d are expected",
                          (unsigned long)dict->count / 2, MAX_ENTRIES);
}

/* Goes from the root to the dictionary that holds the tensors. */
static esrgan_status unwrap(es_state_dict *d, const es_container *c, const char *wrapper,
                            const es_node **dict) {
    for (int depth = 0;; depth++) {
        const uint8_t *key;
        size_t size;
        esrgan_status status = check_size(c, *dict);
        if (status != ESRGAN_OK) return status;
        const es_node *inner = inner_dictionary(&c->pickle, *dict, wrapper, &key, &size);
        if (inner == NULL) break;
        if (depth == MAX_UNWRAPPED) {
            return es_source_fail(&c->source, ESRGAN_E_LIMIT,
                                  "more than %d dictionaries inside one another", MAX_UNWRAPPED);
        }
        if (wrapper != NULL && es_compare_bytes(key, size, wrapper, strlen(wrapper)) == 0) {
            wrapper = NULL; /* found */
        }
        add_wrapper(d, key, size);
        *dict = inner;
    }
    return wrapper != NULL ? no_wrapper(c, *dict, wrapper) : ESRGAN_OK;
}

static esrgan_status check_root(const es_container *c, const es_node *root) {
    if (root->kind == ES_NODE_DICT) return ESRGAN_OK;
    const es_pickle *p = &c->pickle;
    if (root->kind == ES_NODE_OBJECT && !es_torch_is_tensor(p, root)) {
        const es_node *class = es_pickle_node(p, root->a);
        const es_node *name = class->kind == ES_NODE_GLOBAL ? es_pickle_node(p, class->b) : NULL;
        return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                              "holds a whole pickled object (%.*s), not a dictionary of tensors: "
                              "save model.state_dict() instead",
                              ES_SHOWN(name != NULL ? (const char *)name->bytes : "unnamed",
                                       name != NULL ? name->size : 7));
    }
    return es_source_fail(&c->source, ESRGAN_E_UNKNOWN_NETWORK,
                          "holds %s, expected a dictionary of tensors",
                          root->kind == ES_NODE_OBJECT ? "a tensor" : es_node_kind_text(root));
}

static esrgan_status no_tensors(const es_container *c, const es_state_dict *d,
                                const es_node *dict) {
    char present[200];
    list_dictionaries(&c->pickle, dict, present, sizeof present);
    return es_source_fail(
        &c->source, ESRGAN_E_UNKNOWN_NETWORK,
        "holds no tensors%s%s; dictionaries in it: %s (choose one as the wrapper)",
        d->wrapper[0] != 0 ? " in " : "", d->wrapper, present);
}

/* Counts the tensors and the bytes of their names. */
static esrgan_status measure(es_state_dict *d, const es_container *c, const es_node *dict) {
    const es_pickle *p = &c->pickle;
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const es_node *key = es_pickle_item(p, dict, i);
        if (!es_torch_is_tensor(p, es_pickle_item(p, dict, i + 1))) continue;
        if (key->kind != ES_NODE_TEXT) {
            return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                                  "a tensor whose name is %s, expected a text",
                                  es_node_kind_text(key));
        }
        if (key->size == 0 || memchr(key->bytes, 0, key->size) != NULL) {
            return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                                  "a tensor whose name is empty or holds a zero byte ('%.*s')",
                                  ES_SHOWN(key->bytes, key->size));
        }
        if (key->size > MAX_NAME) {
            return es_source_fail(&c->source, ESRGAN_E_LIMIT, "a tensor with a name of %zu bytes",
                                  key->size);
        }
        d->capacity++;
        d->names_size += key->size + 1;
    }
    return d->capacity > 0 ? ESRGAN_OK : no_tensors(c, d, dict);
}

static esrgan_status fill(es_state_dict *d, es_container *c, const es_node *dict) {
    const esrgan_allocator *a = &c->source.meter->allocator;
    const es_pickle *p = &c->pickle;
    d->tensors = es_calloc(a, d->capacity, sizeof *d->tensors);
    d->by_name = es_calloc(a, d->capacity, sizeof *d->by_name);
    d->names = es_alloc(a, d->names_size);
    if (d->tensors == NULL || d->by_name == NULL || d->names == NULL) {
        return es_source_no_memory(&c->source);
    }
    char *name = d->names;
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const es_node *key = es_pickle_item(p, dict, i), *value = es_pickle_item(p, dict, i + 1);
        if (!es_torch_is_tensor(p, value)) continue;
        es_tensor *tensor = &d->tensors[d->count];
        esrgan_status status = es_torch_tensor(c, key, value, tensor);
        if (status != ESRGAN_OK) return status;
        memcpy(name, key->bytes, key->size);
        name[key->size] = 0;
        tensor->name = name;
        name += key->size + 1;
        d->by_name[d->count] = (uint32_t)d->count;
        d->count++;
    }
    return ESRGAN_OK;
}

static bool strip(es_state_dict *d, const char *prefix) {
    size_t size = strlen(prefix);
    for (size_t i = 0; i < d->count; i++) {
        const char *name = d->tensors[i].name;
        if (strncmp(name, prefix, size) != 0 || name[size] == 0) return false;
    }
    for (size_t i = 0; i < d->count; i++) d->tensors[i].name += size;
    return true;
}

/* Until none fits: they come in any order, as module._orig_mod. */
static void strip_prefixes(es_state_dict *d) {
    bool stripped = true;
    while (stripped) {
        stripped = false;
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            stripped |= strip(d, prefixes[i]);
        }
    }
}

static int by_name(const void *context, uint32_t a, uint32_t b) {
    const es_tensor *tensors = context;
    return strcmp(tensors[a].name, tensors[b].name);
}

static esrgan_status sort_names(es_state_dict *d, const es_container *c) {
    es_sort(d->by_name, d->count, by_name, d->tensors);
    for (size_t i = 1; i < d->count; i++) {
        if (by_name(d->tensors, d->by_name[i - 1], d->by_name[i]) == 0) {
            const char *name = d->tensors[d->by_name[i]].name;
            return es_source_fail(&c->source, ESRGAN_E_CORRUPT, "two tensors are called '%.*s'",
                                  ES_SHOWN(name, strlen(name)));
        }
    }
    return ESRGAN_OK;
}

esrgan_status es_state_dict_read(es_state_dict *d, es_container *c, const char *wrapper) {
    memset(d, 0, sizeof *d);
    const es_node *dict = es_pickle_node(&c->pickle, c->root);
    esrgan_status status = check_root(c, dict);
    if (status == ESRGAN_OK) status = unwrap(d, c, wrapper, &dict);
    if (status == ESRGAN_OK) status = measure(d, c, dict);
    if (status == ESRGAN_OK) status = fill(d, c, dict);
    if (status == ESRGAN_OK) strip_prefixes(d);
    if (status == ESRGAN_OK) status = sort_names(d, c);
    if (status != ESRGAN_OK) es_state_dict_free(d, &c->source);
    return status;
}

void es_state_dict_free(es_state_dict *d, const es_source *source) {
    const esrgan_allocator *a = &source->meter->allocator;
    es_free(a, d->tensors, d->capacity * sizeof *d->tensors);
    es_free(a, d->by_name, d->capacity * sizeof *d->by_name);
    es_free(a, d->names, d->names_size);
    memset(d, 0, sizeof *d);
}
