// Cross entropy with class indices, and the gradient of it. Cross entropy with probabilities is in
// soft_cross_entropy.h.
//
// With the mass Q = s w_y of the row's class y: loss = Q (log1p(r) + (m - x_y) / T), gradient (Q p_c - Q [c = y]) / T.
// The sum of exponentials leaves y out, wherever the pivot is: then 1 - p_y is this sum over that of all, and where y
// is the pivot itself, r is this sum over the pivot's. Elsewhere the loss is log 2 at least, and nothing is lost by
// subtracting the pivot from the sum of all.
#pragma once

#include "numerics/log1p.h"
#include "ops/loss_targets.h"

namespace {

struct CrossEntropy : FromLogits {
    static constexpr ExpCache exp_cache = ExpCache::scratch;
    template <class W> static bool needs_general(const RowBlock<W>& g, const typename W::V& m) {
        using C = typename W::C;
        const auto& options = *g.targets.options;
        const auto factors = masses(g) * wide_splat<C>(options.grad_scale);
        return options.z_loss != 0 || (W::vertical && any_true(g.targets.ignored)) ||
               !all_usual(g, factors.rounded()) || FromLogits::needs_general(g, m);
    }
    // Of the rows' classes.
    template <class W> static Wide<typename W::C> masses(const RowBlock<W>& g) {
        const auto& targets = g.targets;
        auto q = wide_from<typename W::C>(targets.row_weight);
        if (!targets.options->weight) return q;
        double weights[W::lanes];
        for (int k = 0; k < W::lanes; ++k)
            weights[k] = targets.classes[k] < 0 ? 1 : targets.options->weight[targets.classes[k]];
        return q * wide_from<typename W::C>(weights);
    }

    template <class Path, class W> struct Run : Probabilities<Path, W, true> {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Path, W, true>;
        using P::P;
        V grad_at_target;
        V power;  // what is left to multiply the others by

        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            P::sum(g, totals, [&](auto row) ONESUM_FORCE_INLINE {
                return [target = target_of(g, row)](isize j, auto, V, auto& e, auto&) ONESUM_FORCE_INLINE {
                    if (target.may_be_at(j)) e.scale = target.at(j) ? V{} : e.scale;
                };
            });
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            auto& targets = g.targets;
            const auto& options = *targets.options;
            const V x = targets.logits, m = this->m;
            const I is_top = x == m;
            const auto biased = g.walk.sum_of(totals.sum), others = biased.scaled(Constants<C>::inv_scale_bias),
                       top = this->pivot();
            const auto biased_target = this->biased_exponential_of(x),
                       target = biased_target.scaled(Constants<C>::inv_scale_bias), all = others + target;
            const auto log = log1p(Wide<C>::choose(is_top, others, (others - top) + target) / top);
            auto logit_gap = Wide<C>::choose(is_top, Wide<C>{}, Wide<C>::of(m) - Wide<C>::of(x));
            if constexpr (Path::general) logit_gap = logit_gap * this->inverse.wide();
            const auto q = masses(g);
            // A logarithm of next to nothing is that nothing.
            const I tiny = is_top & (others.rounded() < C(0x1p-100)) & (biased.rounded() > 0);
            const auto losses = (log + logit_gap) * q;
            wide_to(targets.losses, losses);
            const V total = all.rounded();
            V loss = losses.rounded();
            if (any_true(tiny)) {
                const auto better = Wide<C>::choose(tiny, unbiased_product(biased / top, q), losses);
                wide_to(targets.losses, better);
                loss = better.rounded();
            }
            const I special =
                (m - x == C(infinity)) | (x == C(-infinity)) | (m == C(infinity)) | ((loss != loss) & (total == total));
            if (any_true(special)) nonfinite_loss(g, special, total, log.rounded(), q);
            auto z_grad = Wide<C>{};  // 2 z s (log sum)
            if constexpr (Path::general)
                if (options.z_loss != 0) z_grad = add_z_loss(g, m, Wide<C>::of(m) * this->inverse.wide() + log);
            if (options.gradient) gradient(g, biased, biased_target, all, q, z_grad);
            // In a row with a NaN the classes of logit -inf get 0 all the same: the general path sees to it.
            return !Path::general && any_true(first_n<I>(g.walk.count) & (total != total)) ? Next::general_path
                                                                                           : Next::done;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            this->for_each(g, [&](auto row) ONESUM_FORCE_INLINE {
                const V at = row.of(grad_at_target), ignored = row.of(bit_cast<V>(g.targets.ignored));
                V power{};
                if constexpr (Path::general) power = row.of(this->power);
                const bool all_ignored = !W::vertical && any_true(bit_cast<I>(ignored));
                return [&g, row, at, power, ignored, all_ignored, target = target_of(g, row)](
                           isize j, auto lanes, V x, V p, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Path::general) p = x == C(-infinity) ? V{} : p * power;
                    if (target.may_be_at(j)) p = target.at(j) ? at : p;
                    if constexpr (Path::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    if constexpr (W::vertical && Path::general) p = bit_cast<I>(ignored) ? V{} : p;
                    if (all_ignored) p = V{};
                    ::write_derivative<C>(out, lanes, p, g.streamed);
                };
            });
        }

