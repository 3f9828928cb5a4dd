// SPDX-License-Identifier: Apache-2.0
// The interpreter's calls on strings, and what its files share.
#ifndef CNNCC_EVAL_STRING_H
#define CNNCC_EVAL_STRING_H
#include "tensor/eval.h"

DataStr str_at(const Tensor *t, size_t i);               // element i, row-major
void set_str(Tensor *t, size_t i, const char *p, size_t n);
int64_t call_arg(const Node *n, size_t i);               // an integer that the call was made with
Tensor *tensor_like(const Tensor *x, DType dt, int rank, int64_t last); // zeros of x's shape, or with one more axis
int32_t str_char(const char *s, size_t n, size_t *len);  // the code point at s[0], n > 0; -1 and one byte: no UTF-8

CallEval eval_image_size, eval_image_pixels; // eval_image.c
CallEval eval_string_concat, eval_string_print, eval_string_to_f64, eval_string_to_i64, eval_string_pieces, eval_string_split,
    eval_string_find;
CallEval eval_string_case, eval_regex_match, eval_token_count, eval_token_split, eval_ngram_count, eval_murmur3; // eval_text.c
#endif
