// SPDX-License-Identifier: Apache-2.0
// Expressions in C. Values of half types are floats rounded after each operation; integers wrap
// through unsigned; what C leaves undefined goes through a runtime helper.
#include "emit/emit.h"
#include <string.h>

const char *c_type(DType dt) {
    switch (dt) {
    case F32: return "float";
    case F64: return "double";
    case I8: case I4: case I2: return "int8_t";
    case I16: return "int16_t";
    case I32: return "int32_t";
    case I64: return "int64_t";
    case U16: case F16: case BF16: return "uint16_t";
    case U32: return "uint32_t";
    case U64: return "uint64_t";
    case STR: return "cnn_string";
    case C64: return "cnn_complex64";
    case C128: return "cnn_complex128";
    default: return "uint8_t";
    }
}

const char *port_type(const Val *v) { return is_packed(v) ? "uint8_t" : c_type(v->dt); }

static bool is_half(DType dt) { return dt_is_float(dt) && dt != F32 && dt != F64; }

const char *c_compute(DType dt) { return is_half(dt) ? "float" : c_type(dt); }

void need(Emit *e, const char *part) {
    for (int i = 0; i < e->nneed; i++)
        if (!strcmp(e->need[i], part)) return;
    PUSH(e->need, e->nneed, e->cap_need, intern(part));
}

// ---- integer expressions ----------------------------------------------------------------------

static void put_factor(Emit *e, Text *t, Ex x) {
    bool paren = x->kind == X_SUM && (x->n > 1 || (x->n && x->c) || x->c < 0 || (x->n == 1 && x->t[0].k != 1));
    if (x->kind == X_MUL) paren = true;
    if (paren) put(t, "(");
    put_ex(e, t, x);
    if (paren) put(t, ")");
}

static void put_call(Emit *e, Text *t, const char *fn, Ex a, Ex b) {
    need(e, fn);
    put(t, "%s(", fn);
    put_ex(e, t, a);
    put(t, ", ");
    put_ex(e, t, b);
    put(t, ")");
}

static void put_sum(Emit *e, Text *t, Ex x) {
    for (int i = 0; i < x->n; i++) {
        int64_t k = x->t[i].k;
        if (i) put(t, k < 0 ? " - " : " + ");
        else if (k < 0) put(t, "-");
        if (k != 1 && k != -1) put(t, "%lld*", (long long)(k < 0 ? -k : k));
        if (x->t[i].m->kind == X_MUL) put_ex(e, t, x->t[i].m);
        else put_factor(e, t, x->t[i].m);
    }
    if (!x->n) put(t, "%lld", (long long)x->c);
    else if (x->c) put(t, x->c < 0 ? " - %lld" : " + %lld", (long long)(x->c < 0 ? -x->c : x->c));
}

void put_ex(Emit *e, Text *t, Ex x) {
    switch (x->kind) {
    case X_SUM: put_sum(e, t, x); return;
    case X_VAR:
    case X_LOAD: put(t, "%s", c_var(x)); return;
    case X_MUL:
        for (int i = 0; i < x->n; i++) {
            if (i) put(t, "*");
            put_factor(e, t, x->a[i]);
        }
        return;
    case X_DIV:
    case X_MOD:
        if (x->a[0]->lo >= 0 && x->a[1]->lo > 0) {
            put(t, "(");
            put_factor(e, t, x->a[0]);
            put(t, x->kind == X_DIV ? "/" : "%%");
            put_factor(e, t, x->a[1]);
            put(t, ")");
        } else put_call(e, t, x->kind == X_DIV ? "cnn_floordiv" : "cnn_floormod", x->a[0], x->a[1]);
        return;
    case X_MIN: put_call(e, t, "cnn_imin", x->a[0], x->a[1]); return;
    case X_MAX: put_call(e, t, "cnn_imax", x->a[0], x->a[1]); return;
    }
}

