// SPDX-License-Identifier: Apache-2.0
// Calls that must be refused: too little room, inputs that do not fit. The status says so, and nothing is
// written outside of what was given.
#include <stdlib.h>
#include <string.h>

#include "run.h"

typedef struct {
    const cnn_model *m;
    const cnn_ctx *ctx;
    cnn_tensor *in, *out;
    char what[160];
} Limits;

static bool plain(const cnn_port *p) { return p->kind == CNN_TENSOR && p->type != CNN_STRING; }

static size_t bytes_of(const cnn_tensor *t) {
    size_t n = 0, bytes = 0;
    return shape_count(t->rank, t->shape, &n) && type_port_bytes(t->type, n, &bytes) ? bytes : 0;
}

/* Runs with output `small` of so many bytes (-1: none) and a work area of `work` bytes. */
static int try_run(Limits *x, int small, size_t cap, size_t work, bool *whole) {
    size_t n = (size_t)x->m->n_out;
    cnn_tensor *out = run_calloc(n, sizeof *out);
    cnn_ctx ctx = *x->ctx;
    ctx.work_size = work;
    ctx.work = guard_alloc(work);
    for (size_t o = 0; o < n; o++) {
        out[o] = x->out[o];
        out[o].cap = (int)o == small ? cap : bytes_of(&x->out[o]);
        out[o].data = guard_alloc(out[o].cap);
        out[o].shape = run_calloc(MAX_RANK, sizeof *out[o].shape);
    }
    int status = x->m->run(&ctx, x->in, out);
    *whole = guard_whole(ctx.work, work);
    for (size_t o = 0; o < n; o++) {
        *whole = *whole && guard_whole(out[o].data, out[o].cap);
        guard_free(out[o].data);
        free(out[o].shape);
    }
    guard_free(ctx.work);
    free(out);
    return status;
}

static bool expect(Limits *x, int small, size_t cap, size_t work, unsigned allowed) {
    bool whole;
    int status = try_run(x, small, cap, work, &whole);
    if (!whole) return run_error("%s: written outside", x->what);
    return (status >= 0 && status < 8 && allowed >> status & 1) || run_error("%s: status %s", x->what, exec_status(status));
}

static bool small_outputs(Limits *x) {
    for (int o = 0; o < x->m->n_out; o++) {
        size_t bytes = bytes_of(&x->out[o]);
        (void)snprintf(x->what, sizeof x->what, "output '%.80s' a byte short", x->m->out[o].name);
        if (bytes > 0 && !expect(x, o, bytes - 1, x->ctx->work_size, 1u << CNN_ECAPACITY)) return false;
    }
    return true;
}

static bool small_work(Limits *x, size_t least) {
    for (int k = 0; k < 16; k++) {
        size_t work = x->ctx->work_size / 16 * (size_t)k / 64 * 64 + (k % 2 ? 0 : 8u * (size_t)k);
        unsigned allowed = work + 64 < least ? 1u << CNN_EWORK : 1u << CNN_OK | 1u << CNN_ECAPACITY | 1u << CNN_EWORK;
        (void)snprintf(x->what, sizeof x->what, "a work area of %zu bytes", work);
        if (!expect(x, -1, 0, work, allowed)) return false;
    }
    return true;
}

static bool wrong_inputs(Limits *x) {
    const unsigned shape = 1u << CNN_ESHAPE, any = ~0u;
    bool ok = true;
    for (int i = 0; i < x->m->n_in && ok; i++) {
        const cnn_port *p = &x->m->in[i];
        cnn_tensor given = x->in[i];
        if (p->kind != CNN_TENSOR) continue;
        (void)snprintf(x->what, sizeof x->what, "input '%.80s' of another type, rank or extent", p->name);
        x->in[i].type = given.type == CNN_FLOAT ? CNN_DOUBLE : CNN_FLOAT;
        ok = expect(x, -1, 0, x->ctx->work_size, shape);
        x->in[i] = given;
        x->in[i].rank++;
        ok = ok && expect(x, -1, 0, x->ctx->work_size, shape);
        x->in[i] = given;
        x->in[i].data = NULL;
        ok = ok && expect(x, -1, 0, x->ctx->work_size, shape);
        x->in[i] = given;
        for (int k = 0; k < given.rank && ok; k++) { /* less than there is */
            if (given.shape[k] == 0) continue;
            given.shape[k]--;
            ok = expect(x, -1, 0, x->ctx->work_size, p->dim[k] >= 0 ? shape : any);
            given.shape[k]++;
        }
    }
    return ok;
}

bool limits_check(const cnn_model *m, const cnn_ctx *ctx, const int64_t *sym, cnn_tensor *in, cnn_tensor *out) {
    Limits x = {.m = m, .ctx = ctx, .in = in, .out = out};
    for (int o = 0; o < m->n_out; o++)
        if (!plain(&m->out[o]) || !out[o].data) return true; /* sequences, strings, states: tests/probes */
    for (int i = 0; i < m->n_in; i++)
        if (m->in[i].kind != CNN_TENSOR) return true;
    return small_outputs(&x) && small_work(&x, m->work_size(sym, ctx->threads)) && wrong_inputs(&x);
}
