// SPDX-License-Identifier: Apache-2.0
// cnncc-run: compiles an ONNX model with cnncc and a C compiler, loads the result and runs it.
//
//   main.c     the command line             build.c   model.onnx -> m.c -> m.so -> descriptor
//   value.c    tensors, sequences, maps     exec.c    bind values to ports, allocate, run, time
//   number.c   element types as numbers     compare.c expected against got
//   limits.c   calls that must be refused
//   pb.c npy.c files of values              test.c    test_data_set_* folders
//                                           batch.c   many models, each in a process of its own
//   profile.c  time by nest                 tune.c    the fastest forms of the nests
//   util.c     messages, files, processes
#ifndef CNNCC_RUN_H
#define CNNCC_RUN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../abi.h"
#include "../profile.h"

enum { EXIT_MODEL = 1, EXIT_USAGE = 2, EXIT_BUG = 70, MAX_RANK = 32, PATH_ROOM = 4096 };

#if defined(__GNUC__)
#define RUN_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define RUN_PRINTF(a, b)
#endif

/* ---- util.c ---- */

/* Keeps a message for run_message() and returns false, so that `return run_error(...)` reads well. */
bool run_error(const char *format, ...) RUN_PRINTF(1, 2);
/* The last message of run_error(). */
const char *run_message(void);
/* malloc, calloc, realloc and strdup that end the program when memory is out. */
void *run_alloc(size_t size);
void *run_calloc(size_t count, size_t size);
void *run_realloc(void *old, size_t size);
char *run_strdup(const char *text);
/* snprintf into a path buffer; false when the result is too long. */
bool run_path(char path[PATH_ROOM], const char *format, ...) RUN_PRINTF(2, 3);
/* Reads a whole file; the caller frees it. One NUL follows the bytes. */
bool run_read_file(const char *path, uint8_t **bytes, size_t *size);
/* Writes a whole file. */
bool run_write_file(const char *path, const void *bytes, size_t size);
bool run_is_file(const char *path);
bool run_is_dir(const char *path);
/* Makes a folder if it is not there. */
bool run_make_dir(const char *path);
/* Removes a folder and what is in it. */
void run_remove_tree(const char *path);
bool run_ends_with(const char *text, const char *end);
/* The last part of a path, without folders and without the last extension. */
void run_stem(const char *path, char *out, size_t room);
/* Starts a program and waits; its output goes to `log` (or the terminal when NULL). Returns its
   exit code, or 128 + the signal that ended it. */
int run_spawn(char *const argv[], const char *log);

/* A growing list of words, NULL at the end. */
typedef struct {
    char **word;
    size_t count, cap;
} Words;

/* Adds a copy of a word. */
void words_add(Words *w, const char *word);
/* Adds every word of a text, split at white space. */
void words_split(Words *w, const char *text);
void words_free(Words *w);

/* ---- value.c ---- */

typedef enum { VAL_ABSENT, VAL_TENSOR, VAL_SEQUENCE, VAL_MAP } ValueKind;

/* What a model takes or gives. A map has two items: keys and values. Strings own their bytes. */
typedef struct Value {
    ValueKind kind;
    char *name;
    int type, rank;
    int64_t dim[MAX_RANK];
    void *data; /* row-major, 64-byte aligned; 2-, 4- and 6-bit types take a byte each, as within generated code */
    struct Value *item;
    size_t count;
} Value;

/* Bytes of one element, 0 for a type that is not known; strings count as cnn_string. */
size_t type_size(int type);
/* Bits of one element where ONNX packs several into a byte, else 0. */
unsigned type_packed(int type);
bool type_extends(int type); /* unpacked with their sign */
/* Bytes of a tensor that is an input or output: elements of 2, 4 and 6 bits are packed. */
bool type_port_bytes(int type, size_t count, size_t *bytes);
const char *type_name(int type);
bool type_is_float(int type);
/* Bytes of `count` elements; false on overflow or an unknown type. */
bool type_bytes(int type, size_t count, size_t *bytes);
/* Product of the extents; false when negative or too large. */
bool shape_count(int rank, const int64_t *dim, size_t *count);

/* 64-byte aligned memory with a guard behind it that guard_whole() checks. */
void *guard_alloc(size_t size);
void guard_free(void *data);
/* Whether nothing was written behind `size` bytes of guard_alloc(size). */
bool guard_whole(const void *data, size_t size);

/* Makes a tensor of zeros. */
bool value_tensor(Value *v, int type, int rank, const int64_t *dim);
/* Makes a sequence or a map of absent items. */
void value_list(Value *v, ValueKind kind, size_t count);
void value_name(Value *v, const char *name, size_t len);
void value_string(Value *v, size_t i, const char *text, size_t len);
size_t value_count(const Value *v);
void value_free(Value *v);
void values_free(Value *v, size_t count);
/* Prints type, shape and the first elements. */
void value_print(FILE *f, const Value *v);
/* Changes the element type of a tensor of numbers. */
bool value_convert(Value *v, int type);

/* ---- number.c ---- */

