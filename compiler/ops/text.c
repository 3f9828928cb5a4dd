// SPDX-License-Identifier: Apache-2.0
// Text: case, stop words, regular expressions, tokens, counts of n-grams.
#include "base/unicode.h"
#include "ops/nn.h"
#include "ops/regex.h"

#include <string.h>

static Val *const_table(Op *o, const int32_t *v, int64_t rows, int64_t width) {
    Data *d = data_new(I32, (size_t)(rows * width));
    if (rows) memcpy((void *)(uintptr_t)d->p, v, sizeof *v * (size_t)(rows * width));
    Ex shape[2] = {e_int(rows), e_int(width)};
    return b_const(o->g, d, 2, shape);
}

static Val *const_set(Op *o, const char *name, bool used) {
    const UnicodeSet *s = unicode_find(name);
    return const_table(o, s->r[0], used ? s->n : 1, 2);
}

/* x in lower or upper case, as Unicode says for every language: a final sigma and changes to several characters too */
static Val *change_case(Op *o, Val *x, bool upper) {
    const UnicodeCase *c = &unicode_case[upper];
    Val *in[5] = {x, const_table(o, c->row[0], c->nrow, 4), const_table(o, c->special[0], c->nspecial, 4), const_set(o, "cased", !upper),
                  const_set(o, "ignorable", !upper)};
    int64_t how = upper;
    return call1(o, &call_string_case, 5, in, 1, &how, STR, x->rank, x->shape);
}

/* Where x is none of the words; in one case when they are compared without it. */
static Val *is_kept(Op *o, Val *x, int n, const DataStr *words, bool fold, bool upper) {
    Val *list = const_strs(o, n, words);
    if (fold) {
        list = change_case(o, list, upper);
        const Data *d = val_const(list);
        if (!d) op_fail(o, "a stop word is no UTF-8");
        DataStr *s = NEWN(DataStr, n);
        for (int i = 0; i < n; i++) s[i] = ((const DataStr *)d->p)[d->splat ? 0 : i];
        words = s;
    }
    return map2(o, FN_lt, find_string(o, x, n, words), scalar_int(o, I64, 0));
}

/* y = x in another case, without the stop words; "" where none is left. The locale changes nothing. */
static void string_normalizer(Op *o) {
    Val *x = o->in[0], *y;
    const char *action = attr_str(o, "case_change_action");
    const DataStr *words = NULL;
    int n = attr_strs(o, "stopwords", &words);
    bool upper = !strcmp(action, "UPPER"), change = upper || !strcmp(action, "LOWER"), fold = !attr_int(o, "is_case_sensitive");
    if (!change && strcmp(action, "NONE")) op_fail(o, "case_change_action is '%s', not LOWER, UPPER or NONE", action);
    if (x->rank != 1 && x->rank != 2) op_fail(o, "input 0 has %d dimensions, needs 1 or 2", x->rank);
    if (x->rank == 2) graph_guard(o->g, G_EQ, dim(x, 0), e_int(1), "StringNormalizer takes [C] or [1, C]");
    Val *flat = x->rank == 2 ? reshape(o, x, 1, (Ex[]){dim(x, 1)}) : x;
    y = change ? change_case(o, flat, upper) : flat;
    if (n > 0) {
        Val *key = !fold ? flat : change ? y : change_case(o, flat, false), *empty;
        Val *at = true_indices(o, is_kept(o, key, n, words, fold, upper));
        DataStr none = {"", 0};
        empty = const_strs(o, 1, &none);
        y = concat(o, 2, (Val *[]){take(o, y, at, 0), empty}, 0);
        y = slice(o, y, 0, e_int(0), e_max(dim(at, 0), e_int(1)), e_int(1));
    }
    o->out[0] = x->rank == 2 ? unsqueeze(o, y, 0) : y;
}

// ---- regular expressions --------------------------------------------------------------------------

typedef struct { Val *classes, *table, *starts, *info; int n; } Automata;

static Val *const_bytes(Op *o, const uint8_t *v, int64_t n) {
    Data *d = data_new(U8, (size_t)n);
    memcpy((void *)(uintptr_t)d->p, v, (size_t)n);
    Ex shape = e_int(n);
    return b_const(o->g, d, 1, &shape);
}

