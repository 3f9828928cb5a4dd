// SPDX-License-Identifier: Apache-2.0
// com.microsoft: the forms of attention.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

static Val *need(Op *o, int i) {
    if (!input(o, i)) op_fail(o, "input %d is missing", i);
    return o->in[i];
}

static void set_out(Op *o, int i, Val *v) {
    if (i < o->nout) o->out[i] = v;
}

static double scale_of(Op *o, const Val *q) {
    double s = attr_float_or(o, "scale", 0);
    return s != 0 ? s : 1 / sqrt((double)need_const(o, dim(q, 3), "the size of a head"));
}

/* n of the last axis from `at` on */
static Val *columns(Op *o, Val *x, Ex at, Ex n) { return slice(o, x, x->rank - 1, at, n, e_int(1)); }

/* Rotary positions from caches of all positions; one position counts on from there. */
void ms_rotary_embedding(Op *o) {
    Val *x = need(o, 0), *pos = need(o, 1), *cos = need(o, 2), *sin = need(o, 3), *y;
    int64_t heads = attr_int_or(o, "num_heads", 0), dims = attr_int_or(o, "rotary_embedding_dim", 0), one;
    bool flat = x->rank == 3;
    if (flat) {
        Ex size = heads ? e_div(dim(x, 2), e_int(heads)) : e_scale(dim(cos, 1), 2);
        y = split_axis(o, x, 2, heads ? e_int(heads) : e_div(dim(x, 2), size), size);
    } else {
        y = swap_axes(o, x, 1, 2);
    }
    Ex s = dim(y, 1);
    if (pos->rank == 0 || (pos->rank == 1 && dim_const(pos, 0, &one) && one == 1)) {
        pos = pos->rank ? squeeze(o, pos, 0) : pos;
        pos = unsqueeze(o, add(o, iota(o, I64, s), cast(o, pos, I64)), 0);
    }
    if (dims == 0) dims = 2 * need_const(o, dim(cos, 1), "the width of the caches");
    y = rotate(o, y, take(o, cos, pos, 0), take(o, sin, pos, 0), dims, attr_int_or(o, "interleaved", 0) != 0);
    o->out[0] = flat ? merge_axes(o, y, 2, 2) : swap_axes(o, y, 1, 2);
}

/* The keys that a mask allows: lengths [B], or 1 and 0 as [B, T], [B, S, T] or [B, 1, S, T] */
static void read_mask(Op *o, Attend *a, Val *mask, double filtered) {
    Ex t = dim(a->k, 2);
    Val *ok;
    if (!mask) return;
    if (mask->rank == 1) {
        int64_t n, batch;
        if (dim_const(mask, 0, &n) && dim_const(a->q, 0, &batch) && n != batch)
            op_fail(o, "a mask of ends and starts is not supported");
        ok = map2(o, FN_lt, iota(o, I64, t), along_axis(o, cast(o, mask, I64), 0, 4));
    } else {
        ok = cast(o, mask, BOOL);
        for (; ok->rank < 4;) ok = unsqueeze(o, ok, 1);
    }
    Val *zero = scalar(o, F32, 0), *add_ = select(o, ok, zero, scalar(o, F32, filtered));
    a->bias = a->bias ? add(o, cast(o, a->bias, F32), add_) : add_;
}

/* [B, S, H, 3, D] or [B, T, H, 2, D] taken apart */
static Val *packed_part(Op *o, Val *x, int64_t i) { return swap_axes(o, squeeze(o, slice1(o, x, 3, i), 3), 1, 2); }

/* y = softmax(q k' scale + mask) v of projected inputs; packed forms, biases, caches */
void ms_multi_head_attention(Op *o) {
    Val *q = need(o, 0), *k = input(o, 1), *v = input(o, 2), *b = input(o, 3), *pk = input(o, 6), *pv = input(o, 7);
    Ex heads = e_int(attr_int(o, "num_heads"));
    DType dt = q->dt;
    if (q->rank == 5) {
        Val *all = q;
        q = packed_part(o, all, 0), k = packed_part(o, all, 1), v = packed_part(o, all, 2);
    } else {
        Ex hidden = dim(q, 2);
        if (b) q = add(o, q, columns(o, b, e_int(0), hidden));
        q = split_heads(o, q, heads);
        if (k && k->rank == 5) {
            v = packed_part(o, k, 1), k = packed_part(o, k, 0);
        } else if (k && v && k->rank == 3) {
            if (b) {
                k = add(o, k, columns(o, b, hidden, hidden));
                v = add(o, v, columns(o, b, e_scale(hidden, 2), dim(v, 2)));
            }
            k = split_heads(o, k, heads), v = split_heads(o, v, heads);
        } else if (!k || !v) {
            op_fail(o, "keys and values are missing");
        }
    }
    Ex past = e_int(0);
    if (pk && pv) {
        past = dim(pk, 2);
        k = concat(o, 2, (Val *[]){pk, k}, 2), v = concat(o, 2, (Val *[]){pv, v}, 2);
    }
    Attend a = {.q = q, .k = k, .v = v, .scale = scale_of(o, q), .bias = input(o, 5)};
    read_mask(o, &a, input(o, 4), attr_float_or(o, "mask_filter_value", -10000));
    if (attr_int_or(o, "unidirectional", 0))
        a.allowed = allow_window(o, dim(q, 2), dim(k, 2), ex_scalar(o, I64, past), -1, 0);
    o->out[0] = cast(o, join_heads(o, attend(o, &a)), dt);
    set_out(o, 1, k);
    set_out(o, 2, v);
}

