// What kernels work on at one time: some rows, where their operands are, what is the same for all of a row, and what is
// read after it.
#pragma once

#include "loops/horizontal.h"
#include "loops/vertical.h"
#include "runtime/kernels.h"

namespace {

// A bool operand: bytes between neighbouring classes and between neighbouring rows.
struct MaskOperand {
    const char* p = nullptr;
    isize class_stride = 0, row_stride = 0;

    template <class W, class Lanes> typename W::I at(const typename W::Row& row, isize j, Lanes lanes) const {
        if (!p) return ~typename W::I{};
        const char* here = p + j * class_stride + row.r * row_stride;
        isize lane = class_stride;
        int count = Lanes::all ? W::lanes : lanes.count;
        if constexpr (W::vertical) lane = row_stride, count = row.count;
        if (count == W::lanes && lane == 1) {
            typedef int8_t Bytes __attribute__((vector_size(W::lanes)));
            Bytes flags;
            memcpy(&flags, here, sizeof flags);
            return __builtin_convertvector(flags, typename W::I) != 0;
        }
        typename W::I mask{};
        for (int k = 0; k < count; ++k) mask[k] = -(here[k * lane] != 0);
        return mask;
    }
};

// How a single element is read and written, where it lies in memory.
template <class C> struct Elements {
    C (*load)(const char*);
    void (*store)(char*, C);
};

// Vectors in memory, in runs: the bytes from one to the next, and what is skipped after each run.
struct RunCursor {
    const char* p;
    isize step, skipped;
    int length, left;  // of a run, of this one

    ONESUM_INLINE void next() {
        p += step;
        if (--left == 0) left = length, p += skipped;
    }
    void advance(isize vectors) {
        const isize from = length - left + vectors;
        p += vectors * step + from / length * skipped;
        left = length - int(from % length);
    }
};

// What a loss wants of the rows of a block, and the losses.
template <class W> struct LossTargets {
    const onesum::LossOptions* options;
    isize classes[W::lanes];          // the class of each row, -1 if there is none
    typename W::I in_lanes;           // the same, as lanes count
    typename W::V logits;             // there; -inf where the mask leaves the class out
    double row_weight[W::lanes];      // 0 if the row is ignored
    double masses[W::lanes];          // the sum of each row's target masses, where the kernel is given it
    double smoothing_mass[W::lanes];  // the smoothing over the number of classes that the mask leaves
    typename W::I ignored;            // rows
    double losses[W::lanes];
};

// The rows a kernel works on at one time. What there is one of for each row has a lane for each row.
template <class W> struct RowBlock {
    using V = typename W::V;
    W walk;
    isize classes;       // of a whole row, however many are walked at a time
    Operand in[2], out;  // where the classes that are walked are
    Operand v, result;   // where the second input and the output are in memory, if a single element of a row is wanted,
    Elements<typename W::C> element;  // and how it is read and written there
    MaskOperand mask;
    V row_in, row_out;          // operands with one element per row
    double words[2][W::lanes];  // a number in two words for each row: an operand, or a result
    bool writes;                // more than that
    LossTargets<W> targets;     // of a loss
    double temperature[W::lanes];
    bool scaled;    // some temperature is not 1
    bool streamed;  // write past the caches
    // Where the exponentials of one pass are kept for the next, by path; p is null if they are computed again.
    Operand fast_cache, general_cache;
    V cache_scale;      // a power of two: they were computed over another maximum
    Operand ahead[2];   // the same rows of the next block as they are in memory, to be fetched meanwhile
    RunCursor next[2];  // of rows side by side: what is packed next
};

}  // namespace
