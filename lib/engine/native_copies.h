/*
 * Whether two members that have spans (native_spans.h) make a group's weights together, each half of them,
 * or each all of them for itself.  Together takes half of the work and half of the room, and is the faster
 * way where the cores are near each other.  Where they are far, with no cache in common, it takes long to
 * write what the other one has read, and a CPU does not tell how far they are; a virtual one may even
 * change places.  So the time that it takes is looked at.
 *
 * (x4plus, FP32, 128 x 128: a block of kernels takes 1.3 us alone, 2.5 us together with a core that is near,
 * 7.5 us with one that is far; alone for all of a picture 1.07 to 1.09 of the time together, or 0.94.)
 */
#ifndef ES_ENGINE_NATIVE_COPIES_H
#define ES_ENGINE_NATIVE_COPIES_H

#include "engine/portions.h"

typedef struct es_copies {
    es_pace together, alone; /* what a block of kernels takes member 0, of late */
    int groups;              /* made alone, one after the other */
} es_copies;

/* Whether members make the next group's weights each for itself. */
bool es_copies_wanted(const es_copies *copies);

/* Some blocks have been made; a group has been. */
void es_copies_learn(es_copies *copies, bool each, int blocks, double seconds);
void es_copies_made(es_copies *copies, bool each);

#endif
