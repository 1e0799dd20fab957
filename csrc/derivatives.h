// The derivatives that start from the layer's output, p or log p.
//
// All are pivoted: j* is the first class of the largest p, w = v - v_{j*}. Since the p sum to one, J v = p (w - S) with S = sum p w over the others,
// and at the pivot, where w = 0, just -p S: no difference of nearly equal numbers is left. (Plainly, v - sum p v loses all digits when p -> 1.)
// Where p is 0 the derivative is exactly 0 and v is not read.
#pragma once

#include "normalizer.h"

namespace {

template <class W> struct Pivot {
    typename W::V value;      // the largest p, or log p
    typename W::I position;
    typename W::V nan;        // NaN where the row holds one, else 0
};

template <class W> Pivot<W> find_pivot(const Group<W>& g) {
    using C = typename W::C;
    using V = typename W::V;
    using I = typename W::I;
    V largest = splat(C(-infinity)), nan = V{};
    I position{};
    g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
        V p = read<typename W::S>(g.in[0], i, lanes, splat(C(-infinity)));
        I larger = p > largest;
        largest = larger ? p : largest;
        position = larger ? W::position(i) : position;
        nan = p != p ? p : nan;
    });
    V value = W::max_of(largest);
    nan = W::sum_across(Wide<C>::of(nan)).rounded();
    return {value, W::first_of(largest == value, position), nan};
}

// x - y before any rounding
inline Wide<float> difference(f32v x, f32v y) { return Wide<float>::of(x) - Wide<float>::of(y); }
inline Wide<double> difference(f64v x, f64v y) { return Wide<double>::of(x, -y); }

// (w - S) / T in two words, with w = v - v_pivot and S in two words.
template <class C, class V> ONESUM_INLINE Sum2<V> deviation(V v, V v_pivot, Sum2<V> sum, const InverseTemperature<C>& inverse, bool scaled) {
    const auto w = two_sum(v, -v_pivot);
    auto d = two_sum(w.hi, -sum.hi);
    d.lo = d.lo + (w.lo - sum.lo);
    if (!scaled) return d;
    const V z = d.hi * inverse.hi;
    return {z, fma(d.lo, inverse.hi, fma(d.hi, inverse.lo, product_error(d.hi, inverse.hi, z)))};
}

// p (w - S) / T. With a fused multiply-add in fewer steps: w is rounded, p S and the result.
template <class C, class V>
ONESUM_INLINE V times_deviation(V p, V v, V v_pivot, Sum2<V> sum, const InverseTemperature<C>& inverse, bool scaled) {
#if defined(__FMA__) || defined(__ARM_NEON)
    const V w = v - v_pivot;
    if (!scaled) return fma(p, w, -fma(p, sum.hi, p * sum.lo));
    const V q = p * inverse.hi;
    const V q_lo = fma(p, inverse.lo, product_error(p, inverse.hi, q));
    return fma(q, w, -fma(q, sum.hi, q * sum.lo)) + q_lo * (w - sum.hi);
#else
    const auto d = deviation(v, v_pivot, sum, inverse, scaled);
    return p * d.hi + p * d.lo;
#endif
}

// p (w - S) / T
struct SoftmaxVjp {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        const auto pivot = find_pivot(g);
        V v_pivot = g.walk.pick(g.in[1], pivot.position);
        v_pivot = pivot.value > 0 ? v_pivot : V{};
        Wide<C> sums[W::chains] = {};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V p = read<S>(g.in[0], i, lanes, V{});
            V v = read<S>(g.in[1], i, lanes, V{});
            v = p == 0 ? v_pivot : v;
            add_to(sums[W::chain(i)], Wide<C>::of(p) * difference(v, v_pivot));
        });
        auto sum = g.walk.sum_of(sums).two_words();
        sum.hi = sum.hi + pivot.nan;
        const auto inverse = inverse_temperature(g);
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V p = read<S>(g.in[0], i, lanes, V{});
            V v = read<S>(g.in[1], i, lanes, V{});
            V y = times_deviation(p, v, v_pivot, sum, inverse, g.scaled);
            write<S>(g.out, i, lanes, p == 0 ? pivot.nan : y);
        });
    }
};

