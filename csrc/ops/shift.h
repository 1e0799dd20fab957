// How logits become exponents: everything of an exponential but the sums.
#pragma once

#include "loops/protocol.h"
#include "loops/row_block.h"
#include "numerics/exp.h"

namespace {

template <class C> struct InverseTemperature {
    typename Vec<C>::V hi, lo, temperature;
    Wide<C> wide() const { return Wide<C>::of(hi, lo); }
};

// 1 / T in two words. Where it leaves the type's range, as for T below 3e-39 in float, it stays at the end of the
// range.
template <class W> InverseTemperature<typename W::C> inverse_temperature(const RowBlock<W>& g) {
    using K = Constants<typename W::C>;
    using C = typename W::C;
    if (!g.scaled) return {splat(C(1)), typename W::V{}, splat(C(1))};
    InverseTemperature<C> result{};
    for (int lane = 0; lane < W::lanes; ++lane) {
        double t = g.temperature[lane];
        double inverse = 1 / t;
        if (!(inverse < K::largest)) inverse = K::largest;
        C hi = C(inverse);
        result.hi[lane] = hi;
        if constexpr (sizeof(C) == 4) {
            result.lo[lane] = C(inverse - hi);
        } else {  // what 1 / t lacks: (1 - t inverse) inverse, with t inverse to double the digits
            double rest = 1 - t * inverse;
            rest -= two_prod_error(splat(t), splat(inverse), splat(t * inverse))[0];
            rest *= inverse;
            result.lo[lane] = rest - rest == 0 ? rest : 0;
        }
        result.temperature[lane] = t < K::largest ? C(t) : K::largest;
    }
    return result;
}

// How the logits of a row become exponents: everything but the sums. See numerics/exp.h.
template <class Path, class C> struct Terms {
    using V = typename Vec<C>::V;
    V base, floor;  // subtracted first; below this nothing counts
    V magic_bias;   // for exponents less that of exp(m)
    V inverse_hi, inverse_lo;

    ONESUM_INLINE Exp<C> exponential(V y) const {
        if constexpr (!Path::general) return exp_parts<true>(y, V{}, magic_bias);
        V z = y * inverse_hi;
        return exp_parts<false>(z, fma(y, inverse_lo, two_prod_error(y, inverse_hi, z)), magic_bias);
    }
    // exp(x / T) over 2^exponent. A logit of +inf counts as the maximum that it is; one too far below the maximum as
    // nothing, exactly, or else (on the fast path) as exp(underflow_cutoff) of it, which no sum that has the maximum in
    // it can feel.
    template <bool exactly = true> ONESUM_INLINE Exp<C> term(V x) const {
        V y = max(floor, Path::general ? x - base : x);
        if constexpr (Path::general) y = x == C(infinity) ? V{} : y;
        auto e = exponential(y);
        if constexpr (exactly || Path::general) e.scale = y > floor ? e.scale : V{};
        return e;
    }
};

template <class Path, class W> struct Shift {
    using C = typename W::C;
    using V = typename W::V;
    using I = typename W::I;
    using K = Constants<C>;

    V m;
    Terms<Path, C> terms;
    InverseTemperature<C> inverse;

    Shift(const RowBlock<W>& g, V m) : m(m) {
        V size = m < 0 ? -m : m, base = V{};
        if constexpr (Path::general) {
            inverse = inverse_temperature(g);
            terms.inverse_hi = inverse.hi, terms.inverse_lo = inverse.lo;
            I large = size * inverse.hi >= K::exact_shift_limit || m == C(infinity);
            base = large ? m : base;
        }
        terms.base = m == C(-infinity) ? V{} : base;
        terms.floor = top() + K::underflow_cutoff;
        if constexpr (Path::general)
            terms.floor = max(top() + K::underflow_cutoff * inverse.temperature, splat(-K::largest));
        V exponent = top();
        if constexpr (Path::general) exponent = exponent * inverse.hi;
        terms.magic_bias = magic_bias_for(nearest_exponent(exponent));
    }
    ONESUM_INLINE Terms<Path, C> of(const typename W::Row& row) const {
        Terms<Path, C> result;
        result.floor = row.of(terms.floor);
        result.magic_bias = row.of(terms.magic_bias);
        if constexpr (Path::general) result.base = row.of(terms.base);
        if constexpr (Path::general)
            result.inverse_hi = row.of(terms.inverse_hi), result.inverse_lo = row.of(terms.inverse_lo);
        return result;
    }
    // exp(m / T) over 2^exponent, and that of any logits, one for each row, 2^bias too large
    Wide<C> pivot() const { return biased(terms.exponential(top())).scaled(K::inv_scale_bias); }
    V rounded_pivot() const { return terms.exponential(top()).rounded(); }  // 2^bias too large
    Wide<C> biased_exponential_of(V x) const { return biased(terms.term(x)); }
    // What multiplies sums of terms that were shifted for another maximum. Fast path only: there the shift is an
    // exponent.
    V rescaling(V other) const {
        const V by = exponent_of(other) - exponent_of(m);
        const V power = bit_cast<V>(
            bit_cast<I>(max(splat(C(-K::exponent_of_one)), by) + (K::magic_bias + K::exponent_of_one)) << K::mantissa);
        return other == C(-infinity) ? V{} : power;
    }
    I no_finite_logit() const { return m == C(-infinity); }
    I infinite() const { return m == C(infinity); }

  private:
    static Wide<C> biased(const Exp<C>& e) {
        return (Wide<C>::of(splat(C(1)), e.hi) + Wide<C>::of(e.lo)).normalized() * Wide<C>::of(e.scale);
    }
    static V exponent_of(V m) { return nearest_exponent(m == C(-infinity) ? V{} : m); }
    V top() const {
        V size = m < 0 ? -m : m;
        return size < C(infinity) ? m - terms.base : V{};
    }
};

// 0 where one class only attains m = +inf, else NaN; NaN too where the row's sum is.
template <class V> inline V one_hot_or_nan(V how_many, V sum) {
    using C = decltype(+sum[0]);
    return how_many == C(1) ? sum - sum : splat(C(not_a_number));
}

// Sums of exponentials times something have the excess of the scales, 2^bias. Where that is too much for a double,
// there is a second sum without it.
template <class W> struct Excess {
    using C = typename W::C;
    using V = typename W::V;
    using K = Constants<C>;
    V left = splat(C(1));  // of each row: what takes it out beforehand, or 1

    static ONESUM_INLINE V of(V scale, V left) { return sizeof(C) == 4 ? scale : scale * left; }
    Wide<C> undone(Wide<C> sum) const { return sum.scaled(K::inv_scale_bias / left); }
    bool too_much(const RowBlock<W>& g, V sum) {
        if (sizeof(C) == 4) return false;
        const auto again = first_n<typename W::I>(g.walk.count) & (sum - sum != 0) & (left == 1);
        left = again ? splat(K::inv_scale_bias) : left;
        return any_true(again);
    }
};

}  // namespace
