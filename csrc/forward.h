// softmax, log_softmax, logsumexp, and the derivatives of logsumexp: what follows from a row's normalizer.
//
// Each operation is a struct. `known` finds what must be known of all classes first, the maximum; `form` says which code the group needs for it, the near
// or the general; a Run of that form then goes over the classes in `sum`, makes of the sums what each row needs in `end`, and goes over the classes again
// in `write`.
#pragma once

#include "normalizer.h"

namespace {

struct Forward {
    static constexpr bool rescales = true;  // in the near form
    static constexpr int known_from = 1;  // inputs
    template <class W> using Sums = Totals<W>;
    template <class W> static ONESUM_INLINE typename W::V known(const Group<W>& g) { return g.next_max_known ? g.next_max : row_max(g); }
    // What is known of all, from what is known of two pieces of the same rows.
    template <class W, class V> static V together(const W&, V a, V b) { return max(b, a); }
    template <class W> static ONESUM_INLINE int form(const Group<W>& g, const typename W::V& m) {
        using C = typename W::C;
        return g.mask.p || g.scaled || any((m >= Constants<C>::far) | (m <= -Constants<C>::far));
    }
    template <class F> static ONESUM_INLINE void with(int form, F f) {
        if (form == 0) f(Near{});
        else f(General{});
    }
};

template <class C> struct PlainSum : ExpSum<C> {
    template <class T> ONESUM_INLINE explicit PlainSum(T& totals) : ExpSum<C>(totals.sum) {}
};

// p_i = exp(x_i - m) / (1 + r), rounded once: the exponents meet as integers, and 1 / (1 + r) comes in two words. What the sum needs of
// exp(x_i) is kept for the second walk where there is room, else computed again, to the same bits.
template <class Form, class W, bool exactly = false> struct Probabilities : Shift<Form, W> {
    using typename Shift<Form, W>::C;
    using typename Shift<Form, W>::V;
    using typename Shift<Form, W>::I;
    using K = Constants<C>;

    Wide<C> inverse_sum;  // times 2^exponent
    V hi, lo;             // the same, in the lanes' own type
    V nan_or_zero{};      // of a row whose maximum is +inf
    V at_infinity;        // p there

    Probabilities(const Group<W>& g, V m) : Shift<Form, W>(g, m) {}

    // `visit(row, sum)` is asked once a row for what then sees every exponential before it is summed: (j, lanes, x, e). The scale of e may be set to 0.
    template <class Sum = PlainSum<C>, class T, class F> ONESUM_INLINE void sum(const Group<W>& g, T& totals, F visit) {
        if (g.memo) pass<true, Sum>(g, totals, visit);
        else pass<false, Sum>(g, totals, visit);
    }
    ONESUM_INLINE void sum(const Group<W>& g, Totals<W>& totals) {
        sum(g, totals, [](auto, auto&) ONESUM_INLINED { return [](auto...) ONESUM_INLINED {}; });
    }
    // A row of -inf gets p = `all_infinite`.
    void end(const Group<W>& g, Totals<W>& totals, C all_infinite) {
        const Wide<C> sum = g.walk.sum_of(totals.sum).scaled(K::unbias);
        inverse_sum = Wide<C>::of(splat(C(1))) / sum;
        const V rounded = sum.rounded();
        const auto words = inverse_sum.two_words();
        hi = this->no_finite_logit() ? all_infinite + (rounded - rounded) : words.hi * K::unbias;
        lo = this->no_finite_logit() ? V{} : words.lo * K::unbias;
        at_infinity = splat(C(1));
        if constexpr (Form::general) {
            V how_many = count_of(g.walk, totals.count).rounded();
            nan_or_zero = this->infinite() ? one_hot_or_nan(how_many, rounded) : V{};
            hi = this->infinite() ? nan_or_zero : hi;
            lo = this->infinite() ? V{} : lo;
            at_infinity = C(1) + nan_or_zero;
        }
    }
    // `visit(row)` is asked once a row for what then gets every p: (j, lanes, x, p, address), in the order of the lines of the output. x is set in
    // the general form only.
    template <class F> ONESUM_INLINE void each(const Group<W>& g, F visit) const {
        if (g.memo) walk<true>(g, visit);
        else walk<false>(g, visit);
    }

  private:
    template <bool keep, class Sum, class T, class F> ONESUM_INLINE void pass(const Group<W>& g, T& totals, F visit) {
        Ahead<Form, W> looks;
        g.walk.rows([&](auto row) ONESUM_INLINED {
            const auto terms = this->of(row);
            const Logits<Form, W> logits(g, row);
            Sum sum(totals);
            auto visitor = visit(row, sum);
            typename Ahead<Form, W>::View ahead(looks, g, row);
            I at_infinity{};
            char* const tails = g.memo + row.r * g.memo_row;
            char* const scales = tails + g.memo_row / 2;
            row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                V x = logits.at(j, lanes);
                ahead.step(j, lanes);
                auto e = terms.template term<exactly>(x);
                if constexpr (Form::general) at_infinity -= x == C(infinity);
                if constexpr (keep) {
                    const V tail = e.tail();
                    memcpy(tails + j * W::memo_step, &tail, sizeof tail);
                    memcpy(scales + j * W::memo_step, &e.scale, sizeof tail);
                }
                visitor(j, lanes, x, e);
                sum.add(e);
            });
            if constexpr (Form::general) totals.count[row.r] = Wide<C>::count(at_infinity);
        });
        looks.done(g);
    }
    template <bool kept, class F> ONESUM_INLINE void walk(const Group<W>& g, F visit) const {
        g.walk.rows([&](auto row) ONESUM_INLINED {
            const auto terms = this->of(row);
            const Logits<Form, W> logits(g, row);
            const auto out = row.of(g.out);
            const V hi = row.of(this->hi), lo = row.of(this->lo);
            const V at_infinity = row.of(this->at_infinity);
            auto visitor = visit(row);
            const char* const tails = g.memo + row.r * g.memo_row;
            const char* const scales = tails + g.memo_row / 2;
            row.each_line(g.out, g.streamed, [&](isize j, auto lanes) ONESUM_INLINED {
                V x{}, tail, scale;
                if constexpr (Form::general || !kept) x = logits.at(j, lanes);
                if constexpr (kept) {
                    memcpy(&tail, tails + j * W::memo_step, sizeof tail);
                    memcpy(&scale, scales + j * W::memo_step, sizeof tail);
                } else {
                    const auto e = terms.template term<exactly>(x);
                    tail = e.tail(), scale = e.scale;
                }
                V p;
                if constexpr (Exp<C>::one_word) p = fma(hi, scale, fma_small(hi, tail, lo) * scale);
                else p = (hi + fma_small(hi, tail, lo)) * scale;  // the scale is a power of two
                if constexpr (Form::general) p = x == C(infinity) ? at_infinity : p;
                visitor(j, lanes, x, p, out.at(j));
            });
        });
    }
};

