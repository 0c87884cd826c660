/*
 * From a state dict to the description of a network: a list of operations on named values.  One
 * description serves every backend, the tracer, and `esrgan info`.  A family is one file and one
 * line in the table of network.c.  Knows base and checkpoint.h; nothing of files, kernels, threads.
 */
#ifndef ES_NETWORK_H
#define ES_NETWORK_H

#include "checkpoint/checkpoint.h"

#define ES_MAX_INPUTS 8

typedef enum es_op_kind {
    ES_OP_INPUT,     /* value 0                                                                   */
    ES_OP_UNSHUFFLE, /* out[c*f*f + i*f + j][y][x] = in[c][y*f+i][x*f+j], f = factor               */
    ES_OP_CONV,     /* cross-correlation over the concatenated inputs, stride 1, zero padding k/2 */
    ES_OP_LRELU,    /* x < 0 ? alpha*x : x                                                        */
    ES_OP_RESIDUAL, /* alpha * in[0] + in[1]                                                      */
    ES_OP_ADD,      /* in[0] + in[1]                                                              */
    ES_OP_NEAREST   /* nearest upsampling by factor                                               */
} es_op_kind;

/* An operation and the value it produces share an index; inputs point to smaller indices. */
typedef struct es_op {
    es_op_kind kind;
    const char *name; /* canonical, see esrgan_layer in esrgan.h */
    int inputs[ES_MAX_INPUTS];
    int input_count;
    int channels_in;         /* summed over inputs */
    int channels;            /* of the value produced */
    int num, den;            /* its height is the picture's times num / den (the same for width) */
    int kernel;              /* ES_OP_CONV: 3 or 1 */
    const es_tensor *weight; /* ES_OP_CONV: channels x channels_in x kernel x kernel */
    const es_tensor *bias;   /* channels, or NULL */
    const char *weight_key, *bias_key; /* as in the checkpoint */
    int factor;                        /* ES_OP_UNSHUFFLE, ES_OP_NEAREST */
    double alpha;                      /* ES_OP_LRELU, ES_OP_RESIDUAL */
} es_op;

typedef struct es_network {
    const char *family; /* "RRDBNet" */
    const char *layout; /* "basicsr", "bsrgan", "esrgan", "mixed" */
    es_op *ops;         /* in execution order; the last one is the output */
    int op_count;
    int in_channels, out_channels, scale, features, growth, blocks;
    int up_stages, up_factor, unshuffle, plus;
    uint64_t parameters;
    double macs_per_pixel;
    struct es_network_private *priv; /* names */
} es_network;

/*
 * Recognises and checks strictly: every key needed is there with the right shape, no other is.
 * `up_factor` is what one up stage multiplies by: 2, or 3 where the caller knows of a x3 model (its
 * keys and shapes are those of a x2 model); 0 means 2.  `checkpoint` must outlive the network.
 */
esrgan_status es_network_create(es_network **out, const es_checkpoint *checkpoint, int up_factor,
                                const esrgan_allocator *a, esrgan_error *error);
void es_network_free(es_network *network);

/* Index by canonical name or weight key (with or without ".weight"); -1 if none. */
int es_network_find(const es_network *network, const char *name);

const char *es_op_kind_name(es_op_kind kind); /* "input", "unshuffle", "conv", "lrelu", ... */

#endif
