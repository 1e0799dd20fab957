// The normalizer of a row: its maximum m, and r, the sum of exp(x_j - m) over all classes but the first at m.
//
// Everything a row's outputs need follows from the two: p = exp(x - m) / (1 + r), log p = (x - m) - log1p(r), and m +
// log1p(r). Leaving the pivot's own 1 out of the sum is what keeps log p and 1 - p right when p is close to one.
#pragma once

#include "numerics/accumulators.h"
#include "ops/logits.h"
#include "ops/shift.h"

namespace {

// r leaves out those that attain m and adds their number less 1. In long rows, where the maximum may be known late, r
// is the sum over all, over exp(m), less 1; if that leaves little there is a second sum.
template <class Path, class W> struct Normalizer : Shift<Path, W> {
    using typename Shift<Path, W>::C;
    using typename Shift<Path, W>::V;
    using typename Shift<Path, W>::I;
    static constexpr C little = C(0.5);  // below this the rounding of the residuals in the sum would be felt

    Wide<C> r;
    I is_little;
    bool others, late = false;  // sum those below m; for the second time
    V how_many;                 // attain m

    Normalizer(const RowBlock<W>& g, V m) : Shift<Path, W>(g, m), others(g.classes <= tile_classes<typename W::C>) {}
    ONESUM_NOINLINE void sum(const RowBlock<W>& g, Totals<W>& totals) {
        if (others) pass<true>(g, totals);
        else pass<false>(g, totals);
    }
    Next finish(const RowBlock<W>& g, Totals<W>& totals) {
        const auto one = Wide<C>::of(splat(C(1))),
                   sum = g.walk.sum_of(totals.sum).scaled(Constants<C>::inv_scale_bias) / this->pivot();
        if (others) {
            const auto count = g.walk.sum_of_views(totals.count), below = sum + (count - one);
            how_many = count.rounded();
            // by a mask: a choice between two would be made in memory
            r = Wide<C>::choose(is_little | splat(typename W::Int(late - 1)), below, r);
            return Next::done;
        }
        if constexpr (Path::general) how_many = g.walk.sum_of_views(totals.count).rounded();
        r = sum - one;
        is_little = r.rounded() < little;
        others = late = any_true(first_n<I>(g.walk.count) & is_little);
        return late ? Next::another_pass : Next::done;
    }
    V one_hot() const { return one_hot_or_nan(how_many, r.rounded()); }

  private:
    template <bool others> ONESUM_INLINE void pass(const RowBlock<W>& g, Totals<W>& totals) {
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            const auto terms = this->of(row);
            const V m = row.of(this->m);
            const Logits<Path, W> logits(g, row);
            Prefetch<W> next(g, row, 0);
            I at_max{};
            row.accumulate(ExpSum<C>(totals.sum), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                const V x = logits.at(j, lanes);
                next.fetch();
                auto e = terms.template term<sizeof(C) == 8>(x);  // of floats exp(underflow_cutoff) rounds to 0
                if constexpr (others || Path::general) {
                    const I is_max = x == m;
                    at_max -= is_max;
                    if constexpr (others) e.scale = is_max ? V{} : e.scale;
                }
                sum.add(e);
            });
            totals.count[row.r] = Wide<C>::count(at_max);
        });
    }
};

}  // namespace
