// The kernels as functions that XLA calls on CPUs (decision 0014). Python takes part only in handing them over: a call
// may come from any thread, without the GIL.
//
// Numbers of 16 bits come widened, and are rounded by XLA. Arguments are the operands of kernels.h in their order, but
// for masks and options: x, p, g, classes (int32 or int64; -1 for rows to ignore), weights of the rows. Then come,
// unless T is 1, the two words of the temperature. The attribute `axis` is the class axis, counted from the end. What
// has one element a row has size 1 along it, or lacks it and all axes after it. Any other axis of an argument may have
// size 1 where the result's is longer: so vmap puts in axes that only some arguments have.
#include "python/module.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "python/array_view.h"
#include "python/xla_abi.h"
#include "runtime/result_memory.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {

using namespace onesum;
using namespace onesum::xla;

Error* failure(const Api* api, Code code, const char* message) {
    ErrorRequest request{error_request_size, nullptr, message, code};
    return api->create_error(&request);
}

int type_of(Type type) {
    switch (type) {
        case type_float32: return NPY_FLOAT;
        case type_float64: return NPY_DOUBLE;
        default: return NPY_NOTYPE;
    }
}

// XLA's threads may take denormals for 0. The kernels do not, so that the bits are NumPy's.
class UsualArithmetic {
#if defined(__x86_64__)
  public:
    UsualArithmetic() { _mm_setcsr(_MM_MASK_MASK); }
    ~UsualArithmetic() { _mm_setcsr(before); }
    UsualArithmetic(const UsualArithmetic&) = delete;

  private:
    const unsigned before = _mm_getcsr();
#endif
};

// What is put together for one call; what does not fit is told once, and then nothing is computed.
class Call {
  public:
    ArraySpec spec{};

    explicit Call(const CallFrame& frame, int count = 1)
        : arguments(frame.arguments), results(frame.results), api(frame.api) {
        begin(frame, count);
    }

    explicit operator bool() const { return !error; }
    Error* outcome() const { return error; }
    void fail(const char* message, Code code = code_invalid_argument) {
        if (!error) error = failure(api, code, message);
    }

    npy_intp rows() const {
        npy_intp count = 1;
        for (int d = 0; d < spec.ndim; ++d) count *= d == spec.axis ? 1 : dims[d];
        return count;
    }

    // The next argument; null if there is none.
    const Buffer* next() {
        if (error) return nullptr;
        if (taken < arguments.count && fits(arguments, taken)) return &buffer(arguments, taken++);
        fail("onesum: expected more buffers");
        return nullptr;
    }
    bool has_more() const { return !error && taken < arguments.count; }

    // A buffer as an operand, of elements of this type.
    ArrayView operand(const Buffer* given, bool row, int type, isize size) {
        ArrayView operand{};
        if (!given) return operand;
        if (type_of(given->type) != type) return fail("onesum: expected buffers of one type"), operand;
        operand.data = static_cast<char*>(given->data);
        place(*given, row, size, operand);
        return operand;
    }
    ArrayView same_type(const Buffer* given, bool row) { return operand(given, row, spec.type, size_of(spec.type)); }
    // A result of that type. XLA has a new one from the system for every call, and its pages cost more than what is
    // computed (decision 0006).
    ArrayView output(int i, bool row) {
        const ArrayView operand = same_type(result(i), row);
        const npy_intp bytes = error ? 0 : elements_of(*result(i)) * size_of(spec.type);
        if (bytes >= tuning::least_huge) allow_huge_pages_within(operand.data, bytes);
        return operand;
    }

    // f(i, k) for every row i, in C order, and the element k of the buffer that is its own.
    template <class F> void each_row(const Buffer& given, F f) {
        ArrayView elements{};
        place(given, true, 1, elements);
        if (error) return;
        const npy_intp count = rows();
        if (elements_of(given) == count) {
            for (npy_intp i = 0; i < count; ++i) f(i, i);
            return;
        }
        npy_intp at[NPY_MAXDIMS] = {}, k = 0;
        for (npy_intp i = 0; i < count; ++i) {
            f(i, k);
            for (int d = spec.ndim - 1; d >= 0; --d) {
                if (d == spec.axis) continue;
                k += elements.strides[d];
                if (++at[d] < dims[d]) break;
                k -= elements.strides[d] * dims[d];
                at[d] = 0;
            }
        }
    }
    // One number of each row, side by side in C order.
    ArrayView side_by_side(void* data) const {
        ArrayView operand{static_cast<char*>(data), {}};
        npy_intp step = 8;
        for (int d = spec.ndim - 1; d >= 0; --d) {
            if (d == spec.axis) continue;
            operand.strides[d] = step;
            step *= dims[d];
        }
        return operand;
    }
    // Room for so many; null if something has failed.
    template <class T> T* allocate(std::unique_ptr<T[]>& memory, npy_intp count) {
        if (error) return nullptr;
        memory.reset(new (std::nothrow) T[count > 0 ? count : 1]);
        if (!memory) no_memory();
        return memory.get();
    }
    void no_memory() { fail("onesum: no memory", code_resource_exhausted); }

