// The module onesum._core.
#include "python/module.h"

#include <cstdlib>
#include <initializer_list>

#include "python/array_view.h"
#include "runtime/bandwidth.h"
#include "runtime/dispatch.h"
#include "runtime/machine.h"
#include "runtime/result_memory.h"
#include "runtime/thread_pool.h"

namespace {

using onesum::isas;

PyObject* names(bool usable_only) {
    PyObject* list = PyList_New(0);
    if (!list) return nullptr;
    for (int i = onesum::isa_count - 1; i >= 0; --i) {
        if (usable_only && !isas[i].cpu_has_it()) continue;
        PyObject* name = PyUnicode_FromString(isas[i].name);
        if (!name || PyList_Append(list, name) < 0) {
            Py_XDECREF(name);
            Py_DECREF(list);
            return nullptr;
        }
        Py_DECREF(name);
    }
    PyObject* tuple = PyList_AsTuple(list);
    Py_DECREF(list);
    return tuple;
}

bool use(PyObject* module, const onesum::Isa* isa) {
    onesum::use_isa(isa);
    PyObject* name = PyUnicode_FromString(isa->name);
    int failed = !name || PyModule_AddObjectRef(module, "isa", name) < 0;
    Py_XDECREF(name);
    return !failed;
}

// The instruction set `name`; null with ImportError or ValueError set if there is no such, or this CPU lacks it.
const onesum::Isa* wanted(const char* name, PyObject* error) {
    const onesum::Isa* isa = onesum::find_isa(name);
    if (isa && isa->cpu_has_it()) return isa;
    PyObject* usable = names(true);
    if (usable)
        PyErr_Format(error, "ONESUM_ISA: %s '%s'; expected one of %R",
                     isa ? "this CPU lacks" : "unknown instruction set", name, usable);
    Py_XDECREF(usable);
    return nullptr;
}

PyObject* use_isa(PyObject* module, PyObject* name) {
    PyObject* bytes = PyUnicode_AsUTF8String(name);
    if (!bytes) return nullptr;
    const onesum::Isa* isa = wanted(PyBytes_AsString(bytes), PyExc_ValueError);
    Py_DECREF(bytes);
    if (!isa || !use(module, isa)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_num_threads(PyObject*, PyObject*) { return PyLong_FromLong(onesum::threads()); }

PyObject* set_num_threads(PyObject*, PyObject* number) {
    int overflow;
    const long n = PyLong_AsLongAndOverflow(number, &overflow);
    if (n == -1 && PyErr_Occurred()) return nullptr;
    onesum::set_threads(overflow > 0 || n > onesum::most_threads ? onesum::most_threads : int(n));
    Py_RETURN_NONE;
}

PyObject* jobs(PyObject*, PyObject*) { return PyLong_FromUnsignedLong(onesum::jobs()); }

PyObject* release_memory(PyObject*, PyObject*) {
    isize bytes;
    Py_BEGIN_ALLOW_THREADS;
    bytes = onesum::release_memory();
    Py_END_ALLOW_THREADS;
    return PyLong_FromSsize_t(bytes);
}

// Where the bytes of arrays are, for what moves them: C-contiguous arrays, all of as many.
struct Bytes {
    npy_intp size = -1;  // as the first array has it

    // False, and an exception set, if `object` is none.
    bool of(PyObject* object, const char* name, char*& data) {
        if (!PyArray_Check(object)) {
            PyErr_Format(PyExc_TypeError, "%s: expected NumPy arrays, got %R", name, Py_TYPE(object));
            return false;
        }
        auto* array = reinterpret_cast<PyArrayObject*>(object);
        if (!PyArray_IS_C_CONTIGUOUS(array)) {
            PyErr_Format(PyExc_ValueError, "%s: expected C-contiguous arrays", name);
            return false;
        }
        if (size >= 0 && PyArray_NBYTES(array) != size) {
            PyErr_Format(PyExc_ValueError, "%s: expected arrays of %zd bytes, got %zd", name, Py_ssize_t(size),
                         Py_ssize_t(PyArray_NBYTES(array)));
            return false;
        }
        size = PyArray_NBYTES(array);
        data = PyArray_BYTES(array);
        return true;
    }
    bool of_target(PyObject* object, char*& data) {
        if (!of(object, "target", data)) return false;
        if (PyArray_ISWRITEABLE(reinterpret_cast<PyArrayObject*>(object))) return true;
        PyErr_Format(PyExc_ValueError, "target: expected a writeable array");
        return false;
    }
    // One array or two.
    bool of_each(PyObject* arrays, const char* name, const char** data) {
        const Py_ssize_t count = PyTuple_Size(arrays);
        if (count < 1 || count > 2) {
            PyErr_Format(PyExc_ValueError, "%s: expected one or two arrays, got %zd", name, count);
            return false;
        }
        for (Py_ssize_t i = 0; i < count; ++i) {
            char* found;
            if (!of(PyTuple_GetItem(arrays, i), name, found)) return false;
            data[i] = found;
        }
        return true;
    }
};

// _move(target, sources, streaming): see runtime/bandwidth.h. What it returns for target None depends on every byte
// read.
PyObject* move(PyObject*, PyObject* args) {
    PyObject *object, *sources;
    int streaming;
    if (!PyArg_ParseTuple(args, "OO!p:_move", &object, &PyTuple_Type, &sources, &streaming)) return nullptr;
    Bytes bytes;
    char* target = nullptr;
    const char* data[2] = {};
    if (object != Py_None && !bytes.of_target(object, target)) return nullptr;
    if (!bytes.of_each(sources, "sources", data)) return nullptr;
    long seen = 0;
    Py_BEGIN_ALLOW_THREADS;
    if (target) onesum::move(target, data[0], data[1], bytes.size, streaming);
    else seen = onesum::look(data[0], data[1], bytes.size);
    Py_END_ALLOW_THREADS;
    if (target) Py_RETURN_NONE;
    return PyLong_FromLong(seen);
}

// _move_rows(target, first, moved, row_bytes, streaming): see runtime/bandwidth.h.
PyObject* move_rows(PyObject*, PyObject* args) {
    PyObject *object, *first, *moved;
    Py_ssize_t row_bytes;
    int streaming;
    if (!PyArg_ParseTuple(args, "OO!O!np:_move_rows", &object, &PyTuple_Type, &first, &PyTuple_Type, &moved, &row_bytes,
                          &streaming))
        return nullptr;
    Bytes bytes;
    onesum::RowsToMove rows{};
    if (!bytes.of_target(object, rows.target) || !bytes.of_each(first, "first", rows.first) ||
        !bytes.of_each(moved, "moved", rows.moved))
        return nullptr;
    if (row_bytes < 1 || bytes.size % row_bytes)
        return PyErr_Format(PyExc_ValueError, "row_bytes: expected a divisor of %zd, got %zd", Py_ssize_t(bytes.size),
                            row_bytes);
    rows.bytes = row_bytes;
    long seen;
    Py_BEGIN_ALLOW_THREADS;
    seen = onesum::move_rows(rows, bytes.size / row_bytes, streaming);
    Py_END_ALLOW_THREADS;
    return PyLong_FromLong(seen);
}

int execute(PyObject* module) {
    if (const char* value = onesum::threads_from_environment()) {
        PyErr_Format(PyExc_ImportError, "ONESUM_NUM_THREADS: expected a whole number >= 1, got '%s'", value);
        return -1;
    }
    if (const char* value = onesum::memory_from_environment()) {
        PyErr_Format(PyExc_ImportError, "ONESUM_KEEP_MEMORY: expected a whole number of bytes >= 0, got '%s'", value);
        return -1;
    }
    if (!onesum::prepare_arrays()) return -1;  // which asks whether memory is to be kept
    const char* override = getenv("ONESUM_ISA");
    const onesum::Isa* isa = override && *override ? wanted(override, PyExc_ImportError) : onesum::best_isa();
    if (!isa) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ImportError, "onesum: this CPU lacks every instruction set the core was built for");
        return -1;
    }
    if (!use(module, isa)) return -1;
    if (onesum::add_gufuncs(module) < 0 || onesum::add_losses(module) < 0 || onesum::add_direct_calls(module) < 0 ||
        onesum::add_xla_handlers(module) < 0)
        return -1;
    for (bool usable : {true, false}) {
        PyObject* tuple = names(usable);
        int failed = !tuple || PyModule_AddObjectRef(module, usable ? "isas" : "built_isas", tuple) < 0;
        Py_XDECREF(tuple);
        if (failed) return -1;
    }
    return 0;
}

PyMethodDef methods[] = {
    {"_use_isa", use_isa, METH_O,
     "Switch to another instruction set. For tests: calls under way keep the one they began with."},
    {"_get_num_threads", get_num_threads, METH_NOARGS, "How many threads a call may use."},
    {"_set_num_threads", set_num_threads, METH_O, "Let calls use so many."},
    {"_jobs", jobs, METH_NOARGS, "How many calls have been shared among threads. For tests."},
    {"_release_memory", release_memory, METH_NOARGS, "Give the memory kept for large results back; how many bytes."},
    {"_compare", onesum::compare, METH_VARARGS,
     "The sums over the classes that the divergences of rows of logits follow from."},
    {"_move", move, METH_VARARGS,
     "Read one or two arrays and write one, or none: the floor under every time. For the benchmark."},
    {"_move_rows", move_rows, METH_VARARGS,
     "The same row by row, each read before it is moved: the floor under what needs a whole row first."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
#if defined(Py_mod_gil)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};
PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "onesum._core",
                          "Compiled kernels as generalized ufuncs.",
                          0,
                          methods,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&definition); }
