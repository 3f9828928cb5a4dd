// SPDX-License-Identifier: Apache-2.0
//
// Operator schemas: the rows of schemas/ops.def as constant arrays, and lookup in them.
#include "schema.h"

#include <string.h>

#define OPS_MANY SCHEMA_MANY
#define OPS_SINGLE SCHEMA_SINGLE
#define OPS_OPTIONAL SCHEMA_OPTIONAL
#define OPS_VARIADIC SCHEMA_VARIADIC
#define OPS_UNKNOWN SCHEMA_UNKNOWN
#define OPS_DIFFERENTIABLE SCHEMA_DIFFERENTIABLE
#define OPS_NOT_DIFFERENTIABLE SCHEMA_NOT_DIFFERENTIABLE
#define OPS_DEPRECATED SCHEMA_DEPRECATED
#define OPS_BODY SCHEMA_BODY
#define OPS_BODY_BY_NODE SCHEMA_BODY_BY_NODE
#define OPS_RANDOM SCHEMA_RANDOM
#define OPS_TYPE_FLOAT SCHEMA_ATTR_FLOAT
#define OPS_TYPE_INT SCHEMA_ATTR_INT
#define OPS_TYPE_STRING SCHEMA_ATTR_STRING
#define OPS_TYPE_TENSOR SCHEMA_ATTR_TENSOR
#define OPS_TYPE_GRAPH SCHEMA_ATTR_GRAPH
#define OPS_TYPE_FLOATS SCHEMA_ATTR_FLOATS
#define OPS_TYPE_INTS SCHEMA_ATTR_INTS
#define OPS_TYPE_STRINGS SCHEMA_ATTR_STRINGS
#define OPS_TYPE_TENSORS SCHEMA_ATTR_TENSORS
#define OPS_TYPE_GRAPHS SCHEMA_ATTR_GRAPHS
#define OPS_TYPE_SPARSE_TENSOR SCHEMA_ATTR_SPARSE_TENSOR
#define OPS_TYPE_SPARSE_TENSORS SCHEMA_ATTR_SPARSE_TENSORS
#define OPS_TYPE_TYPE_PROTO SCHEMA_ATTR_TYPE_PROTO
#define OPS_TYPE_TYPE_PROTOS SCHEMA_ATTR_TYPE_PROTOS

#define OPS_TYPES(name, types) static const char name[] = types;
#include "ops.def"

// The arrays have an unused element at their end, as C has no empty arrays and an operator
// without rows of a kind may stand at the end.
static const int64_t int_rows[] = {
#define OPS_INT(value) value,
#include "ops.def"
    0};

static const float float_rows[] = {
#define OPS_FLOAT(value) value,
#include "ops.def"
    0.0F};

static const char *const string_rows[] = {
#define OPS_STRING(value) value,
#include "ops.def"
    NULL};

static const SchemaParam input_rows[] = {
#define OPS_INPUT(name, type, option, grad, homogeneous, arity) {name, type, option, grad, homogeneous, arity},
#include "ops.def"
    {0}};

static const SchemaParam output_rows[] = {
#define OPS_OUTPUT(name, type, option, grad, homogeneous, arity) {name, type, option, grad, homogeneous, arity},
#include "ops.def"
    {0}};

static const SchemaConstraint constraint_rows[] = {
#define OPS_CONSTRAINT(name, types) {name, types},
#include "ops.def"
    {0}};

#define ATTR_DEFAULT(attr, kind) .name = attr, .type = SCHEMA_ATTR_##kind, .has_default = true
static const SchemaAttr attr_rows[] = {
#define OPS_ATTR(attr, kind, must) {.name = attr, .type = kind, .required = must},
#define OPS_ATTR_INT(attr, value) {ATTR_DEFAULT(attr, INT), .i = value},
#define OPS_ATTR_FLOAT(attr, value) {ATTR_DEFAULT(attr, FLOAT), .f = value},
#define OPS_ATTR_STRING(attr, value) {ATTR_DEFAULT(attr, STRING), .s = value},
#define OPS_ATTR_INTS(attr, first, n) {ATTR_DEFAULT(attr, INTS), .ints = int_rows + first, .count = n},
#define OPS_ATTR_FLOATS(attr, first, n) {ATTR_DEFAULT(attr, FLOATS), .floats = float_rows + first, .count = n},
#define OPS_ATTR_STRINGS(attr, first, n) {ATTR_DEFAULT(attr, STRINGS), .strings = string_rows + first, .count = n},
#include "ops.def"
    {.ints = int_rows, .floats = float_rows, .strings = string_rows}};

static const OpSchema op_rows[] = {
#define OPS_OP(dom, op, ver, flag, min_in, max_in, min_out, max_out, in, n_in, out, n_out, tc, n_tc, at, n_at)         \
    {.domain = dom,                                                                                                    \
     .name = op,                                                                                                       \
     .since = ver,                                                                                                     \
     .flags = flag,                                                                                                    \
     .min_inputs = min_in,                                                                                             \
     .max_inputs = max_in,                                                                                             \
     .min_outputs = min_out,                                                                                           \
     .max_outputs = max_out,                                                                                           \
     .inputs = input_rows + in,                                                                                        \
     .outputs = output_rows + out,                                                                                     \
     .constraints = constraint_rows + tc,                                                                              \
     .attrs = attr_rows + at,                                                                                          \
     .n_inputs = n_in,                                                                                                 \
     .n_outputs = n_out,                                                                                               \
     .n_constraints = n_tc,                                                                                            \
     .n_attrs = n_at},
#include "ops.def"
};

