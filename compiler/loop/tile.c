// SPDX-License-Identifier: Apache-2.0
// The templates of contractions: each phase is planned, then its loops are emitted around tile_kernel, blocked
// for the caches. Refuses what it has no good form for; nest.c takes that.
#include "loop/tile.h"
#include <string.h>

// ---- the tree ---------------------------------------------------------------------------------

static bool row_inside(const Tiling *t, int64_t row, int64_t k) {
    for (int i = 0; i < t->npattern; i++) {
        Ex e = e_subst(t->pattern[i].e, t->row, e_int(row));
        if (t->pattern_by) e = e_subst(e, t->pattern_by, e_int(k));
        int64_t v = 0, n = 0;
        e_is_const(e, &v);
        e_is_const(t->pattern[i].n, &n);
        if (v < 0 || v >= n) return false;
    }
    return true;
}

static uint32_t *live_rows(const Tiling *t, int64_t first, int rows, bool *all) {
    int64_t nk = t->pattern_by ? tile_extent(t->pattern_by) : 1;
    uint32_t *live = NEWN(uint32_t, nk);
    *all = true;
    for (int64_t k = 0; k < nk; k++)
        for (int i = 0; i < rows; i++) {
            if (row_inside(t, first + i, k)) live[k] |= 1u << i;
            else *all = false;
        }
    return live;
}

// Balanced tiles of a fixed number of rows, neighbours with equal patterns together. 0: too many patterns.
static int row_groups(const Tiling *t, RowGroup *g) {
    int64_t rows = tile_extent(t->row), tiles = (rows + t->mr - 1) / t->mr, big = (rows + tiles - 1) / tiles;
    int64_t small = big * tiles - rows, at = 0, nk = t->pattern_by ? tile_extent(t->pattern_by) : 1;
    int n = 0;
    for (int64_t i = 0; i < tiles; i++) {
        int size = (int)(i < tiles - small ? big : big - 1);
        bool all = true;
        uint32_t *live = t->npattern ? live_rows(t, at, size, &all) : NULL;
        if (all) live = NULL;
        RowGroup *p = n ? &g[n - 1] : NULL;
        bool equal = p && p->rows == size && !live == !p->live &&
                     (!live || !memcmp(live, p->live, sizeof *live * (size_t)nk));
        if (equal) p->count = e_add(p->count, e_int(1));
        else if (n == MAX_GROUPS) return 0;
        else g[n++] = (RowGroup){e_int(at), e_int(1), size, live, NULL};
        at += size;
    }
    return n;
}

typedef struct { Stmt *loop[80]; int n; bool pack; } Loops;

static Block *loop_over(const Tiling *t, Loops *ls, Block *b, Ex var, Ex n) {
    Stmt *s;
    if (var->kind != X_VAR) return b;
    b = for_loop(b, var, e_int(0), n, 1, &s);
    for (int i = 0; i < t->nfixed; i++)
        if (var == t->fixed[i]) s->lo = t->from[i], s->hi = t->to[i];
    if (ls->n < 80) ls->loop[ls->n++] = s;
    return b;
}

// Consecutive tiles of rows whose part of a stays in the second-level cache while all panels pass.
static int64_t block_of(double bytes, const Tiling *t) {
    double n = bytes > 0 ? (double)t->target->l2 / 2 / bytes : 1e9;
    return n < 1 ? 1 : n > 1e9 ? 1000000000 : (int64_t)n;
}

// Bytes of a that one step of var brings.
static double bytes_of(const Tiling *t, Ex var) {
    int64_t s = 0;
    if (!e_is_const(tile_stride(t->off[0], var), &s)) return 0;
    return (double)(s < 0 ? -s : s) * (double)dt_size(t->dt);
}

// The part of the sum that one block of it is.
static double block_share(const Tiling *t) { return t->kblock ? (double)t->kchunk / (double)tile_guess(t->k[0]) : 1; }

