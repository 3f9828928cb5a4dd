// SPDX-License-Identifier: Apache-2.0
// The tile template's choices: which variable runs along lanes and which along rows, how the operands are
// read, how guards are met, and the size of the register tile, by estimated cycles.
#include "loop/tile.h"
#include <math.h>
#include <string.h>

enum { GUESS = 64 }; // a symbolic extent, for costs
static const double FULL = 1.05;   // a tile that takes every register: gcc spills some
static const double GATHER = 1.5;  // cycles of packing an element where lanes are not neighbours
static const double NARROW = 1.12; // vectors of half of the registers' width: twice the instructions
static const double BLOCK = 256;   // steps of a block of a long sum
static const double EDGES = 1.5, OPEN_EDGES = 1; // guards at each load where a tile is not all inside: among many patterns; at the ends of open rows
enum { LINE = 64, WAY = 4096, WAYS = 8 }; // of the first-level cache, bytes

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

// Of the two extents of a matrix product, the smaller one: elements of the result that share one of an operand.
int64_t tile_least_rows(const Tiling *t) {
    int64_t n[2] = {1, 1};
    const Contraction *c = &t->c;
    for (int i = 0; i < c->nvar - c->nred; i++)
        for (int f = 0; f < 2; f++)
            if (!e_uses(buf_offset(c->factor[f].buf, c->factor[f].idx), c->var[i])) n[f] *= tile_guess(c->var[i]);
    return n[0] < n[1] ? n[0] : n[1];
}

// Products that take as long as entering a parallel region: more on longer vectors, unless an operand that is read for few
// of them is what they wait for.
bool tile_parallel(const Tiling *t) {
    const int64_t wide = t->target->lanes / 4, rows = tile_least_rows(t), faster = wide < rows ? wide : rows;
    return !t->inner && work(&t->c) >= (double)THREAD_WORK * (double)(faster > 1 ? faster : 1);
}

bool tile_fixed(const Tiling *t, Ex var) {
    for (int i = 0; i < t->nfixed; i++)
        if (t->fixed[i] == var) return true;
    return false;
}

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

bool tile_guarded(const Contraction *c, Ex var) {
    for (int i = 0; i < c->nguard; i++)
        if (e_uses(c->guard[i].e, var)) return true;
    return false;
}

static bool is_run(Ex off, Ex u, Ex v) { return tile_stride(off, u) == e_mul(tile_stride(off, v), v->extent); }

