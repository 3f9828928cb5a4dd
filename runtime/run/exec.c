// SPDX-License-Identifier: Apache-2.0
// One call of a loaded model: pair values with ports, size and allocate, run, collect, time.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../packed.h"
#include "run.h"

enum { ROUNDS = 20, GUESS_BYTES = 4096, GUESS_ITEMS = 16, MORE_WORK = 1 << 16 };
static const size_t byte_limit = (size_t)1 << 32; /* of all outputs, when their sizes are guessed */

/* What a call is made with. */
typedef struct {
    const cnn_model *m;
    const RunPlan *plan;
    Value **given; /* for each input port */
    int64_t *sym;
    cnn_tensor *in, *out;
    void **made; /* what out's data were before the call */
    size_t grow, allocated; /* grow: 1 in the first round, doubled after ECAPACITY */
    cnn_ctx ctx;
    Kept *kept; /* of each state */
    cnn_profile *nests; /* of --profile, or NULL */
} Call;

const char *exec_status(int status) {
    static const char *const name[] = {
        "OK",
        "ESHAPE: an input's shape does not fit the model",
        "ECAPACITY: a tensor needs more room than it has",
        "EWORK: the work area is missing, too small or not aligned",
        "EWEIGHTS: the weights are missing or not this model's",
        "EINDEX: an index points outside its data",
        "EVALUE: a value outside an operator's domain",
        "EDATA: malformed bytes",
    };
    return status >= 0 && status < (int)(sizeof name / sizeof *name) ? name[status] : "unknown";
}

int exec_port(const cnn_port *port, int n, const char *name, int position) {
    for (int i = 0; name && *name && i < n; i++)
        if (strcmp(port[i].name, name) == 0) return i;
    return position >= 0 && position < n ? position : -1;
}

static bool is_list(const cnn_port *p) {
    return p->kind == CNN_SEQUENCE || p->kind == CNN_SEQUENCE_OF_MAPS || p->kind == CNN_OPTIONAL_SEQUENCE;
}

static bool is_optional(const cnn_port *p) { return p->kind == CNN_OPTIONAL || p->kind == CNN_OPTIONAL_SEQUENCE; }

/* ---- inputs ---- */

static bool check_port(const cnn_port *p, Value *v, bool convert) {
    if (v->kind != VAL_TENSOR || is_list(p)) return true;
    if (p->type != v->type && p->type != 0) {
        if (!convert && !(type_is_float(p->type) && type_is_float(v->type)))
            return run_error("input '%s' is %s, the model takes %s", p->name, type_name(v->type), type_name(p->type));
        if (!value_convert(v, p->type)) return false;
    }
    if (p->rank >= 0 && p->rank != v->rank)
        return run_error("input '%s' has %d dimensions, the model takes %d", p->name, v->rank, p->rank);
    for (int i = 0; i < p->rank; i++)
        if (p->dim[i] >= 0 && p->dim[i] != v->dim[i])
            return run_error("input '%s': dimension %d is %lld, the model takes %lld", p->name, i, (long long)v->dim[i],
                             (long long)p->dim[i]);
    return true;
}

static void learn_symbols(Call *c, const cnn_port *p, const Value *v) {
    if (v->kind == VAL_SEQUENCE && v->count > 0 && v->item[0].kind == VAL_TENSOR) v = &v->item[0];
    if (v->kind != VAL_TENSOR) return;
    for (int i = 0; i < p->rank && i < v->rank; i++)
        if (p->dim[i] < 0 && p->sym && p->sym[i] >= 0 && p->sym[i] < c->m->n_sym && c->sym[p->sym[i]] < 0)
            c->sym[p->sym[i]] = v->dim[i];
}

