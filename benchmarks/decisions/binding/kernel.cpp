// The kernel that the gufunc onesum._core.softmax runs on float32, for the raw entries to call.
#include "kernel.h"

#include "loops/row_loop.h"
#include "ops/softmax.h"

namespace {
constexpr onesum::Signature signature{"xT>x"};
}

bool softmax_kernel(char* const* args, long rows, long n, const long* strides) {
    return run(
        KernelCall<float>{{signature, storage_ops<float>, args, rows, n, strides, {}}, operation_steps<Softmax, float>});
}
