/*
 * From bytes to a state dict: name -> dtype, shape, strides, bytes.  Containers are PyTorch's zip
 * and its legacy format; the object inside is a pickle of which nothing is ever executed.
 * Knows base only.
 */
#ifndef ES_CHECKPOINT_H
#define ES_CHECKPOINT_H

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/memory.h"

#define ES_MAX_DIMS 8

/* One tensor of the state dict.  Everything is checked: the whole strided extent lies inside the
 * storage, so data[index * size] is readable for every index the strides can reach. */
typedef struct es_tensor {
    const char *name; /* prefixes stripped; belongs to the checkpoint */
    es_dtype dtype;
    int ndim;
    int64_t shape[ES_MAX_DIMS];
    int64_t stride[ES_MAX_DIMS]; /* in elements */
    const uint8_t *data;         /* first element; in place in the file where it is stored plain */
    int64_t numel;
} es_tensor;

typedef struct es_checkpoint {
    const char *container; /* "pytorch-zip", "pytorch-legacy" */
    const char *wrapper;   /* "params_ema", ..., "" */
    const char *file;      /* name for messages */
    es_tensor *tensors;    /* in file order */
    size_t count;
    struct es_checkpoint_private *priv;
} es_checkpoint;

typedef struct es_checkpoint_options {
    const char *wrapper; /* NULL: by preference */
    bool verify;         /* check the CRC-32 of every zip entry; else only of the pickle and of
                            what has to be inflated */
    uint64_t max_bytes;  /* most that may be allocated; 0: 4 GiB */
} es_checkpoint_options;

/* `bytes` must stay open as long as the checkpoint lives.  On failure *out is NULL. */
esrgan_status es_checkpoint_open(es_checkpoint **out, const es_bytes *bytes,
                                 const es_checkpoint_options *options, const esrgan_allocator *a,
                                 esrgan_error *error);
void es_checkpoint_free(es_checkpoint *checkpoint);

/* The tensor of that name, or NULL.  O(log n). */
const es_tensor *es_checkpoint_find(const es_checkpoint *checkpoint, const char *name);

/* CRC-32 of every zip entry (nothing to check in a legacy file: ESRGAN_OK). */
esrgan_status es_checkpoint_verify(const es_checkpoint *checkpoint, esrgan_error *error);

/* Whether its elements lie behind one another in C order. */
bool es_tensor_is_contiguous(const es_tensor *tensor);

/* Floats of a tensor from number `first` on, in C order, where they lie in the file as this machine has
 * them: at any address; NULL where they have to be copied. */
const void *es_tensor_f32_in_place(const es_tensor *tensor, int64_t first);

/* Copies a tensor, in C order, converted exactly to float (from F64: rounded) or to double. */
void es_tensor_read_f32(const es_tensor *tensor, float *out);
void es_tensor_read_f64(const es_tensor *tensor, double *out);

/* The `count` elements from C-order position `first` on. */
void es_tensor_read_f32_range(const es_tensor *tensor, int64_t first, int64_t count, float *out);

#endif
