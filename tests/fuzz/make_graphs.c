// SPDX-License-Identifier: Apache-2.0
// Random graphs as test folders: OUT/seed_K/model.onnx and three test_data_set_N, of other sizes each, with
// inputs and what the interpreter makes of them, for `cnncc-run --test` and for other runtimes.
//
//     make_graphs OUT FIRST COUNT [SIZE [DEPTH]]       DEPTH: of nested branches and loops
#include "control.h"
#include "emit/onnx.h"
#include <sys/stat.h>

static bool write_tensor(const char *path, const Tensor *t, const char *name) {
    Onnx__TensorProto *p = onnx_tensor(t->dt, t->rank, t->shape, t->data, name);
    size_t n = onnx__tensor_proto__get_packed_size(p);
    uint8_t *bytes = arena_alloc(n + 1);
    onnx__tensor_proto__pack(p, bytes);
    return write_file(path, (const char *)bytes, n);
}

static bool write_set(const char *dir, const Graph *g, Tensor **in, Tensor **out) {
    mkdir(dir, 0777);
    bool ok = true;
    for (int i = 0; i < g->nin && ok; i++) ok = write_tensor(arena_printf("%s/input_%d.pb", dir, i), in[i], g->in[i]->name);
    for (int i = 0; i < g->nout && ok; i++) ok = write_tensor(arena_printf("%s/output_%d.pb", dir, i), out[i], g->out_name[i]);
    return ok;
}

// Sums of half floats differ between runtimes by more than a comparison that follows bears.
static bool has_halves(const Graph *g) {
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        if (n->out[0].dt == F16) return true;
        for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++)
            if (has_halves(n->region[k].g)) return true;
    }
    return false;
}

static bool write_case(const char *dir, uint64_t seed, int size, int depth) {
    Graph *g = depth ? random_control_graph(seed, size, depth) : random_graph(seed, size);
    graph_verify(g);
    if (depth && has_halves(g)) return true;
    Rng r = { seed };
    Tensor **out = NEWN(Tensor *, g->nout + 1);
    int sets = 0;
    for (int tries = 0; tries < 5 && sets < 3; tries++) {
        Tensor **in = random_inputs(&r, g, false);
        if (eval_graph(g, g->nin, in, g->nout, out)) continue; // a guard of the graph
        if (!sets) mkdir(dir, 0777);
        if (!write_set(arena_printf("%s/test_data_set_%d", dir, sets++), g, in, out)) return false;
    }
    return !sets || emit_onnx(g, arena_printf("%s/model.onnx", dir));
}

int main(int argc, char **argv) {
    if (argc < 4) return fputs("make_graphs OUT FIRST COUNT [SIZE [DEPTH]]\n", stderr), 2;
    mkdir(argv[1], 0777);
    long first = atol(argv[2]), count = atol(argv[3]);
    int size = argc > 4 ? atoi(argv[4]) : 12, depth = argc > 5 ? atoi(argv[5]) : 0, failed = 0;
    for (long i = first; i < first + count; i++) failed += !write_case(arena_printf("%s/seed_%ld", argv[1], i), (uint64_t)i, size, depth);
    return failed > 0;
}
