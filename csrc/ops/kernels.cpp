// The kernels of one instruction set: the build compiles this file once for each, with ONESUM_TABLE naming the table.
//
// Everything else in here has internal linkage, so that no two instruction sets can share code by accident.
#include "runtime/kernels.h"

#include "loops/row_loop.h"
#include "ops/class_chunks.h"
#include "ops/comparison.h"
#include "ops/cross_entropy.h"
#include "ops/cross_entropy_hvp.h"
#include "ops/kl_divergence.h"
#include "ops/log_softmax.h"
#include "ops/log_softmax_vjp.h"
#include "ops/logsumexp.h"
#include "ops/soft_cross_entropy.h"
#include "ops/softcap.h"
#include "ops/softmax.h"
#include "ops/softmax_vjp.h"

namespace {

namespace operation {
using softmax = Softmax;
using log_softmax = LogSoftmax;
using logsumexp = LogSumExp;
using softmax_vjp = SoftmaxVjp;
using log_softmax_vjp = LogSoftmaxVjp;
using log_softmax_jvp = LogSoftmaxJvp;
using logsumexp_vjp = LogSumExpVjp;
using logsumexp_jvp = LogSumExpJvp;
using normalizer = NormalizerOf;
using shifted_exp = ShiftedExp;
using shifted_logits = ShiftedLogits;
using cross_entropy = CrossEntropy;
using soft_cross_entropy = SoftCrossEntropy;
using kl_divergence = Divergence;
using cross_entropy_hvp = CrossEntropyHvp;
}  // namespace operation

#define ONESUM_PLACES(name, operands) constexpr onesum::Signature name##_places{operands};
ONESUM_OPERATIONS(ONESUM_PLACES) ONESUM_CHUNKS(ONESUM_PLACES) ONESUM_LOSSES(ONESUM_PLACES)
#undef ONESUM_PLACES

template <class Op> constexpr bool is_cross_entropy = std::is_same_v<Op, CrossEntropy> || std::is_same_v<Op, SoftCrossEntropy> || std::is_same_v<Op, CrossEntropyHvp>;

template <class S, class Op, const onesum::Signature& places>
bool kernel(char* const* args, isize rows, isize n, const isize* strides, bool streamed) {
    if constexpr (is_cross_entropy<Op>) {
        const auto& options = *reinterpret_cast<const onesum::LossOptions*>(args[places.options]);
        if (options.softcap != 0) {
            const Softcapped<S> softcapped(places, args, rows, n, strides);
            const Inner inner{kernel<double, Op, places>, places};
            if constexpr (!std::is_same_v<Op, CrossEntropyHvp>) return softcapped.run(inner);
            else if (options.probabilities || options.smoothing != 0) return softcapped.run_hvp(inner, {kernel<double, SoftCrossEntropy, soft_cross_entropy_places>, soft_cross_entropy_places});
            else return softcapped.run_hvp(inner, {kernel<double, CrossEntropy, cross_entropy_places>, cross_entropy_places});
        }
    }
    return Driver<S, Op, places>{args, rows, n, strides, streamed}.run();
}

}  // namespace

#define ONESUM_KERNELS(name, operands)                                                               \
    {kernel<float16, operation::name, name##_places>, kernel<bfloat16, operation::name, name##_places>, \
     kernel<float, operation::name, name##_places>, kernel<double, operation::name, name##_places>},

extern const onesum::Kernels ONESUM_TABLE;
const onesum::Kernels ONESUM_TABLE = {{ONESUM_OPERATIONS(ONESUM_KERNELS) ONESUM_CHUNKS(ONESUM_KERNELS) ONESUM_LOSSES(ONESUM_KERNELS)},
                                      {compare<float16>, compare<bfloat16>, compare<float>, compare<double>}};
