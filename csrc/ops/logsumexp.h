// logsumexp and its derivatives.
#pragma once

#include "numerics/log1p.h"
#include "ops/normalizer.h"
#include "ops/probabilities.h"

namespace {

struct LogSumExp : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class Path, class W> struct Run : Normalizer<Path, W> {
        using C = typename W::C;
        using V = typename W::V;
        using N = Normalizer<Path, W>;
        using N::N;
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            const Next then = N::finish(g, totals);
            V top = this->m;
            auto wide_top = Wide<C>::of(this->m);
            if constexpr (Path::general) {
                wide_top = wide_top * this->inverse.wide();
                top = this->no_finite_logit() | this->infinite() ? this->m : this->m * this->inverse.hi;
            }
            auto log_rest = log1p(this->r);
            V nan_or_zero = log_rest.rounded() - log_rest.rounded();
            V size = top < 0 ? -top : top;
            g.row_out = size < C(infinity) ? (wide_top + log_rest).rounded() : top + nan_or_zero;
            return then;
        }
        void write(RowBlock<W>&) const {}
    };
};

// g p / T for the cotangent g of a row
struct LogSumExpVjp : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::output;
    template <class W> static bool needs_general(const RowBlock<W>& g, const typename W::V& m) {
        return !all_usual(g, g.row_in) || FromLogits::needs_general(g, m);
    }
    template <class Path, class W> struct Run : Probabilities<Path, W, true> {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Path, W, true>;
        using P::P;
        V power;  // what is left to multiply by

        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) { P::sum(g, totals); }
        ONESUM_NOINLINE void finish(RowBlock<W>& g, Totals<W>& totals) {
            P::finish(g, totals, 0);
            auto factor = Wide<C>::of(g.row_in);
            I special = this->no_finite_logit();
            if constexpr (Path::general) {
                // An infinite g, or NaN, has its say where p is not 0.
                const I finite = g.row_in - g.row_in == 0;
                factor = Wide<C>::choose(finite, factor, Wide<C>::of(splat(C(1)))) * this->inverse.wide();
                power = taken_apart<W>(factor);
                power = finite ? power : g.row_in;
                special = special | this->infinite();
                this->at_infinity = this->at_infinity * factor.rounded();
            }
            const auto words = (factor * this->inverse_sum).two_words();
            this->hi = special ? this->hi : words.hi * Constants<C>::inv_scale_bias;
            this->lo = special ? this->lo : words.lo * Constants<C>::inv_scale_bias;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            this->for_each(g, [&](auto row) ONESUM_FORCE_INLINE {
                V power{};
                if constexpr (Path::general) power = row.of(this->power);
                return [&g, row, power](isize j, auto lanes, V, V p, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Path::general)
                        p = ((p == 0) | ~g.mask.template at<W>(row, j, lanes)) ? V{} : p * power;
                    write_derivative<C>(out, lanes, p, g.streamed);
                };
            });
        }
    };
};

// The sum of exponentials, and that of exponentials times what belongs to each class.
template <class C> struct WeightedSum : JointSum<WeightedSum<C>, ExpSum<C>::interval> {
    ExpSum<C> exponentials;
    WideSum<C> weighted;
    template <class T> ONESUM_INLINE explicit WeightedSum(T& totals)
        : exponentials(totals.sum), weighted(totals.other) {}
    ONESUM_INLINE void add(const Exp<C>& e) { exponentials.add(e); }
    ONESUM_INLINE void for_each(auto f) { f(exponentials), f(weighted); }
};

// sum p v / T; where the logit is -inf or masked, v is not read
struct LogSumExpJvp : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class Path, class W> struct Run : Probabilities<Path, W, true> {
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Path, W, true>;
        using P::P;
        Excess<W> excess;
        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            P::template sum<WeightedSum<C>>(g, totals, [&](auto row) ONESUM_FORCE_INLINE {
                const V m = row.of(this->m);
                return [v_at = row.of(g.in[1]), m, left = row.of(excess.left)](
                           isize j, auto lanes, V x, const auto& e, WeightedSum<C>& sums) ONESUM_FORCE_INLINE {
                    V v = read<C>(v_at.at(j), lanes, V{});
                    v = x == C(-infinity) ? V{} : v;
                    if constexpr (Path::general) v = ((m == C(infinity)) & (x != m)) ? V{} : v;
                    auto& sum = sums.weighted.sum;
                    sum = add_product(sum, (Wide<C>::of(splat(C(1)), e.tail())) * Wide<C>::of(v),
                                      Excess<W>::of(e.scale, left));
                };
            });
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            P::finish(g, totals, 0);
            auto total = g.walk.sum_of(totals.other) * this->inverse_sum;
            if constexpr (Path::general) total = total * this->inverse.wide();
            V result = excess.undone(total).rounded();
            result = this->no_finite_logit() ? this->hi : result;
            g.row_out = result + this->nan_or_zero;
            return excess.too_much(g, result) ? Next::another_pass : Next::done;
        }
        void write(RowBlock<W>&) const {}
    };
};

}  // namespace
