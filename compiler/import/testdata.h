// SPDX-License-Identifier: Apache-2.0
// Tensors in files of their own (TensorProto in .pb), as test data come with models, and running a
// graph on a folder of them in the interpreter.
#ifndef CNNCC_TESTDATA_H
#define CNNCC_TESTDATA_H
#include "cnncc.h"

// The tensor of a .pb file, its name in *name; NULL after a diagnostic. Its data stay mapped.
Tensor *tensor_load(const char *path, const char **name);

// Runs g on DIR/input_J.pb, paired with inputs by the name inside, else by J, and compares with
// DIR/output_J.pb: floats within 1e-3 relative and 1e-5 absolute. Prints a line an output; 0 if all agree, else 1.
int eval_folder(Graph *g, const char *dir);
#endif
