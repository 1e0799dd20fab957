// The module's direct calls: operations without NumPy's ufunc machinery.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace onesum {

// Adds `direct`, a module of functions; -1 with an exception set if that fails.
int add_direct_calls(PyObject* module);
// Adds the losses to the module and to `direct`; the same.
int add_losses(PyObject* module, PyObject* direct);

}  // namespace onesum
