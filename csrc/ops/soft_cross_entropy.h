// Losses whose targets are spread over the classes: cross entropy with probabilities or smoothing; and the entropy.
//
// With the masses q_c = w_c ((1 - smoothing) y_c + smoothing_mass), and (1 - smoothing) w_y more at the class y of an
// index, all times s, and their sum Q: loss = Q log1p(r) + sum q (m - x) / T, gradient (Q p - q) / T. Of a row whose
// maximum is attained once, the gradient there is (Q' - q r) / (1 + r) / T, with Q' the mass of the others. The entropy
// is what comes out where the masses are p itself: log1p(r) + sum p (m - x) / T.
#pragma once

#include "numerics/log1p.h"
#include "ops/soft_targets.h"

namespace {

// Beside the exponentials: mass times distance from the top, the mass below it, the mass at it, and how many classes
// attain it.
template <class C> struct SoftSum : JointSum<SoftSum<C>, ExpSum<C>::interval> {
    ExpSum<C> exponentials;
    WideSum<C> logit_gap, below, top, tops;
    template <class T> ONESUM_INLINE explicit SoftSum(T& totals)
        : exponentials(totals.sum), logit_gap(totals.other), below(totals.more[0]), top(totals.more[1]),
          tops(totals.more[2]) {}
    ONESUM_INLINE void add(const Exp<C>& e) { exponentials.add(e); }
    ONESUM_INLINE void for_each(auto f) { f(exponentials), f(logit_gap), f(below), f(top), f(tops); }
};

struct SoftCrossEntropy : FromLogits {
    static constexpr bool online_max = false, always_general = true;
    static constexpr ExpCache exp_cache = ExpCache::scratch;
    template <class W> using Sums = MoreTotals<W>;

