// SPDX-License-Identifier: Apache-2.0
// The families of operators, each a table in a file of its own.
#include "ops/op.h"

#include <string.h>

// Every family: its table's name and its domain.
#define FAMILIES(X)                                                                                                    \
    X(ops_math, "")                                                                                                    \
    X(ops_compare, "")                                                                                                 \
    X(ops_cast, "")                                                                                                    \
    X(ops_activation, "")                                                                                              \
    X(ops_reduce, "")                                                                                                  \
    X(ops_softmax, "")                                                                                                 \
    X(ops_shape, "")                                                                                                   \
    X(ops_generate, "")                                                                                                \
    X(ops_index, "")                                                                                                   \
    X(ops_compact, "")                                                                                                 \
    X(ops_pad, "")                                                                                                     \
    X(ops_grid, "")                                                                                                    \
    X(ops_signal, "")                                                                                                  \
    X(ops_einsum, "")                                                                                                  \
    X(ops_random, "")                                                                                                  \
    X(ops_matmul, "")                                                                                                  \
    X(ops_conv, "")                                                                                                    \
    X(ops_pool, "")                                                                                                    \
    X(ops_norm, "")                                                                                                    \
    X(ops_quant, "")                                                                                                   \
    X(ops_resize, "")                                                                                                  \
    X(ops_attention, "")                                                                                               \
    X(ops_rnn, "")                                                                                                     \
    X(ops_control, "")                                                                                                 \
    X(ops_preview, "ai.onnx.preview")                                                                                  \
    X(ops_optimizer, "ai.onnx.preview.training")                                                                       \
    X(ops_sequence, "")                                                                                                \
    X(ops_image, "")                                                                                                   \
    X(ops_detect, "")                                                                                                  \
    X(ops_string, "")                                                                                                  \
    X(ops_text, "")                                                                                                    \
    X(ops_tokenizer, "com.microsoft")                                                                                  \
    X(ops_map, "ai.onnx.ml")                                                                                           \
    X(ops_ml, "ai.onnx.ml")                                                                                            \
    X(ops_microsoft, "com.microsoft")

#define DECLARE(table, domain) extern const OpDef table[];
FAMILIES(DECLARE)

#define ROW(table, domain) {domain, table},
const OpFamily op_families[] = {FAMILIES(ROW){NULL, NULL}};

OpFn *op_find(const char *domain, const char *type, int64_t since, int *row_since) {
    const OpDef *best = NULL;
    for (const OpFamily *f = op_families; f->domain; f++) {
        if (strcmp(f->domain, domain) != 0) continue;
        for (const OpDef *d = f->def; d->type; d++)
            if (d->since <= since && (!best || d->since > best->since) && !strcmp(d->type, type)) best = d;
    }
    if (best && row_since) *row_since = best->since;
    return best ? best->fn : NULL;
}
