// SPDX-License-Identifier: Apache-2.0
// The tile template: chooses lanes, rows, the register tile and the order of loops for a contraction,
// and emits them around tile_kernel. Refuses what it has no good form for; nest.c takes that.
#include "loop/tile.h"
#include <string.h>

enum { GUESS = 64, PARALLEL_WORK = 1 << 17 }; // a symbolic extent, for costs; multiply-adds worth threads

Ex tile_stride(Ex e, Ex var) {
    return e_uses(e, var) ? e_sub(e_subst(e, var, e_add(var, e_int(1))), e) : e_int(0);
}

int64_t tile_extent(Ex var) {
    int64_t n;
    return e_is_const(var->extent, &n) ? n : -1;
}

int64_t tile_guess(Ex var) {
    int64_t n = tile_extent(var);
    return n < 0 ? GUESS : n;
}

static double work(const Contraction *c) {
    double w = 1;
    for (int i = 0; i < c->nvar; i++) w *= (double)tile_guess(c->var[i]);
    return w;
}

bool tile_fixed(const Tiling *t, Ex var) {
    for (int i = 0; i < t->nfixed; i++)
        if (t->fixed[i] == var) return true;
    return false;
}

bool tile_parallel(const Tiling *t) { return !t->inner && work(&t->c) >= (double)PARALLEL_WORK; }

static bool is_red(const Contraction *c, int i) { return i >= c->nvar - c->nred; }

// ---- loops ------------------------------------------------------------------------------------

// Variables sorted by what one step of them adds to a's address, the longest first; ties and unknowns keep their order.
void tile_sort(Ex off, Ex *var, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0; j--) {
            Ex s = tile_stride(off, var[j]), p = tile_stride(off, var[j - 1]);
            if (s->lo < 0) s = e_scale(s, -1);
            if (p->lo < 0) p = e_scale(p, -1);
            if (s == p || !e_le(p, s)) break;
            Ex swap = var[j];
            var[j] = var[j - 1], var[j - 1] = swap;
        }
}

static bool in_guard(const Contraction *c, Ex var) {
    for (int i = 0; i < c->nguard; i++)
        if (e_uses(c->guard[i].e, var)) return true;
    return false;
}

static bool is_run(Ex off, Ex u, Ex v) { return tile_stride(off, u) == e_mul(tile_stride(off, v), v->extent); }

// Neighbours u, v of a sorted list that are one run in every address become one variable.
void tile_fuse(Tiling *t, Ex *var, int *n, bool sum) {
    for (int i = 0; i + 1 < *n;) {
        Ex u = var[i], v = var[i + 1];
        bool ok = is_run(t->off[0], u, v) && !tile_fixed(t, u) && !tile_fixed(t, v) && !in_guard(&t->c, u) && !in_guard(&t->c, v) && t->nfused < 32;
        if (sum) ok = ok && (t->pack || is_run(t->off[1], u, v));
        else ok = ok && is_run(t->out_off, u, v) && (tile_extent(v) < 0 || tile_extent(u) >= 0);
        if (!ok) {
            i++;
            continue;
        }
        Ex w = e_index(u->name, e_mul(u->extent, v->extent)), from[2] = {u, v}, to[2] = {e_int(0), w};
        t->off[0] = e_subst_all(t->off[0], 2, from, to);
        if (!sum || !t->pack) t->off[1] = e_subst_all(t->off[1], 2, from, to);
        if (!sum) {
            t->out_off = e_subst_all(t->out_off, 2, from, to);
            t->fused[t->nfused++] = (Fused){w, u, v};
        }
        var[i] = w;
        memmove(&var[i + 1], &var[i + 2], sizeof *var * (size_t)(*n - i - 2));
        --*n;
    }
}

