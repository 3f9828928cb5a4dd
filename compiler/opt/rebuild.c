// SPDX-License-Identifier: Apache-2.0
// Graphs made again: reachable nodes only, in topological order, regions too; the machinery of the
// passes that rewrite.
#include "opt/rewrite.h"
#include <string.h>

enum { MAX_DEPTH = 128 }; // of regions: the import has checked it

// var and by: symbols that an if defined, and what they are in the branch that it became.
typedef struct { const Rewrite *rw; int depth, nsub, cap_var, cap_by, nguarded; Ex *var, *by; } Run; // nguarded: the first that guards, left as they are, make equal

static Graph *rewrite(const Graph *old, Graph *parent, Run *run, int nmoved, Val *const *moved, int first, Val *const *captured);

static void each_atom(Ex e, ExprKind kind, LoadVisit *f, void *ctx) {
    if (e->kind == kind) f(e, ctx);
    for (int i = 0; i < e->n; i++) each_atom(e->kind == X_SUM ? e->t[i].m : e->a[i], kind, f, ctx);
}

void ex_each_load(Ex e, LoadVisit *f, void *ctx) { each_atom(e, X_LOAD, f, ctx); }

static int regions_of(const Node *n) { return !n->region ? 0 : n->op == P_if ? 2 : 1; }

// The atoms of a kind in a node's expressions, in its regions' too.
static void node_each_atom(const Node *n, ExprKind kind, LoadVisit *f, void *ctx) {
    for (int i = 0; i < n->nex; i++) each_atom(n->ex[i], kind, f, ctx);
    for (int i = 0; i < n->nout; i++)
        for (int k = 0; k < n->out[i].rank; k++) each_atom(n->out[i].shape[k], kind, f, ctx);
    for (int r = 0; r < regions_of(n); r++)
        for (int i = 0; i < n->region[r].g->nnode; i++) node_each_atom(n->region[r].g->node[i], kind, f, ctx);
}

void node_each_load(const Node *n, LoadVisit *f, void *ctx) { node_each_atom(n, X_LOAD, f, ctx); }

void node_each_symbol(const Node *n, LoadVisit *f, void *ctx) { node_each_atom(n, X_VAR, f, ctx); }

static bool is_extent_of(const Val *v, Ex d) {
    for (int k = 0; k < v->rank; k++)
        if (e_uses(v->shape[k], d)) return true;
    return false;
}

bool symbol_before(const Graph *g, const Node *n, Ex d) {
    for (; g; n = NULL, g = g->parent) {
        for (int i = 0; i < g->nin; i++)
            if (is_extent_of(g->in[i], d)) return true;
        for (int i = 0; i < (n ? n->id : g->nnode); i++)
            for (int k = 0; k < g->node[i]->nout; k++)
                if ((g->node[i]->op == P_if || g->node[i]->op == P_loop) && is_extent_of(&g->node[i]->out[k], d)) return true;
    }
    return false;
}

Defined *graph_defined(const Graph *g, int *count) {
    Defined *v = NULL;
    int n = 0, cap = 0;
    for (int i = 0; i < g->nnode; i++) {
        Node *x = g->node[i];
        for (int k = 0; k < x->nout && (x->op == P_if || x->op == P_loop); k++)
            for (int d = 0; d < x->out[k].rank; d++) {
                Ex e = x->out[k].shape[d];
                if (e->kind == X_VAR && !symbol_before(g, x, e)) PUSH(v, n, cap, ((Defined){e, &x->out[k]}));
            }
    }
    *count = n;
    return v;
}

typedef struct { const Graph *g; bool *live; Defined *defined; int ndefined; } Live;

static void mark_symbol(Ex var, void *ctx) {
    Live *l = ctx;
    for (int i = 0; i < l->ndefined; i++)
        if (l->defined[i].var == var) l->live[l->defined[i].by->node->id] = true;
}

static void mark_load(Ex load, void *ctx) {
    Live *l = ctx;
    if (load->val->node->g == l->g) l->live[load->val->node->id] = true;
}

// Which nodes the outputs and the guards that must hold need, by node id: by operands, by elements that expressions read, and by extents
// that a branch or an iteration defines.
static bool *reachable(const Graph *g) {
    bool *live = NEWN(bool, g->nnode + 1);
    Live l = { .g = g, .live = live };
    l.defined = graph_defined(g, &l.ndefined);
    for (int i = 0; i < g->nout; i++) live[g->out[i]->node->id] = true;
    for (int i = 0; i < g->nguard; i++)
        if (g->guard[i].kind == G_MUST) ex_each_load(g->guard[i].a, mark_load, &l), ex_each_load(g->guard[i].b, mark_load, &l);
    for (int i = g->nnode - 1; i >= 0; i--) {
        if (!live[i]) continue;
        for (int k = 0; k < g->node[i]->nin; k++) live[g->node[i]->in[k]->node->id] = true;
        node_each_load(g->node[i], mark_load, &l);
        if (l.ndefined) node_each_symbol(g->node[i], mark_symbol, &l);
    }
    return live;
}

