// SPDX-License-Identifier: Apache-2.0
// Derivatives of the scalar functions, one row each in a table by function. At kinks they are what
// training expects: 0 for abs and relu, 1 for a clamp at its bounds, halves where two computed operands
// are equal, 0 for what is constant but for steps.
#include "train/train.h"

#include <math.h>

typedef Val *Rule(const Chain *c);

#define A (c->x[0])
#define B (c->x[1])
#define LIKE(v) splat_like(c->g, c->y, (v))
#define MUL(a, b) fn2(c->g, FN_mul, (a), (b))
#define DIV(a, b) fn2(c->g, FN_div, (a), (b))
#define ADD(a, b) fn2(c->g, FN_add, (a), (b))
#define SUB(a, b) fn2(c->g, FN_sub, (a), (b))
#define FN1(fn, a) fn1(c->g, FN_##fn, (a))
#define NEG(a) FN1(neg, a)
#define SQUARE(a) MUL((a), (a))

static Val *d_none(const Chain *c) { return (void)c, NULL; }
static Val *d_add(const Chain *c) { return c->dy; }
static Val *d_sub(const Chain *c) { return c->k ? NEG(c->dy) : c->dy; }
static Val *d_mul(const Chain *c) { return MUL(c->dy, c->x[1 - c->k]); }
static Val *d_neg(const Chain *c) { return NEG(c->dy); }

// y = a/b: 1/b, -y/b
static Val *d_div(const Chain *c) { return c->k ? NEG(DIV(MUL(c->dy, c->y), B)) : DIV(c->dy, B); }

// remainders a - q*b with a step function q: 1, -q
static Val *d_remainder(const Chain *c) {
    if (!c->k) return c->dy;
    return NEG(MUL(c->dy, fn1(c->g, c->n->fn == FN_mod ? FN_floor : FN_trunc, DIV(A, B))));
}

static bool is_constant(const Val *v) {
    for (;; v = v->node->in[0]) {
        switch (v->node->op) {
        case P_const: return true;
        case P_reshape: case P_permute: case P_expand: case P_slice: case P_copy: break;
        default: return false;
        }
    }
}

// The operand that decides where an extremum took `own`: beside a constant as the right operand the result
// does as well (max(x, c) > c as x > c), and is what need not be kept beside it.
static Val *decider(const Chain *c, bool constant) { return constant && !c->k ? c->y : c->x[c->k]; }

// max, min: 1 where this operand is taken; where both are equal 1/2, but beside a constant 0 as the left
// operand (relu: max(x, 0)) and 1 as the right one (Clip: max(bound, x))
static Val *d_extremum(const Chain *c) {
    Val *own = c->x[c->k], *other = c->x[1 - c->k], *zero = LIKE(0);
    bool max = c->n->fn == FN_max, constant = is_constant(other);
    if (own == other) return scaled(c->g, c->dy, 0.5);
    Fn less = constant && c->k ? FN_le : FN_lt;
    Val *by = decider(c, constant), *taken = max ? fn2(c->g, less, other, by) : fn2(c->g, less, by, other);
    if (!constant) zero = select_of(c->g, fn2(c->g, FN_eq, own, other), scaled(c->g, c->dy, 0.5), zero);
    return select_of(c->g, taken, c->dy, zero);
}

// a^b: b*a^(b-1), 0 for b = 0; y*log(a), 0 for a = 0, b >= 0
static Val *d_pow(const Chain *c) {
    Val *zero = LIKE(0);
    if (!c->k) {
        Val *d = MUL(c->dy, MUL(B, fn2(c->g, FN_pow, A, SUB(B, LIKE(1)))));
        return select_of(c->g, fn2(c->g, FN_eq, B, zero), zero, d);
    }
    Val *edge = fn2(c->g, FN_and, fn2(c->g, FN_eq, A, zero), fn2(c->g, FN_le, zero, B));
    return select_of(c->g, edge, zero, MUL(c->dy, MUL(c->y, FN1(log, A))));
}

// atan2(a, b): b/(a^2 + b^2), -a/(a^2 + b^2)
static Val *d_atan2(const Chain *c) {
    Val *d = DIV(MUL(c->dy, c->x[1 - c->k]), ADD(SQUARE(A), SQUARE(B)));
    return c->k ? NEG(d) : d;
}

static bool is_sum_of_squares(const Val *v) {
    while (v->node->op == P_reshape || v->node->op == P_expand) v = v->node->in[0];
    const Node *n = v->node;
    if (n->op != P_reduce || n->fn != RED_ADD) return false;
    n = n->in[0]->node;
    return n->op == P_map && n->fn == FN_mul && n->in[0] == n->in[1];
}

// 1/(2 sqrt(a)): infinite at 0, but 0 for the norm of a zero vector
static Val *d_sqrt(const Chain *c) {
    Val *d = DIV(scaled(c->g, c->dy, 0.5), c->y), *zero = LIKE(0);
    return is_sum_of_squares(A) ? select_of(c->g, fn2(c->g, FN_eq, c->y, zero), zero, d) : d;
}

