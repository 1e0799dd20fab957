// The losses as functions for Python: `losses`, for arguments that Python has checked and made uniform, and
// `direct.cross_entropy`, for those that are plain as they are; like the direct calls of direct.cpp it leaves all else,
// errors included, to Python.
#include "python/module.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "python/array_view.h"
#include "python/class_indices.h"
#include "python/compensated_sum.h"

namespace {

using namespace onesum;

#define ONESUM_INDEX(name, Op, letters) loss_##name,
enum Loss { before_losses = operations - 1, ONESUM_LOSSES(ONESUM_INDEX) };
#undef ONESUM_INDEX
#define ONESUM_LETTERS(name, Op, letters) letters,
const char* const letters_of[] = {ONESUM_LOSSES(ONESUM_LETTERS)};
#undef ONESUM_LETTERS

// One element for each row, side by side in C order.
template <class T> class RowArray {
  public:
    explicit RowArray(npy_intp count)
        : p(count <= npy_intp(sizeof local / sizeof *local) ? local
                                                            : heap = static_cast<T*>(malloc(count * sizeof(T)))) {}
    ~RowArray() { free(heap); }
    RowArray(const RowArray&) = delete;
    explicit operator bool() const { return p; }
    T& operator[](npy_intp i) { return p[i]; }
    T* data() { return p; }
    ArrayView operand(const ArraySpec& spec) const {
        ArrayView result{reinterpret_cast<char*>(p), {}};
        npy_intp step = sizeof(T);
        for (int d = spec.ndim - 1; d >= 0; --d) {
            if (d == spec.axis) continue;
            result.strides[d] = step;
            step *= spec.dims[d];
        }
        return result;
    }

  private:
    T local[128];
    T* heap = nullptr;
    T* p;
};

// The same for all rows and classes.
ArrayView everywhere(const void* data) { return {const_cast<char*>(static_cast<const char*>(data)), {}}; }

constexpr double one_weight = 1;
constexpr isize no_class = -1;

// What a kernel takes; the first four are of the shape of x.
struct Request {
    ArraySpec spec;
    ArrayView x, second, targets, mask = everywhere(nullptr), classes = everywhere(&no_class),
                                  sample = everywhere(&one_weight), masses, temperature, losses, gradient;
    LossOptions options{0, 0, 0, 1, nullptr, false, false, false, wanted_loss};

