// What the losses share whose targets are spread over the classes, or whose sums are of more than two kinds.
#pragma once

#include "ops/loss_targets.h"

namespace {

// Totals of six kinds.
template <class W> struct MoreTotals : Totals<W> {
    static constexpr int kinds = 6;
    Wide<typename W::C> more[4][W::sums];
};

// Added to a count of classes for each class that makes the loss infinite: more than there are classes.
constexpr double infinite_term = 0x1p33;
// Takes them out of the count again; whether there were any.
inline bool take_infinite_terms(double& count) {
    const bool any = count >= infinite_term;
    while (count >= infinite_term) count -= infinite_term * double(isize(count / infinite_term));
    return any;
}

// Doubles of which there is one for each row, as a row needs them.
template <class W> ONESUM_INLINE Wide<typename W::C> of_row(const typename W::Row& row, const double* p) {
    if constexpr (W::vertical) return wide_from<typename W::C>(p);
    else return wide_splat<typename W::C>(p[row.r]);
}

// The same in all the digits that a kernel has: a number for each row.
template <class W> class PerRow {
    using C = typename W::C;
    double hi[W::lanes], lo[W::lanes];

  public:
    void set(Wide<C> x) {
        wide_to(hi, x);
        wide_to(lo, x - wide_from<C>(hi));
    }
    ONESUM_INLINE Wide<C> of(const typename W::Row& row) const { return of_row<W>(row, hi) + of_row<W>(row, lo); }
};

// An exponential over its scale.
template <class C> ONESUM_INLINE Wide<C> factor_of(const Exp<C>& e) {
    const auto factor = Wide<C>::of(splat(C(1)), e.hi);
    return Exp<C>::single_word ? factor : factor + Wide<C>::of(e.lo);
}

// The masses of the classes of a row, before they are multiplied by s.
template <class W> struct Masses {
    using C = typename W::C;
    using V = typename W::V;
    const typename W::Row row;
    const typename W::Row::Classes probabilities;
    const double* const weight;
    const isize first;
    const bool has_probabilities;
    const Wide<C> share, smoothing_mass;

    ONESUM_INLINE Masses(const RowBlock<W>& g, const typename W::Row& row)
        : row(row), probabilities(row.of(g.in[1])), weight(g.targets.options->weight), first(g.walk.first),
          has_probabilities(g.targets.options->probabilities), share(wide_splat<C>(1 - g.targets.options->smoothing)),
          smoothing_mass(of_row<W>(row, g.targets.smoothing_mass)) {}
    ONESUM_INLINE Wide<C> at(isize j, auto lanes) const {
        auto q = smoothing_mass;
        if (has_probabilities) q = q + Wide<C>::of(read<typename W::C>(probabilities.at(j), lanes, V{})) * share;
        if (weight) q = q * weights(first + j, lanes);
        return q;
    }

  private:
    ONESUM_INLINE Wide<C> weights(isize j, auto lanes) const {
        if constexpr (W::vertical) return wide_splat<C>(weight[j]);
        double some[W::lanes] = {};
        memcpy(some, weight + j, (lanes.all ? W::lanes : lanes.count) * sizeof *some);
        return wide_from<C>(some);
    }
};

}  // namespace
