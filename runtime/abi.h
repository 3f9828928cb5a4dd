// SPDX-License-Identifier: Apache-2.0
// The types that generated code, its callers and generic loaders share. The text
// between the guards is written into every generated header, so that many models
// link into one program.
//@ abi:
#ifndef CNNCC_ABI_1
#define CNNCC_ABI_1
#include <stddef.h>
#include <stdint.h>

/* What every generated function returns. On an error the outputs are unspecified. */
enum cnn_status {
    CNN_OK = 0,
    CNN_ESHAPE = 1,    /* an input's shape does not fit the model */
    CNN_ECAPACITY = 2, /* an output or inner tensor needs more room than it has */
    CNN_EWORK = 3,     /* the work area is missing, too small or not 64-byte aligned */
    CNN_EWEIGHTS = 4,  /* the weights are missing or not this model's */
    CNN_EINDEX = 5,    /* an index tensor points outside its data */
    CNN_EVALUE = 6,    /* a value outside an operator's domain */
    CNN_EDATA = 7      /* malformed bytes: text, image */
};

/* Element types, numbered as ONNX's TensorProto.DataType. */
enum cnn_type {
    CNN_FLOAT = 1, CNN_UINT8 = 2, CNN_INT8 = 3, CNN_UINT16 = 4, CNN_INT16 = 5, CNN_INT32 = 6,
    CNN_INT64 = 7, CNN_STRING = 8, CNN_BOOL = 9, CNN_FLOAT16 = 10, CNN_DOUBLE = 11,
    CNN_UINT32 = 12, CNN_UINT64 = 13, CNN_COMPLEX64 = 14, CNN_COMPLEX128 = 15, CNN_BFLOAT16 = 16,
    CNN_FLOAT8E4M3FN = 17, CNN_FLOAT8E4M3FNUZ = 18, CNN_FLOAT8E5M2 = 19, CNN_FLOAT8E5M2FNUZ = 20,
    CNN_UINT4 = 21, CNN_INT4 = 22, CNN_FLOAT4E2M1 = 23, CNN_FLOAT8E8M0 = 24, CNN_UINT2 = 25,
    CNN_INT2 = 26, CNN_FLOAT6E2M3 = 27, CNN_FLOAT6E3M2 = 28
};

typedef struct { const char *ptr; size_t len; } cnn_string; /* bytes, UTF-8, no NUL */

typedef struct { float re, im; } cnn_complex64;
typedef struct { double re, im; } cnn_complex128;

/* A tensor: `data` in row-major order; elements of 2, 4 and 6 bits are packed without gaps, the first in the lowest bits
   of the first byte (those of a sequence's or optional's tensors take a byte each). As an input, `shape` gives its true extents; as an
   output the caller gives `data`, its capacity `cap` in bytes and room for `rank` extents
   in `shape`, and the call writes the true shape. */
typedef struct { void *data; size_t cap; int64_t *shape; int32_t type, rank; } cnn_tensor;

/* A sequence of tensors. A map is a sequence of two: keys, values. As an output the caller gives room for `cap`
   items, each like an output of its own. It is passed as the `data` of a cnn_tensor. An optional that is absent
   has `data` NULL: as an input from the caller, as an output from the call. */
typedef struct { cnn_tensor *item; size_t count, cap; } cnn_sequence;

/* What one call works with: the weights (NULL when they are inline), the work area (64-byte
   aligned), the seed of random operators, the number of threads (0 means 1). */
typedef struct { const void *weights; void *work; size_t work_size; uint64_t seed; int threads; } cnn_ctx;

enum cnn_kind { CNN_TENSOR = 0, CNN_SEQUENCE = 1, CNN_SEQUENCE_OF_MAPS = 2, CNN_OPTIONAL = 3, CNN_OPTIONAL_SEQUENCE = 4 };

/* One graph input or output. `dim[i]` is its fixed extent, or -1 and `sym[i]` the index of its
   symbol, or -1 when the extent is computed by the run (an output's). */
typedef struct {
    const char *name;
    int32_t kind, type, rank;
    const int64_t *dim;
    const int32_t *sym;
} cnn_port;

/* A state: input `in` and output `out` are one memory, which the caller keeps from run to run. Along
   `axis` it has room for `cap`, whatever its true extent; -1: it keeps its shape. */
typedef struct { int in, out, axis; int64_t cap; } cnn_state;

/* A model, for generic loaders: m_model in every generated file. Inputs and outputs are passed
   as arrays of cnn_tensor (or, where a port's kind says so, pointers to cnn_sequence in .data). */
typedef struct {
    int abi;
    const char *name;
    int n_in, n_out, n_sym;
    const cnn_port *in, *out;
    const char *const *sym;
    size_t weights_size;
    uint64_t weights_hash;
    size_t (*work_size)(const int64_t *sym, int threads);
    int (*out_shape)(const int64_t *sym, int output, int64_t *shape); /* shapes or their bounds */
    int (*run)(const cnn_ctx *ctx, const cnn_tensor *in, cnn_tensor *out);
    int n_state;
    const cnn_state *state;
} cnn_model;
#endif
//@ end
