// softmax: the probabilities.
#pragma once

#include "ops/probabilities.h"

namespace {

struct Softmax : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::output;
    template <class Path, class W> struct Run : Probabilities<Path, W> {
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Path, W>;
        using P::P;
        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) { P::sum(g, totals); }
        void finish(RowBlock<W>& g, Totals<W>& totals) { P::finish(g, totals, C(not_a_number)); }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            this->for_each(g, [&](auto row) ONESUM_FORCE_INLINE {
                return [&g, row, streamed = g.streamed](isize j, auto lanes, V, V p, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Path::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    ::write<C>(out, lanes, p, streamed);
                };
            });
        }
    };
};

}  // namespace
