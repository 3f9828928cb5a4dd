// SPDX-License-Identifier: Apache-2.0
// Integer expressions in canonical form: a polynomial is a sorted list of terms, a term a coefficient
// and a monomial (an atom or a sorted product of atoms). All are interned; a single atom stands for
// itself and is never wrapped into a sum.
#include "cnncc.h"
#include <stdlib.h>
#include <string.h>

static Expr **table;
static size_t table_cap, table_used;
static int next_id = 1;

// ---- interning --------------------------------------------------------------------------------

static unsigned hash_expr(const Expr *e) {
    uint64_t h = (uint64_t)e->kind * 0x9e3779b97f4a7c15u + (uint64_t)e->c;
    for (int i = 0; i < e->n; i++) {
        uint64_t x = e->kind == X_SUM ? (uint64_t)e->t[i].k * 31 + (uint64_t)e->t[i].m->id : (uint64_t)e->a[i]->id;
        h = (h ^ x) * 0xff51afd7ed558ccdu;
        h ^= h >> 29;
    }
    h ^= (uint64_t)(uintptr_t)e->name ^ ((uint64_t)(uintptr_t)e->val * 3);
    return (unsigned)(h ^ h >> 32);
}

static bool same_expr(const Expr *a, const Expr *b) {
    if (a->kind != b->kind || a->n != b->n || a->c != b->c || a->name != b->name || a->val != b->val) return false;
    for (int i = 0; i < a->n; i++) {
        if (a->kind == X_SUM ? a->t[i].k != b->t[i].k || a->t[i].m != b->t[i].m : a->a[i] != b->a[i]) return false;
    }
    return true;
}

static void table_grow(void) {
    size_t cap = table_cap ? table_cap * 2 : 4096;
    Expr **t = calloc(cap, sizeof *t);
    if (!t) fatal("out of memory");
    for (size_t i = 0; i < table_cap; i++) {
        if (!table[i]) continue;
        size_t at = table[i]->hash & (cap - 1);
        while (t[at]) at = (at + 1) & (cap - 1);
        t[at] = table[i];
    }
    free(table);
    table = t;
    table_cap = cap;
}

static int64_t sat_add(int64_t a, int64_t b) { // infinities are the extremes; -inf wins nothing: callers add like signs
    int64_t r;
    if (a == INT64_MIN || b == INT64_MIN) return INT64_MIN;
    if (a == INT64_MAX || b == INT64_MAX) return INT64_MAX;
    if (__builtin_add_overflow(a, b, &r)) return a < 0 ? INT64_MIN : INT64_MAX;
    return r;
}