static int axes_of(const Node *n, int *axes) {
    for (int i = 0; i < n->nex; i++) {
        int64_t c = 0;
        e_is_const(n->ex[i], &c);
        axes[i] = (int)c;
    }
    return n->nex;
}

static Val *make_random(Graph *g, const Node *n) {
    int64_t seed = 0;
    e_is_const(n->ex[0], &seed);
    Val *v = b_random(g, n->out[0].rank, n->out[0].shape, (uint64_t)seed, n->flag);
    v->node->axis = n->axis; // the same numbers as before
    return v;
}

Val *node_again(Graph *g, const Node *n, Val **in) {
    const Val *o = &n->out[0];
    int axes[MAX_RANK];
    switch (n->op) {
    case P_const: return b_const(g, n->data, o->rank, o->shape);
    case P_dims: return b_dims(g, o->dt, o->rank, o->shape, n->ex);
    case P_iota: return b_iota(g, o->dt, o->shape[0]);
    case P_random: return make_random(g, n);
    case P_map: return b_map(g, (Fn)n->fn, o->dt, n->nin, in);
    case P_reduce: {
        int naxes = axes_of(n, axes);
        return b_reduce(g, (Red)n->fn, in[0], naxes, axes, n->flag & 1);
    }
    case P_reshape: return b_reshape(g, in[0], o->rank, o->shape);
    case P_permute: axes_of(n, axes); return b_permute(g, in[0], axes);
    case P_expand: return b_expand(g, in[0], o->shape);
    case P_slice: return b_slice(g, in[0], n->axis, n->ex[0], o->shape[n->axis], n->ex[1]);
    case P_pad: return b_pad(g, in[0], n->axis, n->ex[0], n->ex[1], in[1]);
    case P_concat: return b_concat(g, n->nin, in, n->axis);
    case P_window: return b_window(g, in[0], n->axis, n->ex[0], n->ex[1], n->ex[2]);
    case P_unwindow: return b_unwindow(g, in[0], n->axis, n->ex[0], n->ex[1], n->ex[2]);
    case P_gather: return b_gather(g, in[0], in[1], n->axis);
    case P_scatter: return b_scatter(g, (Red)n->fn, in[0], in[1], in[2], n->axis);
    case P_scan: return b_scan(g, (Red)n->fn, in[0], n->axis, n->flag & 1, n->flag & 2);
    case P_copy: return b_copy(g, in[0]);
    case P_input: case P_sort: case P_if: case P_loop: case P_call: case P_COUNT: break;
    }
    die("%s is made elsewhere", prim_name[n->op]);
}

static const Ex *substitute(const Run *run, int n, const Ex *e) {
    Ex *r = NEWN(Ex, n > 0 ? n : 1);
    for (int i = 0; i < n; i++) r[i] = e_subst_all(e[i], run->nsub, run->var, run->by);
    return r;
}

static Val substituted_val(const Run *run, const Val *v) {
    Val r = *v;
    if (run->nsub && v->rank > 0 && v->kind == K_TENSOR) r.shape = substitute(run, v->rank, v->shape);
    return r;
}

// The node as it reads without the symbols that are gone.
static const Node *substituted(const Run *run, const Node *n) {
    if (!run->nsub) return n;
    Node *m = NEW(Node);
    *m = *n;
    m->ex = substitute(run, n->nex, n->ex);
    m->out = NEWN(Val, n->nout);
    for (int i = 0; i < n->nout; i++) m->out[i] = substituted_val(run, &n->out[i]);
    return m;
}

// Whether carried value i of a loop stays what it was: each iteration hands on the parameter, whose type is the first value's
// and the result's.
static bool is_kept(const Node *n, const Graph *body, Val *const *in, int i) {
    const Val *param = body->in[2 + i], *init = in[2 + i], *res = &n->out[i];
    return body->out[1 + i] == param && init->kind == K_TENSOR && init->rank == param->rank && init->rank == res->rank &&
           val_same_shape(init, param) && val_same_shape(init, res);
}

