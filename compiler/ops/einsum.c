// SPDX-License-Identifier: Apache-2.0
// Einsum: operands are multiplied in pairs from the left, each product summed at once over the labels that
// nothing after it needs, so that every step is a contraction reduce(add, mul(a, b)).
#include <ctype.h>
#include <string.h>
#include "ops/op.h"

// Labels are the letters A-Z and a-z; then the axes under an ellipsis, the last axis the last label.
enum { LETTERS = 52, LABELS = LETTERS + MAX_RANK };

typedef struct { int n; int label[MAX_RANK]; Val *v; } Labeled;   // a tensor with a label for each axis
typedef struct { int n, at_ellipsis; int label[MAX_RANK]; } Spec; // letters, and where "..." stands, or -1

// One term of the equation, up to a comma, an arrow or the end.
static Spec parse_term(Op *o, const char **s) {
    Spec t = {.at_ellipsis = -1};
    for (; **s && **s != ',' && **s != '-'; (*s)++) {
        char c = **s;
        if (c == ' ')
            continue;
        if (c == '.') {
            if (strncmp(*s, "...", 3) != 0 || t.at_ellipsis >= 0)
                op_fail(o, "equation '%s': a stray dot", attr_str(o, "equation"));
            t.at_ellipsis = t.n;
            *s += 2;
        } else if (isalpha((unsigned char)c) && t.n < MAX_RANK) {
            t.label[t.n++] = isupper((unsigned char)c) ? c - 'A' : c - 'a' + 26;
        } else {
            op_fail(o, "equation '%s': unexpected '%c'", attr_str(o, "equation"), c);
        }
    }
    return t;
}

// Puts `covered` labels where the ellipsis stands.
static Labeled fill_ellipsis(Op *o, const Spec *t, int covered) {
    Labeled r = {.n = 0};
    if (t->n + covered > MAX_RANK)
        op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
    for (int i = 0; i <= t->n; i++) {
        for (int j = 0; i == t->at_ellipsis && j < covered; j++)
            r.label[r.n++] = LABELS - covered + j;
        if (i < t->n)
            r.label[r.n++] = t->label[i];
    }
    return r;
}

static int find_label(const Labeled *t, int label) {
    for (int i = 0; i < t->n; i++)
        if (t->label[i] == label)
            return i;
    return -1;
}

// The diagonal of axes with the same label: as one axis of n*n elements, every (n+1)-th.
static void take_diagonals(Op *o, Labeled *t) {
    for (int q = 1; q < t->n; q++) {
        int p = find_label(t, t->label[q]);
        if (p == q)
            continue;
        Ex n = dim(t->v, p);
        if (n != dim(t->v, q))
            graph_guard(o->g, G_EQ, n, dim(t->v, q), o->g->origin ? o->g->origin : o->type);
        Val *v = move_axis(o, t->v, q, p + 1);
        v = merge_axes(o, v, p, 2);
        t->v = slice(o, v, p, e_int(0), n, e_add(n, e_int(1)));
        memmove(t->label + q, t->label + q + 1, sizeof(int) * (size_t)(t->n - q - 1));
        t->n--;
        q--;
    }
}

// t with its axes in the order of labels `order`, extent 1 for those it has not.
static Val *arrange(Op *o, const Labeled *t, int n, const int *order) {
    int perm[MAX_RANK], m = 0;
    Ex s[MAX_RANK];
    for (int i = 0; i < n; i++) {
        int at = find_label(t, order[i]);
        if (at >= 0)
            perm[m++] = at;
        s[i] = at >= 0 ? dim(t->v, at) : e_int(1);
    }
    return reshape(o, permute(o, t->v, perm), n, s);
}

// Sums over the labels that are not kept.
static void sum_unused(Op *o, Labeled *t, const bool *kept) {
    int axes[MAX_RANK], n = 0, m = 0;
    for (int i = 0; i < t->n; i++) {
        if (!kept[t->label[i]])
            axes[n++] = i;
        else
            t->label[m++] = t->label[i];
    }
    t->v = reduce_sum(o, t->v, n, axes, false);
    t->n = m;
}

