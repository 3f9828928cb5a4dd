// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"

#include <criterion/criterion.h>
#include <string.h>

Test(print, strings_and_names_are_quoted) {
    const char *s = "graph \"a \\\"b\\\"\" {\n  sym \"N 1\" 1..*\n  %0 = input \"x\\x0ay\" : f32[\"N 1\"]\n  return %0 \"y\"\n}\n";
    Text t = { 0 };
    graph_print(&t, graph_parse(s));
    cr_assert_str_eq(t.s, s);
}

Test(parse, unknown_value, .exit_code = 1) { graph_parse("graph \"\" { return %0 }"); }
Test(parse, unknown_primitive, .exit_code = 1) { graph_parse("graph \"\" { %0 = frob : f32[] }"); }
Test(parse, wrong_type, .exit_code = 1) { graph_parse("graph \"\" { %0 = input \"x\" : f32[2]\n %1 = map.neg %0 : f32[3] }"); }
Test(parse, open_text, .exit_code = 1) { graph_parse("graph \"\" { %0 = const {1, 2 : f32[2]"); }
Test(parse, no_end, .exit_code = 1) { graph_parse("graph \"\" {"); }
Test(parse, too_deep, .exit_code = 1) {
    Text t = { 0 };
    put(&t, "graph \"\" { %%0 = input \"x\" : f32[");
    for (int i = 0; i < 100000; i++) put(&t, "(");
    graph_parse(t.s);
}

Test(verify, a_broken_shape_is_ours, .exit_code = 70) {
    Graph *g = graph_parse("graph \"\" { %0 = input \"x\" : f32[2]\n %1 = map.neg %0 : f32[2]\n return %1 }");
    Ex three = e_int(3);
    g->out[0]->shape = &three;
    graph_verify(g);
}
