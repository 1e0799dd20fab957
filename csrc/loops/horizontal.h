// Walking rows whose classes lie one after the other: the lanes of a vector are neighbouring classes of one row.
//
// A walk (this one or the one in vertical.h) goes over the classes of a row block, of as many rows as a vector has
// lanes. What a row has once (its maximum, its sum) is a lane of a vector in both; so the ends of rows, divisions and
// logarithms are computed for all rows of the block together. Between them, `rows` hands out views of rows, and a view
// goes over classes by vectors. An operation written against a walk serves both layouts, with the same bits in both.
#pragma once

#include "loops/operand.h"

namespace {

template <class S_> struct Horizontal {
    using S = S_;
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    using Int = typename Vec<C>::Int;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr bool vertical = false;             // lanes are rows
    static constexpr int views = lanes;                 // at most so many
    static constexpr isize exp_cache_step = sizeof(C);  // bytes of the cache of exponentials from class to class

    isize n;
    int count;        // rows
    isize first = 0;  // of the classes, where a longer row is walked chunk by chunk

    struct Row {
        isize n;
        int r;

        // f(j, lanes) with j the class of the first lane
        template <class F> ONESUM_INLINE void for_each(F f) const { range(0, n, f); }
        // The same, cut so that whole vectors of `out` are lines or halves of lines, where that pays.
        template <class F> ONESUM_INLINE void for_each_aligned(const Operand& out, bool streamed, F f) const {
            const uintptr_t begin = reinterpret_cast<uintptr_t>(of(out).p);
            isize head = !streamed && n < vectors_in_lines * lanes ? 0
                         : begin % sizeof(S)                       ? n
                                                                   : isize((-begin % 64) / sizeof(S)),
                  j = 0;
            if (head > n) head = n;
            for (int count; j < head; j += count) {
                count = head - j < lanes ? int(head - j) : lanes;
                f(j, SomeLanes{count});
            }
            range(j, n, f);
        }
        // Everything in order, with the flushes and the ends of segments that the sum needs.
        template <class F, class Sum> ONESUM_INLINE void accumulate(Sum& sum, F f) const {
            const isize step = Sum::flushes ? flush_interval * lanes : sum_segment;
            sum.begin(r, true);
            isize j = 0;
            do {
                range(j, n - j < step ? n : j + step, f);
                sum.flush(r);
                j += step;
                if (n > sum_segment && (j >= n || j % sum_segment == 0)) sum.end_segment(r);
            } while (j < n);
        }
        // Lane r, in every lane.
        V of(const V& v) const {
            C one;
            memcpy(&one, reinterpret_cast<const char*>(&v) + r * sizeof one, sizeof one);
            return splat(one);
        }
        // Where the classes of an operand are, for this row.
        struct Classes {
            char* p;
            char* at(isize j) const { return p + j * isize(sizeof(S)); }
        };
        Classes of(const Operand& a) const { return {a.p + r * a.row_stride}; }
        // Given a class of each row: which lane it is, if any, in the vector from j on; and whether it may be there at
        // all.
        struct Chosen {
            isize class_;
            bool may_be_at(isize j) const { return uint64_t(class_ - j) < lanes; }
            I at(isize j) const { return iota<I>() == Int(class_ - j); }
        };
        Chosen chosen(const I& classes, isize first) const { return {first + isize(classes[r])}; }

      private:
        template <class F> static ONESUM_INLINE void range(isize j, isize end, F f) {
            for (; end - j >= lanes; j += lanes) f(j, AllLanes{});
            if (j < end) f(j, SomeLanes{int(end - j)});
        }
    };
    template <class F> ONESUM_INLINE void rows(F f) const {
        for (int r = 0; r < count; ++r) f(Row{n, r});
    }

    // One vector for each row, partial results in its lanes, to one with a lane for each row.
    V max_of(V* partial) const {
        const auto larger = [](V a, V b) ONESUM_FORCE_INLINE { return max(a, b); };
        if (count == 1) return reduce(partial[0], larger);
        for (int r = count; r < lanes; ++r) partial[r] = partial[0];
        transpose_reduce<lanes / 2>(partial, larger);
        return partial[0];
    }
    Wide<C> sum_of(Wide<C>* partial) const {
        if (count == 1) return sum_of_lanes(partial[0]);
        for (int r = count; r < lanes; ++r) partial[r] = partial[0];
        return sums_of_lanes(partial);
    }
};

}  // namespace
