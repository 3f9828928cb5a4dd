// SPDX-License-Identifier: Apache-2.0
// Tiles by measurement instead of estimate. cnncc-run --tune has cnncc make a model several times, each time
// with another of the cheapest forms of every contraction (--tile-form N), times the nests, and writes the
// fastest form of each to a text file, which --tuned FILE reads:
//
//     # anything
//     3f0c9a5be1d27740 2.0.0.1.6x2x8   a contraction's key, its form: lane.operand.margins.row.rows x vectors x elements
//
// A key is a hash of all that the choice depends on: the target, extents, strides, guards, kinds of operands.
#include "loop/tile.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint64_t key; TileForm form; } Tuned;
typedef struct { TileForm form; double cost; } Estimate;
struct TileForms { Estimate *v; int n, cap; };

// ---- keys and forms as text ---------------------------------------------------------------------

static void put_stride(Text *s, Ex off, Ex var) {
    int64_t n;
    if (e_is_const(tile_stride(off, var), &n)) put(s, "%" PRId64 ",", n);
    else put(s, "?,");
}

static void put_operand(Text *s, const Tiling *t, int f) {
    const Buf *b = t->buf[f];
    put(s, " %d%d%d:", (int)b->kind, b->data != NULL, b->slack);
    for (int i = 0; i < t->c.nvar; i++) put_stride(s, t->off[f], t->c.var[i]);
}

static uint64_t key_of(const Tiling *t) {
    Text s = {0};
    put(&s, "%s %s %d%d%d%d", t->target->name, dt_name(t->dt), t->inner, t->root->rows != NULL, t->c.nred, t->nfixed);
    for (int i = 0; i < t->c.nvar; i++) put(&s, " %" PRId64, tile_extent(t->c.var[i]));
    put_operand(&s, t, 0);
    put_operand(&s, t, 1);
    put(&s, " out:");
    for (int i = 0; i < t->c.nvar - t->c.nred; i++) put_stride(&s, t->out_off, t->c.var[i]);
    for (int g = 0; g < t->c.nguard; g++) {
        int64_t n;
        put(&s, " in %" PRId64 ":", e_is_const(t->c.guard[g].n, &n) ? n : -1);
        for (int i = 0; i < t->c.nvar; i++) put_stride(&s, t->c.guard[g].e, t->c.var[i]);
    }
    uint64_t h = 0xcbf29ce484222325u; // FNV-1a
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.s[i]) * 0x100000001b3u;
    return h;
}

static const char *form_text(const TileForm *f) {
    return arena_printf("%d.%d.%d.%d.%dx%dx%d", f->lane, f->b, (int)f->margins, f->row, f->mr, f->nv, f->lanes);
}

static bool parse_line(const char *line, Tuned *out) {
    int n = 0, margins;
    TileForm *f = &out->form;
    if (sscanf(line, "%16" SCNx64 " %d.%d.%d.%d.%dx%dx%d%n", &out->key, &f->lane, &f->b, &margins, &f->row, &f->mr, &f->nv, &f->lanes, &n) != 8 || n == 0)
        return false;
    f->margins = (unsigned)margins;
    return margins >= 0 && margins < 4;
}

// ---- the file -----------------------------------------------------------------------------------

static struct { const char *path; Tuned *v; int n, cap; } table;

static void load(const char *path) {
    char line[512];
    if (table.path == path) return;
    table.path = path;
    table.v = NULL;
    table.n = table.cap = 0;
    FILE *f = fopen(path, "r");
    if (!f) fatal("--tuned %s: %s", path, strerror(errno));
    for (int at = 1; fgets(line, sizeof line, f); at++) {
        Tuned t;
        if (line[0] == '#' || line[strspn(line, " \t\r\n")] == 0) continue;
        if (!parse_line(line, &t)) {
            (void)fclose(f);
            fatal("--tuned %s: line %d is no tile: KEY LANE.OPERAND.MARGINS.ROW.ROWSxVECTORSxELEMENTS", path, at);
        }
        PUSH(table.v, table.n, table.cap, t);
    }
    (void)fclose(f);
}

static const TileForm *tuned_form(uint64_t key) {
    for (int i = table.n - 1; i >= 0; i--) // of two, the last
        if (table.v[i].key == key) return &table.v[i].form;
    return NULL;
}

// ---- the forms to measure -------------------------------------------------------------------------

void tile_forms_add(TileForms *all, const TileForm *form, double cost) {
    PUSH(all->v, all->n, all->cap, ((Estimate){*form, cost}));
}

static int cheaper(const void *a, const void *b) {
    const Estimate *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return memcmp(&x->form, &y->form, sizeof x->form);
}

static bool same_way(const TileForm *a, const TileForm *b) {
    return a->lane == b->lane && a->b == b->b && a->margins == b->margins && a->row == b->row && a->lanes == b->lanes;
}

// The n-th of the forms by estimated cost, of which no more than three differ in the register tile only; NULL: there are fewer.
static const TileForm *nth_form(TileForms *all, int n) {
    enum { OF_A_WAY = 3 };
    const double worst = 1.8; // times the best one's cost: what the estimate may err by
    qsort(all->v, (size_t)all->n, sizeof *all->v, cheaper);
    for (int i = 0, found = 0; i < all->n && all->v[i].cost <= worst * all->v[0].cost; i++) {
        int like = 0;
        for (int k = 0; k < i; k++) like += same_way(&all->v[k].form, &all->v[i].form);
        if (like < OF_A_WAY && found++ == n) return &all->v[i].form;
    }
    return NULL;
}

// ---- the choice -----------------------------------------------------------------------------------

static double forced(Tiling *t, const TileForm *form) {
    Tiling s = *t;
    TileForm copy = *form;
    s.force = &copy;
    double cost = tile_choose(&s);
    if (cost < 1e100) *t = s;
    t->force = NULL;
    return cost;
}

double tile_pick(Tiling *t) {
    const Options *o = t->l->opt;
    if (!o || (!o->tuned && !o->tile_form && !o->profile)) return tile_choose(t);
    uint64_t key = key_of(t);
    const TileForm *form = NULL;
    const Tiling start = *t;
    double cost = 1e100;
    if (o->tuned) load(o->tuned), form = tuned_form(key);
    if (o->tile_form > 0) {
        TileForms all = {0};
        t->forms = &all;
        (void)tile_choose(t);
        *t = start;
        form = nth_form(&all, o->tile_form);
    }
    if (form) cost = forced(t, form);
    if (cost >= 1e100) { // none, or one of another version of the compiler
        *t = start;
        cost = tile_choose(t);
    }
    if (cost < 1e100) t->label = arena_printf("tile %016" PRIx64 " %s", key, form_text(&t->form));
    return cost;
}