// var from lo on in blocks of n: loops over blocks and, with the panels between them, inside.
static Block *blocked(Tiling *t, Loops *ls, Block *b, Ex var, Ex count, int64_t n) {
    Ex blocks = e_ceil_div(count, e_int(n)), at = e_index(arena_printf("block%d", t->l->next_local++), blocks);
    b = loop_over(t, ls, b, at, blocks);
    b = loop_over(t, ls, b, t->panel, t->panels);
    Stmt *s;
    if (var->kind != X_VAR) return b;
    b = for_loop(b, var, e_scale(at, n), e_min(count, e_scale(e_add(at, e_int(1)), n)), 1, &s);
    if (at->kind != X_VAR && ls->n < 80) ls->loop[ls->n++] = s;
    return b;
}

typedef struct { RowGroup g[MAX_GROUPS]; int n; } RowGroups;

// The value of e as a variable, where it is no constant.
static Ex bind(const Tiling *t, Block *b, const char *stem, Ex e) {
    int64_t n;
    if (e_is_const(e, &n) || e->kind == X_VAR) return e;
    Ex v = e_index(arena_printf("%s%d", stem, t->l->next_local++), e_add(e, e_int(1)));
    if (v->kind == X_VAR) append(b, (Stmt){.kind = ST_INT, .var = v, .e = e});
    return v;
}

// What is left of a symbolic number of rows after whole tiles is one tile, a half or a whole one. It may go past the
// end, so that whatever the number the multipliers are kept busy.
static void rows_left(const Tiling *t, Block *b, RowGroups *r, Ex at, Ex left) {
    const int mr = t->mr, half = (mr + 1) / 2;
    Ex end = t->row->extent, one = bind(t, b, "more", e_div(e_add(left, e_int(mr - 1 - half)), e_int(mr)));
    if (mr > 2) r->g[r->n++] = (RowGroup){at, one, mr, NULL, end};
    if (mr > 2) left = bind(t, b, "left", e_max(e_sub(left, e_scale(one, mr)), e_int(0)));
    if (mr > 1) r->g[r->n++] = (RowGroup){at, e_ceil_div(left, e_int(half)), half, NULL, half > 1 ? end : NULL};
}

// Tiles of all rows. A symbolic number of them, where neighbours share what they read: whole tiles, then by 4, 2 and 1.
static RowGroups rows_of(const Tiling *t, Block *b) {
    RowGroups r = {.g = {{e_int(0), e_int(1), 1, NULL, NULL}}, .n = 1};
    if (!t->row) return r;
    if (tile_extent(t->row) >= 0) {
        r.n = row_groups(t, r.g);
        return r;
    }
    Ex left = t->row->extent, at = e_int(0);
    r.n = 0;
    for (int size = t->mr; size > 0; size = size > 4 ? 4 : size / 2) {
        Ex count = bind(t, b, "tiles", e_div(left, e_int(size)));
        if (!e_is(count, 0)) r.g[r.n++] = (RowGroup){at, count, size, NULL, NULL};
        at = e_add(at, e_scale(count, size));
        left = e_mod(left, e_int(size));
        if (t->a_lanes) continue;
        rows_left(t, b, &r, at, bind(t, b, "left", left));
        break;
    }
    return r;
}

static double steps(const Tiling *t, int from) {
    double n = 1;
    for (int i = from; i < t->nk; i++) n *= (double)tile_guess(t->k[i]);
    return n;
}

// Tiles of the group, or a guess: prefetching too much or too little is no fault.
static int64_t tiles_of(const Tiling *t, const RowGroup *g) {
    int64_t n;
    if (e_is_const(g->count, &n)) return n;
    return g->rows < t->mr ? 0 : tile_guess(t->row) / g->rows;
}

static Ex tiles_of_rows(const RowGroups *r) {
    Ex n = e_int(0);
    for (int i = 0; i < r->n; i++) n = e_add(n, r->g[i].count);
    return n;
}