static bool classify_guards(Tiling *t, bool *bad) {
    const Contraction *c = &t->c;
    t->ncut = t->naround = t->npattern = t->nhard = 0;
    t->pattern_by = NULL;
    for (int i = 0; i < c->nguard; i++) {
        Range g = c->guard[i];
        Ex by = NULL;
        int nk = 0, others = 0;
        if (e_uses(g.e, t->lane)) return false;
        for (int v = 0; v < c->nvar; v++) {
            if (c->var[v] == t->row || !e_uses(g.e, c->var[v])) continue;
            if (is_red(c, v)) by = c->var[v], nk++;
            else others++;
        }
        bool row = t->row && e_uses(g.e, t->row), fixed = nk == 0 || (nk == 1 && tile_extent(by) > 0 && tile_extent(by) <= 32);
        int64_t size;
        if (row && !others && nk <= 1 && fixed && tile_extent(t->row) > 0 && e_is_const(g.n, &size) &&
            (!t->pattern_by || !by || t->pattern_by == by)) {
            t->pattern[t->npattern++] = g;
            if (by) t->pattern_by = by;
        } else if (!row && nk == 0) t->around[t->naround++] = g;
        else if (!row && nk == 1 && e_coef(g.e, by, NULL) != INT64_MIN && e_coef(g.e, by, NULL) != 0) {
            t->cut_by[t->ncut] = by;
            t->cut[t->ncut++] = g;
        } else t->hard[t->nhard++] = g;
    }
    for (int i = 0; i < t->nhard; i++) // b would be read outside, too
        for (int v = 0; v < c->nvar; v++)
            if (!t->pack && e_uses(t->hard[i].e, c->var[v]) && e_uses(t->off[1], c->var[v])) return false;
    *bad = t->nhard > 0;
    return true;
}

// ---- costs ------------------------------------------------------------------------------------

static double max2(double a, double b) { return a > b ? a : b; }

// Cycles of one step of the sum, and of a tile's rest divided by the steps.
static double tile_cost(const Tiling *t, int mr, int nv, double steps) {
    double loads = t->a_lanes ? (double)mr * nv : mr;
    return max2(max2((double)mr * nv / 2, (loads + nv) / 2), 4) + (mr * nv * 2 + 20) / steps;
}

// Per element of rows times lanes.
static double cost(const Tiling *t, int mr, int nv) {
    double steps = 1;
    for (int i = 0; i < t->c.nvar; i++)
        if (is_red(&t->c, i)) steps *= (double)tile_guess(t->c.var[i]);
    int64_t lanes = tile_guess(t->lane), vectors = (lanes + t->lanes - 1) / t->lanes, panels = (vectors + nv - 1) / nv;
    int64_t rows = t->row ? tile_guess(t->row) : 1, tiles = (rows + mr - 1) / mr, big = (rows + tiles - 1) / tiles;
    int64_t small = big * tiles - rows;
    if (t->row && tile_extent(t->row) < 0) small = 0, big = mr;
    double sum = (double)(tiles - small) * tile_cost(t, (int)big, nv, steps);
    if (small) sum += (double)small * tile_cost(t, (int)big - 1, nv, steps);
    return sum * (double)panels / (double)(lanes * rows);
}

static double choose_tile(Tiling *t) {
    double best = 1e300;
    int regs = t->target->registers, rows = t->row ? MAX_ROWS : 1;
    for (int nv = 1; nv <= (t->row ? 4 : MAX_NV); nv++)
        for (int mr = 1; mr <= rows; mr++) {
            if (mr * nv + nv + 1 > regs || (t->a_lanes && mr * nv > regs / 2)) continue;
            if (mr > 8 && nv > 1) continue;
            double c = cost(t, mr, nv);
            if (c < best * 0.9999) best = c, t->mr = mr, t->nv = nv;
        }
    return best;
}

// ---- choices ----------------------------------------------------------------------------------

static bool has_slack(const Tiling *t, const Buf *b) { return b->kind == B_WORK && b->slack >= t->lanes * MAX_NV; }

// Whether the lane operand has no element at some index that only the guards rule out.
static bool may_leave(const Tiling *t) {
    for (int f = 0; f < 2; f++) {
        const Access *a = &t->c.factor[f];
        if (a->buf != t->buf[1] || buf_offset(a->buf, a->idx) != t->off[1]) continue;
        for (int i = 0; i < a->rank; i++)
            if (!e_ge0(a->idx[i]) || !e_lt(a->idx[i], a->buf->shape[i])) return true;
        return false;
    }
    return true;
}

