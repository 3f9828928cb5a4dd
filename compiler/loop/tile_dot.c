// SPDX-License-Identifier: Apache-2.0
// The dot template: vectors run along a variable of the sum that is contiguous in both operands, for few
// rows against a matrix that is not worth packing. A tile is rows of a times rows of b. Each element is
// the sum of a fixed number of partial sums, whatever the target: element i of a run goes to partial sum
// i mod SUMS, and they are added as a fixed tree. See docs/contractions.md.
#include "loop/tile.h"
#include <string.h>

enum { MAX_SIDE = 4, BYTES = 64, MOST = 8 }; // rows of a tile from each operand; the partial sums of an element; floats of a vector
enum { STEPS = 4 }; // that a line is prefetched ahead

typedef struct {
    Tiling *t;
    Ex along;                       // the variable of the vectors
    Ex side[2];                     // the rows' variable in each operand, or NULL
    int rows[2];
    int sums, chains;               // partial sums, and vectors of them
    Ex row[2][MAX_SIDE];
    Local *acc[MAX_SIDE * MAX_SIDE][8];
    Local *rest[MAX_SIDE * MAX_SIDE];
} Dot;

// ---- choices ----------------------------------------------------------------------------------

// Cycles for each multiply-add.
static double dot_cost(const Dot *d, int m, int n) {
    const Tiling *t = d->t;
    double steps = 1, vectors = (double)d->sums / t->lanes;
    for (int i = 0; i < t->nk; i++) steps *= (double)tile_guess(t->k[i]);
    double run = (double)tile_guess(d->along), left = run - (double)((int64_t)run / d->sums * d->sums);
    double work = m * n > m + n ? m * n : m + n;
    double waste = 1;
    for (int i = 0; i < 2; i++) {
        int64_t ext = d->side[i] ? tile_guess(d->side[i]) : 1, size = i ? n : m;
        waste *= (double)((ext + size - 1) / size * size) / (double)ext;
    }
    double cycles = work / 2 * vectors < 4 ? 4 : work / 2 * vectors;
    cycles = cycles * (run - left) / d->sums + left * m * n; // of a run
    return waste * (cycles / run + (12 + 12 * m * n) / steps) / (m * n);
}

static double choose_sides(Dot *d) {
    double best = 1e300;
    int regs = d->t->target->registers;
    for (int m = 1; m <= (d->side[0] ? MAX_SIDE : 1); m++)
        for (int n = 1; n <= (d->side[1] ? MAX_SIDE : 1); n++) {
            if (m * n * d->chains + (m < n ? m : n) + 1 > regs) continue;
            double c = dot_cost(d, m, n);
            if (c < best) best = c, d->rows[0] = m, d->rows[1] = n;
        }
    return best;
}

static bool in_guards(const Contraction *c, Ex var) {
    for (int i = 0; i < c->nguard; i++)
        if (e_uses(c->guard[i].e, var)) return true;
    return false;
}

// Every guard bounds one loop of the sum, or is a condition around all of them.
static bool guards(Dot *d) {
    Tiling *t = d->t;
    t->ncut = t->naround = t->nhard = t->npattern = 0;
    for (int i = 0; i < t->c.nguard; i++) {
        Range g = t->c.guard[i];
        Ex by = NULL;
        for (int k = 0; k < t->nk; k++) {
            if (!e_uses(g.e, t->k[k])) continue;
            if (by) return false;
            by = t->k[k];
        }
        if (!by) {
            t->around[t->naround++] = g;
            continue;
        }
        int64_t s = e_coef(g.e, by, NULL);
        if (s == INT64_MIN || s == 0) return false;
        t->cut_by[t->ncut] = by;
        t->cut[t->ncut++] = g;
    }
    return true;
}

// The longest variable of the result in one operand only whose rows no guard cuts.
static Ex side_of(const Dot *d, int f) {
    const Tiling *t = d->t;
    Ex best = NULL;
    for (int i = 0; i < t->c.nvar - t->c.nred; i++) {
        Ex v = t->c.var[i];
        if (!e_uses(t->off[f], v) || e_uses(t->off[1 - f], v) || in_guards(&t->c, v)) continue;
        if (!best || (tile_guess(v) > tile_guess(best) && !tile_is_batch(&t->c, v)) || tile_is_batch(&t->c, best)) best = v;
    }
    return best;
}