/* A value for an input that was not given: floats in [0, 1), everything else zero. */
static bool make_up(const Call *c, const cnn_port *p, Value *v) {
    int64_t dim[MAX_RANK] = {0};
    uint64_t state = 0x9E3779B97F4A7C15u;
    if (p->kind != CNN_TENSOR || p->rank < 0 || p->rank > MAX_RANK)
        return run_error("input '%s' must be given", p->name);
    for (int i = 0; i < p->rank; i++) {
        int s = p->sym ? p->sym[i] : -1;
        dim[i] = p->dim[i] >= 0 ? p->dim[i] : s >= 0 && c->sym[s] >= 0 ? c->sym[s] : 1;
    }
    if (!value_tensor(v, p->type, p->rank, dim)) return false;
    for (size_t i = 0, n = value_count(v); type_is_float(p->type) && i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        number_set(p->type, v->data, i, (double)(state >> 40) * 0x1p-24);
    }
    return true;
}

/* ---- states ---- */

void kept_free(Kept *k, int n) {
    for (int i = 0; k && i < n; i++) guard_free(k[i].data);
    free(k);
}

static int state_of(const cnn_model *m, int port, bool input) {
    for (int i = 0; i < m->n_state; i++)
        if ((input ? m->state[i].in : m->state[i].out) == port) return i;
    return -1;
}

/* The input that stands for a state: what was kept, else what is given, else nothing or zeros. */
static bool state_input(Call *c, int s, Value *v) {
    const cnn_port *p = &c->m->in[c->m->state[s].in];
    Kept *k = &c->kept[s];
    if (!k->data && c->given[c->m->state[s].in]) return true;
    if (p->rank > MAX_RANK) return run_error("input '%s' has too many dimensions", p->name);
    for (int i = 0; !k->data && i < p->rank; i++) {
        int sym = p->sym ? p->sym[i] : -1;
        bool grows = i == c->m->state[s].axis;
        k->dim[i] = p->dim[i] >= 0 ? p->dim[i] : grows ? 0 : sym >= 0 && c->sym[sym] >= 0 ? c->sym[sym] : 1;
    }
    c->given[c->m->state[s].in] = v;
    if (!value_tensor(v, p->type, p->rank, k->dim)) return false;
    learn_symbols(c, p, v);
    return true;
}

/* Moves a tensor into memory whose axis has room for `cap` elements, or back. */
static void move_state(const Value *v, int axis, int64_t cap, void *room, bool in) {
    size_t run = type_size(v->type), outer = 1, step;
    for (int i = 0; i < v->rank; i++) {
        if (i < axis) outer *= (size_t)v->dim[i];
        else run *= (size_t)v->dim[i];
    }
    step = axis < 0 || v->dim[axis] == 0 ? run : run / (size_t)v->dim[axis] * (size_t)cap;
    for (size_t i = 0; i < outer && run > 0; i++) {
        char *full = (char *)v->data + i * run, *kept = (char *)room + i * step;
        memcpy(in ? kept : full, in ? full : kept, run);
    }
}

/* ---- pairing ---- */

static bool pair_inputs(Call *c, Value *in, size_t n_in, Value *made) {
    const cnn_model *m = c->m;
    for (size_t j = 0; j < n_in; j++) {
        int i = exec_port(m->in, m->n_in, in[j].name, (int)j);
        if (i < 0 || c->given[i]) return run_error("the model has no input for '%s'", in[j].name ? in[j].name : "");
        c->given[i] = &in[j];
        if (!check_port(&m->in[i], &in[j], c->plan->convert)) return false;
        int s = state_of(m, i, true);
        if (s >= 0 && c->kept[s].data) {
            c->given[i] = NULL; /* only the first run starts from it */
            continue;
        }
        learn_symbols(c, &m->in[i], &in[j]);
    }
    for (int i = 0; i < m->n_in; i++) {
        if (c->given[i] || state_of(m, i, true) >= 0) continue;
        if (!is_optional(&m->in[i]) && !c->plan->fill) return run_error("input '%s' is not given", m->in[i].name);
        if (!is_optional(&m->in[i]) && !make_up(c, &m->in[i], &made[i])) return false;
        c->given[i] = &made[i];
        learn_symbols(c, &m->in[i], &made[i]);
    }
    for (int s = 0; s < m->n_state; s++)
        if (!state_input(c, s, &made[m->state[s].in])) return false;
    for (int i = 0; i < m->n_sym; i++)
        if (c->sym[i] < 0) c->sym[i] = 1;
    return true;
}