// exp(log p). Where the largest is above 0, as no log-probability is, its exponent is set aside so that nothing wraps.
template <class W> struct Exponentials {
    using C = typename W::C;
    using V = typename W::V;
    using K = Constants<C>;
    V rounder, power;

    explicit Exponentials(V largest) {
        V top = largest > 0 ? largest : V{};
        top = top < K::far ? top : splat(C(K::far));
        const V exponent = exp_parts(top, V{}, rounder_for(V{})).n;
        rounder = rounder_for(exponent);
        power = bits<V>(bits<typename W::I>(exponent + (K::rounder + K::exponent_of_one)) << K::mantissa) * K::unbias;
        power = top < C(sizeof(C) == 4 ? 88.7 : 709.7) ? power : splat(C(infinity));
    }
    ONESUM_INLINE V operator()(V logp) const {
        auto e = exp_parts(max(splat(K::below), logp), V{}, rounder);
        return ((C(1) + e.tail()) * e.scale) * power;
    }
};

// (w - S) / T with S = sum p w
struct LogSoftmaxJvp {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        const V nothing = splat(C(-infinity));
        const auto pivot = find_pivot(g);
        V v_pivot = g.walk.pick(g.in[1], pivot.position);
        v_pivot = pivot.value > nothing ? v_pivot : V{};
        const Exponentials<W> exponential(pivot.value);
        Wide<C> sums[W::chains] = {};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V logp = read<S>(g.in[0], i, lanes, nothing);
            V v = read<S>(g.in[1], i, lanes, V{});
            v = logp == nothing ? v_pivot : v;
            add_to(sums[W::chain(i)], Wide<C>::of(exponential(logp)) * difference(v, v_pivot));
        });
        auto sum = g.walk.sum_of(sums).two_words();
        sum.hi = sum.hi + pivot.nan;
        const auto inverse = inverse_temperature(g);
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V logp = read<S>(g.in[0], i, lanes, nothing);
            V v = read<S>(g.in[1], i, lanes, V{});
            const auto d = deviation(v, v_pivot, sum, inverse, g.scaled);
            V y = d.hi + d.lo;
            write<S>(g.out, i, lanes, logp == nothing ? pivot.nan : y);
        });
    }
};

// (g_i - p_i sum g) / T; at the pivot g (1 - p) - p sum of the other g, with 1 - p the sum of the other p
struct LogSoftmaxVjp {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        const V nothing = splat(C(-infinity));
        const auto pivot = find_pivot(g);
        V g_pivot = g.walk.pick(g.in[1], pivot.position);
        g_pivot = pivot.value > nothing ? g_pivot : V{};
        const Exponentials<W> exponential(pivot.value);
        Wide<C> sums[W::chains] = {};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V logp = read<S>(g.in[0], i, lanes, nothing);
            V v = read<S>(g.in[1], i, lanes, V{});
            v = (logp == nothing) | (W::position(i) == pivot.position) ? V{} : v;
            add_to(sums[W::chain(i)], Wide<C>::of(v));
        });
        const Wide<C> others = g.walk.sum_of(sums);
        const V all = (others + Wide<C>::of(g_pivot)).rounded() + pivot.nan;
        const V inverse = g.scaled ? inverse_temperature(g).hi : splat(C(1));
        Wide<C> other_p[W::chains] = {};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V logp = read<S>(g.in[0], i, lanes, nothing);
            V v = read<S>(g.in[1], i, lanes, V{});
            V p = exponential(logp);
            p = logp == nothing ? V{} : p;
            add_to(other_p[W::chain(i)], Wide<C>::of(W::position(i) == pivot.position ? V{} : p));
            V y = fma(-p, all, v);
            if (g.scaled) y = y * inverse;
            write<S>(g.out, i, lanes, logp == nothing ? pivot.nan : y);
        });
        auto p_pivot = Wide<C>::of(exponential(pivot.value));
        auto y = Wide<C>::of(g_pivot) * g.walk.sum_of(other_p) - p_pivot * others;
        if (g.scaled) y = y * inverse_temperature(g).wide();
        V at_pivot = y.rounded() + pivot.nan;
        g.walk.put(g.out, pivot.position, pivot.value > nothing ? at_pivot : pivot.nan);
    }
};

}  // namespace
