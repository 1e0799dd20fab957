// The VJP of softmax, which is its JVP too.
#pragma once

#include "ops/pivot.h"

namespace {

// p (v - C) / T with C = v_pivot + S, S = sum p w. On the fast path S is a sum of products in the lanes' own type, two
// at a time, and C comes in two words: v - C_hi is exact where it is small. docs/numerics.md says by what the error is
// judged, and why.
struct SoftmaxVjp : FromOutput<false> {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class W> static bool needs_general(const RowBlock<W>& g, const Pivot<W>&) { return g.scaled; }

    template <class Path, class W> struct Run {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        // Of w, so that its products with the smallest p are normal numbers.
        static constexpr C lift = sizeof(C) == 4 ? C(0x1p32) : C(0x1p256);
        V v_pivot, lifted;
        V centre_hi, centre_lo;
        // The general path: NaN if there is one, 1 / T, and 1/2 where v - C or its sums may be too large a number.
        V nan, shrink;
        InverseTemperature<C> inverse;

        Run(const RowBlock<W>& g, const Pivot<W>& pivot) {
            v_pivot = pick(g, pivot);
            v_pivot = pivot.value > 0 ? v_pivot : V{};
            lifted = v_pivot * lift;
            if constexpr (Path::general) inverse = inverse_temperature(g);
        }
        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            g.walk.rows([&, p_in = g.in[0], v_in = g.in[1]](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(p_in), v_at = row.of(v_in);
                const V lifted = row.of(this->lifted);
                [[maybe_unused]] const V v_pivot = row.of(this->v_pivot);
                Prefetch<W, 2> next(g, row, 0);
                row.accumulate(PairSum<C>(totals.sum), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    next.fetch();
                    const V p = read<C>(p_at.at(j), lanes, V{});
                    V v = read<C>(v_at.at(j), lanes, V{});
                    if constexpr (Path::general) v = p == 0 ? v_pivot : v;
                    sum.add(p, fma(v, splat(lift), -lifted));
                });
                if constexpr (Path::general) sum_with_care(g, row, totals);
            });
        }
        Next finish(RowBlock<W>& g, Totals<W>& totals) {
            const auto sum = g.walk.sum_of(totals.sum).scaled(1 / lift);
            set_centre(Wide<C>::of(v_pivot), sum);
            const I finite = centre_hi - centre_hi == 0;
            if constexpr (Path::general) {
                nan = g.walk.sum_of_views(totals.count).rounded();
                shrink = finite ? splat(C(1)) : splat(C(0.5));
                set_centre(Wide<C>::of(v_pivot * shrink), Wide<C>::choose(finite, sum, g.walk.sum_of(totals.other)));
                centre_hi = centre_hi + nan;
                return Next::done;
            }
            return any_true(first_n<I>(g.walk.count) & ~finite) ? Next::general_path : Next::done;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            g.walk.rows([&, p_in = g.in[0], v_in = g.in[1], g_out = g.out,
                         streamed = g.streamed](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(p_in), v_at = row.of(v_in), out = row.of(g_out);
                const V hi = row.of(centre_hi), lo = row.of(centre_lo);
                V nan{}, shrink{}, inverse_hi{}, inverse_lo{};
                if constexpr (Path::general) {
                    nan = row.of(this->nan), shrink = row.of(this->shrink);
                    inverse_hi = row.of(inverse.hi), inverse_lo = row.of(inverse.lo);
                }
                Prefetch<W, 2> next(g, row, 1);
                row.for_each_by_lines(g_out, least_by_lines(streamed), [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    next.fetch();
                    const V p = read<C>(p_at.at(j), lanes, V{}), v = read<C>(v_at.at(j), lanes, V{});
                    V y;
                    if constexpr (Path::general) {
                        const auto d = over<C>(v_less_centre(v * shrink, hi, lo), {inverse_hi, inverse_lo, V{}});
                        if constexpr (fused) y = fma(p, d.hi, p * d.lo);
                        else y = (Wide<C>::of(p) * Wide<C>::of(d.hi, d.lo)).rounded();
                        y = p == 0 ? nan : y / shrink;
                    } else {
                        const auto d = v_less_centre(v, hi, lo);
                        if constexpr (fused) y = fma(p, d.hi, p * d.lo);
                        else y = p * d.hi;
                    }
                    ::write_derivative<C>(out.at(j), lanes, y, streamed);
                });
            });
        }

      private:
        // v - C in one rounding. What is left of C is felt where v - C_hi is small, which is then exact.
        static ONESUM_INLINE Sum2<V> v_less_centre(V v, V hi, V lo) {
            if constexpr (fused) return {v - hi, -lo};
            const auto d = two_sum(v, -hi);
            return {d.hi + (d.lo - lo), V{}};
        }
        // Added wide, S would be lost beside a v_pivot 2^53 times as large; the second word has it.
        void set_centre(const Wide<C>& v_pivot, const Wide<C>& sum) {
            centre_hi = (v_pivot + sum).rounded();
            centre_lo = ((v_pivot - Wide<C>::of(centre_hi)) + sum).rounded();
        }
        // Half the sum, wide, and without what p = 0 stands beside; and a NaN among the p.
        ONESUM_INLINE void sum_with_care(RowBlock<W>& g, const typename W::Row& row, Totals<W>& totals) {
            const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
            const V v_pivot = row.of(this->v_pivot);
            const auto c = Wide<C>::of(v_pivot).scaled(C(0.5));
            V nan{};
            row.accumulate(WideSum<C>(totals.other), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                const V p = read<C>(p_at.at(j), lanes, V{}), v = read<C>(v_at.at(j), lanes, V{});
                nan = p != p ? p : nan;
                add_weighted(sum.sum, Wide<C>::of(p), Wide<C>::of(p == 0 ? v_pivot : v).scaled(C(0.5)), c);
            });
            totals.count[row.r] = Wide<C>::of(nan);
        }
    };
};

}  // namespace