/* The memory of each state as input and output; a first run copies into it what was given. */
static bool bind_states(Call *c) {
    for (int s = 0; s < c->m->n_state; s++) {
        const cnn_state *st = &c->m->state[s];
        const Value *v = c->given[st->in];
        Kept *k = &c->kept[s];
        cnn_tensor *t = &c->in[st->in];
        if (!k->data) {
            size_t count = 1;
            for (int i = 0; i < v->rank; i++) {
                k->dim[i] = v->dim[i];
                count *= (size_t)(i == st->axis ? st->cap : v->dim[i]);
            }
            if (st->axis >= 0 && v->dim[st->axis] > st->cap)
                return run_error("input '%s' is longer than its capacity", c->m->in[st->in].name);
            if (!type_bytes(v->type, count, &k->bytes)) return run_error("a state is too large");
            k->data = guard_alloc(k->bytes);
            move_state(v, st->axis, st->cap, k->data, true);
        }
        t->data = k->data;
        t->cap = k->bytes;
    }
    return true;
}

static size_t tensor_bytes(const Value *v) {
    size_t bytes = 0;
    return type_bytes(v->type, value_count(v), &bytes) ? bytes : 0;
}

/* The generated code's view of a value; the value keeps the memory. */
static void view(Value *v, cnn_tensor *t) {
    *t = (cnn_tensor){.type = v->type, .rank = v->rank, .shape = v->dim};
    if (v->kind == VAL_TENSOR) {
        t->data = v->data;
        t->cap = tensor_bytes(v);
    } else if (v->kind == VAL_SEQUENCE || v->kind == VAL_MAP) {
        cnn_sequence *s = run_calloc(1, sizeof *s);
        size_t pair = v->count > 0 && v->item[0].kind == VAL_MAP ? 2 : 1;
        s->count = s->cap = pair * v->count;
        s->item = run_calloc(s->cap, sizeof *s->item);
        for (size_t i = 0; i < v->count; i++) {
            Value *x = &v->item[i];
            if (pair == 1)
                view(x, &s->item[i]);
            else
                for (size_t k = 0; k < 2; k++) view(&x->item[k], &s->item[2 * i + k]);
        }
        t->data = s;
        t->cap = sizeof *s;
    }
}

/* The same of an input: its elements may have to be packed. */
static void view_port(Value *v, const cnn_port *p, cnn_tensor *t) {
    view(v, t);
    if (p->kind != CNN_TENSOR || v->kind != VAL_TENSOR || !type_packed(v->type)) return;
    (void)type_port_bytes(v->type, value_count(v), &t->cap);
    t->data = guard_alloc(t->cap);
    cnn_pack(v->data, t->data, (int64_t)value_count(v), type_packed(v->type));
}

static void view_free(const Value *v, cnn_tensor *t) {
    if (v->kind == VAL_TENSOR && t->data != v->data && type_packed(v->type)) guard_free(t->data);
    if (v->kind != VAL_SEQUENCE && v->kind != VAL_MAP) return;
    cnn_sequence *s = t->data;
    for (size_t i = 0; s && i < v->count; i++)
        if (v->item[i].kind == VAL_SEQUENCE) view_free(&v->item[i], &s->item[i]);
    if (s) free(s->item);
    free(s);
}

/* ---- outputs ---- */

/* Bytes for a tensor whose extents may be unknown. */
static size_t room_for(Call *c, int type, int rank, const int64_t *shape) {
    size_t known = 1, bytes = 0;
    bool guess = rank < 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            guess = true;
        else if (__builtin_mul_overflow(known, (size_t)shape[i], &known))
            known = SIZE_MAX / 256;
    }
    if (!type_bytes(type ? type : CNN_COMPLEX128, known, &bytes)) bytes = byte_limit;
    if (guess) bytes = (bytes > GUESS_BYTES ? bytes : GUESS_BYTES) * c->grow;
    c->allocated += bytes;
    return bytes < byte_limit || !guess ? bytes : byte_limit;
}

