// The module's direct calls: operations without NumPy's ufunc machinery.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace onesum {

// Adds `direct`, a module of functions, and `direct_bfloat16`, the same for arrays of whole numbers that stand for the bits of bfloat16; -1 with an exception set
// if that fails.
int add_direct_calls(PyObject* module);
// Adds the losses to the module, or to one of those two; the same.
int add_losses(PyObject* module);
int add_direct_losses(PyObject* direct, bool bfloat16);

// _compare(x, y, known, sums): comparison.h, on C-contiguous arrays of rows and classes.
PyObject* compare(PyObject*, PyObject* args);

}  // namespace onesum