// Tiles that a panel meets.
static Ex tiles_in(const Tiling *t, const RowGroups *r) {
    Ex n = tiles_of_rows(r);
    for (int i = 0; i < t->nouter; i++) n = e_mul(n, t->outer[i]->extent);
    return n;
}

// While the rows of one panel run, each tile brings a part of the next one from memory: of weights that the first-level
// cache does not keep, read once, by few rows.
static void look_ahead(Tiling *t, Block *b, const RowGroups *r) {
    int64_t tiles = 0;
    if (t->inner || t->root->rows || !t->packed || t->packed->kind != B_WEIGHT || t->nbatch || t->nk == 0) return;
    for (int i = 0; i < r->n; i++) tiles += tiles_of(t, &r->g[i]);
    for (int i = 0; i < t->nouter; i++) tiles *= tile_guess(t->outer[i]);
    int64_t item = (int64_t)dt_size(t->dt), chunk = tile_extent(t->k[0]);
    if (t->kblock) chunk = chunk - (chunk - 1) / t->kchunk * t->kchunk; // of the last block, which is the shortest
    double lines = steps(t, 1) * (double)(chunk * tile_width(t) * item) / 64;
    Ex count = tiles_in(t, r);
    const bool open = !e_is_const(count, &tiles);
    if (tiles < (t->mr > 1 ? 1 : 2) || (!open && (double)tiles > lines) || steps(t, 0) * (double)(tile_guess(t->lane) * item) < t->target->l1) return;
    t->ahead_steps = (int64_t)steps(t, 1) * chunk;
    Ex each = e_div(e_int((int64_t)lines), e_max(e_int(1), count));
    t->ahead = bind(t, b, "ahead", open ? e_min(each, e_int(t->ahead_steps)) : each);
    t->near = 2 * 64 * lines <= t->target->l1;
}

// Whether threads share out the rows instead of the panels: each then keeps to what it has made itself and has in its own
// cache, and all read all of b. It pays where b is the smaller part.
static bool shares_rows(const Tiling *t, const RowGroups *r) {
    enum { ENOUGH = 16 };
    int64_t n;
    double rows = t->row ? (double)tile_guess(t->row) : 1, sum = steps(t, 0), lanes = (double)tile_guess(t->lane);
    if (!tile_parallel(t) || t->root->rows || t->nbatch || t->nnear || !t->packed || t->packed->kind != B_WEIGHT) return false;
    for (int i = 0; i < t->nouter; i++) rows *= (double)tile_guess(t->outer[i]);
    if (rows * (sum + lanes) < 2 * sum * lanes) return false;
    for (int i = 0; i < r->n && t->nouter == 0; i++)
        if (e_is(r->g[i].count, 1)) return false;
    return e_is_const(t->nouter ? t->outer[0]->extent : tiles_of_rows(r), &n) && n >= ENOUGH;
}

// The loop over threads; each takes its part of the outermost loop over rows.
static Block *share_rows(Tiling *t, Block *b) {
    Stmt *s;
    t->run = e_index(arena_printf("run%d", t->l->next_local++), thread_count());
    b = for_loop(b, t->run, e_int(0), thread_count(), 1, &s);
    s->parallel = true;
    return b;
}

// Of so many iterations those of this thread.
static void take_part(const Tiling *t, Ex count, Ex *lo, Ex *hi) {
    *lo = e_div(e_mul(t->run, count), thread_count());
    *hi = e_div(e_mul(e_add(t->run, e_int(1)), count), thread_count());
}

typedef enum { PANELS_OUTSIDE, PANELS_INSIDE, PANELS_IN_BLOCKS } Panels;

