// SPDX-License-Identifier: Apache-2.0
//
// The published operator schemas (schemas/ops.def) as tables, and how to look in them. Everything
// here is static and constant: no allocation, nothing to free, safe from any thread.
#ifndef CNNCC_SCHEMA_H
#define CNNCC_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// No limit to the number of inputs or outputs.
#define SCHEMA_MANY INT32_MAX

typedef enum { SCHEMA_SINGLE, SCHEMA_OPTIONAL, SCHEMA_VARIADIC } SchemaOption;

// Whether ONNX says that a gradient flows through a parameter.
typedef enum { SCHEMA_UNKNOWN, SCHEMA_DIFFERENTIABLE, SCHEMA_NOT_DIFFERENTIABLE } SchemaGrad;

// Types of attributes; the values are those of AttributeProto.AttributeType.
typedef enum {
    SCHEMA_ATTR_FLOAT = 1,
    SCHEMA_ATTR_INT = 2,
    SCHEMA_ATTR_STRING = 3,
    SCHEMA_ATTR_TENSOR = 4,
    SCHEMA_ATTR_GRAPH = 5,
    SCHEMA_ATTR_FLOATS = 6,
    SCHEMA_ATTR_INTS = 7,
    SCHEMA_ATTR_STRINGS = 8,
    SCHEMA_ATTR_TENSORS = 9,
    SCHEMA_ATTR_GRAPHS = 10,
    SCHEMA_ATTR_SPARSE_TENSOR = 11,
    SCHEMA_ATTR_SPARSE_TENSORS = 12,
    SCHEMA_ATTR_TYPE_PROTO = 13,
    SCHEMA_ATTR_TYPE_PROTOS = 14
} SchemaAttrType;

enum {
    SCHEMA_DEPRECATED = 1,   // removed from its domain as of this version
    SCHEMA_BODY = 2,         // ONNX defines it by other operators
    SCHEMA_BODY_BY_NODE = 4, // the same, where the definition depends on the node
    SCHEMA_RANDOM = 8        // not the same result every time
};

// An input or output. The last one may be variadic: it stands for min_arity or more values, all of
// one type if homogeneous.
typedef struct {
    const char *name;
    const char *type; // a constraint of the operator, such as T, or a type such as tensor(int64)
    SchemaOption option;
    SchemaGrad grad;
    bool homogeneous;
    int min_arity;
} SchemaParam;

// A type variable and the types it can be: their names, separated by single spaces, sorted.
typedef struct {
    const char *name;
    const char *types;
} SchemaConstraint;

// An attribute. Of the values only that of its type is set, and only with has_default.
typedef struct {
    const char *name;
    SchemaAttrType type;
    bool required;
    bool has_default;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
    const char *const *strings;
    size_t count; // of ints, floats or strings
} SchemaAttr;

// One version of one operator: valid from opset `since` to the next version of the same name.
typedef struct {
    const char *domain; // "" is ai.onnx
    const char *name;
    int since;
    unsigned flags; // SCHEMA_DEPRECATED, …
    int min_inputs, max_inputs;
    int min_outputs, max_outputs;
    const SchemaParam *inputs, *outputs; // the formal ones
    const SchemaConstraint *constraints;
    const SchemaAttr *attrs; // sorted by name
    size_t n_inputs, n_outputs, n_constraints, n_attrs;
} OpSchema;

// The version of an operator that a model importing `version` of `domain` uses: the highest with
// since <= version. Domain "", "ai.onnx" and NULL are the same. NULL: no such operator, or none that
// early. A deprecated operator is found; look at its flags.
const OpSchema *schema_find(const char *domain, const char *op, int64_t version);

// The i-th schema of all, in the order of domain, name, since; NULL at the end. Counts from 0.
const OpSchema *schema_at(size_t i);

// The newest published opset version of a domain, as above; 0 for an unknown domain.
int schema_newest(const char *domain);

// The formal parameter that the i-th actual input or output belongs to (a variadic one takes all
// from its own position on); NULL if there are not as many.
const SchemaParam *schema_input(const OpSchema *op, size_t i);
const SchemaParam *schema_output(const OpSchema *op, size_t i);

// The type constraint of that name, NULL if there is none.
const SchemaConstraint *schema_constraint(const OpSchema *op, const char *name);

// Whether `type`, such as tensor(float), fits `typestr`: the name of one of the operator's type
// constraints, or a type itself. Spaces in `type` do not matter. A typestr that is neither fits nothing.
bool schema_type_ok(const OpSchema *op, const char *typestr, const char *type);

// The attribute of that name, NULL if the operator has none.
const SchemaAttr *schema_attr(const OpSchema *op, const char *name);

// The default of an attribute: true, and the value in *value, if the operator has an attribute of that
// name and this type with a default. Lists and strings are the table's own, not to be freed.
bool schema_default_int(const OpSchema *op, const char *name, int64_t *value);
bool schema_default_float(const OpSchema *op, const char *name, float *value);
bool schema_default_string(const OpSchema *op, const char *name, const char **value);
bool schema_default_ints(const OpSchema *op, const char *name, const int64_t **values, size_t *count);
bool schema_default_floats(const OpSchema *op, const char *name, const float **values, size_t *count);
bool schema_default_strings(const OpSchema *op, const char *name, const char *const **values, size_t *count);

// The name of a type of attributes as ONNX spells it, such as INTS; "?" for a value that is none.
const char *schema_attr_type_name(SchemaAttrType type);

#endif
