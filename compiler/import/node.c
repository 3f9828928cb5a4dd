// SPDX-License-Identifier: Apache-2.0
// One node: its operator is found, the node is checked against the operator's schema, and the
// operator's function composes it. A fault ends this node only; what reads its outputs is skipped.
#include "import/import.h"

#include <string.h>

Val poison, absent;

const char *node_text(const Scope *s, const Onnx__NodeProto *p, int index, int64_t since) {
    const char *name = p->name && *p->name ? arena_printf(" '%s'", p->name) : "";
    const char *version = since ? arena_printf("-%lld", (long long)since) : "";
    return arena_printf("%snode %d%s (%s%s)", s->where, index, name, p->op_type ? p->op_type : "", version);
}

bool op_numpy_random(Op *o) {
    const NodeContext *c = o->importer;
    return c && c->im->opt->rng && !strcmp(c->im->opt->rng, "mt19937");
}

void op_fail_quietly(Op *o) {
    NodeContext *c = o->importer;
    longjmp(c->failed, 1);
}

void op_fail(Op *o, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char text[1000];
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    NodeContext *c = o->importer;
    if (!c) fatal("%s: %s", o->type ? o->type : "operator", text);
    error("%s: %s", node_text(c->scope, c->node, c->index, o->since), text);
    longjmp(c->failed, 1);
}

// ---- operators that are not supported ----------------------------------------------------------------

typedef struct {
    const char *type, *domain, *nodes;
    int64_t since;
    int count;
    bool known;
} Unsupported;

static void note_unsupported(Op *o, NodeContext *c) {
    const char *key = intern(arena_printf("%s:%s:%lld", o->domain, o->type, (long long)o->since));
    Unsupported *u = map_get(&c->im->unsupported, key);
    if (!u) {
        u = NEW(Unsupported);
        *u = (Unsupported){o->type, o->domain, "", o->since, 0, c->schema != NULL};
        map_put(&c->im->unsupported, key, u);
        PUSH(c->im->unsupported_key, c->im->nunsupported, c->im->cap_unsupported, key);
    }
    if (u->count < 3) {
        const char *name = *o->name ? arena_printf(" '%s'", o->name) : "";
        u->nodes = arena_printf("%s%s%snode %d%s", u->nodes, u->count ? ", " : "", c->scope->where, c->index, name);
    }
    u->count++;
}

void report_unsupported(Importer *im) {
    for (int i = 0; i < im->nunsupported; i++) {
        const Unsupported *u = map_get(&im->unsupported, im->unsupported_key[i]);
        const char *more = u->count > 3 ? arena_printf(", … (%d nodes)", u->count) : "";
        const char *version = u->since ? arena_printf("-%lld", (long long)u->since) : "";
        error("operator %s%s of domain %s is not supported%s: %s%s", u->type, version,
              *u->domain ? u->domain : "ai.onnx", u->known || u->since == 0 ? "" : " or unknown", u->nodes, more);
    }
}

// ---- the schema -----------------------------------------------------------------------------------------

// given: inputs that the node names, optional ones that it leaves out by an empty name too.
static void check_counts(Op *o, const OpSchema *s, int given) {
    if (given < s->min_inputs || o->nin > s->max_inputs) {
        if (s->min_inputs == s->max_inputs)
            op_fail(o, "%d inputs, needs %d", given, s->min_inputs);
        else
            op_fail(o, "%d inputs, needs at least %d%s", given, s->min_inputs,
                    s->max_inputs == SCHEMA_MANY ? "" : arena_printf(" and at most %d", s->max_inputs));
    }
    if (o->nout < s->min_outputs || o->nout > s->max_outputs)
        op_fail(o, "%d outputs, needs %d to %d", o->nout, s->min_outputs, s->max_outputs);
}

