// Losses whose targets are spread over the classes: cross entropy with probabilities or smoothing; and the entropy.
//
// With the masses q_c = w_c ((1 - smoothing) y_c + spread), and (1 - smoothing) w_y more at the class y of an index, all times s, and their sum Q:
// loss = Q log1p(r) + sum q (m - x) / T, gradient (Q p - q) / T. Of a row whose maximum is attained once, the gradient there is (Q' - q r) / (1 + r) / T,
// with Q' the mass of the others. The entropy is what comes out where the masses are p itself: log1p(r) + sum p (m - x) / T.
#pragma once

#include "numerics/log1p.h"
#include "ops/soft_targets.h"

namespace {

// Beside the exponentials: mass times distance from the top, the mass below it, the mass at it, and how many classes attain it.
template <class C> struct SoftSum : ExpSum<C> {
    using Plain = ExpSum<C>;
    WideSum<C> away, below, top, tops;
    template <class T> ONESUM_INLINE explicit SoftSum(T& totals)
        : Plain(totals.sum), away(totals.other), below(totals.more[0]), top(totals.more[1]), tops(totals.more[2]) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { Plain::begin(k, fresh), away.begin(k, fresh), below.begin(k, fresh), top.begin(k, fresh), tops.begin(k, fresh); }
    ONESUM_INLINE void flush(isize k) { Plain::flush(k), away.flush(k), below.flush(k), top.flush(k), tops.flush(k); }
    ONESUM_INLINE void end_part(isize k) { Plain::end_part(k), away.end_part(k), below.end_part(k), top.end_part(k), tops.end_part(k); }
};

struct SoftCrossEntropy : Forward {
    static constexpr bool rescales = false, needs_memo = true;
    template <class W> using Sums = MoreTotals<W>;
    template <class W> static int form(const Group<W>&, const typename W::V&) { return 0; }
    template <class F> static ONESUM_INLINE void with(int, F f) { f(General{}); }

    template <class Form, class W> struct Run : Probabilities<Form, W, true> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using P = Probabilities<Form, W, true>;
        using P::P;
        V at_aim, at_top;  // the gradient there
        I one_top;         // else the top is like other classes
        V power;           // what is left to multiply p by
        double scale[W::lanes];  // what multiplies the masses

