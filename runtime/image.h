/* SPDX-License-Identifier: Apache-2.0 */
/* The hook that generated code calls for ImageDecoder: image.c, or a product's own. */
#ifndef CNN_IMAGE_H
#define CNN_IMAGE_H
#include <stdint.h>

enum { CNN_IMAGE_RGB, CNN_IMAGE_BGR, CNN_IMAGE_GRAY };

/* Decodes n bytes. shape becomes height, width and channels; pixels, row-major, are only written where it is not
   NULL, and the same bytes always have the same shape. 0, or 7 (CNN_EDATA) for bytes that are no picture. */
int cnn_image_decode(const uint8_t *bytes, int64_t n, int32_t format, uint8_t *pixels, int64_t shape[3]);
#endif
