// What is fetched to the caches while there is much to compute.
#pragma once

#include "loops/row_block.h"

namespace {

// What is read after a row block, fetched while there is much to compute: of rows that lie one after the other, the
// same class of the next block (the processor itself does not look so far ahead); of rows side by side, what is packed
// next, to the second-level cache, one vector at a time, for many at once would be waited for.
template <class W, int locality = 3> struct Prefetch {
    RunCursor runs;
    const char* p;
    isize step;
    ONESUM_INLINE Prefetch(const RowBlock<W>& g, const typename W::Row& row, int which) {
        if constexpr (W::vertical) {
            runs = g.next[which];
        } else {
            const Operand& ahead = g.ahead[which];
            p = ahead.p + row.r * ahead.row_stride;
            step = ahead.class_stride * W::lanes;
        }
    }
    // Beside the read of each vector.
    ONESUM_INLINE void fetch() {
        if constexpr (W::vertical) {
            __builtin_prefetch(runs.p, 0, 2);
            runs.next();
        } else {
            __builtin_prefetch(p, 0, locality);
            p += step;
        }
    }
};

}  // namespace
