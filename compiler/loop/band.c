// SPDX-License-Identifier: Apache-2.0
// Chains of nests that run band by band: a nest's result that only the next one reads, and reads by rows
// (a 1x1 convolution, a depthwise one, pooling, what is pointwise), never exists in full. An iteration of the chain computes
// some rows of its last result; of every other result it keeps as many rows as the next nest's window
// needs, moves them up, and computes the ones that are new:
//
//   for image, for band of rows:  expand -> X0[rows]  depthwise -> X1[rows]  project -> Y
//
// Threads take runs of bands, each with rows of its own in scratch memory; only the first band of a run
// computes all rows of its window. Every element is computed as without bands: the bits are the same.
#include "loop/loop.h"
#include <string.h>

enum { MAX_STAGES = 4, MAX_ITEMS = 512, LEAST_WIDTH = 20, GUESS = 256 };
static const double least_bytes = 1 << 18; // saved by a chain, for it to be worth its loops

// How the rows of a result are read: row y of the reader takes rows y*stride + lo .. y*stride + hi.
typedef struct { bool ok; int64_t stride, lo, hi; double bytes; } Link;

// ---- how one root reads another's rows ----------------------------------------------------------

typedef struct { Val *v; Ex *idx; } Item;

static bool push(Item *it, int *n, Val *v, Ex *idx) {
    for (int i = 0; i < *n; i++)
        if (it[i].v == v && (!v->rank || !memcmp(it[i].idx, idx, sizeof *idx * (size_t)v->rank))) return true;
    if (*n == MAX_ITEMS) return false;
    it[(*n)++] = (Item){v, idx};
    return true;
}

static bool push_operands(const Node *n, const Ex *idx, Item *it, int *count) {
    for (int k = 0; k < n->nin; k++) {
        Val *x = n->in[k];
        Ex *in = NEWN(Ex, x->rank + 1);
        if (n->op == P_reduce) {
            for (int i = 0, o = 0, g = 0; i < x->rank; i++) {
                if (g < n->nex && e_is(n->ex[g], i)) in[i] = e_index("k", x->shape[i]), g++;
                else in[i] = idx[o++];
            }
        } else if (n->op != P_pad || k == 0) val_index_in(n, k, idx, in);
        if (!push(it, count, x, in)) return false;
    }
    return true;
}

static bool walkable(Prim p) {
    return p == P_map || p == P_reshape || p == P_permute || p == P_expand || p == P_slice || p == P_pad || p == P_window || p == P_reduce;
}

static bool is_leaf(const Lower *l, const Val *v) {
    Prim p = v->node->op;
    return l->buf[v->id] || p == P_const || p == P_iota || p == P_dims || p == P_input;
}

// Images are axis 0 of the logical shape, rows the outermost axis in memory behind it.
static int rows_axis(const Buf *b) { return b->rank == 4 && b->order[0] == 0 && !e_is(b->shape[b->order[1]], 1) ? b->order[1] : -1; }

static bool add_access(Link *k, const Ex *idx, int rows, Ex y, Ex image) {
    Ex rest;
    int64_t s = e_coef(idx[rows], y, &rest);
    if (s < 1 || rest->lo < -4096 || rest->hi > 4096 || (!e_is(image, 0) && idx[0] != image)) return false;
    for (int i = 1; i < 4; i++)
        if (i != rows && (e_uses(idx[i], y) || e_uses(idx[i], image))) return false;
    if (!k->ok) *k = (Link){true, s, rest->lo, rest->hi, k->bytes};
    if (k->stride != s) return false;
    if (rest->lo < k->lo) k->lo = rest->lo;
    if (rest->hi > k->hi) k->hi = rest->hi;
    return true;
}

// What an extent is taken for: of images whose sides are not known, some 256.
static int64_t guess(Ex extent) {
    int64_t n = extent_guess(extent, GUESS);
    return n > 0 ? n : 1;
}

static double bytes_of(const Val *v) {
    int64_t images;
    double n = (double)dt_size(v->dt) * (e_is_const(v->shape[0], &images) ? (double)images : 1);
    for (int i = 1; i < v->rank; i++) n *= (double)guess(v->shape[i]);
    return n;
}

