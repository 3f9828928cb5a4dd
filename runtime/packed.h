// SPDX-License-Identifier: Apache-2.0
// Elements of 2, 4 and 6 bits as ONNX packs them: one after the other, the first in the lowest bits of the first
// byte. Between its inputs and outputs generated code has one in a byte, signed ones extended.
#ifndef CNN_RUNTIME_PACKED_H
#define CNN_RUNTIME_PACKED_H
#include <stdint.h>

//@ cnn_unpack:
/* n elements of so many bits, a byte each. */
static inline void cnn_unpack(const void *from, void *to, int64_t n, unsigned bits, int is_signed) {
    const uint8_t *const p = (const uint8_t *)from;
    uint8_t *const q = (uint8_t *)to;
    const unsigned mask = (1u << bits) - 1, sign = is_signed ? 1u << (bits - 1) : 0;
    int64_t i;
    for (i = 0; i < n; i++) {
        const int64_t at = i / 4 * bits / 2 + i % 4 * bits / 8;
        const unsigned shift = (unsigned)(i % 4) * bits % 8;
        unsigned v = (unsigned)p[at] >> shift;
        if (shift + bits > 8) v |= (unsigned)p[at + 1] << (8 - shift);
        q[i] = (uint8_t)(((v & mask) ^ sign) - sign);
    }
}
//@ end

//@ cnn_pack:
/* n elements of so many bits, from a byte each; the bits behind the last one are 0. */
static inline void cnn_pack(const void *from, void *to, int64_t n, unsigned bits) {
    const uint8_t *const p = (const uint8_t *)from;
    uint8_t *const q = (uint8_t *)to;
    const unsigned mask = (1u << bits) - 1;
    unsigned held = 0, nheld = 0;
    int64_t i, at = 0;
    for (i = 0; i < n; i++) {
        held |= (p[i] & mask) << nheld;
        nheld += bits;
        if (nheld >= 8) {
            q[at++] = (uint8_t)held;
            held >>= 8;
            nheld -= 8;
        }
    }
    if (nheld) q[at] = (uint8_t)held;
}
//@ end
#endif
