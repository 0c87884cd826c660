/* What stands behind esrgan_model: bytes, checkpoint and network in one immutable whole. */
#ifndef ES_MODEL_H
#define ES_MODEL_H

#include "base/bytes.h"
#include "checkpoint/checkpoint.h"
#include "network/network.h"

struct esrgan_model {
    esrgan_allocator allocator;
    es_bytes bytes;
    es_checkpoint *checkpoint;
    es_network *network;
};

#endif
