// Sums over classes that are computed and written on the way.
#pragma once

#include "loops/row_block.h"
#include "numerics/accumulators.h"

namespace {

// A sum whose classes are also written, in the order of the sum and not of the lines of the output. Where those are to
// go past the caches and a vector does not begin where a line does, classes are gathered in `room`, and what fills no
// line waits there for the next flush.
template <class W> struct StagedStore : WideSum<typename W::C> {
    using Plain = WideSum<typename W::C>;
    using S = typename W::S;
    static constexpr bool flushes = !W::vertical;
    // In bytes: for what comes between two flushes, for less than a vector that was left of the one before, and for a
    // vector that is read from the end of both.
    static constexpr isize size = sizeof(S), room = flushes ? (flush_interval + 2) * W::lanes * size : 1;
    const isize n;
    const typename W::Row::Classes out;
    char* const gathered;  // null: the classes are written where they belong,
    const bool streamed;   // past the caches
    typename W::Row::Classes to;
    isize first = 0, end = 0;  // of the classes that are gathered

    ONESUM_INLINE StagedStore(Wide<typename W::C>* totals, const typename W::Row& row, const RowBlock<W>& g, char* room)
        : Plain(totals), n(row.n), out(row.of(g.out)),
          gathered(flushes && g.streamed && reinterpret_cast<uintptr_t>(out.p) % 64 ? room : nullptr),
          streamed(flushes && g.streamed && !gathered), to(out) {
        if (gathered) to.p = gathered;
    }
    ONESUM_INLINE void flush(isize k) {
        Plain::flush(k);
        if constexpr (flushes)
            if (gathered) put_lines();
    }

  private:
    ONESUM_INLINE void put_lines() {
        end = n - end < flush_interval * W::lanes ? n : end + flush_interval * W::lanes;
        const char* from = gathered;
        const auto put = [&](isize classes) ONESUM_FORCE_INLINE {
            memcpy(out.at(first), from, classes * size);
            first += classes, from += classes * size;
        };
        const uintptr_t address = reinterpret_cast<uintptr_t>(out.at(first));
        const isize head = address % size ? end - first : isize(-address % 64 / size);
        put(head < end - first ? head : end - first);
        for (; end - first >= W::lanes; first += W::lanes, from += W::lanes * size)
            stream<W::lanes * size>(out.at(first), from);
        if (end == n) put(end - first);
        else memcpy(gathered, from, W::lanes * size);
        to.p = gathered - first * size;
    }
};

}  // namespace
