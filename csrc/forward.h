// softmax, log_softmax, logsumexp, and the derivatives of logsumexp: what follows from a row's normalizer.
//
// Each operation is a struct with `run(group)`; `form` picks the plain or the general code for it once the maximum is known.
#pragma once

#include "normalizer.h"

namespace {

template <bool masked, class W, class F> void with_normalizer(Group<W>& g, F f) {
    using C = typename W::C;
    auto m = row_max<masked>(g);
    if constexpr (masked) f(Normalizer<Masked, W>(g, m), Masked{});
    else if (g.scaled || any(m == C(infinity))) f(Normalizer<General, W>(g, m), General{});
    else f(Normalizer<Plain, W>(g, m), Plain{});
}

// x_i -> p_i = exp(x_i - m) / (1 + r), rounded once. The exponents meet as integers, 1 / (1 + r) comes in two words.
template <class Form, class W> struct Probabilities {
    using C = typename W::C;
    using V = typename W::V;
    const Normalizer<Form, W>& normalizer;
    Sum2<V> inverse;
    V one_hot;

    Probabilities(const Normalizer<Form, W>& n, C all_infinite) : normalizer(n) {
        inverse = n.inverse_sum().two_words();
        V rest = n.rest.rounded();  // NaN if the row holds one
        inverse.hi = n.no_finite_logit() ? all_infinite + (rest - rest) : inverse.hi * Constants<C>::unbias;
        inverse.lo = n.no_finite_logit() ? V{} : inverse.lo * Constants<C>::unbias;
        if constexpr (Form::general) {
            V nan_or_zero = n.one_hot_or_nan();
            one_hot = nan_or_zero + C(1);
            inverse.hi = n.infinite() ? nan_or_zero : inverse.hi;
            inverse.lo = n.infinite() ? V{} : inverse.lo;
        }
    }
    V operator()(V x) const {
        V scale;
        auto e = normalizer.term(x, scale);
        V p = (inverse.hi + fma(inverse.hi, e.hi, fma(inverse.hi, e.lo, inverse.lo))) * scale;
        if constexpr (Form::general) p = x == C(infinity) ? one_hot : p;
        return p;
    }
};

template <bool masked> struct Softmax {
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        with_normalizer<masked>(g, [&](const auto& normalizer, auto form) {
            using Form = decltype(form);
            const Probabilities<Form, W> probability(normalizer, C(not_a_number));
            g.walk.each([&](long i, auto lanes) {
                auto p = probability(read_logits<Form>(g, i, lanes));
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
    V z = d.hi * inverse.hi;
    V z_lo = fma(d.hi, inverse.lo, product_error(d.hi, inverse.hi, z));
    z_lo = z_lo + (inverse.hi == C(1) ? V{} : d.lo * inverse.hi);
    return z == C(-infinity) || d.hi == C(-infinity) ? splat(C(-infinity)) - log_rest : z - (log_rest - z_lo);
}

template <bool masked> struct LogSoftmax {
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        with_normalizer<masked>(g, [&](const auto& normalizer, auto form) {
            using Form = decltype(form);
            V m = normalizer.m;
            V log_rest = log1p(normalizer.r()).rounded();
            log_rest = normalizer.no_finite_logit() ? splat(C(not_a_number)) : log_rest;
            if constexpr (Form::general) log_rest = normalizer.infinite() ? normalizer.one_hot_or_nan() : log_rest;
            g.walk.each([&](long i, auto lanes) {
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
    template <class W> static void run(Group<W>& g) {
        using C = typename W::C;
        using V = typename W::V;
        with_normalizer<masked>(g, [&](const auto& normalizer, auto form) {
            V top = normalizer.m;
            auto wide_top = Wide<C>::of(top);
            if constexpr (decltype(form)::general) {
                wide_top = wide_top * normalizer.inverse.wide();
                top = top * normalizer.inverse.hi;
                top = normalizer.no_finite_logit() ? normalizer.m : top;
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
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using V = typename W::V;
        with_normalizer<masked>(g, [&](const auto& normalizer, auto form) {
            using Form = decltype(form);
            const Probabilities<Form, W> probability(normalizer, 0);
            V factor = g.row_in;
            if constexpr (Form::general) factor = factor * normalizer.inverse.hi;
            g.walk.each([&](long i, auto lanes) {
                V p = probability(read_logits<Form>(g, i, lanes));
                write<S>(g.out, i, lanes, p == 0 ? V{} : p * factor);
            });
        });
    }
};

// sum p v / T; where the logit is -inf or masked, v is not read
template <bool masked> struct LogSumExpJvp {
    template <class W> static void run(Group<W>& g) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        with_normalizer<masked>(g, [&](const auto& normalizer, auto form) {
            using Form = decltype(form);
            Wide<C> sums[W::chains] = {};
            g.walk.each([&](long i, auto lanes) {
                V x = read_logits<Form>(g, i, lanes);
                V v = read<S>(g.in[1], i, lanes, V{});
                V scale;
                auto e = normalizer.term(x, scale);
                if constexpr (Form::general) scale = normalizer.infinite() & (x != normalizer.m) ? V{} : scale;
                v = x == C(-infinity) ? V{} : v;
                auto& sum = sums[W::chain(i)];
                sum = add_product(sum, e.mantissa() * Wide<C>::of(v), scale);
            });
            auto total = W::sum_of(sums).scaled(Constants<C>::unbias) * normalizer.inverse_sum();
            if constexpr (Form::general) total = total * normalizer.inverse.wide();
            V result = total.rounded();
            V rest = normalizer.rest.rounded();
            result = normalizer.no_finite_logit() ? rest - rest : result;
            if constexpr (Form::general) result = normalizer.infinite() ? result + normalizer.one_hot_or_nan() : result;
            g.row_out = result;
        });
    }
};

}  // namespace