    npy_intp rows() const {
        npy_intp count = 1;
        for (int d = 0; d < spec.ndim; ++d) count *= d == spec.axis ? 1 : spec.dims[d];
        return count;
    }
    // False: no memory.
    bool run(Loss loss, const int* order) const {
        const ArrayView result = options.gradient ? gradient : x;
        const ArrayView* inputs[] = {&x, &second, &result};
        ArrayView operands[max_operands], *next = operands;
        int arrays = 0;
        for (const char* c = letters_of[loss - operations]; *c; ++c) switch (*c) {
                case '>': arrays = 2; break;
                case 'x': *next++ = *inputs[arrays++]; break;
                case 'y': *next++ = targets; break;
                case 'm': *next++ = mask; break;
                case 'i': *next++ = classes; break;
                case 's': *next++ = sample; break;
                case 'q': *next++ = masses; break;
                case 'T': *next++ = temperature; break;
                case 'l': *next++ = losses; break;
            }
        PyThreadState* thread = rows() * spec.dims[spec.axis] > worth_releasing_the_gil ? PyEval_SaveThread() : nullptr;
        const bool enough_memory =
            for_each_row_run(loss, letters_of[loss - operations], spec, order, operands, &options);
        if (thread) PyEval_RestoreThread(thread);
        return enough_memory;
    }
};

PyObject* decline() { return Py_NewRef(Py_NotImplemented); }
PyObject* bad_argument(const char* name) {
    return PyErr_Format(PyExc_TypeError, "losses: unexpected type, shape or layout of %s", name);
}

// losses(name, x, second, targets, mask, classes, weight, sample_weight, masses, axis, temperature, smoothing, z_loss,
// softcap, by, gradient, out): the losses of the rows, as float64, and the gradient (by the first array if `gradient`
// is 1, by the second if it is 2) or None. The second array has probabilities, the divergence's second logits, or what
// the Hessian is multiplied by, which takes the gradient's place; only beside it `targets` are the probabilities, if
// there are any. Arrays are aligned, in native byte order; those with one element a row have size 1 along the axis, or
// lack it. Without classes no row is ignored. A softcap of 0 is none.
PyObject* losses(PyObject*, PyObject* args) {
    const char* name;
    PyObject *x, *second, *targets, *mask, *classes, *weight, *sample, *masses, *temperature, *out;
    Request request{};
    int axis, gradient;
    LossOptions& options = request.options;
    if (!PyArg_ParseTuple(args, "sOOOOOOOOiOddddiO:losses", &name, &x, &second, &targets, &mask, &classes, &weight,
                          &sample, &masses, &axis, &temperature, &options.smoothing, &options.z_loss, &options.softcap,
                          &options.grad_scale, &gradient, &out))
        return nullptr;
    options.gradient = gradient > 0;
    options.by_second = gradient > 1;
    if (!PyArray_CheckExact(x) || axis < 0 || axis >= PyArray_NDIM(array(x))) return bad_argument("x");
    ArraySpec& spec = request.spec;
    spec = {PyArray_TYPE(array(x)), PyArray_NDIM(array(x)), axis, PyArray_DIMS(array(x)), false};
    if (storage_of(spec.type) < 0 || !spec.take(x, false, request.x)) return bad_argument("x");
    request.second = request.targets = request.x;
    if (targets != Py_None && !spec.take(targets, false, request.targets)) return bad_argument("targets");
    if (second != Py_None && !spec.take(second, false, request.second)) return bad_argument("the second array");
    if (mask != Py_None && !spec.take(mask, false, NPY_BOOL, request.mask)) return bad_argument("mask");
    options.probabilities = classes == Py_None;
    if (classes != Py_None && !spec.take(classes, true, NPY_INT64, request.classes)) return bad_argument("classes");
    if (sample != Py_None && !spec.take(sample, true, NPY_DOUBLE, request.sample)) return bad_argument("sample_weight");
    request.masses = everywhere(&one_weight);
    if (masses != Py_None && !spec.take(masses, true, NPY_DOUBLE, request.masses)) return bad_argument("masses");
    double number = 1;
    request.temperature = everywhere(&number);
    if (PyFloat_Check(temperature)) number = PyFloat_AsDouble(temperature);
    else if (!spec.take(temperature, true, NPY_DOUBLE, request.temperature)) return bad_argument("temperature");
    if (weight != Py_None) {
        if (!PyArray_CheckExact(weight) || PyArray_TYPE(array(weight)) != NPY_DOUBLE ||
            !PyArray_ISCARRAY_RO(array(weight)) || PyArray_SIZE(array(weight)) != spec.dims[axis])
            return bad_argument("weight");
        options.weight = static_cast<const double*>(PyArray_DATA(array(weight)));
    }
    const bool soft = second != Py_None || options.smoothing != 0;
    options.wanted = !strcmp(name, "entropy") ? wanted_entropy : !strcmp(name, "masses") ? wanted_masses : wanted_loss;
    Loss loss = soft || options.wanted ? loss_soft_cross_entropy : loss_cross_entropy;
    if (!strcmp(name, "kl_divergence")) loss = loss_kl_divergence;
    if (!strcmp(name, "cross_entropy_hvp")) loss = loss_cross_entropy_hvp;

    int order[NPY_MAXDIMS];
    sort_axes(spec.ndim, PyArray_STRIDES(array(x)), order);
    ArraySpec numbers = spec;
    numbers.type = NPY_DOUBLE;
    PyObject* values = new_result(numbers, true, true, order);
    if (!values) return nullptr;
    spec.take(values, true, NPY_DOUBLE, request.losses);
    PyObject* gradient_array = Py_NewRef(gradient ? out : Py_None);
    if (gradient && out == Py_None) {
        Py_DECREF(gradient_array);
        gradient_array = new_result(spec, false, PyArray_IS_C_CONTIGUOUS(array(x)), order);
    }
    if (gradient_array && (!gradient || spec.take(gradient_array, false, request.gradient))) {
        if (request.run(loss, order)) return Py_BuildValue("(NN)", values, gradient_array);
        PyErr_NoMemory();
    } else if (gradient_array) {
        bad_argument("out");
    }
    Py_DECREF(values);
    Py_XDECREF(gradient_array);
    return nullptr;
}

// total(x): the sum of a contiguous array of float64.
PyObject* total(PyObject*, PyObject* x) {
    if (!PyArray_CheckExact(x) || PyArray_TYPE(array(x)) != NPY_DOUBLE || !PyArray_ISCARRAY_RO(array(x)))
        return bad_argument("x");
    return PyFloat_FromDouble(sum_of(static_cast<const double*>(PyArray_DATA(array(x))), PyArray_SIZE(array(x))));
}

// A number as an element of x's type: float64, float32 or bfloat16.
void put(void* element, double x, int type) {
    const float narrow = float(x);
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    const uint16_t half = uint16_t((narrow != narrow ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >>
                                   16);  // ties to even; a NaN stays one
    if (type == NPY_DOUBLE) memcpy(element, &x, sizeof x);
    else if (type == NPY_FLOAT) memcpy(element, &narrow, sizeof narrow);
    else memcpy(element, &half, sizeof half);
}
PyObject* scalar_of(double x, int type) {
    PyArray_Descr* descr = PyArray_DescrFromType(type);
    double element;
    put(&element, x, type);
    PyObject* result = PyArray_Scalar(&element, descr, nullptr);
    Py_DECREF(object(descr));
    return result;
}

bool number_of(PyObject* given, double& number) {
    if (!PyFloat_CheckExact(given)) return false;
    number = PyFloat_AsDouble(given);
    return true;
}

// cross_entropy(x, target, axis, weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature,
// where, reduction, gradient, out)
template <bool bfloat16> PyObject* direct_cross_entropy(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 14) return PyErr_Format(PyExc_TypeError, "a direct call got %zd arguments", count);
    PyObject *x = given[0], *target = given[1], *axis_given = given[2], *weight = given[3], *ignored_given = given[5],
             *sample = given[6], *out = given[13];
    const bool gradient = given[12] == Py_True;
    if (!PyArray_CheckExact(x) || !PyArray_CheckExact(target) || !PyLong_CheckExact(axis_given) || given[10] != Py_None)
        return decline();
    const int ndim = PyArray_NDIM(array(x));
    int overflow;
    isize axis = PyLong_AsLongAndOverflow(axis_given, &overflow), ignored = 0;
    if (overflow || axis < -ndim || axis >= ndim) return decline();
    if (axis < 0) axis += ndim;
    Request request{};
    LossOptions& options = request.options;
    options.gradient = gradient;
    double temperature;
    if (!number_of(given[4], options.smoothing) || !number_of(given[7], options.z_loss) ||
        !number_of(given[9], temperature))
        return decline();
    if (!(options.smoothing >= 0 && options.smoothing <= 1) || !(options.z_loss >= 0 && options.z_loss < HUGE_VAL) ||
        !(temperature > 0))
        return decline();
    if (given[8] != Py_None &&
        (!number_of(given[8], options.softcap) || !(options.softcap > 0 && options.softcap < HUGE_VAL)))
        return decline();
    if (!PyUnicode_CheckExact(given[11])) return decline();
    const bool mean = PyUnicode_CompareWithASCIIString(given[11], "mean") == 0,
               each = PyUnicode_CompareWithASCIIString(given[11], "none") == 0;
    if (!mean && !each && PyUnicode_CompareWithASCIIString(given[11], "sum") != 0) return decline();

    ArraySpec& spec = request.spec;
    spec = {PyArray_TYPE(array(x)), ndim, int(axis), PyArray_DIMS(array(x)), false};
    const npy_intp n = spec.dims[axis], rows = request.rows();
    if (n == 0 || spec.type == NPY_HALF || !is_direct(spec.type, bfloat16) || !spec.take(x, false, request.x))
        return decline();
    request.second = request.x;
    request.temperature = everywhere(&temperature);
    if (weight != Py_None) {
        if (!PyArray_CheckExact(weight) || PyArray_TYPE(array(weight)) != NPY_DOUBLE ||
            !PyArray_ISCARRAY_RO(array(weight)) || PyArray_NDIM(array(weight)) != 1 || PyArray_SIZE(array(weight)) != n)
            return decline();
        options.weight = static_cast<const double*>(PyArray_DATA(array(weight)));
        for (npy_intp c = 0; c < n; ++c)
            if (!(options.weight[c] >= 0 && options.weight[c] < HUGE_VAL)) return decline();
    }
    if (sample != Py_None) {
        if (!spec.take(sample, true, NPY_DOUBLE, request.sample) || !PyArray_ISCARRAY_RO(array(sample)))
            return decline();
        const double* weights = static_cast<const double*>(PyArray_DATA(array(sample)));
        for (npy_intp i = 0; i < rows; ++i)
            if (!(weights[i] >= 0 && weights[i] < HUGE_VAL)) return decline();
    }

    const int target_type = PyArray_TYPE(array(target));
    options.probabilities = target_type == spec.type;
    RowArray<isize> classes(options.probabilities ? 0 : rows);
    double counted = double(rows);
    if (options.probabilities) {
        if (ignored_given != Py_None || !spec.take(target, false, request.second)) return decline();
    } else {
        if (ignored_given != Py_None) {
            if (!PyLong_CheckExact(ignored_given)) return decline();
            ignored = PyLong_AsLongAndOverflow(ignored_given, &overflow);
            if (overflow) return decline();
        }
        ArrayView indices;
        if (!classes || (target_type != NPY_INT64 && target_type != NPY_INT32) ||
            !spec.take(target, true, target_type, indices))
            return decline();
        if (target_type == NPY_INT64 && ignored_given == Py_None && !options.weight &&
            PyArray_IS_C_CONTIGUOUS(array(target))) {
            if (!all_below(n, reinterpret_cast<const int64_t*>(indices.data), rows)) return decline();
            request.classes = indices;
        } else {
            const auto read = target_type == NPY_INT64 ? read_classes<int64_t> : read_classes<int32_t>;
            if (!read(indices, spec, rows, options.weight, ignored_given != Py_None, ignored, classes.data(), counted))
                return decline();
            request.classes = classes.operand(spec);
        }
    }
    if (mean) options.grad_scale = counted ? 1 / counted : NAN;

    int order[NPY_MAXDIMS];
    sort_axes(ndim, PyArray_STRIDES(array(x)), order);
    PyObject* gradient_array = nullptr;
    if (gradient && out != Py_None) {
        if (!spec.take(out, false, request.gradient) || !may_write(array(out))) return decline();
        for (PyObject* in : {x, target, weight, sample}) {
            const bool class_by_class = in == x || (in == target && options.probabilities);
            if (in != Py_None &&
                !(class_by_class ? may_write_beside(array(out), array(in)) : !meet(array(out), array(in))))
                return decline();
        }
        gradient_array = Py_NewRef(out);
    } else if (gradient) {
        gradient_array = new_result(spec, false, PyArray_IS_C_CONTIGUOUS(array(x)), order);
        if (!gradient_array) return nullptr;
        spec.take(gradient_array, false, request.gradient);
    }

    RowArray<double> values(rows);
    PyObject* loss = nullptr;
    bool done = bool(values);
    request.losses = values.operand(spec);
    done = done &&
           request.run(options.probabilities || options.smoothing != 0 ? loss_soft_cross_entropy : loss_cross_entropy,
                       order);
    if (!done) {
        PyErr_NoMemory();
    } else if (!each || ndim == 1) {
        const double sum = sum_of(values.data(), rows);
        loss = scalar_of(!mean ? sum : counted ? sum / counted : NAN, spec.type);
    } else if ((loss = new_result(spec, true, true, order))) {
        char* const data = PyArray_BYTES(array(loss));
        for (npy_intp i = 0; i < rows; ++i) put(data + i * PyArray_ITEMSIZE(array(loss)), values[i], spec.type);
    }
    if (!loss) return Py_XDECREF(gradient_array), nullptr;
    return Py_BuildValue("(NN)", loss, gradient_array ? gradient_array : Py_NewRef(Py_None));
}

PyMethodDef methods[] = {{"losses", losses, METH_VARARGS, "The losses of the rows and their gradient."},
                         {"total", total, METH_O, "A sum, as good as if twice the digits had been kept."},
                         {nullptr, nullptr, 0, nullptr}};
template <bool bfloat16> PyMethodDef direct_methods[] = {
    {"cross_entropy", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(direct_cross_entropy<bfloat16>)),
     METH_FASTCALL, "Compute the plain case; answer NotImplemented to others."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int onesum::add_losses(PyObject* module) { return PyModule_AddFunctions(module, methods); }
int onesum::add_direct_losses(PyObject* direct, bool bfloat16) {
    return PyModule_AddFunctions(direct, bfloat16 ? direct_methods<true> : direct_methods<false>);
}