    template <class Path, class W> struct Run : Probabilities<Path, W, true> {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Path, W, true>;
        using P::P;
        V grad_at_target, grad_at_max;  // the gradient there
        I one_top;                      // else the top is like other classes
        V power;                        // what is left to multiply p by
        double scale[W::lanes];         // what multiplies the masses

        ONESUM_NOINLINE void sum(RowBlock<W>& g, MoreTotals<W>& totals) {
            P::template sum<SoftSum<C>>(g, totals, [&](auto row) ONESUM_FORCE_INLINE {
                return [&g, row, masses = Masses<W>(g, row), m = row.of(this->m),
                        is_entropy = g.targets.options->wanted == onesum::wanted_entropy](
                           isize j, auto lanes, V x, auto& e, SoftSum<C>& sums) ONESUM_FORCE_INLINE {
                    auto q =
                        is_entropy ? Wide<C>::of(splat(C(1)), e.tail()) * Wide<C>::of(e.scale) : masses.at(j, lanes);
                    I inside = g.mask.template at<W>(row, j, lanes);
                    if constexpr (!lanes.all) inside = inside & first_n<I>(lanes.count);
                    q = Wide<C>::choose(inside, q, Wide<C>{});
                    const I is_top = inside & (x == m), is_nowhere = x == C(-infinity);
                    // Where there is no mass the distance, perhaps further than a number can tell, does not count.
                    const auto distance = Wide<C>::choose(is_top | is_nowhere | (q.rounded() == C(0)), Wide<C>{},
                                                          Wide<C>::of(m) - Wide<C>::of(x));
                    add_to(sums.logit_gap.sum, q * distance);
                    add_to(sums.below.sum, Wide<C>::choose(is_top, Wide<C>{}, q));
                    add_to(sums.top.sum, Wide<C>::choose(is_top, q, Wide<C>{}));
                    V count = is_top ? splat(C(1)) : V{};
                    count = count + ((is_nowhere & (q.rounded() != 0)) ? splat(C(infinite_term)) : V{});
                    add_to(sums.tops.sum, Wide<C>::of(count));
                    e.scale = is_top ? V{} : e.scale;
                };
            });
        }
        ONESUM_NOINLINE void finish(RowBlock<W>& g, MoreTotals<W>& totals) {
            auto& targets = g.targets;
            const auto& options = *targets.options;
            const V m = this->m;
            V x = targets.logits;
            const I target_is_masked = x == C(-infinity), target_is_max = (x == m) & ~target_is_masked;
            x = target_is_masked ? m : x;
            double tops[W::lanes], index_mass[W::lanes];
            wide_to(tops, g.walk.sum_of(totals.more[2]));
            I special = (m == C(infinity)) | (m == C(-infinity)) | targets.ignored;
            bool is_infinite[W::lanes];
            for (int k = 0; k < W::lanes; ++k) {
                is_infinite[k] = take_infinite_terms(tops[k]);
                const isize y = targets.classes[k];
                index_mass[k] = y < 0 ? 0 : (1 - options.smoothing) * (options.weight ? options.weight[y] : 1);
                is_infinite[k] |= target_is_masked[k] && index_mass[k] != 0;
                special[k] |= -is_infinite[k];
            }
            const auto zero = Wide<C>{}, one = wide_splat<C>(1), at_aim_alone = wide_from<C>(index_mass),
                       count = wide_from<C>(tops), s = wide_from<C>(targets.row_weight);
            const auto below = g.walk.sum_of(totals.more[0]) + Wide<C>::choose(target_is_max, zero, at_aim_alone);
            const auto top = g.walk.sum_of(totals.more[1]) + Wide<C>::choose(target_is_max, at_aim_alone, zero);
            const auto q = below + top;
            const auto r =
                g.walk.sum_of(totals.sum).scaled(Constants<C>::inv_scale_bias) / this->pivot() + (count - one);
            const auto log = log1p(r);
            if (options.wanted == onesum::wanted_masses) return wide_to(targets.losses, s * q);
            if (options.wanted == onesum::wanted_entropy)
                return finish_entropy(g, r.rounded(),
                                      log + g.walk.sum_of(totals.other).scaled(Constants<C>::inv_scale_bias) /
                                                (this->pivot() * (one + r)) * this->inverse.wide(),
                                      tops);
            const auto logit_gap =
                g.walk.sum_of(totals.other) +
                at_aim_alone * Wide<C>::choose(target_is_max | target_is_masked, zero, Wide<C>::of(m) - Wide<C>::of(x));
            const auto losses = s * (q * log + logit_gap * this->inverse.wide());
            wide_to(targets.losses, losses);
            const V loss = losses.rounded(), given = (q + r).rounded();
            special = special | ((loss != loss) & (given == given));  // further apart than a number can tell
            if (any_true(special)) nonfinite_loss(g, special, r.rounded(), tops, is_infinite, below, index_mass);
            auto z_grad = zero;
            if (options.z_loss != 0) z_grad = add_z_loss(g, m, Wide<C>::of(m) * this->inverse.wide() + log);
            if (!options.gradient) return;

            const auto factor = wide_splat<C>(options.grad_scale) * this->inverse.wide(), all = one + r;
            const V nan = this->infinite() ? one_hot_or_nan(count.rounded(), r.rounded()) : V{};
            one_top = count.rounded() == C(1);
            const auto at_top_alone = s * (below - top * r);
            grad_at_max = ((at_top_alone + z_grad) * factor / all).rounded();
            // Where p is 1 the slope of the z-loss is infinite, which has no second word.
            if (any_true(this->infinite())) {
                const V f = factor.rounded();
                grad_at_max = this->infinite() ? at_top_alone.rounded() * f + z_grad.rounded() * f : grad_at_max;
            }
            grad_at_max = grad_at_max + nan;
            auto of_p = (s * q + z_grad) * factor;
            const auto biased_p_there = this->biased_exponential_of(x) / this->pivot() / all,
                       q_there = wide_from<C>(targets.smoothing_mass) * weights_there(g) + at_aim_alone;
            // Where p is nothing, an infinite slope of the z-loss is.
            const auto of_p_there =
                Wide<C>::choose(this->infinite(), Wide<C>{}, unbiased_product(biased_p_there, of_p));
            grad_at_target = (of_p_there - s * factor * q_there).rounded() + nan;
            grad_at_target = target_is_max & one_top ? grad_at_max : grad_at_target;
            grad_at_target = target_is_masked ? V{} : grad_at_target;
            power = taken_apart<W>(of_p);
            wide_to(scale, s * factor);
            this->at_infinity = of_p.rounded() + nan;
            const auto words = (of_p / (all * this->pivot())).two_words();
            this->hi = this->infinite() ? nan : words.hi * Constants<C>::inv_scale_bias;
            this->lo = this->infinite() ? V{} : words.lo * Constants<C>::inv_scale_bias;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            this->for_each(g, [&](auto row) ONESUM_FORCE_INLINE {
                return [&g, row, masses = Masses<W>(g, row), scale = of_row<W>(row, this->scale),
                        target = target_of(g, row), grad_at_target = row.of(this->grad_at_target),
                        grad_at_max = row.of(this->grad_at_max), m = row.of(this->m),
                        one_top = bit_cast<I>(row.of(bit_cast<V>(this->one_top))), power = row.of(this->power),
                        ignored = bit_cast<I>(row.of(bit_cast<V>(g.targets.ignored)))](isize j, auto lanes, V x, V p,
                                                                                       char* out) ONESUM_FORCE_INLINE {
                    V y = (Wide<C>::of(p).scaled(power) - masses.at(j, lanes) * scale).rounded();
                    y = (one_top & (x == m)) ? grad_at_max : y;
                    if (target.may_be_at(j)) y = target.at(j) ? grad_at_target : y;
                    y = ~g.mask.template at<W>(row, j, lanes) | (x == C(-infinity)) | ignored ? V{} : y;
                    ::write_derivative<C>(out, lanes, y, g.streamed);
                };
            });
        }

      private:
        Wide<C> weights_there(const RowBlock<W>& g) const {
            double weights[W::lanes];
            for (int k = 0; k < W::lanes; ++k)
                weights[k] = g.targets.options->weight && g.targets.classes[k] >= 0
                                 ? g.targets.options->weight[g.targets.classes[k]]
                                 : 1;
            return wide_from<C>(weights);
        }
        void finish_entropy(RowBlock<W>& g, V r, Wide<C> entropy, const double* tops) const {
            wide_to(g.targets.losses, entropy);
            for (int k = 0; k < g.walk.count; ++k) {
                double& value = g.targets.losses[k];
                if (this->m[k] == C(infinity)) value = tops[k] == 1 && r[k] == r[k] ? 0 : not_a_number;
                if (this->m[k] == C(-infinity)) value = nothing_left(g, k) ? 0 : not_a_number;
            }
        }
        ONESUM_NOINLINE void nonfinite_loss(RowBlock<W>& g, I special, V r, const double* tops, const bool* is_infinite,
                                            Wide<C> below, const double* index_mass) const {
            double masses_below[W::lanes];
            wide_to(masses_below, below);
            for (int k = 0; k < g.walk.count; ++k) {
                if (!special[k]) continue;
                const double m = this->m[k];
                double bare;
                if (m == -infinity) bare = !nothing_left(g, k) ? not_a_number : index_mass[k] != 0 ? infinity : 0;
                else if (r[k] != r[k] || (m == infinity && tops[k] != 1)) bare = not_a_number;
                else bare = is_infinite[k] || masses_below[k] != 0 ? infinity : 0;
                const double s = g.targets.row_weight[k];
                g.targets.losses[k] = g.targets.ignored[k] || (s == 0 && bare == infinity) ? 0 : bare * s;
            }
        }
    };
};

}  // namespace
