// SPDX-License-Identifier: Apache-2.0
#include "import/schema.h"

#include <criterion/criterion.h>
#include <string.h>

Test(schema, finds_the_highest_version_not_above) {
    const struct {
        int64_t version;
        int since;
    } softmax[] = {{1, 1}, {10, 1}, {11, 11}, {12, 11}, {13, 13}, {28, 13}, {1000, 13}};
    for (size_t i = 0; i < sizeof softmax / sizeof softmax[0]; i++) {
        const OpSchema *op = schema_find("", "Softmax", softmax[i].version);
        cr_assert_not_null(op);
        cr_assert_eq(op->since, softmax[i].since, "version %d", (int)softmax[i].version);
    }
    cr_assert_null(schema_find("", "Softmax", 0));
    cr_assert_null(schema_find("", "Softmax", INT64_MIN));
    cr_assert_not_null(schema_find("", "Softmax", INT64_MAX));
    cr_assert_null(schema_find("", "Gelu", 19));
    cr_assert_not_null(schema_find("", "Gelu", 20));
    cr_assert_null(schema_find("", "Softma", 13));
    cr_assert_null(schema_find("", "Softmaxx", 13));
    cr_assert_null(schema_find("", "", 13));
    cr_assert_null(schema_find("", "\xff", 13));
    cr_assert_null(schema_find("no.such.domain", "Softmax", 13));
}

Test(schema, domains) {
    const OpSchema *op = schema_find("", "Relu", 14);
    cr_assert_eq(schema_find("ai.onnx", "Relu", 14), op);
    cr_assert_eq(schema_find(NULL, "Relu", 14), op);
    cr_assert_null(schema_find("ai.onnx.ml", "Relu", 14));
    cr_assert_eq(schema_find("ai.onnx.ml", "TreeEnsemble", 5)->since, 5);
    cr_assert_not_null(schema_find("ai.onnx.preview.training", "Adam", 1));
    cr_assert_eq(schema_newest(""), 28);
    cr_assert_eq(schema_newest("ai.onnx.ml"), 5);
    cr_assert_eq(schema_newest("nobody"), 0);
}

Test(schema, rows_are_sorted_and_consistent) {
    size_t n = 0;
    for (const OpSchema *op, *last = NULL; (op = schema_at(n)) != NULL; last = op, n++) {
        if (last != NULL) {
            int c = strcmp(last->domain, op->domain);
            c = c != 0 ? c : strcmp(last->name, op->name);
            cr_assert(c < 0 || (c == 0 && last->since < op->since), "%s-%d", op->name, op->since);
        }
        cr_assert_eq(schema_find(op->domain, op->name, op->since), op);
        cr_assert(op->min_inputs <= op->max_inputs && op->min_outputs <= op->max_outputs);
        cr_assert((op->flags & SCHEMA_DEPRECATED) || op->n_outputs > 0, "%s-%d", op->name, op->since);
        for (size_t i = 0; i < op->n_inputs; i++) {
            const char *type = op->inputs[i].type;
            cr_assert(strchr(type, '(') != NULL || schema_constraint(op, type) != NULL, "%s", op->name);
            cr_assert(i + 1 == op->n_inputs || op->inputs[i].option != SCHEMA_VARIADIC);
        }
        for (size_t i = 0; i < op->n_attrs; i++) {
            cr_assert_eq(schema_attr(op, op->attrs[i].name), &op->attrs[i]);
            cr_assert(i == 0 || strcmp(op->attrs[i - 1].name, op->attrs[i].name) < 0);
            cr_assert_not(op->attrs[i].required && op->attrs[i].has_default);
        }
    }
    cr_assert_eq(n, 659);
    cr_assert_null(schema_at(SIZE_MAX));
}

Test(schema, parameters) {
    const OpSchema *lstm = schema_find("", "LSTM", 22);
    cr_assert_eq(lstm->n_inputs, 8);
    cr_assert_eq(lstm->min_inputs, 3);
    cr_assert_eq(lstm->max_inputs, 8);
    cr_assert_str_eq(schema_input(lstm, 4)->name, "sequence_lens");
    cr_assert_eq(schema_input(lstm, 4)->option, SCHEMA_OPTIONAL);
    cr_assert_eq(schema_input(lstm, 4)->grad, SCHEMA_NOT_DIFFERENTIABLE);
    cr_assert_null(schema_input(lstm, 8));
    const OpSchema *concat = schema_find("", "Concat", 13);
    cr_assert_eq(concat->max_inputs, SCHEMA_MANY);
    cr_assert_eq(schema_input(concat, 99), &concat->inputs[0]);
    cr_assert_str_eq(schema_output(concat, 0)->name, "concat_result");
    cr_assert_null(schema_output(concat, 1));
    cr_assert_not(schema_output(schema_find("", "If", 25), 3)->homogeneous);
}

