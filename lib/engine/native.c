/* Holds the native engine's place until it is built. */
#include "base/status.h"
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

int esrgan_tier_count(void) { return 0; }

esrgan_status esrgan_tier_get(int index, esrgan_tier *tier_out, esrgan_error *error) {
    (void)tier_out;
    return es_fail(error, ESRGAN_E_NOT_FOUND, "no tier %d", index);
}
