// The kernel that the gufunc onesum._core.softmax runs on float32, for the raw entries to call.
#include "../../../csrc/forward.h"
#include "../../../csrc/layout.h"
#include "kernel.h"

namespace {
constexpr Places places{"xT>x"};
}

bool softmax_kernel(char* const* args, long rows, long n, const long* strides) {
    return Driver<float, Softmax<false>, places>{args, rows, n, strides}.run();
}
