// Walking rows that lie side by side, their class axis strided: each lane of a vector is a row of its own.
//
// To give the bits that rows.h gives, the class at position j adds to partial sum j mod lanes, and the partial sums are brought together
// in the order in which rows.h adds the lanes of its one vector.
#pragma once

#include "rows.h"

namespace {

template <class S_> struct Columns {
    using S = S_;
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr int chains = lanes;

    long n;
    int width;  // rows side by side, at most one per lane

    template <class F> ONESUM_INLINE void each(F f) const {
        if (width == lanes)
            for (long i = 0; i < n; ++i) f(i, AllLanes{});
        else
            for (long i = 0; i < n; ++i) f(i, SomeLanes{width});
    }
    static int chain(long i) { return i % lanes; }
    static V max_of(V x) { return x; }
    int live_chains() const { return n >= lanes ? lanes : n > 0 ? int(n) : 1; }
    Wide<C> sum_of(Wide<C>* chain) const { return sum_of_chains(chain, live_chains()); }
    static Wide<C> sum_across(Wide<C> x) { return x; }

    static I position(long i) { return I{} + typename Vec<C>::Int(i); }
    static I first_of(I, I position) { return position; }
    V pick(Operand a, I position) const {
        V x{};
        for (int lane = 0; lane < width; ++lane) x[lane] = load_one<S>(address(a, position, lane))[0];
        return x;
    }
    void put(Operand a, I position, V x) const {
        for (int lane = 0; lane < width; ++lane) store_one<S>(address(a, position, lane), V{} + x[lane]);
    }
    static char* address(Operand a, I position, int lane) { return a.at(position[lane]) + lane * sizeof(S); }
};

}  // namespace
