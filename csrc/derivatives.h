// The derivatives that start from the layer's output, p or log p.
//
// All are pivoted: j* is the first class of the largest p, w = v - v_{j*}. Since the p sum to one, J v = p (w - S) with S = sum p w over the others,
// and at the pivot, where w = 0, just -p S: no difference of nearly equal numbers is left. (Plainly, v - sum p v loses all digits when p -> 1.)
// Where p is 0 the derivative is exactly 0 and v is not read.
#pragma once

#include "normalizer.h"
#include "on_the_way.h"

namespace {

// Whether something that is not finite was met: then NaN and p = 0 are looked out for, class by class.
struct Clean { static constexpr bool careful = false; };
struct Careful { static constexpr bool careful = true; };

template <class W> struct Pivot {
    typename W::V value;     // the largest p, or log p
    typename W::I position;  // of the first class that has it, counted from `first`
    typename W::V v;         // the second input there,
    bool has_v;              // which is known in tiles of whole rows
    isize first;              // (a row in pieces may have more classes than a lane can count)
    bool finite;             // nothing is known to be amiss

    isize at(int row) const { return first + isize(position[row]); }
};

// For every row, the second input at the pivot.
template <class W> typename W::V pick(const Group<W>& g, const Pivot<W>& pivot) {
    if (pivot.has_v) return pivot.v;
    typename W::V x{};
    for (int k = 0; k < g.walk.count; ++k) x[k] = g.element.load(g.v.p + pivot.at(k) * g.v.along + k * g.v.across);
    return x;
}

template <bool logarithms> struct FromOutput {
    static constexpr bool rescales = false;
    static constexpr int known_from = 1;
    template <class W> using Sums = Totals<W>;
    template <class W> static ONESUM_APART Pivot<W> known(const Group<W>& g) {
        Pivot<W> pivot{};
        pivot.first = g.walk.first;
        if constexpr (W::across) look_across(g, pivot);
        else look_along(g, pivot);
        return pivot;
    }
    // What is known of all, from what is known of a piece and of the one after it.
    template <class W> static Pivot<W> together(const W&, Pivot<W> a, const Pivot<W>& b) {
        const auto larger = b.value > a.value;
        if constexpr (W::across) a.position = larger ? b.position + typename W::Int(b.first - a.first) : a.position;
        else if (larger[0]) a.position = b.position, a.first = b.first;
        a.value = larger ? b.value : a.value;
        a.finite &= b.finite;
        return a;
    }
    template <class W> static int form(const Group<W>&, const Pivot<W>& pivot) { return !pivot.finite; }
    template <class F> static ONESUM_INLINE void with(int form, F f) {
        if (form == 0) f(Clean{});
        else f(Careful{});
    }

  private:
    // An infinite or NaN log p makes the sum of all so.
    template <class W> static void look_across(const Group<W>& g, Pivot<W>& pivot) {
        using S = typename W::S;
        pivot.has_v = g.walk.n == g.classes;
        g.walk.rows([&](auto row) ONESUM_INLINED {
            // of a part of the rows only p is there yet
            const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[pivot.has_v]);
            auto m = splat(typename W::C(-infinity));
            typename W::V v{}, sum{};
            typename W::I position{};
            row.each([&](isize j, auto) ONESUM_INLINED {
                const auto p = load<S>(p_at.at(j));
                const typename W::I larger = p > m;
                m = larger ? p : m;
                v = larger ? load<S>(v_at.at(j)) : v;
                position = larger ? typename W::I{} + typename W::Int(j) : position;
                if constexpr (logarithms) sum = sum + p;
            });
            pivot.value = m, pivot.v = v, pivot.position = position;
            pivot.finite = !logarithms || !any(sum - sum != 0);
        });
    }
    template <class W> static void look_along(const Group<W>& g, Pivot<W>& pivot) {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        V largest[W::views];
        pivot.finite = true;
        g.walk.rows([&](auto row) ONESUM_INLINED {
            const auto p_at = row.of(g.in[0]);
            V m = splat(C(-infinity)), sum{};
            row.each([&](isize j, auto lanes) ONESUM_INLINED {
                V p = read<S>(p_at.at(j), lanes, splat(C(-infinity)));
                m = max(p, m);
                if constexpr (logarithms) sum = sum + (lanes.all ? p : keep_lanes(p, lanes.count, V{}));
            });
            largest[row.r] = m;
            if constexpr (logarithms) pivot.finite &= !any(sum - sum != 0);
        });
        pivot.value = g.walk.max_of(largest);
        for (int r = 0; r < g.walk.count; ++r) {
            const typename W::Row row{g.walk.n, r};
            const auto p_at = row.of(g.in[0]);
            const auto value = row.of(pivot.value);
            for (isize j = 0; j < row.n; j += W::lanes) {
                const int count = row.n - j < W::lanes ? int(row.n - j) : W::lanes;
                const typename W::I here = (count < W::lanes ? read<S>(p_at.at(j), SomeLanes{count}, splat(C(not_a_number))) : load<S>(p_at.at(j))) == value;
                if (!any(here)) continue;
                pivot.position[r] = typename W::Int(j + first_true(here));
                break;
            }
        }
    }
};