void put_ranges(Emit *e, Text *t, int n, const Range *r) {
    for (int i = 0; i < n; i++) {
        bool low = !e_ge0(r[i].e), high = !e_is(r[i].n, INT64_MAX) && !e_lt(r[i].e, r[i].n); // INT64_MAX: no limit
        if (i) put(t, " && ");
        if (low) {
            put_ex(e, t, r[i].e);
            put(t, " >= 0");
        }
        if (low && high) put(t, " && ");
        if (high) {
            put_ex(e, t, r[i].e);
            put(t, " < ");
            put_ex(e, t, r[i].n);
        }
        if (!low && !high) put(t, "1");
    }
}

// ---- types ------------------------------------------------------------------------------------

// Name of a half type in the runtime's conversion helpers, and its extra arguments when encoding.
static const char *half_name(DType dt, bool saturate, const char **extra) {
    *extra = "";
    switch (dt) {
    case F16: return "f16";
    case BF16: return "bf16";
    case F8E4M3FN: *extra = saturate ? ", 1" : ", 0"; return "e4m3fn";
    case F8E4M3FNUZ: *extra = saturate ? ", 1" : ", 0"; return "e4m3fnuz";
    case F8E5M2: *extra = saturate ? ", 1" : ", 0"; return "e5m2";
    case F8E5M2FNUZ: *extra = saturate ? ", 1" : ", 0"; return "e5m2fnuz";
    case F8E8M0: *extra = saturate ? ", 1, 1" : ", 0, 1"; return "e8m0";
    case F4E2M1: return "e2m1";
    case F6E2M3: return "e2m3";
    case F6E3M2: return "e3m2";
    default: die("%s is no half type", dt_name(dt));
    }
}

static void put_encode(Emit *e, Text *t, DType dt, const char *value, bool saturate, bool from_double) {
    const char *extra, *name = half_name(dt, saturate, &extra), *part;
    bool direct = from_double && (dt == F16 || dt == BF16);
    part = arena_printf("cnn_%s_to_%s", direct ? "f64" : "f32", name);
    need(e, part);
    if (from_double && !direct) {
        need(e, "cnn_f64_to_odd");
        put(t, "%s(cnn_f64_to_odd(%s)%s)", part, value, extra);
    } else put(t, "%s(%s%s)", part, value, extra);
}

static void put_decode(Emit *e, Text *t, DType dt, const char *value) {
    const char *extra, *part = arena_printf("cnn_%s_to_f32", half_name(dt, true, &extra));
    need(e, part);
    put(t, "%s(%s)", part, value);
}

void put_to_memory(Emit *e, Text *t, DType dt, const char *value) {
    if (is_half(dt)) put_encode(e, t, dt, value, false, false); // rounded before: infinities stay
    else put(t, "%s", value);
}

void put_number(Emit *e, Text *t, DType dt, Scalar v) {
    (void)e;
    if (dt_is_float(dt)) put_float(t, v.f, dt != F64);
    else if (dt == I64 && v.i == INT64_MIN) put(t, "INT64_MIN");
    else if (dt == I64) put(t, v.i > INT32_MAX || v.i < -INT32_MAX ? "INT64_C(%lld)" : "%lld", (long long)v.i);
    else if (dt == I32 && v.i == INT32_MIN) put(t, "INT32_MIN");
    else if (dt == U64) put(t, "UINT64_C(%llu)", (unsigned long long)v.i);
    else if (dt == U32) put(t, "%lluu", (unsigned long long)(uint32_t)v.i);
    else put(t, "%lld", (long long)v.i);
}

static const char *text_of(Emit *e, const Sx *x) {
    Text t = {0};
    put_sx(e, &t, x);
    const char *s = intern(t.s ? t.s : "");
    return s;
}

static bool atomic(const char *s) {
    int depth = 0;
    if (*s == '-') return false;
    for (const char *p = s; *p; p++) {
        if (*p == '(' || *p == '[') depth++;
        else if (*p == ')' || *p == ']') depth--;
        else if (!depth && strchr(" +-*/<>&|^?=!~", *p)) return false;
        else if (!depth && *p == ' ') return false;
    }
    return true;
}