struct Softmax : Forward {
    static constexpr bool needs_memo = true;
    template <class Form, class W> struct Run : Probabilities<Form, W> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Form, W>;
        using P::P;
        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) { P::sum(g, totals); }
        void end(Group<W>& g, Totals<W>& totals) { P::end(g, totals, C(not_a_number)); }
        ONESUM_APART void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_INLINED {
                return [&g, row](isize j, auto lanes, V, V p, char* out) ONESUM_INLINED {
                    if constexpr (Form::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    ::write<S>(out, lanes, p, g.streamed);
                };
            });
        }
    };
};

// (x - m) / T - log_rest. A quotient is kept in two words; where T is 1 the bits are those of the plain difference.
template <class V, class C = decltype(+V{}[0])> ONESUM_INLINE V scaled_difference(V x, V m, V inverse_hi, V inverse_lo, V log_rest) {
    auto d = two_sum(x, -m);
    d.hi = x == m ? V{} : d.hi;
    d.lo = x == m ? V{} : d.lo;
    V z = d.hi * inverse_hi;
    V z_lo = fma(d.hi, inverse_lo, product_error(d.hi, inverse_hi, z));
    z_lo = z_lo + (inverse_hi == C(1) ? V{} : d.lo * inverse_hi);
    return z == C(-infinity) || d.hi == C(-infinity) ? splat(C(-infinity)) - log_rest : z - (log_rest - z_lo);
}

