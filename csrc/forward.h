// softmax, log_softmax, logsumexp, and the derivatives of logsumexp: what follows from a row's normalizer.
//
// Each operation is a struct with `run(group)`; `form` picks the plain or the general code for it once the maximum is known.
#pragma once

#include "normalizer.h"

namespace {

// Calls f with the rows' maximum and the form of code that they need.
template <bool masked, class W, class F> void with_form(const Group<W>& g, F f) {
    using C = typename W::C;
    auto m = g.next_max_known ? g.next_max : row_max<masked>(g);
    if constexpr (masked) f(m, Masked{});
    else if (g.scaled || any(m == C(infinity))) f(m, General{});
    else if (any(m >= Constants<C>::far) || any(m <= -Constants<C>::far)) f(m, Plain{});
    else f(m, Near{});
}

// p_i = exp(x_i - m) / (1 + r), rounded once more: the exponents meet as integers, and 1 / (1 + r) comes in two words. What the sum needs of
// exp(x_i) is kept for the second walk where there is room, else computed again, to the same bits.
template <class Form, class W, bool exactly = false> struct Probabilities : Shift<Form, W> {
    using typename Shift<Form, W>::C;
    using typename Shift<Form, W>::V;
    using typename Shift<Form, W>::I;
    using K = Constants<C>;

    Wide<C> inverse_sum;  // times 2^exponent
    V hi, lo;             // the same, in the lanes' own type
    V nan_or_zero;        // of a row whose maximum is +inf

    // `visit(i, lanes, x, tail, scale)` sees every exponential as it is summed; a row of -inf gets p = `all_infinite`.
    template <class F> ONESUM_INLINE Probabilities(const Group<W>& g, V m, C all_infinite, F visit) : Shift<Form, W>(g, m) {
        ExpSum<W, true> exponentials(g.walk);
        Ahead<Form, W> ahead(g);
        I at_infinity{};
        V* memo = g.memo;
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V x = read_logits<Form>(g, i, lanes);
            ahead.step(i, lanes);
            const auto e = this->template term<exactly>(x);
            V tail = e.tail();
            if constexpr (Form::general) at_infinity -= x == C(infinity);
            if (memo) memo[2 * i] = tail, memo[2 * i + 1] = e.scale;
            exponentials.add(i, e.hi, e.lo, tail, e.scale);
            visit(i, lanes, x, tail, e.scale);
        });
        ahead.done();
        const Wide<C> sum = exponentials.sum(g.walk);
        inverse_sum = Wide<C>::of(splat(C(1))) / sum;
        const V rounded = sum.rounded();
        const auto words = inverse_sum.two_words();
        hi = this->no_finite_logit() ? all_infinite + (rounded - rounded) : words.hi * K::unbias;
        lo = this->no_finite_logit() ? V{} : words.lo * K::unbias;
        nan_or_zero = V{};
        if constexpr (Form::general) {
            V how_many = W::sum_across(Wide<C>::count(at_infinity)).rounded();
            nan_or_zero = this->infinite() ? one_hot_or_nan(how_many, rounded) : V{};
            hi = this->infinite() ? nan_or_zero : hi;
            lo = this->infinite() ? V{} : lo;
        }
    }

    template <class F> ONESUM_INLINE void each(const Group<W>& g, F f) const {
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V x{}, tail, scale;
            if (Form::general || !g.memo) x = read_logits<Form>(g, i, lanes);
            if (g.memo) {
                tail = g.memo[2 * i], scale = g.memo[2 * i + 1];
            } else {
                const auto e = this->template term<exactly>(x);
                tail = e.tail(), scale = e.scale;
            }
            V p = (hi + fma_small(hi, tail, lo)) * scale;
            if constexpr (Form::general) p = x == C(infinity) ? C(1) + nan_or_zero : p;
            f(i, lanes, p);
        });
    }
};

// Fetches the lines that will be written, while there is much to compute.
template <class W> auto fetch_output(const Group<W>& g) {
    return [&g](long i, auto...) ONESUM_INLINED { __builtin_prefetch(g.out.at(i), 1); };
}

template <bool masked> struct Softmax {
    static constexpr bool needs_memo = true;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        with_form<masked>(g, [&](auto m, auto form) ONESUM_INLINED {
            const Probabilities<decltype(form), W> probabilities(g, m, C(not_a_number), fetch_output(g));
            probabilities.each(g, [&](long i, auto lanes, auto p) ONESUM_INLINED {
                if constexpr (masked) p = g.mask.at(i, lanes, g.walk) ? p : typename W::V{};
                write<S>(g.out, i, lanes, p);
            });
        });
    }
};

