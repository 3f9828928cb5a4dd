// SPDX-License-Identifier: Apache-2.0
#include "import/testdata.h"
#include "import/import.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

Tensor *tensor_load(const char *path, const char **name) {
    Importer *im = NEW(Importer);
    Options *opt = NEW(Options);
    opt->model = path;
    im->opt = opt;
    const char *file = diag_file;
    diag_file = path;
    Tensor *t = NULL;
    uint8_t *copy;
    size_t n;
    char err[300];
    if (map_file(path, &im->file, &im->size)) {
        WireBudget budget = wire_budget(im->size);
        Onnx__TensorProto *p = NULL;
        Constant c;
        if (wire_scan_as(&onnx__tensor_proto__descriptor, im->file, im->size, &budget, &copy, &n, err, sizeof err) !=
            WIRE_OK)
            error("%s", err);
        else if (!(p = onnx__tensor_proto__unpack(NULL, n, copy)))
            error("is not a tensor");
        else if (!tensor_read(im, p, &c, err, sizeof err))
            error("%s", err);
        else {
            t = NEW(Tensor);
            *t = (Tensor){.dt = c.data->dt, .rank = c.rank, .data = c.data};
            for (int i = 0; i < c.rank; i++) e_is_const(c.shape[i], &t->shape[i]);
            *name = p->name ? intern(p->name) : "";
        }
    }
    diag_file = file;
    return t;
}

static bool load_all(const char *dir, const char *what, int n, const char *const *names, Tensor **out) {
    for (int k = 0; k < n; k++) {
        const char *path = arena_printf("%s/%s_%d.pb", dir, what, k), *name;
        if (access(path, R_OK) != 0) break;
        Tensor *t = tensor_load(path, &name);
        if (!t) return false;
        int at = k;
        for (int i = 0; i < n && *name; i++)
            if (!strcmp(names[i], name)) at = i;
        out[at] = t;
    }
    return true;
}

static const char *shape_text(const Tensor *t) {
    Text s = {0};
    for (int i = 0; i < t->rank; i++) put(&s, "%s%lld", i ? "x" : "", (long long)t->shape[i]);
    return s.s ? s.s : "scalar";
}

static bool close_enough(DType dt, Scalar a, Scalar b, double *worst) {
    if (!dt_is_float(dt)) return a.i == b.i;
    if ((isnan(a.f) && isnan(b.f)) || a.f == b.f) return true;
    double d = fabs(a.f - b.f);
    if (!(d <= *worst)) *worst = d;
    if (isinf(a.f) || isinf(b.f)) return false;
    return d <= 1e-5 + 1e-3 * fabs(b.f) + (dt_bits(dt) <= 16 ? 1e-2 * fabs(b.f) : 0);
}

static bool compare(const char *name, const Tensor *got, const Tensor *want) {
    size_t bad = 0, first = 0, n = want->data->n;
    double worst = 0;
    if (!got || got->kind != K_TENSOR) return printf("%s: no tensor\n", name), false;
    bool same = got->dt == want->dt && got->rank == want->rank;
    for (int i = 0; same && i < want->rank; i++) same = got->shape[i] == want->shape[i];
    if (!same) {
        printf("%s: %s %s, expected %s %s\n", name, dt_onnx_name(got->dt), shape_text(got), dt_onnx_name(want->dt),
               shape_text(want));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool ok;
        if (want->dt == STR) {
            const DataStr *a = (const DataStr *)got->data->p + (got->data->splat ? 0 : i),
                          *b = (const DataStr *)want->data->p + (want->data->splat ? 0 : i);
            ok = a->n == b->n && (a->n == 0 || !memcmp(a->p, b->p, a->n));
        } else if (want->dt == C64 || want->dt == C128) {
            size_t size = dt_size(want->dt);
            ok = !memcmp((const char *)got->data->p + (got->data->splat ? 0 : i) * size,
                         (const char *)want->data->p + (want->data->splat ? 0 : i) * size, size);
        } else {
            ok = close_enough(want->dt, data_get(got->data, i), data_get(want->data, i), &worst);
        }
        if (!ok && bad++ == 0) first = i;
    }
    printf("%s: %s %s, %zu of %zu differ, largest difference %g\n", name, dt_onnx_name(got->dt), shape_text(got), bad,
           n, worst);
    if (bad && want->dt != STR && want->dt != C64 && want->dt != C128) {
        Scalar a = data_get(got->data, first), b = data_get(want->data, first);
        bool f = dt_is_float(want->dt);
        printf("  element %zu is %.9g, expected %.9g\n", first, f ? a.f : (double)a.i, f ? b.f : (double)b.i);
    }
    return bad == 0;
}

// Writes output k as output_k.pb.
static bool save(const char *dir, int k, const char *name, const Tensor *t) {
    if (!t || t->kind != K_TENSOR) return true;
    return save_tensor(arena_printf("%s/output_%d.pb", dir, k), name, t);
}

int eval_folder(Graph *g, const char *dir) {
    Tensor **in = NEWN(Tensor *, g->nin + 1), **out = NEWN(Tensor *, g->nout + 1), **want = NEWN(Tensor *, g->nout + 1);
    const char **names = NEWN(const char *, g->nin + 1);
    for (int i = 0; i < g->nin; i++) names[i] = g->in[i]->name;
    if (!load_all(dir, "input", g->nin, names, in) || !load_all(dir, "output", g->nout, g->out_name, want)) return 1;
    for (int i = 0; i < g->nin; i++) {
        if (in[i]) continue;
        error("%s has no input_%d.pb for '%s'", dir, i, names[i]);
        return 1;
    }
    int status = eval_graph(g, g->nin, in, g->nout, out), failed = 0;
    if (status) {
        error("the interpreter ends with status %d", status);
        return 1;
    }
    for (int i = 0; i < g->nout; i++)
        if (want[i])
            failed += !compare(g->out_name[i], out[i], want[i]);
        else {
            printf("%s: %s %s\n", g->out_name[i], dt_onnx_name(out[i]->dt), shape_text(out[i]));
            failed += !save(dir, i, g->out_name[i], out[i]);
        }
    return failed > 0;
}
