// SPDX-License-Identifier: Apache-2.0
// What training code stores and reads: its table of parameters, their first values, checkpoints in the
// safetensors format, and the weights in a copy of the model's file.
#include "emit/emit.h"
#include <string.h>

enum { INLINE_VALUES = 1 << 18, HEADER = 64 }; // elements; bytes

static size_t real_size(const Params *p) { return dt_size(p->dt); }

void put_param_table(Emit *e, Text *t, const Params *p) {
    const char *m = e->prefix;
    for (int i = 0; i < p->n; i++) {
        put(t, "static const int64_t %s_dim%d[] = {", m, i);
        for (int k = 0; k < p->v[i].rank; k++) put(t, "%s, ", e_str(p->v[i].shape[k]));
        put(t, "0};\n");
    }
    put(t, "const cnn_param %s_params[] = {\n", m);
    for (int i = 0; i < p->n; i++) {
        const Param *q = &p->v[i];
        put(t, "    {");
        put_c_string(t, q->name, strlen(q->name));
        put(t, ", %d, %d, %s_dim%d, %lld, %lld, %d, %d, ", (int)q->kind, q->rank, m, i, (long long)q->offset, (long long)q->n, q->decays, (int)q->init.kind);
        put_float(t, q->init.scale, false);
        put(t, "},\n");
    }
    put(t, "};\n\n");
}

// ---- first values -----------------------------------------------------------------------------------

static void put_inline_values(Emit *e, Text *t, const Params *p) {
    for (int i = 0; i < p->n; i++) {
        const Param *q = &p->v[i];
        put(t, "static const CNN_REAL %s_first%d[%lld] = {", e->prefix, i, (long long)(q->n ? q->n : 1));
        for (int64_t k = 0; k < q->n; k++) {
            put(t, k % 12 == 0 ? "\n    " : " ");
            put_number(e, t, p->dt, data_get(q->data, (size_t)k));
            put(t, ",");
        }
        put(t, "\n};\n");
    }
}

static uint64_t fnv(const unsigned char *s, size_t n) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 1099511628211u;
    return h;
}

// The buffer as it is at first, behind the header that a file of weights has.
static unsigned char *image_of(const Params *p, size_t *size) {
    size_t each = real_size(p);
    *size = HEADER + mul_size((size_t)p->total, each);
    unsigned char *image = arena_alloc(*size);
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->v[i].n; k++)
            scalar_store(p->dt, image + HEADER + (size_t)(p->v[i].offset + k) * each, data_get(p->v[i].data, (size_t)k));
    uint64_t hash = fnv(image + HEADER, *size - HEADER);
    memcpy(image, "CNNCCW1", 8);
    for (int i = 0; i < 8; i++) {
        image[8 + i] = (unsigned char)(hash >> (8 * i));
        image[16 + i] = (unsigned char)((uint64_t)*size >> (8 * i));
    }
    return image;
}

bool put_first_values(Emit *e, Text *t, const Params *p) {
    const char *m = e->prefix;
    bool file = e->opt->weights == W_FILE || (e->opt->weights == W_AUTO && p->total > INLINE_VALUES);
    if (!file) put_inline_values(e, t, p);
    put(t, "int %s_init(const %s_trainer *t, const void *weights) {\n", m, m);
    put(t, "    size_t i;\n    for (i = 0; i < %lld; i++) t->params[i] = 0;\n", (long long)p->total);
    if (file) {
        size_t size;
        unsigned char *image = image_of(p, &size);
        if (!write_file(with_ending(e->opt->output, ".bin"), (const char *)image, size)) return false;
        put(t, "    static const unsigned char head[24] = {");
        for (int i = 0; i < 24; i++) put(t, "%d%s", image[i], i < 23 ? ", " : "");
        put(t, "};\n    if (!weights || memcmp(weights, head, 24)) return CNN_EWEIGHTS;\n");
        put(t, "    memcpy(t->params, (const unsigned char *)weights + %d, %zu);\n", HEADER, size - HEADER);
    } else {
        put(t, "    (void)weights;\n");
        for (int i = 0; i < p->n; i++)
            put(t, "    memcpy(t->params + %lld, %s_first%d, sizeof(CNN_REAL) * %lld);\n", (long long)p->v[i].offset, m, i, (long long)p->v[i].n);
    }
    put(t, "    %s_clear(t);\n    return CNN_OK;\n}\n\n", m);
    return true;
}

// ---- checkpoints ------------------------------------------------------------------------------------

static void put_json_string(Text *t, const char *s) {
    put(t, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') put(t, "\\%c", c);
        else if (c < 32) put(t, "\\u%04x", c);
        else put(t, "%c", c);
    }
    put(t, "\"");
}

static void put_tensor_entry(Text *h, const Params *p, const char *name, int rank, const Ex *shape, int64_t n, int64_t *at) {
    int64_t size = n * (int64_t)real_size(p);
    put(h, ",");
    put_json_string(h, name);
    put(h, ":{\"dtype\":\"%s\",\"shape\":[", p->dt == F64 ? "F64" : "F32");
    for (int k = 0; k < rank; k++) put(h, "%s%s", k ? "," : "", e_str(shape[k]));
    put(h, "],\"data_offsets\":[%lld,%lld]}", (long long)*at, (long long)(*at + size));
    *at += size;
}