static void rows_and_panels(Tiling *t, Loops *ls, Block *b, const RowGroups *r, Panels where) {
    Ex number = e_int(0), before = e_int(0), tiles = tiles_of_rows(r); // number: of the first tile here, among all that a panel meets
    for (int i = 0; i < t->nouter && t->ahead; i++) number = e_add(e_mul(number, t->outer[i]->extent), t->outer[i]);
    for (int i = 0; i < r->n; i++) {
        const RowGroup *g = &r->g[i];
        Ex tile = e_index(arena_printf("tile%d", t->l->next_local++), g->count);
        Block *in = b;
        if (where == PANELS_IN_BLOCKS) {
            double bytes = (t->row ? bytes_of(t, t->row) : 0) * g->rows * block_share(t);
            in = blocked(t, ls, b, tile, g->count, block_of(bytes, t));
        } else in = loop_over(t, ls, b, tile, g->count);
        if (t->run && t->nouter == 0) take_part(t, g->count, &ls->loop[ls->n - 1]->lo, &ls->loop[ls->n - 1]->hi);
        for (int k = t->nouter - t->nnear; k < t->nouter; k++) in = loop_over(t, ls, in, t->outer[k], t->outer[k]->extent);
        if (where == PANELS_INSIDE) in = loop_over(t, ls, in, t->panel, t->panels);
        if (t->ahead) tile_prefetch(t, e_add(e_mul(number, tiles), e_add(before, tile)));
        before = e_add(before, g->count);
        tile_kernel(t, in, g, tile);
    }
}

static bool enough(const Stmt *s, int64_t least) {
    int64_t n;
    return !e_is_const(s->hi, &n) || n >= least;
}

// The outermost loop with iterations for many threads, else for two.
static Stmt *mark_parallel(const Tiling *t, const Loops *ls) {
    if (!tile_parallel(t) || t->root->rows || t->run) return NULL;
    bool batch = ls->n > 1 && tile_is_batch(&t->c, ls->loop[0]->var);
    if (batch && enough(ls->loop[1], 4) && !threads_can_merge(ls->loop[0])) { // it may be one
        ls->loop[1]->parallel = true;
        return ls->loop[1];
    }
    for (int64_t least = 8; least >= 2; least -= 6)
        for (int i = 0; i < ls->n; i++)
            if (enough(ls->loop[i], least)) {
                ls->loop[i]->parallel = true;
                return ls->loop[i];
            }
    return NULL;
}

static double panel_bytes(const Tiling *t) {
    double n = (double)dt_size(t->dt) * tile_width(t) * (double)((tile_guess(t->lane) + tile_width(t) - 1) / tile_width(t));
    return n * steps(t, 0) * block_share(t);
}

// Room for partial sums: the result itself where its vectors are whole, else a buffer unless it would be large.
static bool keep_partial(Tiling *t) {
    enum { MOST = 1 << 20 }; // elements
    int64_t n = tile_extent(t->lane), size;
    if (e_is(tile_stride(t->out_off, t->lane), 1) && t->root->buf->dt == t->dt && n > 0 && n % tile_width(t) == 0) return true;
    Ex e = e_product(3, (Ex[]){t->panels, e_int(tile_width(t)), t->row ? t->row->extent : e_int(1)});
    for (int i = 0; i < t->nouter; i++) e = e_mul(e, t->outer[i]->extent);
    if (!e_is_const(e, &size) || size > MOST) return false;
    t->partial = buf_new(t->l->prog, B_WORK, t->dt, 1, &e, arena_printf("partial_p%d", t->l->prog->nbufs));
    return true;
}

static bool is_constant(const Buf *b) { return b->kind == B_WEIGHT && b->data; }

