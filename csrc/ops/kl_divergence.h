// The Kullback-Leibler divergence of two rows of logits, and its gradients.
//
// With u = (y - x) / T, less what it is at the top of x, and w = u - sum p u: KL = log1p(sum p (exp(w) - 1 - w)), of
// which no term is negative, however near the two rows are. That takes the mean of u first, and a second pass. Where
// they are far apart, KL is log1p(r_y) - log1p(r_x) + (m_y - y) / T - sum p u, with y at the top of x. log(q / p) = w -
// KL, so the gradients are -p w / T by x and p (exp(w - KL) - 1) / T = (q - p) / T by y.
#pragma once

#include "numerics/log1p.h"
#include "ops/soft_targets.h"

namespace {

// (exp(w) - 1 - w) / w^2 for abs(w) <= 1/2, to 2^-31 (2^-57) of it but for roundings, and without the division
template <int terms> f64v exp_less_line(f64v w) {
    f64v y{};
    for (int k = terms; k > 1; --k) y = (y * w + 1.0) * (1 / double(k));
    return y;
}
inline Wide<float> exp_less_line(Wide<float> w) {
    return Wide<float>{exp_less_line<10>(w.a), exp_less_line<10>(w.b)} * w * w;
}
inline Wide<double> exp_less_line(Wide<double> w) { return Wide<double>::of(exp_less_line<16>(w.rounded())) * (w * w); }

// (y - y_top) - (x - x_top), in twice the digits: the levels of the two rows may be far apart, or the rows nearly equal
// but for that.
inline f64v apart(f64v y, f64v y_top, f64v x, f64v x_top) {
    const auto b = two_sum(y, -y_top), a = two_sum(x, -x_top), sum = two_sum(b.hi, -a.hi);
    return sum.hi + (sum.lo + (b.lo - a.lo));
}
inline Wide<float> apart(Wide<float> y, Wide<float> y_top, Wide<float> x, Wide<float> x_top) {
    return {apart(y.a, y_top.a, x.a, x_top.a), apart(y.b, y_top.b, x.b, x_top.b)};
}
inline Wide<double> apart(Wide<double> y, Wide<double> y_top, Wide<double> x, Wide<double> x_top) {
    return (y - y_top) - (x - x_top);
}

// Means of u are sums of exponentials times u. Of float lanes they are doubles, and hold them with the scales' excess;
// those of double lanes must do without it where u may be anything.
template <class C> constexpr C without_excess() { return sizeof(C) == 4 ? C(1) : Constants<C>::inv_scale_bias; }
template <class C> constexpr C excess_left() { return sizeof(C) == 4 ? Constants<C>::inv_scale_bias : C(1); }

// The sums of the first pass: both exponentials, the first times u below its top, u at the top, and how many classes
// attain the tops.
template <class C> struct DivergenceSum : JointSum<DivergenceSum<C>, ExpSum<C>::interval> {
    ExpSum<C> x, y;
    WideSum<C> u, u_top, tops_x, tops_y;
    template <class T> ONESUM_INLINE explicit DivergenceSum(T& totals)
        : x(totals.sum), y(totals.more[0]), u(totals.other), u_top(totals.more[3]), tops_x(totals.more[1]),
          tops_y(totals.more[2]) {}
    ONESUM_INLINE void for_each(auto f) { f(x), f(y), f(u), f(u_top), f(tops_x), f(tops_y); }
};

// The sums of the second pass: the deviations, and the mean of u once more, less what it is at the top before anything
// is summed.
template <class C> struct DeviationSum : JointSum<DeviationSum<C>, 0> {
    WideSum<C> deviations, mean;
    template <class T> ONESUM_INLINE explicit DeviationSum(T& totals)
        : deviations(totals.other), mean(totals.more[3]) {}
    ONESUM_INLINE void for_each(auto f) { f(deviations), f(mean); }
};

// The maxima, and the largest y where x attains its own.
template <class V> struct Tops { V x, y, y_there; };
template <class W> ONESUM_NOINLINE typename W::V max_where_top(const RowBlock<W>& g, typename W::V tops) {
    using V = typename W::V;
    const V nothing = splat(typename W::C(-infinity));
    V partial[W::views];
    g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
        const Logits<General, W> x(g, row, 0), y(g, row, 1);
        const V top = row.of(tops);
        V m = nothing;
        row.for_each([&](isize j, auto lanes)
                         ONESUM_FORCE_INLINE { m = max(x.at(j, lanes) == top ? y.at(j, lanes) : nothing, m); });
        partial[row.r] = m;
    });
    return g.walk.max_of(partial);
}