static int64_t sat_mul(int64_t a, int64_t b) {
    int64_t r;
    if (a == 0 || b == 0) return 0;
    bool neg = (a < 0) != (b < 0);
    if (a == INT64_MIN || a == INT64_MAX || b == INT64_MIN || b == INT64_MAX) return neg ? INT64_MIN : INT64_MAX;
    if (__builtin_mul_overflow(a, b, &r)) return neg ? INT64_MIN : INT64_MAX;
    return r;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static int64_t min2(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max2(int64_t a, int64_t b) { return a > b ? a : b; }

static void mul_interval(int64_t *lo, int64_t *hi, int64_t l2, int64_t h2) {
    int64_t p = sat_mul(*lo, l2), q = sat_mul(*lo, h2), r = sat_mul(*hi, l2), s = sat_mul(*hi, h2);
    *lo = min2(min2(p, q), min2(r, s));
    *hi = max2(max2(p, q), max2(r, s));
}

static void set_interval(Expr *e) {
    Ex a = e->n > 0 && e->kind != X_SUM ? e->a[0] : NULL, b = e->n > 1 && e->kind != X_SUM ? e->a[1] : NULL;
    switch (e->kind) {
    case X_SUM:
        e->lo = e->hi = e->c;
        for (int i = 0; i < e->n; i++) {
            int64_t lo = e->t[i].k, hi = lo;
            mul_interval(&lo, &hi, e->t[i].m->lo, e->t[i].m->hi);
            e->lo = sat_add(e->lo, lo);
            e->hi = sat_add(e->hi, hi);
        }
        break;
    case X_MUL:
        e->lo = e->hi = 1;
        for (int i = 0; i < e->n; i++) mul_interval(&e->lo, &e->hi, e->a[i]->lo, e->a[i]->hi);
        if (e->n == 2 && a == b && e->lo < 0) e->lo = 0;
        break;
    case X_DIV:
        e->lo = INT64_MIN, e->hi = INT64_MAX;
        if (b->lo > 0) {
            if (a->lo >= 0) e->lo = b->hi == INT64_MAX ? 0 : a->lo / b->hi;
            else if (a->lo != INT64_MIN) e->lo = floor_div(a->lo, b->lo);
            if (a->hi != INT64_MAX) e->hi = a->hi >= 0 ? a->hi / b->lo : -1;
        }
        break;
    case X_MOD:
        e->lo = INT64_MIN, e->hi = INT64_MAX;
        if (b->lo > 0) e->lo = 0, e->hi = b->hi == INT64_MAX ? INT64_MAX : b->hi - 1;
        if (a->lo >= 0 && a->hi < e->hi) e->hi = a->hi;
        break;
    case X_MIN: e->lo = min2(a->lo, b->lo), e->hi = min2(a->hi, b->hi); break;
    case X_MAX: e->lo = max2(a->lo, b->lo), e->hi = max2(a->hi, b->hi); break;
    case X_LOAD: e->lo = e->c ? 0 : INT64_MIN, e->hi = e->c ? INT32_MAX : INT64_MAX; break;
    case X_VAR: break; // given
    }
}

static Ex make(Expr *key) {
    key->hash = hash_expr(key);
    if (table_used * 2 >= table_cap) table_grow();
    size_t at = key->hash & (table_cap - 1);
    for (; table[at]; at = (at + 1) & (table_cap - 1))
        if (table[at]->hash == key->hash && same_expr(table[at], key)) return table[at];
    Expr *e = NEW(Expr);
    *e = *key;
    if (key->kind == X_SUM && key->n) {
        Term *t = NEWN(Term, key->n);
        memcpy(t, key->t, sizeof *t * (size_t)key->n);
        e->t = t;
    } else if (key->n) {
        Ex *a = NEWN(Ex, key->n);
        memcpy(a, key->a, sizeof *a * (size_t)key->n);
        e->a = a;
    }
    e->id = next_id++;
    set_interval(e);
    table[at] = e;
    table_used++;
    return e;
}

// ---- leaves -----------------------------------------------------------------------------------

Ex e_int(int64_t c) { return make(&(Expr){.kind = X_SUM, .c = c}); }

Ex e_sym(const char *name, int64_t lo, int64_t hi) {
    return make(&(Expr){.kind = X_VAR, .name = intern(name), .lo = lo, .hi = hi});
}

Ex e_index(const char *name, Ex extent) {
    int64_t n;
    if (e_is_const(extent, &n) && n == 1) return e_int(0);
    Expr *e = NEW(Expr);
    *e = (Expr){.kind = X_VAR, .id = next_id++, .name = intern(name), .extent = extent, .lo = 0,
                .hi = extent->hi == INT64_MAX ? INT64_MAX : extent->hi - 1};
    e->hash = (unsigned)e->id * 2654435761u;
    return e;
}

Ex e_load(Val *v, int n, const Ex *idx) { return make(&(Expr){.kind = X_LOAD, .n = n, .a = idx, .val = v}); }

Ex e_size(Val *v, int n, const Ex *idx) { return make(&(Expr){.kind = X_LOAD, .n = n, .a = idx, .val = v, .c = 1}); }

// ---- sums -------------------------------------------------------------------------------------

static int64_t k_add(int64_t a, int64_t b) {
    int64_t r;
    if (__builtin_add_overflow(a, b, &r)) fatal("a size or index does not fit 64 bits");
    return r;
}

static int64_t k_mul(int64_t a, int64_t b) {
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r)) fatal("a size or index does not fit 64 bits");
    return r;
}