// x / T in two words: x itself where T is 1. What is infinite has no second word.
template <class C, class V> ONESUM_INLINE Sum2<V> over(Sum2<V> x, const InverseTemperature<C>& inverse) {
    const V z = x.hi * inverse.hi, rest = fma(x.lo, inverse.hi, fma(x.hi, inverse.lo, product_error(x.hi, inverse.hi, z)));
    return {z, z - z == 0 ? rest : V{}};
}

// (w - S) / T in two words, with w = v - v_pivot; S is over T already.
template <class C, class V> ONESUM_INLINE Sum2<V> deviation(V v, V v_pivot, Sum2<V> sum, const InverseTemperature<C>& inverse, bool scaled) {
    auto w = two_sum(v, -v_pivot);
    if (scaled) w = over<C>(w, inverse);
    const auto d = two_sum(w.hi, -sum.hi);
    const V rest = d.lo + (w.lo - sum.lo);
    return {d.hi, d.hi - d.hi == 0 ? rest : V{}};
}

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
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        V v_pivot, sum_hi, sum_lo, nan;
        InverseTemperature<C> inverse;

        Run(const Group<W>& g, const Pivot<W>& pivot) : inverse(inverse_temperature(g)) {
            v_pivot = pick(g, pivot);
            v_pivot = pivot.value > 0 ? v_pivot : V{};
        }
        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const V v_pivot = row.of(this->v_pivot);
                const auto c = Wide<C>::of(v_pivot);
                Next<W> next(g, row, 0);
                WideSum<C> sum(totals.sum);
                V nan{};
                row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                    next.fetch(j);
                    const char *p_here = p_at.at(j), *v_here = v_at.at(j);
                    if constexpr (Form::careful) {
                        V p = read<S>(p_here, lanes, V{}), v = read<S>(v_here, lanes, V{});
                        nan = p != p ? p : nan;
                        add_weighted(sum.sum, Wide<C>::of(p), Wide<C>::of(p == 0 ? v_pivot : v), c);
                    } else {
                        add_weighted(sum.sum, read_wide<S>(p_here, lanes), read_wide<S>(v_here, lanes), c);
                    }
                });
                if constexpr (Form::careful) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        Then end(Group<W>& g, Totals<W>& totals) {
            auto total = g.walk.sum_of(totals.sum);
            if (g.scaled) total = total * inverse.wide();
            const auto sum = total.two_words();
            sum_hi = sum.hi, sum_lo = sum.lo;
            if constexpr (Form::careful) {
                nan = count_of(g.walk, totals.count).rounded();
                sum_hi = sum_hi + nan;
                return Then::nothing;
            } else {
                return any(first_lanes<typename W::I>(g.walk.count) & (sum_hi - sum_hi != 0)) ? Then::carefully : Then::nothing;
            }
        }
        ONESUM_APART void write(Group<W>& g) const {
            if (g.scaled) walk<true>(g);
            else walk<false>(g);
        }

      private:
        template <bool scaled> ONESUM_INLINE void walk(Group<W>& g) const {
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]), out = row.of(g.out);
                const V v_pivot = row.of(this->v_pivot);
                const Sum2<V> sum{row.of(sum_hi), row.of(sum_lo)};
                InverseTemperature<C> inverse{};
                if constexpr (scaled) inverse = {row.of(this->inverse.hi), row.of(this->inverse.lo), V{}};
                Next<W> next(g, row, 1);
                V nan{};
                if constexpr (Form::careful) nan = row.of(this->nan);
                row.each_line(g.out, g.streamed, [&](isize j, auto lanes) ONESUM_INLINED {
                    next.fetch(j);
                    V p = read<S>(p_at.at(j), lanes, V{});
                    V v = read<S>(v_at.at(j), lanes, V{});
                    V y = times_deviation(p, v, v_pivot, sum, inverse, scaled);
                    ::write_derivative<S>(out.at(j), lanes, p == 0 ? nan : y, g.streamed);
                });
            });
        }
    };
};

