// softmax of float32 without NumPy's ufunc machinery, twice:
//
// direct(x, out)             the least that is safe: exact types, C order, one shape, else an error
// general(x, axis, T, out)   what a gufunc does with the same arguments: conversion, any axis and strides, one T or one per row, overlap,
//                            allocation of the result, subclasses, other types' __array_ufunc__
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <cstdint>
#include <initializer_list>

#include "kernel.h"

namespace {

constexpr long worth_releasing_the_gil = 500;  // elements; NumPy has the same threshold

PyArrayObject* array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

bool run(char* const* args, long rows, long n, const long* strides) {
    PyThreadState* state = rows * n > worth_releasing_the_gil ? PyEval_SaveThread() : nullptr;
    const bool enough_memory = softmax_kernel(args, rows, n, strides);
    if (state) PyEval_RestoreThread(state);
    if (!enough_memory) PyErr_NoMemory();
    return enough_memory;
}

// direct

bool plain(PyObject* object) {
    return PyArray_CheckExact(object) && PyArray_TYPE(array(object)) == NPY_FLOAT && PyArray_ISCARRAY_RO(array(object)) &&
           PyArray_NDIM(array(object)) > 0;
}

PyObject* direct(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 2 || !plain(given[0]) || !plain(given[1]) || !PyArray_ISWRITEABLE(array(given[1])) ||
        !PyArray_SAMESHAPE(array(given[0]), array(given[1])))
        return PyErr_Format(PyExc_ValueError, "direct: expected two float32 arrays of one shape, in C order, the second writeable");
    PyArrayObject *x = array(given[0]), *out = array(given[1]);
    const long n = PyArray_DIM(x, PyArray_NDIM(x) - 1), rows = n ? PyArray_SIZE(x) / n : 0;
    double one = 1;
    char* args[] = {PyArray_BYTES(x), reinterpret_cast<char*>(&one), PyArray_BYTES(out)};
    const long row = n * sizeof(float);
    const long strides[] = {row, 0, row, sizeof(float), sizeof(float)};
    if (!run(args, rows, n, strides)) return nullptr;
    return Py_NewRef(given[1]);
}

// general

struct Owned {
    PyArrayObject* p = nullptr;
    ~Owned() { Py_XDECREF(p); }
};

// An operand of another type that has its own idea of what a ufunc is; null if there is none.
PyObject* override_of(PyObject* object) {
    if (!object || PyArray_CheckExact(object) || PyFloat_CheckExact(object) || PyLong_CheckExact(object)) return nullptr;
    PyObject* method = PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(object)), "__array_ufunc__");
    if (!method) PyErr_Clear();
    static PyObject* own = PyObject_GetAttrString(reinterpret_cast<PyObject*>(&PyArray_Type), "__array_ufunc__");
    if (method == own) Py_CLEAR(method);
    return method;
}

bool well_behaved(PyArrayObject* a, int type) { return PyArray_TYPE(a) == type && PyArray_ISBEHAVED_RO(a); }

// As a behaved array of `type`, where that loses nothing. (A ufunc would choose among its loops; this entry has float32 only.)
PyArrayObject* converted(PyObject* object, int type) {
    if (PyArray_Check(object) && well_behaved(array(object), type)) return array(Py_NewRef(object));
    const int flags = NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED | NPY_ARRAY_ENSUREARRAY;
    return array(PyArray_FromAny(object, PyArray_DescrFromType(type), 0, 0, flags, nullptr));
}

struct Extent {
    uintptr_t first, last;
    explicit Extent(PyArrayObject* a) {
        first = last = reinterpret_cast<uintptr_t>(PyArray_DATA(a));
        for (int d = 0; d < PyArray_NDIM(a); ++d) {
            const npy_intp reach = (PyArray_DIM(a, d) - 1) * PyArray_STRIDE(a, d);
            (reach > 0 ? last : first) += reach;
        }
        last += PyArray_ITEMSIZE(a);
    }
    bool meets(Extent other) const { return first < other.last && other.first < last; }
};

bool same_elements(PyArrayObject* a, PyArrayObject* b) {
    if (PyArray_DATA(a) != PyArray_DATA(b)) return false;
    for (int d = 0; d < PyArray_NDIM(a); ++d)
        if (PyArray_STRIDE(a, d) != PyArray_STRIDE(b, d)) return false;
    return true;
}

