// The Kullback-Leibler divergence of two rows of logits, and its gradients.
//
// With u = (y - x) / T and w = u - sum p u: KL = log1p(sum p (exp(w) - 1 - w)), of which no term is negative, however near the two rows are. That takes
// the mean of u first, and a second walk. Where they are far apart, KL is log1p(r_y) - log1p(r_x) - sum p u, counted from the tops of the rows.
// log(q / p) = w - KL, so the gradients are -p w / T by x and p (exp(w - KL) - 1) / T = (q - p) / T by y.
#pragma once

#include "soft_losses.h"

namespace {

// exp(w) - 1 - w for abs(w) <= 1/2, to 2^-31 (2^-57) of it
template <int terms> f64v exp_less_line(f64v w) {
    f64v y{};
    for (int k = terms; k > 1; --k) y = (y * w + 1.0) * (1 / double(k));
    return y * w * w;
}
inline Wide<float> exp_less_line(Wide<float> w) { return {exp_less_line<10>(w.a), exp_less_line<10>(w.b)}; }
inline Wide<double> exp_less_line(Wide<double> w) { return Wide<double>::of(exp_less_line<16>(w.rounded())); }

// The sums of the first walk: both exponentials, the first times u below its top, u at the top, and how many classes attain the tops.
template <class C> struct DivergenceSum {
    static constexpr bool in_blocks = true;
    ExpSum<C> x, y;
    WideSum<C> u, u_top, tops_x, tops_y;
    template <class T> ONESUM_INLINE explicit DivergenceSum(T& totals) : x(totals.sum), y(totals.more[0]), u(totals.other), u_top(totals.more[3]), tops_x(totals.more[1]), tops_y(totals.more[2]) {}
    ONESUM_INLINE void begin(long k, bool fresh) { x.begin(k, fresh), y.begin(k, fresh), u.begin(k, fresh), u_top.begin(k, fresh), tops_x.begin(k, fresh), tops_y.begin(k, fresh); }
    ONESUM_INLINE void flush(long k) { x.flush(k), y.flush(k), u.flush(k), u_top.flush(k), tops_x.flush(k), tops_y.flush(k); }
    ONESUM_INLINE void end_part(long k) { x.end_part(k), y.end_part(k), u.end_part(k), u_top.end_part(k), tops_x.end_part(k), tops_y.end_part(k); }
};

// The sums of the second walk: the deviations, and the mean of u once more, less what it is at the top before anything is summed.
template <class C> struct DeviationSum {
    static constexpr bool in_blocks = false;
    WideSum<C> deviations, mean;
    template <class T> ONESUM_INLINE explicit DeviationSum(T& totals) : deviations(totals.other), mean(totals.more[3]) {}
    ONESUM_INLINE void begin(long k, bool fresh) { deviations.begin(k, fresh), mean.begin(k, fresh); }
    ONESUM_INLINE void flush(long k) { deviations.flush(k), mean.flush(k); }
    ONESUM_INLINE void end_part(long k) { deviations.end_part(k), mean.end_part(k); }
};

template <class V> struct Tops { V x, y; };

struct Divergence {
    static constexpr bool rescales = false, needs_memo = false;
    static constexpr int known_from = 2;
    template <class W> using Sums = MoreTotals<W>;
    template <class W> static Tops<typename W::V> known(const Group<W>& g) {
        return {row_max(g, 0), row_max(g, 1)};
    }
    template <class W, class V> static Tops<V> together(const W&, Tops<V> a, Tops<V> b) { return {max(b.x, a.x), max(b.y, a.y)}; }
    template <class W, class T> static int form(const Group<W>&, const T&) { return 0; }
    template <class F> static ONESUM_INLINE void with(int, F f) { f(General{}); }

