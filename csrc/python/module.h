// What each file of this room adds to the module onesum._core; -1 with an exception set if that fails.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace onesum {

int add_gufuncs(PyObject* module);
// `direct`, a module of functions, and `direct_bfloat16`, the same for arrays of whole numbers that stand for the bits
// of bfloat16.
int add_direct_calls(PyObject* module);
// The losses: to the module, or to one of those two.
int add_losses(PyObject* module);
int add_direct_losses(PyObject* direct, bool bfloat16);

// `xla`, a dict of capsules by name, each with a pointer to a function of XLA's foreign function interface.
int add_xla_handlers(PyObject* module);

// _compare(x, y, known, sums): ops/comparison.h, on C-contiguous arrays of rows and classes.
PyObject* compare(PyObject*, PyObject* args);

}  // namespace onesum
