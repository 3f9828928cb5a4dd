// SPDX-License-Identifier: Apache-2.0
// Rules over map.
#include "opt/simplify.h"
#include <math.h>
#include <stdlib.h>

// A map of these operands, simplified in turn where it is new.
static Val *map1(Graph *g, Fn fn, DType to, Val *a) { return simplify_value(g, b_map(g, fn, to, 1, (Val *[]){ a })); }
static Val *map2(Graph *g, Fn fn, Val *a, Val *b) { return simplify_value(g, b_map(g, fn, DT_NONE, 2, (Val *[]){ a, b })); }

static bool is_map(const Val *v, Fn fn) { return v->node->op == P_map && v->node->fn == (int)fn; }

static Val *splat_like(Graph *g, const Val *v, Scalar s) { return splat_of(g, v->dt, v->rank, v->shape, s); }

static bool commutes(Fn fn) {
    switch (fn) {
    case FN_add: case FN_mul: case FN_min: case FN_max: case FN_eq: case FN_and: case FN_or: case FN_xor: return true;
    default: return false;
    }
}

// The one value of a type that the function leaves its first operand alone with.
static bool is_neutral(Fn fn, DType dt, Scalar s) {
    bool f = dt_is_float(dt);
    int64_t ones = dt == BOOL ? 1 : wrap_to(dt, -1);
    switch (fn) {
    case FN_add: return f ? s.f == 0 && signbit(s.f) : s.i == 0; // 0 + -0 is 0
    case FN_sub: return f ? s.f == 0 && !signbit(s.f) : s.i == 0;
    case FN_mul: case FN_div: case FN_pow: return f ? s.f == 1 : s.i == 1;
    case FN_max: return f && s.f < 0 && isinf(s.f);
    case FN_min: return f && s.f > 0 && isinf(s.f);
    case FN_or: case FN_xor: case FN_shl: case FN_shr: return s.i == 0;
    case FN_and: return s.i == ones;
    default: return false;
    }
}

// A value that decides the result alone (never of floats, where NaN is to come through).
static bool is_absorbing(Fn fn, DType dt, Scalar s) {
    if (dt_is_float(dt)) return false;
    switch (fn) {
    case FN_mul: case FN_and: return s.i == 0;
    case FN_or: return s.i == (dt == BOOL ? 1 : wrap_to(dt, -1));
    default: return false;
    }
}

// x op splat.
static Val *with_splat(Graph *g, Val *v, Fn fn, Val *x, Scalar s) {
    DType dt = x->dt;
    if (is_neutral(fn, dt, s)) return x;
    if (is_absorbing(fn, dt, s)) return splat_like(g, v, s);
    if ((fn == FN_mul || fn == FN_div) && (dt_is_float(dt) ? s.f == -1 : dt_is_signed(dt) && s.i == -1)) return map1(g, FN_neg, DT_NONE, x);
    if (fn == FN_pow && dt_is_float(dt) && s.f == 0) return splat_like(g, v, (Scalar){ .f = 1 });
    if (fn == FN_pow && (dt_is_float(dt) ? s.f == 2 : s.i == 2)) return map2(g, FN_mul, x, x);
    if (fn == FN_pow && (dt == F32 || dt == F64) && s.f == 3 && !simplify_exact) return map2(g, FN_mul, map2(g, FN_mul, x, x), x); // within 1 ULP, as pow is
    if (fn == FN_sub && dt_is_int(dt)) return map2(g, FN_add, x, splat_like(g, v, (Scalar){ .i = (int64_t)(0 - (uint64_t)s.i) }));
    if (fn == FN_div && (dt == F32 || dt == F64)) { // by a power of two: its reciprocal is exact
        int e;
        double m = frexp(s.f, &e), r = 1 / s.f;
        if (isfinite(s.f) && fabs(m) == 0.5 && abs(e) < 120) return map2(g, FN_mul, x, splat_like(g, v, (Scalar){ .f = r }));
    }
    if (fn == FN_eq && dt == BOOL) return s.i ? x : map1(g, FN_not, DT_NONE, x);
    if (fn == FN_xor && dt == BOOL && s.i) return map1(g, FN_not, DT_NONE, x);
    return NULL;
}

// (x op c1) op c2, where the order does not matter to any bit.
static Val *constants_meet(Graph *g, Val *v, Fn fn, Val *x, Scalar s) {
    Scalar t;
    DType dt = x->dt;
    bool exact = !dt_is_float(dt) ? fn == FN_add || fn == FN_mul || fn == FN_and || fn == FN_or || fn == FN_xor : false;
    if (fn == FN_min || fn == FN_max) exact = !dt_is_float(dt) || (!isnan(s.f) && s.f != 0); // zeros have signs
    if (!exact || !is_map(x, fn) || !is_splat(x->node->in[1], &t) || (dt_is_float(dt) && (isnan(t.f) || t.f == 0))) return NULL;
    Scalar c = fn_eval(fn, dt, dt, (Scalar[]){ t, s });
    return map2(g, fn, x->node->in[0], splat_like(g, v, c));
}

