// SPDX-License-Identifier: Apache-2.0
// Vectors in C: GNU's types where there are any, else arrays and a loop over the lanes. Functions of vectors are made
// from the text of the runtime's scalar ones, which have no branches: the same operations, and so the same bits.
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
    need(e, part);
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
        if (s[0] == '/' && s[1] == '*') { // the scalar function has the comment
            s = strstr(s, "*/") + 2;
            while (*s == '\n' || *s == ' ') s++;
            continue;
        }
        if (!is_word(*s)) {
            put_n(t, s++, 1);
            if (s[-1] == ';') type = "f32";
            if (s[-1] == '=' && s[0] == ' ') put_n(t, s++, 1);
            if ((s[-1] == '(' || (s[-1] == ' ' && s[-2] == '=')) && is_choice(s, end)) s = put_choice(t, s, end, s[-1] == '(' ? "f32" : type, lanes);
            continue;
        }
        size_t n = 0;
        while (is_word(s[n])) n++;
        if (n == 5 && !strncmp(s, "float", n)) put(t, "cnn_f32x%d", lanes), type = "f32";
        else if (n == 8 && !strncmp(s, "uint32_t", n)) put(t, "cnn_u32x%d", lanes), type = "u32";
        else if (n == 6 && !strncmp(s, "inline", n)) put(t, "inline __attribute__((always_inline))");
        else if (!strncmp(s, "cnn_", 4)) put(t, "%.*s_x%d", (int)n, s, lanes);
        else put_n(t, s, n);
        s += n;
        if (n == 6 && !strncmp(s - n, "return", n) && is_choice(s + 1, end)) put(t, " "), s = put_choice(t, s + 1, end, "f32", lanes);
    }
}

static void put_vector_functions(const Emit *e, Text *t) {
    for (int i = 0; i < e->nvecfn; i++) {
        const char *space = strchr(e->vecfn[i], ' '), *text = runtime_text(arena_printf("%.*s", (int)(space - e->vecfn[i]), e->vecfn[i]));
        int lanes = 0;
        sscanf(space, "%d", &lanes);
        put_words(t, text, text + strlen(text), lanes);
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
           "#define CNN_MIN(type, x, y) ((x) < (y) || (x) != (x) ? (x) : (y))\n#define CNN_PREFETCH(p, near) ((void)0)\n#endif\n\n");
}
