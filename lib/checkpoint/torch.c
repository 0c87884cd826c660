/* From pickled calls to tensors.  Nothing is called: the arguments say all there is to know. */
#include "checkpoint/torch.h"

#include <string.h>

/* A tensor with more elements than its storage repeats some (stride 0).  Real ones are small. */
#define MAX_REPEATED ((int64_t)1 << 24)

/* torch.nn.Parameter around a tensor, around a tensor ... */
#define MAX_WRAPPED 8

/* Keys of storages are short numbers.  One text can be the key of any number of storages without
 * being written twice, and each of them is compared. */
#define MAX_KEY 200

static const struct {
    const char *module, *name;
    size_t element;
    bool known;
    es_dtype dtype;
} storage_types[] = {
    {"torch", "FloatStorage", 4, true, ES_F32},
    {"torch", "HalfStorage", 2, true, ES_F16},
    {"torch", "BFloat16Storage", 2, true, ES_BF16},
    {"torch", "DoubleStorage", 8, true, ES_F64},
    {"torch", "LongStorage", 8, true, ES_I64},
    {"torch", "IntStorage", 4, true, ES_I32},
    {"torch", "ShortStorage", 2, true, ES_I16},
    {"torch", "CharStorage", 1, true, ES_I8},
    {"torch", "ByteStorage", 1, true, ES_U8},
    {"torch", "BoolStorage", 1, true, ES_BOOL},
    {"torch.storage", "UntypedStorage", 1, true, ES_U8},
    {"torch.storage", "_UntypedStorage", 1, true, ES_U8},
    {"torch", "UntypedStorage", 1, true, ES_U8},
    {"torch", "ComplexFloatStorage", 8, false, ES_F32},
    {"torch", "ComplexDoubleStorage", 16, false, ES_F32},
    {"torch", "QInt8Storage", 1, false, ES_F32},
    {"torch", "QUInt8Storage", 1, false, ES_F32},
    {"torch", "QInt32Storage", 4, false, ES_F32},
};

static bool set_type(const es_pickle *p, const es_node *type, es_storage_ref *ref) {
    for (size_t i = 0; i < sizeof storage_types / sizeof storage_types[0]; i++) {
        if (!es_node_is_global(p, type, storage_types[i].module, storage_types[i].name)) continue;
        ref->type = storage_types[i].name;
        ref->element = storage_types[i].element;
        ref->known = storage_types[i].known;
        ref->dtype = storage_types[i].dtype;
        return true;
    }
    return false;
}

static esrgan_status unknown_type(const es_container *c, const es_node *type) {
    if (type->kind != ES_NODE_GLOBAL) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "a storage whose type is %s, expected a class",
                              es_node_kind_text(type));
    }
    const es_node *module = es_pickle_node(&c->pickle, type->a);
    const es_node *name = es_pickle_node(&c->pickle, type->b);
    return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED, "storages of type %.*s.%.*s",
                          ES_SHOWN(module->bytes, module->size), ES_SHOWN(name->bytes, name->size));
}

static esrgan_status set_view(const es_container *c, const es_node *view, es_storage_ref *ref) {
    const es_pickle *p = &c->pickle;
    if (view->kind == ES_NODE_NONE) return ESRGAN_OK;
    if (view->kind == ES_NODE_TUPLE && view->count == 3) {
        const es_node *first = es_pickle_item(p, view, 1), *count = es_pickle_item(p, view, 2);
        if (first->kind == ES_NODE_INT && count->kind == ES_NODE_INT && first->integer >= 0 &&
            count->integer >= 0 && first->integer <= ref->numel &&
            count->integer <= ref->numel - first->integer) {
            ref->view = true;
            ref->view_first = first->integer;
            ref->view_count = count->integer;
            return ESRGAN_OK;
        }
    }
    return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                          "storage '%.*s': its view leaves the %lld elements it has",
                          ES_SHOWN(ref->key->bytes, ref->key->size), (long long)ref->numel);
}

esrgan_status es_torch_storage(const es_container *c, const es_node *persistent,
                               es_storage_ref *ref) {
    const es_pickle *p = &c->pickle;
    memset(ref, 0, sizeof *ref);
    const es_node *id = es_pickle_node(p, persistent->a);
    if (id->kind != ES_NODE_TUPLE || id->count < 5 ||
        !es_node_is_text(es_pickle_item(p, id, 0), "storage")) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "a persistent id that names no storage (%s)", es_node_kind_text(id));
    }
    const es_node *type = es_pickle_item(p, id, 1), *numel = es_pickle_item(p, id, 4);
    ref->key = es_pickle_item(p, id, 2);
    if (ref->key->kind != ES_NODE_TEXT) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "a storage whose key is %s, expected a text",
                              es_node_kind_text(ref->key));
    }
    if (ref->key->size > MAX_KEY) {
        return es_source_fail(&c->source, ESRGAN_E_LIMIT, "a storage with a key of %zu bytes",
                              ref->key->size);
    }
    if (!set_type(p, type, ref)) return unknown_type(c, type);
    if (numel->kind != ES_NODE_INT || numel->integer < 0 ||
        (uint64_t)numel->integer > PTRDIFF_MAX / ref->element) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "storage '%.*s' has an impossible number of elements",
                              ES_SHOWN(ref->key->bytes, ref->key->size));
    }
    ref->numel = numel->integer;
    return id->count > 5 ? set_view(c, es_pickle_item(p, id, 5), ref) : ESRGAN_OK;
}

