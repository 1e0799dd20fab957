// The table of kernels. ops/kernels.cpp fills one for each instruction set; dispatch.cpp chooses one; python/ wraps it
// for NumPy.
#pragma once

#include "common/isize.h"

namespace onesum {

// Operands in order: core inputs `x` (n elements a row), a mask `m` (n bools, or null for all), one element a row `r`,
// temperature `T` (a double a row); then the output, `x` or `r`. X(name, the struct in ops/, operands)
#define ONESUM_OPERATIONS(X)                   \
    X(softmax, Softmax, "xmT>x")               \
    X(log_softmax, LogSoftmax, "xmT>x")        \
    X(logsumexp, LogSumExp, "xmT>r")           \
    X(softmax_vjp, SoftmaxVjp, "xxT>x")        \
    X(log_softmax_vjp, LogSoftmaxVjp, "xxT>x") \
    X(log_softmax_jvp, LogSoftmaxJvp, "xxT>x") \
    X(logsumexp_vjp, LogSumExpVjp, "xmrT>x")   \
    X(logsumexp_jvp, LogSumExpJvp, "xmxT>r")

// Chunks of the class axis: `w` is a double a row, two of which are the words of a number. The maximum of the row and r
// come out, or are given with what multiplies the exponentials, or is subtracted.
#define ONESUM_CHUNKS(X)                    \
    X(normalizer, RowNormalizer, "xmT>rww") \
    X(shifted_exp, ShiftedExp, "xmrwwT>x")  \
    X(shifted_logits, ShiftedLogits, "xmrwwT>x")

// Losses: after x come probabilities (or x again, or the divergence's second logits), the mask, class indices `i` (an
// int64 a row), row weights `s` (a double a row) and T; then the losses `l` (a double a row) and the gradient (or x
// again, if there is to be none). The Hessian's second x is what it is multiplied by, and it takes the sums of the
// target masses `q` (a double a row); what a softcap adds to it needs the probabilities themselves, `y` (or x again).
#define ONESUM_LOSSES(X)                                 \
    X(cross_entropy, CrossEntropy, "xmisT>lx")           \
    X(soft_cross_entropy, SoftCrossEntropy, "xxmisT>lx") \
    X(kl_divergence, KlDivergence, "xxmisT>lx")          \
    X(cross_entropy_hvp, CrossEntropyHvp, "xxymisqT>x")

enum Wanted { wanted_loss, wanted_entropy, wanted_masses };  // the sums of the target masses
struct LossOptions {
    double smoothing, z_loss;
    double softcap;        // of the logits, or 0
    double grad_scale;     // multiplies the gradient
    const double* weight;  // one per class, or null
    bool probabilities;    // else class indices, -1 for rows to ignore
    bool gradient;
    bool by_second;  // the gradient of the divergence, by the second logits
    int wanted;      // of the soft cross entropy
};
// What is the same for all rows of a call. `streamed`: write past the caches, where that can be.
struct CallOptions {
    bool streamed = false;
    const LossOptions* loss = nullptr;  // of a loss
};

#define ONESUM_COUNT(name, Op, operands) +1
constexpr int operations = 0 ONESUM_OPERATIONS(ONESUM_COUNT) ONESUM_CHUNKS(ONESUM_COUNT),
              kernels = operations ONESUM_LOSSES(ONESUM_COUNT);
#undef ONESUM_COUNT
constexpr int max_operands = 9;
constexpr int operand_count(const char* operands) {
    int count = -1;  // '>' is none
    while (*operands++) ++count;
    return count;
}

// Where each operand stands among a kernel's args and strides; -1 if the operation has none.
struct Signature {
    int core[2] = {-1, -1}, targets = -1, mask = -1, row_in = -1, temperature = -1, out = -1;
    int classes = -1, row_weight = -1, masses = -1, loss = -1;
    int words_in[2] = {-1, -1}, words_out[2] = {-1, -1};
    int core_strides[2] = {-1, -1}, targets_stride = -1, mask_stride = -1, out_stride = -1;
    bool row_out = false, is_loss = false;

    constexpr explicit Signature(const char* operands) {
        int place = 0, inputs = 0, words = 0, stride = operand_count(operands);
        bool output = false;
        for (const char* c = operands; *c; ++c) {
            switch (*c) {
                case '>': output = true, words = 0; continue;
                case 'x':
                    if (output) out = place, out_stride = stride++;
                    else core[inputs] = place, core_strides[inputs++] = stride++;
                    break;
                case 'y': targets = place, targets_stride = stride++; break;
                case 'm': mask = place, mask_stride = stride++; break;
                case 'r':
                    if (output) out = place, row_out = true;
                    else row_in = place;
                    break;
                case 'w': (output ? words_out : words_in)[words++] = place; break;
                case 'T': temperature = place; break;
                case 'i': classes = place, is_loss = true; break;
                case 's': row_weight = place; break;
                case 'q': masses = place; break;
                case 'l': loss = place; break;
            }
            ++place;
        }
    }
};

enum Storage { storage_float16, storage_bfloat16, storage_float32, storage_float64, storages };

// `rows` rows of n classes. args and strides (in bytes) as NumPy's generalized ufunc loops have them: the distance
// between rows for every operand, then the distance between classes for those that have a class axis. False: no memory.
using Kernel = bool (*)(char* const* args, isize rows, isize n, const isize* strides, const CallOptions& options);

// Rows of n classes that lie one after the other, of x and of y. `known` has four doubles a row: the maximum of x, of
// y, log1p(r) of x, of y; `sums` gets six (ops/comparison.h).
using Comparer = void (*)(const char* x, const char* y, const double* known, double* sums, isize rows, isize n);

struct Kernels {
    Kernel kernel[kernels][storages];  // operations, those on chunks among them, then losses
    Comparer compare[storages];
};

}  // namespace onesum