// sum of a*b over the labels that are not kept; the others in the order of `out` first.
static Labeled contract(Op *o, Labeled *a, Labeled *b, const bool *kept, const Labeled *out) {
    bool here[LABELS], in_b[LABELS];
    for (int i = 0; i < LABELS; i++) {
        here[i] = kept[i] || find_label(b, i) >= 0;
        in_b[i] = kept[i] || find_label(a, i) >= 0;
    }
    sum_unused(o, a, here);
    sum_unused(o, b, in_b);
    bool have[LABELS] = {false};
    for (int i = 0; i < a->n; i++)
        have[a->label[i]] = true;
    for (int i = 0; i < b->n; i++)
        have[b->label[i]] = true;
    int all[LABELS + MAX_RANK], n = 0;
    for (int i = 0; i < out->n; i++)
        if (have[out->label[i]])
            all[n++] = out->label[i];
    for (int pass = 1; pass >= 0; pass--) // kept for later, then summed
        for (int i = 0; i < LABELS; i++)
            if (have[i] && kept[i] == (pass == 1) && find_label(out, i) < 0)
                all[n++] = i;
    if (n > MAX_RANK)
        op_fail(o, "more than %d labels in a product", (int)MAX_RANK);
    Labeled r = {.n = n, .v = mul(o, arrange(o, a, n, all), arrange(o, b, n, all))};
    memcpy(r.label, all, sizeof(int) * (size_t)n);
    sum_unused(o, &r, kept);
    return r;
}

// The output where the equation has no arrow: the ellipsis, then the letters that occur once, by alphabet.
static Spec implicit_output(int n, const Spec *in) {
    Spec out = {.at_ellipsis = 0};
    int count[LETTERS] = {0};
    for (int i = 0; i < n; i++)
        for (int j = 0; j < in[i].n; j++)
            count[in[i].label[j]]++;
    for (int i = 0; i < LETTERS && out.n < MAX_RANK; i++)
        if (count[i] == 1)
            out.label[out.n++] = i;
    return out;
}

// Reads the equation into the operands' terms and the output's.
static Labeled parse_equation(Op *o, Labeled *in) {
    const char *s = attr_str(o, "equation");
    Spec *text = NEWN(Spec, o->nin), result;
    for (int i = 0; i < o->nin; i++) {
        if (i > 0 && *s++ != ',')
            op_fail(o, "equation '%s' has not a term for each of %d inputs", attr_str(o, "equation"), o->nin);
        text[i] = parse_term(o, &s);
    }
    bool arrow = s[0] == '-' && s[1] == '>';
    s += arrow ? 2 : 0;
    result = arrow ? parse_term(o, &s) : implicit_output(o->nin, text);
    if (*s)
        op_fail(o, "equation '%s': unexpected '%c'", attr_str(o, "equation"), *s);
    int widest = 0;
    for (int i = 0; i < o->nin; i++) {
        int covered = o->in[i]->rank - text[i].n;
        if (covered < 0 || (text[i].at_ellipsis < 0 && covered > 0))
            op_fail(o, "equation '%s': term %d has %d labels, the input %d dimensions", attr_str(o, "equation"), i,
                    text[i].n, o->in[i]->rank);
        in[i] = fill_ellipsis(o, &text[i], covered);
        widest = covered > widest ? covered : widest;
    }
    return fill_ellipsis(o, &result, result.at_ellipsis < 0 ? 0 : widest);
}

// y[out labels] = sum over all other labels of the product of the inputs; half types in float
static void op_einsum(Op *o) {
    DType dt = o->in[0]->dt;
    Labeled *in = NEWN(Labeled, o->nin), out = parse_equation(o, in), acc;
    for (int i = 0; i < o->nin; i++) {
        in[i].v = cast(o, o->in[i], dt == F16 || dt == BF16 ? F32 : dt);
        take_diagonals(o, &in[i]);
    }
    bool kept[LABELS] = {false};
    for (int i = 0; i < out.n; i++) {
        if (kept[out.label[i]])
            op_fail(o, "equation '%s': a label is twice in the output", attr_str(o, "equation"));
        kept[out.label[i]] = true;
    }
    bool *after = NEWN(bool, (size_t)LABELS * (size_t)(o->nin + 1)); // needed after operand i
    memcpy(after + LABELS * (size_t)o->nin, kept, sizeof kept);
    for (int i = o->nin; i-- > 0;) {
        memcpy(after + LABELS * (size_t)i, after + LABELS * (size_t)(i + 1), sizeof kept);
        for (int j = 0; j < in[i].n; j++)
            after[LABELS * (size_t)i + (size_t)in[i].label[j]] = true;
    }
    acc = in[0];
    sum_unused(o, &acc, after + LABELS);
    for (int i = 1; i < o->nin; i++)
        acc = contract(o, &acc, &in[i], after + LABELS * (size_t)(i + 1), &out);
    for (int i = 0; i < out.n; i++)
        if (find_label(&acc, out.label[i]) < 0)
            op_fail(o, "equation '%s': a label of the output is in no input", attr_str(o, "equation"));
    o->out[0] = cast(o, arrange(o, &acc, out.n, out.label), dt);
}

const OpDef ops_einsum[] = {{"Einsum", 12, op_einsum}, {NULL, 0, NULL}};