    // The temperature: a double for each row, or one for all.
    ArrayView temperature() {
        if (!has_more()) return {reinterpret_cast<char*>(const_cast<double*>(&one)), {}};
        const Buffer *hi = next(), *lo = next();
        if (has_more()) fail("onesum: expected fewer buffers");
        if (error) return {};
        bool same = hi->type == lo->type && hi->rank == lo->rank;
        for (int64_t d = 0; same && d < hi->rank; ++d) same = hi->dims[d] == lo->dims[d];
        if (!same || !is_wide(*hi))
            return fail("onesum: expected a temperature in two words of 32 or 64 bits"), ArrayView{};
        ArrayView operand{};
        place(*hi, true, sizeof(double), operand);
        const npy_intp count = elements_of(*hi);
        double* sums = allocate(temperatures, count);
        operand.data = reinterpret_cast<char*>(sums);
        for (npy_intp i = 0; sums && i < count; ++i) sums[i] = number(*hi, i) + number(*lo, i);
        given_temperature = hi;
        return operand;
    }
    // Multiplies one number of each row by T.
    void times_temperature(double* of_rows) {
        if (given_temperature)
            each_row(*given_temperature, [&](npy_intp i, npy_intp k) { of_rows[i] *= temperatures[k]; });
    }

    static double number(const Buffer& given, npy_intp i) {
        if (given.type == type_float64) return static_cast<const double*>(given.data)[i];
        return static_cast<const float*>(given.data)[i];
    }
    static npy_intp elements_of(const Buffer& given) {
        npy_intp count = 1;
        for (int64_t d = 0; d < given.rank; ++d) count *= given.dims[d];
        return count;
    }
    static bool is_wide(const Buffer& given) { return given.type == type_float32 || given.type == type_float64; }
    static isize size_of(int type) { return type == NPY_DOUBLE ? 8 : 4; }

    // All rows. Arrays are in C order, and so are the axes.
    void run(int kernel, const char* letters, const ArrayView* operands, const LossOptions* loss = nullptr) {
        if (error) return;
        int order[NPY_MAXDIMS];
        for (int d = 0; d < spec.ndim; ++d) order[d] = d;
        const UsualArithmetic here{};
        if (!for_each_row_run(kernel, letters, spec, order, operands, loss)) no_memory();
    }

    const Buffer* result(int i = 0) const { return error ? nullptr : &buffer(results, i); }
    static constexpr double one = 1;

  private:
    void begin(const CallFrame& frame, int count) {
        const size_t smaller = std::min(frame.arguments.struct_size, frame.results.struct_size);
        if (smaller < least_buffers || frame.attributes.struct_size < least_attributes)
            return fail("the structures of this XLA are not those that onesum knows");
        if (arguments.count < 1 || results.count != count || !fits(arguments, 0))
            return fail("onesum: expected other numbers of buffers");
        for (int i = 0; i < count; ++i)
            if (!fits(results, i)) return fail("onesum: expected buffers");
        const Buffer &x = buffer(arguments, 0), &out = buffer(results, 0);
        int64_t from_end;
        if (!attribute(frame.attributes, "axis", from_end))
            return fail("onesum: expected an attribute `axis` of 64 bits");
        if (x.rank < 1 || x.rank > NPY_MAXDIMS || out.rank != x.rank || from_end >= 0 || from_end < -x.rank)
            return fail("onesum: x, its result and `axis` do not fit together");
        spec = {type_of(x.type), int(x.rank), int(x.rank + from_end), dims, false};
        if (storage_of(spec.type) < 0) return fail("onesum: expected floating numbers of 32 or 64 bits");
        for (int d = 0; d < spec.ndim; ++d) dims[d] = d == spec.axis ? x.dims[d] : out.dims[d];
    }
    static bool fits(const Buffers& buffers, int64_t i) {
        return buffers.kinds[i] == kind_buffer && buffer(buffers, i).struct_size >= least_buffer;
    }
    static const Buffer& buffer(const Buffers& buffers, int64_t i) {
        return *static_cast<const Buffer*>(buffers.items[i]);
    }
    static bool attribute(const Attributes& attributes, std::string_view name, int64_t& value) {
        for (int64_t i = 0; i < attributes.count; ++i) {
            const std::string_view given(attributes.names[i]->text, attributes.names[i]->length);
            if (attributes.kinds[i] != attribute_scalar || given != name) continue;
            const auto& scalar = *static_cast<const Scalar*>(attributes.items[i]);
            if (scalar.type != type_int64) return false;
            memcpy(&value, scalar.value, sizeof value);
            return true;
        }
        return false;
    }
    // The strides of an array in C order: 0 along axes that it lacks, or has only one element of.
    void place(const Buffer& given, bool row, isize size, ArrayView& operand) {
        if (given.rank > spec.ndim || (!row && given.rank != spec.ndim))
            return fail("onesum: a buffer has not the axes of x");
        npy_intp step = size;
        for (int d = spec.ndim - 1; d >= 0; --d) {
            operand.strides[d] = 0;
            if (d >= given.rank) continue;
            const int64_t length = given.dims[d], expected = d != spec.axis ? dims[d] : row ? 1 : dims[d];
            if (length != expected && (length != 1 || d == spec.axis))
                return fail("onesum: a buffer has not the shape of x");
            if (length != 1) operand.strides[d] = step;
            step *= length;
        }
    }