// Whether r reads all of x's rows in such a way.
static Link link_of(Lower *l, const Root *r, Val *x) {
    Link k = {.bytes = bytes_of(x)};
    int rows = rows_axis(l->buf[x->id]), n = 0;
    Item *it = NEWN(Item, MAX_ITEMS);
    Ex *var = NEWN(Ex, 4);
    if (rows < 0 || r->expr->rank != 4) return k;
    for (int i = 0; i < 4; i++) var[i] = e_index("i", r->expr->shape[i]);
    if (var[rows]->kind != X_VAR || var[0] == var[rows]) return k;
    push(it, &n, r->expr, var);
    for (int i = 0; i < n; i++) {
        Val *v = it[i].v;
        if (v == x) {
            if (!add_access(&k, it[i].idx, rows, var[rows], var[0])) return (Link){0};
        } else if (!(i == 0 || !is_leaf(l, v)) || v->rank == 0) continue;
        else if (!walkable(v->node->op) || !push_operands(v->node, it[i].idx, it, &n)) return (Link){0};
    }
    return k;
}

// ---- chains -----------------------------------------------------------------------------------

// A root that can compute some of its rows: by the tile template with constant weights, or as a nest.
static bool by_rows(Lower *l, const Root *r) {
    Prim p = r->val->node->op;
    Buf *own = l->buf[r->val->id];
    if (r->at || r->winograd || l->attention[r->val->id] || r->buf != own || own->rank != 4 || own->alias || own->dynamic || !known_at_entry(l->prog, own->size) || (!walkable(p) && p != P_copy)) return false;
    for (int i = 2; i < 4; i++) // short rows
        if (own->order[i] != 1 && guess(own->shape[own->order[i]]) < LEAST_WIDTH) return false;
    for (int i = 0; i < l->nload; i++)
        if (l->load[i]->val == r->val) return false;
    if (!r->reduce) return true;
    Contraction **phase;
    l->buf[r->val->id] = NULL;
    int n = contract_phases(l, r->reduce, &phase);
    l->buf[r->val->id] = own;
    if (n == 0) return true;
    for (int i = 0; n == 1 && i < 2; i++)
        if (phase[0]->factor[i].buf->kind == B_WEIGHT && phase[0]->factor[i].buf->data) return true;
    return false;
}

static int64_t row_bytes(const Buf *b, int rows) {
    int64_t n = (int64_t)dt_size(b->dt);
    for (int i = 1; i < b->rank; i++)
        if (i != rows) n *= guess(b->shape[i]);
    return n;
}

// Rows of each result but the last that a band of n rows of the last one needs at once, and how many of them are made anew.
static void rows_needed(const Link *k, int stages, int64_t n, int64_t *keep, int64_t *fresh) {
    int64_t hi = n, lo_first = 0, lo_next = 0; // of the stage behind, in its first and in any other band
    int64_t news = n;
    for (int j = stages - 2; j >= 0; j--) {
        int64_t top = (hi - 1) * k[j].stride + k[j].hi + 1, first = lo_first * k[j].stride + k[j].lo;
        int64_t next = lo_next * k[j].stride + k[j].lo;
        news *= k[j].stride;
        keep[j] = top - (first < next ? first : next);
        fresh[j] = news < keep[j] ? news : keep[j]; // windows with gaps between them leave rows out
        lo_first = first;
        lo_next = top - fresh[j];
        hi = top;
    }
}

// The most rows of the last result for which all that a chain keeps fits into half of the cache.
static int64_t band_rows(Lower *l, const Root *r, const Link *k, int stages) {
    const Target *t = target_find(l->opt ? l->opt->target : NULL);
    int rows = rows_axis(r[0].buf);
    int64_t best = 1, most = guess(r[stages - 1].buf->shape[rows]), keep[MAX_STAGES], fresh[MAX_STAGES];
    for (int64_t n = 1; n <= most; n++) {
        double bytes = 0;
        rows_needed(k, stages, n, keep, fresh);
        for (int j = 0; j < stages - 1; j++) bytes += (double)(keep[j] * row_bytes(r[j].buf, rows));
        if (bytes > t->l2 / 2) break;
        best = n;
    }
    int64_t bands = (most + best - 1) / best;
    return (most + bands - 1) / bands;
}