static double choose(Dot *d) {
    Tiling *t = d->t;
    t->lanes = (t->target->lanes < MOST ? t->target->lanes : MOST) * 4 / (int)dt_size(t->dt);
    d->sums = BYTES / (int)dt_size(t->dt);
    d->chains = d->sums / t->lanes;
    t->nk = t->nbatch = t->nouter = t->nfused = 0;
    t->pack = false;
    for (int i = t->c.nvar - t->c.nred; i < t->c.nvar; i++) t->k[t->nk++] = t->c.var[i];
    tile_sort(t->off[0], t->k, t->nk);
    tile_fuse(t, t->k, &t->nk, true);
    d->along = NULL;
    for (int i = 0; i < t->nk; i++)
        if (e_is(tile_stride(t->off[0], t->k[i]), 1) && e_is(tile_stride(t->off[1], t->k[i]), 1)) d->along = t->k[i];
    if (!d->along || tile_guess(d->along) < d->sums || d->chains > 8 || !guards(d)) return 1e100;
    for (int f = 0; f < 2; f++) d->side[f] = side_of(d, f);
    for (int i = 0; i < t->c.nvar - t->c.nred; i++)
        if (t->c.var[i] != d->side[0] && t->c.var[i] != d->side[1]) t->outer[t->nouter++] = t->c.var[i];
    return choose_sides(d);
}

// ---- the tree ---------------------------------------------------------------------------------

static Ex at_rows(const Dot *d, Ex e, int i, int j) {
    if (d->side[0]) e = e_subst(e, d->side[0], d->row[0][i]);
    return d->side[1] ? e_subst(e, d->side[1], d->row[1][j]) : e;
}

static Local *let(const Dot *d, Block *b, const char *stem, Sx *value, bool vector) {
    Local *v = local_new(d->t->l, stem, d->t->dt, vector ? d->t->lanes : 0, vector);
    append(b, (Stmt){.kind = ST_LET, .local = v, .value = value});
    return v;
}

// Rows of weights that are read once come from the second level: a core that works on 64 bytes at a time outruns what
// brings lines from there by itself (measured: 13 % of a matrix times a vector).
static bool prefetches(const Dot *d, int f) {
    enum { ONE_PART = 256 }; // steps of a sum that is not cut: two loops would be cut in other places than one
    const Tiling *t = d->t;
    const int64_t run = tile_extent(d->along);
    if (run < 0 || run / d->sums > ONE_PART) return false;
    double bytes = (double)dt_size(t->dt) * (d->side[f] ? (double)tile_guess(d->side[f]) : 1);
    for (int i = 0; i < t->nk; i++) bytes *= (double)tile_guess(t->k[i]);
    return t->target->wide >= 64 && t->buf[f]->kind == B_WEIGHT && d->rows[1 - f] == 1 && bytes > t->target->l1;
}

// What comes some steps later, of the rows that are read once.
static void prefetch_rows(Dot *d, Block *b, Ex at) {
    const Tiling *t = d->t;
    for (int f = 0; f < 2; f++)
        for (int i = 0; i < d->rows[f] && prefetches(d, f); i++) {
            Ex off = e_subst(at_rows(d, t->off[f], f ? 0 : i, f ? i : 0), d->along, e_add(at, e_int(STEPS * d->sums)));
            append(b, (Stmt){.kind = ST_PREFETCH, .buf = t->buf[f], .e = off, .fn = 3});
        }
}

// One step: `vectors` of them, or with 0 a single element. Operands are read from `at` on.
static void multiply(Dot *d, Block *b, Ex at, int vectors) {
    const Tiling *t = d->t;
    for (int c = 0; c < (vectors ? vectors : 1); c++) {
        Local *x[2][MAX_SIDE];
        Ex from = e_add(at, e_int(c * t->lanes));
        for (int f = 0; f < 2; f++)
            for (int i = 0; i < d->rows[f]; i++) {
                Ex off = e_subst(at_rows(d, t->off[f], f ? 0 : i, f ? i : 0), d->along, from);
                x[f][i] = let(d, b, f ? "b" : "a", sx_load(t->buf[f], off, vectors ? t->lanes : 0), vectors > 0);
            }
        for (int i = 0; i < d->rows[0]; i++)
            for (int j = 0; j < d->rows[1]; j++) {
                int r = i * d->rows[1] + j;
                Sx *p[2] = {sx_local(x[0][i], NULL), sx_local(x[1][j], NULL)};
                append(b, (Stmt){.kind = ST_ACC, .local = vectors ? d->acc[r][c] : d->rest[r], .fn = RED_ADD, .value = sx_fn(FN_mul, t->dt, 2, p)});
            }
    }
}