// Long sums go block by block, so that a block of b serves many rows from the first-level cache, and all of b
// comes from memory once. Without rows b is read once, a few of its rows side by side, unless it is packed when
// compiling. What decides is no matter of the target, which may take the one operand for b or the other: the
// order of a sum is the same for all.
static void block_sum(Tiling *t) {
    const int64_t SIDE = 8, SPREAD = 256, ROWS = 24;
    const double LONG = 384, STEPS = 256;
    int64_t s = 0, rows = tile_least_rows(t), n = t->nk ? tile_extent(t->k[0]) : 0;
    if (t->inner || t->root->rows || t->nk == 0 || t->a_lanes || t->k[0] == t->pattern_by) return;
    bool constant = is_constant(t->buf[0]) || is_constant(t->buf[1]);
    double inner = steps(t, 1), all = steps(t, 0);
    if (!constant && tile_guarded(t->whole, t->korder[0])) return; // how the guard is met is a matter of the form
    if (rows >= ROWS && all > LONG && !constant && n > 0 && tile_extent(t->korder[0]) > 0) {
        // of whole steps of the first variable: whether it is one run with the next ones is a matter of the form
        double each = all / (double)tile_extent(t->korder[0]);
        int64_t first = tile_extent(t->korder[0]), chunk = each > STEPS ? 1 : (int64_t)(STEPS / each), parts = (first + chunk - 1) / chunk;
        t->kchunk = (first + parts - 1) / parts * (n / first);
    } else if (rows >= ROWS && all > LONG && (constant || inner <= LONG)) {
        t->kchunk = inner > STEPS ? 1 : (int64_t)(STEPS / inner);
        int64_t parts = n > 0 ? (n + t->kchunk - 1) / t->kchunk : 1;
        if (n > 0) t->kchunk = (n + parts - 1) / parts; // of one length, as nearly as can be
    } else if (rows == 1 && t->nk == 1 && !constant && !t->pack && all > STEPS && !e_is(t->panels, 1) &&
               e_is_const(tile_stride(t->off[1], t->k[0]), &s) && s >= SPREAD)
        t->kchunk = SIDE;
    else return;
    if (n < 0) t->kchunk = t->kchunk < 64 ? t->kchunk : 64;
    if (!keep_partial(t)) return;
    t->kblocks = e_ceil_div(t->k[0]->extent, e_int(t->kchunk));
    t->kblock = e_index(arena_printf("kb%d", t->l->next_local++), t->kblocks);
    if (t->kblock->kind != X_VAR) t->kblock = NULL;
}

// Whether reading a as it is would touch a line, or a page, for each step of the sum.
static bool pack_rows(const Tiling *t) {
    int64_t s = 0, panels = (tile_guess(t->lane) + tile_width(t) - 1) / tile_width(t);
    if (t->inner || t->root->rows || t->c.nguard || !t->row || t->a_lanes || t->nk == 0 || panels < 6 || steps(t, 0) < 128) return false;
    for (int i = 0; i < t->nouter; i++)
        if (e_uses(t->off[0], t->outer[i])) return false;
    return e_is_const(tile_stride(t->off[0], t->k[t->nk - 1]), &s) && (s >= 64 || s <= -64) && tile_guess(t->row) >= 16;
}

// Panels side by side that keep the multipliers busy where a symbolic number of rows turns out to be one. 0: no such case.
static int lone_row(const Tiling *t) {
    enum { BUSY = 8 }; // vectors
    int64_t panels = 0;
    if (!t->row || tile_extent(t->row) >= 0 || t->row->extent->lo > 1 || t->nv >= BUSY) return 0;
    if (!t->packed || t->packed->kind != B_WEIGHT || t->inner || t->root->rows || t->sums) return 0;
    int n = (BUSY + t->nv - 1) / t->nv;
    return !e_is_const(t->panels, &panels) || panels < 2 ? 0 : panels < n ? (int)panels : n;
}

// The panels from `from` on, `joined` at a time, for the only row.
static void one_row(const Tiling *t, Loops *ls, Block *b, int joined, int64_t from, int64_t count) {
    Tiling *w = NEW(Tiling);
    Ex panel = e_index(arena_printf("p%d", t->l->next_local++), e_int(count));
    *w = *t;
    w->joined = joined, w->nv *= joined;
    w->panel = e_add(panel, e_int(from));
    if (count == 0) return;
    b = loop_over(w, ls, b, panel, e_int(count));
    for (int i = 0; i < w->nouter; i++) b = loop_over(w, ls, b, w->outer[i], w->outer[i]->extent);
    tile_kernel(w, b, &(RowGroup){.first = e_int(0), .rows = 1}, e_int(0));
}