// A chain saves what its inner results take less than in full; negative: not worth it.
static double saved(Lower *l, const Root *r, const Link *k, int stages) {
    double all = 0, kept = 0;
    int64_t keep[MAX_STAGES], fresh[MAX_STAGES];
    int rows = rows_axis(r[0].buf);
    rows_needed(k, stages, band_rows(l, r, k, stages), keep, fresh);
    for (int j = 0; j < stages - 1; j++) {
        if (rows_axis(r[j].buf) != rows) return -1;
        all += k[j].bytes;
        kept += (double)(keep[j] * row_bytes(r[j].buf, rows));
    }
    return all - kept > least_bytes && kept < all / 2 ? all - kept : -1;
}

// Cuts the roots into chains so that the most memory is saved: best[i] is what roots from i on can save.
void band_choose(Lower *l) {
    int n = l->nroots;
    Link *link = NEWN(Link, n + 1);
    double *best = NEWN(double, n + 2);
    bool *able = NEWN(bool, n + 1);
    for (int i = 0; i < n; i++) able[i] = by_rows(l, &l->roots[i]);
    for (int i = 0; i + 1 < n; i++) {
        const Root *r = &l->roots[i];
        if (able[i] && able[i + 1] && r->buf->kind == B_WORK && l->uses[r->val->id] == 1) link[i] = link_of(l, &l->roots[i + 1], r->val);
    }
    for (int i = n - 1; i >= 0; i--) {
        best[i] = best[i + 1];
        l->roots[i].stages = 1;
        for (int s = 2; s <= MAX_STAGES && i + s <= n && link[i + s - 2].ok; s++) {
            double save = saved(l, &l->roots[i], &link[i], s);
            if (save <= 0 || save + best[i + s] <= best[i]) continue;
            best[i] = save + best[i + s];
            l->roots[i].stages = s;
        }
    }
}

// ---- the loops --------------------------------------------------------------------------------

typedef struct {
    Lower *l;
    Root *r;
    int stages, rows;
    Link link[MAX_STAGES];
    int64_t n, keep[MAX_STAGES], fresh[MAX_STAGES];
    Ex bands;                    // of an image
    Ex image, band, first;       // of this iteration; the first iteration of the thread
    Ex lo[MAX_STAGES], hi[MAX_STAGES]; // rows of each stage, not yet cut off at the borders
} Chain;

static Ex declare(Chain *c, Block *b, const char *stem, Ex value) {
    Ex v = e_sym(arena_printf("%s%d", stem, c->l->next_local++), INT32_MIN, INT32_MAX);
    append(b, (Stmt){.kind = ST_INT, .var = v, .e = value});
    return v;
}

// Kept rows move to the front; what a loop moves does not overlap, row by row.
static void move_rows(Chain *c, Block *b, int j) {
    const Buf *x = c->r[j].buf;
    int64_t keep = c->keep[j] - c->fresh[j];
    Ex row = e_index(arena_printf("r%d", c->l->next_local++), e_int(keep)), each = x->stride[c->rows];
    if (keep <= 0) return;
    Ex i = e_index(arena_printf("i%d", c->l->next_local++), each);
    if (row->kind == X_VAR) b = for_loop(b, row, e_int(0), row->extent, 1, NULL);
    b = for_loop(b, i, e_int(0), each, 1, NULL);
    Ex to = e_add(e_mul(row, each), i);
    append(b, (Stmt){.kind = ST_STORE, .buf = c->r[j].buf, .e = to, .value = sx_load(c->r[j].buf, e_add(to, e_scale(each, c->fresh[j])), 0)});
}

