/* Native kernels that multiply doubles, in plain C: for every CPU. */
#include <stdint.h>
#include <string.h>

typedef double VF __attribute__((vector_size(16)));
#define VL     2
#define PLACES 2
#define NUMBER double

static inline VF vf_set1(double x) { return (VF){x, x}; }
static inline VF vf_zero(void) { return vf_set1(0); }
static inline VF vf_load(const float *p) {
    float x[VL];
    memcpy(x, p, sizeof x);
    return (VF){(double)x[0], (double)x[1]};
}
static inline void vf_store(float *p, VF v) {
    const float x[VL] = {(float)v[0], (float)v[1]};
    memcpy(p, x, sizeof x);
}
static inline VF vn_load(const float *p) {
    VF v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vn_store(float *p, VF v) { memcpy(p, &v, sizeof v); }
#define vf_add(a, b)             ((a) + (b))
#define vf_sub(a, b)             ((a) - (b))
#define vf_mul(a, b)             ((a) * (b))
#define vf_fma(a, b, c)          ((a) * (b) + (c))
#define vf_accumulate(sum, a, b) ((sum) = vf_fma(a, b, sum))

static inline VF vf_lrelu(VF x, VF slope) {
    return (VF){x[0] < 0 ? x[0] * slope[0] : x[0], x[1] < 0 ? x[1] * slope[1] : x[1]};
}

static inline void vf_turn(VF *r) {
    VF first = {r[0][0], r[1][0]};
    r[1] = (VF){r[0][1], r[1][1]};
    r[0] = first;
}

#define BLOCK        2
#define PANEL        16
#define KERNELS      es_native_scalar_f64
#define KERNELS_NAME "scalar"
#include "native_template.h"
