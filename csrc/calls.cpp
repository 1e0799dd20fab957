// The operations without a mask as plain functions: NumPy's ufunc machinery costs several times what a small array does.
//
// direct.softmax(x, axis, temperature, out), with a second array after x where there is one, and keepdims at the end where an array has one
// element a row. What is plain is computed: exact arrays of one type, in any layout. All else, errors included, is answered with
// NotImplemented, and the gufunc's way finds out what to do.
#include "calls.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "dispatch.h"
#include "memory.h"

namespace {

static_assert(sizeof(npy_intp) == sizeof(long));

constexpr int max_operands = 4;
constexpr npy_intp worth_releasing_the_gil = 20000;  // elements; some ten microseconds
constexpr int warn_on_write = 1 << 31;               // NumPy's flag for results of broadcast_arrays; in no header of its

PyArrayObject* array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

int storage_of(int type) {
    switch (type) {
        case NPY_HALF: return onesum::storage_float16;
        case NPY_FLOAT: return onesum::storage_float32;
        case NPY_DOUBLE: return onesum::storage_float64;
        default: return -1;
    }
}

// What a kernel sees of an array. The strides are told for every axis of x: 0 along the class axis if there is one element a row.
struct Operand {
    char* data;
    npy_intp strides[NPY_MAXDIMS];
};

// The form of x, which the other arrays have to have too.
struct Form {
    int type, ndim, axis;
    const npy_intp* dims;
    bool keepdims;

    // False unless the array has this form, the class axis left to one element if `row`, and a kernel can take it as it is.
    bool take(PyObject* object, bool row, Operand& operand) const {
        if (!PyArray_CheckExact(object)) return false;
        PyArrayObject* a = array(object);
        const bool dropped = row && !keepdims;
        if (PyArray_TYPE(a) != type || !PyArray_ISBEHAVED_RO(a) || PyArray_NDIM(a) != ndim - dropped) return false;
        const npy_intp *a_dims = PyArray_DIMS(a), *a_strides = PyArray_STRIDES(a);
        for (int d = 0, k = 0; d < ndim; ++d) {
            const bool single = row && d == axis;
            operand.strides[d] = single ? 0 : a_strides[k];
            if (single && dropped) continue;
            if (a_dims[k++] != (single ? 1 : dims[d])) return false;
        }
        operand.data = PyArray_BYTES(a);
        return true;
    }
};

// The axes, those first along which the elements lie farthest apart.
void sort_axes(int ndim, const npy_intp* strides, int* order) {
    for (int d = 0; d < ndim; ++d) {
        int k = d;
        for (; k > 0 && labs(strides[order[k - 1]]) < labs(strides[d]); --k) order[k] = order[k - 1];
        order[k] = d;
    }
}

// memory.h as NumPy takes it. Every array knows by which handler its memory came, and gives it back there.
PyDataMem_Handler large_memory = {
    "onesum",
    1,
    {nullptr, [](void*, size_t size) { return onesum::allocate(size); },
     [](void*, size_t count, size_t size) { return onesum::allocate_zeros(count, size); },
     [](void*, void* data, size_t size) { return onesum::reallocate(data, size); }, [](void*, void* data, size_t) { onesum::deallocate(data); }},
};
PyObject* large_memory_capsule = nullptr;  // null where nothing is kept

bool use_handler(PyObject* handler) {
    PyObject* before = PyDataMem_SetHandler(handler);
    Py_XDECREF(before);
    return before;
}

// A new array; a large one in memory.h's memory, unless the program has chosen a handler itself.
PyObject* new_array(PyArray_Descr* dtype, int ndim, npy_intp* dims, npy_intp* strides, npy_intp bytes) {
    auto make = [&] {
        Py_INCREF(dtype);  // which the array takes
        return PyArray_NewFromDescr(&PyArray_Type, dtype, ndim, dims, strides, nullptr, 0, nullptr);
    };
    if (bytes < onesum::large_result || !large_memory_capsule) return make();
    PyObject* chosen = PyDataMem_GetHandler();
    Py_XDECREF(chosen);
    if (chosen != PyDataMem_DefaultHandler) return make();
    if (!use_handler(large_memory_capsule)) return nullptr;
    PyObject* result = make();
    if (!result) PyErr_Clear();
    if (!use_handler(PyDataMem_DefaultHandler)) Py_CLEAR(result);
    else if (!result) result = make();  // NumPy has no more memory than we, and its own words for that
    return result;
}

// A new result, in memory in the order of x. But where the last axis is the class axis it is innermost, as gufuncs have it.
PyObject* new_result(const Form& form, bool row, bool c_order, const int* order) {
    const int axis = form.axis;
    const bool innermost = axis == form.ndim - 1;
    PyArray_Descr* dtype = PyArray_DescrFromType(form.type);
    npy_intp dims[NPY_MAXDIMS], strides[NPY_MAXDIMS], step = PyDataType_ELSIZE(dtype);
    memcpy(dims, form.dims, form.ndim * sizeof *dims);
    if (row) dims[axis] = 1;
    npy_intp bytes = step;
    for (int d = 0; d < form.ndim; ++d) bytes *= dims[d];
    if (!c_order) {
        auto lay = [&](int d) { strides[d] = step, step *= dims[d]; };
        if (innermost) lay(axis);
        for (int k = form.ndim - 1; k >= 0; --k)
            if (order[k] != axis || !innermost) lay(order[k]);
    }
    int ndim = form.ndim;
    if (row && !form.keepdims) {
        --ndim;
        memmove(dims + axis, dims + axis + 1, (ndim - axis) * sizeof *dims);
        if (!c_order) memmove(strides + axis, strides + axis + 1, (ndim - axis) * sizeof *strides);
    }
    PyObject* result = new_array(dtype, ndim, dims, c_order ? nullptr : strides, bytes);
    Py_DECREF(dtype);
    return result;
}

// The addresses between which an array lies. (Of one without elements, any.)
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

// Whether two elements may be the same memory.
bool may_repeat(PyArrayObject* a) {
    if (PyArray_IS_C_CONTIGUOUS(a)) return false;
    const npy_intp *dims = PyArray_DIMS(a), *strides = PyArray_STRIDES(a);
    for (int d = 0; d < PyArray_NDIM(a); ++d) {
        if (dims[d] <= 1) continue;
        npy_intp within = PyArray_ITEMSIZE(a);  // the reach of the axes that step less far
        for (int e = 0; e < PyArray_NDIM(a); ++e)
            if (e != d && labs(strides[e]) <= labs(strides[d])) within += (dims[e] - 1) * labs(strides[e]);
        if (labs(strides[d]) < within) return true;
    }
    return false;
}

bool may_write(PyArrayObject* out) {
    return (PyArray_FLAGS(out) & (NPY_ARRAY_WRITEABLE | warn_on_write)) == NPY_ARRAY_WRITEABLE && !may_repeat(out);
}

// A kernel may write each element over the one it is computed from, and else nowhere over its inputs.
bool may_write_beside(PyArrayObject* out, PyArrayObject* in) {
    const bool same = PyArray_DATA(out) == PyArray_DATA(in) && PyArray_SAMESHAPE(out, in) &&
                      !memcmp(PyArray_STRIDES(out), PyArray_STRIDES(in), PyArray_NDIM(out) * sizeof(npy_intp));
    return same || !Extent(out).meets(Extent(in));
}

// An operation as its operands in kernels.h tell it.
struct Operation {
    int index, inputs = 0, operands = 0;  // inputs: the arrays among the operands
    bool row[max_operands] = {}, rows = false;

