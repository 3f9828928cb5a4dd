// SPDX-License-Identifier: Apache-2.0
// Attention and rotary positions.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

Val *split_heads(Op *o, Val *x, Ex heads) {
    return swap_axes(o, split_axis(o, x, 2, heads, e_div(dim(x, 2), heads)), 1, 2);
}

Val *join_heads(Op *o, Val *x) { return merge_axes(o, swap_axes(o, x, 1, 2), 2, 2); }

Val *both_allowed(Op *o, Val *a, Val *b) { return a && b ? map2(o, FN_and, a, b) : a ? a : b; }

Val *allow_window(Op *o, Ex s, Ex t, Val *offset, int64_t left, int64_t right) {
    Val *q = unsqueeze(o, iota(o, I64, s), 1), *k = iota(o, I64, t), *in = NULL;
    if (offset) q = add(o, q, offset);
    if (right >= 0) in = map2(o, FN_le, k, right ? add(o, q, scalar_int(o, I64, right)) : q);
    if (left >= 0) in = both_allowed(o, in, map2(o, FN_le, q, add(o, k, scalar_int(o, I64, left))));
    return in;
}

/* a b over the last two axes; b's heads serve several of a's */
static Val *by_heads(Op *o, Val *a, Val *b) {
    Ex g = dim(b, 1);
    if (dim(a, 1) == g) return matmul(o, a, b);
    a = split_axis(o, a, 1, g, e_div(dim(a, 1), g));
    return merge_axes(o, matmul(o, a, unsqueeze(o, b, 2)), 1, 2);
}

/* softmax along the last axis; a row of -inf gives zeros */
static Val *softmax_masked(Op *o, Val *x) {
    int axis = x->rank - 1;
    Val *top = reduce_max(o, x, 1, &axis, true), *none = like(o, x, -INFINITY);
    top = select(o, map2(o, FN_eq, top, none), like(o, x, 0), top);
    Val *e = map1(o, FN_exp, sub(o, x, top)), *sum = reduce_sum(o, e, 1, &axis, true);
    return divide(o, e, select(o, map2(o, FN_eq, sum, like(o, sum, 0)), like(o, sum, 1), sum));
}

Val *attend(Op *o, Attend *a) {
    DType dt = acc_type(a->q->dt);
    Val *q = cast(o, a->q, dt), *k = cast(o, a->k, dt), *v = cast(o, a->v, dt);
    int last = 3;
    a->scores = by_heads(o, mul(o, q, like(o, q, a->scale)), swap_axes(o, k, 2, 3));
    Val *s = a->scores;
    if (a->softcap > 0) s = mul(o, map1(o, FN_tanh, divide(o, s, like(o, s, a->softcap))), like(o, s, a->softcap));
    a->capped = s;
    if (a->bias) s = add(o, s, cast(o, a->bias, dt));
    if (a->allowed) s = select(o, a->allowed, s, like(o, s, -INFINITY));
    a->biased = s;
    if (a->softmax != DT_NONE) s = cast(o, s, acc_type(a->softmax));
    a->probs = cast(o, a->bias || a->allowed ? softmax_masked(o, s) : softmax_of(o, s, 1, &last), dt);
    return by_heads(o, a->probs, v);
}

