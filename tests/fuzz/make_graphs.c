// SPDX-License-Identifier: Apache-2.0
// Random graphs as test folders: OUT/seed_K/model.onnx and test_data_set_0 with inputs and what the
// interpreter makes of them, for `cnncc-run --test` and for other runtimes.
//
//     make_graphs OUT FIRST COUNT [SIZE]
#include "random.h"
#include "emit/onnx.h"
#include <sys/stat.h>

static bool write_tensor(const char *path, const Tensor *t, const char *name) {
    Onnx__TensorProto *p = onnx_tensor(t->dt, t->rank, t->shape, t->data, name);
    size_t n = onnx__tensor_proto__get_packed_size(p);
    uint8_t *bytes = arena_alloc(n + 1);
    onnx__tensor_proto__pack(p, bytes);
    return write_file(path, (const char *)bytes, n);
}

static bool write_case(const char *dir, uint64_t seed, int size) {
    Graph *g = random_graph(seed, size);
    Rng r = { seed };
    Tensor **in = random_inputs(&r, g, false), **out = NEWN(Tensor *, g->nout + 1);
    if (eval_graph(g, g->nin, in, g->nout, out)) return true; // a guard of the graph
    mkdir(dir, 0777);
    mkdir(arena_printf("%s/test_data_set_0", dir), 0777);
    bool ok = emit_onnx(g, arena_printf("%s/model.onnx", dir));
    for (int i = 0; i < g->nin && ok; i++) ok = write_tensor(arena_printf("%s/test_data_set_0/input_%d.pb", dir, i), in[i], g->in[i]->name);
    for (int i = 0; i < g->nout && ok; i++) ok = write_tensor(arena_printf("%s/test_data_set_0/output_%d.pb", dir, i), out[i], g->out_name[i]);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 4) return fputs("make_graphs OUT FIRST COUNT [SIZE]\n", stderr), 2;
    mkdir(argv[1], 0777);
    long first = atol(argv[2]), count = atol(argv[3]);
    int size = argc > 4 ? atoi(argv[4]) : 12, failed = 0;
    for (long i = first; i < first + count; i++) failed += !write_case(arena_printf("%s/seed_%ld", argv[1], i), (uint64_t)i, size);
    return failed > 0;
}
