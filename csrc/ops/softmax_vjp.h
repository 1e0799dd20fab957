// The VJP of softmax, which is its JVP too.
#pragma once

#include "ops/pivot.h"

namespace {

// p (w - S) / T, in the same words. With a fused multiply-add in fewer steps: w is rounded, p S and the result.
template <class C, class V>
ONESUM_INLINE V times_deviation(V p, V v, V v_pivot, Sum2<V> sum, const InverseTemperature<C>& inverse, bool scaled) {
    if constexpr (fused) {
        Sum2<V> w{v - v_pivot, V{}};
        if (scaled) w = over<C>(w, inverse);
        const V y = fma(p, w.hi, -fma(p, sum.hi, p * sum.lo));
        return scaled ? fma(p, w.lo, y) : y;
    } else {
        const auto d = deviation(v, v_pivot, sum, inverse, scaled);
        return p * d.hi + p * d.lo;
    }
}

// p (w - S) / T
struct SoftmaxVjp : FromOutput<false> {
    static constexpr bool caches_exp = false;
    template <class Path, class W> struct Run {
        using C = typename W::C;
        using V = typename W::V;
        V v_pivot, sum_hi, sum_lo, nan;
        InverseTemperature<C> inverse;

        Run(const RowBlock<W>& g, const Pivot<W>& pivot) : inverse(inverse_temperature(g)) {
            v_pivot = pick(g, pivot);
            v_pivot = pivot.value > 0 ? v_pivot : V{};
        }
        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const V v_pivot = row.of(this->v_pivot);
                const auto c = Wide<C>::of(v_pivot);
                NextRow<W> next(g, row, 0);
                WideSum<C> sum(totals.sum);
                V nan{};
                row.accumulate(sum, [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    next.fetch(j);
                    const char *p_here = p_at.at(j), *v_here = v_at.at(j);
                    if constexpr (Path::general) {
                        V p = read<C>(p_here, lanes, V{}), v = read<C>(v_here, lanes, V{});
                        nan = p != p ? p : nan;
                        add_weighted(sum.sum, Wide<C>::of(p), Wide<C>::of(p == 0 ? v_pivot : v), c);
                    } else {
                        add_weighted(sum.sum, read_wide<C>(p_here, lanes), read_wide<C>(v_here, lanes), c);
                    }
                });
                if constexpr (Path::general) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        Next finish(RowBlock<W>& g, Totals<W>& totals) {
            auto total = g.walk.sum_of(totals.sum);
            if (g.scaled) total = total * inverse.wide();
            const auto sum = total.two_words();
            sum_hi = sum.hi, sum_lo = sum.lo;
            if constexpr (Path::general) {
                nan = count_of(g.walk, totals.count).rounded();
                sum_hi = sum_hi + nan;
                return Next::done;
            } else {
                return any_true(first_n<typename W::I>(g.walk.count) & (sum_hi - sum_hi != 0)) ? Next::general_path
                                                                                               : Next::done;
            }
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            if (g.scaled) write_pass<true>(g);
            else write_pass<false>(g);
        }

      private:
        template <bool scaled> ONESUM_INLINE void write_pass(RowBlock<W>& g) const {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]), out = row.of(g.out);
                const V v_pivot = row.of(this->v_pivot);
                const Sum2<V> sum{row.of(sum_hi), row.of(sum_lo)};
                InverseTemperature<C> inverse{};
                if constexpr (scaled) inverse = {row.of(this->inverse.hi), row.of(this->inverse.lo), V{}};
                NextRow<W> next(g, row, 1);
                V nan{};
                if constexpr (Path::general) nan = row.of(this->nan);
                row.for_each_aligned(g.out, g.streamed, [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    next.fetch(j);
                    V p = read<C>(p_at.at(j), lanes, V{});
                    V v = read<C>(v_at.at(j), lanes, V{});
                    V y = times_deviation(p, v, v_pivot, sum, inverse, scaled);
                    ::write_derivative<C>(out.at(j), lanes, p == 0 ? nan : y, g.streamed);
                });
            });
        }
    };
};

}  // namespace
