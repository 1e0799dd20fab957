// What is fetched to the caches while there is much to compute.
#pragma once

#include "loops/row_block.h"

namespace {

// Fetches, to the second-level cache, what is packed next. One vector at a time: many at once would be waited for. Rows
// that lie one after the other are fetched by the processor itself.
template <class W> struct NextPack {
    RunCursor runs;
    ONESUM_INLINE NextPack(const RowBlock<W>& g, int which) {
        if constexpr (W::vertical) runs = g.next[which];
    }
    ONESUM_INLINE void fetch() {
        if constexpr (W::vertical) {
            __builtin_prefetch(runs.p, 0, 2);
            runs.next();
        }
    }
};

}  // namespace
