// SPDX-License-Identifier: Apache-2.0
// Vectors in C: GNU's types where there are any, else arrays and a loop over the lanes. Functions of vectors are made
// from the text of the runtime's scalar ones, which have no branches: the same operations, and so the same bits.
// They take and give vectors by address: how those are passed depends on the processor that a caller is compiled for.
#include "emit/emit.h"
#include <ctype.h>
#include <string.h>

const char *vector_type(Emit *e, DType dt, int lanes) {
    const char *s = arena_printf("%s %d", dt_name(dt), lanes);
    bool have = false;
    for (int i = 0; i < e->nvec && !have; i++) have = !strcmp(e->vec[i], s);
    if (!have) PUSH(e->vec, e->nvec, e->cap_vec, s);
    return arena_printf("cnn_%sx%d", dt_name(dt), lanes);
}

// ---- functions ----------------------------------------------------------------------------------

void need_vector(Emit *e, const char *part, int lanes) {
    const char *s = arena_printf("%s %d", part, lanes);
    vector_type(e, F32, lanes), vector_type(e, U32, lanes);
    for (int i = 0; i < e->nvecfn; i++)
        if (!strcmp(e->vecfn[i], s)) return;
    for (const char *d = runtime_needs(part); *d;) { // first what it calls
        size_t n = strcspn(d, " ");
        if (n) need_vector(e, arena_printf("%.*s", (int)n, d), lanes);
        d += n + strspn(d + n, " ");
    }
    PUSH(e->vecfn, e->nvecfn, e->cap_vecfn, s);
}

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static void put_words(Text *t, const char *s, const char *end, int lanes);

// The end of an operand of ?: from s on.
static const char *operand_end(const char *s, const char *end) {
    for (int depth = 0; s < end; s++) {
        if (*s == '(') depth++;
        if (*s == ')' && depth-- == 0) break;
        if (depth == 0 && (*s == ',' || *s == ';' || *s == '?' || *s == ':')) break;
    }
    return s;
}

// c ? x : y, of which the parts are to be words.
static const char *put_choice(Text *t, const char *s, const char *end, const char *type, int lanes) {
    const char *c = operand_end(s, end), *x = operand_end(c + 1, end), *y = operand_end(x + 1, end);
    put(t, "CNN_PICK(cnn_%sx%d, ", type, lanes);
    put_words(t, s, c - 1, lanes);
    put(t, ",");
    put_words(t, c + 1, x - 1, lanes);
    put(t, ",");
    put_words(t, x + 1, y, lanes);
    put(t, ")");
    return y;
}

// Whether an expression that begins at s is a choice.
static bool is_choice(const char *s, const char *end) {
    const char *c = operand_end(s, end);
    return c < end && *c == '?';
}

// The text with types and names of vectors.
static void put_words(Text *t, const char *s, const char *end, int lanes) {
    const char *type = "f32"; // of the statement
    while (s < end) {
        if (!is_word(*s)) {
            put_n(t, s++, 1);
            if (s[-1] == ';') type = "f32";
            if (s[-1] == '=' && s[0] == ' ') put_n(t, s++, 1);
            if ((s[-1] == '(' || (s[-1] == ' ' && s[-2] == '=')) && is_choice(s, end)) s = put_choice(t, s, end, s[-1] == '(' ? "f32" : type, lanes);
            continue;
        }
        size_t n = 0;
        while (is_word(s[n])) n++;
        if (n == 6 && !strncmp(s, "return", n)) {
            put(t, "*y_ = ");
            s += n + 1;
            if (is_choice(s, end)) s = put_choice(t, s, end, "f32", lanes);
            continue;
        }
        if (n == 5 && !strncmp(s, "float", n)) put(t, "cnn_f32x%d", lanes), type = "f32";
        else if (n == 8 && !strncmp(s, "uint32_t", n)) put(t, "cnn_u32x%d", lanes), type = "u32";
        else if (!strncmp(s, "cnn_", 4)) put(t, "%.*s_x%d", (int)n, s, lanes);
        else put_n(t, s, n);
        s += n;
    }
}