// Each stage's rows in this band, from the last to the first; in a run's first band all rows of the windows.
static void set_rows(Chain *c, Block *b) {
    int last = c->stages - 1;
    c->lo[last] = e_scale(c->band, c->n);
    c->hi[last] = e_add(c->lo[last], e_int(c->n));
    Range *g = NEWN(Range, 2);
    g[0] = (Range){e_sub(e_sub(declare(c, b, "at", e_add(e_mul(c->image, c->bands), c->band)), c->first), e_int(1)), e_int(INT32_MAX)};
    g[1] = (Range){e_sub(c->band, e_int(1)), e_int(INT32_MAX)};
    Block *again = block_new(b);
    for (int j = last - 1; j >= 0; j--) {
        c->hi[j] = e_add(e_scale(c->hi[j + 1], c->link[j].stride), e_int(c->link[j].hi + 1 - c->link[j].stride));
        c->lo[j] = declare(c, b, "row", e_add(e_scale(c->lo[j + 1], c->link[j].stride), e_int(c->link[j].lo)));
        Buf *x = c->r[j].buf;
        x->origin_axis = c->rows;
        x->origin = e_sub(c->hi[j], e_int(c->keep[j]));
        x->image = c->image;
    }
    for (int j = 0; j < last; j++) {
        append(again, (Stmt){.kind = ST_INT, .var = c->lo[j], .e = e_sub(c->hi[j], e_int(c->fresh[j])), .unroll = true});
        move_rows(c, again, j);
    }
    append(b, (Stmt){.kind = ST_IF, .nguard = 2, .guard = g, .body = again->first});
}

// The rows that are kept of an inner result, once for each thread.
static void shrink(Chain *c, int j) {
    Buf *x = c->r[j].buf;
    Ex *shape = NEWN(Ex, x->rank);
    memcpy(shape, x->shape, sizeof *shape * (size_t)x->rank);
    shape[0] = e_int(1);
    shape[c->rows] = e_int(c->keep[j]);
    x->shape = shape;
    x->scratch = true;
    buf_strides(x);
}

static void stage(Chain *c, Block *b, int j) {
    Rows *rows = NEW(Rows);
    Ex height = c->r[j].expr->shape[c->rows], lo = declare(c, b, "lo", e_max(c->lo[j], e_int(0)));
    *rows = (Rows){c->rows, lo, declare(c, b, "hi", e_min(c->hi[j], height)), c->image};
    c->r[j].rows = rows;
    append(b, (Stmt){.kind = ST_COMMENT, .text = c->r[j].expr->node->name});
    lower_body(c->l, &c->r[j], b);
}

void band(Lower *l, Root *r, Block *b) {
    Chain *c = NEW(Chain);
    *c = (Chain){.l = l, .r = r, .stages = r->stages, .rows = rows_axis(r->buf)};
    Root *last = &r[c->stages - 1];
    for (int j = 0; j + 1 < c->stages; j++) c->link[j] = link_of(l, &r[j + 1], r[j].val);
    c->n = band_rows(l, r, c->link, c->stages);
    rows_needed(c->link, c->stages, c->n, c->keep, c->fresh);
    for (int j = 0; j + 1 < c->stages; j++) shrink(c, j);
    c->bands = e_ceil_div(last->expr->shape[c->rows], e_int(c->n));
    Ex total = e_mul(last->expr->shape[0], c->bands), threads = thread_count();
    Ex run = e_index(arena_printf("run%d", l->next_local++), threads);
    Block *func = block_new(l->main);
    Stmt *loop;
    Block *in = for_loop(func, run, e_int(0), threads, 1, &loop);
    loop->parallel = true;
    c->first = declare(c, in, "first", e_div(e_mul(run, total), threads));
    Ex at = e_index(arena_printf("band%d", l->next_local++), total);
    if (at->kind != X_VAR) at = e_sym(arena_printf("band%d", l->next_local++), 0, 0);
    in = for_loop(in, at, c->first, e_div(e_mul(e_add(run, e_int(1)), total), threads), 1, NULL);
    c->image = e_is(last->expr->shape[0], 1) ? e_int(0) : declare(c, in, "image", e_div(at, c->bands));
    c->band = declare(c, in, "part", e_sub(at, e_mul(c->image, c->bands)));
    set_rows(c, in);
    for (int j = 0; j < c->stages; j++) {
        Block *body = block_new(in);
        stage(c, body, j);
        append(in, (Stmt){.kind = ST_BLOCK, .body = body->first});
    }
    append(b, (Stmt){.kind = ST_FUNC, .body = func->first, .buf = last->buf, .text = last->expr->node->name});
}
