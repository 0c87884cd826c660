/* Colour for pixels that nobody sees. */
#ifndef ES_PICTURE_BLEED_H
#define ES_PICTURE_BLEED_H

#include "picture/picture.h"

/*
 * Editors leave anything under fully transparent pixels, often black, and a network would draw it
 * into the edges of what is seen.  *out becomes a copy of the picture's colour samples
 * (es_picture_colours channels) in which each fully transparent pixel has the colour of a nearest
 * one that is not.  Where there are no such pixels, or nothing else, out->data stays NULL.
 */
esrgan_status es_bleed(const esrgan_picture *in, esrgan_picture *out, const esrgan_allocator *a,
                       esrgan_error *error);
void es_bleed_release(esrgan_picture *out, const esrgan_allocator *a);

/* Bytes of the copy. */
size_t es_bleed_bytes(const esrgan_picture *in);

#endif