// A value of a loop's body that is made before it, in g; in: the loop's operands.
static Val *made_before(Graph *g, Val *v, Val *const *in, Val **map, Run *run) {
    if (map[v->id]) return map[v->id];
    const Node *n = v->node;
    if (n->op == P_input) return map[v->id] = in[n->axis];
    Val **x = NEWN(Val *, n->nin + 1);
    for (int i = 0; i < n->nin; i++) x[i] = made_before(g, n->in[i], in, map, run);
    g->origin = n->name;
    return map[v->id] = node_again(g, substituted(run, n), x);
}

// The loop as it reads when those values are captures, too. Returns its operands.
static Val **move_out(Graph *g, const Node *n, Val **in, int nmoved, Val *const *moved, Run *run) {
    Val **more = NEWN(Val *, n->nin + nmoved + 1), **map = NEWN(Val *, n->region->g->nval + 1);
    for (int i = 0; i < n->nin; i++) more[i] = in[i];
    for (int i = 0; i < nmoved; i++) more[n->nin + i] = made_before(g, moved[i], in, map, run);
    return more;
}

// A loop again. A carried value that does not change is a capture: its extents are known, and what depends on it alone may leave the loop.
static void make_loop(Graph *g, const Node *n, int nin, Val **in, Val **out, Graph *body) {
    int ncarry = 0, ncap = 0, ncarried = n->axis, nrest = nin - 2 - ncarried;
    Val **carry = NEWN(Val *, 3 * nin), **cap = carry + nin, **kept = cap + nin;
    bool *keeps = NEWN(bool, n->nout + 1);
    for (int i = 0; i < ncarried; i++) {
        keeps[i] = is_kept(n, body, in, i);
        if (keeps[i]) kept[ncap] = body->in[2 + i], cap[ncap++] = in[2 + i];
        else {
            body->in[2 + ncarry] = body->in[2 + i];
            body->out[1 + ncarry] = body->out[1 + i];
            body->out_name[1 + ncarry] = body->out_name[1 + i];
            carry[ncarry++] = in[2 + i];
        }
    }
    for (int i = 0; i < ncap; i++) body->in[2 + ncarry + i] = kept[i];
    for (int i = 0; i < body->nin; i++) body->in[i]->node->axis = i;
    for (int i = ncarried; i < n->nout; i++) {
        body->out[1 + i - ncap] = body->out[1 + i];
        body->out_name[1 + i - ncap] = body->out_name[1 + i];
    }
    body->nout -= ncap;
    for (int i = 0; i < nrest; i++) cap[ncap + i] = in[2 + ncarried + i];
    Node *m = b_loop(g, in[0], in[1], ncarry, carry, ncap + nrest, cap, body);
    m->flag = n->flag;
    for (int i = 0, k = 0; i < n->nout; i++) {
        if (keeps[i]) {
            out[i] = in[2 + i];
            continue;
        }
        out[i] = &m->out[k++];
        out[i]->shape = n->out[i].shape;
        out[i]->rank = n->out[i].rank;
    }
}

// Control and calls: results keep their types, so that symbols which they define keep their names.
static void make_many(Graph *g, const Node *old, const Node *n, Val **in, Val **out, Run *run) {
    Node *m = NULL;
    if (n->op == P_sort) {
        b_sort(g, in[0], n->axis, n->flag & 1, &out[0], &out[1]);
        return;
    }
    if (n->op == P_call) m = b_call(g, n->call, n->nin, in, n->aux, n->aux_size, n->nout, n->out);
    else if (n->op == P_if) {
        Graph *a = rewrite(n->region[0].g, g, run, 0, NULL, 0, in + 1), *b = rewrite(n->region[1].g, g, run, 0, NULL, 0, in + 1);
        m = b_if(g, in[0], a, b, n->nin - 1, in + 1);
    } else {
        Val **moved = NULL;
        int nmoved = run->rw->invariant ? run->rw->invariant(old, &moved, run->rw->ctx) : 0;
        if (nmoved) in = move_out(g, n, in, nmoved, moved, run);
        make_loop(g, n, n->nin + nmoved, in, out, rewrite(n->region->g, g, run, nmoved, moved, 2 + n->axis, in));
        return;
    }
    for (int i = 0; i < n->nout; i++) {
        m->out[i].shape = n->out[i].shape;
        m->out[i].rank = n->out[i].rank;
        out[i] = &m->out[i];
    }
}

// Learns what the extents that only an if knew are, now that its branch is known.
static void learn(Run *run, const Val *was, const Val *is) {
    if (was->kind != K_TENSOR || was->rank != is->rank) return;
    for (int i = 0; i < was->rank; i++) {
        if (was->shape[i] == is->shape[i] || was->shape[i]->kind != X_VAR) continue;
        PUSH(run->var, run->nsub, run->cap_var, was->shape[i]);
        run->nsub--;
        PUSH(run->by, run->nsub, run->cap_by, is->shape[i]);
    }
}