static Block *if_one_row(Tiling *t, Block *b, int joined) {
    int64_t panels = 0;
    Range *g = NEW(Range);
    Loops most = {0}, rest = {0};
    e_is_const(t->panels, &panels);
    *g = (Range){e_sub(t->row->extent, e_int(1)), e_int(1)};
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = 1, .guard = g});
    Block *one = block_new(b), *more = block_new(b);
    one->tail = &s->body;
    more->tail = &s->els;
    one_row(t, &most, one, joined, 0, panels / joined);
    one_row(t, &rest, one, 1, panels / joined * joined, panels % joined);
    mark_parallel(t, &most);
    return more;
}

// Whether what a loop does lies between the elements of a tile that is scattered over the result, as the taps of a filter's
// gradient do: inside the loop over tiles, it completes the cache lines that the tile has touched.
static bool is_near(const Tiling *t, Ex var) {
    int64_t lane = 0, row = 0, s = 0;
    if (!t->row || t->inner || t->root->rows || tile_extent(t->row) < 0 || tile_fixed(t, var)) return false;
    if (!e_is_const(tile_stride(t->out_off, t->lane), &lane) || lane == 1 || !e_is_const(tile_stride(t->out_off, t->row), &row)) return false;
    return e_is_const(tile_stride(t->out_off, var), &s) && s > 0 && s < lane && s < row;
}

// Puts the loops to be inside behind the others; an operand that is not packed may have them outside or inside.
static void sort_near(Tiling *t) {
    int n = 0, nbatch = 0;
    Ex near[64];
    t->nnear = 0;
    for (int i = 0; i < t->nbatch; i++) {
        if (!t->pack && is_near(t, t->batch[i])) near[t->nnear++] = t->batch[i];
        else t->batch[nbatch++] = t->batch[i];
    }
    for (int i = 0; i < t->nouter; i++) {
        if (is_near(t, t->outer[i])) near[t->nnear++] = t->outer[i];
        else t->outer[n++] = t->outer[i];
    }
    t->nbatch = nbatch;
    t->nouter = n + t->nnear;
    memcpy(t->outer + n, near, sizeof *near * (size_t)t->nnear);
}

static void emit_tree(Tiling *t, Block *b) {
    Loops *ls = &(Loops){0};
    Stmt *pack = NULL;
    sort_near(t);
    RowGroups rows = rows_of(t, b);
    for (int i = 0; i < t->nbatch; i++) b = loop_over(t, ls, b, t->batch[i], t->batch[i]->extent);
    int nbatch = ls->n, at = 0, joined = lone_row(t);
    if (t->pack && !t->packed) pack = tile_pack_run(t, b);
    if (pack && t->inner) t->packed->scratch = true;
    if (joined) b = if_one_row(t, b, joined);
    if (pack_rows(t)) tile_pack_rows(t, b, rows.g, rows.n);
    block_sum(t);
    Panels where = panel_bytes(t) <= t->target->l1 || t->a_lanes || !t->row ? PANELS_INSIDE : PANELS_OUTSIDE;
    double first = t->nouter ? bytes_of(t, t->outer[0]) : t->row ? bytes_of(t, t->row) : 0, share = block_share(t);
    bool fits = first * share * (double)(t->nouter ? tile_guess(t->outer[0]) : t->row ? tile_guess(t->row) : 1) <= t->target->l2 / 2 || (t->nouter && tile_fixed(t, t->outer[0]));
    if (where == PANELS_OUTSIDE && fits && shares_rows(t, &rows)) b = share_rows(t, b);
    if (t->kblock) b = for_loop(b, t->kblock, e_int(0), t->kblocks, 1, NULL);
    if (where == PANELS_OUTSIDE && fits) {
        look_ahead(t, b, &rows);
        b = loop_over(t, ls, b, t->panel, t->panels);
    }
    else if (where == PANELS_OUTSIDE && t->nouter == 0) where = PANELS_IN_BLOCKS;
    else if (where == PANELS_OUTSIDE) {
        b = blocked(t, ls, b, t->outer[0], t->outer[0]->extent, block_of(first * share, t));
        at = 1;
    }
    if (t->ahead || at > t->nouter - t->nnear) t->nnear = 0;
    if (t->run && t->nouter) {
        t->fixed[t->nfixed] = t->outer[0];
        take_part(t, t->outer[0]->extent, &t->from[t->nfixed], &t->to[t->nfixed]);
        t->nfixed++;
    }
    for (int i = at; i < t->nouter - t->nnear; i++) b = loop_over(t, ls, b, t->outer[i], t->outer[i]->extent);
    rows_and_panels(t, ls, b, &rows, where);
    Stmt *par = mark_parallel(t, ls);
    if (!par) return;
    for (int i = 0; i < nbatch; i++) {
        if (ls->loop[i] != par) continue;
        if (t->packed) t->packed->scratch |= pack != NULL;
        if (t->panels_of_a) t->panels_of_a->scratch = true;
        if (t->partial) t->partial->scratch = true;
    }
    if (pack && !t->packed->scratch && enough(pack, 2)) pack->parallel = true;
}

