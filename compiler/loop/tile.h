// SPDX-License-Identifier: Apache-2.0
// The tile template's working state, shared by tile.c (choices), tile_pack.c and tile_kernel.c.
//
// c[rows][lanes] += a[rows] * b[lanes], a register tile of mr rows by nv vectors: `row` is the out variable
// that runs over rows, `lane` the one that runs along vectors; both operands' addresses are affine.
#ifndef CNNCC_TILE_H
#define CNNCC_TILE_H
#include "loop/loop.h"

enum { MAX_ROWS = 16, MAX_NV = 12, MAX_GROUPS = 12 };

typedef struct { Ex w, u, v; } Fused; // w = u * extent(v) + v: two variables run as one

// Consecutive row tiles that share a kernel. Rows of tile i begin at first + i*rows.
typedef struct {
    Ex first, count;
    int rows;
    const uint32_t *live; // by value of the pattern variable: which rows are inside; NULL: all
    Ex end;               // the last tile may go past this row: it reads the last one again and stores nothing; NULL: none does
} RowGroup;

// What is stored for a sum, in terms of the contraction's variables; statements it needs go to b.
typedef Sx *TileFinish(void *ctx, Block *b, Sx *sum);

// An operand read from a copy with zeros around it: element i of an axis is element lo + i of the operand.
typedef struct {
    Buf *from, *buf; // buf NULL: it is read as it is
    Ex lo[MAX_RANK], shape[MAX_RANK];
    bool wide[MAX_RANK];
} Margin;

// One way to compute a contraction: the lane variable, by number; which factor is loaded along lanes; the operands
// with margins, a bit each; the variable of the rows, by number among the loops outside, -1: none; the register tile:
// rows, vectors, and elements of a vector.
typedef struct { int lane, b; unsigned margins; int row, mr, nv, lanes; } TileForm;
typedef struct TileForms TileForms;

typedef struct {
    Lower *l;
    Root *root;
    TileFinish *finish; void *ctx; // instead of root's expression
    bool inner;                    // in a loop over threads already
    const Target *target;
    Contraction c;
    Ex out_idx[MAX_RANK], out_off; // root->expr's element; where it is stored
    DType dt;
    int lanes, widest;             // elements of dt in a vector; in the target's widest one
    Buf *buf[2];                   // a: broadcast by rows; b: loaded along lanes
    Ex off[2];
    Ex order;                      // an address whose strides order the sum
    const Contraction *whole;      // c before margins took guards from it
    int factor[2];                 // which factor of c is a, which b
    Margin margin[2];
    bool a_lanes;                  // the lane variable is in both: a is loaded by vectors too
    Ex row, lane;                  // row: NULL when there is none
    Ex batch[64], outer[64], k[64];// loops: b depends on the first, not on the second; the sum
    int nbatch, nouter, nk;
    int nnear;                     // the last of outer run inside the loop over tiles
    Ex korder[64]; int nkorder;    // the sum's variables in order of traversal, before fusing
    Fused fused[32]; int nfused;
    bool dot;                      // by the dot template
    int mr, nv;
    TileForm form;                 // what was chosen
    const TileForm *force;         // nothing else may be chosen, or NULL
    TileForms *forms;              // every form is noted here, or NULL
    const char *label;             // key and form, for --profile; or NULL
    Ex panels, panel;              // of nv*lanes lanes each; the loop over them
    int joined;                    // packed panels that one panel is made of; 0: one
    bool pack;                     // b is packed: [batch][panel][k][nv*lanes]
    Buf *packed;
    Ex fixed[2], from[2], to[2]; int nfixed; // loops of which only a part runs: the root's rows
    Buf *sums;                     // where the sums go as they are, at out_off + lanes; NULL: through the epilogue to the root
    Buf *panels_of_a;              // a is packed: [row tile][k][rows]
    // the sum by blocks of kchunk values of k[0]: between them partial sums are kept, in the result or in `partial`
    Ex kblock, kblocks;            // NULL: one block
    int64_t kchunk;
    Buf *partial;
    Ex ahead; int64_t ahead_steps; // cache lines of the next panel that each tile prefetches in so many steps of its sum; NULL: none
    Ex next;                       // where those of this tile begin
    bool near;                     // into the first level, where both panels fit
    Ex run;                        // the loop over threads that share out the rows; NULL: none
    // guards by how they are met
    Range cut[16]; Ex cut_by[16]; int ncut;   // bounds of the loop over cut_by
    Range around[16]; int naround;            // a condition around the sum
    Range pattern[16]; Ex pattern_by; int npattern; // rows inside or outside, known at compile time
    Range hard[16]; int nhard;                // at each load of a
} Tiling;

