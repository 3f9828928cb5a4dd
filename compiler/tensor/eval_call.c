// SPDX-License-Identifier: Apache-2.0
// The interpreter's call operators, by name. Operators that are not here end a run with EVAL_LIMIT.
#include "tensor/eval_string.h"
#include <string.h>

static const struct { const char *name; CallEval *eval; } table[] = {
    { "string_concat", eval_string_concat },   { "string_print", eval_string_print },
    { "string_to_f64", eval_string_to_f64 },   { "string_to_i64", eval_string_to_i64 },
    { "string_pieces", eval_string_pieces },   { "string_split", eval_string_split },
    { "string_find", eval_string_find },       { "string_case", eval_string_case },
    { "regex_match", eval_regex_match },       { "token_count", eval_token_count },
    { "token_split", eval_token_split },       { "ngram_count", eval_ngram_count },
    { "murmur3", eval_murmur3 },               { "image_size", eval_image_size },
    { "image_pixels", eval_image_pixels },     { "list_new", eval_list_new },
    { "list_insert", eval_list_insert },       { "list_erase", eval_list_erase },
    { "list_shape", eval_list_shape },         { "list_at", eval_list_at },
    { "list_length", eval_list_length },       { "list_given", eval_list_given },
    { "list_get", eval_list_get },             { "list_join_shape", eval_list_join_shape },
    { "list_join", eval_list_join },           { NULL, NULL },
};

CallEval *call_eval(const char *name) {
    for (int i = 0; table[i].name; i++)
        if (!strcmp(table[i].name, name)) return table[i].eval;
    return NULL;
}
