// SPDX-License-Identifier: Apache-2.0
// What the families of neural networks share: sliding windows, normalization, quantization.
#ifndef CNNCC_NN_H
#define CNNCC_NN_H
#include "ops/op.h"

// The geometry of a sliding window over the n spatial axes of [N, C, d1..dn].
typedef struct {
    int n;
    bool ceil_mode;
    Ex k[MAX_RANK], stride[MAX_RANK], dil[MAX_RANK];
    Ex lo[MAX_RANK], hi[MAX_RANK]; // padding
    Ex out[MAX_RANK];
} Spatial;

// Reads strides, dilations, pads, auto_pad and ceil_mode; s->n and s->k must be set. x: the padded input.
void spatial_read(Op *o, const Val *x, Spatial *s);
void spatial_kernel(Op *o, const Val *x, const Val *w, Spatial *s); // s->k from w, or the attribute kernel_shape
Ex extent_of(Ex k, Ex dil);                                         // (k-1)*dil + 1
Ex windows_end(const Spatial *s, int i); // where the last window ends, from the left padding on
Val *pad_or_crop(Op *o, Val *x, int axis, Ex lo, Ex hi, Val *value);  // negative constants crop
Val *windows(Op *o, Val *x, const Spatial *s, Val *value);            // [N, C, o1..on, k1..kn]
DType acc_type(DType dt);                                             // what sums of products of dt are kept in
Val *conv_of(Op *o, Val *x, Val *w, const Spatial *s, int64_t group); // without bias, in acc_type
Val *along_axis(Op *o, Val *v, int axis, int rank);                   // [n] -> [1.., n, 1..] with n at axis
Val *unsqueeze_n(Op *o, Val *x, int axis, int n);                     // n new axes of extent 1
Val *ex_scalar(Op *o, DType dt, Ex e);                                // rank 0

Val *gather_plain(Op *o, Val *x, Val *index, int axis); // take_along for indices known to be in range
Val *activation(Op *o, const char *name, Val *x, double alpha, double beta); // by ONNX's or com.microsoft's name

void dynamic_quantize_lstm(Op *o);  // rnn.c
Val *row_at(Op *o, Val *x, Val *i); // x[i] of x [T, B, N], i in range
void ms_rotary_embedding(Op *o);    // ms_attention.c
void ms_multi_head_attention(Op *o);
void ms_group_query_attention(Op *o);
void ms_attention(Op *o);
void simplified_layer_norm(Op *o); // microsoft.c; onnxruntime has it in the domain of ONNX, too
Val *average_of(Op *o, Val *x);    // pool.c: AveragePool by o's attributes

// norm.c: (x - mean) / sqrt(var + eps) over the axes from `axis` on, in x's type.
Val *normalize_over(Op *o, Val *x, int naxes, const int *axes, double eps, Val **mean, Val **inv_std);
Val *rms_over(Op *o, Val *x, int naxes, const int *axes, double eps, Val **inv_rms);

// quant.c: scales and zero points are scalars, [n] along axis, or blocks of `block` elements.
Val *quant_param(Op *o, Val *p, const Val *x, int64_t axis, int64_t block);
Val *quantize(Op *o, Val *x, Val *scale, Val *zero, DType dt, bool saturate); // round(x / scale) + zero, saturated
Val *dequantize(Op *o, Val *x, Val *scale, Val *zero);                        // (x - zero) * scale in f32
Val *quantize_dynamic(Op *o, Val *x, Val **scale, Val **zero);                // to u8 by the range of x and 0
Val *offset_int(Op *o, Val *x, Val *zero);                                    // x - zero in i32; zero may be NULL

// string.c
Val *call1(Op *o, const CallDef *def, int n, Val *const *in, int nargs, const int64_t *args, DType dt, int rank, const Ex *shape); // a call of one result
Val *cast_string(Op *o, Val *x, DType dt); // from strings, or to them

// find.c: the index of x among constants, or -1; of equal ones the last
Val *find_string(Op *o, Val *x, int64_t n, const DataStr *key);
Val *find_number(Op *o, Val *x, const Data *key); // x is cast to the keys' type; NaN is found too

// ml.c: constants, tables and transforms of the classical models.
Val *const_ints(Op *o, int n, const int64_t *v);            // i64 [n]
Val *const_floats(Op *o, DType dt, int n, const double *v); // [n]
Val *const_strs(Op *o, int n, const DataStr *v);            // [n]
Val *lookup(Op *o, Val *table, Val *index);                 // table[index], in range, for an index of any shape
Val *post_transform(Op *o, Val *scores, const char *name);  // of [N, n]
Val *second_class(Op *o, Val *score, const char *name, bool all_positive); // [N, 1] -> [N, 2], transformed
Val *class_labels(Op *o, Val *index, const char *ints_name); // index into classlabels_strings or the integers
int class_count(Op *o, const char *ints_name);
void tree_ensemble_classifier(Op *o); // tree.c
void tree_ensemble_regressor(Op *o);
void tree_ensemble(Op *o);

// attention.c: q [B, H, S, D], k [B, G, T, D], v [B, G, T, E], H a multiple of G.
typedef struct {
    Val *q, *k, *v;
    Val *allowed, *bias; // bool and added, each broadcasting to [B, H, S, T]; NULL: none
    double scale, softcap;
    DType softmax;                         // its precision; DT_NONE: that of sums
    Val *scores, *capped, *biased, *probs; // results on the way, [B, H, S, T]
} Attend;
Val *attend(Op *o, Attend *a);             // [B, H, S, E] in acc_type
Val *split_heads(Op *o, Val *x, Ex heads); // [B, S, H*D] -> [B, H, S, D]
Val *join_heads(Op *o, Val *x);            // and back
Val *allow_window(Op *o, Ex s, Ex t, Val *offset, int64_t left,
                  int64_t right);         // q - left <= k <= q + right, q = i + offset; -1: no bound
Val *both_allowed(Op *o, Val *a, Val *b); // either may be NULL
Val *rotate(Op *o, Val *x, Val *cos, Val *sin, int64_t dims,
            bool interleaved); // x [B, S, H, D], caches [B or 1, S, dims/2]

Val *matmul_any(Op *o, Val *a, Val *b); // matmul with the 1-D cases
#endif