typedef struct { Run *run; Val *const *map; const Graph *g; } LoadMap;

// A load of a value reads the new value from now on, or is what is known of it.
static void map_load(Ex load, void *ctx) {
    LoadMap *m = ctx;
    Run *run = m->run;
    if (load->val->node->g != m->g || !m->map[load->val->id]) return;
    for (int i = 0; i < run->nsub; i++)
        if (run->var[i] == load) return;
    Val *v = m->map[load->val->id];
    const Ex *idx = substitute(run, load->n, load->a);
    Ex by;
    int64_t at = 0;
    bool known = (v->elems || val_const(v)) && v->rank <= 1 && (v->rank == 0 || e_is_const(idx[0], &at));
    if (known) by = v->elems ? v->elems[at] : e_int(data_get(val_const(v), (size_t)at).i);
    else by = load->c ? e_size(v, load->n, idx) : e_load(v, load->n, idx);
    if (by == load) return;
    PUSH(run->var, run->nsub, run->cap_var, load);
    run->nsub--;
    PUSH(run->by, run->nsub, run->cap_by, by);
}

static bool same_type(const Val *a, const Val *b) {
    return a->dt == b->dt && a->kind == b->kind && (a->kind != K_TENSOR || val_same_shape(a, b));
}

static void splice(Graph *g, const Graph *region, Val *const *args, Val **out, Run *run);

static void rewrite_node(Graph *g, const Node *old, Val **map, Run *run) {
    const Rewrite *rw = run->rw;
    node_each_load(old, map_load, &(LoadMap){ run, map, old->g });
    const Node *n = substituted(run, old);
    Val **in = NEWN(Val *, n->nin + n->nout + 1), **out = in + n->nin;
    for (int i = 0; i < n->nin; i++) in[i] = map[n->in[i]->id];
    if (rw->operands) rw->operands(g, old, in, map, rw->ctx);
    g->origin = n->name;
    Graph *branch = n->op == P_if && rw->branch ? rw->branch(n, in) : NULL;
    if (branch) splice(g, branch, in + 1, out, run);
    else if (n->op == P_sort || n->op == P_if || n->op == P_loop || n->op == P_call) make_many(g, old, n, in, out, run);
    else {
        if (rw->before) out[0] = rw->before(g, &old->out[0], rw->ctx);
        if (!out[0]) out[0] = node_again(g, n, in);
    }
    for (int i = 0; i < n->nout; i++) {
        if (rw->after) out[i] = rw->after(g, out[i], rw->ctx);
        if (branch) learn(run, &n->out[i], out[i]);
        if (!same_type(out[i], &n->out[i]) && !branch && !run->nguarded) die("%s (node %d) changed its type", prim_name[n->op], n->id);
        if (!out[i]->name && n->out[i].name) out[i]->name = n->out[i].name;
        map[n->out[i].id] = out[i];
    }
}

static void rewrite_nodes(Graph *g, const Graph *old, Val **map, Run *run) {
    const bool *live = reachable(old);
    const char *origin = g->origin;
    for (int i = 0; i < old->nnode; i++)
        if (live[i] && old->node[i]->op != P_input && !map[old->node[i]->out[0].id]) rewrite_node(g, old->node[i], map, run);
    g->origin = origin;
}

// The guards come first: constructors add only what is not there.
static void copy_guards(Graph *g, const Graph *old) {
    for (int i = 0; i < old->nguard; i++) {
        bool there = false;
        for (int k = 0; k < g->nguard && !there; k++)
            there = g->guard[k].kind == old->guard[i].kind && g->guard[k].a == old->guard[i].a && g->guard[k].b == old->guard[i].b;
        if (!there) PUSH(g->guard, g->nguard, g->cap_guard, old->guard[i]);
    }
}

typedef struct { const Graph *g; bool *lost; } LostLoad;

static void find_lost(Ex load, void *ctx) {
    LostLoad *l = ctx;
    *l->lost |= load->val->node->g == l->g;
}

// Loads that only guards read; a guard on a value that nothing needs goes.
static void guard_loads(Graph *g, const Graph *old, Val *const *map, Run *run) {
    LoadMap m = { run, map, old };
    int n = 0;
    for (int i = 0; i < g->nguard; i++) {
        Guard q = g->guard[i];
        bool lost = false;
        ex_each_load(q.a, map_load, &m), ex_each_load(q.b, map_load, &m);
        const Ex *ab = substitute(run, 2, (Ex[]){ q.a, q.b });
        LostLoad lose = { old, &lost };
        ex_each_load(ab[0], find_lost, &lose), ex_each_load(ab[1], find_lost, &lose);
        if (!lost) g->guard[n++] = q;
    }
    g->nguard = n;
}