static void alloc_tensor(Call *c, cnn_tensor *t, int type, int rank, const int64_t *shape) {
    t->type = type;
    t->rank = rank >= 0 ? rank : MAX_RANK;
    t->shape = run_calloc(MAX_RANK, sizeof *t->shape);
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i];
    t->cap = room_for(c, type, rank, shape);
    t->data = guard_alloc(t->cap);
    if (c->plan->bench == 0 && t->cap <= (size_t)1 << 24)
        memset(t->data, 0xFF, t->cap); /* what is not written shows: NaN, -1 */
}

static bool alloc_output(Call *c, int o) {
    const cnn_port *p = &c->m->out[o];
    int64_t shape[MAX_RANK];
    if (p->rank > MAX_RANK) return run_error("output '%s' has too many dimensions", p->name);
    for (int i = 0; i < p->rank; i++) shape[i] = p->dim ? p->dim[i] : -1;
    if (state_of(c->m, o, false) >= 0) { /* its memory is the input's */
        c->out[o] = (cnn_tensor){.type = p->type, .rank = p->rank, .shape = run_calloc(MAX_RANK, sizeof(int64_t))};
        return true;
    }
    bool list = is_list(p);
    if (!list && p->rank >= 0 && c->m->out_shape) {
        int status = c->m->out_shape(c->sym, o, shape);
        if (status != CNN_OK) return run_error("the shape of output '%s': %s", p->name, exec_status(status));
    }
    if (!list) {
        alloc_tensor(c, &c->out[o], p->type, p->rank, shape);
        return true;
    }
    cnn_sequence *s = run_calloc(1, sizeof *s);
    s->cap = GUESS_ITEMS * (p->kind == CNN_SEQUENCE_OF_MAPS ? 2u : 1u) * c->grow;
    s->item = run_calloc(s->cap, sizeof *s->item);
    for (size_t i = 0; i < s->cap; i++) alloc_tensor(c, &s->item[i], p->type, p->rank, shape);
    c->out[o] = (cnn_tensor){.data = s, .cap = sizeof *s, .type = p->type, .rank = p->rank};
    return true;
}

static void free_outputs(Call *c) {
    for (int o = 0; o < c->m->n_out; o++) {
        cnn_tensor *t = &c->out[o];
        cnn_sequence *s = is_list(&c->m->out[o]) ? c->made[o] : NULL;
        for (size_t i = 0; s && i < s->cap; i++) {
            guard_free(s->item[i].data);
            free(s->item[i].shape);
        }
        if (s) free(s->item);
        if (is_list(&c->m->out[o])) free(s);
        else guard_free(c->made[o]);
        free(t->shape);
        *t = (cnn_tensor){0};
        c->made[o] = NULL;
    }
}

static bool alloc_call(Call *c) {
    int threads = c->plan->threads > 0 ? c->plan->threads : 1;
    size_t work = c->m->work_size ? c->m->work_size(c->sym, threads) : 0;
    c->allocated = 0;
    for (int o = 0; o < c->m->n_out; o++)
        if (!alloc_output(c, o)) return false;
        else c->made[o] = c->out[o].data;
    size_t more = c->grow > 1 ? (work > MORE_WORK ? work : MORE_WORK) : 0; /* tensors whose size depends on data */
    if (more > SIZE_MAX / 4 / c->grow) return run_error("the work area is too large: %zu bytes", work);
    c->ctx.work_size = work + more * (c->grow - 1);
    c->ctx.work = guard_alloc(c->ctx.work_size);
    if (c->plan->bench == 0 && work <= (size_t)1 << 24) memset(c->ctx.work, 0xFF, work);
    c->ctx.seed = c->plan->seed;
    c->ctx.threads = threads;
    return true;
}

/* ---- after the call ---- */

