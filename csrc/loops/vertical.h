// Walking rows that lie side by side in a tile: each lane of a vector is a row of its own, the vectors follow each
// other class by class.
//
// To give the bits that horizontal.h gives, the class at position j adds to partial sum j mod row_sums, and the partial
// sums are brought together in the order in which horizontal.h adds its vectors and their lanes.
#pragma once

#include "loops/operand.h"

namespace {

template <class C_> struct Vertical {
    using C = C_;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    using Int = typename Vec<C>::Int;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr bool vertical = true;
    static constexpr int views = 1;
    static constexpr int row_sums = partial_sums<C>, sums = row_sums;

    isize n;
    int count;        // rows side by side, at most one per lane
    isize first = 0;  // of the classes, where longer rows are walked tile by tile

    // The last tile of a longer row may be short.
    isize sums_apart() const { return first == 0 && n <= max_transposed_classes<C> ? 1 : row_sums; }

    struct Row {
        isize n;
        int count;
        isize sums_apart;
        bool fresh;  // else the sums go on
        static constexpr int r = 0;

        // Lanes without a row are computed like the others.
        template <class F> ONESUM_INLINE void for_each(F f) const {
            for (isize j = 0; j < n; ++j) f(j, AllLanes{});
        }
        template <class F> ONESUM_INLINE void for_each_by_lines(const Operand&, isize, F f) const { for_each(f); }
        template <class Sum, class F> ONESUM_INLINE void accumulate(Sum sum, F f) const {
            for (isize k = 0; k == 0 || (k < sums_apart && k < n); ++k) {
                sum.begin(k, fresh);
                isize j = k;
                do {
                    const isize end =
                        Sum::interval && n - j > Sum::interval * sums_apart ? j + Sum::interval * sums_apart : n;
                    for (; j < end; j += sums_apart) f(j, AllLanes{}, sum);
                    if (j < n) sum.flush();
                } while (j < n);
                sum.end(k, false);
            }
        }
        static V of(const V& v) { return v; }
        struct Classes {
            char* p;
            isize class_stride;
            char* at(isize j) const { return p + j * class_stride; }
        };
        static Classes of(const Operand& a) { return {a.p, a.class_stride}; }
        struct Chosen {
            I class_;
            static bool may_be_at(isize) { return true; }
            I at(isize j) const { return class_ == Int(j); }
        };
        static Chosen chosen(const I& classes, isize first) { return {classes + Int(first)}; }
    };
    template <class F> ONESUM_INLINE void rows(F f) const { f(Row{n, count, sums_apart(), first % sum_segment == 0}); }

    static V max_of(V* partial) { return partial[0]; }
    static Wide<C> sum_of_views(Wide<C>* partial) { return partial[0]; }
    Wide<C> sum_of(Wide<C>* partial) const {
        return sum_of_vectors<row_sums>(partial, int(n < sums_apart() ? n : sums_apart()));
    }
};

}  // namespace