    constexpr Operation(int index, std::string_view letters) : index(index) {
        for (char c : letters) {
            if (c == '>') continue;
            inputs += c != 'T';
            rows |= c == 'r';
            row[operands++] = c == 'r';
        }
        --inputs;  // less the result
    }
};

// All rows, by kernel calls. Axes along which the rows of every operand lie evenly are made one; a call goes along the one whose rows are
// nearest. False: no memory.
bool walk(const Operation& operation, const Form& form, const int* order, const Operand* operands) {
    struct Axis {
        npy_intp size, strides[max_operands];
    } axes[NPY_MAXDIMS];
    int outer = 0;  // axes[outer] is the one that a kernel call goes along
    axes[0] = {1, {}};
    for (int k = 0; k < form.ndim; ++k) {
        const int d = order[k];
        const npy_intp size = form.dims[d];
        if (d == form.axis || size == 1) continue;
        if (size == 0) return true;
        bool even = true;
        for (int i = 0; i < operation.operands; ++i) even &= axes[outer].strides[i] == size * operands[i].strides[d];
        if (axes[outer].size == 1) axes[outer].size = size;
        else if (even) axes[outer].size *= size;
        else axes[++outer].size = size;
        for (int i = 0; i < operation.operands; ++i) axes[outer].strides[i] = operands[i].strides[d];
    }

    const int storage = storage_of(form.type);
    const npy_intp n = form.dims[form.axis];
    char* args[max_operands];
    long strides[2 * max_operands], *end = strides, at[NPY_MAXDIMS];
    for (int i = 0; i < operation.operands; ++i) {
        args[i] = operands[i].data;
        *end++ = axes[outer].strides[i];
    }
    for (int i = 0; i < operation.operands; ++i)
        if (!operation.row[i] && i != operation.inputs) *end++ = operands[i].strides[form.axis];
    for (int a = 0; a < outer; ++a) at[a] = 0;
    for (;;) {
        if (!onesum::call_kernel(operation.index, storage, args, axes[outer].size, n, strides)) return false;
        int a = outer - 1;
        for (; a >= 0; --a) {
            const long steps = ++at[a] < axes[a].size ? 1 : 1 - at[a];
            for (int i = 0; i < operation.operands; ++i) args[i] += steps * axes[a].strides[i];
            if (steps == 1) break;
            at[a] = 0;
        }
        if (a < 0) return true;
    }
}

PyObject* not_here() { return Py_NewRef(Py_NotImplemented); }

PyObject* call(const Operation& operation, PyObject* const* given, Py_ssize_t count) {
    const int inputs = operation.inputs, temperature_at = inputs, out_at = inputs + 1;  // among the operands
    if (count != inputs + 3 + operation.rows) return PyErr_Format(PyExc_TypeError, "a direct call got %zd arguments", count);
    PyObject *axis_given = given[inputs], *temperature_given = given[inputs + 1], *out_given = given[inputs + 2];
    PyObject* keepdims_given = operation.rows ? given[inputs + 3] : Py_False;
    if (!PyArray_CheckExact(given[0]) || !PyLong_CheckExact(axis_given) || !PyFloat_CheckExact(temperature_given)) return not_here();
    if (keepdims_given != Py_True && keepdims_given != Py_False) return not_here();
    PyArrayObject* x = array(given[0]);
    const int ndim = PyArray_NDIM(x);
    int overflow;
    long axis = PyLong_AsLongAndOverflow(axis_given, &overflow);
    double temperature = PyFloat_AsDouble(temperature_given);
    if (overflow || axis < -ndim || axis >= ndim || !(temperature > 0)) return not_here();
    if (axis < 0) axis += ndim;

    const Form form{PyArray_TYPE(x), ndim, int(axis), PyArray_DIMS(x), keepdims_given == Py_True};
    Operand operands[max_operands];
    if (storage_of(form.type) < 0) return not_here();
    for (int i = 0; i < inputs; ++i)
        if (!form.take(given[i], operation.row[i], operands[i])) return not_here();
    operands[temperature_at].data = reinterpret_cast<char*>(&temperature);
    for (int d = 0; d < ndim; ++d) operands[temperature_at].strides[d] = 0;

    int order[NPY_MAXDIMS];
    sort_axes(ndim, PyArray_STRIDES(x), order);
    Operand& out = operands[out_at];
    const bool row_out = operation.row[out_at];
    PyObject* result = nullptr;  // none yet for a single number
    double number;
    if (out_given != Py_None) {
        if (!form.take(out_given, row_out, out) || !may_write(array(out_given))) return not_here();
        for (int i = 0; i < inputs; ++i)
            if (!may_write_beside(array(out_given), array(given[i]))) return not_here();
        result = Py_NewRef(out_given);
    } else if (row_out && ndim == 1 && !form.keepdims) {
        out.data = reinterpret_cast<char*>(&number);
        out.strides[0] = 0;
    } else {
        result = new_result(form, row_out, PyArray_IS_C_CONTIGUOUS(x), order);
        if (!result) return nullptr;
        form.take(result, row_out, out);
    }

    PyThreadState* thread = PyArray_SIZE(x) > worth_releasing_the_gil ? PyEval_SaveThread() : nullptr;
    const bool enough_memory = walk(operation, form, order, operands);
    if (thread) PyEval_RestoreThread(thread);
    if (!enough_memory) {
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    if (result) return result;
    PyArray_Descr* dtype = PyArray_DescrFromType(form.type);
    PyObject* scalar = PyArray_Scalar(out.data, dtype, nullptr);
    Py_DECREF(dtype);
    return scalar;
}

constexpr Operation operation_of(std::string_view wanted) {
    int index = 0;
#define ONESUM_ROW(name, operands)                          \
    if (wanted == #name) return Operation{index, operands}; \
    ++index;
    ONESUM_OPERATIONS(ONESUM_ROW)
#undef ONESUM_ROW
    return Operation{-1, ""};
}

template <class F> PyCFunction method(F* f) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f)); }

