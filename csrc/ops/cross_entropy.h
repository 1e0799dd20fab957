// Cross entropy with class indices, and the gradient of it. Cross entropy with probabilities is in soft_cross_entropy.h.
//
// With the mass Q = s w_y of the row's class y: loss = Q (log1p(r) + (m - x_y) / T), gradient (Q p_c - Q [c = y]) / T. The sum of exponentials leaves
// y out, wherever the pivot is: then 1 - p_y is this sum over that of all, and where y is the pivot itself, r is this sum over the pivot's. Elsewhere
// the loss is log 2 at least, and nothing is lost by subtracting the pivot from the sum of all.
#pragma once

#include "numerics/log1p.h"
#include "ops/loss_targets.h"

namespace {

struct CrossEntropy : Forward {
    static constexpr bool needs_memo = true;
    template <class W> static int form(const Group<W>& g, const typename W::V& m) {
        using C = typename W::C;
        const auto& aims = g.aims;
        bool general = aims.options->z_loss != 0 || (W::across && any_true(aims.ignored));
        for (int k = 0; k < W::lanes; ++k) {
            const double factor = mass(g, k) * aims.options->by;
            general |= factor != 0 && !(factor >= least_factor<C> && factor <= most_factor<C>);
        }
        return general || Forward::form(g, m);
    }
    template <class W> static double mass(const Group<W>& g, int k) {
        const auto& aims = g.aims;
        return aims.options->weight && aims.classes[k] >= 0 ? aims.sample[k] * aims.options->weight[aims.classes[k]] : aims.sample[k];
    }

    template <class Form, class W> struct Run : Probabilities<Form, W, true> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Form, W, true>;
        using P::P;
        V at_aim;  // the gradient there
        V power;   // what is left to multiply the others by

        ONESUM_NOINLINE void sum(Group<W>& g, Totals<W>& totals) {
            P::sum(g, totals, [&](auto row, auto&) ONESUM_FORCE_INLINE {
                return [aim = aimed_at(g, row)](isize j, auto, V, auto& e) ONESUM_FORCE_INLINE {
                    if (aim.may_be_at(j)) e.scale = aim.at(j) ? V{} : e.scale;
                };
            });
        }
        Then end(Group<W>& g, Totals<W>& totals) {
            auto& aims = g.aims;
            const auto& options = *aims.options;
            const V x = aims.logits, m = this->m;
            const I is_top = x == m;
            const auto biased = g.walk.sum_of(totals.sum), others = biased.scaled(Constants<C>::unbias), top = this->pivot();
            const auto biased_aim = this->biased_exponential_of(x), aim = biased_aim.scaled(Constants<C>::unbias), all = others + aim;
            const auto log = log1p(Wide<C>::choose(is_top, others, (others - top) + aim) / top);
            auto away = Wide<C>::choose(is_top, Wide<C>{}, Wide<C>::of(m) - Wide<C>::of(x));
            if constexpr (Form::general) away = away * this->inverse.wide();
            double masses[W::lanes];
            for (int k = 0; k < W::lanes; ++k) masses[k] = mass(g, k);
            const auto q = wide_from<C>(masses);
            // A logarithm of next to nothing is that nothing.
            const I tiny = is_top & (others.rounded() < C(0x1p-100)) & (biased.rounded() > 0);
            const auto losses = Wide<C>::choose(tiny, unbiased_product(biased / top, q), (log + away) * q);
            wide_to(aims.losses, losses);
            const V total = all.rounded(), loss = losses.rounded();
            const I special = (m - x == C(infinity)) | (x == C(-infinity)) | (m == C(infinity)) | ((loss != loss) & (total == total));
            if (any_true(special)) lose_specially(g, special, total, log.rounded(), masses);
            auto rising = Wide<C>{};  // 2 z s (log sum)
            if constexpr (Form::general)
                if (options.z_loss != 0) rising = add_z_loss(g, m, Wide<C>::of(m) * this->inverse.wide() + log);
            if (options.gradient) slope(g, biased, biased_aim, all, q, rising);
            // In a row with a NaN the classes of logit -inf get 0 all the same: the general form sees to it.
            return !Form::general && any_true(first_n<I>(g.walk.count) & (total != total)) ? Then::carefully : Then::nothing;
        }
        ONESUM_NOINLINE void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_FORCE_INLINE {
                const V at = row.of(at_aim), ignored = row.of(bit_cast<V>(g.aims.ignored));
                V power{};
                if constexpr (Form::general) power = row.of(this->power);
                const bool all_ignored = !W::across && any_true(bit_cast<I>(ignored));
                return [&g, row, at, power, ignored, all_ignored, aim = aimed_at(g, row)](isize j, auto lanes, V x, V p, char* out) ONESUM_FORCE_INLINE {
                    if constexpr (Form::general) p = x == C(-infinity) ? V{} : p * power;
                    if (aim.may_be_at(j)) p = aim.at(j) ? at : p;
                    if constexpr (Form::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    if constexpr (W::across && Form::general) p = bit_cast<I>(ignored) ? V{} : p;
                    if (all_ignored) p = V{};
                    ::write_derivative<S>(out, lanes, p, g.streamed);
                };
            });
        }