/* ---- Tensors ---------------------------------------------------------------------------------- */

typedef enum rebuild {
    REBUILD_NOT,        /* no tensor at all                                        */
    REBUILD_TENSOR,     /* storage, offset, size, stride ...                       */
    REBUILD_TENSOR_V3,  /* the same with an untyped storage; dtype is argument 6   */
    REBUILD_PARAMETER,  /* tensor ...                                              */
    REBUILD_UNSUPPORTED /* sparse, quantised, a subclass ...                       */
} rebuild;

static rebuild rebuild_of(const es_pickle *p, const es_node *node) {
    if (node->kind != ES_NODE_OBJECT) return REBUILD_NOT;
    static const struct {
        const char *name;
        rebuild kind;
    } known[] = {
        {"_rebuild_tensor_v2", REBUILD_TENSOR},
        {"_rebuild_tensor", REBUILD_TENSOR},
        {"_rebuild_tensor_v3", REBUILD_TENSOR_V3},
        {"_rebuild_parameter", REBUILD_PARAMETER},
        {"_rebuild_parameter_with_state", REBUILD_PARAMETER},
    };
    const es_node *function = es_pickle_node(p, node->a);
    if (function->kind != ES_NODE_GLOBAL) return REBUILD_NOT;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (es_node_is_global(p, function, "torch._utils", known[i].name)) return known[i].kind;
    }
    const es_node *module = es_pickle_node(p, function->a), *name = es_pickle_node(p, function->b);
    bool torch = module->size >= 5 && memcmp(module->bytes, "torch", 5) == 0;
    bool rebuilds = name->size >= 8 && memcmp(name->bytes, "_rebuild", 8) == 0;
    return torch && rebuilds ? REBUILD_UNSUPPORTED : REBUILD_NOT;
}

bool es_torch_is_tensor(const es_pickle *p, const es_node *node) {
    return rebuild_of(p, node) != REBUILD_NOT;
}

static bool set_dtype(const es_pickle *p, const es_node *node, es_dtype *dtype) {
    for (es_dtype type = ES_F32; type <= ES_BOOL; type++) {
        if (es_node_is_global(p, node, "torch", es_dtype_name(type))) {
            *dtype = type;
            return true;
        }
    }
    return false;
}

static esrgan_status bad_tensor(const es_container *c, const es_node *key, const char *what) {
    return es_source_fail(&c->source, ESRGAN_E_CORRUPT, "'%.*s': %s",
                          ES_SHOWN(key->bytes, key->size), what);
}

static esrgan_status set_shape(es_container *c, const es_node *key, const es_node *size,
                               const es_node *stride, es_tensor *t) {
    const es_pickle *p = &c->pickle;
    bool sequences = (size->kind == ES_NODE_TUPLE || size->kind == ES_NODE_LIST) &&
                     (stride->kind == ES_NODE_TUPLE || stride->kind == ES_NODE_LIST);
    if (!sequences || size->count != stride->count) {
        return bad_tensor(c, key, "size and stride are no tuples of one length");
    }
    if (size->count > ES_MAX_DIMS) {
        return es_source_fail(
            &c->source, ESRGAN_E_UNSUPPORTED, "'%.*s': has %lu dimensions; at most %d can be read",
            ES_SHOWN(key->bytes, key->size), (unsigned long)size->count, ES_MAX_DIMS);
    }
    t->ndim = (int)size->count;
    t->numel = 1;
    for (int i = 0; i < t->ndim; i++) {
        const es_node *n = es_pickle_item(p, size, (size_t)i);
        const es_node *step = es_pickle_item(p, stride, (size_t)i);
        if (n->kind != ES_NODE_INT || step->kind != ES_NODE_INT || n->integer < 0) {
            return bad_tensor(c, key, "a size or stride that is no number, or negative");
        }
        if (step->integer < 0) return bad_tensor(c, key, "a negative stride");
        t->shape[i] = n->integer;
        t->stride[i] = step->integer;
        if (__builtin_mul_overflow(t->numel, n->integer, &t->numel)) {
            return bad_tensor(c, key, "its number of elements passes 64 bits");
        }
    }
    return ESRGAN_OK;
}