// log p, once log1p(r) is known.
template <class Form, class W, class Base> struct LogProbabilities : Base {
    using S = typename W::S;
    using C = typename W::C;
    using V = typename W::V;
    using Base::Base;
    V log_rest;

    ONESUM_APART void write(Group<W>& g) const {
        g.walk.rows([&](auto row) ONESUM_INLINED {
            const V m = row.of(this->m), log_rest = row.of(this->log_rest);
            const Logits<Form, W> logits(g, row);
            const auto out = row.of(g.out);
            V inverse_hi, inverse_lo;
            if constexpr (Form::general) inverse_hi = row.of(this->inverse.hi), inverse_lo = row.of(this->inverse.lo);
            row.each_line(g.out, g.streamed, [&](isize j, auto lanes) ONESUM_INLINED {
                V x = logits.at(j, lanes), y;
                if constexpr (Form::general) y = scaled_difference(x, m, inverse_hi, inverse_lo, log_rest);
                else y = (x - m) - log_rest;
                if constexpr (Form::general) y = g.mask.template at<W>(row, j, lanes) ? y : splat(C(-infinity));
                ::write<S>(out.at(j), lanes, y, g.streamed);
            });
        });
    }
};

struct LogSoftmax : Forward {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : LogProbabilities<Form, W, Normalizer<Form, W>> {
        using C = typename W::C;
        using N = Normalizer<Form, W>;
        using L = LogProbabilities<Form, W, N>;
        using L::L;
        Then end(Group<W>& g, Totals<W>& totals) {
            const Then then = N::end(g, totals);
            auto& log_rest = this->log_rest;
            log_rest = log1p(this->r).rounded();
            log_rest = this->no_finite_logit() ? splat(C(not_a_number)) : log_rest;
            if constexpr (Form::general) log_rest = this->infinite() ? this->one_hot() : log_rest;
            return then;
        }
    };
};

struct LogSumExp : Forward {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : Normalizer<Form, W> {
        using C = typename W::C;
        using V = typename W::V;
        using N = Normalizer<Form, W>;
        using N::N;
        Then end(Group<W>& g, Totals<W>& totals) {
            const Then then = N::end(g, totals);
            V top = this->m;
            auto wide_top = Wide<C>::of(this->m);
            if constexpr (Form::general) {
                wide_top = wide_top * this->inverse.wide();
                top = this->no_finite_logit() | this->infinite() ? this->m : this->m * this->inverse.hi;
            }
            auto log_rest = log1p(this->r);
            V nan_or_zero = log_rest.rounded() - log_rest.rounded();
            V size = top < 0 ? -top : top;
            g.row_out = size < C(infinity) ? (wide_top + log_rest).rounded() : top + nan_or_zero;
            return then;
        }
        void write(Group<W>&) const {}
    };
};

// Factors of a row's p between these keep it among normal numbers on its way, and with it the digits of a p that is none; others are taken apart.
template <class C> constexpr double least_factor = sizeof(C) == 4 ? 0x1p-30 : 0x1p-300;
template <class C> constexpr double most_factor = sizeof(C) == 4 ? 0x1p60 : 0x1p300;

// Whether the factors of all rows are between them, or 0.
template <class W, class V> bool all_usual(const Group<W>& g, V factors) {
    using C = typename W::C;
    const V size = factors < 0 ? -factors : factors;
    const auto usual = (size == 0) | ((size >= C(least_factor<C>)) & (size <= C(most_factor<C>)));
    return !any(first_lanes<typename W::I>(g.walk.count) & ~usual);
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
        int64_t exponent = (bits<int64_t>(size) >> 52) - 1023;
        if (size > most_factor<C>) exponent -= (bits<int64_t>(most_factor<C>) >> 52) - 1023;
        constexpr int most = sizeof(C) == 4 ? 126 : 1000;
        exponent = exponent < -most ? -most : exponent > most ? most : exponent;
        power[k] = C(bits<double>((1023 + exponent) << 52)), inverse[k] = C(bits<double>((1023 - exponent) << 52));
    }
    factor = factor.scaled(inverse);
    return power;
}