Test(schema, types) {
    const OpSchema *relu = schema_find("", "Relu", 14);
    cr_assert(schema_type_ok(relu, "T", "tensor(float)"));
    cr_assert(schema_type_ok(relu, "T", "tensor(float16)"));
    cr_assert(schema_type_ok(relu, "T", "tensor(int8)"));
    cr_assert_not(schema_type_ok(relu, "T", "tensor(uint8)"));
    cr_assert_not(schema_type_ok(relu, "T", "tensor(floa"));
    cr_assert_not(schema_type_ok(relu, "T", ""));
    cr_assert_not(schema_type_ok(relu, "T", " "));
    cr_assert_not(schema_type_ok(relu, "U", "tensor(float)"));
    cr_assert(schema_type_ok(relu, "tensor(int64)", "tensor(int64)"));
    cr_assert_not(schema_type_ok(relu, "tensor(int64)", "tensor(int32)"));
    const OpSchema *dict = schema_find("ai.onnx.ml", "DictVectorizer", 1);
    cr_assert(schema_type_ok(dict, "T1", "map(string, int64)"));
    cr_assert(schema_type_ok(dict, "T1", "map(string,int64)"));
    cr_assert_not(schema_type_ok(dict, "T1", "map(string, string)"));
}

Test(schema, attributes_and_defaults) {
    int64_t i = 0;
    float f = 0;
    const char *s = NULL;
    const int64_t *ints = NULL;
    const float *floats = NULL;
    const char *const *strings = NULL;
    size_t n = 0;
    cr_assert(schema_default_int(schema_find("", "Softmax", 11), "axis", &i));
    cr_assert_eq(i, 1);
    cr_assert(schema_default_int(schema_find("", "Softmax", 13), "axis", &i));
    cr_assert_eq(i, -1);
    cr_assert(schema_default_float(schema_find("", "LeakyRelu", 16), "alpha", &f));
    cr_assert_eq(f, 0.01F);
    cr_assert(schema_default_string(schema_find("", "LSTM", 22), "direction", &s));
    cr_assert_str_eq(s, "forward");
    cr_assert(schema_default_ints(schema_find("", "MeanVarianceNormalization", 13), "axes", &ints, &n));
    cr_assert(n == 3 && ints[0] == 0 && ints[1] == 2 && ints[2] == 3);
    cr_assert(schema_default_strings(schema_find("", "RNN", 22), "activations", &strings, &n));
    cr_assert(n == 2 && strcmp(strings[0], "Tanh") == 0 && strcmp(strings[1], "Tanh") == 0);

    const OpSchema *conv = schema_find("", "Conv", 22);
    cr_assert_not(schema_default_ints(conv, "strides", &ints, &n));
    cr_assert_not(schema_default_floats(conv, "strides", &floats, &n));
    cr_assert_not(schema_default_float(conv, "group", &f));
    cr_assert_null(schema_attr(conv, "nothing"));
    cr_assert_eq(schema_attr(conv, "strides")->type, SCHEMA_ATTR_INTS);
    cr_assert(schema_attr(schema_find("", "Cast", 25), "to")->required);
    cr_assert_str_eq(schema_attr_type_name(SCHEMA_ATTR_TYPE_PROTOS), "TYPE_PROTOS");
    cr_assert_str_eq(schema_attr_type_name((SchemaAttrType)99), "?");
}

Test(schema, flags) {
    cr_assert(schema_find("", "Upsample", 10)->flags & SCHEMA_DEPRECATED);
    cr_assert_not(schema_find("", "Upsample", 9)->flags & SCHEMA_DEPRECATED);
    cr_assert(schema_find("", "HardSwish", 22)->flags & SCHEMA_BODY);
    cr_assert(schema_find("", "SoftmaxCrossEntropyLoss", 13)->flags & SCHEMA_BODY_BY_NODE);
    cr_assert(schema_find("", "RandomNormal", 22)->flags & SCHEMA_RANDOM);
}
