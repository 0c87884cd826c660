/*
 * What one family of networks is to the rest of the library, and the builder that families write
 * their description with.  The builder checks strictly: a weight is asked for by key and shape,
 * what nobody asked for is surplus.
 */
#ifndef ES_FAMILY_H
#define ES_FAMILY_H

#include "base/status.h"
#include "network/network.h"

#define ES_ANY          (-1) /* a dimension that is read, not prescribed */
#define ES_MAX_CHANNELS 4096 /* more in one convolution is taken for damage */
#define ES_NAME_SIZE    32   /* longest canonical name, with its terminator */
#define ES_KEY_SIZE     64   /* longest key that a family asks for */

/* The first failure sticks: every later call does nothing, so that a family checks once. */
typedef struct es_builder {
    const es_checkpoint *checkpoint;
    const esrgan_allocator *allocator;
    esrgan_error *error;
    esrgan_status status;
    es_network *network;
    int capacity;    /* of network->ops */
    char *names;     /* capacity * ES_NAME_SIZE; the network's */
    uint8_t *wanted; /* by tensor: somebody asked for it */
} es_builder;

/* Room for so many operations; called once, before the functions below. */
void es_build_begin(es_builder *b, int capacity);

/* The tensor of that key, which must be there, floating, and of that shape (ES_ANY: from 1 to
 * ES_MAX_CHANNELS); NULL after a failure. */
const es_tensor *es_build_tensor(es_builder *b, const char *key, int ndim, const int64_t *shape);

/*
 * Adds an operation and returns its index.  The caller fills in kind, inputs and what belongs to
 * the kind; channels are needed for ES_OP_INPUT only; name, channels_in, num and den are worked
 * out.
 */
int es_build_op(es_builder *b, es_op op, const char *name, ...) ES_PRINTF(3, 4);

/* A convolution over `count` values with weight and bias "key.weight", "key.bias". */
int es_build_conv(es_builder *b, const char *key, const int *inputs, int count, int channels,
                  int kernel, bool bias, const char *name);

/* After the last operation: surplus keys, counts. */
void es_build_end(es_builder *b);

/* Fails with "file: family in layout: ..." in front. */
void es_build_fail(es_builder *b, esrgan_status status, const char *format, ...) ES_PRINTF(3, 4);

typedef struct es_family {
    const char *name;
    /* From names and shapes alone. */
    bool (*recognise)(const es_checkpoint *checkpoint);
    /* NULL where the family is only known by name: `refusal` says so. */
    void (*describe)(es_builder *b, int up_factor);
    const char *refusal;
} es_family;

extern const es_family es_family_rrdbnet;
extern const es_family es_family_srvgg, es_family_vapsr, es_family_swinir, es_family_hat,
    es_family_swin2sr;

#endif