// The inputs' types fit, and are equal where they share a type variable.
static void check_inputs(Op *o, const OpSchema *s) {
    const char *bound[64] = {0};
    int by[64];
    for (int i = 0; i < o->nin || i < s->min_inputs; i++) {
        const SchemaParam *p = schema_input(s, (size_t)i);
        if (!p) op_fail(o, "there is no input %d", i);
        if (!o->in[i]) {
            if (p->option == SCHEMA_SINGLE) op_fail(o, "input %d (%s) is missing", i, p->name);
            continue;
        }
        const char *type = val_type(o->in[i]);
        if (!schema_type_ok(s, p->type, type))
            op_fail(o, "input %d (%s) cannot be %s in this version of the operator", i, p->name, type);
        const SchemaConstraint *k = p->homogeneous ? schema_constraint(s, p->type) : NULL;
        size_t at = k ? (size_t)(k - s->constraints) : 64;
        if (at >= 64) continue;
        if (bound[at] && strcmp(bound[at], type) != 0)
            op_fail(o, "input %d (%s) is %s, but input %d is %s", i, p->name, type, by[at], bound[at]);
        bound[at] = type;
        by[at] = i;
    }
}

// Operators that bring their operands to one number of dimensions.
static bool broadcasts(const Op *o) {
    static const char *const list[] = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual",
                                       "Max", "Min", "Mean", "Sum", "Where", "BitwiseAnd", "BitwiseOr", "BitwiseXor"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!strcmp(o->type, list[i])) return !*o->domain && o->since >= 7;
    return false;
}

// Operators of one operand whose result has its dimensions; CastLike takes only the type of the other.
static bool keeps_dimensions(const Op *o) {
    return !*o->domain && (!strcmp(o->type, "Identity") || !strcmp(o->type, "Cast") || !strcmp(o->type, "CastLike"));
}

// An operand whose number of dimensions only the run knows is read as one with leading dimensions of 1, where another
// operand has at least as many.
static void check_loose(Op *o) {
    int most = -1;
    if (keeps_dimensions(o)) return;
    for (int i = 0; i < o->nin; i++)
        if (o->in[i] && !o->in[i]->loose && o->in[i]->rank > most) most = o->in[i]->rank;
    for (int i = 0; i < o->nin; i++)
        if (o->in[i] && o->in[i]->loose && (!broadcasts(o) || o->in[i]->rank > most))
            op_fail(o, "only the run knows how many dimensions input %d has: the branches of an If differ", i);
}

// Calls the function, the body, or the operator that the node names.
static void call_operator(Op *o, NodeContext *c) {
    const Onnx__FunctionProto *f = function_find(c->im, c->node);
    if (f) {
        attr_read(o, c);
        function_inline(o, f);
        return;
    }
    o->opset = opset_of(c->im, c->scope->frame, o->domain);
    bool has_schemas = schema_newest(o->domain) > 0;
    if (!o->opset && has_schemas)
        op_fail(o, "the model imports no operator set of domain %s", *o->domain ? o->domain : "ai.onnx");
    c->schema = has_schemas ? schema_find(o->domain, o->type, o->opset) : NULL;
    o->since = c->schema ? c->schema->since : has_schemas ? 0 : o->opset;
    if (has_schemas && !c->schema && schema_find(o->domain, o->type, INT32_MAX))
        op_fail(o, "the operator does not exist in version %lld of its operator set", (long long)o->opset);
    if (c->schema && c->schema->flags & SCHEMA_DEPRECATED)
        op_fail(o, "the operator was removed in version %d of its operator set", c->schema->since);
    int row = 0;
    OpFn *fn = op_find(o->domain, o->type, o->since ? o->since : 1, &row);
    if (!fn) {
        note_unsupported(o, c);
        op_fail_quietly(o);
    }
    if (!c->schema) o->since = row;
    if (c->schema) check_counts(o, c->schema, (int)c->node->n_input);
    if (c->schema) check_inputs(o, c->schema);
    check_loose(o);
    attr_read(o, c);
    fn(o);
    if (o->nin > 0 && o->in[0] && o->in[0]->loose && keeps_dimensions(o)) o->out[0]->loose = true;
}

