// SPDX-License-Identifier: Apache-2.0
// An open hash table keyed by addresses; its memory is the arena's.
#include "import/import.h"

static size_t slot_of(const PtrMap *m, const void *key) {
    size_t mask = (size_t)m->cap - 1;
    size_t at = (size_t)(((uintptr_t)key >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;
    while (m->key[at] && m->key[at] != key) at = (at + 1) & mask;
    return at;
}

void *map_get(const PtrMap *m, const void *key) {
    if (m->n == 0) return NULL;
    size_t at = slot_of(m, key);
    return m->key[at] ? m->value[at] : NULL;
}

void map_put(PtrMap *m, const void *key, void *value) {
    if (2 * m->n >= m->cap) {
        PtrMap old = *m;
        m->cap = old.cap ? 2 * old.cap : 16;
        m->key = NEWN(const void *, m->cap);
        m->value = NEWN(void *, m->cap);
        for (int i = 0; i < old.cap; i++) {
            if (!old.key[i]) continue;
            size_t at = slot_of(m, old.key[i]);
            m->key[at] = old.key[i];
            m->value[at] = old.value[i];
        }
    }
    size_t at = slot_of(m, key);
    if (!m->key[at]) m->n++;
    m->key[at] = key;
    m->value[at] = value;
}