static Ex make_sum(int64_t c, int n, const Term *t) {
    if (n == 1 && c == 0 && t[0].k == 1) return t[0].m;
    return make(&(Expr){.kind = X_SUM, .c = c, .n = n, .t = t});
}

// A view of any expression as a constant and terms.
static int terms(Ex e, int64_t *c, const Term **t, Term *one) {
    if (e->kind == X_SUM) {
        *c = e->c;
        *t = e->t;
        return e->n;
    }
    *c = 0;
    *one = (Term){1, e};
    *t = one;
    return 1;
}

// k*(x mod n) + k*n*(x div n) is k*x: finds one such pair among terms.
static bool find_div_mod(int n, const Term *t, int *mod, int *div) {
    int ndiv = 0;
    for (int i = 0; i < n; i++) ndiv += t[i].m->kind == X_DIV;
    if (!ndiv) return false;
    for (int i = 0; i < n; i++) {
        int64_t size, k;
        Ex m = t[i].m;
        if (m->kind != X_MOD || !e_is_const(m->a[1], &size) || __builtin_mul_overflow(t[i].k, size, &k)) continue;
        Ex d = e_div(m->a[0], m->a[1]);
        for (int j = 0; j < n; j++) {
            if (t[j].m != d || t[j].k != k) continue;
            *mod = i, *div = j;
            return true;
        }
    }
    return false;
}

Ex e_add(Ex a, Ex b) {
    int64_t ca, cb;
    const Term *ta, *tb;
    Term oa, ob;
    int na = terms(a, &ca, &ta, &oa), nb = terms(b, &cb, &tb, &ob), n = 0;
    Term buf[64], *t = na + nb <= 64 ? buf : NEWN(Term, na + nb);
    for (int i = 0, j = 0; i < na || j < nb;) {
        if (j == nb || (i < na && ta[i].m->id < tb[j].m->id)) t[n++] = ta[i++];
        else if (i == na || tb[j].m->id < ta[i].m->id) t[n++] = tb[j++];
        else {
            int64_t k = k_add(ta[i].k, tb[j].k);
            if (k) t[n++] = (Term){k, ta[i].m};
            i++, j++;
        }
    }
    int mod, div;
    if (na && nb && find_div_mod(n, t, &mod, &div)) {
        Term x = t[mod];
        int m = 0;
        for (int i = 0; i < n; i++)
            if (i != mod && i != div) t[m++] = t[i];
        return e_add(make_sum(k_add(ca, cb), m, t), e_scale(x.m->a[0], x.k));
    }
    return make_sum(k_add(ca, cb), n, t);
}

Ex e_scale(Ex a, int64_t k) {
    int64_t c;
    const Term *t;
    Term one;
    if (k == 0) return e_int(0);
    if (k == 1) return a;
    int n = terms(a, &c, &t, &one);
    Term buf[64], *s = n <= 64 ? buf : NEWN(Term, n);
    for (int i = 0; i < n; i++) s[i] = (Term){k_mul(t[i].k, k), t[i].m};
    return make_sum(k_mul(c, k), n, s);
}

Ex e_sub(Ex a, Ex b) { return e_add(a, e_scale(b, -1)); }

static int factors(Ex m, const Ex **f, Ex *one) {
    if (m->kind == X_MUL) {
        *f = m->a;
        return m->n;
    }
    *one = m;
    *f = one;
    return 1;
}

static Ex mul_mono(Ex a, Ex b) {
    const Ex *fa, *fb;
    Ex oa, ob;
    int na = factors(a, &fa, &oa), nb = factors(b, &fb, &ob), n = 0;
    Ex *f = NEWN(Ex, na + nb);
    for (int i = 0, j = 0; i < na || j < nb;) f[n++] = j == nb || (i < na && fa[i]->id <= fb[j]->id) ? fa[i++] : fb[j++];
    return make(&(Expr){.kind = X_MUL, .n = n, .a = f});
}