static void substitute_guards(Graph *g, const Run *run) {
    const Guard *old = g->guard;
    int n = g->nguard;
    g->guard = NULL;
    g->nguard = g->cap_guard = 0;
    for (int i = 0; i < n; i++) {
        const Ex *ab = substitute(run, 2, (Ex[]){ old[i].a, old[i].b });
        graph_guard(g, old[i].kind, ab[0], ab[1], old[i].what);
    }
}

// The nodes of a region in g itself, on args instead of its parameters.
static void splice(Graph *g, const Graph *region, Val *const *args, Val **out, Run *run) {
    Val **map = NEWN(Val *, region->nval + 1);
    for (int i = 0; i < region->nin; i++) {
        map[region->in[i]->id] = args[i];
        learn(run, region->in[i], args[i]);
    }
    copy_guards(g, region);
    rewrite_nodes(g, region, map, run);
    for (int i = 0; i < region->nout; i++) out[i] = map[region->out[i]->id];
}

// A capture that is a constant of one element is one inside, too, so that what depends on it is known there.
static Val *constant_inside(Graph *g, const Val *param, const Val *outer) {
    const Node *n = outer->node;
    if (n->op != P_const || n->data->n != 1 || dt_is_moved(outer->dt) || param->kind != K_TENSOR || !val_same_shape(param, outer)) return NULL;
    return b_const(g, n->data, outer->rank, outer->shape);
}

// moved: values of old that are parameters now, behind the others. captured: what its parameters from the first on stand for.
static Graph *rewrite(const Graph *old, Graph *parent, Run *run, int nmoved, Val *const *moved, int first, Val *const *captured) {
    if (++run->depth > MAX_DEPTH) die("regions nested deeper than %d", MAX_DEPTH);
    Graph *g = graph_new(parent);
    Val **map = NEWN(Val *, old->nval + 1);
    g->name = old->name;
    g->meta = old->meta;
    g->nmeta = old->nmeta;
    for (int i = 0; i < old->nin; i++) {
        Val *v = old->in[i];
        g->origin = v->node->name;
        Val like = substituted_val(run, v);
        map[v->id] = parent || v->kind != K_TENSOR ? b_param(g, &like) : b_input(g, v->name, v->dt, v->rank, v->shape);
        Val *known = captured && i >= first ? constant_inside(g, &like, captured[i]) : NULL;
        if (known) map[v->id] = known;
    }
    g->origin = NULL;
    for (int i = 0; i < nmoved; i++) {
        Val like = substituted_val(run, moved[i]);
        map[moved[i]->id] = b_param(g, &like);
    }
    copy_guards(g, old);
    rewrite_nodes(g, old, map, run);
    for (int i = 0; i < old->nout; i++) graph_output(g, map[old->out[i]->id], old->out_name[i]);
    guard_loads(g, old, map, run);
    if (run->nsub > run->nguarded) substitute_guards(g, run);
    run->depth--;
    return g;
}

Graph *graph_rewrite(const Graph *old, Graph *parent, const Rewrite *rw) {
    Run run = { .rw = rw };
    return rewrite(old, parent, &run, 0, NULL, 0, NULL);
}

void graph_splice(Graph *g, const Graph *region, Val *const *args, Val **out) {
    Rewrite rw = { 0 };
    Run run = { .rw = &rw };
    splice(g, region, args, out, &run);
}

Graph *graph_substitute(const Graph *g, int n, const Ex *var, const Ex *by) {
    Rewrite rw = { 0 };
    Run run = { .rw = &rw, .nguarded = n };
    for (int i = 0; i < n; i++) {
        PUSH(run.var, run.nsub, run.cap_var, var[i]);
        run.nsub--;
        PUSH(run.by, run.nsub, run.cap_by, by[i]);
    }
    return rewrite(g, g->parent, &run, 0, NULL, 0, NULL);
}

// The same graph with its reachable nodes only, numbered again; all inputs stay.
Graph *graph_rebuild(Graph *g) {
    Rewrite rw = { 0 };
    return graph_rewrite(g, g->parent, &rw);
}

void graph_adopt(Graph *g, Graph *by) {
    Graph *parent = g->parent;
    *g = *by;
    g->parent = parent;
    for (int i = 0; i < g->nnode; i++) {
        Node *n = g->node[i];
        n->g = g;
        for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++) n->region[k].g->parent = g;
    }
}
