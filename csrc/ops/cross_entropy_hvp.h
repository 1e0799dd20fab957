// The Hessian of the cross entropy by the logits, times v.
//
// With b = 2 z s and a = Q + b log(sum): p (a (v - p.v) + b p.v) / T^2. Any number c may be taken from v first: with w
// = v - c and S = sum p w this is p (a (w - S) + b (S + c)) / T^2. For c stands v at the top of the row, where w is
// exactly 0: what the others add to S is not lost when p -> 1. All is wide, and rounded once.
#pragma once

#include "numerics/log1p.h"
#include "ops/logsumexp.h"
#include "ops/soft_targets.h"

namespace {

// v at the top, and how many classes attain it.
template <class C> struct TopSum : JointSum<TopSum<C>, 0> {
    WideSum<C> v, tops;
    template <class T> ONESUM_INLINE explicit TopSum(T& totals) : v(totals.more[0]), tops(totals.more[1]) {}
    ONESUM_INLINE void for_each(auto f) { f(v), f(tops); }
};

struct CrossEntropyHvp : FromLogits {
    static constexpr bool online_max = false, always_general = true;
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class W> using Sums = MoreTotals<W>;

    template <class Path, class W> struct Run : Shift<Path, W> {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using K = Constants<C>;
        using Shift<Path, W>::Shift;
        bool has_centre = false;
        Excess<W> excess;  // of the sum of p w
        Wide<C> centre;    // c
        double tops[W::lanes];
        PerRow<W> centres, slopes, levels;  // c; and p (slope w + level)
        V nan;                              // of a row without a result, else 0

        ONESUM_NOINLINE void sum(RowBlock<W>& g, MoreTotals<W>& totals) {
            if (has_centre) sum_weighted(g, totals);
            else sum_tops(g, totals);
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, MoreTotals<W>& totals) {
            if (has_centre) return finish_weighted(g, totals);
            const auto count = g.walk.sum_of(totals.more[1]);
            wide_to(tops, count);
            centre = Wide<C>::choose(count.rounded() == 0, Wide<C>{}, g.walk.sum_of(totals.more[0]) / count);
            centres.set(centre);
            has_centre = true;
            return Next::another_pass;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto terms = this->of(row);
                const Logits<Path, W> logits(g, row);
                const auto v_at = row.of(g.in[1]), out = row.of(g.out);
                const auto centre = centres.of(row), slope = slopes.of(row), level = levels.of(row);
                const V nan = row.of(this->nan);
                const I ignored = bit_cast<I>(row.of(bit_cast<V>(g.targets.ignored)));
                row.for_each_by_lines(g.out, least_by_lines(g.streamed), [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    const V x = logits.at(j, lanes);
                    const auto e = terms.term(x);
                    const I live = e.scale != 0;
                    const auto w = deviation(live, read<C>(v_at.at(j), lanes, V{}), centre);
                    const V y = unbiased_product(factor_of<C>(e) * Wide<C>::of(e.scale), slope * w + level).rounded();
                    ::write_derivative<C>(out.at(j), lanes,
                                          (x == C(-infinity)) | ignored ? V{} : (live ? y : V{}) + nan, g.streamed);
                });
            });
        }

      private:
        // w, where v is read
        static ONESUM_INLINE Wide<C> deviation(I live, V v, Wide<C> centre) {
            return Wide<C>::choose(live, Wide<C>::of(live ? v : V{}) - centre, Wide<C>{});
        }

        ONESUM_INLINE void sum_tops(RowBlock<W>& g, MoreTotals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const Logits<Path, W> logits(g, row);
                const auto v_at = row.of(g.in[1]);
                const V m = row.of(this->m);
                row.accumulate(TopSum<C>(totals), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    const V x = logits.at(j, lanes);
                    const I is_top = (x == m) & (x > C(-infinity));
                    add_to(sum.v.sum, Wide<C>::of(is_top ? read<C>(v_at.at(j), lanes, V{}) : V{}));
                    add_to(sum.tops.sum, Wide<C>::of(is_top ? splat(C(1)) : V{}));
                });
                totals.count[row.r] = Wide<C>{};
            });
        }
        ONESUM_INLINE void sum_weighted(RowBlock<W>& g, MoreTotals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto terms = this->of(row);
                const Logits<Path, W> logits(g, row);
                const auto v_at = row.of(g.in[1]);
                const auto centre = centres.of(row);
                const V m = row.of(this->m), left = row.of(excess.left);
                row.accumulate(WeightedSum<C>(totals), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    const V x = logits.at(j, lanes);
                    auto e = terms.term(x);
                    const auto w = deviation(e.scale != 0, read<C>(v_at.at(j), lanes, V{}), centre);
                    sum.weighted.sum = add_product(sum.weighted.sum, factor_of<C>(e) * w, Excess<W>::of(e.scale, left));
                    e.scale = x == m ? V{} : e.scale;
                    sum.add(e);
                });
                totals.count[row.r] = Wide<C>{};
            });
        }
        Next finish_weighted(RowBlock<W>& g, MoreTotals<W>& totals) {
            const auto& targets = g.targets;
            const auto one = wide_splat<C>(1), top = this->pivot();
            const auto r = g.walk.sum_of(totals.sum).scaled(K::inv_scale_bias) / top + (wide_from<C>(tops) - one),
                       all = (one + r) * top;
            const auto scale =
                wide_splat<C>(targets.options->grad_scale) * this->inverse.wide() * this->inverse.wide() / all;
            const auto sum = g.walk.sum_of(totals.other) / all *
                             scale;  // S times that, with its excess: S alone may be no normal number
            if (excess.too_much(g, sum.rounded())) return Next::another_pass;
            double log_sums[W::lanes], b[W::lanes];
            wide_to(log_sums, Wide<C>::of(this->m) * this->inverse.wide() + log1p(r));
            const V rounded = all.rounded();
            I finite = rounded - rounded == 0;
            for (int k = 0; k < W::lanes; ++k) {
                b[k] = 2 * targets.options->z_loss * targets.row_weight[k];
                if (this->m[k] == C(infinity) && tops[k] != 1) finite[k] = 0;
                if (this->m[k] == C(infinity) || this->m[k] == C(-infinity))
                    log_sums[k] = 0;  // there w - S is 0, or all
            }
            nan = finite ? V{} : splat(C(not_a_number));
            const auto z_grad = wide_from<C>(b), a = wide_from<C>(targets.masses) + z_grad * wide_from<C>(log_sums);
            const auto mean = excess.undone(sum);
            slopes.set(a * scale);
            levels.set(z_grad * (mean + centre * scale) - a * mean);
            return Next::done;
        }
    };
};

}  // namespace
