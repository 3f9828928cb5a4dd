// SPDX-License-Identifier: Apache-2.0
// A model file: mapped, scanned, unpacked within a budget of memory, and imported as a graph. The
// mapping and the messages stay as long as the program: constants alias them.
#include "import/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *model_domain_opset = "";
uint64_t model_file_size, model_file_hash;

// Maps a regular file; false after a diagnostic.
bool map_file(const char *path, const uint8_t **data, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (!ok)
        error("cannot be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        error("is not a regular file"), ok = false;
    else if (st.st_size == 0)
        error("is empty"), ok = false;
    if (ok) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) error("cannot be mapped: %s", strerror(errno)), ok = false;
        else mapped_add(p, (size_t)st.st_size);
        *data = p;
        *size = (size_t)st.st_size;
    }
    if (fd >= 0) close(fd);
    return ok;
}

static Onnx__ModelProto *unpack_model(const uint8_t *file, size_t size) {
    WireBudget budget = wire_budget(size);
    uint8_t *copy;
    size_t n, limit = wire_memory_limit(size);
    char err[200];
    if (wire_scan(file, size, &budget, &copy, &n, err, sizeof err) != WIRE_OK) {
        error("%s", err);
        return NULL;
    }
    static WireAllocator alloc; // the messages stay
    wire_allocator(&alloc, limit > n ? limit - n : 0);
    Onnx__ModelProto *m = onnx__model_proto__unpack(&alloc.base, n, copy);
    free(copy);
    *NEW(Onnx__ModelProto *) = m; // of each import, as --train makes some
    if (!m && alloc.refused)
        error("needs more than %zu bytes of memory to be read", limit);
    else if (!m)
        error("is not an ONNX model");
    return m;
}

// The IR version and the operator sets; false after a diagnostic.
static bool read_versions(Importer *im) {
    const Onnx__ModelProto *m = im->model;
    if (!m->graph) return error("has no graph; is it an ONNX model?"), false;
    if (m->ir_version < 1) return error("IR version %lld is invalid", (long long)m->ir_version), false;
    if (m->ir_version > 100) return error("IR version %lld is unknown", (long long)m->ir_version), false;
    im->opset = opsets_read(m->n_opset_import, m->opset_import, &im->nopset);
    if (im->nopset == 0 && m->ir_version < 3) { // files that old import none
        im->opset[0] = (Opset){intern(""), 1};
        im->nopset = 1;
    }
    Text t = {0};
    for (int i = 0; i < im->nopset; i++) {
        const char *domain = *im->opset[i].domain ? im->opset[i].domain : "ai.onnx";
        int newest = schema_newest(im->opset[i].domain);
        if (im->opset[i].version < 1)
            return error("version %lld of operator set %s is invalid", (long long)im->opset[i].version, domain), false;
        for (int k = 0; k < i; k++)
            if (im->opset[k].domain == im->opset[i].domain && im->opset[k].version != im->opset[i].version)
                return error("operator set %s is imported in two versions", domain), false;
        if (newest && im->opset[i].version > newest)
            warning("operator set %s %lld is newer than %d, the newest that is known", domain,
                    (long long)im->opset[i].version, newest);
        put(&t, "%s%s %lld", i ? ", " : "", domain, (long long)im->opset[i].version);
    }
    model_domain_opset = t.s ? arena_strdup(t.s) : "";
    return true;
}

static void add_meta(Graph *g, const char *key, const char *value) {
    if (!key || !*key || !value || !*value) return;
    g->meta[2 * g->nmeta] = intern(key);
    g->meta[2 * g->nmeta + 1] = intern(value);
    g->nmeta++;
}

static void read_meta(Graph *g, const Onnx__ModelProto *m) {
    g->meta = NEWN(const char *, 2 * (m->n_metadata_props + 6));
    add_meta(g, "producer_name", m->producer_name);
    add_meta(g, "producer_version", m->producer_version);
    add_meta(g, "domain", m->domain);
    if (m->model_version) add_meta(g, "model_version", arena_printf("%lld", (long long)m->model_version));
    add_meta(g, "doc_string", m->doc_string);
    for (size_t i = 0; i < m->n_metadata_props; i++)
        add_meta(g, m->metadata_props[i]->key, m->metadata_props[i]->value);
}

// The named dimensions of the model's inputs; "none".
static const char *dimension_names(const Onnx__GraphProto *g) {
    Text t = {0};
    for (size_t i = 0; i < g->n_input; i++) {
        const Onnx__TypeProto *type = g->input[i]->type;
        if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type->shape) continue;
        for (size_t k = 0; k < type->tensor_type->shape->n_dim; k++) {
            const Onnx__TensorShapeProto__Dimension *d = type->tensor_type->shape->dim[k];
            if (d->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM || !*d->dim_param) continue;
            const char *name = arena_printf("%s%s", t.n ? ", " : "", d->dim_param), *at = t.s ? strstr(t.s, d->dim_param) : NULL;
            size_t n = strlen(d->dim_param);
            while (at && ((at > t.s && at[-1] != ' ') || (at[n] && at[n] != ','))) at = strstr(at + 1, d->dim_param);
            if (!at && t.n < 400) put(&t, "%s", name);
        }
    }
    return t.n ? t.s : "none";
}

// Options that name what the model does not have are mistakes of the user.
static void check_options(const Importer *im) {
    for (int i = 0; i < im->opt->ndim; i++)
        if (!im->dim_used[i])
            error("--dim %s: the model's inputs have no dimension of that name: %s", im->opt->dim[i].name, dimension_names(im->model->graph));
    for (int i = 0; i < im->opt->nshape; i++)
        if (!im->shape_used[i]) error("--shape %s: the model has no input of that name", im->opt->shape[i].name);
    for (int i = 0; i < im->opt->nvalue; i++)
        if (!im->value_used[i]) error("--value %s: the model has no input of that name", im->opt->value[i].name);
}

Graph *import_model(const char *path, const Options *opt) {
    static Importer importer; // keeps what outlives this call reachable
    Importer *im = &importer;
    Options own = *opt;
    own.model = path;
    *im = (Importer){.opt = &own};
    diag_file = path;
    diag_pass = "import";
    if (!map_file(path, &im->file, &im->size)) return NULL;
    if (opt->entry == ENTRY_STEP && !opt->any_batch) {
        model_file_size = im->size;
        model_file_hash = 1469598103934665603u;
        for (size_t i = 0; i < im->size; i++) model_file_hash = (model_file_hash ^ im->file[i]) * 1099511628211u;
    }
    im->model = unpack_model(im->file, im->size);
    if (!im->model || !read_versions(im)) return NULL;
    if (opt->training_info) {
        keep(im->model->graph);
        const Onnx__GraphProto *g = training_graph(im->model, opt->training_info);
        if (!g) return NULL;
        im->model->graph = (Onnx__GraphProto *)(intptr_t)g;
    }
    im->dim_used = NEWN(bool, opt->ndim + 1);
    im->shape_used = NEWN(bool, opt->nshape + 1);
    im->value_used = NEWN(bool, opt->nvalue + 1);
    functions_read(im);
    if (opt->train) places_find(&im->places, im->file, im->size);
    if (opt->grad || opt->train) constants_as_initializers(im->model->graph);
    if (opt->nlora) lora_adapt(im);
    used_names(im);
    Graph *g = graph_new(NULL);
    g->name = im->model->graph->name ? intern(im->model->graph->name) : "";
    read_meta(g, im->model);
    import_graph(im, g, im->model->graph);
    check_options(im);
    report_unsupported(im);
    im->opt = NULL;
    return diag_errors ? NULL : g;
}