static Ex mul_term(Ex e, int64_t k, Ex m) { // e * k * m
    int64_t c;
    const Term *t;
    Term one;
    int n = terms(e, &c, &t, &one);
    Ex r = c ? e_scale(m, k_mul(c, k)) : e_int(0);
    for (int i = 0; i < n; i++) r = e_add(r, e_scale(mul_mono(t[i].m, m), k_mul(t[i].k, k)));
    return r;
}

Ex e_mul(Ex a, Ex b) {
    int64_t c;
    const Term *t;
    Term one;
    if (e_is_const(a, &c)) return e_scale(b, c);
    if (e_is_const(b, &c)) return e_scale(a, c);
    int n = terms(b, &c, &t, &one);
    Ex r = e_scale(a, c);
    for (int i = 0; i < n; i++) r = e_add(r, mul_term(a, t[i].k, t[i].m));
    return r;
}

Ex e_product(int n, const Ex *e) {
    Ex r = e_int(1);
    for (int i = 0; i < n; i++) r = e_mul(r, e[i]);
    return r;
}

// ---- division ---------------------------------------------------------------------------------

static int degree(Ex m) { return m->kind == X_MUL ? m->n : 1; }

// Graded lexicographic order of monomials; NULL is the constant 1.
static int mono_order(Ex a, Ex b) {
    int da = a ? degree(a) : 0, db = b ? degree(b) : 0;
    if (da != db) return da - db;
    if (!a) return 0;
    const Ex *fa, *fb;
    Ex oa, ob;
    factors(a, &fa, &oa), factors(b, &fb, &ob);
    for (int i = da - 1; i >= 0; i--)
        if (fa[i] != fb[i]) return fa[i]->id < fb[i]->id ? -1 : 1;
    return 0;
}

static bool mono_divide(Ex m, Ex by, Ex *q) { // q NULL: 1
    const Ex *fm, *fb;
    Ex om, ob;
    int nm = factors(m, &fm, &om), nb = factors(by, &fb, &ob), n = 0, j = 0;
    Ex *f = NEWN(Ex, nm);
    for (int i = 0; i < nm; i++) {
        if (j < nb && fm[i] == fb[j]) j++;
        else f[n++] = fm[i];
    }
    if (j < nb) return false;
    *q = n == 0 ? NULL : n == 1 ? f[0] : make(&(Expr){.kind = X_MUL, .n = n, .a = f});
    return true;
}

static Term leading(Ex e) {
    int64_t c;
    const Term *t;
    Term one, best = {0, NULL};
    int n = terms(e, &c, &t, &one);
    best.k = c;
    for (int i = 0; i < n; i++)
        if (!best.m || mono_order(t[i].m, best.m) > 0) best = t[i];
    return best;
}

// a = q*b + r by polynomial division; terms that b does not divide stay in r.
static void divide(Ex a, Ex b, Ex *q, Ex *r) {
    Term lb = leading(b);
    Ex quot = e_int(0), rest = e_int(0), left = a;
    for (int step = 0; step < 64 && !e_is(left, 0); step++) {
        Term la = leading(left);
        Ex m = NULL;
        bool ok = lb.k && la.k % lb.k == 0 && (lb.m ? la.m && mono_divide(la.m, lb.m, &m) : (m = la.m, true));
        Ex term = la.m ? e_scale(la.m, la.k) : e_int(la.k);
        if (ok) {
            Ex t = m ? e_scale(m, la.k / lb.k) : e_int(la.k / lb.k);
            quot = e_add(quot, t);
            left = e_sub(left, e_mul(t, b));
        } else {
            rest = e_add(rest, term);
            left = e_sub(left, term);
        }
    }
    *q = quot;
    *r = e_add(rest, left);
}

