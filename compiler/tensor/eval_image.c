// SPDX-License-Identifier: Apache-2.0
// The interpreter's pictures: the hook that comes with the runtime, which knows the formats whose libraries
// were there when the compiler was built.
#include "runtime/image.h"
#include "tensor/eval_string.h"
#include <string.h>

static int32_t format_of(const Node *n) {
    int64_t v;
    memcpy(&v, n->aux, sizeof v);
    return (int32_t)v;
}

// The operand's bytes, one for each element.
static uint8_t *bytes_of(const Tensor *x) {
    uint8_t *p = arena_alloc(x->data->n + 1);
    for (size_t i = 0; i < x->data->n; i++) p[i] = (uint8_t)data_get(x->data, i).i;
    return p;
}

int eval_image_size(const Node *n, Tensor *const *in, Tensor **out) {
    int64_t shape[3], three = 3;
    int status = cnn_image_decode(bytes_of(in[0]), (int64_t)in[0]->data->n, format_of(n), NULL, shape);
    out[0] = NEW(Tensor);
    *out[0] = (Tensor){.dt = I64, .rank = 1, .shape = {three}, .data = data_new(I64, 3)};
    for (size_t i = 0; i < 3; i++) data_set(out[0]->data, i, (Scalar){.i = shape[i]});
    return status;
}

int eval_image_pixels(const Node *n, Tensor *const *in, Tensor **out) {
    int64_t shape[3];
    const uint8_t *p = bytes_of(in[0]);
    int status = cnn_image_decode(p, (int64_t)in[0]->data->n, format_of(n), NULL, shape);
    if (status) return status;
    Data *d = data_new(U8, (size_t)(shape[0] * shape[1] * shape[2]));
    out[0] = NEW(Tensor);
    *out[0] = (Tensor){.dt = U8, .rank = 3, .shape = {shape[0], shape[1], shape[2]}, .data = d};
    return cnn_image_decode(p, (int64_t)in[0]->data->n, format_of(n), (uint8_t *)(uintptr_t)d->p, shape);
}