// Patterns that are too many are tested at run time instead.
static bool settle_patterns(Tiling *t) {
    RowGroup g[MAX_GROUPS];
    if (!t->row || !t->npattern || row_groups(t, g)) return true;
    for (int i = 0; i < t->npattern; i++) t->hard[t->nhard++] = t->pattern[i];
    t->npattern = 0;
    t->pattern_by = NULL;
    return true;
}

// The loops of which the root wants only a part. false: they are no loops of the contraction.
static bool find_rows(Tiling *t) {
    const Rows *r = t->root->rows;
    for (int i = 0; r && i < 2; i++) {
        Ex v = t->out_idx[i ? r->axis : 0];
        bool found = false;
        if (v->kind != X_VAR && !i) continue; // one image
        for (int k = 0; k < t->c.nvar - t->c.nred; k++) found |= t->c.var[k] == v;
        if (!found) return false;
        t->fixed[t->nfixed] = v;
        t->from[t->nfixed] = i ? r->lo : r->image;
        t->to[t->nfixed++] = i ? r->hi : e_add(r->image, e_int(1));
    }
    return true;
}

// The plan of a contraction whose place in the result is set. false: refused.
static bool prepare(Tiling *t) {
    const Contraction *c = &t->c;
    t->target = target_find(t->l->opt ? t->l->opt->target : NULL);
    t->dt = c->reduce->dt;
    if (!t->target || (t->dt != F32 && t->dt != F64 && c->product == FN_mul)) return false;
    t->lanes = t->target->lanes * 4 / (int)dt_size(t->dt);
    if (t->lanes < 2) return false;
    if (c->empty) return true;
    for (int i = 0; i < c->nvar; i++)
        if (tile_extent(c->var[i]) == 0) return false; // no elements, or no products
    for (int i = 0; i < 2; i++) {
        if (c->factor[i].buf->dt != t->dt) return false;
        t->buf[i] = c->factor[i].buf;
        t->off[i] = buf_offset(t->buf[i], c->factor[i].idx);
    }
    t->dot = !t->root->rows && tile_dot_wins(t);
    return t->dot || (tile_pick(t) < 1e100 && settle_patterns(t));
}

// The plan of one phase of a root. NULL: refused.
static Tiling *plan_phase(Lower *l, Root *r, const Contraction *c) {
    Tiling *t = NEW(Tiling);
    *t = (Tiling){.l = l, .root = r, .c = *c};
    if (!tile_root_index(l, r, c, t->out_idx)) return NULL;
    Ex at[MAX_RANK];
    for (int i = 0; i < r->expr->rank; i++) at[i] = r->at && i == r->axis ? e_add(t->out_idx[i], r->at) : t->out_idx[i];
    t->out_off = buf_offset(r->buf, at);
    return find_rows(t) && prepare(t) ? t : NULL;
}

