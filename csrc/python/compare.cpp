// Rows of logits compared, for Python.
#include "python/array_view.h"
#include "python/module.h"
#include "runtime/dispatch.h"

namespace onesum {
namespace {

// A C-contiguous array of rows with so many columns, or of any number for -1; null with an exception set.
PyArrayObject* matrix(PyObject* object, const char* name, int type, npy_intp rows, npy_intp columns) {
    if (!PyArray_Check(object))
        return PyErr_Format(PyExc_TypeError, "%s: expected a NumPy array, got %R", name, Py_TYPE(object)), nullptr;
    PyArrayObject* const a = array(object);
    const bool fits = PyArray_NDIM(a) == 2 && PyArray_TYPE(a) == type && PyArray_ISCARRAY_RO(a) &&
                      (rows < 0 || PyArray_DIM(a, 0) == rows) && (columns < 0 || PyArray_DIM(a, 1) == columns);
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "%s: expected a C-contiguous array of rows, as x has them", name),
               nullptr;
    return a;
}

}  // namespace

PyObject* compare(PyObject*, PyObject* args) {
    PyObject *x_object, *y_object, *known_object, *sums_object;
    if (!PyArg_ParseTuple(args, "OOOO", &x_object, &y_object, &known_object, &sums_object)) return nullptr;
    if (!PyArray_Check(x_object))
        return PyErr_Format(PyExc_TypeError, "x: expected a NumPy array, got %R", Py_TYPE(x_object));
    const int type = PyArray_TYPE(array(x_object)), storage = storage_of(type);
    if (storage < 0)
        return PyErr_Format(PyExc_TypeError, "x: expected floating numbers, got %R", PyArray_DESCR(array(x_object)));
    PyArrayObject* const x = matrix(x_object, "x", type, -1, -1);
    if (!x) return nullptr;
    const npy_intp rows = PyArray_DIM(x, 0), n = PyArray_DIM(x, 1);
    PyArrayObject *const y = matrix(y_object, "y", type, rows, n), *const known = y ? matrix(known_object, "known",
                                                                                             NPY_DOUBLE, rows, 4)
                                                                                    : nullptr;
    PyArrayObject* const sums = known ? matrix(sums_object, "sums", NPY_DOUBLE, rows, 6) : nullptr;
    if (!sums) return nullptr;
    if (!PyArray_ISWRITEABLE(sums)) return PyErr_Format(PyExc_ValueError, "sums: expected a writeable array");
    Py_BEGIN_ALLOW_THREADS;
    compare_rows(storage, PyArray_BYTES(x), PyArray_BYTES(y), reinterpret_cast<const double*>(PyArray_DATA(known)),
                 reinterpret_cast<double*>(PyArray_DATA(sums)), rows, n);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

}  // namespace onesum