      private:
        double per_unit(int k) const {
            if constexpr (Form::general) return double(this->inverse.hi[k]);
            else return 1;
        }
        // The derivative by the logits: what p is multiplied by, and the whole of it at the aim.
        ONESUM_INLINE void slope(const Group<W>& g, Wide<C> biased_others, Wide<C> biased_aim, Wide<C> all, Wide<C> q, Wide<C> rising) {
            auto factor = wide_splat<C>(g.aims.options->by);
            if constexpr (Form::general) factor = factor * this->inverse.wide();
            const auto inverse = wide_splat<C>(1) / all;
            auto of_p = q * factor;
            auto at = -unbiased_product(biased_others, of_p);
            if constexpr (Form::general) at = at + unbiased_product(biased_aim, rising * factor), of_p = of_p + rising * factor;
            at_aim = (at * inverse).rounded();
            at_aim = g.aims.logits == C(-infinity) ? V{} : at_aim;
            if constexpr (Form::general) power = taken_apart<W>(of_p);
            const auto words = (of_p * inverse).two_words();
            this->hi = this->no_finite_logit() ? V{} : words.hi * Constants<C>::unbias;
            this->lo = this->no_finite_logit() ? V{} : words.lo * Constants<C>::unbias;
            if constexpr (Form::general) {
                this->at_infinity = of_p.rounded();
                if (any_true(this->infinite())) slope_at_infinity(g, all.rounded(), q, rising);
            }
        }
        // In rows whose maximum is +inf: p is 1 there, or NaN if there are several.
        ONESUM_NOINLINE void slope_at_infinity(const Group<W>& g, V all, Wide<C> q, Wide<C> rising) {
            double masses[W::lanes], risings[W::lanes];
            wide_to(masses, q), wide_to(risings, rising);
            for (int k = 0; k < W::lanes; ++k) {
                if (this->m[k] != C(infinity)) continue;
                const double factor = g.aims.options->by * double(this->inverse.hi[k]), nan = all[k] == 1 ? 0 : not_a_number, x = g.aims.logits[k];
                this->hi[k] = C(nan), this->lo[k] = 0, power[k] = 1;
                this->at_infinity[k] = C((masses[k] + risings[k]) * factor + nan);
                at_aim[k] = C(x == -infinity ? 0 : (x == infinity ? risings[k] : -masses[k]) * factor + nan);
            }
        }
        // Rows of which the loss is infinite, or nothing, or not a number.
        ONESUM_NOINLINE void lose_specially(Group<W>& g, I special, V all, V log, const double* masses) const {
            for (int k = 0; k < g.walk.count; ++k) {
                if (!special[k]) continue;
                double& loss = g.aims.losses[k];
                const double m = this->m[k], x = g.aims.logits[k];
                double bare;
                if (all[k] != all[k]) bare = not_a_number;
                else if (m == infinity) bare = all[k] != 1 ? not_a_number : x == infinity ? 0 : infinity;
                else if (m == -infinity) bare = nothing_left(g, k) ? infinity : not_a_number;
                else if (x == -infinity) bare = infinity;
                else bare = m * per_unit(k) - x * per_unit(k) + double(log[k]);  // too far apart for a difference first
                loss = g.aims.ignored[k] || (masses[k] == 0 && bare == infinity) ? 0 : bare * masses[k];
            }
        }
    };
};

}  // namespace