/* Everything the strides can reach must lie inside the `count` elements of the storage. */
static esrgan_status check_extent(es_container *c, const es_node *key, const es_tensor *t,
                                  int64_t offset, int64_t count) {
    if (t->numel == 0) return ESRGAN_OK; /* wherever it begins: slices of empty ones may do so */
    if (offset < 0 || offset > count) return bad_tensor(c, key, "begins outside of its storage");
    int64_t last = offset;
    bool overflow = false;
    for (int i = 0; i < t->ndim; i++) {
        int64_t reach;
        overflow |= __builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach);
        overflow |= __builtin_add_overflow(last, reach, &last);
    }
    if (overflow || last >= count) {
        return es_source_fail(&c->source, ESRGAN_E_CORRUPT,
                              "'%.*s': reaches element %lld%s of a storage that has %lld",
                              ES_SHOWN(key->bytes, key->size), (long long)last,
                              overflow ? " (and beyond 64 bits)" : "", (long long)count);
    }
    if (t->numel > count && t->numel > MAX_REPEATED) {
        return es_source_fail(&c->source, ESRGAN_E_LIMIT,
                              "'%.*s': repeats the %lld elements of its storage %lld times over",
                              ES_SHOWN(key->bytes, key->size), (long long)count,
                              (long long)(t->numel / count));
    }
    return ESRGAN_OK;
}

static esrgan_status unsupported_call(es_container *c, const es_node *key, const es_node *node) {
    const es_node *function = es_pickle_node(&c->pickle, node->a);
    const es_node *name = es_pickle_node(&c->pickle, function->b);
    return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                          "'%.*s': a tensor made by %.*s (sparse, quantised or a subclass?)",
                          ES_SHOWN(key->bytes, key->size), ES_SHOWN(name->bytes, name->size));
}

static esrgan_status place(es_container *c, const es_node *key, es_storage_ref *ref, int64_t offset,
                           es_tensor *t) {
    size_t size = es_dtype_size(t->dtype);
    int64_t count = ref->numel, first = 0;
    if (ref->view) count = ref->view_count, first = ref->view_first;
    if (size != ref->element) { /* an untyped storage counts bytes */
        count /= (int64_t)size;
    }
    esrgan_status status = check_extent(c, key, t, offset, count);
    if (status != ESRGAN_OK) return status;
    const uint8_t *data = NULL;
    status = c->find(c, ref, &data);
    if (status != ESRGAN_OK) return status;
    t->data = data + (size_t)first * ref->element;
    if (t->numel > 0) t->data += (size_t)offset * size;
    return ESRGAN_OK;
}

static esrgan_status from_storage(es_container *c, const es_node *key, const es_node *args,
                                  rebuild kind, es_tensor *t) {
    const es_pickle *p = &c->pickle;
    size_t least = kind == REBUILD_TENSOR_V3 ? 7 : 4;
    if (args->kind != ES_NODE_TUPLE || args->count < least) {
        return bad_tensor(c, key, "a tensor with too few arguments");
    }
    const es_node *storage = es_pickle_item(p, args, 0), *offset = es_pickle_item(p, args, 1);
    if (storage->kind != ES_NODE_PERSISTENT || offset->kind != ES_NODE_INT) {
        return bad_tensor(c, key, "a tensor without a storage or an offset");
    }
    es_storage_ref ref;
    esrgan_status status = es_torch_storage(c, storage, &ref);
    if (status != ESRGAN_OK) return status;
    bool known = ref.known;
    t->dtype = ref.dtype;
    if (kind == REBUILD_TENSOR_V3) {
        known = ref.element == 1 && set_dtype(p, es_pickle_item(p, args, 6), &t->dtype);
    }
    if (!known) {
        return es_source_fail(&c->source, ESRGAN_E_UNSUPPORTED,
                              "'%.*s': elements of a type that cannot be read (%s)",
                              ES_SHOWN(key->bytes, key->size), ref.type);
    }
    status = set_shape(c, key, es_pickle_item(p, args, 2), es_pickle_item(p, args, 3), t);
    return status != ESRGAN_OK ? status : place(c, key, &ref, offset->integer, t);
}

esrgan_status es_torch_tensor(es_container *c, const es_node *key, const es_node *node,
                              es_tensor *tensor) {
    const es_pickle *p = &c->pickle;
    memset(tensor, 0, sizeof *tensor);
    for (int depth = 0; depth < MAX_WRAPPED; depth++) {
        const es_node *args = node->kind == ES_NODE_OBJECT ? es_pickle_node(p, node->b) : node;
        rebuild kind = rebuild_of(p, node);
        switch (kind) {
        case REBUILD_NOT: return bad_tensor(c, key, "a parameter without a tensor");
        case REBUILD_UNSUPPORTED: return unsupported_call(c, key, node);
        case REBUILD_TENSOR:
        case REBUILD_TENSOR_V3: return from_storage(c, key, args, kind, tensor);
        case REBUILD_PARAMETER:
            if (args->kind != ES_NODE_TUPLE || args->count < 1) {
                return bad_tensor(c, key, "a parameter without arguments");
            }
            node = es_pickle_item(p, args, 0);
        }
    }
    return es_source_fail(&c->source, ESRGAN_E_LIMIT, "'%.*s': a parameter nested too deep",
                          ES_SHOWN(key->bytes, key->size));
}

void es_container_settle(es_container *c) {
    es_pickle_free(&c->pickle, &c->source);
    es_free(&c->source.meter->allocator, c->storages, c->storage_capacity);
    c->storages = NULL;
    c->storage_capacity = 0;
}

void es_container_close(es_container *c) {
    es_container_settle(c);
    es_zip_close(&c->zip, &c->source);
}
