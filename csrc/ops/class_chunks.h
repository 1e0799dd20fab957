// Chunks of the class axis: the normalizer of some classes, which merges with that of others, and what becomes of a
// chunk under the normalizer of all.
#pragma once

#include "ops/log_softmax.h"
#include "ops/probabilities.h"

namespace {

// m, and r in two words: 0 for a row of nothing but -inf, NaN for one with several +inf.
struct RowNormalizer : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class Path, class W> struct Run : Normalizer<Path, W> {
        using N = Normalizer<Path, W>;
        using N::N;
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            const Next then = N::finish(g, totals);
            g.row_out = this->m;
            const auto zero_or_nan = [](auto x) { return Wide<typename W::C>::of(x - x); };
            auto r = Wide<typename W::C>::choose(this->no_finite_logit(), zero_or_nan(this->r.rounded()), this->r);
            if constexpr (Path::general)
                r = Wide<typename W::C>::choose(this->infinite(), Wide<typename W::C>::of(this->one_hot()), r);
            words_to(g.words[0], g.words[1], r);
            return then;
        }
        void write(RowBlock<W>&) const {}
    };
};

// The normalizer of all classes is given: their maximum is the row's operand, and there is nothing to sum.
struct Shifted : FromLogits {
    static constexpr bool online_max = false;
    static constexpr ExpCache exp_cache = ExpCache::none;
    static constexpr int prepass_inputs = 0;
    template <class W> static typename W::V prepass(const RowBlock<W>& g) { return g.row_in; }
    template <class W, class V> static V combine(const W&, V a, V) { return a; }
};

// s exp((x - m) / T), with a scale s in two words for each row
struct ShiftedExp : Shifted {
    template <class W> static bool needs_general(const RowBlock<W>& g, const typename W::V& m) {
        using C = typename W::C;
        const auto scale = words_from<C>(g.words[0], g.words[1]).rounded();
        return !all_usual(g, scale) || FromLogits::needs_general(g, m);
    }
    template <class Path, class W> struct Run : Probabilities<Path, W, true> {
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Path, W, true>;
        using P::P;
        V power;  // what is left to multiply by

        void sum(RowBlock<W>&, Totals<W>&) const {}
        ONESUM_NOINLINE void finish(RowBlock<W>& g, Totals<W>&) {
            auto scale = words_from<C>(g.words[0], g.words[1]);
            if constexpr (Path::general) {
                const V rounded = scale.rounded();
                const auto finite = rounded - rounded == 0;
                scale = Wide<C>::choose(finite, scale, Wide<C>::of(splat(C(1))));
                power = taken_apart<W>(scale);
                power = finite ? power : rounded;
                this->at_infinity = scale.rounded();
            }
            const auto words = (scale / this->pivot()).two_words();
            this->hi = this->no_finite_logit() ? splat(C(not_a_number)) : words.hi * Constants<C>::inv_scale_bias;
            this->lo = this->no_finite_logit() ? V{} : words.lo * Constants<C>::inv_scale_bias;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            this->for_each(g, [&](auto row) ONESUM_FORCE_INLINE {
                V power{};
                if constexpr (Path::general) power = row.of(this->power);
                return [&g, row, power](isize j, auto lanes, V, V y, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Path::general)
                        y = (((y == 0) & (power == power)) | ~g.mask.template at<W>(row, j, lanes)) ? V{} : y * power;
                    write_derivative<C>(out, lanes, y, g.streamed);
                };
            });
        }
    };
};

// (x - m) / T - log_rest
struct ShiftedLogits : Shifted {
    template <class Path, class W> struct Run : LogProbabilities<Path, W, Shift<Path, W>> {
        using C = typename W::C;
        using L = LogProbabilities<Path, W, Shift<Path, W>>;
        using L::L;
        void sum(RowBlock<W>&, Totals<W>&) const {}
        ONESUM_NOINLINE void finish(RowBlock<W>& g, Totals<W>&) {
            this->log_rest = words_from<C>(g.words[0], g.words[1]).rounded();
            this->log_rest = this->no_finite_logit() ? splat(C(not_a_number)) : this->log_rest;
        }
    };
};

}  // namespace
