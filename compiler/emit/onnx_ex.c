// SPDX-License-Identifier: Apache-2.0
// Integer expressions of the ONNX writer: numbers where they are constant, else nodes over the extents
// that Shape gives.
#include "emit/onnx.h"

static const char *known(const Out *o, Ex e) {
    for (; o; o = o->up)
        for (int i = o->nex - 1; i >= 0; i--)
            if (o->ex[i].e == e) return o->ex[i].name;
    return NULL;
}

static const char *remember(Out *o, Ex e, const char *name) {
    PUSH(o->ex, o->nex, o->cap_ex, ((ExName){ e, name }));
    return name;
}

void onnx_symbols(Out *o, const Val *v, const char *name) {
    const char *shape = NULL;
    for (int i = 0; i < v->rank; i++) {
        Ex d = v->shape[i];
        if (d->kind != X_VAR || known(o, d)) continue;
        if (!shape) shape = OP1(o, "Shape", name);
        int64_t at = i;
        remember(o, d, OP2(o, "Gather", shape, onnx_ints(o, 0, 1, &at)));
    }
}

static const char *sum(Out *o, Ex e) {
    const char *r = NULL;
    for (int i = 0; i < e->n; i++) {
        const char *t = onnx_scalar(o, e->t[i].m);
        if (e->t[i].k != 1) t = OP2(o, "Mul", t, onnx_ints(o, 0, 1, &e->t[i].k));
        r = r ? OP2(o, "Add", r, t) : t;
    }
    return e->c ? OP2(o, "Add", r, onnx_ints(o, 0, 1, &e->c)) : r;
}

// A number or a tensor of rank 0 with the value of e.
const char *onnx_scalar(Out *o, Ex e) {
    int64_t c;
    const char *r = known(o, e);
    if (r) return r;
    if (e_is_const(e, &c)) return remember(o, e, onnx_ints(o, 0, 1, &c));
    switch (e->kind) {
    case X_SUM: return remember(o, e, sum(o, e));
    case X_MUL:
        r = onnx_scalar(o, e->a[0]);
        for (int i = 1; i < e->n; i++) r = OP2(o, "Mul", r, onnx_scalar(o, e->a[i]));
        return remember(o, e, r);
    case X_DIV: { // Div truncates: floor(a/b) = (a - a mod b) / b
        const char *a = onnx_scalar(o, e->a[0]), *b = onnx_scalar(o, e->a[1]);
        return remember(o, e, OP2(o, "Div", OP2(o, "Sub", a, OP2(o, "Mod", a, b)), b));
    }
    case X_MOD: return remember(o, e, OP2(o, "Mod", onnx_scalar(o, e->a[0]), onnx_scalar(o, e->a[1])));
    case X_MIN: return remember(o, e, OP2(o, "Min", onnx_scalar(o, e->a[0]), onnx_scalar(o, e->a[1])));
    case X_MAX: return remember(o, e, OP2(o, "Max", onnx_scalar(o, e->a[0]), onnx_scalar(o, e->a[1])));
    case X_VAR: case X_LOAD: break;
    }
    error("--emit-onnx: the extent %s has no value before it is used", e_str(e));
    *o->failed = true;
    return onnx_fresh(o);
}

const char *onnx_list(Out *o, int n, const Ex *e) {
    int64_t *c = NEWN(int64_t, n + 1);
    bool fixed = true;
    for (int i = 0; i < n; i++) fixed = fixed && e_is_const(e[i], &c[i]);
    if (fixed) return onnx_ints(o, 1, n, c);
    const char **part = NEWN(const char *, n);
    int64_t one = 1;
    const char *line = onnx_ints(o, 1, 1, &one);
    for (int i = 0; i < n; i++) part[i] = OP2(o, "Reshape", onnx_scalar(o, e[i]), line);
    return onnx_op(o, "Concat", n, part, (At[]){ { .name = "axis", .kind = 'i' }, { 0 } });
}
