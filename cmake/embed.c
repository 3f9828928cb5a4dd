// SPDX-License-Identifier: Apache-2.0
// embed OUT.c HEADER...: writes the parts of runtime headers as a table of C strings. A part begins
// below a line "//@ NAME: DEP DEP ..." and ends at the next such line or at "//@ end". Texts are one
// array of characters, since C11 promises string literals of 4095 bytes only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 1024, LINE = 4096 };

typedef struct { char *name, *deps; size_t text; } Part;

static Part parts[PARTS];
static int nparts;
static FILE *out;
static size_t at; /* characters written so far */

static void fail(const char *file, long line, const char *what, const char *arg) {
    fprintf(stderr, "%s:%ld: %s %s\n", file, line, what, arg);
    exit(1);
}

static void put(int c) {
    fprintf(out, at % 24 == 0 ? "\n    %d," : " %d,", c);
    at++;
}

static char *copy(const char *s, size_t n) {
    char *p = malloc(n + 1);
    if (!p)
        exit(1);
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

static int find(const char *name, size_t n) {
    int i;
    for (i = 0; i < nparts; i++)
        if (strlen(parts[i].name) == n && memcmp(parts[i].name, name, n) == 0)
            return i;
    return -1;
}

/* NAME: DEP DEP ... : every DEP is a part above, or #math or #string: that header of C. */
static void open_part(const char *file, long line, char *s) {
    char *colon = strchr(s, ':'), *p;
    if (!colon || nparts == PARTS)
        fail(file, line, "bad marker", s);
    if (find(s, (size_t)(colon - s)) >= 0)
        fail(file, line, "a second part", s);
    for (p = colon + 1; *p;) {
        size_t n = strcspn(p += strspn(p, " "), " ");
        if (n && *p != '#' && find(p, n) < 0)
            fail(file, line, "no part above this line is named", p);
        p += n;
    }
    p = colon + 1 + strspn(colon + 1, " ");
    parts[nparts].name = copy(s, (size_t)(colon - s));
    parts[nparts].deps = copy(p, strlen(p));
    parts[nparts++].text = at;
}

static void embed(const char *file) {
    FILE *in = fopen(file, "rb");
    char s[LINE];
    long line = 0;
    int inside = 0, blank = 0;
    if (!in)
        fail(file, 0, "cannot be read", "");
    while (fgets(s, LINE, in)) {
        size_t n = strlen(s), i;
        line++;
        if (n == LINE - 1)
            fail(file, line, "line too long", "");
        for (i = 0; i < n; i++)
            if ((unsigned char)s[i] > 126)
                fail(file, line, "not ASCII", "");
        while (n && (s[n - 1] == '\n' || s[n - 1] == '\r'))
            s[--n] = 0;
        if (strncmp(s, "//@ ", 4) == 0) {
            if (inside)
                put(0);
            inside = strcmp(s + 4, "end") != 0;
            blank = 0;
            if (inside)
                open_part(file, line, s + 4);
        } else if (inside && n == 0) {
            blank++;
        } else if (inside) {
            for (; blank; blank--)
                put('\n');
            for (i = 0; i < n; i++)
                put(s[i]);
            put('\n');
        }
    }
    if (inside)
        fail(file, line, "no", "//@ end");
    fclose(in);
}

int main(int argc, char **argv) {
    int i;
    if (argc < 3) {
        fprintf(stderr, "usage: embed OUT.c HEADER...\n");
        return 2;
    }
    out = fopen(argv[1], "wb");
    if (!out)
        fail(argv[1], 0, "cannot be written", "");
    fprintf(out, "/* Made by embed from runtime headers. */\n"
                 "struct RuntimePart { const char *name, *deps, *text; };\n"
                 "extern const struct RuntimePart runtime_parts[];\n"
                 "extern const int runtime_nparts;\n\n"
                 "static const char text[] = {");
    for (i = 2; i < argc; i++)
        embed(argv[i]);
    fprintf(out, "\n};\n\nconst struct RuntimePart runtime_parts[] = {\n");
    for (i = 0; i < nparts; i++)
        fprintf(out, "    { \"%s\", \"%s\", text + %lu },\n", parts[i].name, parts[i].deps, (unsigned long)parts[i].text);
    fprintf(out, "};\n\nconst int runtime_nparts = %d;\n", nparts);
    if (ferror(out) || fclose(out) != 0)
        fail(argv[1], 0, "cannot be written", "");
    return 0;
}