static const char *operand(Emit *e, const Sx *x) {
    const char *s = text_of(e, x);
    return atomic(s) ? s : arena_printf("(%s)", s);
}

// ---- functions --------------------------------------------------------------------------------

static int int_bits(DType dt) { return dt_bits(dt) < 8 ? 8 : dt_bits(dt); }

static const char *int_name(DType dt) { return arena_printf("%c%d", dt_is_signed(dt) ? 'i' : 'u', int_bits(dt)); }

// A narrow result of sub-byte types: the low bits, extended.
static void put_narrow(Emit *e, Text *t, DType dt, const char *s) {
    (void)e;
    int bits = dt_bits(dt);
    if (bits >= 8) put(t, "(%s)(%s)", c_type(dt), s);
    else if (dt_is_signed(dt)) put(t, "(int8_t)((((%s) & %d) ^ %d) - %d)", s, (1 << bits) - 1, 1 << (bits - 1), 1 << (bits - 1));
    else put(t, "(uint8_t)((%s) & %d)", s, (1 << bits) - 1);
}

static void put_cast(Emit *e, Text *t, DType to, const Sx *a, bool saturate) {
    DType from = a->dt;
    const char *s = text_of(e, a);
    if (to == from) put(t, "%s", s);
    else if (to == BOOL) put(t, "(uint8_t)(%s != 0)", operand(e, a));
    else if (is_half(to)) {
        Text in = {0};
        if (from == F32 || from == F64 || is_half(from)) put(&in, "%s", s);
        else put(&in, "(%s)%s", dt_bits(from) > 16 ? "double" : "float", operand(e, a));
        Text code = {0};
        put_encode(e, &code, to, in.s, saturate, from == F64 || (!dt_is_float(from) && dt_bits(from) > 16));
        put_decode(e, t, to, code.s);
    } else if (to == F32 || to == F64) put(t, "(%s)%s", c_type(to), operand(e, a));
    else if (from == F64 || from == F32 || is_half(from)) {
        // to less than a byte by way of i32, so that negative values wrap as integers do
        const char *fn = arena_printf("cnn_%s_to_%s", from == F64 ? "f64" : "f32", dt_bits(to) < 8 ? "i32" : int_name(to));
        need(e, fn);
        if (dt_bits(to) >= 8) put(t, "%s(%s)", fn, s);
        else put_narrow(e, t, to, arena_printf("%s(%s)", fn, s));
    } else put_narrow(e, t, to, s);
}

// Names of helpers that differ from cnn_NAMEf.
static const struct { const char *fn, *f32, *f64; } float_fn[] = {
    {"min", "cnn_fminf", "cnn_fmin"}, {"max", "cnn_fmaxf", "cnn_fmax"}, {"rint", "cnn_roundevenf", "cnn_roundeven"},
    {"abs", "cnn_absf", "fabs"}, {"fmod", "cnn_fmodf", "fmod"}, {"sqrt", "cnn_sqrtf", "cnn_sqrt"},
};

static void put_float_call(Emit *e, Text *t, const char *fn, bool f64, int n, const char **a) {
    const char *name = f64 ? fn : arena_printf("cnn_%sf", fn);
    for (size_t i = 0; i < sizeof float_fn / sizeof *float_fn; i++)
        if (!strcmp(fn, float_fn[i].fn)) name = f64 ? float_fn[i].f64 : float_fn[i].f32;
    if (!strncmp(name, "cnn_", 4)) need(e, name);
    if (!strcmp(name, "cnn_sqrt") || strncmp(name, "cnn_", 4)) need(e, "#math");
    put(t, "%s(", name);
    for (int i = 0; i < n; i++) put(t, "%s%s", i ? ", " : "", a[i]);
    put(t, ")");
}

