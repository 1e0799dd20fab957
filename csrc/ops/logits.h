// What operations on logits have in common.
#pragma once

#include "loops/prefetch.h"
#include "loops/protocol.h"
#include "numerics/exp.h"

namespace {

// The logits of one row.
template <class Form, class W> struct Logits {
    using C = typename W::C;
    const Group<W>& g;
    const typename W::Row row;
    const typename W::Row::Classes x;

    ONESUM_INLINE Logits(const Group<W>& g, const typename W::Row& row, int which = 0) : g(g), row(row), x(row.of(g.in[which])) {}
    ONESUM_INLINE typename W::V at(isize j, auto lanes) const {
        auto v = read<typename W::S>(x.at(j), lanes, splat(C(-infinity)));
        if constexpr (Form::general)
            if (g.mask.p) v = g.mask.template at<W>(row, j, lanes) ? v : splat(C(-infinity));
        return v;
    }
};

template <class Form, class W> ONESUM_NOINLINE typename W::V max_of_form(const Group<W>& g, int which) {
    using V = typename W::V;
    V partial[W::views];
    g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
        const Logits<Form, W> logits(g, row, which);
        V m = splat(typename W::C(-infinity));
        row.each([&](isize j, auto lanes) ONESUM_FORCE_INLINE { m = max(logits.at(j, lanes), m); });
        partial[row.r] = m;
    });
    return g.walk.max_of(partial);
}

template <class W> typename W::V row_max(const Group<W>& g, int which = 0) { return g.mask.p ? max_of_form<General>(g, which) : max_of_form<Near>(g, which); }

// A look ahead while there is much to compute on these rows: those next in order get their maxima on the way, others are fetched; so is the output.
template <class Form, class W> struct Ahead {
    using V = typename W::V;
    static constexpr bool finds_max = !W::across;
    static constexpr isize distance = finds_max ? fetched_bytes / sizeof(typename W::S) : 0;  // in classes
    V partial[W::views];

    struct View {
        Ahead& ahead;
        const int r;
        Next<W> next;
        const FetchOutput<W> fetch_output;
        V m;

        ONESUM_INLINE View(Ahead& ahead, const Group<W>& g, const typename W::Row& row)
            : ahead(ahead), r(row.r), next(g, row, 0), fetch_output(g, row), m(splat(typename W::C(-infinity))) {}
        ONESUM_INLINE void step(isize j, auto lanes) {
            next.fetch(j + distance);
            fetch_output(j);
            if constexpr (finds_max) m = max(read<typename W::S>(next.p + j * isize(sizeof(typename W::S)), lanes, splat(typename W::C(-infinity))), m);
        }
        ONESUM_INLINE ~View() { ahead.partial[r] = m; }
    };
    void done(const Group<W>& g) {
        g.next_max_known = finds_max && !g.mask.p && g.next_count > 0;
        if (g.next_max_known) g.next_max = W{g.walk.n, g.walk.count}.max_of(partial);
    }
};

struct Forward {
    static constexpr bool rescales = true;  // in the near form
    static constexpr int known_from = 1;  // inputs
    template <class W> using Sums = Totals<W>;
    template <class W> static ONESUM_INLINE typename W::V known(const Group<W>& g) { return g.next_max_known ? g.next_max : row_max(g); }
    // What is known of all, from what is known of two pieces of the same rows.
    template <class W, class V> static V together(const W&, V a, V b) { return max(b, a); }
    template <class W> static ONESUM_INLINE int form(const Group<W>& g, const typename W::V& m) {
        using C = typename W::C;
        return g.mask.p || g.scaled || any_true((m >= Constants<C>::far) | (m <= -Constants<C>::far));
    }
    template <class F> static ONESUM_INLINE void with(int form, F f) {
        if (form == 0) f(Near{});
        else f(General{});
    }
};

}  // namespace