static bool run_operator(Op *o, NodeContext *c) {
    if (setjmp(c->failed)) return false;
    call_operator(o, c);
    return true;
}

// ---- the node ---------------------------------------------------------------------------------------------

static const char *defined_later(const Scope *s, const char *name, int index) {
    for (size_t i = (size_t)index; i < s->nnode; i++)
        for (size_t k = 0; k < s->node[i]->n_output; k++)
            if (!strcmp(s->node[i]->output[k], name))
                return arena_printf("; node %zu defines it, but nodes must follow what they use", i);
    return "";
}

// The values of the inputs; false if one failed or is undefined.
static bool find_inputs(Scope *s, const Onnx__NodeProto *p, int index, Op *o) {
    bool ok = true;
    for (int i = 0; i < o->nin; i++) {
        const char *name = p->input[i];
        if (!*name) continue;
        Val *v = scope_find(s, name);
        if (!v)
            error("%s: input %d '%s' is not defined%s", node_text(s, p, index, 0), i, name,
                  defined_later(s, name, index));
        if (!v || v == &poison)
            ok = false;
        else if (v != &absent)
            o->in[i] = v;
    }
    while (o->nin > 0 && !o->in[o->nin - 1]) o->nin--; // optional ones at the end
    return ok;
}

static const char *origin_of(const Onnx__NodeProto *p, int index) {
    return p->name && *p->name ? intern(p->name) : arena_printf("%s_%d", p->op_type ? p->op_type : "node", index);
}

static void define_outputs(Scope *s, const Onnx__NodeProto *p, int index, Op *o, bool ok, Importer *im) {
    for (int i = 0; i < (int)p->n_output; i++) {
        if (!*p->output[i]) continue;
        Val *v = ok ? o->out[i] : &poison;
        if (!v && o->want[i]) error("%s: output %d is not supported", node_text(s, p, index, o->since), i);
        if (!v) v = &poison;
        if (v != &poison && !v->name && !s->frame) v->name = intern(p->output[i]);
        scope_define(im, s, p->output[i], v, "node");
    }
}

Val *named_value(Op *o, const char *name) {
    const NodeContext *c = o->importer;
    Val *v = scope_find(c->scope, name);
    return v && v != &poison && v != &absent && v->kind == K_TENSOR && v->node->g == o->g ? v : NULL;
}

void import_node(Importer *im, Scope *s, const Onnx__NodeProto *p, int index) {
    if (++im->nodes > IMPORT_NODES) fatal("more than %d nodes after functions are inlined", (int)IMPORT_NODES);
    if (diag_errors >= IMPORT_ERRORS) fatal("too many errors");
    size_t room_in = p->n_input + 8, room_out = p->n_output + 8;
    if (room_in > 1000000 || room_out > 1000000) fatal("%s: too many inputs or outputs", node_text(s, p, index, 0));
    enum { FEW = 32 }; // room for most nodes; long lists go to the arena
    Val *few[FEW] = {0}, **in = room_in + room_out <= FEW ? few : NEWN(Val *, room_in + room_out);
    bool few_want[FEW], *want = room_out <= FEW ? few_want : NEWN(bool, room_out);
    for (size_t i = 0; i < p->n_output; i++) want[i] = *p->output[i] && map_get(&im->used, intern(p->output[i]));
    Op o = {.opt = im->opt, .type = p->op_type ? intern(p->op_type) : "",
            .domain = domain_of(p->domain),
            .name = p->name ? p->name : "",
            .nin = (int)p->n_input,
            .nout = (int)p->n_output,
            .in = in,
            .out = in + room_in,
            .want = want,
            .g = s->g};
    bool ok = find_inputs(s, p, index, &o);
    if (ok) {
        NodeContext c = {.im = im, .scope = s, .node = p, .index = index};
        const char *origin = s->g->origin;
        int depth = im->depth;
        o.importer = &c;
        s->g->origin = origin_of(p, index);
        ok = run_operator(&o, &c);
        s->g->origin = origin;
        im->depth = depth;
    }
    define_outputs(s, p, index, &o, ok, im);
}
