// SPDX-License-Identifier: Apache-2.0
// Elements of every ONNX type as numbers and as text.
#include <inttypes.h>
#include <string.h>

#include "run.h"

/* The small float formats: bits of the fraction, bias, and what the largest exponent means. */
typedef enum { TOP_IEEE, TOP_NAN_ALL_ONES, TOP_NAN_NEGATIVE_ZERO, TOP_FINITE } TopKind;
typedef struct {
    int bits, fraction, bias;
    TopKind top;
} SmallFloat;

static SmallFloat small_float(int type) {
    switch (type) {
    case CNN_FLOAT16:
        return (SmallFloat){16, 10, 15, TOP_IEEE};
    case CNN_BFLOAT16:
        return (SmallFloat){16, 7, 127, TOP_IEEE};
    case CNN_FLOAT8E4M3FN:
        return (SmallFloat){8, 3, 7, TOP_NAN_ALL_ONES};
    case CNN_FLOAT8E4M3FNUZ:
        return (SmallFloat){8, 3, 8, TOP_NAN_NEGATIVE_ZERO};
    case CNN_FLOAT8E5M2:
        return (SmallFloat){8, 2, 15, TOP_IEEE};
    case CNN_FLOAT8E5M2FNUZ:
        return (SmallFloat){8, 2, 16, TOP_NAN_NEGATIVE_ZERO};
    case CNN_FLOAT4E2M1:
        return (SmallFloat){4, 1, 1, TOP_FINITE};
    case CNN_FLOAT6E2M3:
        return (SmallFloat){6, 3, 1, TOP_FINITE};
    case CNN_FLOAT6E3M2:
        return (SmallFloat){6, 2, 3, TOP_FINITE};
    default:
        return (SmallFloat){0, 0, 0, TOP_FINITE};
    }
}

static double small_decode(SmallFloat k, unsigned u) {
    int e_bits = k.bits - 1 - k.fraction;
    unsigned f_mask = (1u << k.fraction) - 1, e_mask = (1u << e_bits) - 1;
    unsigned f = u & f_mask, e = (u >> k.fraction) & e_mask;
    double sign = (u >> (k.bits - 1)) & 1u ? -1.0 : 1.0;
    if (k.top == TOP_NAN_NEGATIVE_ZERO && u == 1u << (k.bits - 1)) return __builtin_nan("");
    if (k.top == TOP_NAN_ALL_ONES && e == e_mask && f == f_mask) return __builtin_nan("");
    if (k.top == TOP_IEEE && e == e_mask) return f ? __builtin_nan("") : sign * __builtin_inf();
    if (e == 0) return sign * __builtin_ldexp((double)f, 1 - k.bias - k.fraction);
    return sign * __builtin_ldexp((double)(f + f_mask + 1), (int)e - k.bias - k.fraction);
}

/* Nearest, ties to even, overflow to infinity; for the IEEE kinds only. */
static unsigned small_encode(SmallFloat k, double x) {
    int e_bits = k.bits - 1 - k.fraction, e = 0;
    unsigned top = ((1u << e_bits) - 1) << k.fraction;
    unsigned sign = __builtin_signbit(x) ? 1u << (k.bits - 1) : 0;
    if (__builtin_isnan(x)) return sign | top | 1u << (k.fraction - 1);
    x = __builtin_fabs(x);
    if (__builtin_isinf(x)) return sign | top;
    (void)__builtin_frexp(x, &e);
    e -= 1;
    if (x == 0 || e < 1 - k.bias) e = 1 - k.bias;
    double m = __builtin_nearbyint(__builtin_ldexp(x, k.fraction - e)); /* in [0, 2^(fraction+1)] */
    unsigned u = (unsigned)m + ((unsigned)(e + k.bias - 1) << k.fraction);
    return sign | (u > top ? top : u);
}

int64_t number_int(int type, const void *data, size_t i) {
    switch (type) {
    case CNN_BOOL:
    case CNN_UINT8:
    case CNN_UINT4:
    case CNN_UINT2:
        return ((const uint8_t *)data)[i];
    case CNN_INT8:
    case CNN_INT4:
    case CNN_INT2:
        return ((const int8_t *)data)[i];
    case CNN_UINT16:
        return ((const uint16_t *)data)[i];
    case CNN_INT16:
        return ((const int16_t *)data)[i];
    case CNN_UINT32:
        return ((const uint32_t *)data)[i];
    case CNN_INT32:
        return ((const int32_t *)data)[i];
    case CNN_UINT64:
        return (int64_t)((const uint64_t *)data)[i];
    case CNN_INT64:
        return ((const int64_t *)data)[i];
    default:
        return 0;
    }
}