// The run along the vectors: whole steps, then half of one, then elements.
static void run(Dot *d, Block *b) {
    Tiling *t = d->t;
    Ex lo, hi, n = d->along->extent;
    tile_bounds(t, d->along, &lo, &hi);
    n = e_max(e_sub(hi, lo), e_int(0));
    Ex whole = e_mul(e_div(n, e_int(d->sums)), e_int(d->sums)), left = e_sub(n, whole);
    Ex end = e_add(lo, whole);
    if (prefetches(d, 0) || prefetches(d, 1)) {
        Ex at = e_index(arena_printf("n%d", t->l->next_local++), d->along->extent);
        Ex last = e_max(lo, e_sub(end, e_int(STEPS * d->sums))); // the last steps have nothing to prefetch
        Block *in = for_loop(b, at, lo, last, d->sums, NULL);
        prefetch_rows(d, in, at);
        multiply(d, in, at, d->chains);
        lo = last;
    }
    multiply(d, for_loop(b, d->along, lo, end, d->sums, NULL), d->along, d->chains);
    if (e_is(left, 0)) return;
    lo = end;
    int half = d->sums / 2;
    int64_t fixed;
    bool is_fixed = e_is_const(left, &fixed);
    if (half % t->lanes == 0 && (!is_fixed || fixed >= half)) {
        Ex at = e_index(arena_printf("h%d", t->l->next_local++), d->along->extent), halves = e_div(left, e_int(half));
        multiply(d, for_loop(b, at, lo, e_add(lo, e_scale(halves, half)), half, NULL), at, half / t->lanes);
        lo = e_add(lo, e_scale(halves, half));
    }
    if (is_fixed && fixed % half == 0 && half % t->lanes == 0) return;
    Ex at = e_index(arena_printf("e%d", t->l->next_local++), d->along->extent);
    multiply(d, for_loop(b, at, lo, hi, 1, NULL), at, 0);
}

static void sum_loops(Dot *d, Block *b) {
    const Tiling *t = d->t;
    if (t->naround) {
        Range *g = NEWN(Range, t->naround);
        memcpy(g, t->around, sizeof *g * (size_t)t->naround);
        Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = t->naround, .guard = g});
        b = block_new(b);
        b->tail = &s->body;
    }
    for (int i = 0; i < t->nk; i++) {
        Ex lo, hi;
        if (t->k[i] == d->along) continue;
        tile_bounds(t, t->k[i], &lo, &hi);
        b = for_loop(b, t->k[i], lo, hi, 1, NULL);
    }
    run(d, b);
}

static Sx *plus(DType dt, Sx *x, Sx *y) { return sx_fn(FN_add, dt, 2, (Sx *[]){x, y}); }

// The partial sums of row r as a tree that adds the upper half to the lower until one is left.
static Sx *total(Dot *d, Block *b, int r) {
    const Tiling *t = d->t;
    for (int n = d->chains / 2; n >= 1; n /= 2)
        for (int c = 0; c < n; c++)
            append(b, (Stmt){.kind = ST_ACC, .local = d->acc[r][c], .fn = RED_ADD, .value = sx_local(d->acc[r][c + n], NULL)});
    Local *lane = local_new(t->l, "v", t->dt, t->lanes, false);
    append(b, (Stmt){.kind = ST_LET, .local = lane});
    append(b, (Stmt){.kind = ST_SET, .local = lane, .e = e_int(0), .value = sx_local(d->acc[r][0], NULL)});
    Sx *x[64];
    for (int i = 0; i < t->lanes; i++) x[i] = sx_local(lane, e_int(i));
    for (int n = t->lanes / 2; n >= 1; n /= 2)
        for (int i = 0; i < n; i++) x[i] = plus(t->dt, x[i], x[i + n]);
    return d->rest[r] ? plus(t->dt, x[0], sx_local(d->rest[r], NULL)) : x[0];
}

static Block *row_loop(const Dot *d, Block *b, int f, Ex *i) {
    const Tiling *t = d->t;
    *i = e_int(0);
    if (!d->side[f]) return b;
    Ex n = e_int(d->rows[f]);
    *i = e_index(arena_printf("%c%d", "ij"[f], t->l->next_local++), e_int(d->rows[f]));
    return (*i)->kind == X_VAR ? for_loop(b, *i, e_int(0), n, 1, NULL) : b;
}

