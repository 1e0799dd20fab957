// The operations without a mask as plain functions: NumPy's ufunc machinery costs several times what a small array
// does.
//
// direct.softmax(x, axis, temperature, out), with a second array after x where there is one, and keepdims at the end
// where an array has one element a row. What is plain is computed: exact arrays of one type, in any layout. All else,
// errors included, is answered with NotImplemented, and the gufunc's way finds out what to do.
#include "python/module.h"

#include <string>
#include <string_view>

#include "python/array_view.h"

namespace {

using namespace onesum;

constexpr int most_operands = 4;  // of these operations

// An operation as its operands in kernels.h tell it.
struct Operation {
    int index;
    const char* letters;
    int inputs = 0, operands = 0;  // inputs: the arrays among the operands
    bool row[most_operands] = {}, rows = false;

    constexpr Operation(int index, const char* letters) : index(index), letters(letters) {
        for (char c : std::string_view(letters)) {
            if (c == '>' || c == 'm') continue;
            inputs += c != 'T';
            rows |= c == 'r';
            row[operands++] = c == 'r';
        }
        --inputs;  // less the result
    }
};

PyObject* decline() { return Py_NewRef(Py_NotImplemented); }

PyObject* call(const Operation& operation, bool bfloat16, PyObject* const* given, Py_ssize_t count) {
    const int inputs = operation.inputs, temperature_at = inputs, out_at = inputs + 1;  // among the operands
    if (count != inputs + 3 + operation.rows)
        return PyErr_Format(PyExc_TypeError, "a direct call got %zd arguments", count);
    PyObject *axis_given = given[inputs], *temperature_given = given[inputs + 1], *out_given = given[inputs + 2];
    PyObject* keepdims_given = operation.rows ? given[inputs + 3] : Py_False;
    if (!PyArray_CheckExact(given[0]) || !PyLong_CheckExact(axis_given) || !PyFloat_CheckExact(temperature_given))
        return decline();
    if (keepdims_given != Py_True && keepdims_given != Py_False) return decline();
    PyArrayObject* x = array(given[0]);
    const int ndim = PyArray_NDIM(x);
    int overflow;
    isize axis = PyLong_AsLongAndOverflow(axis_given, &overflow);
    double temperature = PyFloat_AsDouble(temperature_given);
    if (overflow || axis < -ndim || axis >= ndim || !(temperature > 0)) return decline();
    if (axis < 0) axis += ndim;

    const ArraySpec spec{PyArray_TYPE(x), ndim, int(axis), PyArray_DIMS(x), keepdims_given == Py_True};
    ArrayView operands[most_operands];
    if (!is_direct(spec.type, bfloat16)) return decline();
    for (int i = 0; i < inputs; ++i)
        if (!spec.take(given[i], operation.row[i], operands[i])) return decline();
    operands[temperature_at].data = reinterpret_cast<char*>(&temperature);
    for (int d = 0; d < ndim; ++d) operands[temperature_at].strides[d] = 0;

    int order[NPY_MAXDIMS];
    sort_axes(ndim, PyArray_STRIDES(x), order);
    ArrayView& out = operands[out_at];
    const bool row_out = operation.row[out_at];
    PyObject* result = nullptr;  // none yet for a single number
    double number;
    if (out_given != Py_None) {
        if (!spec.take(out_given, row_out, out) || !may_write(array(out_given))) return decline();
        for (int i = 0; i < inputs; ++i)
            if (!may_write_beside(array(out_given), array(given[i]))) return decline();
        result = Py_NewRef(out_given);
    } else if (row_out && ndim == 1 && !spec.keepdims) {
        out.data = reinterpret_cast<char*>(&number);
        out.strides[0] = 0;
    } else {
        result = new_result(spec, row_out, PyArray_IS_C_CONTIGUOUS(x), order);
        if (!result) return nullptr;
        spec.take(result, row_out, out);
    }

    PyThreadState* thread = PyArray_SIZE(x) > worth_releasing_the_gil ? PyEval_SaveThread() : nullptr;
    ArrayView all[max_operands], *next = all;
    const ArrayView* operand = operands;
    for (const char* c = operation.letters; *c; ++c)
        if (*c != '>') *next++ = *c == 'm' ? ArrayView{nullptr, {}} : *operand++;
    const bool enough_memory = for_each_row_run(operation.index, operation.letters, spec, order, all);
    if (thread) PyEval_RestoreThread(thread);
    if (!enough_memory) {
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    if (result) return result;
    PyArray_Descr* dtype = PyArray_DescrFromType(spec.type);
    PyObject* scalar = PyArray_Scalar(out.data, dtype, nullptr);
    Py_DECREF(object(dtype));
    return scalar;
}

#define ONESUM_INDEX(name, Op, letters) index_##name,
enum Index { ONESUM_OPERATIONS(ONESUM_INDEX) };
#undef ONESUM_INDEX

template <class F> PyCFunction method(F* f) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f)); }

#define ONESUM_DIRECT(name, Op, letters)                                      \
    {#name, method(+[](PyObject*, PyObject* const* given, Py_ssize_t count) { \
         static constexpr Operation operation{index_##name, letters};         \
         return call(operation, bfloat16, given, count);                      \
     }),                                                                      \
     METH_FASTCALL, "Compute the plain case; answer NotImplemented to others."},

template <bool bfloat16> PyMethodDef methods[] = {
    ONESUM_OPERATIONS(ONESUM_DIRECT)  // each with a comma
    {nullptr, nullptr, 0, nullptr},
};
#undef ONESUM_DIRECT

}  // namespace

int onesum::add_direct_calls(PyObject* module) {
    for (bool bfloat16 : {false, true}) {
        const std::string name = bfloat16 ? "direct_bfloat16" : "direct";
        PyObject* direct = PyModule_New(("onesum._core." + name).c_str());
        const bool failed = !direct || PyModule_AddFunctions(direct, bfloat16 ? methods<true> : methods<false>) < 0 ||
                            add_direct_losses(direct, bfloat16) < 0 ||
                            PyModule_AddObjectRef(module, name.c_str(), direct) < 0;
        Py_XDECREF(direct);
        if (failed) return -1;
    }
    return 0;
}
