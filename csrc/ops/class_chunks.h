// Chunks of the class axis: the normalizer of some classes, which merges with that of others, and what becomes of a chunk under the normalizer of all.
#pragma once

#include "ops/log_softmax.h"
#include "ops/probabilities.h"

namespace {

// m, and r in two words: 0 for a row of nothing but -inf, NaN for one with several +inf.
struct NormalizerOf : Forward {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : Normalizer<Form, W> {
        using N = Normalizer<Form, W>;
        using N::N;
        Then end(Group<W>& g, Totals<W>& totals) {
            const Then then = N::end(g, totals);
            g.row_out = this->m;
            const auto zero_or_nan = [](auto x) { return Wide<typename W::C>::of(x - x); };
            auto r = Wide<typename W::C>::choose(this->no_finite_logit(), zero_or_nan(this->r.rounded()), this->r);
            if constexpr (Form::general) r = Wide<typename W::C>::choose(this->infinite(), Wide<typename W::C>::of(this->one_hot()), r);
            words_to(g.words[0], g.words[1], r);
            return then;
        }
        void write(Group<W>&) const {}
    };
};

// What is known of all classes beforehand is given: their maximum is the row's operand, and nothing is left to sum.
struct Shifted : Forward {
    static constexpr bool rescales = false, needs_memo = false;
    static constexpr int known_from = 0;
    template <class W> static typename W::V known(const Group<W>& g) { return g.row_in; }
    template <class W, class V> static V together(const W&, V a, V) { return a; }
};

// s exp((x - m) / T), with a scale s in two words for each row
struct ShiftedExp : Shifted {
    template <class W> static int form(const Group<W>& g, const typename W::V& m) {
        using C = typename W::C;
        const auto scale = words_from<C>(g.words[0], g.words[1]).rounded();
        return !all_usual(g, scale) || Forward::form(g, m);
    }
    template <class Form, class W> struct Run : Probabilities<Form, W, true> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Form, W, true>;
        using P::P;
        V power;  // what is left to multiply by

        void sum(Group<W>&, Totals<W>&) const {}
        void end(Group<W>& g, Totals<W>&) {
            auto scale = words_from<C>(g.words[0], g.words[1]);
            if constexpr (Form::general) {
                const V rounded = scale.rounded();
                const auto finite = rounded - rounded == 0;
                scale = Wide<C>::choose(finite, scale, Wide<C>::of(splat(C(1))));
                power = taken_apart<W>(scale);
                power = finite ? power : rounded;
                this->at_infinity = scale.rounded();
            }
            const auto words = (scale / this->pivot()).two_words();
            this->hi = this->no_finite_logit() ? splat(C(not_a_number)) : words.hi * Constants<C>::unbias;
            this->lo = this->no_finite_logit() ? V{} : words.lo * Constants<C>::unbias;
        }
        ONESUM_NOINLINE void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_FORCE_INLINE {
                V power{};
                if constexpr (Form::general) power = row.of(this->power);
                return [&g, row, power](isize j, auto lanes, V, V y, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Form::general) y = (((y == 0) & (power == power)) | ~g.mask.template at<W>(row, j, lanes)) ? V{} : y * power;
                    write_derivative<S>(out, lanes, y, g.streamed);
                };
            });
        }
    };
};

// (x - m) / T - log_rest
struct ShiftedLogits : Shifted {
    template <class Form, class W> struct Run : LogProbabilities<Form, W, Shift<Form, W>> {
        using C = typename W::C;
        using L = LogProbabilities<Form, W, Shift<Form, W>>;
        using L::L;
        void sum(Group<W>&, Totals<W>&) const {}
        void end(Group<W>& g, Totals<W>&) {
            this->log_rest = words_from<C>(g.words[0], g.words[1]).rounded();
            this->log_rest = this->no_finite_logit() ? splat(C(not_a_number)) : this->log_rest;
        }
    };
};

}  // namespace
