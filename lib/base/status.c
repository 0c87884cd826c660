/* Versions, names of statuses, and the one way to report a failure. */
#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int esrgan_version(void) { return ESRGAN_VERSION; }

const char *esrgan_version_string(void) { return ESRGAN_VERSION_STRING; }

const char *esrgan_status_text(esrgan_status status) {
    static const char *const texts[] = {
        [ESRGAN_OK] = "ok",
        [ESRGAN_E_ARGUMENT] = "invalid argument",
        [ESRGAN_E_MEMORY] = "out of memory",
        [ESRGAN_E_IO] = "input/output error",
        [ESRGAN_E_NOT_CHECKPOINT] = "not a checkpoint",
        [ESRGAN_E_TRUNCATED] = "truncated file",
        [ESRGAN_E_CORRUPT] = "corrupt file",
        [ESRGAN_E_UNSUPPORTED] = "unsupported feature",
        [ESRGAN_E_LIMIT] = "limit exceeded",
        [ESRGAN_E_UNKNOWN_NETWORK] = "unknown network",
        [ESRGAN_E_MISSING_KEY] = "missing key",
        [ESRGAN_E_SURPLUS_KEY] = "surplus key",
        [ESRGAN_E_SHAPE] = "shape mismatch",
        [ESRGAN_E_CANCELLED] = "cancelled",
        [ESRGAN_E_THREAD] = "thread creation failed",
        [ESRGAN_E_NOT_FOUND] = "not found",
        [ESRGAN_E_NONFINITE] = "output not finite",
    };
    unsigned index = (unsigned)status;
    if (index >= sizeof texts / sizeof texts[0]) return "unknown status";
    return texts[index];
}

/* Length of the valid, printable UTF-8 character at s (not the terminator), or 0. */
static size_t character(const unsigned char *s) {
    if (s[0] >= 0x20 && s[0] < 0x7f) return 1;
    size_t more;
    uint32_t code, least;
    if (s[0] >= 0xc2 && s[0] < 0xe0) {
        more = 1, code = s[0] & 0x1fu, least = 0xa0; /* below lie the C1 control characters */
    } else if (s[0] >= 0xe0 && s[0] < 0xf0) {
        more = 2, code = s[0] & 0x0fu, least = 0x800;
    } else if (s[0] >= 0xf0 && s[0] < 0xf5) {
        more = 3, code = s[0] & 0x07u, least = 0x10000;
    } else {
        return 0;
    }
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0; /* a terminator ends the loop too */
        code = code << 6 | (s[i] & 0x3fu);
    }
    bool separator = code == 0x2028 || code == 0x2029;
    bool direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
    return separator || direction ? 0 : more + 1;
}

static void sanitise(char *text) {
    const unsigned char *in = (const unsigned char *)text;
    char *out = text;
    while (*in != 0) {
        size_t n = character(in);
        if (n == 0) {
            *out++ = '?';
            in++;
        } else {
            while (n-- > 0) *out++ = (char)*in++;
        }
    }
    *out = 0;
}

/* Cuts off what snprintf may have left of a character at the end of a full buffer. */
static void trim_partial(char *text, size_t capacity) {
    size_t n = strlen(text);
    if (n + 1 < capacity) return;
    size_t start = n;
    while (start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0) start--;
    if (start < n && character((const unsigned char *)text + start) != n - start) text[start] = 0;
}

esrgan_status es_fail(esrgan_error *error, esrgan_status status, const char *format, ...) {
    if (error == NULL) return status;
    char text[sizeof error->message]; /* the arguments may point into error->message */
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n < 0) text[0] = 0;
    trim_partial(text, sizeof text);
    sanitise(text);
    error->status = status;
    memcpy(error->message, text, strlen(text) + 1);
    return status;
}
