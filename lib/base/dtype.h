/* Element types of tensors and exact scalar conversions between them. */
#ifndef ES_BASE_DTYPE_H
#define ES_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum es_dtype {
    ES_F32,
    ES_F16,
    ES_BF16,
    ES_F64,
    ES_I64,
    ES_I32,
    ES_I16,
    ES_I8,
    ES_U8,
    ES_BOOL
} es_dtype;

size_t es_dtype_size(es_dtype type);
const char *es_dtype_name(es_dtype type); /* "float32", "float16", "bfloat16", ... */

/* IEEE 754 round to nearest even; NaN stays NaN (quiet), overflow becomes Inf, denormals kept. */
float es_f16_to_f32(uint16_t h);
uint16_t es_f32_to_f16(float f);
float es_bf16_to_f32(uint16_t h);
uint16_t es_f32_to_bf16(float f);

/* Element `index` of an array of `type` (little-endian bytes, any alignment), as double. */
double es_dtype_get(const void *data, es_dtype type, size_t index);

/* Elements 0, stride, 2 * stride ... of such an array, `count` of them, to float (from float64 and
 * wide integers: rounded). */
void es_dtype_read_f32(const void *data, es_dtype type, size_t stride, size_t count, float *out);

#endif