static inline int tile_width(const Tiling *t) { return t->nv * t->lanes; }
Ex tile_stride(Ex e, Ex var);       // what one step of var adds to e
bool tile_fixed(const Tiling *t, Ex var); // whether var is one of the root's rows
int64_t tile_extent(Ex var);        // -1: symbolic
int64_t tile_guess(Ex var);         // the extent; of a symbolic one a guess, for costs
void tile_sort(Ex off, Ex *var, int n); // the longest stride in off first
void tile_fuse(Tiling *t, Ex *var, int *n, bool sum); // neighbours that are one run in every address become one
bool tile_guarded(const Contraction *c, Ex var); // whether a guard of c depends on var
int64_t tile_least_rows(const Tiling *t); // how many products an element of the operand that is reused least is for
bool tile_parallel(const Tiling *t);// enough work for threads

// loop/tile_path.c: the element of root->expr that element c->out of the reduce lands in; false: not one to one
bool tile_root_index(Lower *l, const Root *r, const Contraction *c, Ex *idx);
bool tile_index_of(Lower *l, Val *expr, Ex *at, const Val *target, Ex *idx); // target's element in expr's element `at`
// loop/tile.c: a contraction that is a part of a nest, stored by finish into to[off]; false: refused
bool tile_part(Lower *l, const Contraction *c, Buf *to, Ex off, TileFinish *finish, void *ctx, Block *b);
// loop/tile_pack.c
void tile_pack_const(Tiling *t);
Stmt *tile_pack_run(Tiling *t, Block *b); // its outermost loop
void tile_pack_rows(Tiling *t, Block *b, const RowGroup *g, int n);
// loop/tile_choose.c
double tile_choose(Tiling *t);         // the plan of the cheapest tile and its cost in cycles for each multiply-add; 1e100: no
// loop/tune.c
double tile_pick(Tiling *t);           // tile_choose, or the form that was measured to be the fastest
void tile_forms_add(TileForms *all, const TileForm *form, double cost);
bool tile_is_batch(const Contraction *c, Ex var); // whether a symbol is the outermost of several: a batch, often of one
bool tile_dot_wins(const Tiling *t);   // loop/tile_choose.c: whether the dot template is the better one, for any target
// loop/tile_margin.c
bool tile_margins(Tiling *t, unsigned mask); // a bit for each operand that gets margins, where it has guards; false: one has none
void tile_fill_margins(Tiling *t, Block *b, int f);
// loop/tile_dot.c
double tile_dot_cost(const Tiling *t); // cycles for each multiply-add; 1e100: no
void tile_dot(Tiling *t, Block *b);
// loop/tile_kernel.c
Sx *tile_finished(const Tiling *t, Block *b, Sx *sum); // what is stored for a sum
void tile_bounds(const Tiling *t, Ex k, Ex *lo, Ex *hi); // of the loop over k, tightened by the cut guards
void tile_prefetch(Tiling *t, Ex tile); // by the kernel that follows, the tile of that number among all that a panel meets
void tile_kernel(Tiling *t, Block *b, const RowGroup *g, Ex tile); // the tile of that number in the group
Ex tile_row(const RowGroup *g, Ex row0, Ex i); // row i of the tile whose first is row0: one that is there
// What follows the reduce, for lanes of it in a vector register, with var := by in all addresses; NULL: not on vectors.
Stmt *tile_epilogue(Tiling *t, Block *up, Local *sum, int n, const Ex *var, const Ex *by);
#endif