    const Buffers &arguments, &results;
    const Api* api;
    Error* error = nullptr;
    int64_t taken = 0;
    npy_intp dims[NPY_MAXDIMS] = {};
    const Buffer* given_temperature = nullptr;
    std::unique_ptr<double[]> temperatures;
};

// What comes before every call: whether XLA's structures are at least those that we know, and its question which
// version this is. Within a major version members are only added, at the end, and every call looks at the sizes; so the
// answer is the version of who asks.
Error* answer(const CallFrame& frame, bool& answered) {
    answered = true;
    if (!frame.api || frame.api->struct_size < least_api) return nullptr;  // there is no way to tell
    const auto unknown = [&](const char* message) { return failure(frame.api, code_failed_precondition, message); };
    if (frame.struct_size < least_frame) return unknown("the call frame of this XLA is not the one that onesum knows");
    for (Extension* e = frame.extensions; e; e = e->next) {
        if (e->kind != extension_metadata) continue;
        auto& metadata = *reinterpret_cast<MetadataExtension*>(e)->metadata;
        if (e->struct_size < sizeof(Extension) || metadata.struct_size < least_metadata)
            return unknown("this XLA asks for metadata that onesum does not know");
        const Version& asking = frame.api->version;
        const int minor = asking.major == major_version ? asking.minor : minor_version;
        metadata.version = {size_to(offsetof(Version, minor), &Version::minor), nullptr, major_version, minor};
        metadata.traits = 0;
        if (asking.major == major_version && asking.minor >= 3) metadata.state_type = 0;  // none
        return nullptr;
    }
    if (frame.stage != stage_execute) return unknown("onesum: there is no such stage");
    answered = false;
    return nullptr;
}

#define ONESUM_LETTERS(name, Op, letters) letters,
constexpr const char* letters_of[] = {ONESUM_OPERATIONS(ONESUM_LETTERS) ONESUM_CHUNKS(ONESUM_LETTERS)
                                          ONESUM_LOSSES(ONESUM_LETTERS)};
#undef ONESUM_LETTERS
#define ONESUM_INDEX(name, Op, letters) index_##name,
enum Index { ONESUM_OPERATIONS(ONESUM_INDEX) ONESUM_CHUNKS(ONESUM_INDEX) ONESUM_LOSSES(ONESUM_INDEX) };
#undef ONESUM_INDEX

// An operation of kernels.h, without a mask.
template <int index> Error* operation(CallFrame* frame) {
    bool answered;
    Error* error = answer(*frame, answered);
    if (answered) return error;
    Call call(*frame);
    ArrayView operands[max_operands], *next = operands;
    bool output = false;
    for (const char* c = letters_of[index]; *c && call; ++c) switch (*c) {
            case '>': output = true; break;
            case 'm': *next++ = {nullptr, {}}; break;
            case 'T': *next++ = call.temperature(); break;
            default: *next++ = output ? call.output(0, *c == 'r') : call.same_type(call.next(), *c == 'r');
        }
    call.run(index, letters_of[index], operands);
    return call.outcome();
}