static bool collect_tensor(const cnn_tensor *t, int rank, const char *name, Value *v) {
    size_t bytes;
    rank = t->rank >= 0 && t->rank <= MAX_RANK ? t->rank : rank;
    if (!t->data) return true; /* an absent optional */
    if (!value_tensor(v, t->type, rank, t->shape) || !type_bytes(t->type, value_count(v), &bytes))
        return run_error("output '%s': its shape is not valid: %s", name, run_message());
    if (bytes > t->cap) return run_error("output '%s': %zu bytes by its shape, room for %zu", name, bytes, t->cap);
    if (t->type != CNN_STRING) {
        if (bytes > 0) memcpy(v->data, t->data, bytes);
        return true;
    }
    const cnn_string *s = t->data;
    for (size_t i = 0, n = value_count(v); i < n; i++) value_string(v, i, s[i].ptr, s[i].len);
    return true;
}

/* Of an output whose elements are packed. */
static bool collect_packed(const cnn_tensor *t, const char *name, Value *v) {
    size_t bytes;
    if (!value_tensor(v, t->type, t->rank, t->shape) || !type_port_bytes(t->type, value_count(v), &bytes))
        return run_error("output '%s': its shape is not valid: %s", name, run_message());
    if (bytes > t->cap) return run_error("output '%s': %zu bytes by its shape, room for %zu", name, bytes, t->cap);
    cnn_unpack(t->data, v->data, (int64_t)value_count(v), type_packed(v->type), type_extends(v->type));
    return true;
}

static bool collect_list(const cnn_sequence *s, const cnn_port *p, Value *v) {
    bool maps = p->kind == CNN_SEQUENCE_OF_MAPS;
    if (s->count > s->cap || (maps && s->count % 2))
        return run_error("output '%s': %zu items, room for %zu", p->name, s->count, s->cap);
    value_list(v, VAL_SEQUENCE, maps ? s->count / 2 : s->count);
    for (size_t i = 0; i < v->count; i++) {
        Value *x = &v->item[i];
        if (!guard_whole(s->item[i].data, s->item[i].cap)) return run_error("written past the end of item %zu of output '%s'", i, p->name);
        if (!maps) {
            if (!collect_tensor(&s->item[i], p->rank, p->name, x)) return false;
            continue;
        }
        value_list(x, VAL_MAP, 2);
        for (size_t k = 0; k < 2; k++)
            if (!collect_tensor(&s->item[2 * i + k], 1, p->name, &x->item[k])) return false;
    }
    return true;
}

/* The state as it is after the run, and kept so. */
static bool collect_state(Call *c, int s, Value *v) {
    const cnn_state *st = &c->m->state[s];
    const cnn_tensor *t = &c->out[st->out];
    Kept *k = &c->kept[s];
    if (!guard_whole(k->data, k->bytes)) return run_error("written past the end of state '%s'", c->m->in[st->in].name);
    if (!value_tensor(v, t->type, t->rank, t->shape)) return false;
    move_state(v, st->axis, st->cap, k->data, false);
    for (int i = 0; i < t->rank; i++) k->dim[i] = t->shape[i];
    return true;
}

static bool collect(Call *c, Value *out) {
    if (!guard_whole(c->ctx.work, c->ctx.work_size)) return run_error("written past the end of the work area");
    for (int o = 0; o < c->m->n_out; o++) {
        const cnn_port *p = &c->m->out[o];
        const cnn_tensor *t = &c->out[o];
        value_name(&out[o], p->name, strlen(p->name));
        int s = state_of(c->m, o, false);
        if (s >= 0) {
            if (!collect_state(c, s, &out[o])) return false;
            continue;
        }
        if (is_list(p)) {
            if (t->data && !collect_list(t->data, p, &out[o])) return false;
            continue;
        }
        if (t->data && !guard_whole(t->data, t->cap)) return run_error("written past the end of output '%s'", p->name);
        bool packed = p->kind == CNN_TENSOR && t->data && type_packed(t->type);
        if (packed ? !collect_packed(t, p->name, &out[o]) : !collect_tensor(t, p->rank, p->name, &out[o])) return false;
    }
    return true;
}

