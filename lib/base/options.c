/* Structs that begin with their own size. */
#include "base/options.h"

#include <string.h>

#define ABSURD 65536 /* bytes; no struct of the interface comes near */

/* The size the caller wrote in front. */
static esrgan_status stated_size(const void *given, const char *what, size_t *size,
                                 esrgan_error *error) {
    memcpy(size, given, sizeof *size);
    if (*size > sizeof *size && *size <= ABSURD) return ESRGAN_OK;
    return es_fail(error, ESRGAN_E_ARGUMENT,
                   "%s.size is %zu: not set to the struct's size (call its init function, or set "
                   "it to sizeof)",
                   what, *size);
}

esrgan_status es_options_read(void *full, size_t full_size, const void *given, const char *what,
                              esrgan_error *error) {
    if (given == NULL) return ESRGAN_OK;
    size_t size;
    esrgan_status status = stated_size(given, what, &size, error);
    if (status != ESRGAN_OK) return status;
    for (size_t i = full_size; i < size; i++) {
        if (((const unsigned char *)given)[i] != 0)
            return es_fail(error, ESRGAN_E_ARGUMENT,
                           "%s.size is %zu, and what is set beyond %zu is unknown to this version",
                           what, size, full_size);
    }
    memcpy(full, given, size < full_size ? size : full_size);
    memcpy(full, &full_size, sizeof full_size);
    return ESRGAN_OK;
}

esrgan_status es_info_write(void *out, const void *full, size_t full_size, const char *what,
                            esrgan_error *error) {
    if (out == NULL) return es_fail(error, ESRGAN_E_ARGUMENT, "%s is NULL", what);
    size_t size;
    esrgan_status status = stated_size(out, what, &size, error);
    if (status != ESRGAN_OK) return status;
    memset((unsigned char *)out + sizeof size, 0, size - sizeof size);
    size_t known = size < full_size ? size : full_size;
    memcpy((unsigned char *)out + sizeof size, (const unsigned char *)full + sizeof size,
           known - sizeof size);
    return ESRGAN_OK;
}
