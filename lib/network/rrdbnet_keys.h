/*
 * How the keys of an RRDBNet are spelled.  There are three layouts of the same network, and files
 * that mix them, so every role is looked at for itself.
 *
 *   role            basicsr               bsrgan                      esrgan (old)
 *   first           conv_first            conv_first                  model.0
 *   dense conv      body.I.rdbJ.convK     RRDB_trunk.I.RDBJ.convK     model.1.sub.I.RDBJ.convK.0
 *   trunk           conv_body             trunk_conv                  model.1.sub.BLOCKS
 *   up stage N      conv_upN              upconvN                     model.(3N)
 *   hr              conv_hr               HRconv                      model.(3U+2)
 *   last            conv_last             conv_last                   model.(3U+4)
 */
#ifndef ES_RRDBNET_KEYS_H
#define ES_RRDBNET_KEYS_H

#include "network/family.h"

/* A spelling may belong to several layouts: these are bits. */
enum { ES_BASICSR = 1, ES_BSRGAN = 2, ES_ESRGAN = 4 };

typedef struct es_rrdb_keys {
    bool recognised;
    unsigned root, dense, suffix; /* of the keys inside blocks: "body", "rdb", "" */
    unsigned first, trunk, up, hr, last;
    int blocks; /* highest index + 1; 0 where there is none */
    int ups;
    bool plus; /* there is a conv1x1 */
} es_rrdb_keys;

/* One pass over all keys. */
es_rrdb_keys es_rrdb_scan(const es_checkpoint *checkpoint);

/* "basicsr", "bsrgan", "esrgan" or "mixed" */
const char *es_rrdb_layout(const es_rrdb_keys *keys);

/* Keys without ".weight", ".bias". */
void es_rrdb_key_dense(const es_rrdb_keys *keys, int block, int dense, int conv,
                       char key[ES_KEY_SIZE]);
void es_rrdb_key_shortcut(const es_rrdb_keys *keys, int block, int dense, char key[ES_KEY_SIZE]);
void es_rrdb_key_first(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]);
void es_rrdb_key_trunk(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]);
void es_rrdb_key_up(const es_rrdb_keys *keys, int stage, char key[ES_KEY_SIZE]);
void es_rrdb_key_hr(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]);
void es_rrdb_key_last(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]);

#endif
