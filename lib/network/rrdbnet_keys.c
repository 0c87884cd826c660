/* Spelling of RRDBNet's keys: finding out which, and writing them. */
#include "network/rrdbnet_keys.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Past `prefix`, or NULL where text does not begin with it. */
static const char *after(const char *text, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* Past a decimal number, or NULL; numbers beyond a million all count as a million. */
static const char *number(const char *text, int *value) {
    const char *start = text;
    *value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (*value < 1000000) *value = *value * 10 + (*text - '0');
    }
    if (*value > 1000000) *value = 1000000;
    return text == start ? NULL : text;
}

static const struct {
    const char *text;
    unsigned style;
} roots[] = {{"body.", ES_BASICSR}, {"RRDB_trunk.", ES_BSRGAN}, {"model.1.sub.", ES_ESRGAN}};

/* A key inside a dense block; the first such key decides how all of them are spelled. */
static void scan_block(es_rrdb_keys *keys, const char *key) {
    const char *rest = NULL;
    unsigned root = 0, dense;
    for (size_t i = 0; i < 3 && rest == NULL; i++) {
        rest = after(key, roots[i].text);
        root = roots[i].style;
    }
    int block, j;
    if (rest == NULL || (rest = number(rest, &block)) == NULL) return;
    const char *lower = after(rest, ".rdb"), *upper = after(rest, ".RDB");
    dense = lower != NULL ? ES_BASICSR : ES_BSRGAN | ES_ESRGAN;
    rest = lower != NULL ? lower : upper;
    if (rest == NULL || (rest = number(rest, &j)) == NULL) return;
    if ((rest = after(rest, ".conv")) == NULL) return;
    if (keys->root == 0) {
        keys->root = root;
        keys->dense = dense;
    }
    if (root != keys->root || dense != keys->dense) return;
    if (after(rest, "1x1.") != NULL) {
        keys->plus = true;
    } else if (keys->suffix == 0) {
        int conv;
        rest = number(rest, &conv);
        if (rest != NULL) keys->suffix = after(rest, ".0.") ? ES_ESRGAN : ES_BASICSR | ES_BSRGAN;
    }
    if (block >= keys->blocks) keys->blocks = block + 1;
}

/* The stage's number, or 0 where the key is not prefixN.weight or the like. */
static int stage_of(const char *key, const char *prefix) {
    const char *rest = after(key, prefix);
    int stage;
    return rest != NULL && (rest = number(rest, &stage)) != NULL && *rest == '.' ? stage : 0;
}

/* Everything outside the blocks; returns N of model.N.weight, or 0. */
static int scan_rest(es_rrdb_keys *keys, const char *key) {
    static const struct {
        const char *prefix;
        size_t role;
        unsigned style;
    } plain[] = {
        {"conv_first.", offsetof(es_rrdb_keys, first), ES_BASICSR | ES_BSRGAN},
        {"conv_body.", offsetof(es_rrdb_keys, trunk), ES_BASICSR},
        {"trunk_conv.", offsetof(es_rrdb_keys, trunk), ES_BSRGAN},
        {"conv_hr.", offsetof(es_rrdb_keys, hr), ES_BASICSR},
        {"HRconv.", offsetof(es_rrdb_keys, hr), ES_BSRGAN},
        {"conv_last.", offsetof(es_rrdb_keys, last), ES_BASICSR | ES_BSRGAN},
    };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        unsigned *role = (unsigned *)((char *)keys + plain[i].role);
        if (after(key, plain[i].prefix) != NULL && *role == 0) *role = plain[i].style;
    }
    int new_stage = stage_of(key, "conv_up"), old_stage = stage_of(key, "upconv");
    if (keys->up == 0 && new_stage > 0) keys->up = ES_BASICSR;
    if (keys->up == 0 && old_stage > 0) keys->up = ES_BSRGAN;
    int stage = keys->up == ES_BASICSR ? new_stage : old_stage;
    if (stage > keys->ups) keys->ups = stage;

    int place;
    const char *rest = after(key, "model.");
    if (rest == NULL || (rest = number(rest, &place)) == NULL) return 0;
    return strcmp(rest, ".weight") == 0 ? place : 0;
}

static bool has_weight(const es_checkpoint *checkpoint, const char *key) {
    char full[ES_KEY_SIZE + sizeof ".weight"];
    snprintf(full, sizeof full, "%s.weight", key);
    return es_checkpoint_find(checkpoint, full) != NULL;
}

/* The style of what has no key to show it: that of the blocks, or where there are none, of the
 * keys around them. */
static unsigned main_style(const es_rrdb_keys *keys, int highest) {
    if (keys->root != 0) return keys->root;
    if (keys->trunk != 0) return keys->trunk;
    return highest >= 2 ? ES_ESRGAN : ES_BASICSR;
}