double number_get(int type, const void *data, size_t i) {
    switch (type) {
    case CNN_FLOAT:
        return (double)((const float *)data)[i];
    case CNN_DOUBLE:
        return ((const double *)data)[i];
    case CNN_FLOAT16:
    case CNN_BFLOAT16:
        return small_decode(small_float(type), ((const uint16_t *)data)[i]);
    case CNN_FLOAT8E4M3FN:
    case CNN_FLOAT8E4M3FNUZ:
    case CNN_FLOAT8E5M2:
    case CNN_FLOAT8E5M2FNUZ:
        return small_decode(small_float(type), ((const uint8_t *)data)[i]);
    case CNN_FLOAT4E2M1:
        return small_decode(small_float(type), ((const uint8_t *)data)[i] & 15u);
    case CNN_FLOAT6E2M3:
    case CNN_FLOAT6E3M2:
        return small_decode(small_float(type), ((const uint8_t *)data)[i] & 63u);
    case CNN_FLOAT8E8M0: {
        int e = ((const uint8_t *)data)[i];
        return e == 255 ? (double)__builtin_nan("") : __builtin_ldexp(1.0, e - 127);
    }
    case CNN_UINT64:
        return (double)((const uint64_t *)data)[i];
    default:
        return (double)number_int(type, data, i);
    }
}

void number_set(int type, void *data, size_t i, double x) {
    switch (type) {
    case CNN_FLOAT:
        ((float *)data)[i] = (float)x;
        break;
    case CNN_DOUBLE:
        ((double *)data)[i] = x;
        break;
    case CNN_FLOAT16:
    case CNN_BFLOAT16:
        ((uint16_t *)data)[i] = (uint16_t)small_encode(small_float(type), x);
        break;
    case CNN_BOOL:
        ((uint8_t *)data)[i] = x != 0;
        break;
    case CNN_UINT8:
        ((uint8_t *)data)[i] = (uint8_t)(int64_t)x;
        break;
    case CNN_INT8:
        ((int8_t *)data)[i] = (int8_t)(int64_t)x;
        break;
    case CNN_UINT16:
        ((uint16_t *)data)[i] = (uint16_t)(int64_t)x;
        break;
    case CNN_INT16:
        ((int16_t *)data)[i] = (int16_t)(int64_t)x;
        break;
    case CNN_UINT32:
        ((uint32_t *)data)[i] = (uint32_t)(int64_t)x;
        break;
    case CNN_INT32:
        ((int32_t *)data)[i] = (int32_t)(int64_t)x;
        break;
    case CNN_UINT64:
        ((uint64_t *)data)[i] = (uint64_t)x;
        break;
    case CNN_INT64:
        ((int64_t *)data)[i] = (int64_t)x;
        break;
    default:
        break; /* nothing converts to the smaller ones */
    }
}

void number_text(int type, const void *data, size_t i, char *out, size_t room) {
    if (type == CNN_STRING) {
        const cnn_string *s = (const cnn_string *)data + i;
        (void)snprintf(out, room, "\"%.*s\"", s->len < 60 ? (int)s->len : 60, s->len ? s->ptr : "");
    } else if (type == CNN_COMPLEX64) {
        const float *c = (const float *)data + 2 * i;
        (void)snprintf(out, room, "%.9g%+.9gi", (double)c[0], (double)c[1]);
    } else if (type == CNN_COMPLEX128) {
        const double *c = (const double *)data + 2 * i;
        (void)snprintf(out, room, "%.17g%+.17gi", c[0], c[1]);
    } else if (type == CNN_UINT64) {
        (void)snprintf(out, room, "%" PRIu64, ((const uint64_t *)data)[i]);
    } else if (type_is_float(type)) {
        int digits = type == CNN_DOUBLE ? 17 : type == CNN_FLOAT ? 9 : 5;
        (void)snprintf(out, room, "%.*g", digits, number_get(type, data, i));
    } else {
        (void)snprintf(out, room, "%" PRId64, number_int(type, data, i));
    }
}