#define BEFORE_STEP "{\"__metadata__\":{\"step\":\""
#define BEFORE_SEED "\",\"seed\":\""

// What a checkpoint has: all but what stays as the model has it, which is last in the buffer.
static int changing(const Params *p) {
    int n = 0;
    while (n < p->n && p->v[n].kind != PARAM_FROZEN) n++;
    return n;
}

// The header of a checkpoint, as numbers: literals of this length are not portable.
static size_t put_json(Emit *e, Text *t, const Params *p, const char *optimizer, int nstate) {
    Text h = {0};
    int64_t at = 0;
    put(&h, BEFORE_STEP "00000000000000000000" BEFORE_SEED "00000000000000000000\",\"optimizer\":\"%s\"}", optimizer);
    for (int i = 0; i < changing(p); i++) put_tensor_entry(&h, p, p->v[i].name, p->v[i].rank, p->v[i].shape, p->v[i].n, &at);
    for (int i = 0; i < nstate; i++) put_tensor_entry(&h, p, arena_printf("optimizer.%d", i), 1, (Ex[]){e_int(p->trained)}, p->trained, &at);
    put(&h, "}");
    while (h.n % 8) put(&h, " ");
    put(t, "/* The header of a checkpoint: JSON. */\nstatic const unsigned char %s_json[%zu] = {", e->prefix, h.n);
    for (size_t i = 0; i < h.n; i++) put(t, i % 24 ? " %d," : "\n    %d,", (unsigned char)h.s[i]);
    put(t, "\n};\n");
    return h.n;
}

// A loop over the parameters, in the order of the file, then the optimizer's tensors.
static void put_all_reals(Emit *e, Text *t, const Params *p, int nstate, const char *fn, const char *how) {
    put(t, "    for (i = 0; i < %d && !st; i++)\n        st = %s(t->params + %s_params[i].offset, %s_params[i].count, %s, user);\n", changing(p), fn, e->prefix,
        e->prefix, how);
    if (nstate) put(t, "    if (!st) st = %s(t->state, %lld, %s, user);\n", fn, (long long)(p->trained * nstate), how);
}

void put_checkpoint(Emit *e, Text *t, const Params *p, const char *optimizer, int nstate) {
    const char *m = e->prefix;
    size_t step = strlen(BEFORE_STEP), seed = step + 20 + strlen(BEFORE_SEED);
    need(e, "cnn_put_reals");
    need(e, "cnn_digits");
    size_t n = put_json(e, t, p, optimizer, nstate);
    put(t, "\nint %s_save(const %s_trainer *t, cnn_write *write, void *user) {\n", m, m);
    put(t, "    unsigned char size[8];\n    char digits[20];\n    int st, i;\n");
    put(t, "    for (i = 0; i < 8; i++) size[i] = (unsigned char)(UINT64_C(%zu) >> (8 * i));\n", n);
    put(t, "    if ((st = write(user, size, 8)) || (st = write(user, %s_json, %zu))) return st;\n", m, step);
    put(t, "    cnn_digits(digits, t->step);\n    if ((st = write(user, digits, 20)) || (st = write(user, %s_json + %zu, %zu))) return st;\n", m, step + 20,
        seed - step - 20);
    put(t, "    cnn_digits(digits, t->seed);\n    if ((st = write(user, digits, 20)) || (st = write(user, %s_json + %zu, %zu))) return st;\n", m, seed + 20,
        n - seed - 20);
    put_all_reals(e, t, p, nstate, "cnn_put_reals", "write");
    put(t, "    return st;\n}\n\n");
    put(t, "int %s_load(%s_trainer *t, cnn_read *read, void *user) {\n", m, m);
    put(t, "    unsigned char size[8];\n    char piece[64], step[20], seed[20];\n    int st, i;\n    size_t at, n;\n");
    put(t, "    if ((st = read(user, size, 8))) return st;\n");
    put(t, "    for (i = 0; i < 8; i++)\n        if (size[i] != (unsigned char)(UINT64_C(%zu) >> (8 * i))) return CNN_EDATA;\n", n);
    put(t, "    for (at = 0; at < %zu; at += n) { /* the same header but for two numbers */\n", n);
    put(t, "        const int digits = at == %zu || at == %zu;\n", step, seed);
    put(t, "        n = digits ? 20 : at < %zu ? %zu - at : at < %zu ? %zu - at : %zu - at;\n", step, step, seed, seed, n);
    put(t, "        if (n > sizeof piece) n = sizeof piece;\n        if ((st = read(user, piece, n))) return st;\n");
    put(t, "        if (digits) memcpy(at == %zu ? step : seed, piece, 20);\n        else if (memcmp(piece, %s_json + at, n)) return CNN_EDATA;\n    }\n", step, m);
    put(t, "    for (i = 0; i < 20; i++)\n        if (step[i] < '0' || step[i] > '9' || seed[i] < '0' || seed[i] > '9') return CNN_EDATA;\n");
    put_all_reals(e, t, p, nstate, "cnn_get_reals", "read");
    put(t, "    if (st) return st;\n    t->step = cnn_undigits(step);\n    t->seed = cnn_undigits(seed);\n    return CNN_OK;\n}\n\n");
}