// x op x.
static Val *with_itself(Graph *g, Val *v, Fn fn, Val *x) {
    bool f = dt_is_float(x->dt);
    switch (fn) {
    case FN_min: case FN_max: case FN_and: case FN_or: return x;
    case FN_sub: case FN_xor: return f ? NULL : splat_like(g, v, (Scalar){ .i = 0 });
    case FN_eq: case FN_le: return f ? NULL : splat_like(g, v, (Scalar){ .i = 1 });
    case FN_lt: return splat_like(g, v, (Scalar){ .i = 0 });
    default: return NULL;
    }
}

static Val *negated(Graph *g, Fn fn, Val *a, Val *b) {
    Scalar s;
    if (fn == FN_add && is_map(b, FN_neg)) return map2(g, FN_sub, a, b->node->in[0]);
    if (fn == FN_add && is_map(a, FN_neg)) return map2(g, FN_sub, b, a->node->in[0]);
    if (fn == FN_sub && is_map(b, FN_neg)) return map2(g, FN_add, a, b->node->in[0]);
    if ((fn == FN_mul || fn == FN_div) && is_map(a, FN_neg) && is_map(b, FN_neg)) return map2(g, fn, a->node->in[0], b->node->in[0]);
    if (fn == FN_sub && is_splat(a, &s) && (dt_is_float(a->dt) ? s.f == 0 && signbit(s.f) : s.i == 0))
        return map1(g, FN_neg, DT_NONE, b);
    return NULL;
}

static Val *binary(Graph *g, Val *v, Fn fn, Val *a, Val *b) {
    Scalar s, t;
    Val *r = NULL;
    bool ca = is_splat(a, &s), cb = is_splat(b, &t);
    if (ca && cb) return splat_like(g, v, fn_eval(fn, v->dt, a->dt, (Scalar[]){ s, t }));
    if (ca && commutes(fn)) return map2(g, fn, b, a); // constants stand right
    if (a == b && (r = with_itself(g, v, fn, a))) return r;
    if (cb && (r = with_splat(g, v, fn, a, t))) return r;
    if (cb && (r = constants_meet(g, v, fn, a, t))) return r;
    return negated(g, fn, a, b);
}

static bool is_rounding(Fn fn) { return fn == FN_floor || fn == FN_ceil || fn == FN_round || fn == FN_trunc; }

static Val *unary(Graph *g, Fn fn, Val *x) {
    const Node *m = x->node;
    if (m->op != P_map || fn_info[m->fn].arity != 1) return NULL;
    Fn inner = (Fn)m->fn;
    if ((fn == FN_neg || fn == FN_not) && inner == fn) return m->in[0];
    if ((fn == FN_abs || fn == FN_sign) && inner == fn) return x;
    if (fn == FN_abs && inner == FN_neg) return map1(g, fn, DT_NONE, m->in[0]);
    if (fn == FN_abs && (inner == FN_exp || inner == FN_sigmoid)) return x;
    if (is_rounding(fn) && is_rounding(inner)) return x;
    if ((fn == FN_isnan || fn == FN_isinf || fn == FN_cos || fn == FN_cosh) && (inner == FN_neg || inner == FN_abs))
        return map1(g, fn, DT_NONE, m->in[0]);
    return NULL;
}

// ---- casts ------------------------------------------------------------------------------------------

typedef struct { int digits, emin, emax; } Range; // of a float type: bits of the significand, exponents

static Range float_range(DType dt) {
    switch (dt) {
    case F64: return (Range){ 53, -1074, 1023 };
    case F32: return (Range){ 24, -149, 127 };
    case F16: return (Range){ 11, -24, 15 };
    case BF16: return (Range){ 8, -133, 127 };
    case F8E4M3FN: return (Range){ 4, -9, 8 };
    case F8E5M2: return (Range){ 3, -16, 15 };
    default: return (Range){ 0, 0, 0 };
    }
}

// Whether `to` has every value of `from`.
static bool holds(DType to, DType from) {
    if (to == from) return true;
    if (from == BOOL) return dt_is_int(to) || float_range(to).digits > 0;
    if (dt_is_int(from) && dt_is_int(to))
        return dt_is_signed(from) ? dt_is_signed(to) && dt_bits(to) >= dt_bits(from) : dt_bits(to) >= dt_bits(from) + (dt_is_signed(to) ? 1 : 0);
    Range t = float_range(to), f = float_range(from);
    if (dt_is_int(from)) return t.digits && dt_bits(from) - dt_is_signed(from) <= t.digits && dt_bits(from) <= t.emax;
    bool both16 = from == F8E4M3FN && to == F8E5M2;
    return f.digits && t.digits && !both16 && t.digits >= f.digits && t.emin <= f.emin && t.emax >= f.emax;
}

