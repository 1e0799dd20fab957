// Sums whose classes are written as they are met.
#pragma once

#include "loops/row_block.h"
#include "numerics/accumulators.h"

namespace {

// A sum whose classes are also written, in the order of the sum and not of the lines of the output. Where those are to go past the caches and vectors are
// not parts of lines, classes are gathered in `room`, and what fills no line waits there for the next block.
template <class W> struct OnTheWay : WideSum<typename W::C> {
    using Plain = WideSum<typename W::C>;
    using S = typename W::S;
    static constexpr bool in_blocks = !W::across;
    // In bytes: for a block, for less than a vector that was left of the one before, and for a vector that is read from the end of both.
    static constexpr isize size = sizeof(S), room = in_blocks ? (block + 2) * W::lanes * size : 1;
    const isize n;
    const typename W::Row::Classes out;
    char* const gathered;  // null: the classes are written where they belong,
    const bool streamed;   // past the caches
    typename W::Row::Classes to;
    isize first = 0, end = 0;  // of the classes that are gathered

    ONESUM_INLINE OnTheWay(Wide<typename W::C>* totals, const typename W::Row& row, const Group<W>& g, char* room)
        : Plain(totals), n(row.n), out(row.of(g.out)),
          gathered(in_blocks && g.streamed && reinterpret_cast<uintptr_t>(out.p) % 64 ? room : nullptr),
          streamed(in_blocks && g.streamed && !gathered), to(out) {
        if (gathered) to.p = gathered;
    }
    ONESUM_INLINE void flush(isize k) {
        Plain::flush(k);
        if constexpr (in_blocks)
            if (gathered) put_lines();
    }

  private:
    ONESUM_INLINE void put_lines() {
        end = n - end < block * W::lanes ? n : end + block * W::lanes;
        const char* from = gathered;
        const auto put = [&](isize classes) ONESUM_FORCE_INLINE {
            memcpy(out.at(first), from, classes * size);
            first += classes, from += classes * size;
        };
        const uintptr_t address = reinterpret_cast<uintptr_t>(out.at(first));
        const isize head = address % size ? end - first : isize(-address % 64 / size);
        put(head < end - first ? head : end - first);
        for (; end - first >= W::lanes; first += W::lanes, from += W::lanes * size) stream<W::lanes * size>(out.at(first), from);
        if (end == n) put(end - first);
        else memcpy(gathered, from, W::lanes * size);
        to.p = gathered - first * size;
    }
};

}  // namespace
