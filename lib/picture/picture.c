#include "picture/picture.h"

#include "base/status.h"

esrgan_status es_picture_check(const esrgan_picture *p, const char *name, esrgan_error *error) {
    if (!p) return es_fail(error, ESRGAN_E_ARGUMENT, "%s is NULL", name);
    if (!p->data) return es_fail(error, ESRGAN_E_ARGUMENT, "%s.data is NULL", name);
    if (p->width < 1 || p->height < 1)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s is %d x %d pixels; must be 1 x 1 or more",
                       name, p->width, p->height);
    if (p->channels < 1 || p->channels > 4)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s.channels is %d; must be 1 to 4", name,
                       p->channels);
    if (p->bits != 8 && p->bits != 16)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s.bits is %d; must be 8 or 16", name, p->bits);
    const int64_t bytes = p->bits / 8, row = (int64_t)p->width * p->channels * bytes;
    const int64_t stride = p->stride < 0 ? -(int64_t)p->stride : (int64_t)p->stride;
    if (p->height > 1 && stride < row)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s.stride is %lld; a row has %lld bytes", name,
                       (long long)p->stride, (long long)row);
    if (p->height > 1 && stride > PTRDIFF_MAX / p->height)
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s.stride is %lld; too large for %d rows", name,
                       (long long)p->stride, p->height);
    if ((uintptr_t)p->data % (size_t)bytes != 0 || (p->height > 1 && stride % bytes != 0))
        return es_fail(error, ESRGAN_E_ARGUMENT, "%s: 16-bit samples at odd addresses", name);
    return ESRGAN_OK;
}

static void extent(const esrgan_picture *p, uintptr_t *from, uintptr_t *to) {
    const uintptr_t first = (uintptr_t)p->data, last = (uintptr_t)es_picture_row(p, p->height - 1);
    *from = first < last ? first : last;
    *to = (first < last ? last : first) +
          (size_t)p->width * (size_t)p->channels * (size_t)(p->bits / 8);
}

bool es_pictures_overlap(const esrgan_picture *a, const esrgan_picture *b) {
    uintptr_t a_from, a_to, b_from, b_to;
    extent(a, &a_from, &a_to);
    extent(b, &b_from, &b_to);
    return a_from < b_to && b_from < a_to;
}
