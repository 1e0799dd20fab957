// The probabilities of a row.
#pragma once

#include "numerics/accumulators.h"
#include "ops/logits.h"
#include "ops/shift.h"

namespace {

template <class C> struct PlainSum : ExpSum<C> {
    template <class T> ONESUM_INLINE explicit PlainSum(T& totals) : ExpSum<C>(totals.sum) {}
};

// p_i = exp(x_i - m) / (1 + r): the exponents meet as integers, and 1 / (1 + r) comes in two words. Two roundings are
// left: of the exponential, which is kept for the second pass or else computed again, and of the product. At the
// maximum there is but one: p is exactly 1 where it rounds to 1, and equal logits share it equally.
template <class Path, class W, bool exactly = false> struct Probabilities : Shift<Path, W> {
    using typename Shift<Path, W>::C;
    using typename Shift<Path, W>::V;
    using typename Shift<Path, W>::I;
    using K = Constants<C>;

    Wide<C> inverse_sum;  // times 2^exponent
    V hi, lo;             // the same, in the lanes' own type
    V nan_or_zero{};      // of a row whose maximum is +inf
    V at_infinity;        // p there

    Probabilities(const RowBlock<W>& g, V m) : Shift<Path, W>(g, m) {}

    // `visit(row)` is asked once a row for what then sees every exponential before it is summed: (j, lanes, x, e, sum).
    // The scale of e may be set to 0.
    template <class Sum = PlainSum<C>, class T, class F>
    ONESUM_INLINE void sum(const RowBlock<W>& g, T& totals, F visit) {
        if (cache(g).p) pass<true, Sum>(g, totals, visit);
        else pass<false, Sum>(g, totals, visit);
    }
    ONESUM_INLINE void sum(const RowBlock<W>& g, Totals<W>& totals) {
        sum(g, totals, [](auto) ONESUM_FORCE_INLINE { return [](auto...) ONESUM_FORCE_INLINE {}; });
    }
    // A row of -inf gets p = `all_infinite`.
    void finish(const RowBlock<W>& g, Totals<W>& totals, C all_infinite) {
        const Wide<C> sum = g.walk.sum_of(totals.sum).scaled(K::inv_scale_bias);
        inverse_sum = Wide<C>::of(splat(C(1))) / sum;
        const V rounded = sum.rounded();
        const auto words = inverse_sum.two_words();
        hi = this->no_finite_logit() ? all_infinite + (rounded - rounded) : words.hi * K::inv_scale_bias;
        lo = this->no_finite_logit() ? V{} : words.lo * K::inv_scale_bias;
        at_infinity = splat(C(1));
        if constexpr (Path::general) {
            V how_many = g.walk.sum_of_views(totals.count).rounded();
            nan_or_zero = this->infinite() ? one_hot_or_nan(how_many, rounded) : V{};
            hi = this->infinite() ? nan_or_zero : hi;
            lo = this->infinite() ? V{} : lo;
            at_infinity = C(1) + nan_or_zero;
        }
    }
    // `visit(row)` is asked once a row for what then gets every p: (j, lanes, x, p, address), in the order of the lines
    // of the output. x is set in the general path only.
    template <class F> ONESUM_INLINE void for_each(const RowBlock<W>& g, F visit) const {
        const V at_top = (this->pivot().scaled(1 / K::inv_scale_bias) * Wide<C>::of(hi, lo)).rounded();
        if (cache(g).p) write_pass<true>(g, at_top, visit);
        else write_pass<false>(g, at_top, visit);
    }

  private:
    static const Operand& cache(const RowBlock<W>& g) { return Path::general ? g.general_cache : g.fast_cache; }

    template <bool keep, class Sum, class T, class F>
    ONESUM_INLINE void pass(const RowBlock<W>& g, T& totals, F visit) {
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            const auto terms = this->of(row);
            const Logits<Path, W> logits(g, row);
            const auto kept = row.of(cache(g));
            auto visitor = visit(row);
            Prefetch<W> next(g, row, 0);
            I at_infinity{};
            row.accumulate(Sum(totals), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                V x = logits.at(j, lanes);
                next.fetch();
                auto e = terms.template term<exactly>(x);
                if constexpr (Path::general) at_infinity -= x == C(infinity);
                if constexpr (keep) ::write<C>(kept.at(j), lanes, e.rounded(), false);
                visitor(j, lanes, x, e, sum);
                sum.add(e);
            });
            if constexpr (Path::general) totals.count[row.r] = Wide<C>::count(at_infinity);
        });
    }
    template <bool kept, class F> ONESUM_INLINE void write_pass(const RowBlock<W>& g, V p_at_top, F visit) const {
        const V scale = kept ? g.cache_scale : splat(C(1)), scaled_hi = this->hi * scale, scaled_lo = this->lo * scale,
                exponential_at_top = this->rounded_pivot() / scale;
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            const auto terms = this->of(row);
            const Logits<Path, W> logits(g, row);
            const auto out = row.of(g.out), exponentials = row.of(cache(g));
            const V hi = row.of(scaled_hi), lo = row.of(scaled_lo);
            [[maybe_unused]] const V biased_hi = hi * (1 / K::inv_scale_bias), biased_lo = lo * (1 / K::inv_scale_bias);
            const V e_top = row.of(exponential_at_top), at_top = row.of(p_at_top);
            const V at_infinity = row.of(this->at_infinity);
            auto visitor = visit(row);
            // Where the exponentials lie in the output a vector across two that were just written is waited for: only
            // long rows are worth it.
            const isize least = least_by_lines(g.streamed) * (kept && !Path::general ? 4 : 1);
            row.for_each_by_lines(g.out, least, [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                V x{}, e;
                if constexpr (Path::general || !kept) x = logits.at(j, lanes);
                if constexpr (kept) e = read<C>(exponentials.at(j), lanes, V{});
                else e = terms.template term<exactly>(x).rounded();
                V p;
                if constexpr (fused) p = fma(e, hi, e * lo);
                else p = fma_small(e, biased_hi, e * biased_lo) * K::inv_scale_bias;  // what it splits stays normal
                p = e == e_top ? at_top : p;
                if constexpr (Path::general) p = x == C(infinity) ? at_infinity : p;
                visitor(j, lanes, x, p, out.at(j));
            });
        });
    }
};

