// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void reserve(Text *t, size_t more) {
    if (t->n + more + 1 <= t->cap) return;
    size_t cap = (t->n + more + 1) * 2;
    char *s = arena_alloc(cap);
    if (t->n) memcpy(s, t->s, t->n);
    t->s = s;
    t->cap = cap;
}

void put_n(Text *t, const char *s, size_t n) {
    reserve(t, n);
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = 0;
}

void put(Text *t, const char *fmt, ...) {
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    reserve(t, 24);
    int n = vsnprintf(t->s + t->n, t->cap - t->n, fmt, ap);
    va_end(ap);
    if (n < 0) die("a format failed");
    if ((size_t)n >= t->cap - t->n) {
        reserve(t, (size_t)n);
        vsnprintf(t->s + t->n, t->cap - t->n, fmt, ap2);
    }
    va_end(ap2);
    t->n += (size_t)n;
}

void put_c_string(Text *t, const char *s, size_t n) {
    put(t, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\' || c == '?') put(t, "\\%c", c);
        else if (c < 32 || c > 126) put(t, "\\%03o", c);
        else put(t, "%c", c);
    }
    put(t, "\"");
}

const char *in_comment(const char *s) {
    char *r = arena_strdup(s);
    for (char *p = r; *p; p++) {
        bool pair = p > r && ((p[-1] == '*' && *p == '/') || (p[-1] == '/' && *p == '*') || (p[-1] == '?' && *p == '?'));
        if (pair || *p < 32 || *p > 126) *p = '_';
    }
    return r;
}

// The shortest decimal that reads back as the same value.
void put_float(Text *t, double v, bool is_float) {
    const char *f = is_float ? "f" : "";
    if (isnan(v)) { put(t, "(0.0%s/0.0%s)", f, f); return; }
    if (isinf(v)) { put(t, v < 0 ? "(-1.0%s/0.0%s)" : "(1.0%s/0.0%s)", f, f); return; }
    char s[40];
    for (int digits = is_float ? 6 : 15; digits < 18; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (is_float ? strtof(s, NULL) == (float)v : strtod(s, NULL) == v) break;
    }
    put(t, "%s%s%s", s, strpbrk(s, ".e") ? "" : ".0", f);
}

bool write_file(const char *path, const char *s, size_t n) {
    char *tmp = arena_printf("%s.%ld.tmp", path, (long)getpid());
    FILE *f = fopen(tmp, "wb");
    bool ok = f && fwrite(s, 1, n, f) == n;
    if (f && fclose(f)) ok = false;
    if (ok && rename(tmp, path)) ok = false;
    if (!ok) {
        error("cannot write %s: %s", path, strerror(errno));
        if (f) remove(tmp);
    }
    return ok;
}
