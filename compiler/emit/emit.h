// SPDX-License-Identifier: Apache-2.0
// Printing C from loop trees. Text of C is made in emit/ only.
#ifndef CNNCC_EMIT_H
#define CNNCC_EMIT_H
#include "loop/loop.h"

typedef struct { const char **name; int *id; int n, cap; size_t at; } NameTable; // interned names to numbers >= 0

// What one C file is made of. Parts of the runtime are noted by name as they are used.
typedef struct {
    const Program *p;
    const Options *opt;
    const char *prefix;
    const char *family;   // prefix of the nests' functions, which programs of one file share
    Text funcs, main;     // outlined functions; the body of run
    const char **need; int nneed, cap_need;
    const char **vec; int nvec, cap_vec; // vector types in use: "f32 8"
    const char **vecfn; int nvecfn, cap_vecfn; // functions of vectors in use: "cnn_expf 8", after those that they call
    int nfunc, npart, nnest; // functions; loops over threads; nests, of which identical ones share a function
    Text profile;         // --profile: rows of its table, one for each nest
    NameTable shared;     // functions by their share_key
    bool apart;           // functions of nests are not inlined: gcc forgets there that pointers are restrict
    bool in_func;         // printing an outlined function: its status is `st`
    Buf **scratch; int nscratch; // of the function being printed, to be declared by each thread
} Emit;

// emit/scalar.c
const char *c_type(DType dt);                    // of an element in memory
const char *port_type(const Val *v);             // of what an input or output points to
const char *c_compute(DType dt);                 // of a value being computed: float for the half types
void need(Emit *e, const char *part);            // a runtime part and, later, what it needs
void put_ex(Emit *e, Text *t, Ex x);             // an integer expression
void put_sx(Emit *e, Text *t, const Sx *x);      // a scalar or vector expression
void put_ranges(Emit *e, Text *t, int n, const Range *r); // a && b …
void put_number(Emit *e, Text *t, DType dt, Scalar v);
void put_to_memory(Emit *e, Text *t, DType dt, const char *value); // compute type -> memory type
Buf *buf_home(const Buf *b, Ex *at);             // the buffer whose memory it uses

// emit/body.c
void indent_by(Text *t, int n);
void put_stmts(Emit *e, Text *t, const Stmt *s, int indent);

// emit/func.c
void put_func(Emit *e, Text *call, const Stmt *s, int indent); // an outlined function, and its call
bool put_parallel(Emit *e, Text *t, const Stmt *s, int indent); // a loop over threads as a function, and its calls; false: it uses locals from outside
void put_scratch(Emit *e, Text *t, const Stmt *body, int indent); // each thread's copy of the function's scratch buffers that the body uses

// emit/share.c
void names_put(NameTable *t, const char *name, int id);
int names_get(NameTable *t, const char *name);   // name is interned; -1: not there
const char *share_key(NameTable *own, const char *text); // the text with the names of `own` (all 0) numbered; interned

// emit/api.c
void put_header(Emit *e, Text *t);
void put_api(Emit *e, Text *t);
void put_entry(Emit *e, Text *t);                // PREFIX_work_of and PREFIX_run_array, static, constants inline
const char *c_name(const char *name);            // a C identifier from a model's name
const char *c_var(Ex var);                       // of an index variable or, with n_ in front, a symbol
int program_symbols(const Program *p, Ex **sym); // the input shapes' symbols in order of appearance

// emit/model.c
void put_functions(const Emit *e, Text *t);     // the outlined functions
void put_top(Emit *e, Text *t, const char *header); // comment, includes; every needed part is known by then
void put_parts(Emit *e, Text *t);
const char *file_stem(const char *path);
const char *with_ending(const char *path, const char *ending);
void text_replace(Text *t, const char *mark, const char *by);
const char *runtime_text(const char *part);
bool has_part(const Emit *e, const char *part); // whether the C file has it
const char *runtime_needs(const char *part);    // the parts it calls, with spaces between

// emit/vector.c
const char *vector_type(Emit *e, DType dt, int lanes);
void need_vector(Emit *e, const char *part, int lanes); // a function of the runtime, for vectors of so many
void put_vectors(Emit *e, Text *t);              // types and functions

// emit/train_io.c: of --train: the table of parameters and their first values, checkpoints, export
void put_param_table(Emit *e, Text *t, const Params *p);
bool put_first_values(Emit *e, Text *t, const Params *p); // false after a diagnostic
void put_checkpoint(Emit *e, Text *t, const Params *p, const char *optimizer, int nstate);
void put_export(Emit *e, Text *t, const Params *p);

// emit/weights.c
uint64_t weights_layout(Emit *e, bool file);     // offsets of used weights; total bytes
void put_weights(Emit *e, Text *t);              // as literals
bool write_weights(Emit *e, const char *path, uint64_t size, uint64_t *hash);
#endif