// (x - m) / T - log_rest. A quotient is kept in two words; where T is 1 the bits are those of the plain difference.
template <class N, class V> inline V scaled_difference(V x, const N& normalizer, V log_rest) {
    using C = decltype(+x[0]);
    const auto& inverse = normalizer.inverse;
    auto d = two_sum(x, -normalizer.m);
    d.hi = x == normalizer.m ? V{} : d.hi;
    d.lo = x == normalizer.m ? V{} : d.lo;
    V z = d.hi * inverse.hi;
    V z_lo = fma(d.hi, inverse.lo, product_error(d.hi, inverse.hi, z));
    z_lo = z_lo + (inverse.hi == C(1) ? V{} : d.lo * inverse.hi);
    return z == C(-infinity) || d.hi == C(-infinity) ? splat(C(-infinity)) - log_rest : z - (log_rest - z_lo);
}

template <bool masked> struct LogSoftmax {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        with_form<masked>(g, [&](V m, auto form) ONESUM_INLINED {
            using Form = decltype(form);
            const Normalizer<Form, W> normalizer(g, m);
            V log_rest = log1p(normalizer.r()).rounded();
            log_rest = normalizer.no_finite_logit() ? splat(C(not_a_number)) : log_rest;
            if constexpr (Form::general) log_rest = normalizer.infinite() ? normalizer.one_hot() : log_rest;
            g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
                V x = read_logits<Form>(g, i, lanes);
                V y = (x - m) - log_rest;
                if constexpr (Form::general) y = scaled_difference(x, normalizer, log_rest);
                if constexpr (masked) y = g.mask.at(i, lanes, g.walk) ? y : splat(C(-infinity));
                write<S>(g.out, i, lanes, y);
            });
        });
    }
};

template <bool masked> struct LogSumExp {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using C = typename W::C;
        using V = typename W::V;
        with_form<masked>(g, [&](V m, auto form) ONESUM_INLINED {
            const Normalizer<decltype(form), W> normalizer(g, m);
            V top = m;
            auto wide_top = Wide<C>::of(m);
            if constexpr (decltype(form)::general) {
                wide_top = wide_top * normalizer.inverse.wide();
                top = normalizer.no_finite_logit() | normalizer.infinite() ? m : m * normalizer.inverse.hi;
            }
            auto log_rest = log1p(normalizer.r());
            V nan_or_zero = log_rest.rounded() - log_rest.rounded();
            V size = top < 0 ? -top : top;
            g.row_out = size < C(infinity) ? (wide_top + log_rest).rounded() : top + nan_or_zero;
        });
    }
};

// g p / T for the cotangent g of a row
template <bool masked> struct LogSumExpVjp {
    static constexpr bool needs_memo = true;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using V = typename W::V;
        with_form<masked>(g, [&](V m, auto form) ONESUM_INLINED {
            const Probabilities<decltype(form), W> probabilities(g, m, 0, fetch_output(g));
            V factor = g.row_in;
            if constexpr (decltype(form)::general) factor = factor * probabilities.inverse.hi;
            probabilities.each(g, [&](long i, auto lanes, V p) ONESUM_INLINED {
                V y = p == 0 ? V{} : p * factor;
                if constexpr (masked) y = g.mask.at(i, lanes, g.walk) ? y : V{};
                write<S>(g.out, i, lanes, y);
            });
        });
    }
};

// sum p v / T; where the logit is -inf or masked, v is not read
template <bool masked> struct LogSumExpJvp {
    static constexpr bool needs_memo = false;
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        with_form<masked>(g, [&](V m, auto form) ONESUM_INLINED {
            using Form = decltype(form);
            Wide<C> sums[W::chains] = {};
            auto add = [&](long i, auto lanes, V x, V tail, V scale) ONESUM_INLINED {
                V v = read<S>(g.in[1], i, lanes, V{});
                v = x == C(-infinity) ? V{} : v;
                if constexpr (Form::general) v = (m == C(infinity)) & (x != m) ? V{} : v;
                auto& sum = sums[W::chain(i)];
                sum = add_product(sum, (Wide<C>::of(splat(C(1)), tail)) * Wide<C>::of(v), scale);
            };
            const Probabilities<Form, W, true> probabilities(g, m, 0, add);
            auto total = g.walk.sum_of(sums).scaled(Constants<C>::unbias) * probabilities.inverse_sum;
            if constexpr (Form::general) total = total * probabilities.inverse.wide();
            V result = total.rounded();
            result = probabilities.no_finite_logit() ? probabilities.hi : result;
            g.row_out = result + probabilities.nan_or_zero;
        });
    }
};

}  // namespace
