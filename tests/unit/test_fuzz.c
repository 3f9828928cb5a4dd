// SPDX-License-Identifier: Apache-2.0
// Random graphs: text reads back the same, the interpreter gives the same twice, and no pass changes a result.
#include "../fuzz/random.h"

#include <criterion/criterion.h>

static int rounds(void) {
    const char *n = getenv("FUZZ_ROUNDS");
    return n ? atoi(n) : 300;
}

static char *text_of(const Graph *g) {
    Text t = { 0 };
    graph_print(&t, g);
    return t.s;
}

Test(fuzz, text_reads_back) {
    for (int i = 0; i < rounds(); i++) {
        Graph *g = graph_rebuild(random_graph((uint64_t)i, 20));
        graph_verify(g);
        char *a = text_of(g), *b = text_of(graph_parse(a));
        cr_assert_str_eq(a, b, "seed %d", i);
    }
}

Test(fuzz, passes_keep_results) {
    Options opt = { 0 };
    for (int i = 0; i < rounds(); i++) {
        Graph *g = random_graph((uint64_t)i, 24), *h = random_graph((uint64_t)i, 24);
        Rng r = { (uint64_t)i * 77 + 1 };
        graph_verify(g);
        pass_fold(h, &opt);
        graph_verify(h);
        pass_simplify(h, &opt);
        graph_verify(h);
        for (int k = 0; k < 2; k++) {
            Tensor **in = random_inputs(&r, g, k);
            cr_assert(same_graphs(g, g, in, 0), "seed %d: not the same twice", i);
            cr_assert(same_graphs(g, h, in, 0), "seed %d\n%s\nbecame\n%s", i, text_of(g), text_of(h));
        }
    }
}
