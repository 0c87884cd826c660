/* Holds the native engine's place until it is built. */
#include "engine/engine.h"

static const char *refuses(const es_context *context) {
    (void)context;
    return "not built";
}

static const char *tier(const es_context *context) {
    (void)context;
    return "none";
}

static void release(es_context *context) { (void)context; }

const es_engine es_engine_native = {
    .name = "native", .refuses = refuses, .tier = tier, .release = release};