// The cross entropy of class indices. `with_losses`: of (x, classes) the losses of the rows, in a type of 32 or 64
// bits; `with_gradient`: of (x, classes, weights) the gradients p - q of the rows, times the weight of the row. They
// are by x / T, and so what the kernel divides by T is multiplied by it first. Both together have no weights, and no
// temperature. An index that is no class makes all of its row NaN.
template <bool with_losses, bool with_gradient> Error* cross_entropy(CallFrame* frame) {
    constexpr bool with_weights = !with_losses;
    bool answered;
    Error* error = answer(*frame, answered);
    if (answered) return error;
    Call call(*frame, with_losses + with_gradient);
    const ArrayView x = call.same_type(call.next(), false);
    const Buffer *classes_given = call.next(), *weights_given = with_weights ? call.next() : nullptr;
    if (with_losses && with_gradient && call.has_more()) call.fail("onesum: expected no temperature");
    const ArrayView temperature = call.temperature();
    if (!call) return call.outcome();
    if (classes_given->type != type_int32 && classes_given->type != type_int64)
        call.fail("onesum: expected class indices of 32 or 64 bits");
    if ((with_losses && !Call::is_wide(*call.result())) || (with_weights && !Call::is_wide(*weights_given)))
        call.fail("onesum: expected numbers of the rows of 32 or 64 bits");

    if (call.spec.dims[call.spec.axis] == 0) call.fail("onesum: expected at least one class");

    const npy_intp rows = call.rows(), n = call.spec.dims[call.spec.axis];
    const bool direct = call && with_losses && call.result()->type == type_float64;
    std::unique_ptr<isize[]> classes_memory;
    std::unique_ptr<double[]> weights_memory, losses_memory;
    isize* const classes = call.allocate(classes_memory, rows);
    double* const losses = direct ? static_cast<double*>(call.result()->data) : call.allocate(losses_memory, rows);
    if (with_losses && call) call.operand(call.result(), true, type_of(call.result()->type), 8);  // for its shape
    if (!call) return call.outcome();

    bool outside = false;
    const auto read = [&](auto* given) {
        call.each_row(*classes_given, [&](npy_intp i, npy_intp k) {
            const isize y = isize(given[k]);
            classes[i] = y;
            outside |= y < -1 || y >= n;
        });
    };
    if (classes_given->type == type_int64) read(static_cast<const int64_t*>(classes_given->data));
    else read(static_cast<const int32_t*>(classes_given->data));
    double* weights = nullptr;  // 1 for all
    if (with_weights || outside) {
        weights = call.allocate(weights_memory, rows);
        if (!call) return call.outcome();
        if constexpr (with_weights)
            call.each_row(*weights_given,
                          [&](npy_intp i, npy_intp k) { weights[i] = Call::number(*weights_given, k); });
        else std::fill(weights, weights + rows, 1.0);
        if (with_weights) call.times_temperature(weights);
        for (npy_intp i = 0; outside && i < rows; ++i)
            if (classes[i] < -1 || classes[i] >= n) classes[i] = 0, weights[i] = NAN;
    }

    LossOptions options{0, 0, 0, 1, nullptr, false, with_gradient, false, wanted_loss};
    const auto everywhere = [](const void* data) {
        return ArrayView{const_cast<char*>(static_cast<const char*>(data)), {}};
    };
    const ArrayView gradient = with_gradient ? call.output(with_losses, false) : x;
    const ArrayView sample = weights ? call.side_by_side(weights) : everywhere(&Call::one);
    const ArrayView targets = call.side_by_side(classes), values = call.side_by_side(losses);
    const ArrayView operands[] = {x, everywhere(nullptr), targets, sample, temperature, values, gradient};
    call.run(index_cross_entropy, letters_of[index_cross_entropy], operands, &options);
    if (call && with_losses && !direct)
        for (npy_intp i = 0; i < rows; ++i) static_cast<float*>(call.result()->data)[i] = float(losses[i]);
    return call.outcome();
}

struct Target {
    const char* name;
    Handler* handler;
};
constexpr Target targets[] = {
#define ONESUM_TARGET(name, Op, letters) {#name, operation<index_##name>},
    ONESUM_OPERATIONS(ONESUM_TARGET)
#undef ONESUM_TARGET
        {"cross_entropy", cross_entropy<true, false>},
    {"cross_entropy_gradient", cross_entropy<false, true>},
    {"cross_entropy_and_gradient", cross_entropy<true, true>},
};

}  // namespace

int onesum::add_xla_handlers(PyObject* module) {
    PyObject* handlers = PyDict_New();
    bool failed = !handlers;
    for (const Target& target : targets) {
        PyObject* capsule = failed ? nullptr : PyCapsule_New(reinterpret_cast<void*>(target.handler), nullptr, nullptr);
        failed = !capsule || PyDict_SetItemString(handlers, target.name, capsule) < 0;
        Py_XDECREF(capsule);
    }
    failed = failed || PyModule_AddObjectRef(module, "xla", handlers) < 0;
    Py_XDECREF(handlers);
    return failed ? -1 : 0;
}