static Val *d_abs(const Chain *c) { return MUL(c->dy, FN1(sign, A)); }
static Val *d_exp(const Chain *c) { return MUL(c->dy, c->y); }
static Val *d_expm1(const Chain *c) { return MUL(c->dy, FN1(exp, A)); }
static Val *d_log(const Chain *c) { return DIV(c->dy, A); }
static Val *d_log1p(const Chain *c) { return DIV(c->dy, ADD(A, LIKE(1))); }
static Val *d_log2(const Chain *c) { return DIV(c->dy, scaled(c->g, A, 0.69314718055994530942)); }
static Val *d_sin(const Chain *c) { return MUL(c->dy, FN1(cos, A)); }
static Val *d_cos(const Chain *c) { return NEG(MUL(c->dy, FN1(sin, A))); }
static Val *d_tan(const Chain *c) { return MUL(c->dy, ADD(SQUARE(c->y), LIKE(1))); }
static Val *d_asin(const Chain *c) { return DIV(c->dy, FN1(sqrt, SUB(LIKE(1), SQUARE(A)))); }
static Val *d_acos(const Chain *c) { return NEG(d_asin(c)); }
static Val *d_atan(const Chain *c) { return DIV(c->dy, ADD(SQUARE(A), LIKE(1))); }
static Val *d_sinh(const Chain *c) { return MUL(c->dy, FN1(cosh, A)); }
static Val *d_cosh(const Chain *c) { return MUL(c->dy, FN1(sinh, A)); }
static Val *d_tanh(const Chain *c) { return MUL(c->dy, SUB(LIKE(1), SQUARE(c->y))); }
static Val *d_asinh(const Chain *c) { return DIV(c->dy, FN1(sqrt, ADD(SQUARE(A), LIKE(1)))); }
static Val *d_acosh(const Chain *c) { return DIV(c->dy, FN1(sqrt, SUB(SQUARE(A), LIKE(1)))); }
static Val *d_atanh(const Chain *c) { return DIV(c->dy, SUB(LIKE(1), SQUARE(A))); }
static Val *d_sigmoid(const Chain *c) { return MUL(c->dy, MUL(c->y, SUB(LIKE(1), c->y))); }
static Val *d_softplus(const Chain *c) { return MUL(c->dy, FN1(sigmoid, A)); }

// 2/sqrt(pi) exp(-a^2)
static Val *d_erf(const Chain *c) {
    return MUL(c->dy, scaled(c->g, FN1(exp, NEG(SQUARE(A))), 1.12837916709551257390));
}

static Val *d_select(const Chain *c) {
    Val *zero = LIKE(0);
    return c->k == 1 ? select_of(c->g, A, c->dy, zero) : select_of(c->g, A, zero, c->dy);
}

// of roundings between floating types: as if there were none
static Val *d_cast(const Chain *c) { return dt_is_float(A->dt) ? cast_to(c->g, c->dy, A->dt) : NULL; }

static Rule *const rules[FN_COUNT] = {
    [FN_add] = d_add, [FN_sub] = d_sub, [FN_mul] = d_mul, [FN_div] = d_div, [FN_mod] = d_remainder,
    [FN_fmod] = d_remainder, [FN_min] = d_extremum, [FN_max] = d_extremum, [FN_pow] = d_pow, [FN_atan2] = d_atan2,
    [FN_neg] = d_neg, [FN_abs] = d_abs, [FN_sign] = d_none, [FN_floor] = d_none, [FN_ceil] = d_none,
    [FN_round] = d_none, [FN_trunc] = d_none, [FN_sqrt] = d_sqrt, [FN_exp] = d_exp, [FN_expm1] = d_expm1,
    [FN_log] = d_log, [FN_log1p] = d_log1p, [FN_log2] = d_log2, [FN_sin] = d_sin, [FN_cos] = d_cos,
    [FN_tan] = d_tan, [FN_asin] = d_asin, [FN_acos] = d_acos, [FN_atan] = d_atan, [FN_sinh] = d_sinh,
    [FN_cosh] = d_cosh, [FN_tanh] = d_tanh, [FN_asinh] = d_asinh, [FN_acosh] = d_acosh, [FN_atanh] = d_atanh,
    [FN_erf] = d_erf, [FN_sigmoid] = d_sigmoid, [FN_softplus] = d_softplus, [FN_isnan] = d_none,
    [FN_isinf] = d_none, [FN_eq] = d_none, [FN_lt] = d_none, [FN_le] = d_none, [FN_and] = d_none,
    [FN_or] = d_none, [FN_xor] = d_none, [FN_not] = d_none, [FN_shl] = d_none, [FN_shr] = d_none, [FN_dot2] = d_none, [FN_dot4] = d_none,
    [FN_select] = d_select, [FN_cast] = d_cast, [FN_castsat] = d_cast, [FN_bitcast] = d_none,
};

// Of quantized integers: what add, sub and cast do to numbers.
static Val *integer_adjoint(Graph *g, const Node *n, int k, Val *dy) {
    const Val *x = n->in[k];
    if (n->fn == FN_cast) return cast_to(g, dy, dt_is_float(x->dt) ? x->dt : dy->dt == F64 ? F64 : F32);
    return n->fn == FN_add ? dy : n->fn == FN_sub ? k ? fn1(g, FN_neg, dy) : dy : NULL;
}

Val *map_adjoint(Graph *g, Node *n, int k, Val *dy) {
    if (!rules[n->fn]) die("scalar function %s has no derivative", fn_info[n->fn].name);
    if (!dt_is_float(n->in[k]->dt) || !dt_is_float(n->out[0].dt)) return integer_adjoint(g, n, k, dy);
    return rules[n->fn](&(Chain){.g = g, .n = n, .x = n->in, .y = &n->out[0], .dy = dy, .k = k});
}