static void put_float_fn(Emit *e, Text *t, Fn fn, bool f64, int n, const char **a) {
    const char *f = f64 ? "" : "f", *one = f64 ? "1.0" : "1.0f", *zero = f64 ? "0.0" : "0.0f";
    switch (fn) {
    case FN_sign:
        put(t, "(%s > %s ? %s : %s < %s ? -%s : %s == %s ? %s : %s)", a[0], zero, one, a[0], zero, one, a[0], zero, zero, a[0]);
        return;
    case FN_isinf: put(t, "(uint8_t)(%s - %s != 0 && %s == %s)", a[0], a[0], a[0], a[0]); return;
    case FN_mod: // sign of the divisor
        need(e, f64 ? "cnn_modf64" : "cnn_modf");
        put(t, "%s(%s, %s)", f64 ? "cnn_modf64" : "cnn_modf", a[0], a[1]);
        if (f64) need(e, "#math");
        return;
    case FN_sigmoid:
        if (f64) {
            need(e, "#math");
            put(t, "(1.0 / (1.0 + exp(-%s)))", a[0]);
            return;
        }
        break;
    case FN_softplus:
        if (f64) {
            need(e, "#math");
            put(t, "(log1p(exp(-fabs(%s))) + cnn_fmax(%s, 0.0))", a[0], a[0]);
            need(e, "cnn_fmax");
            return;
        }
        break;
    default: break;
    }
    (void)f;
    put_float_call(e, t, fn_info[fn].c + 1, f64, n, a);
}

// Shifts of unsigned integers; to the right those of negative ones keep the sign: ~(~a >> n).
static void put_shift(Emit *e, Text *t, Fn fn, DType dt, const char *a, const char *n) {
    const char *u = arena_printf("uint%d_t", int_bits(dt)), *name = arena_printf("cnn_%s_u%d", fn_info[fn].name, int_bits(dt));
    need(e, name);
    const char *call = arena_printf("%s((%s)%s, (%s)%s)", name, u, a, u, n);
    if (fn == FN_shr && dt_is_signed(dt))
        call = arena_printf("%s < 0 ? (%s)~%s((%s)~%s, (%s)%s) : %s", a, u, name, u, a, u, n, call);
    put_narrow(e, t, dt, call);
}

static void put_int_fn(Emit *e, Text *t, Fn fn, DType dt, int n, const char **a) {
    const char *u = int_bits(dt) == 64 ? "uint64_t" : "uint32_t", *name;
    const char *s;
    switch (fn) {
    case FN_add:
    case FN_sub:
    case FN_mul:
        s = arena_printf("(%s)%s %c (%s)%s", u, a[0], "+-*"[fn - FN_add], u, a[1]);
        put_narrow(e, t, dt, s);
        return;
    case FN_neg: put_narrow(e, t, dt, arena_printf("0 - (%s)%s", u, a[0])); return;
    case FN_abs:
        if (!dt_is_signed(dt)) put(t, "%s", a[0]);
        else put_narrow(e, t, dt, arena_printf("%s < 0 ? 0 - (%s)%s : (%s)%s", a[0], u, a[0], u, a[0]));
        return;
    case FN_sign: put(t, "(%s)((%s > 0) - (%s < 0))", c_type(dt), a[0], dt_is_signed(dt) ? a[0] : "1"); return;
    case FN_min: put(t, "(%s)(%s < %s ? %s : %s)", c_type(dt), a[1], a[0], a[1], a[0]); return;
    case FN_max: put(t, "(%s)(%s < %s ? %s : %s)", c_type(dt), a[0], a[1], a[1], a[0]); return;
    case FN_and:
    case FN_or:
    case FN_xor: put(t, "(%s)(%s %c %s)", c_type(dt), a[0], fn == FN_and ? '&' : fn == FN_or ? '|' : '^', a[1]); return;
    case FN_not:
        if (dt == BOOL) put(t, "(uint8_t)!%s", a[0]);
        else put_narrow(e, t, dt, arena_printf("~(%s)%s", u, a[0]));
        return;
    case FN_pow: name = arena_printf("cnn_pow_%c%d", dt_is_signed(dt) ? 'i' : 'u', int_bits(dt) == 64 ? 64 : 32); break;
    case FN_div: name = arena_printf("cnn_div_%s", int_name(dt)); break;
    case FN_fmod: name = arena_printf("cnn_rem_%s", int_name(dt)); break;
    case FN_mod: name = arena_printf("cnn_%s_%s", dt_is_signed(dt) ? "mod" : "rem", int_name(dt)); break;
    case FN_dot2:
    case FN_dot4: name = arena_printf("cnn_%s", fn_info[fn].name); break;
    case FN_shl:
    case FN_shr: put_shift(e, t, fn, dt, a[0], a[1]); return;
    default: die("%s of %s in C", fn_info[fn].name, dt_name(dt));
    }
    need(e, name);
    const char *call = n == 2 ? arena_printf("%s(%s, %s)", name, a[0], a[1]) : arena_printf("%s(%s)", name, a[0]);
    if ((fn == FN_pow && int_bits(dt) < 32) || dt_bits(dt) < 8) put_narrow(e, t, dt, call);
    else put(t, "%s", call);
}