// static inline TYPE NAME(TYPE a, TYPE b) { BODY }
static void put_vector_function(Text *t, const char *part, int lanes) {
    const char *s = strstr(runtime_text(part), "static inline ") + strlen("static inline "), *open = strchr(s, '('), *close = strchr(open, ')');
    Text names = {0}, values = {0}, copies = {0};
    put(t, "static inline __attribute__((always_inline)) void %s_x%d_(", part, lanes);
    put_words(t, s, strchr(s, ' '), lanes);
    put(t, " *y_");
    for (const char *a = open + 1; a < close;) {
        const char *end = a + strcspn(a, ",)"), *name = end;
        while (is_word(name[-1])) name--;
        Text type = {0};
        put_words(&type, a, name - 1, lanes);
        put(t, ", const %s *%.*s_", type.s, (int)(end - name), name);
        put(&copies, "    const %s %.*s = *%.*s_;\n", type.s, (int)(end - name), name, (int)(end - name), name);
        put(&names, "%s%.*s", names.n ? ", " : "", (int)(end - name), name);
        put(&values, "const %s %.*s_ = (%.*s); ", type.s, (int)(end - name), name, (int)(end - name), name);
        a = *end == ',' ? end + 2 : end;
    }
    put(t, ") {\n%s", copies.s);
    put_words(t, strchr(close, '\n') + 1, s + strlen(s), lanes);
    put(t, "#define %s_x%d(%s) __extension__({ %s", part, lanes, names.s, values.s);
    put_words(t, s, strchr(s, ' '), lanes);
    put(t, " y_; %s_x%d_(&y_", part, lanes);
    for (const char *a = names.s; *a; a += *a == ',' ? 2 : 0) {
        const size_t n = strcspn(a, ",");
        put(t, ", &%.*s_", (int)n, a);
        a += n;
    }
    put(t, "); y_; })\n");
}

static const char *part_of(const char *fn, int *lanes) {
    const char *space = strchr(fn, ' ');
    sscanf(space, "%d", lanes);
    return arena_printf("%.*s", (int)(space - fn), fn);
}

static void put_vector_functions(const Emit *e, Text *t) {
    int lanes;
    for (int i = 0; i < e->nvecfn; i++) {
        const char *part = part_of(e->vecfn[i], &lanes);
        put_vector_function(t, part, lanes);
    }
}

// What they are made from, without vectors, unless it is there already.
static void put_scalar_functions(const Emit *e, Text *t) {
    int lanes;
    for (int i = 0; i < e->nvecfn; i++) {
        const char *part = part_of(e->vecfn[i], &lanes);
        bool have = has_part(e, part);
        for (int k = 0; k < i && !have; k++) have = !strcmp(part_of(e->vecfn[k], &lanes), part);
        if (!have) put(t, "%s\n", runtime_text(part));
    }
}

// ---- types --------------------------------------------------------------------------------------

void put_vectors(Emit *e, Text *t) {
    if (!e->nvec) return;
    put(t, "#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)\n");
    for (int i = 0; i < e->nvec; i++) {
        char name[32];
        int lanes = 0;
        sscanf(e->vec[i], "%31s %d", name, &lanes);
        DType dt = dt_from_name(name);
        int size = (int)dt_size(dt) * lanes;
        put(t, "typedef %s cnn_%sx%d __attribute__((vector_size(%d)));\n", c_type(dt), name, lanes, size);
        put(t, "typedef %s cnn_%sx%du __attribute__((vector_size(%d), aligned(%zu), may_alias));\n", c_type(dt), name, lanes, size, dt_size(dt));
    }
    put(t, "#define CNN_LANES(n)\n#define CNN_L(v) v\n#define CNN_FN(f, n) f##_x##n\n#define CNN_V(type, p) (*(type *)(p))\n#define CNN_SPLAT(type, x) ((x) - (type){0})\n"
           "#define CNN_PICK(type, c, x, y) ((type)(((__typeof__(c))CNN_SPLAT(type, x) & (c)) | ((__typeof__(c))CNN_SPLAT(type, y) & ~(c))))\n"
           "#define CNN_MAX(type, x, y) CNN_PICK(type, ((x) > (y)) | ((x) != (x)), x, y) /* NaN propagates */\n"
           "#define CNN_MIN(type, x, y) CNN_PICK(type, ((x) < (y)) | ((x) != (x)), x, y)\n"
           "#define CNN_PREFETCH(p, near) __builtin_prefetch(p, 0, near)\n");
    put_vector_functions(e, t);
    put(t, "#else\n");
    for (int i = 0; i < e->nvec; i++) {
        char name[32];
        int lanes = 0;
        sscanf(e->vec[i], "%31s %d", name, &lanes);
        put(t, "typedef %s cnn_%sx%d[%d];\n", c_type(dt_from_name(name)), name, lanes, lanes);
    }
    put(t, "#define CNN_LANES(n) for (int lane = 0; lane < (n); lane++)\n#define CNN_L(v) v[lane]\n#define CNN_FN(f, n) f\n#define CNN_PICK(type, c, x, y) ((c) ? (x) : (y))\n#define CNN_V(type, p) (p)[lane]\n"
           "#define CNN_SPLAT(type, x) (x)\n#define CNN_MAX(type, x, y) ((x) > (y) || (x) != (x) ? (x) : (y))\n"
           "#define CNN_MIN(type, x, y) ((x) < (y) || (x) != (x) ? (x) : (y))\n#define CNN_PREFETCH(p, near) ((void)0)\n");
    put_scalar_functions(e, t);
    put(t, "#endif\n\n");
}