/* What may be seen by the mask, the causal order, the window and the lengths; a mask of numbers is added. */
static void read_masks(Op *o, Attend *a, Ex past) {
    Val *mask = input(o, 3), *len = input(o, 6);
    Ex s = dim(a->q, 2), t = dim(a->k, 2);
    int64_t left = attr_int_or(o, "left_window_size", -1), right = attr_int_or(o, "right_window_size", -1);
    if (mask) {
        Ex more = e_sub(t, dim(mask, -1));
        Val *none = mask->dt == BOOL ? scalar_int(o, BOOL, 0) : like(o, mask, -INFINITY);
        if (!e_is(more, 0) && !e_is(dim(mask, -1), 1) && o->since >= 24)
            mask = pad_or_crop(o, mask, mask->rank - 1, e_int(0), more, none);
        if (mask->dt == BOOL)
            a->allowed = mask;
        else
            a->bias = mask;
    }
    if (attr_int(o, "is_causal")) right = 0;
    Val *offset = NULL;
    if (len && !input(o, 4))
        offset = along_axis(o, sub(o, len, ex_scalar(o, I64, s)), 0, 4);
    else if (!e_is(past, 0))
        offset = ex_scalar(o, I64, past);
    if (left >= 0 || right >= 0) a->allowed = both_allowed(o, a->allowed, allow_window(o, s, t, offset, left, right));
    if (len) a->allowed = both_allowed(o, a->allowed, map2(o, FN_lt, iota(o, I64, t), along_axis(o, len, 0, 4)));
}

/* y = softmax(q k' * scale + mask) v, keys and values appended to the past ones */
static void attention(Op *o) {
    Val *q = o->in[0], *k = o->in[1], *v = o->in[2], *pk = input(o, 4), *pv = input(o, 5);
    bool flat = q->rank == 3;
    if ((q->rank != 3 && q->rank != 4) || k->rank != q->rank || v->rank != q->rank)
        op_fail(o, "the inputs need 3 or 4 dimensions each");
    if (flat) {
        Ex hq = e_int(attr_int(o, "q_num_heads")), hk = e_int(attr_int(o, "kv_num_heads"));
        q = split_heads(o, q, hq), k = split_heads(o, k, hk), v = split_heads(o, v, hk);
    }
    if (pk) k = concat(o, 2, (Val *[]){pk, k}, 2);
    if (pv) v = concat(o, 2, (Val *[]){pv, v}, 2);
    Attend a = {
        .q = q, .k = k, .v = v, .scale = attr_float_or(o, "scale", 0), .softcap = attr_float_or(o, "softcap", 0)};
    if (!attr_has(o, "scale")) a.scale = 1 / sqrt((double)need_const(o, dim(q, 3), "the size of a head"));
    a.softmax = (DType)attr_int_or(o, "softmax_precision", DT_NONE);
    read_masks(o, &a, pk ? dim(pk, 2) : e_int(0));
    Val *y = attend(o, &a);
    o->out[0] = cast(o, flat ? join_heads(o, y) : y, o->in[0]->dt);
    if (o->nout > 1) o->out[1] = k;
    if (o->nout > 2) o->out[2] = v;
    if (o->nout > 3) {
        Val *const stage[] = {a.scores, a.capped, a.biased, a.probs};
        int64_t mode = attr_int(o, "qk_matmul_output_mode");
        if (mode < 0 || mode > 3) op_fail(o, "qk_matmul_output_mode %lld is unknown", (long long)mode);
        o->out[3] = cast(o, stage[mode], o->in[0]->dt);
    }
}

Val *rotate(Op *o, Val *x, Val *cos, Val *sin, int64_t dims, bool interleaved) {
    Ex half = e_int(dims / 2), two = e_int(interleaved ? 2 : 1);
    Val *rest = NULL, *r = x;
    int last = x->rank - 1;
    if (!e_is(dim(x, last), dims)) {
        rest = slice(o, x, last, e_int(dims), e_sub(dim(x, last), e_int(dims)), e_int(1));
        r = slice(o, x, last, e_int(0), e_int(dims), e_int(1));
    }
    Val *a = slice(o, r, last, e_int(0), half, two), *b = slice(o, r, last, interleaved ? e_int(1) : half, half, two);
    cos = unsqueeze(o, cos, 2), sin = unsqueeze(o, sin, 2);
    Val *re = sub(o, mul(o, cos, a), mul(o, sin, b)), *im = add(o, mul(o, sin, a), mul(o, cos, b));
    if (interleaved) {
        re = unsqueeze(o, re, last + 1), im = unsqueeze(o, im, last + 1);
        r = merge_axes(o, concat(o, 2, (Val *[]){re, im}, last + 1), last, 2);
    } else {
        r = concat(o, 2, (Val *[]){re, im}, last);
    }
    return rest ? concat(o, 2, (Val *[]){r, rest}, last) : r;
}

