/* What a file is that is no checkpoint. */
#ifndef ES_CHECKPOINT_SNIFF_H
#define ES_CHECKPOINT_SNIFF_H

#include "checkpoint/source.h"

/* Fails with ESRGAN_E_NOT_CHECKPOINT and a sentence that says what the bytes look like. */
esrgan_status es_sniff_refuse(const es_source *source);

#endif