struct KlDivergence {
    static constexpr bool online_max = false, always_general = true;
    static constexpr ExpCache exp_cache = ExpCache::none;
    static constexpr int prepass_inputs = 2;
    template <class W> using Sums = MoreTotals<W>;
    template <class W> static Tops<typename W::V> prepass(const RowBlock<W>& g) {
        const auto top = row_max(g, 0);
        return {top, row_max(g, 1), max_where_top(g, top)};
    }
    template <class W, class V> static Tops<V> combine(const W&, Tops<V> a, Tops<V> b) {
        const V both = max(b.y_there, a.y_there);
        return {max(b.x, a.x), max(b.y, a.y), a.x > b.x ? a.y_there : b.x > a.x ? b.y_there : both};
    }

    template <class Path, class W> struct Run {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        Shift<Path, W> x, y;
        V y_there;                   // at the top of x: from there u is counted
        bool second = false;         // pass
        V mean_hi{}, mean_lo{};      // of u, less what it is at the top
        PerRow<W> u_at_max;          // u there
        I one_top{}, same_top{};     // of x; where that of y is, and the complements tell the gradient there best
        V at_same_top, complements;  // that gradient; 1 - p and 1 - q there, added
        V value_hi, value_lo;        // KL, where w is needed
        V mean_scale;  // what takes the scales' excess out of the second sum of the mean: nothing where KL, and with it
                       // what is summed, leaves room for it
        Wide<C> all_x, all_y, inverse_x, inverse_y,
            shrink;    // exp of all over that of the top; 1 / all; exp(KL) without the logarithms
        V nan, nan_y;  // of a row whose KL is not finite; is NaN
        bool is_near[W::lanes];

        Run(const RowBlock<W>& g, const Tops<V>& tops) : x(g, tops.x), y(g, tops.y), y_there(tops.y_there) {
            u_at_max.set(Wide<C>{});
        }

        // What is known of a class: its exponentials, and u.
        struct Class {
            Exp<C> e_x, e_y;
            I top_x, top_y, live, no_q;
            Wide<C> u;
        };
        struct Classes {
            const Logits<Path, W> x, y;
            const Terms<Path, C> terms_x, terms_y;
            const V m_x, m_y, y_there;
            const Wide<C> inverse, base;
            const I one_top;

            ONESUM_INLINE Classes(const Run& run, const RowBlock<W>& g, const typename W::Row& row)
                : x(g, row, 0), y(g, row, 1), terms_x(run.x.of(row)), terms_y(run.y.of(row)), m_x(row.of(run.x.m)),
                  m_y(row.of(run.y.m)), y_there(row.of(run.y_there)),
                  inverse(Wide<C>::of(row.of(run.x.inverse.hi), row.of(run.x.inverse.lo))), base(run.u_at_max.of(row)),
                  one_top(bit_cast<I>(row.of(bit_cast<V>(run.one_top)))) {}
            // u less what it is at the top.
            ONESUM_INLINE Wide<C> less_top(const Class& c) const {
                return Wide<C>::choose((c.top_x & one_top) | ~c.live | c.no_q, Wide<C>{}, c.u - base);
            }
            ONESUM_INLINE Class at(isize j, auto lanes) const {
                const V a = x.at(j, lanes), b = y.at(j, lanes);
                Class result{terms_x.term(a),
                             terms_y.term(b),
                             (a == m_x) & (a > C(-infinity)),
                             (b == m_y) & (b > C(-infinity)),
                             {},
                             {},
                             {}};
                result.live = result.e_x.scale != 0;
                const V below = b - m_y;
                result.no_q = result.live & ~result.top_y & (below == C(-infinity));
                // Of a row that has a logit of +inf in x, p is 1 there and 0 elsewhere.
                const I won = m_x == C(infinity), counts = result.live & ~result.no_q & (~won | result.top_x) &
                                                           (m_y < C(infinity)) & (y_there > C(-infinity));
                const auto difference = apart(Wide<C>::of(b), Wide<C>::of(y_there), Wide<C>::of(won ? V{} : a),
                                              Wide<C>::of(won ? V{} : m_x));
                result.u = Wide<C>::choose(counts, difference * inverse, Wide<C>{});
                return result;
            }
        };
        ONESUM_NOINLINE void sum(RowBlock<W>& g, MoreTotals<W>& totals) {
            if (second) sum_deviations(g, totals);
            else sum_all(g, totals);
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, MoreTotals<W>& totals) {
            if (second) return finish_deviations(g, totals), Next::done;
            const auto one = wide_splat<C>(1);
            double tops_x[W::lanes], tops_y[W::lanes], value[W::lanes];
            wide_to(tops_x, g.walk.sum_of(totals.more[1]));
            wide_to(tops_y, g.walk.sum_of(totals.more[2]));
            bool is_infinite[W::lanes];
            for (int k = 0; k < W::lanes; ++k) is_infinite[k] = take_infinite_terms(tops_y[k]);
            const auto below = g.walk.sum_of(totals.sum).scaled(Constants<C>::inv_scale_bias);
            const auto r_x = below / x.pivot() + (wide_from<C>(tops_x) - one);
            const auto r_y = g.walk.sum_of(totals.more[0]).scaled(Constants<C>::inv_scale_bias) / y.pivot() +
                             (wide_from<C>(tops_y) - one);
            all_x = one + r_x, all_y = one + r_y;
            inverse_x = one / (x.pivot() * all_x), inverse_y = one / (y.pivot() * all_y);
            const auto base = g.walk.sum_of(totals.more[3]) / wide_from<C>(tops_x);
            const auto mean_below = (g.walk.sum_of(totals.other).scaled(excess_left<C>()) - base * below) * inverse_x,
                       mean_u = base + mean_below;
            u_at_max.set(base);
            one_top = wide_from<C>(tops_x).rounded() == C(1);
            const I levels = (y.m < C(infinity)) & (y_there > C(-infinity));
            const auto rest =
                Wide<C>::choose(levels, Wide<C>::of(y.m) - Wide<C>::of(y_there), Wide<C>{}) * x.inverse.wide() - mean_u;
            wide_to(value, log1p(r_y) - log1p(r_x) + rest);
            bool near = false;
            nan = nan_y = V{};
            for (int k = 0; k < W::lanes; ++k) {
                const double m_x = x.m[k], m_y = y.m[k];
                double& loss = g.targets.losses[k];
                loss = value[k];
                if (m_x == -infinity || m_y == -infinity) {
                    const bool nothing = k < g.walk.count && nothing_left(g, k);
                    loss = nothing ? 0 : not_a_number;
                } else if ((m_x == infinity && tops_x[k] != 1) || (m_y == infinity && tops_y[k] != 1)) {
                    loss = not_a_number;
                } else if (is_infinite[k] && value[k] == value[k]) {
                    loss = infinity;
                }
                if (!(loss - loss == 0)) nan[k] = C(not_a_number);
                if (loss != loss) nan_y[k] = C(not_a_number);
                is_near[k] = k < g.walk.count && loss < 1 && m_x > -infinity;
                near |= is_near[k];
            }
            const auto words = mean_below.two_words(), rest_words = rest.two_words();
            mean_hi = words.hi, mean_lo = words.lo;
            const auto complement_x = r_x / all_x, complement_y = r_y / all_y;
            same_top = one_top & (wide_from<C>(tops_y).rounded() == C(1));
            at_same_top =
                ((complement_x - complement_y) * wide_splat<C>(g.targets.options->grad_scale) * x.inverse.wide())
                    .rounded();
            complements = (complement_x + complement_y).rounded();
            const V large = splat(C(80));  // where the mean of u is larger, the rows are not near
            const auto e =
                exp_parts<false>(max(-max(-rest_words.hi, -large), -large), rest_words.lo, magic_bias_for(V{}));
            shrink = factor_of<C>(e) * Wide<C>::of(e.scale * Constants<C>::inv_scale_bias);
            known_value(g);
            mean_scale = value_hi < C(sizeof(C) == 4 ? infinity : 0x1p400) ? splat(C(1)) : splat(without_excess<C>());
            second = true;
            return near || g.targets.options->gradient ? Next::another_pass : Next::done;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            const auto factor = wide_splat<C>(g.targets.options->grad_scale) * x.inverse.wide();
            PerRow<W> per_x, per_y;
            per_x.set(inverse_x * factor);
            per_y.set(inverse_y * factor);
            const bool by_second = g.targets.options->by_second;
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const Classes classes(*this, g, row);
                const V row_value = row.of(value_hi);
                const auto mean = Wide<C>::of(row.of(mean_hi), row.of(mean_lo)),
                           value = Wide<C>::of(row_value, row.of(value_lo));
                const auto scale_x = per_x.of(row), scale_y = per_y.of(row);
                const V nan = row.of(by_second ? nan_y : this->nan), at_same_top = row.of(this->at_same_top);
                const I at_tops = bit_cast<I>(row.of(bit_cast<V>(same_top)));
                const auto out = row.of(g.out);
                row.for_each_by_lines(g.out, least_by_lines(g.streamed), [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    const auto c = classes.at(j, lanes);
                    const auto p = factor_of<C>(c.e_x) * Wide<C>::of(c.e_x.scale), w = classes.less_top(c) - mean;
                    V result;
                    I dead;
                    if (by_second) {
                        const auto q = factor_of<C>(c.e_y) * Wide<C>::of(c.e_y.scale), delta = w - value;
                        const V size = w.rounded();
                        const I small =
                            c.live & ~c.no_q &
                            ((size < 0 ? -size : size) + row_value < C(0.5));  // or delta has lost its digits
                        const auto near = exp_less_line(Wide<C>::choose(small, delta, Wide<C>{})) + delta;
                        const V apart = (q * scale_y - p * scale_x).scaled(Constants<C>::inv_scale_bias).rounded();
                        result = (small ? unbiased_product(p, near * scale_x).rounded() : apart) + nan;
                        result = at_tops & c.top_x & c.top_y ? at_same_top + nan : result;
                        dead = classes.y.at(j, lanes) == C(-infinity);
                    } else {
                        result = (c.live ? -unbiased_product(p, w * scale_x).rounded() : V{}) + nan;
                        dead = classes.x.at(j, lanes) == C(-infinity);
                    }
                    ::write_derivative<C>(out.at(j), lanes, dead ? V{} : result, g.streamed);
                });
            });
        }

      private:
        void known_value(RowBlock<W>& g) {
            const auto words = wide_from<C>(g.targets.losses).two_words();
            value_hi = words.hi, value_lo = words.lo;
        }
        ONESUM_INLINE void sum_all(RowBlock<W>& g, MoreTotals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const Classes classes(*this, g, row);
                row.accumulate(DivergenceSum<C>(totals), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    auto c = classes.at(j, lanes);
                    add_to(sum.u_top.sum, Wide<C>::choose(c.top_x, c.u, Wide<C>{}));
                    add_to(sum.tops_x.sum, Wide<C>::of(c.top_x ? splat(C(1)) : V{}));
                    add_to(sum.tops_y.sum,
                           Wide<C>::of((c.top_y ? splat(C(1)) : V{}) + (c.no_q ? splat(C(infinite_term)) : V{})));
                    c.e_x.scale = c.top_x ? V{} : c.e_x.scale;
                    c.e_y.scale = c.top_y ? V{} : c.e_y.scale;
                    sum.u.sum = add_product(sum.u.sum, factor_of<C>(c.e_x) * c.u, c.e_x.scale * without_excess<C>());
                    sum.x.add(c.e_x);
                    sum.y.add(c.e_y);
                });
                totals.count[row.r] = Wide<C>{};
            });
        }
        // sum e (exp(w) - 1 - w), where exp(u) = e_y / e_x: the exponentials are over those of the tops.
        ONESUM_INLINE void sum_deviations(RowBlock<W>& g, MoreTotals<W>& totals) {
            PerRow<W> shrinks, per_x, per_y;
            shrinks.set(shrink);
            const auto one = wide_splat<C>(1);
            per_x.set((one / x.pivot()).scaled(Constants<C>::inv_scale_bias));
            per_y.set((one / y.pivot()).scaled(Constants<C>::inv_scale_bias));
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const Classes classes(*this, g, row);
                const V mean_scale = row.of(this->mean_scale);
                const auto mean = Wide<C>::of(row.of(mean_hi), row.of(mean_lo)), shrink = shrinks.of(row),
                           scale_x = per_x.of(row), scale_y = per_y.of(row);
                row.accumulate(DeviationSum<C>(totals), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    const auto c = classes.at(j, lanes);
                    const auto e_x = factor_of<C>(c.e_x) * Wide<C>::of(c.e_x.scale) * scale_x,
                               e_y = factor_of<C>(c.e_y) * Wide<C>::of(c.e_y.scale) * scale_y;
                    const auto u = classes.less_top(c), w = u - mean;
                    const V size = w.rounded();
                    const I small = (size < C(0.5)) & (size > C(-0.5));
                    sum.mean.sum = add_product(sum.mean.sum, factor_of<C>(c.e_x) * u, c.e_x.scale * mean_scale);
                    const auto near = e_x * exp_less_line(Wide<C>::choose(small, w, Wide<C>{})),
                               direct = e_y * shrink - e_x * (one + w);
                    add_to(sum.deviations.sum,
                           Wide<C>::choose(c.no_q, Wide<C>{}, Wide<C>::choose(small & c.live, near, direct)));
                });
            });
        }
        void finish_deviations(RowBlock<W>& g, MoreTotals<W>& totals) {
            double value[W::lanes];
            wide_to(value, log1p(g.walk.sum_of(totals.other) / all_x));
            for (int k = 0; k < W::lanes; ++k)
                if (is_near[k]) g.targets.losses[k] = value[k];
            known_value(g);
            const auto words =
                (g.walk.sum_of(totals.more[3]).scaled(Constants<C>::inv_scale_bias / mean_scale) / (x.pivot() * all_x))
                    .two_words();
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
