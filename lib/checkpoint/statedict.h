/* From the pickled object to named tensors. */
#ifndef ES_CHECKPOINT_STATEDICT_H
#define ES_CHECKPOINT_STATEDICT_H

#include "checkpoint/torch.h"

typedef struct es_state_dict {
    es_tensor *tensors;
    uint32_t *by_name;
    size_t count, capacity;
    char *names; /* one block, zero-terminated each */
    size_t names_size;
    char wrapper[128];
} es_state_dict;

/* `wrapper` as in es_checkpoint_options. */
esrgan_status es_state_dict_read(es_state_dict *dict, es_container *container, const char *wrapper);
void es_state_dict_free(es_state_dict *dict, const es_source *source);

#endif