static void put_compare(Emit *e, Text *t, Fn fn, const Sx *x, const char **a) {
    if (x->a[0]->dt == STR) {
        if (fn != FN_eq) die("order of strings in C");
        need(e, "cnn_streq");
        put(t, "cnn_streq(%s, %s)", a[0], a[1]);
        return;
    }
    put(t, "(uint8_t)(%s %s %s)", a[0], fn == FN_eq ? "==" : fn == FN_lt ? "<" : "<=", a[1]);
}

static void put_bitcast(Emit *e, Text *t, DType to, const Sx *a) {
    const char *s = text_of(e, a), *in = NULL, *out = NULL;
    DType from = a->dt;
    Text code = {0};
    if (is_half(from)) put_encode(e, &code, from, s, false, false);
    else if (from == F32) in = "cnn_f32_bits";
    else if (from == F64) in = "cnn_f64_bits";
    if (in) {
        need(e, in);
        put(&code, "%s(%s)", in, s);
    }
    if (!code.s) put(&code, "%s", s);
    if (is_half(to)) put_decode(e, t, to, arena_printf("(%s)(%s)", c_type(to), code.s));
    else if (to == F32 || to == F64) {
        out = to == F32 ? "cnn_bits_f32" : "cnn_bits_f64";
        need(e, out);
        put(t, "%s((%s)(%s))", out, to == F32 ? "uint32_t" : "uint64_t", code.s);
    } else put_narrow(e, t, to, code.s);
}

// The lanes of a vector expression; 0: a scalar.
static int vector_lanes(const Sx *x) {
    int lanes = x->kind == SX_LOAD ? x->lanes : x->kind == SX_LOCAL && x->local->vector ? x->local->lanes : 0;
    for (int i = 0; i < x->n && !lanes && x->kind == SX_FN; i++) lanes = vector_lanes(x->a[i]);
    return lanes;
}

