// NumPy's arrays as the kernels see them: their elements and strides, new results, and what may be written to.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#ifndef ONESUM_ARRAYS
#define NO_IMPORT_ARRAY
#endif
#define PY_ARRAY_UNIQUE_SYMBOL onesum_array_api
#include <numpy/arrayobject.h>

#include <type_traits>

#include "common/tuning.h"
#include "runtime/kernels.h"

namespace onesum {

static_assert(std::is_same_v<npy_intp, isize>);

using tuning::worth_releasing_the_gil;

inline PyArrayObject* array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }
inline PyObject* object(PyArray_Descr* dtype) { return reinterpret_cast<PyObject*>(dtype); }

// bfloat16 is no type of NumPy's own: inside the core, whole numbers of 16 bits stand for its bits.
constexpr int type_of_bfloat16 = NPY_UINT16;
// -1 for other types.
int storage_of(int type);
// Whether a direct call takes arrays of this type: whole numbers only where they are meant as bfloat16.
inline bool is_direct(int type, bool bfloat16) {
    return storage_of(type) >= 0 && (type == type_of_bfloat16) == bfloat16;
}

// What a kernel sees of an array. The strides are told for every axis of x: 0 along the class axis if there is one
// element a row.
struct ArrayView {
    char* data;
    npy_intp strides[NPY_MAXDIMS];
};

// The type and shape of x, which the other arrays have to have too, and the class axis.
struct ArraySpec {
    int type, ndim, axis;
    const npy_intp* dims;
    bool keepdims;

    // False unless the array is so, the class axis left to one element if `row`, and a kernel can take it as it is.
    bool take(PyObject* object, bool row, ArrayView& operand) const { return take(object, row, type, operand); }
    // The same for an array of another type.
    bool take(PyObject* object, bool row, int type, ArrayView& operand) const;
};

// The axes, those first along which the elements lie farthest apart.
void sort_axes(int ndim, const npy_intp* strides, int* order);

// A new result, in memory in the order of x. But where the last axis is the class axis it is innermost, as gufuncs have
// it.
PyObject* new_result(const ArraySpec& spec, bool row, bool c_order, const int* order);

bool may_write(PyArrayObject* out);
// A kernel may write each element over the one it is computed from, and else nowhere over its inputs.
bool may_write_beside(PyArrayObject* out, PyArrayObject* in);
// Whether the memory of one lies, even in part, between the ends of the other's.
bool meet(PyArrayObject* a, PyArrayObject* b);

// All rows, by kernel calls; `letters` are the operands as in kernels.h. Axes along which the rows of every operand lie
// evenly are made one; a call goes along the one whose rows are nearest. False: no memory.
bool for_each_row_run(int kernel, const char* letters, const ArraySpec& spec, const int* order,
                      const ArrayView* operands, const LossOptions* loss = nullptr);

// To be called once, before all else; false with an exception set if that fails.
bool prepare_arrays();

}  // namespace onesum