// How the lane operand is read; a factor on the cost, 0: not at all.
static double lane_operand(Tiling *t) {
    const Buf *b = t->buf[1];
    int64_t n = tile_extent(t->lane), total = 1;
    bool unit = e_is(tile_stride(t->off[1], t->lane), 1), fixed = n > 0;
    for (int i = 0; i < t->c.nvar; i++)
        if (e_uses(t->off[1], t->c.var[i])) fixed &= tile_extent(t->c.var[i]) > 0;
    if (b->kind == B_WEIGHT && b->data && fixed) {
        t->pack = true;
        return 1;
    }
    if (unit && (has_slack(t, b) || (n > 0 && n % t->lanes == 0))) return 1.01;
    if (may_leave(t)) return 0;
    for (int i = 0; i < t->c.nvar; i++) // reused by how many rows?
        if (!is_red(&t->c, i) && !e_uses(t->off[1], t->c.var[i])) total *= tile_guess(t->c.var[i]);
    if (t->root->rows) return 0; // for each band anew
    t->pack = true;
    return total >= 4 ? 1.1 + 2.0 / (double)total : 0;
}

static void order_loops(Tiling *t, const Contraction *c) {
    t->nbatch = t->nouter = t->nk = 0;
    for (int i = 0; i < c->nvar; i++) {
        Ex v = c->var[i];
        if (is_red(c, i)) t->k[t->nk++] = v;
        else if (v == t->lane) continue;
        else if (e_uses(t->off[1], v)) t->batch[t->nbatch++] = v;
        else t->outer[t->nouter++] = v;
    }
    tile_sort(t->off[0], t->k, t->nk);
    memcpy(t->korder, t->k, sizeof t->k);
    t->nkorder = t->nk;
    tile_sort(t->off[0], t->outer, t->nouter);
    tile_fuse(t, t->k, &t->nk, true);
    tile_fuse(t, t->outer, &t->nouter, false);
}

// The variable of the rows among those outside; its cost.
static double choose_row(Tiling *t) {
    double best = 1e300;
    Tiling pick = *t;
    bool any = false;
    for (int i = t->nouter - 1; i >= -1; i--) {
        if (i < 0 ? any : tile_fixed(t, t->outer[i])) continue;
        any = true;
        Tiling s = *t;
        bool hard = false;
        s.row = i < 0 ? NULL : t->outer[i];
        if (!classify_guards(&s, &hard)) continue;
        double c = choose_tile(&s) * (hard ? 1.5 : 1);
        if (i == 0 && t->nouter > 1 && tile_extent(s.row) < 0) c *= 4; // the outermost symbol is a batch, often of one
        if (c < best * 0.97) best = c, pick = s;
    }
    *t = pick;
    if (t->row)
        for (int i = 0, n = 0; i < t->nouter; i++)
            if (t->outer[i] != t->row) t->outer[n++] = t->outer[i];
    if (t->row) t->nouter--;
    return best;
}

// lane: an out variable; b: the factor that is loaded along it. false: no.
static bool candidate(Tiling *t, Ex lane, int b, double *out) {
    Tiling s = *t;
    if (b) s.buf[0] = t->buf[0], s.buf[1] = t->buf[1], s.off[0] = t->off[0], s.off[1] = t->off[1];
    else s.buf[0] = t->buf[1], s.buf[1] = t->buf[0], s.off[0] = t->off[1], s.off[1] = t->off[0];
    s.lane = lane;
    s.a_lanes = e_uses(s.off[0], lane);
    if (!e_uses(s.off[1], lane) || tile_fixed(t, lane)) return false;
    int64_t n = tile_extent(lane);
    if (s.a_lanes && (!e_is(tile_stride(s.off[0], lane), 1) || (n % s.lanes && !has_slack(&s, s.buf[0])))) return false;
    double c = lane_operand(&s);
    if (c == 0) return false;
    order_loops(&s, &s.c);
    c *= choose_row(&s);
    if (c > 1e200) return false;
    if (!e_is(tile_stride(s.out_off, lane), 1)) c *= 1.15;
    if (c >= *out) return false;
    *out = c;
    *t = s;
    return true;
}

// The cost; 1e100: there is no form.
static double choose(Tiling *t) {
    double best = 1e100;
    const Tiling base = *t;
    for (int i = 0; i < t->c.nout; i++)
        for (int b = 1; b >= 0; b--) {
            for (int v = 0; v < base.c.nvar - base.c.nred; v++) {
                Tiling s = base;
                if (!e_uses(base.c.out[i], base.c.var[v])) continue;
                if (candidate(&s, base.c.var[v], b, &best)) *t = s;
            }
        }
    return best;
}

