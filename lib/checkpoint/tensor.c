/* Copying tensors out, whatever their type and strides. */
#include "checkpoint/checkpoint.h"

/* Visits elements first .. first + count - 1 in C order as runs along the last dimension. */
typedef void (*run_fn)(const es_tensor *t, int64_t element, int64_t stride, size_t count,
                       size_t done, void *out);

/* The number of elements, from the last dimension backwards, that lie behind one another. */
static int64_t contiguous_tail(const es_tensor *t, int *dims) {
    int64_t tail = 1;
    int d = t->ndim;
    while (d > 0 && (t->stride[d - 1] == tail || t->shape[d - 1] == 1)) tail *= t->shape[--d];
    *dims = d;
    return tail;
}

bool es_tensor_is_contiguous(const es_tensor *tensor) {
    int dims;
    contiguous_tail(tensor, &dims);
    return dims == 0;
}

const void *es_tensor_f32_in_place(const es_tensor *tensor, int64_t first) {
    static const bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    bool plain = little && tensor->dtype == ES_F32 && es_tensor_is_contiguous(tensor);
    return plain ? tensor->data + (size_t)first * sizeof(float) : NULL;
}

static void visit(const es_tensor *t, int64_t first, int64_t count, run_fn run, void *out) {
    if (count <= 0 || t->numel == 0) return;
    int dims;
    int64_t length = contiguous_tail(t, &dims), stride = 1;
    if (dims == t->ndim && dims > 0) { /* not even the last one: runs are strided */
        dims--;
        length = t->shape[dims];
        stride = t->stride[dims];
    }
    int64_t index[ES_MAX_DIMS], element = 0, within = first % length, rest = first / length;
    for (int d = dims; d-- > 0; rest /= t->shape[d]) {
        index[d] = rest % t->shape[d];
        element += index[d] * t->stride[d];
    }
    for (int64_t done = 0; done < count;) {
        int64_t n = length - within < count - done ? length - within : count - done;
        run(t, element + within * stride, stride, (size_t)n, (size_t)done, out);
        done += n;
        within = 0;
        for (int d = dims; d-- > 0;) {
            element += t->stride[d];
            if (++index[d] < t->shape[d]) break;
            element -= index[d] * t->stride[d];
            index[d] = 0;
        }
    }
}

static void run_f32(const es_tensor *t, int64_t element, int64_t stride, size_t count, size_t done,
                    void *out) {
    const uint8_t *data = t->data + (size_t)element * es_dtype_size(t->dtype);
    es_dtype_read_f32(data, t->dtype, (size_t)stride, count, (float *)out + done);
}

static void run_f64(const es_tensor *t, int64_t element, int64_t stride, size_t count, size_t done,
                    void *out) {
    for (size_t i = 0; i < count; i++) {
        ((double *)out)[done + i] =
            es_dtype_get(t->data, t->dtype, (size_t)element + i * (size_t)stride);
    }
}

void es_tensor_read_f32(const es_tensor *tensor, float *out) {
    visit(tensor, 0, tensor->numel, run_f32, out);
}

void es_tensor_read_f64(const es_tensor *tensor, double *out) {
    visit(tensor, 0, tensor->numel, run_f64, out);
}

void es_tensor_read_f32_range(const es_tensor *tensor, int64_t first, int64_t count, float *out) {
    visit(tensor, first, count, run_f32, out);
}
