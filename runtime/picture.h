// SPDX-License-Identifier: Apache-2.0
// Pictures, by a function that the product links: runtime/image.c, or its own.
#ifndef CNN_RUNTIME_PICTURE_H
#define CNN_RUNTIME_PICTURE_H
#include "abi.h"

//@ cnn_image_decode:
/* Decodes n bytes (format 0: RGB, 1: BGR, 2: gray): shape becomes height, width, channels; pixels may be NULL.
   Gives CNN_OK or CNN_EDATA. */
extern int cnn_image_decode(const uint8_t *bytes, int64_t n, int32_t format, uint8_t *pixels, int64_t shape[3]);

//@ cnn_image_size: cnn_image_decode
static inline int cnn_image_size(const uint8_t *x, int64_t *y, int64_t n, int64_t format) {
    return cnn_image_decode(x, n, (int32_t)format, (uint8_t *)0, y);
}

//@ cnn_image_pixels: cnn_image_decode
static inline int cnn_image_pixels(const uint8_t *x, uint8_t *y, int64_t n, int64_t format) {
    int64_t shape[3];
    return cnn_image_decode(x, n, (int32_t)format, y, shape);
}
//@ end
#endif