static const Regex *compiled(Op *o, DataStr pattern, bool dot_all) {
    const char *why = NULL;
    const Regex *re = regex_compile(pattern.p, pattern.n, dot_all, &why);
    if (!re) op_fail(o, "the regular expression '%.*s' is not supported: %s", (int)(pattern.n > 200 ? 200 : pattern.n), pattern.p, why);
    return re;
}

/* The tables of n patterns one behind the other; info: of each the classes and where its rows begin. */
static Automata automata(Op *o, int n, const DataStr *pattern, bool dot_all) {
    uint8_t *classes = NEWN(uint8_t, 256 * n + 1);
    int32_t *starts = NEWN(int32_t, 4 * n + 1), *info = NEWN(int32_t, 2 * n + 1);
    uint16_t *all = NULL;
    int64_t size = 0;
    for (int i = 0; i < n; i++) {
        const Regex *re = compiled(o, pattern[i], dot_all);
        int64_t len = (int64_t)re->nstate * (re->nclass + 1);
        memcpy(classes + 256 * i, re->class_of, 256);
        for (int k = 0; k < REGEX_CONTEXTS; k++) starts[4 * i + k] = re->start[k];
        info[2 * i] = re->nclass, info[2 * i + 1] = (int32_t)size;
        uint16_t *more = NEWN(uint16_t, size + len);
        if (size) memcpy(more, all, sizeof *all * (size_t)size);
        memcpy(more + size, re->next, sizeof *all * (size_t)len);
        all = more;
        size += len;
    }
    Data *d = data_new(U16, (size_t)size);
    memcpy((void *)(uintptr_t)d->p, all, sizeof *all * (size_t)size);
    Ex shape = e_int(size);
    return (Automata){const_bytes(o, classes, 256 * n), b_const(o->g, d, 1, &shape), const_table(o, starts, n, 4), const_table(o, info, n, 2), n};
}

/* y = all of x matches the pattern */
static void regex_full_match(Op *o) {
    const char *s = attr_str(o, "pattern");
    DataStr pattern = {s, strlen(s)};
    Automata a = automata(o, 1, &pattern, false);
    Val *in[4] = {o->in[0], a.classes, a.table, a.starts};
    int64_t nclass = ((const int32_t *)val_const(a.info)->p)[0];
    o->out[0] = call1(o, &call_regex_match, 4, in, 1, &nclass, BOOL, o->in[0]->rank, o->in[0]->shape);
}

/* As onnxruntime: y = the tokens of x along a new last axis: what lies between the separators (regular expressions), or what
 * tokenexp matches, or, for a separator "", the characters; with a mark at either end, filled up by pad_value */
static void tokenizer(Op *o) {
    enum { BETWEEN, MATCHES, CHARACTERS, MOST = 16 };
    Val *x = o->in[0];
    const DataStr *by = NULL;
    const char *exp = attr_str_or(o, "tokenexp", NULL), *pad = attr_str(o, "pad_value");
    DataStr expression = {exp, exp ? strlen(exp) : 0}, fill = {pad, strlen(pad)}, any = {"", 0};
    int n = attr_strs(o, "separators", &by);
    int64_t args[4] = {n, BETWEEN, attr_int(o, "mincharnum"), attr_int_or(o, "mark", 0) != 0};
    if ((n > 0) == (exp != NULL) || n > MOST || args[2] < 1) op_fail(o, "needs either 1 to %d separators or tokenexp, and mincharnum of 1 or more", MOST);
    if (exp) args[0] = 1, args[1] = MATCHES, by = &expression;
    else if (n == 1 && by[0].n == 0) args[1] = CHARACTERS, by = &any;
    if (x->rank == MAX_RANK) op_fail(o, "input 0 has too many dimensions");
    Automata a = automata(o, (int)args[0], by, true);
    Val *in[6] = {x, a.classes, a.table, a.starts, a.info, const_strs(o, 1, &fill)};
    Val *count = call1(o, &call_token_count, 5, in, 3, args, I64, x->rank, x->shape);
    Val *most = map2(o, FN_max, reduce(o, RED_MAX, count, -1, NULL, false), scalar_int(o, I64, 0));
    if (args[3]) most = add(o, most, mul(o, map2(o, FN_min, most, scalar_int(o, I64, 1)), scalar_int(o, I64, 2))); // without a token no marks
    Ex shape[MAX_RANK];
    for (int i = 0; i < x->rank; i++) shape[i] = x->shape[i];
    shape[x->rank] = most->elems ? most->elems[0] : e_size(most, 0, NULL);
    o->out[0] = call1(o, &call_token_split, 6, in, 4, args, STR, x->rank + 1, shape);
}

