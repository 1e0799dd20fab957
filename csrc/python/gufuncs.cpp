// Each operation of runtime/kernels.h as a NumPy generalized ufunc.
#include "python/array_view.h"

#include <numpy/ufuncobject.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "python/module.h"
#include "runtime/dispatch.h"

namespace {

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
#define ONESUM_ADD(name, Op, operands) add(#name, operands);
    ONESUM_OPERATIONS(ONESUM_ADD)
    ONESUM_CHUNKS(ONESUM_ADD)
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
    if (onesum::call_kernel(ufunc.operation, slot->storage, args, dimensions[0], dimensions[1], strides, dimensions[0]))
        return;
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
    PyObject* ufunc = PyUFunc_FromFuncAndDataAndSignature(
        l.functions, l.data, l.types, onesum::storages, inputs, outputs, PyUFunc_None, made.name.c_str(),
        "A kernel of the core; see onesum for the function.", 0, l.signature.c_str());
    if (!ufunc) return false;
    const bool added = PyModule_AddObjectRef(module, made.name.c_str(), ufunc) == 0;
    Py_DECREF(ufunc);
    return added;
}

}  // namespace

int onesum::add_gufuncs(PyObject* module) {
    if (PyUFunc_ImportUFuncAPI() < 0) return -1;
    for (size_t index = 0; index < table.size(); ++index)
        if (!add_ufunc(module, index)) return -1;
    return 0;
}