// Neighbours u, v of a sorted list that are one run in every address become one variable.
void tile_fuse(Tiling *t, Ex *var, int *n, bool sum) {
    for (int i = 0; i + 1 < *n;) {
        Ex u = var[i], v = var[i + 1];
        bool ok = is_run(t->off[0], u, v) && !tile_fixed(t, u) && !tile_fixed(t, v) && !tile_guarded(&t->c, u) && !tile_guarded(&t->c, v) && t->nfused < 32;
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

// The time of what has two bounds: near where they meet both are felt (measured: 8 sums at once, as many as two units
// with a latency of 4 need, reach 67 to 87 % of the peak, 10 of them 90 %, 12 of them 98 %).
static double bound2(double a, double b) { return sqrt(sqrt(a * a * a * a + b * b * b * b)); }

// Vectors of a that one step loads for a tile where a is loaded along lanes: rows share those of a window that moves
// with them, its steps unrolled as tile_kernel does.
static double lane_loads(const Tiling *t, int mr, int nv) {
    const Ex k = t->nk > 0 ? t->k[t->nk - 1] : NULL;
    const int64_t n = k ? tile_extent(k) : 0;
    const bool shared = t->row && n > 0 && n <= 7 && tile_stride(t->off[0], k) == tile_stride(t->off[0], t->row);
    return shared ? nv * (double)(mr + n - 1) / (double)n : (double)mr * nv;
}

// Cycles of one step of the sum, and of a tile's rest divided by the steps.
static double tile_cost(const Tiling *t, int mr, int nv, double steps) {
    const bool wide = t->lanes * (int)dt_size(t->dt) > t->target->wide, narrow = t->lanes < t->widest;
    const double passes = wide ? 2 : 1, loads = t->a_lanes ? lane_loads(t, mr, nv) * passes : mr; // broadcasts are of one element
    double cycles = bound2(max2((double)mr * nv * passes / 2, (loads + nv * passes) / 2), 4) + (mr * nv * 2 * passes + 20) / steps;
    const double row = (double)nv * t->lanes * (double)dt_size(t->dt), panel = row * (steps < BLOCK ? steps : BLOCK);
    if (panel > t->target->l1) cycles = max2(cycles, row / t->target->feed); // b comes from the second level
    return narrow ? cycles * NARROW : cycles;
}

// Of all rows of which the number is open, a panel and element: the mean for some numbers, in the tiles of rows_of.
static double open_rows_cost(const Tiling *t, int mr, int nv, double steps) {
    static const int some[] = {3, 8, 21, 64};
    const int first = t->a_lanes; // sides of images
    const int half = (mr + 1) / 2;
    double sum = 0;
    for (int i = first; i < 4; i++) {
        int left = some[i] % mr, n = some[i] / mr;
        double c = n * tile_cost(t, mr, nv, steps);
        if (t->a_lanes)
            for (int size = mr > 4 ? 4 : half; size > 0; left %= size, size /= 2) c += left / size * tile_cost(t, size, nv, steps);
        else if (left > 0) c += tile_cost(t, left > half ? mr : half, nv, steps);
        sum += c / some[i] / (4 - first);
    }
    return sum;
}

// Per element of rows times lanes.
static double cost(const Tiling *t, int mr, int nv) {
    double steps = 1;
    for (int i = 0; i < t->c.nvar; i++)
        if (is_red(&t->c, i)) steps *= (double)tile_guess(t->c.var[i]);
    int64_t lanes = tile_guess(t->lane), vectors = (lanes + t->lanes - 1) / t->lanes;
    double panels = (double)((vectors + nv - 1) / nv);
    if (tile_extent(t->lane) < 0) panels = (double)lanes / (t->lanes * nv) + 0.5; // half of the last one is nothing
    int64_t rows = t->row ? tile_guess(t->row) : 1, tiles = (rows + mr - 1) / mr, big = (rows + tiles - 1) / tiles;
    int64_t small = big * tiles - rows;
    if (t->row && tile_extent(t->row) < 0) return open_rows_cost(t, mr, nv, steps) * panels / (double)lanes;
    double sum = (double)(tiles - small) * tile_cost(t, (int)big, nv, steps);
    if (small) sum += (double)small * tile_cost(t, (int)big - 1, nv, steps);
    return sum * panels / (double)(lanes * rows);
}

// For --tile-form: of tiles that split the rows alike only one.
static void note_form(Tiling *t, int mr, int nv, double c) {
    int64_t rows = t->row ? tile_extent(t->row) : 1, tiles = (rows + mr - 1) / mr;
    if (!t->forms || (rows > 0 && mr > 1 && (rows + mr - 2) / (mr - 1) == tiles)) return;
    TileForm f = t->form;
    f.mr = mr, f.nv = nv;
    tile_forms_add(t->forms, &f, c);
}

// Whether no register is left, with the vectors that the epilogue adds where there are many: gcc has those in registers throughout.
static bool is_full(int mr, int nv, int regs) { return mr * nv + nv + 1 + (regs > 16 ? nv + 1 : 0) >= regs; }

// Whether the rows' elements of one step throw each other out of the first-level cache: at addresses a multiple of
// the bytes of a way apart they all go to one set.
static bool collide(const Tiling *t, int mr) {
    int64_t s = 0;
    if (!t->row || !e_is_const(tile_stride(t->off[0], t->row), &s) || s == 0) return false;
    int64_t bytes = (s < 0 ? -s : s) * (int64_t)dt_size(t->dt), sets = WAY / LINE;
    while (sets > 1 && bytes % (WAY / sets * 2) == 0) sets /= 2;
    return bytes % LINE == 0 && mr > WAYS * sets;
}

// scale: of its costs, among those of other forms
static double choose_tile(Tiling *t, double scale) {
    double best = 1e300;
    int regs = t->target->registers, rows = t->row ? MAX_ROWS : 1;
    for (int nv = 1; nv <= (t->row ? 4 : MAX_NV); nv++)
        for (int mr = 1; mr <= rows; mr++) {
            if (mr * nv + nv + 1 > regs || (t->a_lanes && mr * nv > regs / 2)) continue;
            if (mr > 8 && nv > 1) continue;
            if (t->force && (mr != t->force->mr || nv != t->force->nv)) continue;
            double c = cost(t, mr, nv) * (is_full(mr, nv, regs) ? FULL : 1);
            if (collide(t, mr)) c *= 2;
            note_form(t, mr, nv, c * scale);
            if (c < best * 0.9999) best = c, t->mr = t->form.mr = mr, t->nv = t->form.nv = nv;
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

// How the lane operand is read; a factor on the cost, 0: not at all. more: cycles beside for each multiply-add.
static double lane_operand(Tiling *t, double *more) {
    const Buf *b = t->buf[1];
    int64_t n = tile_extent(t->lane), total = 1;
    bool unit = e_is(tile_stride(t->off[1], t->lane), 1), fixed = n > 0;
    for (int i = 0; i < t->c.nvar; i++)
        if (e_uses(t->off[1], t->c.var[i])) fixed &= tile_extent(t->c.var[i]) > 0;
    if (b->kind == B_WEIGHT && b->data && fixed) {
        t->pack = true;
        return 1;
    }
    bool direct = unit && (has_slack(t, b) || (n > 0 && n % t->lanes == 0));
    double spread = 1; // steps that are a line or more apart: many of them do not stay in the first-level cache
    for (int i = t->c.nvar - t->c.nred; i < t->c.nvar; i++)
        if (!e_is(tile_stride(t->off[1], t->c.var[i]), 1)) spread *= (double)tile_guess(t->c.var[i]);
    if (direct && spread <= 192) return 1.01;
    if (may_leave(t) || t->root->rows) return direct ? 1.01 : 0; // rows: for each band anew
    for (int i = 0; i < t->c.nvar; i++) // reused by how many rows?
        if (!is_red(&t->c, i) && !e_uses(t->off[1], t->c.var[i])) total *= tile_guess(t->c.var[i]);
    double packed = total >= 4 ? 1.1 + 2.0 / (double)total : 0;
    if (direct && (packed == 0 || packed >= 1.2)) return 1.01;
    t->pack = true;
    if (!unit) *more = GATHER / (double)total;
    return packed;
}

// A short innermost loop that padding cuts runs a few steps and ends where nobody can foretell; as in the sum over batch
// and pixels that a filter's gradient is. One that is as long, and never cut, goes inside instead.
static void long_innermost(const Contraction *c, Ex *k, int n) {
    enum { SHORT = 16 };
    int64_t last = n > 1 ? tile_extent(k[n - 1]) : 0;
    if (last <= 0 || last > SHORT || !tile_guarded(c, k[n - 1])) return;
    for (int i = n - 2; i >= 0; i--) {
        Ex v = k[i];
        if (tile_extent(v) < last || tile_guarded(c, v)) continue;
        memmove(&k[i], &k[i + 1], sizeof v * (size_t)(n - 1 - i));
        k[n - 1] = v;
        return;
    }
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
    tile_sort(t->order, t->k, t->nk);
    long_innermost(t->whole, t->k, t->nk);
    memcpy(t->korder, t->k, sizeof t->k);
    t->nkorder = t->nk;
    tile_sort(t->off[0], t->outer, t->nouter);
    tile_fuse(t, t->k, &t->nk, true);
    tile_fuse(t, t->outer, &t->nouter, false);
}

bool tile_is_batch(const Contraction *c, Ex var) { return c->out[0] == var && tile_extent(var) < 0 && c->nvar - c->nred > 2; }

// The variable of the rows among those outside; its cost.
static double choose_row(Tiling *t, double scale) {
    double best = 1e300;
    Tiling pick = *t;
    bool any = false;
    for (int i = t->nouter - 1; i >= -1; i--) {
        if (i < 0 ? any : tile_fixed(t, t->outer[i])) continue;
        if (t->force && i != t->force->row) continue;
        any = true;
        Tiling s = *t;
        bool hard = false;
        s.row = i < 0 ? NULL : t->outer[i];
        s.form.row = i < 0 ? -1 : i;
        if (!classify_guards(&s, &hard)) continue;
        const double tested = !hard ? 1 : s.row && tile_extent(s.row) < 0 ? OPEN_EDGES : EDGES;
        double c = choose_tile(&s, scale * tested) * tested;
        if (s.row && tile_is_batch(&t->c, s.row)) c *= 4;
        if (c < best * 0.97) best = c, pick = s;
    }
    *t = pick;
    if (t->row)
        for (int i = 0, n = 0; i < t->nouter; i++)
            if (t->outer[i] != t->row) t->outer[n++] = t->outer[i];
    if (t->row) t->nouter--;
    return best;
}

// Cycles of copying the operands that get margins, for each multiply-add.
static double copy_cost(const Tiling *t) {
    double elements = 0, work = 1;
    for (int f = 0; f < 2; f++) {
        double n = t->margin[f].buf ? 1 : 0;
        for (int i = 0; i < t->buf[f]->rank && n > 0; i++) {
            int64_t ext;
            n *= e_is_const(t->buf[f]->shape[i], &ext) ? (double)ext : (double)GUESS;
        }
        elements += n;
    }
    for (int i = 0; i < t->c.nvar; i++) work *= (double)tile_guess(t->c.var[i]);
    return 0.3 * elements / work;
}

// How much dearer it is to store along lanes that are no neighbours, or even in a page each.
static double scatter(const Tiling *t) {
    enum { FAR = 4096 }; // bytes
    int64_t s = 0;
    if (!e_is_const(tile_stride(t->out_off, t->lane), &s)) return 1.15;
    return s == 1 ? 1 : (s < 0 ? -s : s) * (int64_t)dt_size(t->dt) < FAR ? 1.15 : 1.4;
}

// false: no.
static bool candidate(Tiling *t, TileForm choice, double *out) {
    Tiling s = *t;
    Ex lane = t->c.var[choice.lane];
    const TileForm *force = t->force;
    s.lanes = choice.lanes;
    if (force && force->lanes != choice.lanes) return false;
    if (force && (force->lane != choice.lane || force->b != choice.b || force->margins != choice.margins)) return false;
    s.form = choice;
    s.factor[1] = choice.b, s.factor[0] = 1 - choice.b;
    for (int f = 0; f < 2; f++) s.buf[f] = t->buf[s.factor[f]], s.off[f] = t->off[s.factor[f]];
    if (choice.margins && !tile_margins(&s, choice.margins)) return false;
    s.lane = lane;
    s.a_lanes = e_uses(s.off[0], lane);
    if (!e_uses(s.off[1], lane) || tile_fixed(t, lane)) return false;
    int64_t n = tile_extent(lane);
    if (s.a_lanes && (!e_is(tile_stride(s.off[0], lane), 1) || (n % s.lanes && !has_slack(&s, s.buf[0])))) return false;
    double more = 0, c = lane_operand(&s, &more);
    if (c == 0) return false;
    if (tile_is_batch(&s.c, lane)) c *= 4;
    order_loops(&s, &s.c);
    c *= scatter(&s);
    c *= choose_row(&s, c);
    if (c > 1e200) return false;
    c += copy_cost(&s) + more;
    if (c >= *out) return false;
    *out = c;
    *t = s;
    return true;
}

// The cost; 1e100: there is no form.
double tile_choose(Tiling *t) {
    double best = 1e100;
    // the strides of the first operand that is not constant order the sum, however it is read: the same for every target
    int first = t->c.factor[0].buf->kind == B_WEIGHT && t->c.factor[1].buf->kind != B_WEIGHT ? 1 : 0;
    t->order = t->off[first];
    t->widest = t->lanes;
    Contraction *whole = NEW(Contraction);
    *whole = t->c;
    t->whole = whole;
    const Tiling base = *t;
    const int least = t->lanes * (int)dt_size(t->dt) > t->target->wide ? t->lanes / 2 : t->lanes;
    for (int i = 0; i < t->c.nout; i++)
        for (int b = 1; b >= 0; b--)
            for (int v = 0; v < base.c.nvar - base.c.nred; v++)
                for (unsigned m = 0; m < (base.c.nguard && !base.inner && !base.root->rows ? 4 : 1); m++)
                    for (int lanes = base.widest; lanes >= least; lanes /= 2) {
                        Tiling s = base;
                        if (!e_uses(base.c.out[i], base.c.var[v])) continue;
                        if (candidate(&s, (TileForm){.lane = v, .b = b, .margins = m, .lanes = lanes}, &best)) *t = s;
                    }
    return best;
}

// Whether the dot template is the better one. The templates add in different orders, so that the answer
// may not depend on the target.
bool tile_dot_wins(const Tiling *t) {
    Tiling *s = NEW(Tiling);
    *s = *t;
    s->target = target_find(NULL);
    s->lanes = s->target->lanes * 4 / (int)dt_size(s->dt);
    double dot = s->c.product == FN_mul ? tile_dot_cost(s) : 1e100;
    return dot < 1e100 && dot < tile_choose(s);
}
