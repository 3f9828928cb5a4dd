// SPDX-License-Identifier: Apache-2.0
// Identical nests are one function. Two functions are identical when their text is the same but for the
// names of parameters, locals and index variables, which are numbered for the comparison by where they
// first stand.
#include "emit/emit.h"
#include <ctype.h>
#include <string.h>

static size_t slot_of(const char *key, int cap) { return (size_t)(((uintptr_t)key >> 4) * 0x9e3779b97f4a7c15u >> 20) & (size_t)(cap - 1); }

// Where an interned name is or would be.
static int *find(NameTable *t, const char *name) {
    size_t i = slot_of(name, t->cap);
    while (t->name[i] && t->name[i] != name) i = (i + 1) & (size_t)(t->cap - 1);
    t->at = i;
    return t->name[i] ? &t->id[i] : NULL;
}

void names_put(NameTable *t, const char *name, int id) {
    name = intern(name);
    if (t->n * 2 >= t->cap) {
        NameTable old = *t;
        t->cap = old.cap ? old.cap * 2 : 64;
        t->name = NEWN(const char *, t->cap);
        t->id = NEWN(int, t->cap);
        for (int i = 0; i < old.cap; i++) {
            if (!old.name[i]) continue;
            find(t, old.name[i]);
            t->name[t->at] = old.name[i], t->id[t->at] = old.id[i];
        }
    }
    int *there = find(t, name);
    if (!there) t->name[t->at] = name, t->n++;
    t->id[t->at] = id;
}

int names_get(NameTable *t, const char *name) {
    const int *id = t->cap ? find(t, name) : NULL;
    return id ? *id : -1;
}

const char *share_key(NameTable *own, const char *text) {
    Text key = {0};
    int count = 0;
    for (const char *s = text; *s;) {
        size_t n = 0;
        if (isalpha((unsigned char)*s) || *s == '_') {
            while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
            const char *name = intern_n(s, n);
            int id = names_get(own, name);
            if (id == 0) names_put(own, name, id = ++count);
            if (id > 0) put(&key, "$%d", id);
            else put_n(&key, s, n);
        } else { // numbers with their suffixes, and all else
            do n++;
            while (isalnum((unsigned char)s[n - 1]) ? isalnum((unsigned char)s[n]) || s[n] == '.' : s[n] && !isalnum((unsigned char)s[n]) && s[n] != '_');
            put_n(&key, s, n);
        }
        s += n;
    }
    return intern_n(key.s ? key.s : "", key.n);
}