    template <class Form, class W> struct Run {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        Shift<Form, W> x, y;
        bool second = false;  // walk
        V mean_hi{}, mean_lo{};  // of u, less what it is at the top
        double at_top[W::lanes] = {}, at_top_rest[W::lanes] = {};  // u there, in two words
        I one_top{}, same_top{};  // of x; where that of y is, and the complements tell the gradient there best
        V at_same_top, complements;  // that gradient; 1 - p and 1 - q there, added
        V value_hi, value_lo; // KL, where w is needed
        Wide<C> all_x, all_y, inverse_x, inverse_y, shrink;  // exp of all over that of the top; 1 / all; exp(-mean)
        V nan, nan_y;         // of a row whose KL is not finite; is NaN
        bool is_near[W::lanes];

        Run(const Group<W>& g, const Tops<V>& tops) : x(g, tops.x), y(g, tops.y) {}

        // What is known of a class: its exponentials, and u.
        struct Class {
            Exp<C> e_x, e_y;
            I top_x, top_y, live, lost;
            Wide<C> u;
        };
        struct Classes {
            const Logits<Form, W> x, y;
            const Terms<Form, C> terms_x, terms_y;
            const V m_x, m_y;
            const Wide<C> inverse, base;
            const I one_top;

            ONESUM_INLINE Classes(const Run& run, const Group<W>& g, const typename W::Row& row)
                : x(g, row, 0), y(g, row, 1), terms_x(run.x.of(row)), terms_y(run.y.of(row)), m_x(row.of(run.x.m)), m_y(row.of(run.y.m)),
                  inverse(Wide<C>::of(row.of(run.x.inverse.hi), row.of(run.x.inverse.lo))), base(of_row<W>(row, run.at_top) + of_row<W>(row, run.at_top_rest)), one_top(bits<I>(row.of(bits<V>(run.one_top)))) {}
            // u less what it is at the top.
            ONESUM_INLINE Wide<C> less_top(const Class& c) const { return Wide<C>::choose((c.top_x & one_top) | ~c.live | c.lost, Wide<C>{}, c.u - base); }
            ONESUM_INLINE Class at(long j, auto lanes) const {
                const V a = x.at(j, lanes), b = y.at(j, lanes);
                Class result{terms_x.term(a), terms_y.term(b), (a == m_x) & (a > C(-infinity)), (b == m_y) & (b > C(-infinity)), {}, {}, {}};
                result.live = result.e_x.scale != 0;
                const V below = b - m_y;
                result.lost = result.live & ~result.top_y & (below == C(-infinity));
                const I counts = result.live & ~result.lost & (m_x < C(infinity)) & (m_y < C(infinity));
                const auto apart = (Wide<C>::of(b) - Wide<C>::of(a)) + (Wide<C>::of(m_x) - Wide<C>::of(m_y));
                result.u = Wide<C>::choose(counts, apart * inverse, Wide<C>{});
                return result;
            }
        };
        static ONESUM_INLINE Wide<C> factor_of(const Exp<C>& e) {
            const auto factor = Wide<C>::of(splat(C(1)), e.hi);
            return Exp<C>::one_word ? factor : factor + Wide<C>::of(e.lo);
        }

        ONESUM_APART void sum(Group<W>& g, MoreTotals<W>& totals) {
            if (second) sum_deviations(g, totals);
            else sum_all(g, totals);
        }
        Then end(Group<W>& g, MoreTotals<W>& totals) {
            if (second) return end_deviations(g, totals), Then::nothing;
            const auto one = wide_splat<C>(1);
            double tops_x[W::lanes], tops_y[W::lanes], value[W::lanes];
            wide_to(tops_x, g.walk.sum_of(totals.more[1]));
            wide_to(tops_y, g.walk.sum_of(totals.more[2]));
            bool loses[W::lanes];
            for (int k = 0; k < W::lanes; ++k) {
                loses[k] = tops_y[k] >= lost;
                while (tops_y[k] >= lost) tops_y[k] -= lost * double(long(tops_y[k] / lost));
            }
            const auto below = g.walk.sum_of(totals.sum).scaled(Constants<C>::unbias);
            const auto r_x = below / x.pivot() + (wide_from<C>(tops_x) - one);
            const auto r_y = g.walk.sum_of(totals.more[0]).scaled(Constants<C>::unbias) / y.pivot() + (wide_from<C>(tops_y) - one);
            all_x = one + r_x, all_y = one + r_y;
            inverse_x = one / (x.pivot() * all_x), inverse_y = one / (y.pivot() * all_y);
            const auto base = g.walk.sum_of(totals.more[3]) / wide_from<C>(tops_x);
            const auto mean_below = (g.walk.sum_of(totals.other).scaled(Constants<C>::unbias) - base * below) * inverse_x, mean_u = base + mean_below;
            wide_to(at_top, base);
            wide_to(at_top_rest, base - wide_from<C>(at_top));
            one_top = wide_from<C>(tops_x).rounded() == C(1);
            wide_to(value, log1p(r_y) - log1p(r_x) - mean_u);
            bool near = false;
            nan = nan_y = V{};
            for (int k = 0; k < W::lanes; ++k) {
                const double m_x = x.m[k], m_y = y.m[k];
                double& loss = g.aims.losses[k];
                loss = value[k];
                if (m_x == -infinity || m_y == -infinity) {
                    const bool nothing = k < g.walk.count && nothing_left(g, k);
                    loss = nothing ? 0 : not_a_number;
                } else if ((m_x == infinity && tops_x[k] != 1) || (m_y == infinity && tops_y[k] != 1)) {
                    loss = not_a_number;
                } else if (loses[k] && value[k] == value[k]) {
                    loss = infinity;
                }
                if (!(loss - loss == 0)) nan[k] = C(not_a_number);
                if (loss != loss) nan_y[k] = C(not_a_number);
                is_near[k] = k < g.walk.count && loss < 1 && m_x > -infinity;
                near |= is_near[k];
            }
            const auto words = mean_below.two_words(), all_words = mean_u.two_words();
            mean_hi = words.hi, mean_lo = words.lo;
            const auto away_x = r_x / all_x, away_y = r_y / all_y;
            same_top = one_top & (wide_from<C>(tops_y).rounded() == C(1));
            at_same_top = ((away_x - away_y) * wide_splat<C>(g.aims.options->by) * x.inverse.wide()).rounded();
            complements = (away_x + away_y).rounded();
            const V large = splat(C(80));  // of two that are near, no mean is
            const auto e = exp_parts<false>(max(-max(all_words.hi, -large), -large), -all_words.lo, rounder_for(V{}));
            shrink = factor_of(e) * Wide<C>::of(e.scale * Constants<C>::unbias);
            known_value(g);
            second = true;
            return near || g.aims.options->gradient ? Then::again : Then::nothing;
        }
        ONESUM_APART void write(Group<W>& g) const {
            const auto factor_of_all = wide_splat<C>(g.aims.options->by) * x.inverse.wide();
            double factors[W::lanes], per_x[W::lanes], per_y[W::lanes];
            wide_to(factors, factor_of_all);
            wide_to(per_x, inverse_x.scaled(Constants<C>::unbias));
            wide_to(per_y, inverse_y.scaled(Constants<C>::unbias));
            const bool by_second = g.aims.options->by_second;
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const Classes classes(*this, g, row);
                const auto mean = Wide<C>::of(row.of(mean_hi), row.of(mean_lo)), value = Wide<C>::of(row.of(value_hi), row.of(value_lo));
                const auto factor = of_row<W>(row, factors), scale_x = of_row<W>(row, per_x), scale_y = of_row<W>(row, per_y);
                const V nan = row.of(by_second ? nan_y : this->nan), at_same_top = row.of(this->at_same_top);
                const I at_tops = bits<I>(row.of(bits<V>(same_top)));
                const auto out = row.of(g.out);
                row.each_line(g.out, g.streamed, [&](long j, auto lanes) ONESUM_INLINED {
                    const auto c = classes.at(j, lanes);
                    const auto p = factor_of(c.e_x) * Wide<C>::of(c.e_x.scale) * scale_x, w = classes.less_top(c) - mean;
                    V result;
                    I dead;
                    if (by_second) {
                        const auto q = factor_of(c.e_y) * Wide<C>::of(c.e_y.scale) * scale_y, delta = w - value;
                        const V size = delta.rounded();
                        const I small = c.live & ~c.lost & (size < C(0.5)) & (size > C(-0.5));
                        result = (Wide<C>::choose(small, p * (exp_less_line(Wide<C>::choose(small, delta, Wide<C>{})) + delta), q - p) * factor).rounded() + nan;
                        result = at_tops & c.top_x & c.top_y ? at_same_top + nan : result;
                        dead = classes.y.at(j, lanes) == C(-infinity);
                    } else {
                        result = (c.live ? -(p * w * factor).rounded() : V{}) + nan;
                        dead = classes.x.at(j, lanes) == C(-infinity);
                    }
                    ::write<S>(out.at(j), lanes, dead ? V{} : result, g.streamed);
                });
            });
        }

