/* Writing checkpoints in memory, for tests that need a model and no PyTorch. */
#ifndef TEST_PTH_H
#define TEST_PTH_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

typedef struct pth_tensor {
    char name[120];
    es_dtype dtype;
    int ndim;
    int64_t shape[4];
} pth_tensor;

/* A list that grows.  Zero is an empty one. */
typedef struct pth_list {
    pth_tensor *items;
    size_t count, capacity;
} pth_list;

/* Appends a float32 tensor. */
pth_tensor *pth_add(pth_list *list, const char *name, int ndim, int64_t a, int64_t b, int64_t c,
                    int64_t d);
/* The one of that name, or NULL; taking it out. */
pth_tensor *pth_get(const pth_list *list, const char *name);
void pth_remove(pth_list *list, const char *name);
void pth_clear(pth_list *list);

/* A legacy checkpoint of these tensors; floating weights get a spread that suits their fan-in,
 * the same for the same seed.  free() */
uint8_t *pth_write(const pth_list *list, uint64_t seed, size_t *size);

typedef enum pth_layout { PTH_BASICSR, PTH_BSRGAN, PTH_ESRGAN } pth_layout;

typedef struct pth_rrdbnet {
    pth_layout layout;
    int in, out, features, growth, blocks, ups, plus; /* in: as conv_first has it */
} pth_rrdbnet;

/* Appends all tensors of such a network. */
void pth_add_rrdbnet(pth_list *list, const pth_rrdbnet *net);

#endif
