// The derivatives that start from the layer's output, p or log p.
//
// All are pivoted: j* is the first class of the largest p, w = v - v_{j*}. Since the p sum to one, J v = p (w - S) with
// S = sum p w over the others, and at the pivot, where w = 0, just -p S: no difference of nearly equal numbers is left.
// (Plainly, v - sum p v loses all digits when p -> 1.) Where p is 0 the derivative is exactly 0 and v is not read. Once
// something is met that is not finite, the general path looks out for NaN and p = 0, class by class.
#pragma once

#include "loops/prefetch.h"
#include "loops/protocol.h"
#include "numerics/accumulators.h"
#include "ops/shift.h"

namespace {

template <class W> struct Pivot {
    typename W::V value;     // the largest p, or log p
    typename W::I position;  // of the first class that has it, counted from `first`
    typename W::V v;         // the second input there,
    bool has_v;              // which is known of whole rows
    isize first;             // (a row in chunks may have more classes than a lane can count)
    bool finite;             // nothing is known to be amiss

    isize at(int row) const { return first + isize(position[row]); }
};

// For every row, the second input at the pivot.
template <class W> typename W::V pick(const RowBlock<W>& g, const Pivot<W>& pivot) {
    if (pivot.has_v) return pivot.v;
    typename W::V x{};
    for (int k = 0; k < g.walk.count; ++k)
        x[k] = g.element.load(g.v.p + pivot.at(k) * g.v.class_stride + k * g.v.row_stride);
    return x;
}

template <bool logarithms> struct FromOutput {
    static constexpr bool online_max = false, always_general = false;
    static constexpr int prepass_inputs = 1;
    template <class W> using Sums = Totals<W>;
    template <class W> static ONESUM_NOINLINE Pivot<W> prepass(const RowBlock<W>& g) {
        Pivot<W> pivot{};
        pivot.first = g.walk.first;
        if constexpr (W::vertical) find_vertical(g, pivot);
        else find_horizontal(g, pivot);
        return pivot;
    }
    // b is of the classes after those of a.
    template <class W> static Pivot<W> combine(const W&, Pivot<W> a, const Pivot<W>& b) {
        const auto larger = b.value > a.value;
        if constexpr (W::vertical) a.position = larger ? b.position + typename W::Int(b.first - a.first) : a.position;
        else if (larger[0]) a.position = b.position, a.first = b.first;
        a.value = larger ? b.value : a.value;
        a.finite &= b.finite;
        return a;
    }
    template <class W> static bool needs_general(const RowBlock<W>&, const Pivot<W>& pivot) { return !pivot.finite; }

  private:
    // An infinite or NaN log p makes the sum of all so.
    template <class W> static void find_vertical(const RowBlock<W>& g, Pivot<W>& pivot) {
        using C = typename W::C;
        pivot.has_v = g.walk.n == g.classes;
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            // of rows that are longer than the tile only p is there yet
            const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[pivot.has_v]);
            auto m = splat(typename W::C(-infinity));
            typename W::V v{}, sum{};
            typename W::I position{};
            row.for_each([&](isize j, auto) ONESUM_FORCE_INLINE {
                const auto p = load<C>(p_at.at(j));
                const typename W::I larger = p > m;
                m = larger ? p : m;
                v = larger ? load<C>(v_at.at(j)) : v;
                position = larger ? typename W::I{} + typename W::Int(j) : position;
                if constexpr (logarithms) sum = sum + p;
            });
            pivot.value = m, pivot.v = v, pivot.position = position;
            pivot.finite = !logarithms || !any_true(sum - sum != 0);
        });
    }
    // In each lane the largest and the first class that has it, and then the first of the lanes that have the row's.
    template <class W> static void find_horizontal(const RowBlock<W>& g, Pivot<W>& pivot) {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using Int = typename W::Int;
        V largest[W::views], partial[W::views];
        I position[W::views];
        pivot.finite = true;
        pivot.has_v = g.walk.n == g.classes;
        g.walk.rows([&, p_in = g.in[0]](auto row) ONESUM_FORCE_INLINE {
            const auto p_at = row.of(p_in);
            V m = splat(C(-infinity)), sum{};
            I here = iota<I>(), at = here;
            row.for_each_by_lines(p_in, least_by_lines(false), [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                const V p = read<C>(p_at.at(j), lanes, splat(C(-infinity)));
                at = p > m ? here : at;
                m = max(p, m);
                here += Int(lanes.all ? W::lanes : lanes.count);
                if constexpr (logarithms) sum = sum + (lanes.all ? p : keep_lanes(p, lanes.count, V{}));
            });
            largest[row.r] = partial[row.r] = m, position[row.r] = at;
            if constexpr (logarithms) pivot.finite &= !any_true(sum - sum != 0);
        });
        pivot.value = g.walk.max_of(partial);
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            I& at = position[row.r];
            at = largest[row.r] == row.of(pivot.value) ? at : splat(Int(0x7fffffff));
        });
        pivot.position = g.walk.min_of(position);
        if (!pivot.has_v) return;
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            memcpy(reinterpret_cast<C*>(&pivot.v) + row.r, row.of(g.in[1]).at(pivot.position[row.r]), sizeof(C));
        });
    }
};

// x / T in two words: x itself where T is 1. What is infinite has no second word.
template <class C, class V> ONESUM_INLINE Sum2<V> over(Sum2<V> x, const InverseTemperature<C>& inverse) {
    const V z = x.hi * inverse.hi,
            rest = fma(x.lo, inverse.hi, fma(x.hi, inverse.lo, two_prod_error(x.hi, inverse.hi, z)));
    return {z, z - z == 0 ? rest : V{}};
}

// (w - S) / T in two words, with w = v - v_pivot; S is over T already.
template <class C, class V>
ONESUM_INLINE Sum2<V> deviation(V v, V v_pivot, Sum2<V> sum, const InverseTemperature<C>& inverse, bool scaled) {
    auto w = two_sum(v, -v_pivot);
    if (scaled) w = over<C>(w, inverse);
    const auto d = two_sum(w.hi, -sum.hi);
    const V rest = d.lo + (w.lo - sum.lo);
    return {d.hi, d.hi - d.hi == 0 ? rest : V{}};
}

}  // namespace
