// SPDX-License-Identifier: Apache-2.0
// Expected values against computed ones.
#include <string.h>

#include "run.h"

enum { SHOWN = 5 }; /* mismatches of one tensor that are printed */

static void say(Compare *c, const char *name, const char *what) {
    if (!c->first[0]) (void)snprintf(c->first, sizeof c->first, "output '%.90s': %.280s", name ? name : "", what);
    if (c->out) fprintf(c->out, "    output '%s': %s\n", name ? name : "", what);
}

static void shape_text(const Value *v, char *out, size_t room) {
    size_t at = (size_t)snprintf(out, room, "%s[", type_name(v->type));
    for (int i = 0; i < v->rank && at < room; i++)
        at += (size_t)snprintf(out + at, room - at, "%s%lld", i ? "," : "", (long long)v->dim[i]);
    if (at < room) (void)snprintf(out + at, room - at, "]");
}

static void index_text(const Value *v, size_t i, char *out, size_t room) {
    int64_t at[MAX_RANK];
    size_t n = 0;
    for (int a = v->rank - 1; a >= 0; a--) {
        at[a] = (int64_t)(i % (size_t)v->dim[a]);
        i /= (size_t)v->dim[a];
    }
    n += (size_t)snprintf(out, room, "[");
    for (int a = 0; a < v->rank && n < room; a++)
        n += (size_t)snprintf(out + n, room - n, "%s%lld", a ? "," : "", (long long)at[a]);
    if (n < room) (void)snprintf(out + n, room - n, "]");
}

/* Whether g is near w; the error grows *worst. */
static bool near(double w, double g, double rtol, double atol, double *worst) {
    if (__builtin_isnan(w) || __builtin_isnan(g)) return __builtin_isnan(w) && __builtin_isnan(g);
    if (__builtin_isinf(w) || __builtin_isinf(g)) return w == g;
    double e = __builtin_fabs(w - g);
    if (e > *worst) *worst = e;
    return e <= atol + rtol * __builtin_fabs(w);
}

static bool same_element(const Compare *c, const Value *w, const Value *g, size_t i, double *worst) {
    double rtol = c->rtol;
    if (w->type == CNN_STRING) {
        const cnn_string *a = (const cnn_string *)w->data + i, *b = (const cnn_string *)g->data + i;
        return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
    }
    if (w->type == CNN_COMPLEX64 || w->type == CNN_COMPLEX128) {
        int part = w->type == CNN_COMPLEX64 ? CNN_FLOAT : CNN_DOUBLE;
        for (size_t k = 2 * i; k < 2 * i + 2; k++)
            if (!near(number_get(part, w->data, k), number_get(part, g->data, k), rtol, c->atol, worst)) return false;
        return true;
    }
    if (!type_is_float(w->type)) return number_int(w->type, w->data, i) == number_int(g->type, g->data, i);
    if (w->type == CNN_BFLOAT16 && rtol < 0x1p-6)
        rtol = 0x1p-6; /* two units in the last place, as ONNX's own runner allows */
    return near(number_get(w->type, w->data, i), number_get(g->type, g->data, i), rtol, c->atol, worst);
}

static void say_element(Compare *c, const Value *w, const Value *g, size_t i) {
    char at[200], a[90], b[90], text[440];
    index_text(w, i, at, sizeof at);
    number_text(w->type, w->data, i, a, sizeof a);
    number_text(g->type, g->data, i, b, sizeof b);
    (void)snprintf(text, sizeof text, "%s expected %s, got %s", at, a, b);
    say(c, w->name, text);
}

static bool same_tensor(Compare *c, const Value *w, const Value *g) {
    char a[220], b[220], text[500];
    bool types = w->type == g->type || (c->convert && type_is_float(w->type) && type_is_float(g->type));
    if (!types || w->rank != g->rank || memcmp(w->dim, g->dim, (size_t)w->rank * sizeof *w->dim) != 0) {
        shape_text(w, a, sizeof a);
        shape_text(g, b, sizeof b);
        (void)snprintf(text, sizeof text, "expected %s, got %s", a, b);
        say(c, w->name, text);
        return false;
    }
    size_t n = value_count(w), bad = 0;
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        if (same_element(c, w, g, i, &worst)) continue;
        if (bad++ < SHOWN) say_element(c, w, g, i);
    }
    if (bad == 0) return true;
    (void)snprintf(text, sizeof text, "%zu of %zu elements differ, max error %g", bad, n, worst);
    size_t at = strlen(c->first);
    if (at + 4 < sizeof c->first && !strstr(c->first, "elements differ"))
        (void)snprintf(c->first + at, sizeof c->first - at, " (%.200s)", text);
    if (c->out) fprintf(c->out, "    output '%s': %s\n", w->name ? w->name : "", text);
    return false;
}

bool compare_values(Compare *c, const Value *want, const Value *got) {
    static const char *const kind[] = {"nothing", "a tensor", "a sequence", "a map"};
    char text[120];
    if (want->kind != got->kind) {
        (void)snprintf(text, sizeof text, "expected %s, got %s", kind[want->kind], kind[got->kind]);
        say(c, want->name, text);
        return false;
    }
    if (want->kind == VAL_TENSOR) return same_tensor(c, want, got);
    if (want->count != got->count) {
        (void)snprintf(text, sizeof text, "expected %zu items, got %zu", want->count, got->count);
        say(c, want->name, text);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < want->count; i++) {
        Value w = want->item[i]; /* a shallow copy that bears the whole value's name */
        char name[240];
        (void)snprintf(name, sizeof name, "%.200s(%zu)", want->name ? want->name : "", i);
        w.name = name;
        if (!compare_values(c, &w, &got->item[i])) ok = false;
    }
    return ok;
}