// A phase without products: the epilogue of 0.
static void fill(Tiling *t, Block *b) {
    for (int i = 0; i < t->c.nvar; i++) b = for_loop(b, t->c.var[i], e_int(0), t->c.var[i]->extent, 1, NULL);
    gen_bind(b, t->c.reduce, t->c.out, sx_num(t->dt, (Scalar){.f = 0}));
    Sx *x = gen(t->l, b, t->root->expr, t->out_idx);
    append(b, (Stmt){.kind = ST_STORE, .buf = t->root->buf, .e = t->out_off, .value = x});
}

static bool same_margin(const Margin *a, const Margin *b) {
    if (!a->buf || a->from != b->from) return false;
    size_t n = sizeof(Ex) * (size_t)a->buf->rank;
    return !memcmp(a->lo, b->lo, n) && !memcmp(a->shape, b->shape, n);
}

// Copies with margins; phases that want the same one share it.
static void fill_margins(Tiling *const *t, int at, Block *b) {
    for (int f = 0; f < 2; f++) {
        Margin *m = &t[at]->margin[f], *have = NULL;
        if (!m->buf) continue;
        for (int i = 0; i <= at; i++)
            for (int k = 0; k < 2 && !have && (i < at || k < f); k++)
                if (same_margin(&t[i]->margin[k], m)) have = &t[i]->margin[k];
        if (have) m->buf = t[at]->buf[f] = have->buf;
        else {
            Program *p = t[at]->l->prog;
            m->buf->id = p->nbufs;
            m->buf->name = arena_printf("%s_m%d", m->from->name, p->nbufs);
            PUSH(p->bufs, p->nbufs, p->cap_bufs, m->buf);
            tile_fill_margins(t[at], b, f);
        }
    }
}

static void tile_phase(Tiling *t, Block *b) {
    t->panels = e_ceil_div(t->lane->extent, e_int(tile_width(t)));
    t->panel = e_index(arena_printf("p%d", t->l->next_local++), t->panels);
    if (t->pack && t->buf[1]->kind == B_WEIGHT && t->buf[1]->data) {
        int64_t base; // what is left of its address: a part of an attention has loops outside, too
        Ex zero[64];
        for (int i = 0; i < t->c.nvar; i++) zero[i] = e_int(0);
        bool fixed = e_is_const(e_subst_all(t->off[1], t->c.nvar, t->c.var, zero), &base);
        for (int i = 0; i < t->nbatch; i++) fixed &= tile_extent(t->batch[i]) > 0;
        if (fixed) tile_pack_const(t);
    }
    if (t->l->opt && t->l->opt->profile && t->label) append(b, (Stmt){.kind = ST_COMMENT, .text = t->label});
    emit_tree(t, b);
}

bool tile(Lower *l, Root *r, Block *b) {
    Contraction **phase;
    int n = contract_phases(l, r->reduce, &phase);
    Tiling **t = NEWN(Tiling *, n + 1);
    for (int i = 0; i < n; i++)
        if (!(t[i] = plan_phase(l, r, phase[i]))) return false;
    for (int i = 0; i < n; i++) {
        if (t[i]->c.empty) fill(t[i], b);
        else if (t[i]->dot) tile_dot(t[i], b);
        else {
            fill_margins(t, i, b);
            tile_phase(t[i], b);
        }
    }
    return n > 0;
}

bool tile_part(Lower *l, const Contraction *c, Buf *to, Ex off, TileFinish *finish, void *ctx, Block *b) {
    Root *r = NEW(Root);
    Tiling *t = NEW(Tiling);
    *r = (Root){.buf = to};
    *t = (Tiling){.l = l, .root = r, .c = *c, .out_off = off, .finish = finish, .ctx = ctx, .inner = true};
    if (c->empty || !prepare(t)) return false;
    if (t->dot) tile_dot(t, b);
    else tile_phase(t, b);
    return true;
}