// Whether the dot template is the better one. The templates add in different orders, so that the answer
// may not depend on the target.
static bool dot_wins(const Tiling *t) {
    Tiling *s = NEW(Tiling);
    *s = *t;
    s->target = target_find(NULL);
    s->lanes = s->target->lanes * 4 / (int)dt_size(s->dt);
    double dot = tile_dot_cost(s);
    return dot < 1e100 && dot < choose(s);
}

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
        else g[n++] = (RowGroup){e_int(at), e_int(1), size, live};
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

static void rows_and_panels(Tiling *t, Loops *ls, Block *b, bool panels_inside) {
    RowGroup g[MAX_GROUPS] = {{e_int(0), e_int(1), 1, NULL}};
    int n = 1;
    bool partial = t->row && tile_extent(t->row) < 0;
    if (partial) g[0] = (RowGroup){e_int(0), e_ceil_div(t->row->extent, e_int(t->mr)), t->mr, NULL};
    else if (t->row) n = row_groups(t, g);
    for (int i = 0; i < n; i++) {
        Ex tile = e_index(arena_printf("tile%d", t->l->next_local++), g[i].count);
        Block *in = loop_over(t, ls, b, tile, g[i].count);
        if (panels_inside) in = loop_over(t, ls, in, t->panel, t->panels);
        tile_kernel(t, in, e_add(g[i].first, e_scale(tile, g[i].rows)), g[i].rows, partial, g[i].live);
    }
}

static bool enough(const Stmt *s, int64_t least) {
    int64_t n;
    return !e_is_const(s->hi, &n) || n >= least;
}

// The outermost loop with iterations for many threads, else for two.
static Stmt *mark_parallel(const Tiling *t, const Loops *ls) {
    if (!tile_parallel(t) || t->root->rows) return NULL;
    bool batch = ls->n > 1 && ((t->nouter && ls->loop[0]->var == t->outer[0]) || (t->nbatch && ls->loop[0]->var == t->batch[0]));
    if (batch && tile_extent(ls->loop[0]->var) < 0 && enough(ls->loop[1], 4)) { // a symbolic batch may be one
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
    double n = (double)dt_size(t->dt) * t->nv * t->lanes * (double)((tile_guess(t->lane) + tile_width(t) - 1) / tile_width(t));
    for (int i = 0; i < t->nk; i++) n *= (double)tile_guess(t->k[i]);
    return n;
}

static void emit_tree(Tiling *t, Block *b) {
    Loops *ls = &(Loops){0};
    Stmt *pack = NULL;
    bool inside = panel_bytes(t) <= t->target->l1 || t->a_lanes;
    for (int i = 0; i < t->nbatch; i++) b = loop_over(t, ls, b, t->batch[i], t->batch[i]->extent);
    int nbatch = ls->n;
    if (t->pack && !t->packed) pack = tile_pack_run(t, b);
    if (!inside) b = loop_over(t, ls, b, t->panel, t->panels);
    for (int i = 0; i < t->nouter; i++) b = loop_over(t, ls, b, t->outer[i], t->outer[i]->extent);
    rows_and_panels(t, ls, b, inside);
    Stmt *par = mark_parallel(t, ls);
    if (pack && t->inner) t->packed->scratch = true;
    if (!pack || !par) return;
    for (int i = 0; i < nbatch; i++) t->packed->scratch |= ls->loop[i] == par;
    if (!t->packed->scratch && enough(pack, 2)) pack->parallel = true;
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
    if (!t->target || (t->dt != F32 && t->dt != F64)) return false;
    t->lanes = t->target->lanes * 4 / (int)dt_size(t->dt);
    if (t->lanes < 2) return false;
    if (c->empty) return true;
    for (int i = 0; i < 2; i++) {
        if (c->factor[i].buf->dt != t->dt) return false;
        t->buf[i] = c->factor[i].buf;
        t->off[i] = buf_offset(t->buf[i], c->factor[i].idx);
    }
    t->dot = !t->root->rows && dot_wins(t);
    return t->dot || (choose(t) < 1e100 && settle_patterns(t));
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

static void tile_phase(Tiling *t, Block *b) {
    t->panels = e_ceil_div(t->lane->extent, e_int(tile_width(t)));
    t->panel = e_index(arena_printf("p%d", t->l->next_local++), t->panels);
    if (t->pack && t->buf[1]->kind == B_WEIGHT && t->buf[1]->data) {
        bool fixed = true;
        for (int i = 0; i < t->nbatch; i++) fixed &= tile_extent(t->batch[i]) > 0;
        if (fixed) tile_pack_const(t);
    }
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
        else tile_phase(t[i], b);
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
