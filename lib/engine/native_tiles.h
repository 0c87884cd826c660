/*
 * Which kernels do a stage, in tiles of which size, and which transformed tiles (caches) it shares with others:
 * all of it follows from network, picture, precision and tier alone, as results depend on it.
 */
#ifndef ES_ENGINE_NATIVE_TILES_H
#define ES_ENGINE_NATIVE_TILES_H

#include "engine/native_plan.h"

/* The kernels that do a convolution. */
const es_native_kernels *es_native_kernels_for(const es_native_plan *plan,
                                               const es_network *network, const es_op *op);

/*
 * The last convolution, where it has few channels out and reads its input as it is.  (Against F(6,3) in doubles:
 * FP32 0.97 to 0.98 of the time at 128 x 128, anime_6B 0.96, AVX2 0.94; 0.2 dB more error.)
 */
bool es_native_has_few(const es_network *network, const es_op *op);

/*
 * Cycles that a convolution of this shape takes, roughly: multiplications, transforms at some
 * cycles a point and vector, and weights that have to be made and read.  The larger the tiles, the
 * further away their points lie.  (Fitted to AVX-512 and AVX2 on two threads, pictures of 8 to 64 pixels
 * squared.)
 */
double es_native_cost(const es_native_kernels *kernels, const es_op *op, int tile, int height,
                      int width);

/* Chooses tiles and makes the caches, for all stages of all groups. */
void es_native_tiles(es_native_plan *plan, const es_network *network);

#endif
