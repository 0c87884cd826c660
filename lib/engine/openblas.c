/*
 * OpenBLAS is loaded when it is first needed, not linked with: loading it starts its threads, which
 * then look for work for some time (tens of milliseconds, as much as a small picture takes), and
 * most processes never use it.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "engine/engine.h"
#include "kernels.h"

static char why_not[256];

static void load(void) {
    /* Never unloaded: its threads run its code. */
    void *library = dlopen(ES_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *text = dlerror();
        snprintf(why_not, sizeof why_not, "OpenBLAS cannot be loaded: %s",
                 text ? text : ES_OPENBLAS);
        return;
    }
    const char *missing = es_openblas_bind(dlsym, library);
    if (missing) snprintf(why_not, sizeof why_not, "%s has no %s", ES_OPENBLAS, missing);
}

const char *es_openblas_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return *why_not ? why_not : NULL;
}
