// Walking rows whose classes lie one after the other: the lanes of a vector are neighbouring classes of one row.
//
// A walk (this one or the one in vertical.h) goes over the classes of a row block, of as many rows as a vector has
// lanes. What a row has once (its maximum, its sum) is a lane of a vector in both; so the ends of rows, divisions and
// logarithms are computed for all rows of the block together. Between them, `rows` hands out views of rows, and a view
// goes over classes by vectors. An operation written against a walk serves both layouts, with the same bits in both.
#pragma once

#include "common/aligned.h"
#include "loops/operand.h"

namespace {

template <class C_> struct Horizontal {
    using C = C_;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    using Int = typename Vec<C>::Int;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr bool vertical = false;  // lanes are rows
    static constexpr int views = lanes;      // at most so many
    static constexpr int row_sums = partial_sums<C>, sum_vectors = row_sums / lanes;
    static constexpr int sums = lanes * sum_vectors;  // partial sums of a row block, a vector each

    isize n;
    int count;        // rows
    isize first = 0;  // of the classes, where a longer row is walked chunk by chunk

    struct Row {
        isize n;
        int r;

        // f(j, lanes) with j the class of the first lane
        template <class F> ONESUM_INLINE void for_each(F f) const { range(0, n, f); }
        // The same; in rows of `least` classes or more cut where lines of the operand begin, so that vectors are lines
        // or halves of lines, which are read and written faster. Only so may they be streamed: `least` is 0 then.
        template <class F> ONESUM_INLINE void for_each_by_lines(const Operand& a, isize least, F f) const {
            const uintptr_t begin = reinterpret_cast<uintptr_t>(of(a).p);
            isize head = isize(-begin % line_bytes / sizeof(C)), j = 0;
            if (begin % sizeof(C) != 0) head = least > 0 ? 0 : n;
            head = n < least ? 0 : head < n ? head : n;
            for (int count; j < head; j += count) {
                count = head - j < lanes ? int(head - j) : lanes;
                f(j, SomeLanes{count});
            }
            range(j, n, f);
        }
        // f(j, lanes, sum) for everything in order, with the flushes and the ends of segments that the sum needs. `sum`
        // as it is given is what the partial sums are before they begin.
        template <class Sum, class F> ONESUM_INLINE void accumulate(const Sum& sum, F f) const {
            accumulate(sum, f, std::make_index_sequence<sum_vectors>());
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
            char* at(isize j) const { return p + j * isize(sizeof(C)); }
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
        template <class Sum, class F, size_t... K>
        ONESUM_INLINE void accumulate(const Sum& sum, F f, std::index_sequence<K...>) const {
            Sum part[] = {(void(K), sum)...};
            constexpr isize step = Sum::interval ? Sum::interval * row_sums : sum_segment;
            (part[K].begin(r * sum_vectors + K, true), ...);
            isize j = 0;
            do {
                const isize end = n - j < sum_segment ? n : j + sum_segment;
                if constexpr (step == 2 * row_sums)  // the ends of a loop of two would cost as much as they do
                    for (; end - j >= step; j += step) {
                        (f(j + K * lanes, AllLanes{}, part[K]), ...);
                        (f(j + row_sums + K * lanes, AllLanes{}, part[K]), ...);
                        (part[K].flush(), ...);
                    }
                while (j < end) {
                    const isize flushed = end - j < step ? end : j + step;
                    for (; flushed - j >= row_sums; j += row_sums) (f(j + K * lanes, AllLanes{}, part[K]), ...);
                    if (j < flushed) (rest(j + K * lanes, flushed, f, part[K]), ...);
                    j = flushed;
                    if (j < end) (part[K].flush(), ...);
                }
                if (n > sum_segment) (part[K].end_segment(), ...);
            } while (j < n);
            (part[K].end(r * sum_vectors + K, n > sum_segment), ...);
        }
        template <class Sum, class F> static ONESUM_INLINE void rest(isize j, isize end, F f, Sum& sum) {
            if (end - j >= lanes) f(j, AllLanes{}, sum);
            else if (j < end) f(j, SomeLanes{int(end - j)}, sum);
        }
    };
    template <class F> ONESUM_INLINE void rows(F f) const {
        const isize n = this->n;  // which a store might change, for all the compiler knows
        for (int r = 0, count = this->count; r < count; ++r) f(Row{n, r});
    }

    // One vector for each row, partial results in its lanes, to one with a lane for each row; they are used up.
    V max_of(V* partial) const {
        return reduced(partial, [](V a, V b) ONESUM_FORCE_INLINE { return max(a, b); });
    }
    I min_of(I* partial) const {
        return reduced(partial, [](I a, I b) ONESUM_FORCE_INLINE { return a < b ? a : b; });
    }
    // The same of sums, each row's in as many vectors as they take.
    Wide<C> sum_of(Wide<C>* partial) const {
        for (int r = 0; sum_vectors > 1 && r < count; ++r) {
            Wide<C>* const of_row = partial + r * sum_vectors;
            for (int by = sum_vectors / 2; by > 0; by /= 2)
                for (int i = 0; i < by; ++i) add_to(of_row[i], of_row[i + by]);
            partial[r] = of_row[0];
        }
        return sum_of_views(partial);
    }
    Wide<C> sum_of_views(Wide<C>* partial) const {
        if (count <= few_rows)
            return lane_by_lane(sum_of_lanes(partial[0]),
                                [&](int r) ONESUM_FORCE_INLINE { return sum_of_lanes(partial[r]); });
        for (int r = count; r < lanes; ++r) partial[r] = partial[0];
        return sums_of_lanes(partial);
    }

  private:
    // To transpose as many rows as there are lanes takes as long as so many one by one.
    static constexpr int few_rows = lanes / 2;
    template <class T, class F> ONESUM_INLINE T reduced(T* partial, F combine) const {
        if (count <= few_rows)
            return lane_by_lane(reduce(partial[0], combine),
                                [&](int r) ONESUM_FORCE_INLINE { return reduce(partial[r], combine); });
        for (int r = count; r < lanes; ++r) partial[r] = partial[0];
        transpose_reduce<lanes / 2>(partial, combine);
        return partial[0];
    }
    // Lane r of f(r), for every row; all of `first` in the others.
    template <class T, class F> ONESUM_INLINE T lane_by_lane(T result, F f) const {
        for (int r = 1; r < count; ++r) {
            const I here = iota<I>() == Int(r);
            if constexpr (std::is_same_v<T, Wide<C>>) result = T::choose(here, f(r), result);
            else result = here ? f(r) : result;
        }
        return result;
    }
};

}  // namespace