// exp(log p) over `power`, so that the digits of a p below the normal numbers are there; what is below the range even so is 0. Where the largest is above 0, as no
// log-probability is, its exponent is set aside so that nothing wraps.
template <class C> struct Exponentials {
    using V = typename Vec<C>::V;
    using K = Constants<C>;
    V rounder, power;

    explicit Exponentials(V largest) {
        V top = largest > 0 ? largest : V{};
        top = top < K::far ? top : splat(C(K::far));
        const V exponent = nearest_exponent(top);
        rounder = rounder_for(exponent);
        power = bits<V>(bits<typename Vec<C>::I>(exponent + (K::rounder + K::exponent_of_one)) << K::mantissa) * K::unbias;
        power = top < C(sizeof(C) == 4 ? 88.7 : 709.7) ? power : splat(C(infinity));
    }
    Exponentials(V rounder, V power) : rounder(rounder), power(power) {}
    template <class Row> Exponentials of(const Row& row) const { return {row.of(rounder), row.of(power)}; }
    ONESUM_INLINE V operator()(V logp) const {
        const V e = exp_parts<true>(max(splat(K::below), logp), V{}, rounder).rounded();
        return logp <= K::below ? V{} : e;
    }
};

// What log_softmax's derivatives have in common.
template <class W> struct FromLogarithms {
    using S = typename W::S;
    using C = typename W::C;
    using V = typename W::V;
    static constexpr C nothing = C(-infinity);
    Pivot<W> pivot;
    V v_pivot, nan{};
    Exponentials<C> exponential;
    InverseTemperature<C> inverse;

    FromLogarithms(const Group<W>& g, const Pivot<W>& pivot)
        : pivot(pivot), exponential(pivot.value), inverse(inverse_temperature(g)) {
        v_pivot = pick(g, pivot);
        v_pivot = pivot.value > nothing ? v_pivot : V{};
    }
};

// (w - S) / T with S = sum p w
struct LogSoftmaxJvp : FromOutput<true> {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : FromLogarithms<W> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using FromLogarithms<W>::FromLogarithms;
        static constexpr C nothing = C(-infinity);
        V sum_hi, sum_lo;
        Excess<W> excess;

        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const V v_pivot = row.of(this->v_pivot);
                const auto c = Wide<C>::of(v_pivot);
                const auto exponential = this->exponential.of(row);
                WideSum<C> sum(totals.sum);
                V nan{};
                const V left = row.of(excess.left);
                row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                    V logp = read<S>(p_at.at(j), lanes, splat(nothing));
                    V v = read<S>(v_at.at(j), lanes, V{});
                    if constexpr (Form::careful) {
                        nan = logp != logp ? logp : nan;
                        v = logp == nothing ? v_pivot : v;
                    } else if constexpr (!lanes.all) {
                        v = keep_lanes(v, lanes.count, v_pivot);
                    }
                    add_weighted(sum.sum, Wide<C>::of(Excess<W>::of(exponential(logp), left)), Wide<C>::of(v), c);
                });
                if constexpr (Form::careful) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        Then end(Group<W>& g, Totals<W>& totals) {
            auto total = g.walk.sum_of(totals.sum);
            if (g.scaled) total = total * this->inverse.wide();
            const auto sum = excess.undone(total).scaled(this->exponential.power / Constants<C>::unbias).two_words();
            if constexpr (Form::careful) this->nan = count_of(g.walk, totals.count).rounded();
            sum_hi = sum.hi + this->nan, sum_lo = sum.lo;
            return excess.too_much(g, sum_hi) ? Then::again : Then::nothing;
        }
        ONESUM_APART void write(Group<W>& g) const {
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]), out = row.of(g.out);
                const V v_pivot = row.of(this->v_pivot), nan = row.of(this->nan);
                const Sum2<V> sum{row.of(sum_hi), row.of(sum_lo)};
                InverseTemperature<C> inverse{};
                if (g.scaled) inverse = {row.of(this->inverse.hi), row.of(this->inverse.lo), V{}};
                row.each_line(g.out, g.streamed, [&](isize j, auto lanes) ONESUM_INLINED {
                    V v = read<S>(v_at.at(j), lanes, V{});
                    const auto d = deviation(v, v_pivot, sum, inverse, g.scaled);
                    V y = d.hi + d.lo;
                    if constexpr (Form::careful) y = read<S>(p_at.at(j), lanes, V{}) == nothing ? nan : y;
                    ::write_derivative<S>(out.at(j), lanes, y, g.streamed);
                });
            });
        }
    };
};