/* q, k, v = x w + b; y = softmax(q k' scale + mask) v; past and present [2, B, H, T, D] */
void ms_attention(Op *o) {
    Val *x = need(o, 0), *w = need(o, 1), *b = input(o, 2), *past = input(o, 4), *y;
    Ex heads = e_int(attr_int(o, "num_heads")), size[3], before = e_int(0), total = dim(w, 1);
    const int64_t *sizes = NULL;
    int n = attr_ints(o, "qkv_hidden_sizes", &sizes);
    if (attr_int_or(o, "do_rotary", 0) || attr_int_or(o, "past_present_share_buffer", 0))
        op_fail(o, "do_rotary and past_present_share_buffer are not supported");
    for (int i = 0; i < 3; i++) size[i] = n == 3 ? e_int(sizes[i]) : e_div(total, e_int(3));
    y = matmul(o, x, w);
    if (b) y = add(o, y, b);
    Val *q = split_heads(o, columns(o, y, e_int(0), size[0]), heads),
        *k = split_heads(o, columns(o, y, size[0], size[1]), heads);
    Val *v = split_heads(o, columns(o, y, e_add(size[0], size[1]), size[2]), heads);
    if (past) {
        before = dim(past, 3);
        k = concat(o, 2, (Val *[]){squeeze(o, slice1(o, past, 0, 0), 0), k}, 2);
        v = concat(o, 2, (Val *[]){squeeze(o, slice1(o, past, 0, 1), 0), v}, 2);
    }
    Attend a = {.q = q, .k = k, .v = v, .scale = scale_of(o, q), .bias = input(o, 5)};
    read_mask(o, &a, input(o, 3), attr_float_or(o, "mask_filter_value", -10000));
    if (attr_int_or(o, "unidirectional", 0))
        a.allowed = allow_window(o, dim(q, 2), dim(k, 2), ex_scalar(o, I64, before), -1, 0);
    o->out[0] = cast(o, join_heads(o, attend(o, &a)), x->dt);
    if (o->nout > 1) o->out[1] = concat(o, 2, (Val *[]){unsqueeze(o, k, 0), unsqueeze(o, v, 0)}, 0);
}

/* causal attention with fewer key heads; keys are appended to the past, sequence b has seqlens[b] + 1 keys */
void ms_group_query_attention(Op *o) {
    Val *x = need(o, 0), *k = input(o, 1), *v = input(o, 2), *pk = input(o, 3), *pv = input(o, 4), *q = x;
    Val *len = cast(o, need(o, 5), I64);
    int64_t hq = attr_int(o, "num_heads"), hk = attr_int(o, "kv_num_heads"),
            window_ = attr_int_or(o, "local_window_size", -1);
    if (attr_int_or(o, "smooth_softmax", 0) > 0 || input(o, 11))
        op_fail(o, "smooth_softmax and head sinks are not supported");
    if (!k) { // packed
        Ex d = e_div(dim(x, 2), e_int(hq + 2 * hk)), nq = e_scale(d, hq), nk = e_scale(d, hk);
        q = columns(o, x, e_int(0), nq), k = columns(o, x, nq, nk), v = columns(o, x, e_add(nq, nk), nk);
    }
    Ex s = dim(q, 1), past = pk ? dim(pk, 2) : e_int(0);
    if (len->rank != 1) len = reshape(o, len, 1, (Ex[]){dim(x, 0)});
    q = split_axis(o, q, 2, e_int(hq), e_div(dim(q, 2), e_int(hq)));
    k = split_axis(o, k, 2, e_int(hk), e_div(dim(k, 2), e_int(hk)));
    if (attr_int_or(o, "do_rotary", 0)) {
        Val *cos = need(o, 7), *sin = need(o, 8), *pos = input(o, 9);
        if (!pos) pos = unsqueeze(o, add(o, iota(o, I64, s), ex_scalar(o, I64, past)), 0);
        int64_t dims = 2 * need_const(o, dim(cos, 1), "the width of the caches");
        bool pairs = attr_int_or(o, "rotary_interleaved", 0) != 0;
        cos = take(o, cos, pos, 0), sin = take(o, sin, pos, 0);
        q = rotate(o, q, cos, sin, dims, pairs), k = rotate(o, k, cos, sin, dims, pairs);
    }
    q = swap_axes(o, q, 1, 2), k = swap_axes(o, k, 1, 2), v = split_heads(o, v, e_int(hk));
    if (pk && pv && !e_is(past, 0)) k = concat(o, 2, (Val *[]){pk, k}, 2), v = concat(o, 2, (Val *[]){pv, v}, 2);
    Attend a = {.q = q,
                .k = k,
                .v = v,
                .scale = scale_of(o, q),
                .softcap = attr_float_or(o, "softcap", 0),
                .bias = input(o, 10)};
    a.allowed = allow_window(o, s, dim(k, 2), ex_scalar(o, I64, past), window_ > 0 ? window_ - 1 : -1, 0);
    Val *filled = map2(o, FN_le, iota(o, I64, dim(k, 2)), along_axis(o, len, 0, 4));
    a.allowed = both_allowed(o, a.allowed, filled);
    o->out[0] = cast(o, join_heads(o, attend(o, &a)), x->dt);
    set_out(o, 1, k);
    set_out(o, 2, v);
}