static void put_fn(Emit *e, Text *t, const Sx *x) {
    const char *a[4];
    Fn fn = x->fn;
    DType dt = x->dt;
    for (int i = 0; i < x->n; i++) a[i] = operand(e, x->a[i]);
    if (fn == FN_cast || fn == FN_castsat) { put_cast(e, t, dt, x->a[0], fn == FN_cast); return; }
    if (fn == FN_bitcast) { put_bitcast(e, t, dt, x->a[0]); return; }
    if (vector_lanes(x) && (fn == FN_eq || fn == FN_lt || fn == FN_le)) {
        put(t, "%s %s %s", a[0], fn == FN_eq ? "==" : fn == FN_lt ? "<" : "<=", a[1]);
        return;
    }
    if (fn == FN_eq || fn == FN_lt || fn == FN_le) { put_compare(e, t, fn, x, a); return; }
    if (fn == FN_select && vector_lanes(x->a[0])) {
        put(t, "CNN_PICK(cnn_%sx%d, %s, %s, %s)", dt_name(dt), vector_lanes(x->a[0]), a[0], a[1], a[2]);
        return;
    }
    if (fn == FN_select) { put(t, "%s ? %s : %s", a[0], a[1], a[2]); return; }
    if (fn == FN_isnan) { put(t, "(uint8_t)(%s != %s)", a[0], a[0]); return; }
    if (fn == FN_isinf) { put_float_fn(e, t, fn, x->a[0]->dt == F64, x->n, a); return; }
    if (!dt_is_float(dt)) { put_int_fn(e, t, fn, dt, x->n, a); return; }
    Text s = {0};
    int lanes = vector_lanes(x);
    if (lanes && (fn == FN_max || fn == FN_min)) put(&s, "CNN_%s(cnn_%sx%d, %s, %s)", fn == FN_max ? "MAX" : "MIN", dt_name(dt), lanes, a[0], a[1]);
    else if (fn <= FN_div) put(&s, "%s %c %s", a[0], "+-*/"[fn], a[1]);
    else if (fn == FN_neg) put(&s, "-%s", a[0]);
    else if (lanes) {
        const char *part = arena_printf("cnn_%sf", fn_info[fn].name);
        need_vector(e, part, lanes);
        put(&s, "CNN_FN(%s, %d)(%s)", part, lanes, a[0]);
    }
    else put_float_fn(e, &s, fn, dt == F64, x->n, a);
    if (is_half(dt)) {
        Text code = {0};
        put_encode(e, &code, dt, s.s, false, false);
        put_decode(e, t, dt, code.s);
    } else put(t, "%s", s.s);
}

Buf *buf_home(const Buf *b, Ex *at) {
    Ex o = e_int(0);
    for (; b->alias; b = b->alias) o = e_add(o, b->alias_at);
    if (at) *at = o;
    return (Buf *)(uintptr_t)b;
}

void put_sx(Emit *e, Text *t, const Sx *x) {
    Ex at;
    Buf *b;
    Text s = {0};
    switch (x->kind) {
    case SX_NUM: put_number(e, t, x->dt, x->num); return;
    case SX_INDEX:
        if (dt_is_float(x->dt)) put(&s, "(%s)(", c_compute(x->dt));
        else put(&s, "(%s)(", c_type(x->dt));
        put_ex(e, &s, x->e);
        put(t, "%s)", s.s);
        return;
    case SX_LOAD:
        b = buf_home(x->buf, &at);
        if (x->lanes) {
            put(t, "CNN_V(cnn_%sx%du, %s + ", dt_name(x->dt), x->lanes, b->name);
            put_ex(e, t, e_add(x->e, at));
            put(t, ")");
            return;
        }
        put(&s, "%s[", b->name);
        put_ex(e, &s, e_add(x->e, at));
        put(&s, "]");
        if (is_half(x->dt)) put_decode(e, t, x->dt, s.s);
        else put(t, "%s", s.s);
        return;
    case SX_LOCAL:
        if (x->local->vector) put(t, "CNN_L(%s)", x->local->name);
        else if (x->e) {
            put(t, "%s[", x->local->name);
            put_ex(e, t, x->e);
            put(t, "]");
        } else put(t, "%s", x->local->name);
        return;
    case SX_FN: put_fn(e, t, x); return;
    case SX_GUARD:
        put_ranges(e, t, x->nguard, x->guard);
        put(t, " ? %s : %s", operand(e, x->a[0]), operand(e, x->a[1]));
        return;
    case SX_RANDOM:
        need(e, "cnn_philox");
        put(t, "cnn_philox((uint64_t)%s, %lld, (uint64_t)%s)", operand(e, x->a[0]), (long long)x->num.i, operand(e, x->a[1]));
        return;
    case SX_ADDR:
        b = buf_home(x->buf, &at);
        if (x->nguard) {
            put_ranges(e, t, x->nguard, x->guard);
            put(t, " ? ");
        }
        put(t, "%s + ", b->name);
        put_ex(e, t, e_add(x->e, at));
        if (x->nguard) put(t, " : cnn_zeros_%s", dt_name(x->dt));
        return;
    }
}