// Factors of a row's p between these keep it among normal numbers on its way, and with it the digits of a p that is
// none; others are taken apart.
template <class C> constexpr double least_factor = sizeof(C) == 4 ? 0x1p-30 : 0x1p-300;
template <class C> constexpr double most_factor = sizeof(C) == 4 ? 0x1p60 : 0x1p300;

// Whether the factors of all rows are between them, or 0.
template <class W, class V> bool all_usual(const RowBlock<W>& g, V factors) {
    using C = typename W::C;
    const V size = factors < 0 ? -factors : factors;
    const auto usual = (size == 0) | ((size >= C(least_factor<C>)) & (size <= C(most_factor<C>)));
    return !any_true(first_n<typename W::I>(g.walk.count) & ~usual);
}

// A factor as a power of two, where it is extreme, and the rest.
template <class W> typename W::V taken_apart(Wide<typename W::C>& factor) {
    using C = typename W::C;
    double factors[W::lanes];
    wide_to(factors, factor);
    typename W::V power = splat(C(1)), inverse = power;
    for (int k = 0; k < W::lanes; ++k) {
        const double size = factors[k] < 0 ? -factors[k] : factors[k];
        if (size == 0 || (size >= least_factor<C> && size <= most_factor<C>) || !(size < infinity)) continue;
        int64_t exponent = (bit_cast<int64_t>(size) >> 52) - 1023;
        if (size > most_factor<C>) exponent -= (bit_cast<int64_t>(most_factor<C>) >> 52) - 1023;
        constexpr int most = sizeof(C) == 4 ? 126 : 1000;
        exponent = exponent < -most ? -most : exponent > most ? most : exponent;
        power[k] = C(bit_cast<double>((1023 + exponent) << 52)),
        inverse[k] = C(bit_cast<double>((1023 - exponent) << 52));
    }
    factor = factor.scaled(inverse);
    return power;
}

}  // namespace