#define N_OPS (sizeof op_rows / sizeof op_rows[0])

// The table's spelling of a domain.
static const char *domain_of(const char *domain) {
    return domain == NULL || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static int compare(const OpSchema *row, const char *domain, const char *op, int64_t version) {
    int c = strcmp(row->domain, domain);
    if (c == 0) {
        c = strcmp(row->name, op);
    }
    return c != 0 ? c : (row->since > version) - (row->since < version);
}

const OpSchema *schema_find(const char *domain, const char *op, int64_t version) {
    domain = domain_of(domain);
    size_t low = 0, high = N_OPS; // rows before low are <= the key, from high on they are greater
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(&op_rows[mid], domain, op, version) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const OpSchema *row = &op_rows[low - 1];
    return strcmp(row->domain, domain) == 0 && strcmp(row->name, op) == 0 ? row : NULL;
}

const OpSchema *schema_at(size_t i) { return i < N_OPS ? &op_rows[i] : NULL; }

int schema_newest(const char *domain) {
    domain = domain_of(domain);
    int newest = 0;
    for (size_t i = 0; i < N_OPS; i++) {
        if (op_rows[i].since > newest && strcmp(op_rows[i].domain, domain) == 0) {
            newest = op_rows[i].since;
        }
    }
    return newest;
}

static const SchemaParam *param_at(const SchemaParam *params, size_t n, size_t i) {
    if (i < n) {
        return &params[i];
    }
    return n > 0 && params[n - 1].option == SCHEMA_VARIADIC ? &params[n - 1] : NULL;
}

const SchemaParam *schema_input(const OpSchema *op, size_t i) { return param_at(op->inputs, op->n_inputs, i); }

const SchemaParam *schema_output(const OpSchema *op, size_t i) { return param_at(op->outputs, op->n_outputs, i); }

const SchemaConstraint *schema_constraint(const OpSchema *op, const char *name) {
    for (size_t i = 0; i < op->n_constraints; i++) {
        if (strcmp(op->constraints[i].name, name) == 0) {
            return &op->constraints[i];
        }
    }
    return NULL;
}

// Whether the type, spaces left out, is one of the words of a list separated by spaces.
static bool has_word(const char *list, const char *type) {
    while (*list != '\0') {
        const char *t = type;
        while (*t == ' ' || (*t != '\0' && *t == *list)) {
            list += *t++ != ' ';
        }
        if (*t == '\0' && (*list == ' ' || *list == '\0') && t != type) {
            return true;
        }
        list += strcspn(list, " ");
        list += *list == ' ';
    }
    return false;
}

bool schema_type_ok(const OpSchema *op, const char *typestr, const char *type) {
    const SchemaConstraint *c = schema_constraint(op, typestr);
    return has_word(c != NULL ? c->types : typestr, type);
}

const SchemaAttr *schema_attr(const OpSchema *op, const char *name) {
    for (size_t i = 0; i < op->n_attrs; i++) {
        if (strcmp(op->attrs[i].name, name) == 0) {
            return &op->attrs[i];
        }
    }
    return NULL;
}

static const SchemaAttr *find_default(const OpSchema *op, const char *name, SchemaAttrType type) {
    const SchemaAttr *a = schema_attr(op, name);
    return a != NULL && a->has_default && a->type == type ? a : NULL;
}

bool schema_default_int(const OpSchema *op, const char *name, int64_t *value) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_INT);
    if (a != NULL) {
        *value = a->i;
    }
    return a != NULL;
}

bool schema_default_float(const OpSchema *op, const char *name, float *value) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_FLOAT);
    if (a != NULL) {
        *value = a->f;
    }
    return a != NULL;
}

bool schema_default_string(const OpSchema *op, const char *name, const char **value) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_STRING);
    if (a != NULL) {
        *value = a->s;
    }
    return a != NULL;
}

bool schema_default_ints(const OpSchema *op, const char *name, const int64_t **values, size_t *count) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_INTS);
    if (a != NULL) {
        *values = a->ints;
        *count = a->count;
    }
    return a != NULL;
}

bool schema_default_floats(const OpSchema *op, const char *name, const float **values, size_t *count) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_FLOATS);
    if (a != NULL) {
        *values = a->floats;
        *count = a->count;
    }
    return a != NULL;
}

bool schema_default_strings(const OpSchema *op, const char *name, const char *const **values, size_t *count) {
    const SchemaAttr *a = find_default(op, name, SCHEMA_ATTR_STRINGS);
    if (a != NULL) {
        *values = a->strings;
        *count = a->count;
    }
    return a != NULL;
}

const char *schema_attr_type_name(SchemaAttrType type) {
    static const char *const names[] = {
        "?",       "FLOAT",   "INT",    "STRING",        "TENSOR",         "GRAPH",      "FLOATS",     "INTS",
        "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};
    size_t i = (size_t)type;
    return i < sizeof names / sizeof names[0] ? names[i] : "?";
}