// ---- export -----------------------------------------------------------------------------------------

// The parameters that changed, by where they are in the file; false: one of them is not there as raw bytes.
static bool by_place(const Params *p, int *order, int *n) {
    *n = 0;
    for (int i = 0; i < p->n; i++) {
        if (!param_changes(&p->v[i])) continue;
        if (p->v[i].init.file_at < 0) return false;
        int k = (*n)++;
        for (; k > 0 && p->v[order[k - 1]].init.file_at > p->v[i].init.file_at; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    return true;
}

static const char *element_bytes(Emit *e, DType to) {
    switch (to) {
    case F32: return "const float f = (float)x;\n            memcpy(&u, &f, 4);";
    case F64: return "const double f = (double)x;\n            memcpy(&u, &f, 8);";
    case F16: need(e, "cnn_f32_to_f16"); return "u = cnn_f32_to_f16((float)x);";
    case BF16: need(e, "cnn_f32_to_bf16"); return "u = cnn_f32_to_bf16((float)x);";
    default: return NULL;
    }
}

static void put_export_type(Emit *e, Text *t, DType dt) {
    const char *how = element_bytes(e, dt);
    put(t, "static int %s_put_%s(const CNN_REAL *w, size_t n, cnn_write *write, void *user) {\n", e->prefix, dt_name(dt));
    put(t, "    unsigned char b[512];\n    size_t i = 0, at;\n    int st = 0, k;\n    while (i < n && !st) {\n");
    put(t, "        for (at = 0; i < n && at < sizeof b; i++) {\n            const CNN_REAL x = w[i];\n");
    put(t, dt_size(dt) == 8 ? "            uint64_t u;\n" : dt_size(dt) == 4 ? "            uint32_t u;\n" : "            uint16_t u;\n");
    put(t, "            %s\n            for (k = 0; k < %zu; k++) b[at++] = (unsigned char)(u >> (8 * k));\n        }\n", how, dt_size(dt));
    put(t, "        st = write(user, b, at);\n    }\n    return st;\n}\n\n");
}

// A weight with what its adapters add.
static void put_merged(Emit *e, Text *t, const Params *p, const Param *w) {
    const Param *up = param_adapter(p, w, SIDE_UP), *across = param_adapter(p, w, SIDE_ACROSS);
    long long rank = (long long)up->init.rank, rows = up->n / rank, cols = across->n / rank;
    need(e, "cnn_put_merged");
    put(t, "    if ((st = cnn_put_merged(t->params + %lld, t->params + %lld, t->params + %lld, %lld, %lld, %lld, ", (long long)w->offset,
        (long long)up->offset, (long long)across->offset, rows, cols, rank);
    put_float(t, up->init.merge, false);
    put(t, ", %s_put_%s, write, user))) return st;", e->prefix, dt_name(w->init.file_type));
}

void put_export(Emit *e, Text *t, const Params *p) {
    const char *m = e->prefix;
    int *order = NEWN(int, p->n + 1), n;
    if (!by_place(p, order, &n)) {
        fprintf(stderr, "%s: note: there is no %s_export: a parameter is not in the model's file as raw bytes\n", diag_file, m);
        return;
    }
    bool done[DT_COUNT] = {0};
    for (int i = 0; i < n; i++) {
        DType dt = p->v[order[i]].init.file_type;
        if (!done[dt]) put_export_type(e, t, dt);
        done[dt] = true;
    }
    put(t, "int %s_export(const %s_trainer *t, const void *model, size_t size, cnn_write *write, void *user) {\n", m, m);
    put(t, "    const unsigned char *const from = (const unsigned char *)model;\n    uint64_t hash = UINT64_C(1469598103934665603);\n    size_t i;\n    int st;\n");
    put(t, "    if (size != %llu) return CNN_EDATA;\n", (unsigned long long)model_file_size);
    put(t, "    for (i = 0; i < size; i++) hash = (hash ^ from[i]) * UINT64_C(1099511628211);\n");
    put(t, "    if (hash != UINT64_C(%llu)) return CNN_EDATA; /* not the file that this was made from */\n", (unsigned long long)model_file_hash);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const Param *q = &p->v[order[i]];
        put(t, "    if ((st = write(user, from + %lld, %lld))) return st;\n", (long long)at, (long long)(q->init.file_at - at));
        if (q->init.adapted) put_merged(e, t, p, q);
        else put(t, "    if ((st = %s_put_%s(t->params + %lld, %lld, write, user))) return st;", m, dt_name(q->init.file_type), (long long)q->offset, (long long)q->n);
        put(t, " /* %s */\n", in_comment(q->name));
        at = q->init.file_at + q->n * (int64_t)dt_size(q->init.file_type);
    }
    put(t, "    return write(user, from + %lld, size - %lld);\n}\n\n", (long long)at, (long long)at);
}
