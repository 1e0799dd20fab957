// The module onesum._core: each operation of kernels.h as a NumPy generalized ufunc, and the direct calls beside them.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "arrays.h"

#include <numpy/ufuncobject.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "calls.h"
#include "dispatch.h"
#include "floor.h"
#include "machine.h"
#include "memory.h"
#include "pool.h"
#include "xla.h"

namespace {

using onesum::isas;

using onesum::max_operands;
using onesum::operand_count;

// An operation as a ufunc: one that may have a mask is two, `name` and `name_where`.
struct Ufunc {
    std::string name, operands;  // as in kernels.h, less the mask if there is to be none
    int operation;
    int mask = -1, mask_stride = -1;  // where a null mask is put in: among the operands, and among their class strides
};
std::vector<Ufunc> every_ufunc() {
    std::vector<Ufunc> ufuncs;
    int operation = 0;
    const auto add = [&](const char* name, const char* letters) {
        Ufunc plain{name, letters, operation};
        if (const char* m = strchr(letters, 'm')) {
            plain.mask = plain.mask_stride = int(m - letters);  // only arrays with a class axis stand before it
            plain.operands.erase(plain.mask, 1);
            ufuncs.push_back({plain.name + "_where", letters, operation});
        }
        ufuncs.push_back(plain);
        ++operation;
    };
#define ONESUM_ADD(name, operands) add(#name, operands);
    ONESUM_OPERATIONS(ONESUM_ADD) ONESUM_CHUNKS(ONESUM_ADD)
#undef ONESUM_ADD
    return ufuncs;
}
const std::vector<Ufunc> table = every_ufunc();

struct Slot {
    const Ufunc* ufunc;
    int storage;
};
// What a ufunc keeps pointers to, for as long as the process lives.
struct Loops {
    Slot slots[onesum::storages];
    void* data[onesum::storages];
    PyUFuncGenericFunction functions[onesum::storages];
    char types[onesum::storages * max_operands];
    std::string signature;
};
std::vector<Loops> loops(table.size());

// NumPy has released the GIL.
void loop(char** args, const npy_intp* dimensions, const npy_intp* strides, void* data) {
    const Slot* slot = static_cast<const Slot*>(data);
    const Ufunc& ufunc = *slot->ufunc;
    char* all[max_operands];
    npy_intp all_strides[2 * max_operands];
    if (ufunc.mask >= 0) {
        const int count = operand_count(ufunc.operands.c_str());
        for (int i = 0; i <= count; ++i) all[i] = i == ufunc.mask ? nullptr : args[i - (i > ufunc.mask)];
        const int arrays = int(std::count(ufunc.operands.begin(), ufunc.operands.end(), 'x'));
        for (int i = 0, given = 0; i < count + arrays + 2; ++i)
            all_strides[i] = i == ufunc.mask || i == count + 1 + ufunc.mask_stride ? 0 : strides[given++];
        args = all, strides = all_strides;
    }
    if (onesum::call_kernel(ufunc.operation, slot->storage, args, dimensions[0], dimensions[1], strides)) return;
    PyGILState_STATE state = PyGILState_Ensure();
    PyErr_NoMemory();
    PyGILState_Release(state);
}

// "xmT>r" as NumPy's signature "(n),(n),()->()".
std::string signature_of(const std::string& operands) {
    std::string signature;
    for (char c : operands) {
        if (c == '>') {
            signature += "->";
            continue;
        }
        if (signature.ends_with(')')) signature += ',';
        signature += c == 'x' || c == 'm' ? "(n)" : "()";
    }
    return signature;
}

int type_of(char operand, int float_type) {
    return operand == 'T' || operand == 'w' ? NPY_DOUBLE : operand == 'm' ? NPY_BOOL : float_type;
}

bool add_ufunc(PyObject* module, size_t index) {
    // bfloat16 first: its bits, as the whole numbers that they are for NumPy, could be cast to the others.
    constexpr int float_types[] = {onesum::type_of_bfloat16, NPY_HALF, NPY_FLOAT, NPY_DOUBLE};
    const Ufunc& made = table[index];
    Loops& l = loops[index];
    char* type = l.types;
    for (int i = 0; i < onesum::storages; ++i) {
        l.slots[i] = {&made, onesum::storage_of(float_types[i])};
        l.data[i] = &l.slots[i];
        l.functions[i] = loop;
        for (char c : made.operands)
            if (c != '>') *type++ = char(type_of(c, float_types[i]));
    }
    l.signature = signature_of(made.operands);
    const int inputs = int(made.operands.find('>')), outputs = operand_count(made.operands.c_str()) - inputs;
    PyObject* ufunc =
        PyUFunc_FromFuncAndDataAndSignature(l.functions, l.data, l.types, onesum::storages, inputs, outputs, PyUFunc_None,
                                            made.name.c_str(), "A kernel of the core; see onesum for the function.", 0, l.signature.c_str());
    if (!ufunc) return false;
    const bool added = PyModule_AddObjectRef(module, made.name.c_str(), ufunc) == 0;
    Py_DECREF(ufunc);
    return added;
}

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
    if (usable) PyErr_Format(error, "ONESUM_ISA: %s '%s'; expected one of %R", isa ? "this CPU lacks" : "unknown instruction set", name, usable);
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

// _move(target, sources, streaming): see floor.h. What it returns for target None depends on every byte read.
PyObject* move(PyObject*, PyObject* args) {
    PyObject *target, *sources;
    int streaming;
    if (!PyArg_ParseTuple(args, "OO!p:_move", &target, &PyTuple_Type, &sources, &streaming)) return nullptr;
    const Py_ssize_t count = PyTuple_Size(sources);
    if (count < 1 || count > 2) return PyErr_Format(PyExc_ValueError, "sources: expected one or two arrays, got %zd", count);
    char* data[3] = {};  // target, sources
    npy_intp size = 0;
    for (Py_ssize_t i = target == Py_None ? 1 : 0; i <= count; ++i) {
        PyObject* object = i ? PyTuple_GetItem(sources, i - 1) : target;
        const char* name = i ? "sources" : "target";
        if (!PyArray_Check(object)) return PyErr_Format(PyExc_TypeError, "%s: expected NumPy arrays, got %R", name, Py_TYPE(object));
        auto* array = reinterpret_cast<PyArrayObject*>(object);
        if (!PyArray_IS_C_CONTIGUOUS(array)) return PyErr_Format(PyExc_ValueError, "%s: expected C-contiguous arrays", name);
        if (!i && !PyArray_ISWRITEABLE(array)) return PyErr_Format(PyExc_ValueError, "target: expected a writeable array");
        const bool first = i == (target == Py_None ? 1 : 0);
        if (!first && PyArray_NBYTES(array) != size)
            return PyErr_Format(PyExc_ValueError, "%s: expected arrays of %zd bytes, got %zd", name, Py_ssize_t(size),
                                Py_ssize_t(PyArray_NBYTES(array)));
        size = PyArray_NBYTES(array);
        data[i] = PyArray_BYTES(array);
    }
    isize seen = 0;
    Py_BEGIN_ALLOW_THREADS;
    if (data[0]) onesum::move(data[0], data[1], data[2], size, streaming);
    else seen = onesum::look(data[1], data[2], size);
    Py_END_ALLOW_THREADS;
    if (data[0]) Py_RETURN_NONE;
    return PyLong_FromSsize_t(seen);
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
    if (!onesum::prepare_arrays() || PyUFunc_ImportUFuncAPI() < 0) return -1;  // which asks whether memory is to be kept
    const char* override = getenv("ONESUM_ISA");
    const onesum::Isa* isa = override && *override ? wanted(override, PyExc_ImportError) : onesum::best_isa();
    if (!isa) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ImportError, "onesum: this CPU lacks every instruction set the core was built for");
        return -1;
    }
    if (!use(module, isa)) return -1;
    for (size_t index = 0; index < table.size(); ++index)
        if (!add_ufunc(module, index)) return -1;
    if (onesum::add_losses(module) < 0 || onesum::add_direct_calls(module) < 0 || onesum::add_xla_handlers(module) < 0) return -1;
    for (bool usable : {true, false}) {
        PyObject* tuple = names(usable);
        int failed = !tuple || PyModule_AddObjectRef(module, usable ? "isas" : "built_isas", tuple) < 0;
        Py_XDECREF(tuple);
        if (failed) return -1;
    }
    return 0;
}

PyMethodDef methods[] = {
    {"_use_isa", use_isa, METH_O, "Switch to another instruction set. For tests: calls under way keep the one they began with."},
    {"_get_num_threads", get_num_threads, METH_NOARGS, "How many threads a call may use."},
    {"_set_num_threads", set_num_threads, METH_O, "Let calls use so many."},
    {"_jobs", jobs, METH_NOARGS, "How many calls have been shared among threads. For tests."},
    {"_release_memory", release_memory, METH_NOARGS, "Give the memory kept for large results back; how many bytes."},
    {"_compare", onesum::compare, METH_VARARGS, "The sums over the classes that the divergences of rows of logits follow from."},
    {"_move", move, METH_VARARGS, "Read one or two arrays and write one, or none: the floor under every time. For the benchmark."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
#if defined(Py_mod_gil)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "onesum._core", "Compiled kernels as generalized ufuncs.", 0, methods, slots,
                          nullptr,               nullptr,        nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&definition); }