/* pairs (a, b) of the first dims of a head become (a cos - b sin, a sin + b cos) at each position */
static void rotary_embedding(Op *o) {
    Val *x = o->in[0], *cos = o->in[1], *sin = o->in[2], *pos = input(o, 3), *y;
    bool flat = x->rank == 3;
    if (x->rank != 3 && x->rank != 4) op_fail(o, "input 0 has %d dimensions, needs 3 or 4", x->rank);
    if (flat) {
        Ex heads = e_int(attr_int(o, "num_heads"));
        y = split_axis(o, x, 2, heads, e_div(dim(x, 2), heads));
    } else {
        y = swap_axes(o, x, 1, 2);
    }
    if (pos) {
        cos = take(o, cos, pos, 0);
        sin = take(o, sin, pos, 0);
    }
    int64_t dims = attr_int_or(o, "rotary_embedding_dim", 0);
    if (dims == 0) dims = need_const(o, dim(y, 3), "the size of a head");
    y = rotate(o, y, cos, sin, dims, attr_int_or(o, "interleaved", 0) != 0);
    o->out[0] = flat ? merge_axes(o, y, 2, 2) : swap_axes(o, y, 1, 2);
}

// ---- LinearAttention: a loop over time with a state [B, H, D, E] -------------------------------------------------

typedef struct {
    Val *q, *k, *v, *decay, *beta;
} Step; // [T, B, columns] outside of the loop, [B, columns] inside

static Val *time_first(Op *o, Val *x, DType dt) {
    if (x && x->rank != 3) op_fail(o, "an input has %d dimensions, needs 3", x->rank);
    return x ? swap_axes(o, cast(o, x, dt), 0, 1) : NULL;
}

/* s = s e^g; v = beta (v - s' k); s += k v'; y = scale q' s */
static Val *linear_step(Op *o, const Step *x, Ex heads, double scale, Val **state) {
    Val *s = *state, *k = split_axis(o, x->k, 1, heads, e_div(dim(x->k, 1), heads)),
        *v = split_axis(o, x->v, 1, heads, dim(s, 3));
    Ex group = e_div(dim(x->q, 1), e_mul(heads, dim(s, 2)));
    Val *q =
        split_axis(o, split_axis(o, x->q, 1, heads, e_div(dim(x->q, 1), heads)), 2, group, dim(s, 2)); // [B, H, G, D]
    if (x->decay) {
        Val *g = split_axis(o, x->decay, 1, heads, e_div(dim(x->decay, 1), heads));
        s = mul(o, s, unsqueeze(o, map1(o, FN_exp, g), 3));
    }
    if (x->beta) {
        Val *seen = reduce_sum(o, mul(o, s, unsqueeze(o, k, 3)), 1, (int[]){2}, false);
        v = mul(o, unsqueeze(o, x->beta, 2), sub(o, v, seen));
    }
    s = *state = add(o, s, mul(o, unsqueeze(o, k, 3), unsqueeze(o, v, 2)));
    Val *y = mul(o, unsqueeze(o, q, 4), unsqueeze(o, s, 2)); // [B, H, G, D, E]
    y = reduce_sum(o, y, 1, (int[]){3}, false);
    return merge_axes(o, mul(o, y, like(o, y, scale)), 1, 3);
}

