// SPDX-License-Identifier: Apache-2.0
// Where in the model's file the numbers of its parameters are, for those that are in typed fields: packed floats and
// doubles are little-endian bytes in a row, as raw data are. Walks a file that wire_scan has found to be valid.
#include "import/import.h"

#include <string.h>

enum { MODEL_GRAPH = 7, GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, NODE_OUTPUT = 2, NODE_ATTRIBUTE = 5, ATTRIBUTE_T = 5 };
enum { TENSOR_FLOATS = 4, TENSOR_NAME = 8, TENSOR_DOUBLES = 10, LENGTH = 2 };

typedef struct { const uint8_t *p, *end; } Span;
typedef struct { unsigned id, type; Span body; } Field; // body: of type LENGTH

static uint64_t varint(Span *s) {
    uint64_t v = 0;
    for (int shift = 0; s->p < s->end && shift < 64; shift += 7) {
        uint8_t c = *s->p++;
        v |= (uint64_t)(c & 127) << shift;
        if (c < 128) break;
    }
    return v;
}

// The next field; false at the end.
static bool next(Span *s, Field *f) {
    if (s->p >= s->end) return false;
    uint64_t key = varint(s), n;
    *f = (Field){.id = (unsigned)(key >> 3), .type = (unsigned)(key & 7), .body = {s->p, s->p}};
    switch (f->type) {
    case 0: varint(s); return true;
    case 1: n = 8; break;
    case 5: n = 4; break;
    default: n = varint(s); f->body.p = s->p; break;
    }
    if (n > (uint64_t)(s->end - s->p)) return false;
    s->p += n;
    f->body.end = s->p;
    return true;
}

static const char *text(Span s) { return intern_n((const char *)s.p, (size_t)(s.end - s.p)); }

// A tensor of that name, or where it has a name of its own by that. Numbers in more than one run have no place.
static void tensor(PtrMap *place, const uint8_t *file, Span s, const char *name) {
    Field f;
    Span numbers = {0};
    int runs = 0;
    while (next(&s, &f)) {
        if (f.id == TENSOR_NAME && !name) name = text(f.body);
        if (f.id != TENSOR_FLOATS && f.id != TENSOR_DOUBLES) continue;
        runs += f.type == LENGTH ? 1 : 2;
        numbers = f.body;
    }
    if (runs != 1 || !name || map_get(place, name)) return;
    Place *p = NEW(Place);
    *p = (Place){numbers.p - file, (size_t)(numbers.end - numbers.p)};
    map_put(place, name, p);
}

static void node(PtrMap *place, const uint8_t *file, Span s) {
    const char *output = NULL;
    Field f, in;
    Span attribute, all = s;
    while (next(&s, &f))
        if (f.id == NODE_OUTPUT && !output) output = text(f.body);
    for (s = all; output && next(&s, &f);) {
        if (f.id != NODE_ATTRIBUTE || f.type != LENGTH) continue;
        attribute = f.body;
        while (next(&attribute, &in))
            if (in.id == ATTRIBUTE_T && in.type == LENGTH) tensor(place, file, in.body, output);
    }
}

void places_find(PtrMap *place, const uint8_t *file, size_t size) {
    Span model = {file, file + size};
    Field f, in;
    while (next(&model, &f)) {
        if (f.id != MODEL_GRAPH || f.type != LENGTH) continue;
        Span graph = f.body;
        while (next(&graph, &in)) {
            if (in.type != LENGTH) continue;
            if (in.id == GRAPH_INITIALIZER) tensor(place, file, in.body, NULL);
            if (in.id == GRAPH_NODE) node(place, file, in.body);
        }
    }
}
