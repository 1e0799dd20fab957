#define ONESUM_ARRAYS
#include "python/array_view.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "runtime/dispatch.h"
#include "runtime/result_memory.h"

namespace onesum {
namespace {

constexpr int warn_on_write = 1 << 31;  // NumPy's flag for results of broadcast_arrays; in no header of its

// result_memory.h as NumPy takes it. Every array knows by which handler its memory came, and gives it back there.
PyDataMem_Handler large_memory = {
    "onesum",
    1,
    {nullptr, [](void*, size_t size) { return allocate(size); },
     [](void*, size_t count, size_t size) { return allocate_zeros(count, size); },
     [](void*, void* data, size_t size) { return reallocate(data, size); },
     [](void*, void* data, size_t) { deallocate(data); }},
};
PyObject* large_memory_capsule = nullptr;  // null where nothing is kept

bool use_handler(PyObject* handler) {
    PyObject* before = PyDataMem_SetHandler(handler);
    Py_XDECREF(before);
    return before;
}

// A new array; a large one in result_memory.h's memory, unless the program has chosen a handler itself.
PyObject* new_array(PyArray_Descr* dtype, int ndim, npy_intp* dims, npy_intp* strides, npy_intp bytes) {
    auto make = [&] {
        Py_INCREF(object(dtype));  // which the array takes
        return PyArray_NewFromDescr(&PyArray_Type, dtype, ndim, dims, strides, nullptr, 0, nullptr);
    };
    if (bytes < large_result || !large_memory_capsule) return make();
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
            if (e != d && std::abs(strides[e]) <= std::abs(strides[d])) within += (dims[e] - 1) * std::abs(strides[e]);
        if (std::abs(strides[d]) < within) return true;
    }
    return false;
}

}  // namespace

int storage_of(int type) {
    switch (type) {
        case NPY_HALF: return storage_float16;
        case type_of_bfloat16: return storage_bfloat16;
        case NPY_FLOAT: return storage_float32;
        case NPY_DOUBLE: return storage_float64;
        default: return -1;
    }
}

bool ArraySpec::take(PyObject* object, bool row, int type, ArrayView& operand) const {
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

void sort_axes(int ndim, const npy_intp* strides, int* order) {
    for (int d = 0; d < ndim; ++d) {
        int k = d;
        for (; k > 0 && std::abs(strides[order[k - 1]]) < std::abs(strides[d]); --k) order[k] = order[k - 1];
        order[k] = d;
    }
}

PyObject* new_result(const ArraySpec& spec, bool row, bool c_order, const int* order) {
    const int axis = spec.axis;
    const bool innermost = axis == spec.ndim - 1;
    PyArray_Descr* dtype = PyArray_DescrFromType(spec.type);
    npy_intp dims[NPY_MAXDIMS], strides[NPY_MAXDIMS], step = PyDataType_ELSIZE(dtype);
    memcpy(dims, spec.dims, spec.ndim * sizeof *dims);
    if (row) dims[axis] = 1;
    npy_intp bytes = step;
    for (int d = 0; d < spec.ndim; ++d) bytes *= dims[d];
    if (!c_order) {
        auto lay = [&](int d) { strides[d] = step, step *= dims[d]; };
        if (innermost) lay(axis);
        for (int k = spec.ndim - 1; k >= 0; --k)
            if (order[k] != axis || !innermost) lay(order[k]);
    }
    int ndim = spec.ndim;
    if (row && !spec.keepdims) {
        --ndim;
        memmove(dims + axis, dims + axis + 1, (ndim - axis) * sizeof *dims);
        if (!c_order) memmove(strides + axis, strides + axis + 1, (ndim - axis) * sizeof *strides);
    }
    PyObject* result = new_array(dtype, ndim, dims, c_order ? nullptr : strides, bytes);
    Py_DECREF(object(dtype));
    return result;
}

bool may_write(PyArrayObject* out) {
    return (PyArray_FLAGS(out) & (NPY_ARRAY_WRITEABLE | warn_on_write)) == NPY_ARRAY_WRITEABLE && !may_repeat(out);
}

bool may_write_beside(PyArrayObject* out, PyArrayObject* in) {
    const bool same = PyArray_DATA(out) == PyArray_DATA(in) && PyArray_SAMESHAPE(out, in) &&
                      !memcmp(PyArray_STRIDES(out), PyArray_STRIDES(in), PyArray_NDIM(out) * sizeof(npy_intp));
    return same || !meet(out, in);
}

bool meet(PyArrayObject* a, PyArrayObject* b) { return Extent(a).meets(Extent(b)); }

bool for_each_row_run(int kernel, const char* letters, const ArraySpec& spec, const int* order,
                      const ArrayView* operands, const LossOptions* loss) {
    const int count = operand_count(letters);
    struct Axis { npy_intp size, strides[max_operands]; } axes[NPY_MAXDIMS];
    int outer = 0;  // axes[outer] is the one that a kernel call goes along
    isize rows = 1;
    axes[0] = {1, {}};
    for (int k = 0; k < spec.ndim; ++k) {
        const int d = order[k];
        const npy_intp size = spec.dims[d];
        if (d == spec.axis || size == 1) continue;
        if (size == 0) return true;
        rows *= size;
        bool even = true;
        for (int i = 0; i < count; ++i) even &= axes[outer].strides[i] == size * operands[i].strides[d];
        if (axes[outer].size == 1) axes[outer].size = size;
        else if (even) axes[outer].size *= size;
        else axes[++outer].size = size;
        for (int i = 0; i < count; ++i) axes[outer].strides[i] = operands[i].strides[d];
    }

    const int storage = storage_of(spec.type);
    const npy_intp n = spec.dims[spec.axis];
    char* args[max_operands];
    isize strides[2 * max_operands], *end = strides, at[NPY_MAXDIMS];
    for (int i = 0; i < count; ++i) {
        args[i] = operands[i].data;
        *end++ = axes[outer].strides[i];
    }
    const ArrayView* operand = operands;
    for (const char* c = letters; *c; ++c) {
        if (*c == '>') continue;
        if (*c == 'x' || *c == 'y' || *c == 'm') *end++ = operand->strides[spec.axis];
        ++operand;
    }
    for (int a = 0; a < outer; ++a) at[a] = 0;
    for (;;) {
        if (!call_kernel(kernel, storage, args, axes[outer].size, n, strides, rows, loss)) return false;
        int a = outer - 1;
        for (; a >= 0; --a) {
            const isize steps = ++at[a] < axes[a].size ? 1 : 1 - at[a];
            for (int i = 0; i < count; ++i) args[i] += steps * axes[a].strides[i];
            if (steps == 1) break;
            at[a] = 0;
        }
        if (a < 0) return true;
    }
}

bool prepare_arrays() {
    if (PyArray_ImportNumPyAPI() < 0) return false;
    if (large_memory_capsule || !keeps_memory()) return true;
    large_memory_capsule = PyCapsule_New(&large_memory, "mem_handler", nullptr);
    return large_memory_capsule;
}

}  // namespace onesum