// (g_i - p_i sum g) / T; at the pivot g (1 - p) - p sum of the other g, with 1 - p the sum of the other p
struct LogSoftmaxVjp : FromOutput<true> {
    static constexpr bool needs_memo = false;
    template <class Form, class W> struct Run : FromLogarithms<W> {
        using S = typename W::S;
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using FromLogarithms<W>::FromLogarithms;
        static constexpr C nothing = C(-infinity);
        Wide<C> others;
        V all, all_lo;  // sum g / T
        V p_power, all_power;  // exponential.power as factors of p and of all: neither may take digits from p sum g

        ONESUM_APART void sum(Group<W>& g, Totals<W>& totals) {
            const isize first = this->pivot.first - g.walk.first;
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const auto pivot = row.chosen(this->pivot.position, first);
                Next<W> next(g, row, 0);
                WideSum<C> sum(totals.sum);
                V nan{};
                row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                    next.fetch(j);
                    if (Form::careful || pivot.may_be_at(j)) {
                        V v = read<S>(v_at.at(j), lanes, V{});
                        v = pivot.at(j) ? V{} : v;
                        if constexpr (Form::careful) {
                            V logp = read<S>(p_at.at(j), lanes, splat(nothing));
                            nan = logp != logp ? logp : nan;
                            v = logp == nothing ? V{} : v;
                        }
                        add_to(sum.sum, Wide<C>::of(v));
                    } else {
                        add_to(sum.sum, read_wide<S>(v_at.at(j), lanes));
                    }
                });
                if constexpr (Form::careful) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        void end(Group<W>& g, Totals<W>& totals) {
            if constexpr (Form::careful) this->nan = count_of(g.walk, totals.count).rounded();
            others = g.walk.sum_of(totals.sum);
            auto total = others + Wide<C>::of(this->v_pivot);
            if (g.scaled) total = total * this->inverse.wide();
            const auto words = total.two_words();
            all = words.hi + this->nan;
            const V one = splat(C(1)), size = all < 0 ? -all : all;
            p_power = size < 1 ? this->exponential.power : one;
            all_power = size < 1 ? one : this->exponential.power;
            all = all * all_power;
            all_lo = all - all == 0 ? words.lo * all_power : V{};
        }
        // On the way the other p are summed, for what comes last.
        ONESUM_APART void write(Group<W>& g, Totals<W>& totals) const {
            const isize first = this->pivot.first - g.walk.first;
            g.walk.rows([&](auto row) ONESUM_INLINED {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const auto pivot = row.chosen(this->pivot.position, first);
                const V all = row.of(this->all), all_lo = row.of(this->all_lo), p_power = row.of(this->p_power), nan = row.of(this->nan), hi = row.of(this->inverse.hi), lo = row.of(this->inverse.lo);
                const auto exponential = this->exponential.of(row);
                Next<W> next(g, row, 1);
                alignas(64) char room[OnTheWay<W>::room];
                OnTheWay<W> sum(totals.sum, row, g, room);
                row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                    next.fetch(j);
                    V logp = read<S>(p_at.at(j), lanes, splat(nothing));
                    V v = read<S>(v_at.at(j), lanes, V{});
                    V p = exponential(logp) * p_power;
                    Sum2<V> z{v, V{}};
                    if (g.scaled) z = over<C>(z, {hi, lo, V{}});
                    V y;
                    if constexpr (fused) {
                        y = fma(-p, all, z.hi);
                        if (g.scaled) y = y + z.lo;
                    } else {  // the product and the sum are rounded one by one
                        const auto d = two_sum(z.hi, -p * all);
                        y = d.hi - d.hi == 0 ? d.hi + (d.lo + (z.lo - p * all_lo)) : d.hi;
                    }
                    if constexpr (Form::careful) y = logp == nothing ? nan : y;
                    if (pivot.may_be_at(j)) p = pivot.at(j) ? V{} : p;
                    add_to(sum.sum, Wide<C>::of(p));
                    ::write_derivative<S>(sum.to.at(j), lanes, y, sum.streamed);
                });
            });
        }
        void last(Group<W>& g, Totals<W>& totals) const {
            const auto p_pivot = Wide<C>::of(this->exponential(this->pivot.value) * this->exponential.power);
            auto there = Wide<C>::of(this->v_pivot), elsewhere = others;
            if (g.scaled) there = there * this->inverse.wide(), elsewhere = elsewhere * this->inverse.wide();
            const auto y = there.scaled(all_power) * g.walk.sum_of(totals.sum) - p_pivot * elsewhere;
            const V at_pivot = (this->pivot.value > nothing ? y.rounded() : V{}) + this->nan;  // 0 is +0, as write_derivative has it
            if constexpr (W::across)
                if (this->pivot.has_v) return put_across(g, at_pivot);
            for (int k = 0; k < g.walk.count; ++k)
                g.element.store(g.result.p + this->pivot.at(k) * g.result.along + k * g.result.across, at_pivot[k]);
        }

      private:
        // Into a tile of whole rows.
        ONESUM_INLINE void put_across(const Group<W>& g, V at_pivot) const {
            for (int k = 0; k < g.walk.count; ++k) memcpy(g.out.p + isize(this->pivot.position[k]) * g.out.along + k * sizeof(C), reinterpret_cast<const C*>(&at_pivot) + k, sizeof(C));
        }
    };
};

}  // namespace
