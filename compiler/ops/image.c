// SPDX-License-Identifier: Apache-2.0
// ImageDecoder, by a function that the product links.
#include "ops/nn.h"

#include <string.h>

/* y [h, w, c] = the picture that the bytes x encode */
static void image_decoder(Op *o) {
    static const char *const formats[] = {"RGB", "BGR", "Grayscale"};
    Val *x = o->in[0];
    const char *name = attr_str(o, "pixel_format");
    int64_t format = 0;
    while (format < 3 && strcmp(name, formats[format])) format++;
    if (format == 3) op_fail(o, "pixel_format is '%s', not RGB, BGR or Grayscale", name);
    if (x->rank != 1) op_fail(o, "input 0 has %d dimensions, needs 1", x->rank);
    Ex n = e_int(3), at[3], shape[3];
    Val *size = call1(o, &call_image_size, 1, &x, 1, &format, I64, 1, &n);
    for (int i = 0; i < 3; i++) {
        at[i] = e_int(i);
        shape[i] = i < 2 ? e_size(size, 1, &at[i]) : e_int(format == 2 ? 1 : 3);
    }
    o->out[0] = call1(o, &call_image_pixels, 1, &x, 1, &format, U8, 3, shape);
}

const OpDef ops_image[] = {{"ImageDecoder", 20, image_decoder}, {NULL, 0, NULL}};
