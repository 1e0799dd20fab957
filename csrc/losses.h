// Cross entropy with class indices, and the gradient of it. Cross entropy with probabilities is in soft_losses.h.
//
// With the mass Q = s w_y of the row's class y: loss = Q (log1p(r) + (m - x_y) / T), gradient (Q p_c - Q [c = y]) / T. The sum of exponentials leaves
// y out, wherever the pivot is: then 1 - p_y is this sum over that of all, and where y is the pivot itself, r is this sum over the pivot's. Elsewhere
// the loss is log 2 at least, and nothing is lost by subtracting the pivot from the sum of all.
#pragma once

#include "forward.h"

namespace {

// One double for each lane.
inline Wide<float> wide_from(const double* p, float) {
    Wide<float> x;
    memcpy(&x, p, sizeof x);
    return x;
}
inline Wide<double> wide_from(const double* p, double) {
    Wide<double> x{};
    memcpy(&x.hi, p, sizeof x.hi);
    return x;
}
template <class C> Wide<C> wide_from(const double* p) { return wide_from(p, C()); }
inline void wide_to(double* p, Wide<float> x) { memcpy(p, &x, sizeof x); }
inline void wide_to(double* p, Wide<double> x) {
    const f64v rounded = x.rounded();
    memcpy(p, &rounded, sizeof rounded);
}

template <class C> Wide<C> wide_splat(double x) {
    double lanes[Vec<C>::lanes];
    for (double& lane : lanes) lane = x;
    return wide_from<C>(lanes);
}

// The class that the loss of a row aims at.
template <class W> ONESUM_INLINE typename W::Row::Chosen aimed_at(const Group<W>& g, const typename W::Row& row) {
    if constexpr (W::across) return {g.aims.in_lanes - typename W::Int(g.walk.first)};
    else return {g.aims.classes[row.r] - g.walk.first};
}

// Whether the mask leaves nothing of a row.
template <class W> bool nothing_left(const Group<W>& g, int k) {
    for (long j = 0; g.mask.p && j < g.classes; ++j)
        if (g.mask.p[j * g.mask.along + k * g.mask.across]) return false;
    return g.mask.p;
}

// Factors of the gradient between these keep it among normal numbers on its way; others are taken apart.
template <class C> constexpr double least_factor = sizeof(C) == 4 ? 0x1p-30 : 0x1p-300;
template <class C> constexpr double most_factor = sizeof(C) == 4 ? 0x1p60 : 0x1p300;

// Adds z s (log sum)^2 to the losses; 2 z s (log sum).
template <class W> Wide<typename W::C> add_z_loss(Group<W>& g, typename W::V m, Wide<typename W::C> log_sum) {
    using C = typename W::C;
    double log_sums[W::lanes], rising[W::lanes];
    wide_to(log_sums, log_sum);
    const double z = g.aims.options->z_loss;
    for (int k = 0; k < W::lanes; ++k) {
        const double s = g.aims.sample[k], l = m[k] == C(infinity) || m[k] == C(-infinity) ? double(m[k]) : log_sums[k];
        if (s != 0) g.aims.losses[k] += z * s * l * l;
        rising[k] = s != 0 && l != -infinity ? 2 * z * s * l : 0;
    }
    return wide_from<C>(rising);
}

// The factor of a row's gradient as a power of two, where it is extreme, and the rest.
template <class W> typename W::V taken_apart(Wide<typename W::C>& factor) {
    using C = typename W::C;
    double factors[W::lanes];
    wide_to(factors, factor);
    typename W::V power = splat(C(1)), rest = power;
    for (int k = 0; k < W::lanes; ++k) {
        const double size = factors[k] < 0 ? -factors[k] : factors[k];
        if (size == 0 || (size >= least_factor<C> && size <= most_factor<C>) || !(size < infinity)) continue;
        int64_t exponent = (bits<int64_t>(size) >> 52) - 1023;
        constexpr int most = sizeof(C) == 4 ? 126 : 1000;
        exponent = exponent < -most ? -most : exponent > most ? most : exponent;
        power[k] = C(bits<double>((1023 + exponent) << 52)), rest[k] = C(bits<double>((1023 - exponent) << 52));
    }
    factor = factor.scaled(rest);
    return power;
}

struct CrossEntropy : Forward {
    static constexpr bool needs_memo = true;
    template <class W> static int form(const Group<W>& g, const typename W::V& m) {
        using C = typename W::C;
        const auto& aims = g.aims;
        bool general = aims.options->z_loss != 0 || (W::across && any(aims.ignored));
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

        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) {
            P::sum(g, totals, [&](auto row, auto&) ONESUM_INLINED {
                return [aim = aimed_at(g, row)](long j, auto, V, auto& e) ONESUM_INLINED {
                    if (aim.may_be_at(j)) e.scale = aim.at(j) ? V{} : e.scale;
                };
            });
        }
        Then end(Group<W>& g, Totals<W>& totals) {
            auto& aims = g.aims;
            const auto& options = *aims.options;
            const V x = aims.logits, m = this->m;
            const I is_top = x == m;
            const auto others = g.walk.sum_of(totals.sum).scaled(Constants<C>::unbias), aim = this->exponential_of(x), all = others + aim, top = this->pivot();
            const auto log = log1p(Wide<C>::choose(is_top, others, all - top) / top);
            auto away = Wide<C>::choose(is_top, Wide<C>{}, Wide<C>::of(m) - Wide<C>::of(x));
            if constexpr (Form::general) away = away * this->inverse.wide();
            double masses[W::lanes];
            for (int k = 0; k < W::lanes; ++k) masses[k] = mass(g, k);
            const auto q = wide_from<C>(masses);
            wide_to(aims.losses, (log + away) * q);
            const V total = all.rounded();
            const I special = (m - x == C(infinity)) | (x == C(-infinity)) | (m == C(infinity));
            if (any(special)) lose_specially(g, special, total, log.rounded(), masses);
            auto rising = Wide<C>{};  // 2 z s (log sum)
            if constexpr (Form::general)
                if (options.z_loss != 0) rising = add_z_loss(g, m, Wide<C>::of(m) * this->inverse.wide() + log);
            if (options.gradient) slope(g, others, aim, all, q, rising);
            // In a row with a NaN the classes of logit -inf get 0 all the same: the general form sees to it.
            return !Form::general && any(first_lanes<I>(g.walk.count) & (total != total)) ? Then::carefully : Then::nothing;
        }
        ONESUM_APART void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_INLINED {
                const V at = row.of(at_aim), ignored = row.of(bits<V>(g.aims.ignored));
                V power{};
                if constexpr (Form::general) power = row.of(this->power);
                const bool all_ignored = !W::across && any(bits<I>(ignored));
                return [&g, row, at, power, ignored, all_ignored, aim = aimed_at(g, row)](long j, auto lanes, V x, V p, char* out) ONESUM_INLINED {
                    if constexpr (Form::general) p = x == C(-infinity) ? V{} : p * power;
                    if (aim.may_be_at(j)) p = aim.at(j) ? at : p;
                    if constexpr (Form::general) p = g.mask.template at<W>(row, j, lanes) ? p : V{};
                    if constexpr (W::across && Form::general) p = bits<I>(ignored) ? V{} : p;
                    if (all_ignored) p = V{};
                    ::write<S>(out, lanes, p, g.streamed);
                };
            });
        }

      private:
        double per_unit(int k) const {
            if constexpr (Form::general) return double(this->inverse.hi[k]);
            else return 1;
        }
        // The derivative by the logits: what p is multiplied by, and the whole of it at the aim.
        ONESUM_INLINE void slope(const Group<W>& g, Wide<C> others, Wide<C> aim, Wide<C> all, Wide<C> q, Wide<C> rising) {
            auto factor = wide_splat<C>(g.aims.options->by);
            if constexpr (Form::general) factor = factor * this->inverse.wide();
            const auto inverse = wide_splat<C>(1) / all;
            auto of_p = q * factor;
            auto at = -others * of_p;
            if constexpr (Form::general) at = at + rising * aim * factor, of_p = of_p + rising * factor;
            at_aim = (at * inverse).rounded();
            at_aim = g.aims.logits == C(-infinity) ? V{} : at_aim;
            this->at_infinity = of_p.rounded();
            if constexpr (Form::general) power = taken_apart<W>(of_p);
            const auto words = (of_p * inverse).two_words();
            this->hi = this->no_finite_logit() ? V{} : words.hi * Constants<C>::unbias;
            this->lo = this->no_finite_logit() ? V{} : words.lo * Constants<C>::unbias;
            if constexpr (Form::general) {
                this->at_infinity = of_p.rounded();
                if (any(this->infinite())) slope_at_infinity(g, all.rounded(), q, rising);
            }
        }
        // In rows whose maximum is +inf: p is 1 there, or NaN if there are several.
        ONESUM_APART void slope_at_infinity(const Group<W>& g, V all, Wide<C> q, Wide<C> rising) {
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
        ONESUM_APART void lose_specially(Group<W>& g, I special, V all, V log, const double* masses) const {
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
