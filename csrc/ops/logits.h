// What operations on logits have in common.
#pragma once

#include "loops/prefetch.h"
#include "loops/protocol.h"
#include "numerics/exp.h"

namespace {

// The logits of one row.
template <class Path, class W> struct Logits {
    using C = typename W::C;
    const RowBlock<W>& g;
    const typename W::Row row;
    const typename W::Row::Classes x;

    ONESUM_INLINE Logits(const RowBlock<W>& g, const typename W::Row& row, int which = 0)
        : g(g), row(row), x(row.of(g.in[which])) {}
    ONESUM_INLINE typename W::V at(isize j, auto lanes) const {
        auto v = read<typename W::C>(x.at(j), lanes, splat(C(-infinity)));
        if constexpr (Path::general)
            if (g.mask.p) v = g.mask.template at<W>(row, j, lanes) ? v : splat(C(-infinity));
        return v;
    }
};

template <class Path, class W> ONESUM_NOINLINE typename W::V max_over_classes(const RowBlock<W>& g, int which) {
    using V = typename W::V;
    V partial[W::views];
    g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
        const Logits<Path, W> logits(g, row, which);
        V m = splat(typename W::C(-infinity));
        row.for_each_by_lines(g.in[which], least_by_lines(false),
                              [&](isize j, auto lanes) ONESUM_FORCE_INLINE { m = max(logits.at(j, lanes), m); });
        partial[row.r] = m;
    });
    return g.walk.max_of(partial);
}

template <class W> typename W::V row_max(const RowBlock<W>& g, int which = 0) {
    return g.mask.p ? max_over_classes<General>(g, which) : max_over_classes<Fast>(g, which);
}

// What an operation is but for its Run: the prepass is the maximum.
struct FromLogits {
    static constexpr bool online_max = true, always_general = false;
    static constexpr int prepass_inputs = 1;
    template <class W> using Sums = Totals<W>;
    template <class W> static ONESUM_INLINE typename W::V prepass(const RowBlock<W>& g) { return row_max(g); }
    template <class W, class V> static V combine(const W&, V a, V b) { return max(b, a); }
    template <class W> static ONESUM_INLINE bool needs_general(const RowBlock<W>& g, const typename W::V& m) {
        using C = typename W::C;
        return g.mask.p || g.scaled ||
               any_true((m >= Constants<C>::exact_shift_limit) | (m <= -Constants<C>::exact_shift_limit));
    }
};

}  // namespace