      private:
        double inverse_temperature_of(int k) const {
            if constexpr (Path::general) return double(this->inverse.hi[k]);
            else return 1;
        }
        // The derivative by the logits: what p is multiplied by, and the whole of it at the target.
        ONESUM_INLINE void gradient(const RowBlock<W>& g, Wide<C> biased_others, Wide<C> biased_target, Wide<C> all,
                                    Wide<C> q, Wide<C> z_grad) {
            auto factor = wide_splat<C>(g.targets.options->grad_scale);
            if constexpr (Path::general) factor = factor * this->inverse.wide();
            const auto inverse = wide_splat<C>(1) / all;
            auto of_p = q * factor;
            auto at = -unbiased_product(biased_others, of_p);
            if constexpr (Path::general)
                at = at + unbiased_product(biased_target, z_grad * factor), of_p = of_p + z_grad * factor;
            grad_at_target = (at * inverse).rounded();
            grad_at_target = g.targets.logits == C(-infinity) ? V{} : grad_at_target;
            if constexpr (Path::general) power = taken_apart<W>(of_p);
            const auto words = (of_p * inverse).two_words();
            this->hi = this->no_finite_logit() ? V{} : words.hi * Constants<C>::inv_scale_bias;
            this->lo = this->no_finite_logit() ? V{} : words.lo * Constants<C>::inv_scale_bias;
            if constexpr (Path::general) {
                this->at_infinity = of_p.rounded();
                if (any_true(this->infinite())) gradient_at_infinity(g, all.rounded(), q, z_grad);
            }
        }
        // In rows whose maximum is +inf: p is 1 there, or NaN if there are several.
        ONESUM_NOINLINE void gradient_at_infinity(const RowBlock<W>& g, V all, Wide<C> q, Wide<C> z_grad) {
            double masses[W::lanes], z_grads[W::lanes];
            wide_to(masses, q), wide_to(z_grads, z_grad);
            for (int k = 0; k < W::lanes; ++k) {
                if (this->m[k] != C(infinity)) continue;
                const double factor = g.targets.options->grad_scale * double(this->inverse.hi[k]),
                             nan = all[k] == 1 ? 0 : not_a_number, x = g.targets.logits[k];
                this->hi[k] = C(nan), this->lo[k] = 0, power[k] = 1;
                this->at_infinity[k] = C((masses[k] + z_grads[k]) * factor + nan);
                grad_at_target[k] = C(x == -infinity ? 0 : (x == infinity ? z_grads[k] : -masses[k]) * factor + nan);
            }
        }
        // Rows of which the loss is infinite, or nothing, or not a number.
        ONESUM_NOINLINE void nonfinite_loss(RowBlock<W>& g, I special, V all, V log, Wide<C> q) const {
            double masses[W::lanes];
            wide_to(masses, q);
            for (int k = 0; k < g.walk.count; ++k) {
                if (!special[k]) continue;
                double& loss = g.targets.losses[k];
                const double m = this->m[k], x = g.targets.logits[k];
                double bare;
                if (all[k] != all[k]) bare = not_a_number;
                else if (m == infinity) bare = all[k] != 1 ? not_a_number : x == infinity ? 0 : infinity;
                else if (m == -infinity) bare = nothing_left(g, k) ? infinity : not_a_number;
                else if (x == -infinity) bare = infinity;
                else
                    bare = m * inverse_temperature_of(k) - x * inverse_temperature_of(k) +
                           double(log[k]);  // too far apart for a difference first
                loss = g.targets.ignored[k] || (masses[k] == 0 && bare == infinity) ? 0 : bare * masses[k];
            }
        }
    };
};

}  // namespace