#define ONESUM_DIRECT(name)                                                   \
    {#name, method(+[](PyObject*, PyObject* const* given, Py_ssize_t count) { \
         static constexpr Operation operation = operation_of(#name);          \
         static_assert(operation.index >= 0);                                 \
         return call(operation, given, count);                                \
     }),                                                                      \
     METH_FASTCALL, "Compute the plain case; answer NotImplemented to others."},

PyMethodDef methods[] = {
    ONESUM_DIRECT(softmax)       ONESUM_DIRECT(log_softmax)     ONESUM_DIRECT(logsumexp)
    ONESUM_DIRECT(softmax_vjp)   ONESUM_DIRECT(log_softmax_vjp) ONESUM_DIRECT(log_softmax_jvp)
    ONESUM_DIRECT(logsumexp_vjp) ONESUM_DIRECT(logsumexp_jvp)
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int onesum::add_direct_calls(PyObject* module) {
    if (PyArray_ImportNumPyAPI() < 0) return -1;
    if (!large_memory_capsule && onesum::keeps_memory() && !(large_memory_capsule = PyCapsule_New(&large_memory, "mem_handler", nullptr))) return -1;
    PyObject* direct = PyModule_New("onesum._core.direct");
    const bool failed = !direct || PyModule_AddFunctions(direct, methods) < 0 || PyModule_AddObjectRef(module, "direct", direct) < 0;
    Py_XDECREF(direct);
    return failed ? -1 : 0;
}
