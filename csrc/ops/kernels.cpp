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

#define ONESUM_SIGNATURE(name, Op, operands) constexpr onesum::Signature name##_signature{operands};
ONESUM_OPERATIONS(ONESUM_SIGNATURE)
ONESUM_CHUNKS(ONESUM_SIGNATURE)
ONESUM_LOSSES(ONESUM_SIGNATURE)
#undef ONESUM_SIGNATURE

template <class Op> constexpr bool is_cross_entropy =
    std::is_same_v<Op, CrossEntropy> || std::is_same_v<Op, SoftCrossEntropy> || std::is_same_v<Op, CrossEntropyHvp>;

template <class S, class Op, const onesum::Signature& signature>
bool kernel(char* const* args, isize rows, isize n, const isize* strides, const onesum::CallOptions& options) {
    if constexpr (is_cross_entropy<Op>) {
        const auto& loss = *options.loss;
        if (loss.softcap != 0) {
            const Softcapped<S> softcapped(signature, args, rows, n, strides, loss);
            const Inner inner{kernel<double, Op, signature>, signature};
            if constexpr (!std::is_same_v<Op, CrossEntropyHvp>) return softcapped.run(inner);
            else if (loss.probabilities || loss.smoothing != 0)
                return softcapped.run_hvp(inner, {kernel<double, SoftCrossEntropy, soft_cross_entropy_signature>,
                                                  soft_cross_entropy_signature});
            else
                return softcapped.run_hvp(
                    inner, {kernel<double, CrossEntropy, cross_entropy_signature>, cross_entropy_signature});
        }
    }
    using C = typename Compute<S>::type;
    return run(KernelCall<C>{{signature, storage_ops<S>, args, rows, n, strides, options}, operation_steps<Op, C>});
}

}  // namespace

#define ONESUM_KERNELS(name, Op, operands)                                          \
    {kernel<float16, Op, name##_signature>, kernel<bfloat16, Op, name##_signature>, \
     kernel<float, Op, name##_signature>, kernel<double, Op, name##_signature>},

extern const onesum::Kernels ONESUM_TABLE;
const onesum::Kernels ONESUM_TABLE = {
    {ONESUM_OPERATIONS(ONESUM_KERNELS) ONESUM_CHUNKS(ONESUM_KERNELS) ONESUM_LOSSES(ONESUM_KERNELS)},
    {compare<float16>, compare<bfloat16>, compare<float>, compare<double>}};