PyObject* general(PyObject*, PyObject* const* given, Py_ssize_t count, PyObject* names) {
    static const char* const known[] = {"x", "axis", "temperature", "out"};
    PyObject* value[4] = {};
    for (Py_ssize_t i = 0; i < count && i < 4; ++i) value[i] = given[i];
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
        int k = 0;
        while (k < 4 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), known[k])) ++k;
        if (k == 4 || value[k]) return PyErr_Format(PyExc_TypeError, "softmax: unexpected argument %R", PyTuple_GET_ITEM(names, i));
        value[k] = given[count + i];
    }
    if (count > 4 || !value[0]) return PyErr_Format(PyExc_TypeError, "softmax: expected x, axis, temperature, out");
    if (value[3] == Py_None) value[3] = nullptr;
    for (int i : {0, 2, 3})
        if (PyObject* method = override_of(value[i])) {
            Py_DECREF(method);  // here a ufunc would hand over to the method
            return PyErr_Format(PyExc_TypeError, "softmax: operand with __array_ufunc__");
        }

    Owned x{converted(value[0], NPY_FLOAT)};
    if (!x.p) return nullptr;
    const int ndim = PyArray_NDIM(x.p);
    long axis = value[1] ? PyLong_AsLong(value[1]) : -1;
    if (axis == -1 && PyErr_Occurred()) return nullptr;
    if (axis < -ndim || axis >= ndim) return PyErr_Format(PyExc_ValueError, "softmax: axis %ld of %d dimensions", axis, ndim);
    if (axis < 0) axis += ndim;

    Owned out;
    if (!value[3]) {
        out.p = array(PyArray_NewLikeArray(x.p, NPY_KEEPORDER, PyArray_DescrFromType(NPY_FLOAT), PyArray_Check(value[0])));
        if (!out.p) return nullptr;
    } else {
        if (!PyArray_Check(value[3]) || !well_behaved(array(value[3]), NPY_FLOAT) || !PyArray_ISWRITEABLE(array(value[3])) ||
            !PyArray_SAMESHAPE(array(value[3]), x.p))
            return PyErr_Format(PyExc_ValueError, "softmax: out must be a writeable float32 array of the shape of x");
        out.p = array(Py_NewRef(value[3]));
        if (Extent(x.p).meets(Extent(out.p)) && !same_elements(x.p, out.p)) {
            Owned original{x.p};
            x.p = array(PyArray_NewCopy(original.p, NPY_KEEPORDER));
            if (!x.p) return nullptr;
        }
    }

    // T: a number, or an array that broadcasts to the rows.
    double one = value[2] && PyFloat_CheckExact(value[2]) ? PyFloat_AS_DOUBLE(value[2]) : 1;
    char* t = reinterpret_cast<char*>(&one);
    npy_intp t_strides[NPY_MAXDIMS] = {};
    Owned temperature;
    if (value[2] && !PyFloat_CheckExact(value[2])) {
        temperature.p = converted(value[2], NPY_DOUBLE);
        if (!temperature.p) return nullptr;
        t = PyArray_BYTES(temperature.p);
        const int lacks = ndim - 1 - PyArray_NDIM(temperature.p);
        if (lacks < 0) return PyErr_Format(PyExc_ValueError, "softmax: temperature has more dimensions than rows");
        for (int d = 0, k = -lacks; d < ndim; ++d) {
            if (d == axis) continue;
            if (k >= 0 && PyArray_DIM(temperature.p, k) != 1) {
                if (PyArray_DIM(temperature.p, k) != PyArray_DIM(x.p, d))
                    return PyErr_Format(PyExc_ValueError, "softmax: temperature does not broadcast to the rows");
                t_strides[d] = PyArray_STRIDE(temperature.p, k);
            }
            ++k;
        }
    }

    // The longest dimension beside the class axis makes the rows of a kernel call; the others are counted through.
    long at[NPY_MAXDIMS] = {}, rows_along = -1, calls = 1;
    for (int d = 0; d < ndim; ++d)
        if (d != axis && (rows_along < 0 || PyArray_DIM(x.p, d) >= PyArray_DIM(x.p, rows_along))) rows_along = d;
    for (int d = 0; d < ndim; ++d)
        if (d != axis && d != rows_along) calls *= PyArray_DIM(x.p, d);
    const bool one_row = rows_along < 0;
    const long rows = one_row ? 1 : PyArray_DIM(x.p, rows_along);
    const long strides[] = {one_row ? 0 : PyArray_STRIDE(x.p, rows_along), one_row ? 0 : t_strides[rows_along],
                            one_row ? 0 : PyArray_STRIDE(out.p, rows_along), PyArray_STRIDE(x.p, axis), PyArray_STRIDE(out.p, axis)};
    char* args[] = {PyArray_BYTES(x.p), t, PyArray_BYTES(out.p)};
    for (long call = 0; call < calls; ++call) {
        if (!run(args, rows, PyArray_DIM(x.p, axis), strides)) return nullptr;
        for (int d = ndim - 1; d >= 0; --d) {
            if (d == axis || d == rows_along) continue;
            const long step = ++at[d] < PyArray_DIM(x.p, d) ? 1 : 1 - at[d];
            args[0] += step * PyArray_STRIDE(x.p, d);
            args[1] += step * t_strides[d];
            args[2] += step * PyArray_STRIDE(out.p, d);
            if (step == 1) break;
            at[d] = 0;
        }
    }
    return Py_NewRef(reinterpret_cast<PyObject*>(out.p));
}

// The kernel alone, `times` over: what every entry pays.
PyObject* kernel(PyObject*, PyObject* const* given, Py_ssize_t count) {
    const long times = count == 3 ? PyLong_AsLong(given[2]) : 0;
    for (long i = 0; i < times; ++i) {
        PyArrayObject *x = array(given[0]), *out = array(given[1]);
        const long n = PyArray_DIM(x, 1), row = n * long(sizeof(float));
        double one = 1;
        char* args[] = {PyArray_BYTES(x), reinterpret_cast<char*>(&one), PyArray_BYTES(out)};
        const long strides[] = {row, 0, row, sizeof(float), sizeof(float)};
        if (!softmax_kernel(args, PyArray_DIM(x, 0), n, strides)) return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

template <class F> PyCFunction method(F* f) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f)); }

PyMethodDef methods[] = {
    {"direct", method(direct), METH_FASTCALL, nullptr},
    {"general", method(general), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"kernel", method(kernel), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "raw", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_raw() {
    if (PyArray_ImportNumPyAPI() < 0) return nullptr;
    return PyModule_Create(&definition);
}
