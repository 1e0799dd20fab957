// The kernels as functions that XLA calls on CPUs.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace onesum {

// Adds `xla`, a dict of capsules by name, each with a pointer to a function of XLA's foreign function interface; -1 with an
// exception set if that fails.
int add_xla_handlers(PyObject* module);

}  // namespace onesum
