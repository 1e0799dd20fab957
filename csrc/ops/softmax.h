// softmax.
#pragma once

#include "ops/probabilities.h"

namespace {

struct Softmax : Forward {
    static constexpr bool needs_memo = true;
    template <class Form, class W> struct Run : Probabilities<Form, W> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using P = Probabilities<Form, W>;
        using P::P;
        ONESUM_NOINLINE void sum(Group<W>& g, Totals<W>& totals) { P::sum(g, totals); }
        void end(Group<W>& g, Totals<W>& totals) { P::end(g, totals, C(not_a_number)); }
        ONESUM_NOINLINE void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_FORCE_INLINE {
                return [&g, row](isize j, auto lanes, V, V p, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Form::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    ::write<S>(out, lanes, p, g.streamed);
                };
            });
        }
    };
};

}  // namespace