// g p / T for the cotangent g of a row
struct LogSumExpVjp : Forward {
    static constexpr bool needs_memo = true;
    template <class W> static int form(const Group<W>& g, const typename W::V& m) {
        return !all_usual(g, g.row_in) || Forward::form(g, m);
    }
    template <class Form, class W> struct Run : Probabilities<Form, W, true> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Form, W, true>;
        using P::P;
        V power;  // what is left to multiply by

        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) { P::sum(g, totals, [](auto, auto&) ONESUM_INLINED { return [](auto...) ONESUM_INLINED {}; }); }
        void end(Group<W>& g, Totals<W>& totals) {
            P::end(g, totals, 0);
            auto factor = Wide<C>::of(g.row_in);
            I special = this->no_finite_logit();
            if constexpr (Form::general) {
                // An infinite g, or NaN, has its say where p is not 0.
                const I finite = g.row_in - g.row_in == 0;
                factor = Wide<C>::choose(finite, factor, Wide<C>::of(splat(C(1)))) * this->inverse.wide();
                power = taken_apart<W>(factor);
                power = finite ? power : g.row_in;
                special = special | this->infinite();
                this->at_infinity = this->at_infinity * factor.rounded();
            }
            const auto words = (factor * this->inverse_sum).two_words();
            this->hi = special ? this->hi : words.hi * Constants<C>::unbias;
            this->lo = special ? this->lo : words.lo * Constants<C>::unbias;
        }
        ONESUM_APART void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_INLINED {
                V power{};
                if constexpr (Form::general) power = row.of(this->power);
                return [&g, row, power](isize j, auto lanes, V, V p, char* out) ONESUM_INLINED {
                    if constexpr (Form::general) p = ((p == 0) | ~g.mask.template at<W>(row, j, lanes)) ? V{} : p * power;
                    write_derivative<S>(out, lanes, p, g.streamed);
                };
            });
        }
    };
};

// The sum of exponentials, and that of exponentials times what belongs to each class.
template <class C> struct WeightedSum : ExpSum<C> {
    using Plain = ExpSum<C>;
    WideSum<C> weighted;
    template <class T> ONESUM_INLINE explicit WeightedSum(T& totals) : Plain(totals.sum), weighted(totals.other) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { Plain::begin(k, fresh), weighted.begin(k, fresh); }
    ONESUM_INLINE void flush(isize k) { Plain::flush(k), weighted.flush(k); }
    ONESUM_INLINE void end_part(isize k) { Plain::end_part(k), weighted.end_part(k); }
};

// sum p v / T; where the logit is -inf or masked, v is not read
struct LogSumExpJvp : Forward {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : Probabilities<Form, W, true> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Form, W, true>;
        using P::P;
        Excess<W> excess;
        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) {
            P::template sum<WeightedSum<C>>(g, totals, [&](auto row, WeightedSum<C>& sums) ONESUM_INLINED {
                const V m = row.of(this->m);
                return [&sums, v_at = row.of(g.in[1]), m, left = row.of(excess.left)](isize j, auto lanes, V x, const auto& e) ONESUM_INLINED {
                    V v = read<S>(v_at.at(j), lanes, V{});
                    v = x == C(-infinity) ? V{} : v;
                    if constexpr (Form::general) v = ((m == C(infinity)) & (x != m)) ? V{} : v;
                    auto& sum = sums.weighted.sum;
                    sum = add_product(sum, (Wide<C>::of(splat(C(1)), e.tail())) * Wide<C>::of(v), Excess<W>::of(e.scale, left));
                };
            });
        }
        Then end(Group<W>& g, Totals<W>& totals) {
            P::end(g, totals, 0);
            auto total = g.walk.sum_of(totals.other) * this->inverse_sum;
            if constexpr (Form::general) total = total * this->inverse.wide();
            V result = excess.undone(total).rounded();
            result = this->no_finite_logit() ? this->hi : result;
            g.row_out = result + this->nan_or_zero;
            return excess.too_much(g, result) ? Then::again : Then::nothing;
        }
        void write(Group<W>&) const {}
    };
};

}  // namespace
