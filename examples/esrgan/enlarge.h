/* A picture through the network, whole or in tiles, and to the size wanted. */
#ifndef ENLARGE_H
#define ENLARGE_H

#include "picture.h"
#include "session.h"

typedef struct enlarger {
    const esrgan_model *model;
    esrgan_model_info info;
    run_settings run;
    int tile, tile_pad; /* 0: the picture as a whole                              */
    double factor;      /* 0: the model's scale                                   */
    esrgan_session *session;
    int threads;              /* of the session                                         */
    esrgan_session *fallback; /* FP32, made when half precision overflowed              */
    bool fell_back;           /* the last picture needed it                             */
} enlarger;

/* Fills in info and threads and opens the session; the other members are set by the caller before.  False
 * after a complaint. */
bool enlarger_open(enlarger *e);
void enlarger_close(enlarger *e);

/* The size that comes out. */
void enlarger_size(const enlarger *e, int width, int height, int *out_width, int *out_height);

/* Bytes that enlarging a picture to one of `bits` bits takes, the picture and all that comes of it included. */
uint64_t enlarger_bytes(const enlarger *e, const picture *in, int bits);

/* `out` becomes a picture of `bits` bits with the metadata of `in`.  False after a complaint, or
 * silently where interrupted() is the reason. */
bool enlarge(enlarger *e, const char *name, const picture *in, int bits, picture *out);

#endif