// A -> B -> C as A -> C.
static Val *cast_of_cast(Graph *g, Val *v, Val *x) {
    const Node *m = x->node;
    if (m->op != P_map || (m->fn != FN_cast && m->fn != FN_castsat)) return NULL;
    DType a = m->in[0]->dt, b = x->dt, c = v->dt;
    bool low = dt_is_int(a) && dt_is_int(b) && dt_is_int(c) && dt_bits(c) <= dt_bits(b); // low bits of low bits
    if (!holds(b, a) && !low) return NULL;
    if (a == F8E5M2 && c == a && v->node->fn == FN_cast) return NULL; // saturation takes its infinities
    return map1(g, (Fn)v->node->fn, c, m->in[0]);
}

// A float clipped to what the integer type holds, where the conversion saturates.
static Val *cast_of_clip(Graph *g, Val *v, Val *x) {
    const int bits = dt_bits(v->dt), sign = dt_is_signed(v->dt);
    Scalar s;
    if (!dt_is_int(v->dt) || (bits != 8 && bits != 16) || !dt_is_float(x->dt)) return NULL;
    if ((!is_map(x, FN_min) && !is_map(x, FN_max)) || !is_splat(x->node->in[1], &s)) return NULL;
    const double limit = is_map(x, FN_min) ? (1 << (bits - sign)) - 1 : sign ? -(1 << (bits - 1)) : 0;
    return s.f == limit ? map1(g, (Fn)v->node->fn, v->dt, x->node->in[0]) : NULL;
}

static Val *cast(Graph *g, Val *v) {
    Val *x = v->node->in[0], *r;
    if (v->dt == x->dt) return x;
    if (v->node->fn != FN_bitcast && (r = cast_of_clip(g, v, x))) return r;
    if (v->node->fn != FN_bitcast) return cast_of_cast(g, v, x);
    return is_map(x, FN_bitcast) ? map1(g, FN_bitcast, v->dt, x->node->in[0]) : NULL;
}

static Val *select_of(Graph *g, Val *v) {
    Val *c = v->node->in[0], *a = v->node->in[1], *b = v->node->in[2];
    Scalar s, t;
    if (a == b) return a;
    if (is_splat(c, &s)) return s.i ? a : b;
    if (is_map(c, FN_not)) return simplify_value(g, b_map(g, FN_select, DT_NONE, 3, (Val *[]){ c->node->in[0], b, a }));
    if (v->dt == BOOL && is_splat(a, &s) && is_splat(b, &t) && s.i != t.i) return s.i ? c : map1(g, FN_not, DT_NONE, c);
    return NULL;
}

// ---- maps of expanded operands -------------------------------------------------------------------------

// Operands that are all expanded, or splats: the map is done before it is expanded along the axes that none of them has.
static Val *before_expand(Graph *g, Val *v) {
    const Node *n = v->node;
    Ex shape[MAX_RANK];
    Val *in[3];
    Scalar s;
    bool any = false, less = false;
    for (int i = 0; i < v->rank; i++) shape[i] = e_int(1);
    for (int k = 0; k < n->nin; k++) {
        const Node *m = n->in[k]->node;
        if (is_splat(n->in[k], &s)) continue;
        if (m->op != P_expand) return NULL;
        any = true;
        for (int i = 0; i < v->rank; i++)
            if (!e_is(m->in[0]->shape[i], 1)) shape[i] = v->shape[i];
    }
    for (int i = 0; i < v->rank; i++) less |= shape[i] != v->shape[i];
    if (!any || !less) return NULL;
    for (int k = 0; k < n->nin; k++)
        in[k] = is_splat(n->in[k], &s) ? splat_of(g, n->in[k]->dt, v->rank, shape, s) : b_expand(g, n->in[k]->node->in[0], shape);
    return b_expand(g, simplify_value(g, b_map(g, (Fn)n->fn, v->dt, n->nin, in)), v->shape);
}

Val *rules_map(Graph *g, Val *v) {
    const Node *n = v->node;
    if (n->op != P_map) return NULL;
    Val *r;
    Scalar s;
    FnResult kind = fn_info[n->fn].result;
    if (n->nin == 1 && !dt_is_moved(n->in[0]->dt) && is_splat(n->in[0], &s)) return splat_like(g, v, fn_eval((Fn)n->fn, v->dt, n->in[0]->dt, &s));
    if (kind == R_CAST) r = cast(g, v);
    else if (kind == R_SELECT) r = select_of(g, v);
    else if (n->nin == 1) r = unary(g, (Fn)n->fn, n->in[0]);
    else r = binary(g, v, (Fn)n->fn, n->in[0], n->in[1]);
    return r ? r : before_expand(g, v);
}
