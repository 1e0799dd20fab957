// What is fetched to the caches while there is much to compute: the rows that come next, and the output's lines.
#pragma once

#include "loops/row_block.h"

namespace {

// Fetches what is read next, to the second-level cache, while there is much to compute. One vector at a time: many at
// once would be waited for.
template <class W> struct NextRow {
    const char* p;
    ONESUM_INLINE NextRow(const RowBlock<W>& g, const typename W::Row& row, int which) {
        const Operand& a = row.r < g.next_count ? g.next[which] : g.in[which];
        p = a.p + row.r * a.row_stride;
    }
    ONESUM_INLINE void fetch(isize j) { __builtin_prefetch(p + j * isize(sizeof(typename W::S)), 0, 2); }
};
template <class C> struct NextRow<Vertical<C>> {
    RunCursor runs;
    template <class Row> ONESUM_INLINE NextRow(const RowBlock<Vertical<C>>& g, const Row&, int which)
        : runs(g.next[which]) {}
    ONESUM_INLINE void fetch(isize) {
        __builtin_prefetch(runs.p, 0, 2);
        runs.next();
    }
};

// Fetches the lines of a row that will be written, whether past the caches or not: else the first store to each page
// waits for its address.
template <class W> struct OutputLines {
    typename W::Row::Classes out;
    ONESUM_INLINE OutputLines(const RowBlock<W>& g, const typename W::Row& row) : out(row.of(g.out)) {}
    ONESUM_INLINE void operator()(isize j) const {
        if constexpr (!W::vertical) __builtin_prefetch(out.at(j), 1);  // else it is a tile
    }
};

}  // namespace