static int64_t gcd(int64_t a, int64_t b) {
    if (a < 0) a = -a;
    if (b < 0) b = -b;
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static Ex atom2(ExprKind kind, Ex a, Ex b) { return make(&(Expr){.kind = kind, .n = 2, .a = (Ex[]){a, b}}); }

// r with the multiples of the constant b taken out of its terms and its constant into q.
static void divide_const(Ex a, int64_t b, Ex *q, Ex *r) {
    int64_t c;
    const Term *t;
    Term one;
    int n = terms(a, &c, &t, &one), nq = 0, nr = 0;
    Term *tq = NEWN(Term, n + 1), *tr = NEWN(Term, n + 1);
    for (int i = 0; i < n; i++) {
        if (t[i].k % b == 0) tq[nq++] = (Term){t[i].k / b, t[i].m};
        else tr[nr++] = t[i];
    }
    int64_t cq = floor_div(c, b);
    *q = make_sum(cq, nq, tq);
    *r = make_sum(c - cq * b, nr, tr);
}

Ex e_div(Ex a, Ex b) {
    int64_t ca, cb;
    Ex q, r;
    if (e_is_const(b, &cb)) {
        if (cb == 0) return e_int(0);
        if (cb == 1) return a;
        if (e_is_const(a, &ca)) return e_int(floor_div(ca, cb));
        if (cb < 0) return atom2(X_DIV, a, b);
        divide_const(a, cb, &q, &r);
        if (r->lo >= 0 && r->hi < cb) return q;
        int64_t g = cb, c;
        const Term *t;
        Term one;
        int n = terms(r, &c, &t, &one);
        for (int i = 0; i < n; i++) g = gcd(g, t[i].k);
        if (g > 1) { // floor((g*x + c) / (g*b')) = floor((x + floor(c/g)) / b')
            Term *s = NEWN(Term, n);
            for (int i = 0; i < n; i++) s[i] = (Term){t[i].k / g, t[i].m};
            return e_add(q, e_div(make_sum(floor_div(c, g), n, s), e_int(cb / g)));
        }
        if (r->kind == X_DIV && r->a[1]->lo > 0) return e_add(q, e_div(r->a[0], e_mul(r->a[1], b)));
        return e_add(q, atom2(X_DIV, r, b));
    }
    if (a == b) return b->lo > 0 ? e_int(1) : atom2(X_DIV, a, b);
    divide(a, b, &q, &r);
    if (e_is(r, 0)) return q;
    if (e_ge0(r) && e_lt(r, b)) return q;
    return e_is(q, 0) || b->lo <= 0 ? atom2(X_DIV, a, b) : e_add(q, atom2(X_DIV, r, b));
}

Ex e_mod(Ex a, Ex b) {
    int64_t ca, cb;
    Ex q, r;
    if (e_is_const(b, &cb)) {
        if (cb == 0 || cb == 1) return e_int(0);
        if (e_is_const(a, &ca)) return e_int(ca - cb * floor_div(ca, cb));
        if (cb < 0) return atom2(X_MOD, a, b);
        divide_const(a, cb, &q, &r);
        if (r->lo >= 0 && r->hi < cb) return r;
        return atom2(X_MOD, r, b);
    }
    divide(a, b, &q, &r);
    if (e_is(r, 0)) return r;
    if (e_ge0(r) && e_lt(r, b)) return r;
    return atom2(X_MOD, b->lo > 0 ? r : a, b);
}

Ex e_ceil_div(Ex a, Ex b) { return e_div(e_add(a, e_sub(b, e_int(1))), b); }

// min(a, max(a, x)) = a and max(a, min(a, x)) = a, kind being that of the inner one.
static bool absorbs(Ex a, Ex inner, ExprKind kind) { return inner->kind == kind && (inner->a[0] == a || inner->a[1] == a); }

Ex e_min(Ex a, Ex b) {
    if (absorbs(a, b, X_MAX)) return a;
    if (absorbs(b, a, X_MAX)) return b;
    if (a == b || e_le(a, b)) return a;
    if (e_le(b, a)) return b;
    return a->id < b->id ? atom2(X_MIN, a, b) : atom2(X_MIN, b, a);
}

Ex e_max(Ex a, Ex b) {
    if (absorbs(a, b, X_MIN)) return a;
    if (absorbs(b, a, X_MIN)) return b;
    if (a == b || e_le(b, a)) return a;
    if (e_le(a, b)) return b;
    return a->id < b->id ? atom2(X_MAX, a, b) : atom2(X_MAX, b, a);
}

// ---- questions --------------------------------------------------------------------------------

bool e_is_const(Ex e, int64_t *c) {
    if (e->kind != X_SUM || e->n) return false;
    *c = e->c;
    return true;
}

bool e_is(Ex e, int64_t c) { return e->kind == X_SUM && !e->n && e->c == c; }

// The exclusive upper bound of an atom that runs from 0, or NULL.
static Ex atom_extent(Ex a) {
    if (a->kind == X_VAR) return a->extent;
    if (a->kind == X_MOD && a->a[1]->lo > 0) return a->a[1];
    return NULL;
}

// e = coef*v + rest where neither holds v outside other atoms; false when v's degree is above 1.
static bool split_linear(Ex e, Ex v, Ex *coef, Ex *rest) {
    int64_t c;
    const Term *t;
    Term one;
    int n = terms(e, &c, &t, &one);
    Ex a = e_int(0), b = e_int(c), q;
    for (int i = 0; i < n; i++) {
        if (mono_divide(t[i].m, v, &q)) {
            Ex q2;
            if (q && mono_divide(q, v, &q2)) return false;
            a = e_add(a, q ? e_scale(q, t[i].k) : e_int(t[i].k));
        } else b = e_add(b, e_scale(t[i].m, t[i].k));
    }
    *coef = a;
    *rest = b;
    return true;
}

static Ex find_bounded(Ex e, const Ex *done, int ndone) {
    int64_t c;
    const Term *t;
    Term one;
    int n = terms(e, &c, &t, &one);
    for (int i = n - 1; i >= 0; i--) {
        const Ex *f;
        Ex o;
        int nf = factors(t[i].m, &f, &o);
        for (int j = 0; j < nf; j++) {
            bool seen = !atom_extent(f[j]);
            for (int k = 0; k < ndone; k++) seen |= done[k] == f[j];
            if (!seen) return f[j];
        }
    }
    return NULL;
}

static Ex instead(Ex e, Term t, Ex by) { return e_add(e, e_scale(e_sub(by, t.m), t.k)); }

static Ex other_operand(Ex m, Ex x) { return m->a[0] == x ? m->a[1] : m->a[1] == x ? m->a[0] : NULL; }

// min(n, x) - min(n, y), k times, replaced by what it is at least: 0 where x >= y, else x - y. NULL: no such pair.
static Ex least_pair(Ex e, Term t) {
    for (int i = 0; i < e->n; i++) {
        Ex m = e->t[i].m, x, y;
        if (m->kind != X_MIN || e->t[i].k != -t.k) continue;
        Ex n = other_operand(m, t.m->a[0]) ? t.m->a[0] : t.m->a[1];
        if (!(y = other_operand(m, n)) || !(x = other_operand(t.m, n))) continue;
        Ex without = e_add(e, e_scale(e_sub(m, t.m), t.k)), d = e_sub(x, y);
        if (d->lo >= 0) return without;
        if (d->hi <= 0) return e_add(without, e_scale(d, t.k));
    }
    return NULL;
}

// k*div(x, c) replaced by what it is at least, where c divides k: c*div(x, c) lies between x - c + 1 and x. NULL: no such term.
static Ex least_quotient(Ex e, Term t) {
    int64_t c;
    if (t.m->kind != X_DIV || !e_is_const(t.m->a[1], &c) || c <= 0 || t.k % c) return NULL;
    Ex x = t.k > 0 ? e_sub(t.m->a[0], e_int(c - 1)) : t.m->a[0];
    return e_add(e_sub(e, e_scale(t.m, t.k)), e_scale(x, t.k / c));
}

// e >= 0 by putting bounds for minima, maxima and quotients: -min(x, y) is at least -x and -y.
static bool ge0_bounded(Ex e, int depth) {
    if (e->lo >= 0) return true;
    if (depth == 0 || e->kind != X_SUM) return false;
    for (int i = 0; i < e->n; i++) {
        Term t = e->t[i];
        Ex pair = t.m->kind == X_MIN && t.k > 0 ? least_pair(e, t) : NULL;
        if (!pair) pair = least_quotient(e, t);
        if (pair && ge0_bounded(pair, depth - 1)) return true;
        if (t.m->kind != (t.k < 0 ? X_MIN : X_MAX)) continue;
        if (ge0_bounded(instead(e, t, t.m->a[0]), depth - 1) || ge0_bounded(instead(e, t, t.m->a[1]), depth - 1)) return true;
    }
    return false;
}

bool e_ge0(Ex e) {
    Ex done[16];
    for (int n = 0; n < 16; n++) { // put each index at the end of its range where e is least
        if (e->lo >= 0) return true;
        Ex coef, rest, v = find_bounded(e, done, n);
        if (!v) return ge0_bounded(e, 3);
        done[n] = v;
        if (!split_linear(e, v, &coef, &rest)) continue;
        if (coef->lo >= 0) e = rest;
        else if (coef->hi <= 0) e = e_add(rest, e_mul(coef, e_sub(atom_extent(v), e_int(1))));
    }
    return ge0_bounded(e, 3);
}

bool e_le(Ex a, Ex b) { return e_ge0(e_sub(b, a)); }
bool e_lt(Ex a, Ex b) { return e_ge0(e_sub(e_sub(b, a), e_int(1))); }

bool e_uses(Ex e, Ex var) {
    if (e == var) return true;
    if (e->kind == X_SUM) {
        for (int i = 0; i < e->n; i++)
            if (e_uses(e->t[i].m, var)) return true;
    } else {
        for (int i = 0; i < e->n; i++)
            if (e_uses(e->a[i], var)) return true;
    }
    return false;
}

int64_t e_coef(Ex e, Ex var, Ex *rest) {
    Ex coef, r;
    int64_t k;
    if (!split_linear(e, var, &coef, &r) || !e_is_const(coef, &k) || e_uses(r, var)) return INT64_MIN;
    if (rest) *rest = r;
    return k;
}

Ex e_subst_all(Ex e, int n, const Ex *var, const Ex *by) {
    for (int i = 0; i < n; i++)
        if (e == var[i]) return by[i];
    if (e->n == 0) return e;
    if (e->kind == X_SUM) {
        Ex r = e_int(e->c);
        for (int i = 0; i < e->n; i++) r = e_add(r, e_scale(e_subst_all(e->t[i].m, n, var, by), e->t[i].k));
        return r;
    }
    Ex *a = NEWN(Ex, e->n);
    bool same = true;
    for (int i = 0; i < e->n; i++) {
        a[i] = e_subst_all(e->a[i], n, var, by);
        same &= a[i] == e->a[i];
    }
    if (same) return e;
    switch (e->kind) {
    case X_MUL: return e_product(e->n, a);
    case X_DIV: return e_div(a[0], a[1]);
    case X_MOD: return e_mod(a[0], a[1]);
    case X_MIN: return e_min(a[0], a[1]);
    case X_MAX: return e_max(a[0], a[1]);
    case X_LOAD: return e->c ? e_size(e->val, e->n, a) : e_load(e->val, e->n, a);
    default: return e;
    }
}

Ex e_subst(Ex e, Ex var, Ex by) { return e_subst_all(e, 1, &var, &by); }

int64_t e_eval(Ex e, EvalVar *value, void *ctx) {
    int64_t r, a, b;
    switch (e->kind) {
    case X_VAR:
    case X_LOAD: return value(e, ctx);
    case X_SUM:
        r = e->c;
        for (int i = 0; i < e->n; i++) r = k_add(r, k_mul(e->t[i].k, e_eval(e->t[i].m, value, ctx)));
        return r;
    case X_MUL:
        r = 1;
        for (int i = 0; i < e->n; i++) r = k_mul(r, e_eval(e->a[i], value, ctx));
        return r;
    default: break;
    }
    a = e_eval(e->a[0], value, ctx), b = e_eval(e->a[1], value, ctx);
    switch (e->kind) {
    case X_DIV: return b ? floor_div(a, b) : 0;
    case X_MOD: return b ? a - b * floor_div(a, b) : 0;
    case X_MIN: return min2(a, b);
    default: return max2(a, b);
    }
}

// ---- bounds -----------------------------------------------------------------------------------

static bool has_load(Ex e) {
    if (e->kind == X_LOAD) return true;
    for (int i = 0; i < e->n; i++)
        if (has_load(e->kind == X_SUM ? e->t[i].m : e->a[i])) return true;
    return false;
}

static Ex e_floor(Ex e) { return !has_load(e) ? e : e->lo != INT64_MIN ? e_int(e->lo) : NULL; }

static Ex bound_sum(Ex e) {
    Ex r = e_int(e->c);
    for (int i = 0; i < e->n; i++) {
        Ex m = e->t[i].k > 0 ? e_bound(e->t[i].m) : e_floor(e->t[i].m);
        if (!m) return NULL;
        r = e_add(r, e_scale(m, e->t[i].k));
    }
    return r;
}

Ex e_bound(Ex e) {
    if (!has_load(e)) return e;
    if (e->kind == X_LOAD) return NULL;
    if (e->kind == X_SUM) return bound_sum(e);
    if (e->kind == X_MUL) {
        Ex r = e_int(1);
        for (int i = 0; i < e->n; i++) {
            Ex f = e->a[i]->lo >= 0 ? e_bound(e->a[i]) : NULL;
            if (!f) return NULL;
            r = e_mul(r, f);
        }
        return r;
    }
    Ex a = e_bound(e->a[0]), b = e_bound(e->a[1]), low;
    switch (e->kind) {
    case X_DIV:
        low = e_floor(e->a[1]);
        if (low && low->lo > 0 && a) return low == e->a[1] || e->a[0]->lo >= 0 ? e_div(a, low) : NULL;
        return e->a[0]->lo >= 0 && e->a[1]->lo >= 0 ? a : NULL;
    case X_MOD: return b && e->a[1]->lo > 0 ? e_sub(b, e_int(1)) : NULL;
    case X_MIN: return a && b ? e_min(a, b) : a ? a : b;
    default: return a && b ? e_max(a, b) : NULL;
    }
}

// ---- text -------------------------------------------------------------------------------------

static void print_factor(Text *t, Ex e) {
    if (e->kind == X_SUM && (e->n > 1 || (e->n == 1 && e->c))) {
        put(t, "(");
        e_print(t, e);
        put(t, ")");
    } else e_print(t, e);
}

void e_print(Text *t, Ex e) {
    static const char *const fn[] = {[X_DIV] = "div", [X_MOD] = "mod", [X_MIN] = "min", [X_MAX] = "max"};
    switch (e->kind) {
    case X_VAR: put(t, "%s", e->name); return;
    case X_MUL:
        for (int i = 0; i < e->n; i++) {
            if (i) put(t, "*");
            print_factor(t, e->a[i]);
        }
        return;
    case X_SUM:
        for (int i = 0; i < e->n; i++) {
            int64_t k = e->t[i].k;
            if (i) put(t, k < 0 ? " - " : " + ");
            else if (k < 0) put(t, "-");
            if (k != 1 && k != -1) put(t, "%llu*", (unsigned long long)(k < 0 ? 0 - (uint64_t)k : (uint64_t)k));
            print_factor(t, e->t[i].m);
        }
        if (e->c || !e->n) put(t, !e->n ? "%lld" : e->c < 0 ? " - %lld" : " + %lld", (long long)(e->n && e->c < 0 ? -e->c : e->c));
        return;
    case X_LOAD:
        if (e->val->name) put(t, "%s[", e->val->name);
        else put(t, "v%d[", e->val->id);
        break;
    default: put(t, "%s(", fn[e->kind]);
    }
    for (int i = 0; i < e->n; i++) {
        if (i) put(t, ", ");
        e_print(t, e->a[i]);
    }
    put(t, e->kind == X_LOAD ? "]" : ")");
}

const char *e_str(Ex e) {
    Text t = {0};
    e_print(&t, e);
    return t.s;
}