/* ---- running ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int bench(const Call *c) {
    int n = c->plan->bench, status = CNN_OK;
    double *ms = run_alloc((size_t)n * sizeof *ms), total = 0;
    profile_reset(c->nests);
    for (int i = 0; i < n && status == CNN_OK; i++) {
        double t = now_ms();
        status = c->m->run(&c->ctx, c->in, c->out);
        ms[i] = now_ms() - t;
        total += ms[i];
    }
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    if (c->plan->median) *c->plan->median = ms[n / 2];
    else if (status == CNN_OK) {
        const int digits = ms[n / 2] < 0.1 ? 6 : 3;
        printf("median %.*f ms  min %.*f ms  max %.*f ms  (%d runs, %d threads)\n", digits, ms[n / 2], digits, ms[0], digits,
               ms[n - 1], n, c->ctx.threads);
    }
    if (status == CNN_OK && c->nests && !c->plan->median) profile_print(c->nests, n, total / n, c->ctx.threads > 1 ? c->ctx.threads : 1);
    free(ms);
    return status;
}

/* Runs with outputs and a work area that grow until they suffice. */
static bool run_call(Call *c, Value *out) {
    int status = CNN_ECAPACITY;
    for (int round = 0; round < ROUNDS && status == CNN_ECAPACITY; round++, c->grow *= 2) {
        bool ok = alloc_call(c);
        if (ok) {
            status = c->m->run(&c->ctx, c->in, c->out);
            if (status == CNN_OK && c->plan->bench > 0) status = bench(c);
            ok = status == CNN_OK ? collect(c, out) : status == CNN_ECAPACITY;
            if (ok && status == CNN_OK && c->plan->limits) ok = limits_check(c->m, &c->ctx, c->sym, c->in, c->out);
            if (!ok && status != CNN_OK) run_error("the run returned %s", exec_status(status));
        }
        size_t used = c->allocated;
        free_outputs(c);
        guard_free(c->ctx.work);
        c->ctx.work = NULL;
        if (!ok) return false;
        if (used > byte_limit || c->ctx.work_size > byte_limit) break;
    }
    return status == CNN_OK || run_error("the run returned %s", exec_status(status));
}

bool exec_model(const Loaded *l, const RunPlan *plan, Value *in, size_t n_in, Value **out) {
    const cnn_model *m = l->model;
    size_t ni = (size_t)m->n_in, no = (size_t)m->n_out;
    Call c = {.m = m, .plan = plan, .grow = 1, .nests = plan->profile ? l->nests : NULL};
    Value *made = run_calloc(ni, sizeof *made);
    c.given = run_calloc(ni, sizeof *c.given);
    c.in = run_calloc(ni, sizeof *c.in);
    c.out = run_calloc(no, sizeof *c.out);
    c.made = run_calloc(no, sizeof *c.made);
    c.sym = run_calloc((size_t)m->n_sym, sizeof *c.sym);
    c.kept = plan->kept ? plan->kept : run_calloc((size_t)m->n_state, sizeof *c.kept);
    c.ctx.weights = l->weights;
    for (int i = 0; i < m->n_sym; i++) c.sym[i] = -1;
    *out = run_calloc(no, sizeof **out);
    bool ok = pair_inputs(&c, in, n_in, made);
    if (ok) {
        for (size_t i = 0; i < ni; i++) view_port(c.given[i], &m->in[i], &c.in[i]);
        ok = bind_states(&c) && run_call(&c, *out);
        for (size_t i = 0; i < ni; i++) view_free(c.given[i], &c.in[i]);
    }
    values_free(made, ni);
    free(c.given);
    free(c.in);
    free(c.out);
    free(c.made);
    free(c.sym);
    if (!plan->kept) kept_free(c.kept, m->n_state);
    if (!ok) {
        values_free(*out, no);
        *out = NULL;
    }
    return ok;
}
