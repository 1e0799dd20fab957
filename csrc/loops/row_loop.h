// From strided operands to a walk: vertical where rows lie side by side or are short, else horizontal; over a copy of
// each row, or of a chunk of it, where the classes are not next to each other or of another type than what is computed
// with.
#pragma once

#include "loops/columns.h"
#include "loops/packed_rows.h"
#include "loops/rows.h"

namespace {

template <class C> ONESUM_NOINLINE bool run(const KernelCall<C>& call) {
    if (call.rows == 0 || (call.n == 0 && !call.signature.row_out)) return true;
    bool contiguous = true, side_by_side = true;
    for (int which = 0; which < 3; ++which) {
        if (!call.has(which)) continue;
        contiguous &= call.n == 1 || call.class_stride(which) == call.storage.size;  // one class has no neighbour
        side_by_side &= call.strides[call.place(which)] == call.storage.size;
    }
    bool done;
    if (side_by_side && call.rows > 1 && (!contiguous || call.n == 1))
        done = call.n <= tile_classes<C> ? run_packed(call, PackStager<C>(call)) : run_columns(call);
    else if (call.n <= max_transposed_classes<C>) done = run_packed(call, TransposeStager<C>(call, contiguous));
    else done = call.n <= row_chunk ? run_rows(call) : run_long_rows(call);
    if (call.options.streamed) stream_fence();
    return done;
}

}  // namespace