/* Roles that no new key filled are old where there are old keys, else as the rest is. */
static void fill_in(es_rrdb_keys *keys, const es_checkpoint *checkpoint, int highest) {
    char key[ES_KEY_SIZE];
    unsigned other = main_style(keys, highest);
    if (keys->root == 0) keys->root = other;
    if (keys->dense == 0) keys->dense = other;
    if (keys->suffix == 0) keys->suffix = other;
    if (keys->first == 0) keys->first = has_weight(checkpoint, "model.0") ? ES_ESRGAN : other;
    if (keys->trunk == 0) {
        keys->trunk = ES_ESRGAN;
        es_rrdb_key_trunk(keys, key);
        if (!has_weight(checkpoint, key)) keys->trunk = other;
    }
    unsigned tail = highest >= 2 ? ES_ESRGAN : other;
    if (keys->hr == 0) keys->hr = tail;
    if (keys->last == 0) keys->last = tail;
    if (keys->up == 0 && highest >= 2) {
        /* The last of the old keys has a place counted from the number of stages; a place that
         * does not fit is rounded up, so that what is missing gets named. */
        int beyond = keys->last == ES_ESRGAN ? 4 : keys->hr == ES_ESRGAN ? 2 : 0;
        keys->up = ES_ESRGAN;
        keys->ups = highest > beyond ? (highest - beyond + 2) / 3 : 0;
    }
    if (keys->up == 0) keys->up = other;
}

es_rrdb_keys es_rrdb_scan(const es_checkpoint *checkpoint) {
    es_rrdb_keys keys = {0};
    int highest = 0;
    for (size_t i = 0; i < checkpoint->count; i++) {
        scan_block(&keys, checkpoint->tensors[i].name);
        int place = scan_rest(&keys, checkpoint->tensors[i].name);
        if (place > highest) highest = place;
    }
    /* Without blocks it is still an RRDBNet, a broken one, where the keys around them are. */
    keys.recognised = keys.blocks > 0 || (keys.trunk != 0 && keys.hr != 0) ||
                      has_weight(checkpoint, "model.1.sub.0");
    fill_in(&keys, checkpoint, highest);
    return keys;
}

const char *es_rrdb_layout(const es_rrdb_keys *keys) {
    unsigned fits = keys->root & keys->dense & keys->suffix & keys->first & keys->trunk & keys->hr &
                    keys->last & (keys->ups > 0 ? keys->up : ~0u);
    return fits & ES_BASICSR  ? "basicsr"
           : fits & ES_BSRGAN ? "bsrgan"
           : fits & ES_ESRGAN ? "esrgan"
                              : "mixed";
}

static const char *root_text(const es_rrdb_keys *keys) {
    return keys->root == ES_BASICSR  ? "body"
           : keys->root == ES_BSRGAN ? "RRDB_trunk"
                                     : "model.1.sub";
}

void es_rrdb_key_dense(const es_rrdb_keys *keys, int block, int dense, int conv,
                       char key[ES_KEY_SIZE]) {
    snprintf(key, ES_KEY_SIZE, "%s.%d.%s%d.conv%d%s", root_text(keys), block,
             keys->dense & ES_BASICSR ? "rdb" : "RDB", dense, conv,
             keys->suffix & (ES_BASICSR | ES_BSRGAN) ? "" : ".0");
}

void es_rrdb_key_shortcut(const es_rrdb_keys *keys, int block, int dense, char key[ES_KEY_SIZE]) {
    snprintf(key, ES_KEY_SIZE, "%s.%d.%s%d.conv1x1", root_text(keys), block,
             keys->dense & ES_BASICSR ? "rdb" : "RDB", dense);
}

void es_rrdb_key_first(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]) {
    snprintf(key, ES_KEY_SIZE, "%s", keys->first == ES_ESRGAN ? "model.0" : "conv_first");
}

void es_rrdb_key_trunk(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]) {
    if (keys->trunk == ES_ESRGAN)
        snprintf(key, ES_KEY_SIZE, "model.1.sub.%d", keys->blocks);
    else
        snprintf(key, ES_KEY_SIZE, "%s", keys->trunk == ES_BSRGAN ? "trunk_conv" : "conv_body");
}

void es_rrdb_key_up(const es_rrdb_keys *keys, int stage, char key[ES_KEY_SIZE]) {
    if (keys->up == ES_ESRGAN)
        snprintf(key, ES_KEY_SIZE, "model.%d", 3 * stage);
    else
        snprintf(key, ES_KEY_SIZE, "%s%d", keys->up == ES_BSRGAN ? "upconv" : "conv_up", stage);
}

void es_rrdb_key_hr(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]) {
    if (keys->hr == ES_ESRGAN)
        snprintf(key, ES_KEY_SIZE, "model.%d", 3 * keys->ups + 2);
    else
        snprintf(key, ES_KEY_SIZE, "%s", keys->hr == ES_BSRGAN ? "HRconv" : "conv_hr");
}

void es_rrdb_key_last(const es_rrdb_keys *keys, char key[ES_KEY_SIZE]) {
    if (keys->last == ES_ESRGAN)
        snprintf(key, ES_KEY_SIZE, "model.%d", 3 * keys->ups + 4);
    else
        snprintf(key, ES_KEY_SIZE, "conv_last");
}
