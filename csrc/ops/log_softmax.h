// log_softmax: the logarithms of the probabilities.
#pragma once

#include "numerics/log1p.h"
#include "ops/normalizer.h"

namespace {

// (x - m) / T - log_rest. A quotient is kept in two words; where T is 1 the bits are those of the plain difference.
template <class V, class C = decltype(+V{}[0])>
ONESUM_INLINE V scaled_difference(V x, V m, V inverse_hi, V inverse_lo, V log_rest) {
    auto d = two_sum(x, -m);
    d.hi = x == m ? V{} : d.hi;
    d.lo = x == m ? V{} : d.lo;
    V z = d.hi * inverse_hi;
    V z_lo = fma(d.hi, inverse_lo, two_prod_error(d.hi, inverse_hi, z));
    z_lo = z_lo + (inverse_hi == C(1) ? V{} : d.lo * inverse_hi);
    return z == C(-infinity) || d.hi == C(-infinity) ? splat(C(-infinity)) - log_rest : z - (log_rest - z_lo);
}

// log p, once log1p(r) is known.
template <class Path, class W, class Base> struct LogProbabilities : Base {
    using C = typename W::C;
    using V = typename W::V;
    using Base::Base;
    V log_rest;

    ONESUM_NOINLINE void write(RowBlock<W>& g) const {
        g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
            const V m = row.of(this->m), log_rest = row.of(this->log_rest);
            const Logits<Path, W> logits(g, row);
            const auto out = row.of(g.out);
            V inverse_hi, inverse_lo;
            if constexpr (Path::general) inverse_hi = row.of(this->inverse.hi), inverse_lo = row.of(this->inverse.lo);
            row.for_each_by_lines(g.out, least_by_lines(g.streamed),
                                  [&, streamed = g.streamed](isize j, auto lanes) ONESUM_FORCE_INLINE {
                                      V x = logits.at(j, lanes), y;
                                      if constexpr (Path::general)
                                          y = scaled_difference(x, m, inverse_hi, inverse_lo, log_rest);
                                      else y = (x - m) - log_rest;
                                      if constexpr (Path::general)
                                          y = g.mask.template at<W>(row, j, lanes) ? y : splat(C(-infinity));
                                      ::write<C>(out.at(j), lanes, y, streamed);
                                  });
        });
    }
};

struct LogSoftmax : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class Path, class W> struct Run : LogProbabilities<Path, W, Normalizer<Path, W>> {
        using C = typename W::C;
        using N = Normalizer<Path, W>;
        using L = LogProbabilities<Path, W, N>;
        using L::L;
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            const Next then = N::finish(g, totals);
            auto& log_rest = this->log_rest;
            log_rest = log1p(this->r).rounded();
            log_rest = this->no_finite_logit() ? splat(C(not_a_number)) : log_rest;
            if constexpr (Path::general) log_rest = this->infinite() ? this->one_hot() : log_rest;
            return then;
        }
    };
};

}  // namespace