static void linear_attention(Op *o) {
    const char *rule = attr_str(o, "update_rule");
    Val *past = input(o, 3), *decay = input(o, 4), *beta = input(o, 5);
    bool gated = !strncmp(rule, "gated", 5), delta = strstr(rule, "delta") != NULL;
    if (gated != (decay != NULL) || delta != (beta != NULL))
        op_fail(o, "decay or beta do not fit update_rule %s", rule);
    DType dt = acc_type(o->in[0]->dt);
    Step x = {time_first(o, o->in[0], dt), time_first(o, o->in[1], dt), time_first(o, o->in[2], dt),
              time_first(o, decay, dt), time_first(o, beta, dt)};
    Ex heads = e_int(attr_int(o, "kv_num_heads")), trip = dim(x.q, 0);
    Ex shape[4] = {dim(x.q, 1), heads, e_div(dim(x.k, 2), heads), e_div(dim(x.v, 2), heads)};
    double scale = attr_float(o, "scale");
    if (scale == 0) scale = 1 / sqrt((double)need_const(o, shape[2], "the size of a head"));
    Val *init = past ? reshape(o, cast(o, past, dt), 4, shape) : full(o, dt, 0, 4, shape);
    Op in = *o;
    in.g = b_loop_body(o->g);
    Val *i = in.g->in[0];
    Val *s = b_param(in.g, init), *cap[5] = {x.q, x.k, x.v, x.decay, x.beta}, *row[5] = {NULL}, *held[5];
    int n = 0;
    for (int j = 0; j < 5; j++) {
        if (!cap[j]) continue;
        row[j] = row_at(&in, b_param(in.g, cap[j]), i);
        held[n++] = cap[j];
    }
    Val *y = linear_step(&in, &(Step){row[0], row[1], row[2], row[3], row[4]}, heads, scale, &s);
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    graph_output(in.g, s, "state");
    graph_output(in.g, y, "y");
    Node *loop = b_loop(o->g, b_dims(o->g, I64, 0, NULL, &trip), scalar_int(o, BOOL, 1), 1, &init, n, held, in.g);
    o->out[0] = cast(o, swap_axes(o, &loop->out[1], 0, 1), o->in[0]->dt);
    if (o->nout > 1) o->out[1] = cast(o, &loop->out[0], past ? past->dt : o->in[0]->dt);
}

/* y = prob_mod(softmax(score_mod(q k' * scale))) v */
static void flex_attention(Op *o) {
    Val *q = o->in[0], *k = o->in[1], *v = o->in[2], *out = NULL;
    DType dt = acc_type(q->dt), soft = (DType)attr_int_or(o, "softmax_precision", dt);
    int last = 3;
    if (q->rank != 4 || k->rank != 4 || v->rank != 4) op_fail(o, "the inputs need 4 dimensions each");
    double scale = attr_float_or(o, "scale", 0);
    if (!attr_has(o, "scale")) scale = 1 / sqrt((double)need_const(o, dim(q, 3), "the size of a head"));
    Val *s = by_heads(o, mul(o, cast(o, q, dt), scalar(o, dt, scale)), swap_axes(o, cast(o, k, dt), 2, 3));
    s = cast(o, s, soft);
    if (attr_has(o, "score_mod")) {
        attr_inline(o, "score_mod", o->g, 1, &s, &out, NULL);
        s = cast(o, out, soft);
    }
    s = softmax_of(o, s, 1, &last);
    if (attr_has(o, "prob_mod")) {
        attr_inline(o, "prob_mod", o->g, 1, &s, &out, NULL);
        s = cast(o, out, soft);
    }
    DType acc = acc_type(soft);
    o->out[0] = cast(o, by_heads(o, cast(o, s, acc), cast(o, v, acc)), v->dt);
}

const OpDef ops_attention[] = {
    {"Attention", 23, attention},
    {"RotaryEmbedding", 23, rotary_embedding},
    {"LinearAttention", 27, linear_attention},
    {NULL, 0, NULL},
};

const OpDef ops_preview[] = {
    {"FlexAttention", 1, flex_attention},
    {NULL, 0, NULL},
};
