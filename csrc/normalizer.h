// The normalizer of a row: its maximum m, and r, the sum of exp(x_j - m) over all classes but the first that attains it.
//
// Everything a row's outputs need follows from the two: p = exp(x - m) / (1 + r), log p = (x - m) - log1p(r), and m + log1p(r). Leaving the
// pivot's own 1 out of the sum is what keeps log p and 1 - p right when p is close to one.
#pragma once

#include "columns.h"
#include "exp.h"
#include "rows.h"

namespace {

// What a group of rows may need beyond plain finite logits. The general form gives plain rows the bits of the plain form.
struct Plain { static constexpr bool general = false, masked = false; };
struct General { static constexpr bool general = true, masked = false; };  // a temperature, or +inf among the logits
struct Masked { static constexpr bool general = true, masked = true; };

// A bool operand, its lanes at any distance from each other.
struct MaskOperand {
    const char* p = nullptr;
    long step = 0, lane = 0;

    template <class W, class Lanes> typename W::I at(long i, Lanes lanes, W) const {
        const char* here = p + i * step;
        typename W::I mask{};
        const int count = Lanes::all ? W::lanes : lanes.count;
        for (int k = 0; k < count; ++k) mask[k] = -(here[k * lane] != 0);
        return mask;
    }
};

// The rows a kernel works on at one time: one row, or one per lane.
template <class W> struct Group {
    using V = typename W::V;
    W walk;
    Operand in[2], out;
    MaskOperand mask;
    V row_in, row_out;            // operands with one element per row
    double temperature[W::lanes];
    bool scaled;                  // some temperature is not 1
    V* memo;                      // room for two vectors a step, or null if that is too much
};

template <class C> struct InverseTemperature {
    typename Vec<C>::V hi, lo, temperature;
    Wide<C> wide() const { return Wide<C>::of(hi, lo); }
};

template <class W> InverseTemperature<typename W::C> inverse_temperature(const Group<W>& group) {
    using K = Constants<typename W::C>;
    using C = typename W::C;
    InverseTemperature<C> result{};
    for (int lane = 0; lane < W::lanes; ++lane) {
        double t = group.temperature[lane];
        double inverse = 1 / t;
        if (!(inverse < K::largest)) inverse = K::largest;
        C hi = C(inverse);
        result.hi[lane] = hi;
        if constexpr (sizeof(C) == 4) {
            result.lo[lane] = C(inverse - hi);
        } else {  // what 1 / t lacks: (1 - t inverse) inverse, with t inverse to double the digits
            double rest = 1 - t * inverse;
            rest -= product_error(splat(t), splat(inverse), splat(t * inverse))[0];
            rest *= inverse;
            result.lo[lane] = rest - rest == 0 ? rest : 0;
        }
        result.temperature[lane] = t < K::largest ? C(t) : K::largest;
    }
    return result;
}

template <class Form, class W> typename W::V read_logits(const Group<W>& g, long i, auto lanes) {
    using C = typename W::C;
    auto x = read<typename W::S>(g.in[0], i, lanes, splat(C(-infinity)));
    if constexpr (Form::masked) x = g.mask.at(i, lanes, g.walk) ? x : splat(C(-infinity));
    return x;
}

template <bool masked, class W> typename W::V row_max(const Group<W>& g) {
    using C = typename W::C;
    typename W::V m = splat(C(-infinity));
    g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
        using Form = std::conditional_t<masked, Masked, Plain>;
        m = max(read_logits<Form>(g, i, lanes), m);
    });
    return W::max_of(m);
}

// How the logits of a row become exponents: everything but the sums. See exp.h.
template <class Form, class W> struct Shift {
    using C = typename W::C;
    using V = typename W::V;
    using I = typename W::I;
    using K = Constants<C>;

    V m;
    V base, floor, exponent;  // subtracted first; below this nothing counts; the exponent of exp(m)
    Wide<C> pivot;            // exp(m) over 2^exponent
    InverseTemperature<C> inverse;

    ONESUM_INLINE Shift(const Group<W>& g, V m) : m(m) {
        V size = m < 0 ? -m : m;
        base = V{};
        if constexpr (Form::general) {
            inverse = inverse_temperature(g);
            I large = size * inverse.hi >= K::far || m == C(infinity);
            base = large ? m : base;
        } else {
            base = size >= K::far ? m : base;
        }
        base = m == C(-infinity) ? V{} : base;
        V top = size < C(infinity) ? m - base : V{};
        auto e = exponential(top);
        exponent = e.n;
        pivot = e.mantissa().normalized();
        floor = top + K::below;
        if constexpr (Form::general) floor = max(top + K::below * inverse.temperature, splat(-K::largest));
    }

    ONESUM_INLINE Exp<C> exponential(V y) const {
        if constexpr (!Form::general) return exp_parts(y, V{});
        V z = y * inverse.hi;
        return exp_parts(z, fma(y, inverse.lo, product_error(y, inverse.hi, z)));
    }
    // exp(x / T) over 2^exponent is `scale` times the parts' mantissa. A logit of +inf counts as the maximum that it is.
    ONESUM_INLINE Exp<C> term(V x, V& scale) const {
        V y = max(floor, x - base);
        if constexpr (Form::general) y = x == C(infinity) ? V{} : y;
        auto e = exponential(y);
        scale = biased_power(e.n, exponent);
        if constexpr (Form::general) scale = x == C(-infinity) ? V{} : scale;
        return e;
    }

    I no_finite_logit() const { return m == C(-infinity); }
    I infinite() const { return m == C(infinity); }
};

// 0 where one class only attains m = +inf, else NaN; NaN too where the row's sum is.
template <class V> inline V one_hot_or_nan(V how_many, V sum) {
    using C = decltype(+sum[0]);
    return how_many == C(1) ? sum - sum : splat(C(not_a_number));
}

template <class Form, class W> struct Normalizer : Shift<Form, W> {
    using typename Shift<Form, W>::C;
    using typename Shift<Form, W>::V;
    using typename Shift<Form, W>::I;

    Wide<C> rest, count;  // the sum over the classes below m, over 2^exponent; how many attain m

    ONESUM_INLINE Normalizer(const Group<W>& g, V m) : Shift<Form, W>(g, m) {
        Wide<C> sums[W::chains] = {};
        I at_max{};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V x = read_logits<Form>(g, i, lanes);
            V scale;
            auto e = this->term(x, scale);
            I is_max = x == m;
            at_max -= is_max;
            auto& sum = sums[W::chain(i)];
            sum = add_product(sum, e.mantissa(), is_max ? V{} : scale);
        });
        rest = W::sum_of(sums).scaled(Constants<C>::unbias);
        count = W::sum_across(Wide<C>::count(at_max));
    }
    Wide<C> r() const { return rest / this->pivot + (count - Wide<C>::of(splat(C(1)))); }
    V one_hot() const { return one_hot_or_nan(count.rounded(), rest.rounded()); }
};

}  // namespace
