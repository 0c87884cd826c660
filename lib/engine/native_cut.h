/*
 * How groups are cut: chains of convolutions (dense blocks) into spans of strips, one for each member
 * (native_spans.h), in wide pictures into columns of tiles, which are done one after the other, and in
 * small ones by channels out, for then it is weights that take the time: a member makes half of them, and
 * transforms all tiles for itself.
 *
 * A column's rings are as wide as it is, so that they stay in a cache however wide the picture.  Every
 * convolution needs a pixel more on either side than it makes, so each stage of a column lies one tile
 * further left than the one before.  On the right all is there, then; what is needed on the left the column
 * before has kept: the pixels on the seam, of all rows.  Nothing is done twice.
 *
 *     tiles     0 1 2 3 4 5 6 7 8 9 ...                tiles are those of the whole picture,
 *     stage 0   . . . . # # # # # # . .                and so are their neighbours, wherever
 *     stage 1   . . . # # # # # # . . .                they come from: results do not depend
 *     stage 2   . . # # # # # # . . . .                on how a picture is cut
 *
 * What the last stage makes may take the place of what the first one reads: the pixel on the seam, which the
 * next column needs, is not written over, for the new frame lies one further left in the same place.
 */
#ifndef ES_ENGINE_NATIVE_CUT_H
#define ES_ENGINE_NATIVE_CUT_H

#include "engine/native_plan.h"

/* Stages of a chain at most; units of a member's span at least, so that all have as much to do, and of two
 * members, who are faster so with fewer, too; units of which rings hold the rows, but for one more row;
 * bytes of the rings of two members and more from which on a chain is done in columns, that they should
 * take then, and that they take at most in any case. */
enum {
    ES_SPAN_STAGES = 8,
    ES_SPAN_LEAST = 8,
    ES_SPAN_LEAST_TWO = 4,
    ES_SPAN_HELD = 2,
    ES_COLUMNS_FROM = 15 << 20,
    ES_COLUMN_BYTES = 5 << 20,
    ES_SPAN_BYTES = 64 << 20
};

/* Tiles at most where two members have room for weights of their own: with more of them it does not matter
 * how long weights take, and frames take the room. */
enum { ES_COPIES_TILES = 800 };

/* Parts that channels out are dealt in; tiles at most, and members, each of whom has all of them. */
enum { ES_PARTS = 2, ES_PARTS_TILES = 40, ES_PARTS_MEMBERS = 4 };

/* Chooses columns, spans and parts, after the tiles; then all strides are known. */
void es_native_cut(es_native_plan *plan);

/* Pixels that a frame has to lie further left than the frame of `sheet`, in whose place it is made by a
 * group's last stage; -1 where there is no room for that. */
int es_native_shift(const es_native_plan *plan, int group, int sheet);

/* Whether a group's two members have room for weights of their own. */
bool es_native_has_copies(const es_native_plan *plan, int group);

/* Whether every stage of a group is done in one task. */
bool es_native_is_whole(es_native_plan *plan, int group);

/* Where a group's columns keep pixels for the next one, from `offset` in the arena on; returns the
 * end. */
size_t es_native_seams(es_native_plan *plan, int group, size_t offset);

/* Where the rings of a group in spans lie, from `offset` in the arena on; returns the end. */
size_t es_native_span_rings(es_native_plan *plan, int group, size_t offset);

#endif