// ---- n-grams --------------------------------------------------------------------------------------

typedef struct {
    int64_t *key;
    int32_t *child, *column;
    int64_t slots, nodes;
} Tree;

static int32_t *edge(Tree *t, int64_t node, int64_t word) {
    uint64_t want = (uint64_t)node << 32 | (uint64_t)(uint32_t)word, s = (want * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
    while (t->child[s & (uint64_t)(t->slots - 1)] >= 0 && (uint64_t)t->key[s & (uint64_t)(t->slots - 1)] != want) s++;
    t->key[s & (uint64_t)(t->slots - 1)] = (int64_t)want;
    return &t->child[s & (uint64_t)(t->slots - 1)];
}

/* The pool as a tree: n-grams of the words' numbers; a node's column is where the n-gram that ends there counts. */
static Tree pool_tree(Op *o, int64_t n, const int64_t *word, int64_t *ngrams) {
    const int64_t *begin = NULL, *column = NULL;
    int nb = attr_ints(o, "ngram_counts", &begin), nc = attr_ints(o, "ngram_indexes", &column);
    Tree t = {.slots = 16, .nodes = 1};
    while (t.slots < 2 * n + 2) t.slots *= 2;
    t.key = NEWN(int64_t, t.slots), t.child = NEWN(int32_t, t.slots), t.column = NEWN(int32_t, n + 1);
    for (int64_t i = 0; i < t.slots; i++) t.child[i] = -1;
    for (int64_t i = 0; i <= n; i++) t.column[i] = -1;
    *ngrams = 0;
    for (int k = 0; k < nb; k++) {
        int64_t end = k + 1 < nb ? begin[k + 1] : n;
        if (begin[k] < 0 || end < begin[k] || end > n || (end - begin[k]) % (k + 1)) op_fail(o, "ngram_counts does not fit the pool of %lld", (long long)n);
        for (int64_t at = begin[k]; at < end; at += k + 1) {
            int64_t node = 0;
            if (*ngrams >= nc) op_fail(o, "ngram_indexes has %d elements, fewer than n-grams", nc < 0 ? 0 : nc);
            for (int i = 0; i <= k; i++) {
                int32_t *to = edge(&t, node, word[at + i]);
                if (*to < 0) *to = (int32_t)t.nodes++;
                node = *to;
            }
            if (column[*ngrams] < 0 || column[*ngrams] > INT32_MAX) op_fail(o, "ngram_indexes[%lld] is out of range", (long long)*ngrams);
            t.column[node] = (int32_t)column[*ngrams];
            ++*ngrams;
        }
    }
    return t;
}

// The words of the pool as numbers, and x's: -1 where a word is not in the pool.
static Val *words_of(Op *o, Val *x, int64_t *n, int64_t **word) {
    const DataStr *s = NULL;
    const int64_t *v = NULL;
    int ns = attr_strs(o, "pool_strings", &s), ni = attr_ints(o, "pool_int64s", &v);
    if ((x->dt == STR ? ns : ni) < 1) op_fail(o, "the pool of %s is missing", x->dt == STR ? "strings" : "integers");
    *n = x->dt == STR ? ns : ni;
    *word = NEWN(int64_t, *n);
    Op fold = *o; // the same look-up says which words of the pool are one
    Val *pool = x->dt == STR ? const_strs(o, ns, s) : const_ints(o, ni, v), *at;
    const Data *d = val_const(pool);
    at = x->dt == STR ? find_string(&fold, pool, ns, s) : find_number(&fold, pool, d);
    const Data *same = val_const(at);
    if (!same) op_fail(o, "a pool of %lld words is too large", (long long)*n);
    for (int64_t i = 0; i < *n; i++) (*word)[i] = data_get(same, (size_t)i).i;
    return x->dt == STR ? find_string(o, x, ns, s) : find_number(o, cast(o, x, I64), d);
}

/* y = how often each n-gram of the pool is in a row of x: TF; weights where it is at all: IDF; the product: TFIDF */
static void tf_idf_vectorizer(Op *o) {
    Val *x = o->in[0], *words, *y;
    const char *mode = attr_str(o, "mode");
    const float *weight = NULL;
    int64_t n, *word, ngrams, columns = 0, args[3] = {attr_int(o, "min_gram_length"), attr_int(o, "max_gram_length"), attr_int(o, "max_skip_count")};
    const int64_t *column = NULL;
    int nc = attr_ints(o, "ngram_indexes", &column), nw = attr_floats(o, "weights", &weight);
    if (x->rank < 1 || x->rank > 2) op_fail(o, "input 0 has %d dimensions, needs 1 or 2", x->rank);
    if (args[0] < 1 || args[1] < args[0] || args[2] < 0) op_fail(o, "n-grams of %lld to %lld words, %lld skipped", (long long)args[0], (long long)args[1], (long long)args[2]);
    if (strcmp(mode, "TF") && strcmp(mode, "IDF") && strcmp(mode, "TFIDF")) op_fail(o, "mode is '%s', not TF, IDF or TFIDF", mode);
    words = words_of(o, x, &n, &word);
    Tree t = pool_tree(o, n, word, &ngrams);
    for (int i = 0; i < nc; i++) columns = column[i] >= columns ? column[i] + 1 : columns;
    if (nw > 0 && nw != nc) op_fail(o, "%d weights for %d n-grams", nw, nc);
    if (x->rank == 1) words = unsqueeze(o, words, 0);
    Ex slots = e_int(t.slots), nodes = e_int(n + 1), shape[2] = {dim(words, 0), e_int(columns)};
    Val *in[4] = {words, b_const(o->g, data_alias(I64, (size_t)t.slots, t.key, false), 1, &slots),
                  b_const(o->g, data_alias(I32, (size_t)t.slots, t.child, false), 1, &slots),
                  b_const(o->g, data_alias(I32, (size_t)(n + 1), t.column, false), 1, &nodes)};
    y = call1(o, &call_ngram_count, 4, in, 3, args, F32, 2, shape);
    if (mode[0] == 'I') y = cast(o, map2(o, FN_lt, like(o, y, 0), y), F32);
    if (strcmp(mode, "TF") && nw > 0) {
        double *w = NEWN(double, columns + 1);
        for (int64_t i = 0; i < columns; i++) w[i] = 1;
        for (int i = 0; i < nc; i++) w[column[i]] = (double)weight[i];
        y = mul(o, y, const_floats(o, F32, (int)columns, w));
    }
    o->out[0] = x->rank == 1 ? squeeze(o, y, 0) : y;
}

const OpDef ops_text[] = {
    {"StringNormalizer", 10, string_normalizer},
    {"RegexFullMatch", 20, regex_full_match},
    {"TfIdfVectorizer", 9, tf_idf_vectorizer},
    {NULL, 0, NULL},
};
/* y = MurmurHash3 of the bytes of x: of 32 bits, unsigned or, with positive = 0, signed */
static void murmur3(Op *o) {
    Val *x = o->in[0];
    int64_t seed = attr_int_or(o, "seed", 0);
    if (x->dt != STR && dt_bits(x->dt) != 32 && dt_bits(x->dt) != 64) op_fail(o, "hashes of %s are not supported", dt_onnx_name(x->dt));
    DType bits = dt_bits(x->dt) == 32 ? U32 : U64;
    if (x->dt != STR && x->dt != bits) x = b_map(o->g, FN_bitcast, bits, 1, &x);
    Val *y = call1(o, &call_murmur3, 1, &x, 1, &seed, U32, x->rank, x->shape);
    o->out[0] = attr_int_or(o, "positive", 1) ? y : b_map(o->g, FN_bitcast, I32, 1, &y);
}

const OpDef ops_tokenizer[] = {{"Tokenizer", 1, tokenizer}, {"MurmurHash3", 1, murmur3}, {NULL, 0, NULL}};
