/* Where every byte of a run lies: frames that groups hand to each other, rings that are as long as the order of
 * a group's tasks wants them, weights, and what members have for themselves. */
#ifndef ES_ENGINE_NATIVE_LAYOUT_H
#define ES_ENGINE_NATIVE_LAYOUT_H

#include "engine/native_plan.h"

/* After es_native_cut; false where frames are more than a plan has slots for. */
bool es_native_layout(es_native_plan *plan, const es_network *network);

#endif
