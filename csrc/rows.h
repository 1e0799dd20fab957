// Walking a row whose classes lie one after the other: the lanes of a vector are neighbouring classes.
//
// A walk (this one or the one in columns.h) goes over its classes in `steps`, a vector each, and brings lanes together at the end. An
// algorithm written against a walk serves both layouts, and gives the same bits in both.
#pragma once

#include "half.h"
#include "wide.h"

namespace {

// How many lanes of a step count: all of them, known when compiling, or the first few.
struct AllLanes {
    static constexpr bool all = true;
    static constexpr int count = 0;
};
struct SomeLanes {
    static constexpr bool all = false;
    int count;
};

// Where an operand's vectors are: step i begins at p + i * step.
struct Operand {
    char* p;
    long step;
    char* at(long i) const { return p + i * step; }
};

// The lanes below `count` of x, `fill` in the others.
template <class V, class I = typename Vec<decltype(+V{}[0])>::I> inline V keep_lanes(V x, int count, V fill) {
    return first_lanes<I>(count) ? x : fill;
}

template <class S, class Lanes, class V> inline V read(Operand a, long i, Lanes lanes, V fill) {
    if constexpr (Lanes::all) return load<S>(a.at(i));
    else return keep_lanes(load_part<S>(a.at(i), lanes.count), lanes.count, fill);
}
template <class S, class Lanes, class V> inline void write(Operand a, long i, Lanes lanes, V x) {
    if constexpr (Lanes::all) store<S>(a.at(i), x);
    else store_part<S>(a.at(i), x, lanes.count);
}

template <class S_> struct Rows {
    using S = S_;
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr long step_bytes = lanes * sizeof(S);
    static constexpr int chains = 1;  // partial sums kept apart

    long n;

    template <class F> ONESUM_INLINE void each(F f) const {
        const long whole = n / lanes;
        for (long i = 0; i < whole; ++i) f(i, AllLanes{});
        if (n % lanes) f(whole, SomeLanes{int(n % lanes)});
    }
    static int chain(long) { return 0; }
    static V max_of(V x) { return reduce(x, [](V a, V b) ONESUM_INLINED { return max(a, b); }); }
    static int live_chains() { return 1; }
    static Wide<C> sum_of(Wide<C>* chain) { return sum_of_lanes(*chain); }
    static Wide<C> sum_across(Wide<C> x) { return sum_of_lanes(x); }

    // Positions along the class axis, one per lane.
    static I position(long i) { return iota<I>() + typename Vec<C>::Int(i * lanes); }
    // The least position among the lanes where `here` holds.
    static I first_of(I here, I position) {
        const I none = I{} + typename Vec<C>::Int((uint64_t(1) << (8 * sizeof(C) - 1)) - 1);
        return reduce(here ? position : none, [](I a, I b) ONESUM_INLINED { return a < b ? a : b; });
    }
    V pick(Operand a, I position) const { return load_one<S>(a.p + position[0] * long(sizeof(S))); }
    void put(Operand a, I position, V x) const { store_one<S>(a.p + position[0] * long(sizeof(S)), x); }
};

}  // namespace