static void store(Dot *d, Block *b, const Ex *row0) {
    Tiling *t = d->t;
    int n = d->rows[0] * d->rows[1];
    Local *out = local_new(t->l, "d", t->dt, n, false);
    append(b, (Stmt){.kind = ST_LET, .local = out});
    for (int r = 0; r < n; r++) append(b, (Stmt){.kind = ST_SET, .local = out, .e = e_int(r), .value = total(d, b, r)});
    Ex i[2];
    Block *in = row_loop(d, b, 0, &i[0]);
    in = row_loop(d, in, 1, &i[1]);
    Block *body = block_new(in);
    Sx *x = tile_finished(t, body, sx_local(out, e_add(e_scale(i[0], d->rows[1]), i[1])));
    append(body, (Stmt){.kind = ST_STORE, .buf = t->root->buf, .e = t->out_off, .value = x});
    for (int f = 0; f < 2; f++) {
        Ex at = d->side[f] ? e_add(row0[f], i[f]) : NULL;
        if (at) stmt_subst(body->first, 1, &d->side[f], &at);
    }
    *in->tail = body->first;
}

static void kernel(Dot *d, Block *b, const Ex *row0) {
    Tiling *t = d->t;
    int64_t n;
    for (int f = 0; f < 2; f++)
        for (int i = 0; i < d->rows[f]; i++) d->row[f][i] = e_add(row0[f], e_int(i));
    bool rest = t->ncut || !e_is_const(d->along->extent, &n) || n % d->sums;
    Sx *zero = sx_num(t->dt, (Scalar){.f = 0});
    for (int r = 0; r < d->rows[0] * d->rows[1]; r++) {
        d->rest[r] = rest ? let(d, b, "s", zero, false) : NULL;
        for (int c = 0; c < d->chains; c++) d->acc[r][c] = let(d, b, "c", zero, true);
    }
    sum_loops(d, b);
    store(d, b, row0);
}

// Balanced tiles of side f, then of the other one; of rows whose number is not known full ones and single rows.
static void tiles(Dot *d, Block *b, int f, Ex *row0, Stmt **outer) {
    const Tiling *t = d->t;
    if (f == 2) {
        kernel(d, b, row0);
        return;
    }
    int most = d->rows[f];
    int64_t rows = d->side[f] ? tile_extent(d->side[f]) : 1;
    Ex count[2] = {e_int(1), e_int(0)}, first = e_int(0);
    int size[2] = {most, most - 1};
    if (rows < 0) {
        size[1] = 1;
        count[0] = e_div(d->side[f]->extent, e_int(most));
        count[1] = e_mod(d->side[f]->extent, e_int(most));
    } else {
        int64_t n = (rows + most - 1) / most, big = (rows + n - 1) / n, small = big * n - rows;
        size[0] = (int)big, size[1] = (int)big - 1;
        count[0] = e_int(n - small), count[1] = e_int(small);
    }
    for (int i = 0; i < 2; i++) {
        if (e_is(count[i], 0)) continue;
        Ex tile = e_index(arena_printf("tile%d", t->l->next_local++), count[i]);
        Stmt *s = NULL;
        Block *in = tile->kind == X_VAR ? for_loop(b, tile, e_int(0), count[i], 1, &s) : b;
        Stmt **inner = outer;
        if (s && !*outer && tile_parallel(t)) s->parallel = true, inner = &s;
        d->rows[f] = size[i];
        row0[f] = e_add(first, e_scale(tile, size[i]));
        tiles(d, in, f + 1, row0, inner);
        first = e_add(first, e_scale(count[i], size[i]));
    }
    d->rows[f] = most;
}

double tile_dot_cost(const Tiling *base) {
    Tiling t = *base;
    return choose(&(Dot){.t = &t});
}

void tile_dot(Tiling *t, Block *b) {
    Dot *d = NEW(Dot);
    Ex row0[2];
    Stmt *outer = NULL;
    d->t = t;
    choose(d);
    for (int i = 0; i < t->nouter; i++) {
        Stmt *s;
        b = for_loop(b, t->outer[i], e_int(0), t->outer[i]->extent, 1, &s);
        int64_t n = tile_extent(t->outer[i]);
        if (outer || !tile_parallel(t) || (n > 0 && n < 4)) continue;
        s->parallel = true;
        outer = s;
    }
    tiles(d, b, 0, row0, &outer);
}