/* One element as a number; half and smaller floats are exact in a double. */
double number_get(int type, const void *data, size_t i);
void number_set(int type, void *data, size_t i, double x);
/* One integer element; unsigned 64-bit values keep their bits. */
int64_t number_int(int type, const void *data, size_t i);
/* One element as text. */
void number_text(int type, const void *data, size_t i, char *out, size_t room);

/* ---- pb.c and npy.c ---- */

/* The name inside a TensorProto, SequenceProto or OptionalProto, "" when it has none. */
void pb_name(const uint8_t *bytes, size_t size, char *out, size_t room);
/* Decodes a file's bytes as what a port of this kind holds. */
bool pb_decode(const uint8_t *bytes, size_t size, int kind, Value *v);
bool pb_load(const char *path, int kind, Value *v);
/* Writes a tensor or a sequence. */
bool pb_save(const char *path, const Value *v);
/* `type` says how to read bytes that numpy has no type for (V1, V2). */
bool npy_load(const char *path, int type, Value *v);
bool npy_save(const char *path, const Value *v);

/* ---- build.c ---- */

/* How to make a model runnable. */
typedef struct {
    const char *cc; /* NULL: $CC or the first of the known compilers */
    const char *prefix;
    Words options;   /* for cnncc */
    const char *dir; /* a folder for what is made; the caller removes it */
    bool quiet;      /* keep the tools' messages in DIR/log instead of printing them */
} BuildPlan;

/* What build_model() says beside the model. */
typedef enum { BUILD_OK, BUILD_REFUSED, BUILD_BROKEN } BuildResult;

/* A loaded model. */
typedef struct {
    void *handle;
    const cnn_model *model;
    cnn_profile *nests; /* of C made with --profile, ended by one without a name; else NULL */
    void *weights;
    size_t weights_bytes;
} Loaded;

/* Compiles and loads MODEL.onnx, MODEL.c or MODEL.so. REFUSED: cnncc said what is wrong with the
   model; BROKEN: anything else (see run_message()). */
BuildResult build_model(const char *path, const BuildPlan *plan, Loaded *out);
void build_unload(Loaded *l);

/* ---- exec.c ---- */

/* A state of a model (cnn_state), kept from run to run: its memory and its true shape. */
typedef struct {
    void *data; /* NULL before the first run */
    size_t bytes;
    int64_t dim[MAX_RANK];
} Kept;
void kept_free(Kept *k, int n);

/* What one run is given beside its inputs. */
typedef struct {
    int threads;
    uint64_t seed;
    bool convert; /* numbers convert to what the function takes */
    bool fill;    /* inputs that are missing are made up */
    Kept *kept;   /* of each state, or NULL: every run starts anew */
    int bench;    /* runs to time, 0: none; the median and so on are printed */
    bool profile; /* the times of its nests, too */
    double *median; /* of `bench`, in ms: where it goes instead of being printed; NULL: nowhere */
    bool limits;  /* also calls that must be refused */
} RunPlan;

/* Runs once (or `bench` times). `out` gets n_out values, which the caller frees. Inputs are paired
   with the model's by name, else by position. */
bool exec_model(const Loaded *l, const RunPlan *plan, Value *in, size_t n_in, Value **out);
/* The index of the port with this name, else `position` when that exists, else -1. */
int exec_port(const cnn_port *port, int n, const char *name, int position);
const char *exec_status(int status);

/* ---- profile.c ---- */

void profile_reset(cnn_profile *p);
/* The nests by their time; `ms`: of a whole run. */
void profile_print(cnn_profile *p, int runs, double ms, int threads);
double peak_gflops(void); // peak.c: of one thread

/* ---- tune.c ---- */

typedef struct {
    BuildPlan build;
    RunPlan run;
    const char *file; /* what is known of other contractions stays in it */
    bool (*inputs)(void *ctx, const cnn_model *m, Value *in); /* makes the n_in inputs; the caller frees them */
    void *ctx;
    size_t n_in;
} TunePlan;

/* Measures which form of each contraction is the fastest and writes them for cnncc --tuned. */
bool tune_model(const char *path, const TunePlan *plan);

/* ---- limits.c ---- */

/* After a call with these arguments: the same with less room and with inputs that do not fit. False when one has
   another status than it should or writes outside of what it is given. */
bool limits_check(const cnn_model *m, const cnn_ctx *ctx, const int64_t *sym, cnn_tensor *in, cnn_tensor *out);

/* ---- compare.c ---- */

typedef struct {
    double rtol, atol;
    bool convert;    /* float types may differ */
    FILE *out;       /* where mismatches are printed, or NULL */
    char first[400]; /* the first mismatch in words */
} Compare;

/* Whether `got` is `want`; shapes, types, integers and strings exactly, floats within
   atol + rtol * |want|, NaN equal to NaN. */
bool compare_values(Compare *c, const Value *want, const Value *got);

/* ---- test.c and batch.c ---- */

typedef struct {
    size_t passed, failed;
} Tally;

/* Runs every data set of a folder. */
bool test_folder(const Loaded *l, const RunPlan *plan, const char *dir, Compare *c, Tally *tally);
/* Runs the models of a list; returns the exit code. */
int batch_run(const char *list, const BuildPlan *build, const RunPlan *plan, int jobs, int timeout);
#endif