        ONESUM_NOINLINE void sum(Group<W>& g, MoreTotals<W>& totals) {
            P::template sum<SoftSum<C>>(g, totals, [&](auto row, SoftSum<C>& sums) ONESUM_FORCE_INLINE {
                return [&g, &sums, row, masses = Masses<W>(g, row), m = row.of(this->m), is_entropy = g.aims.options->wanted == onesum::wanted_entropy](isize j, auto lanes, V x, auto& e) ONESUM_FORCE_INLINE {
                    auto q = is_entropy ? Wide<C>::of(splat(C(1)), e.tail()) * Wide<C>::of(e.scale) : masses.at(j, lanes);
                    I inside = g.mask.template at<W>(row, j, lanes);
                    if constexpr (!lanes.all) inside = inside & first_n<I>(lanes.count);
                    q = Wide<C>::choose(inside, q, Wide<C>{});
                    const I is_top = inside & (x == m), is_nowhere = x == C(-infinity);
                    // Where there is no mass the distance, perhaps further than a number can tell, does not count.
                    const auto distance = Wide<C>::choose(is_top | is_nowhere | (q.rounded() == C(0)), Wide<C>{}, Wide<C>::of(m) - Wide<C>::of(x));
                    add_to(sums.away.sum, q * distance);
                    add_to(sums.below.sum, Wide<C>::choose(is_top, Wide<C>{}, q));
                    add_to(sums.top.sum, Wide<C>::choose(is_top, q, Wide<C>{}));
                    V count = is_top ? splat(C(1)) : V{};
                    count = count + ((is_nowhere & (q.rounded() != 0)) ? splat(C(lost)) : V{});
                    add_to(sums.tops.sum, Wide<C>::of(count));
                    e.scale = is_top ? V{} : e.scale;
                };
            });
        }
        void end(Group<W>& g, MoreTotals<W>& totals) {
            auto& aims = g.aims;
            const auto& options = *aims.options;
            const V m = this->m;
            V x = aims.logits;
            const I aim_is_nowhere = x == C(-infinity), aim_is_top = (x == m) & ~aim_is_nowhere;
            x = aim_is_nowhere ? m : x;
            double tops[W::lanes], aimed[W::lanes];
            wide_to(tops, g.walk.sum_of(totals.more[2]));
            I special = (m == C(infinity)) | (m == C(-infinity)) | aims.ignored;
            bool loses[W::lanes];
            for (int k = 0; k < W::lanes; ++k) {
                loses[k] = tops[k] >= lost;
                while (tops[k] >= lost) tops[k] -= lost * double(isize(tops[k] / lost));
                const isize y = aims.classes[k];
                aimed[k] = y < 0 ? 0 : (1 - options.smoothing) * (options.weight ? options.weight[y] : 1);
                loses[k] |= aim_is_nowhere[k] && aimed[k] != 0;
                special[k] |= -loses[k];
            }
            const auto zero = Wide<C>{}, one = wide_splat<C>(1), at_aim_alone = wide_from<C>(aimed), count = wide_from<C>(tops), s = wide_from<C>(aims.sample);
            const auto below = g.walk.sum_of(totals.more[0]) + Wide<C>::choose(aim_is_top, zero, at_aim_alone);
            const auto top = g.walk.sum_of(totals.more[1]) + Wide<C>::choose(aim_is_top, at_aim_alone, zero);
            const auto q = below + top;
            const auto r = g.walk.sum_of(totals.sum).scaled(Constants<C>::unbias) / this->pivot() + (count - one);
            const auto log = log1p(r);
            if (options.wanted == onesum::wanted_masses) return wide_to(aims.losses, s * q);
            if (options.wanted == onesum::wanted_entropy) return end_entropy(g, r.rounded(), log + g.walk.sum_of(totals.other).scaled(Constants<C>::unbias) / (this->pivot() * (one + r)) * this->inverse.wide(), tops);
            const auto away = g.walk.sum_of(totals.other) + at_aim_alone * Wide<C>::choose(aim_is_top | aim_is_nowhere, zero, Wide<C>::of(m) - Wide<C>::of(x));
            const auto losses = s * (q * log + away * this->inverse.wide());
            wide_to(aims.losses, losses);
            const V loss = losses.rounded(), given = (q + r).rounded();
            special = special | ((loss != loss) & (given == given));  // further apart than a number can tell
            if (any_true(special)) lose_specially(g, special, r.rounded(), tops, loses, below, aimed);
            auto rising = zero;
            if (options.z_loss != 0) rising = add_z_loss(g, m, Wide<C>::of(m) * this->inverse.wide() + log);
            if (!options.gradient) return;

            const auto factor = wide_splat<C>(options.by) * this->inverse.wide(), all = one + r;
            const V nan = this->infinite() ? one_hot_or_nan(count.rounded(), r.rounded()) : V{};
            one_top = count.rounded() == C(1);
            const auto at_top_alone = s * (below - top * r);
            at_top = ((at_top_alone + rising) * factor / all).rounded();
            if (any_true(this->infinite())) {  // there p is 1, and the slope of the z-loss infinite, which has no second word
                const V f = factor.rounded();
                at_top = this->infinite() ? at_top_alone.rounded() * f + rising.rounded() * f : at_top;
            }
            at_top = at_top + nan;
            auto of_p = (s * q + rising) * factor;
            const auto biased_p_there = this->biased_exponential_of(x) / this->pivot() / all, q_there = wide_from<C>(aims.spread) * weights_there(g) + at_aim_alone;
            // Where p is nothing, an infinite slope of the z-loss is.
            const auto of_p_there = Wide<C>::choose(this->infinite(), Wide<C>{}, unbiased_product(biased_p_there, of_p));
            at_aim = (of_p_there - s * factor * q_there).rounded() + nan;
            at_aim = aim_is_top & one_top ? at_top : at_aim;
            at_aim = aim_is_nowhere ? V{} : at_aim;
            power = taken_apart<W>(of_p);
            wide_to(scale, s * factor);
            this->at_infinity = of_p.rounded() + nan;
            const auto words = (of_p / (all * this->pivot())).two_words();
            this->hi = this->infinite() ? nan : words.hi * Constants<C>::unbias;
            this->lo = this->infinite() ? V{} : words.lo * Constants<C>::unbias;
        }
        ONESUM_NOINLINE void write(Group<W>& g) const {
            this->each(g, [&](auto row) ONESUM_FORCE_INLINE {
                return [&g, row, masses = Masses<W>(g, row), scale = of_row<W>(row, this->scale), aim = aimed_at(g, row), at_aim = row.of(this->at_aim),
                        at_top = row.of(this->at_top), m = row.of(this->m), one_top = bit_cast<I>(row.of(bit_cast<V>(this->one_top))), power = row.of(this->power),
                        ignored = bit_cast<I>(row.of(bit_cast<V>(g.aims.ignored)))](isize j, auto lanes, V x, V p, char* out) ONESUM_FORCE_INLINE {
                    V y = (Wide<C>::of(p).scaled(power) - masses.at(j, lanes) * scale).rounded();
                    y = (one_top & (x == m)) ? at_top : y;
                    if (aim.may_be_at(j)) y = aim.at(j) ? at_aim : y;
                    y = ~g.mask.template at<W>(row, j, lanes) | (x == C(-infinity)) | ignored ? V{} : y;
                    ::write_derivative<S>(out, lanes, y, g.streamed);
                };
            });
        }

      private:
        Wide<C> weights_there(const Group<W>& g) const {
            double weights[W::lanes];
            for (int k = 0; k < W::lanes; ++k) weights[k] = g.aims.options->weight && g.aims.classes[k] >= 0 ? g.aims.options->weight[g.aims.classes[k]] : 1;
            return wide_from<C>(weights);
        }
        void end_entropy(Group<W>& g, V r, Wide<C> entropy, const double* tops) const {
            wide_to(g.aims.losses, entropy);
            for (int k = 0; k < g.walk.count; ++k) {
                double& value = g.aims.losses[k];
                if (this->m[k] == C(infinity)) value = tops[k] == 1 && r[k] == r[k] ? 0 : not_a_number;
                if (this->m[k] == C(-infinity)) value = nothing_left(g, k) ? 0 : not_a_number;
            }
        }
        ONESUM_NOINLINE void lose_specially(Group<W>& g, I special, V r, const double* tops, const bool* loses, Wide<C> below, const double* aimed) const {
            double masses_below[W::lanes];
            wide_to(masses_below, below);
            for (int k = 0; k < g.walk.count; ++k) {
                if (!special[k]) continue;
                const double m = this->m[k];
                double bare;
                if (m == -infinity) bare = !nothing_left(g, k) ? not_a_number : aimed[k] != 0 ? infinity : 0;
                else if (r[k] != r[k] || (m == infinity && tops[k] != 1)) bare = not_a_number;
                else bare = loses[k] || masses_below[k] != 0 ? infinity : 0;
                const double s = g.aims.sample[k];
                g.aims.losses[k] = g.aims.ignored[k] || (s == 0 && bare == infinity) ? 0 : bare * s;
            }
        }
    };
};

}  // namespace