      private:
        void known_value(Group<W>& g) {
            const auto words = wide_from<C>(g.aims.losses).two_words();
            value_hi = words.hi, value_lo = words.lo;
        }
        ONESUM_INLINE void sum_all(Group<W>& g, MoreTotals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const Classes classes(*this, g, row);
                DivergenceSum<C> sum(totals);
                row.accumulate(sum, [&](long j, auto lanes) ONESUM_INLINED {
                    auto c = classes.at(j, lanes);
                    add_to(sum.u_top.sum, Wide<C>::choose(c.top_x, c.u, Wide<C>{}));
                    add_to(sum.tops_x.sum, Wide<C>::of(c.top_x ? splat(C(1)) : V{}));
                    add_to(sum.tops_y.sum, Wide<C>::of((c.top_y ? splat(C(1)) : V{}) + (c.lost ? splat(C(lost)) : V{})));
                    c.e_x.scale = c.top_x ? V{} : c.e_x.scale;
                    c.e_y.scale = c.top_y ? V{} : c.e_y.scale;
                    sum.u.sum = add_product(sum.u.sum, factor_of(c.e_x) * c.u, c.e_x.scale);
                    sum.x.add(c.e_x);
                    sum.y.add(c.e_y);
                });
                totals.count[row.r] = Wide<C>{};
            });
        }
        // sum e (exp(w) - 1 - w), where exp(u) = e_y / e_x: the exponentials are over those of the tops.
        ONESUM_INLINE void sum_deviations(Group<W>& g, MoreTotals<W>& totals) {
            double shrinks[W::lanes], per_x[W::lanes], per_y[W::lanes];
            wide_to(shrinks, shrink);
            const auto one = wide_splat<C>(1);
            wide_to(per_x, (one / x.pivot()).scaled(Constants<C>::unbias));
            wide_to(per_y, (one / y.pivot()).scaled(Constants<C>::unbias));
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const Classes classes(*this, g, row);
                const auto mean = Wide<C>::of(row.of(mean_hi), row.of(mean_lo)), shrink = of_row<W>(row, shrinks), scale_x = of_row<W>(row, per_x), scale_y = of_row<W>(row, per_y);
                DeviationSum<C> sum(totals);
                row.accumulate(sum, [&](long j, auto lanes) ONESUM_INLINED {
                    const auto c = classes.at(j, lanes);
                    const auto e_x = factor_of(c.e_x) * Wide<C>::of(c.e_x.scale) * scale_x, e_y = factor_of(c.e_y) * Wide<C>::of(c.e_y.scale) * scale_y;
                    const auto u = classes.less_top(c), w = u - mean;
                    const V size = w.rounded();
                    const I small = (size < C(0.5)) & (size > C(-0.5));
                    add_to(sum.mean.sum, e_x * u);
                    const auto near = e_x * exp_less_line(Wide<C>::choose(small, w, Wide<C>{})), direct = e_y * shrink - e_x * (one + w);
                    add_to(sum.deviations.sum, Wide<C>::choose(c.lost, Wide<C>{}, Wide<C>::choose(small & c.live, near, direct)));
                });
            });
        }
        void end_deviations(Group<W>& g, MoreTotals<W>& totals) {
            double value[W::lanes];
            wide_to(value, log1p(g.walk.sum_of(totals.other) / all_x));
            for (int k = 0; k < W::lanes; ++k)
                if (is_near[k]) g.aims.losses[k] = value[k];
            known_value(g);
            const auto words = (g.walk.sum_of(totals.more[3]) / all_x).two_words();
            mean_hi = words.hi, mean_lo = words.lo;
            compare_complements();
        }
        // Whether q - p of the top is better told by 1 - p and 1 - q than by KL and w there, which is -mean.
        void compare_complements() {
            const V size = mean_hi < 0 ? -mean_hi : mean_hi;
            same_top = same_top & (complements < size + value_hi);
        }
    };
};

}  // namespace
