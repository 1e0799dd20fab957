// The derivatives of log_softmax.
#pragma once

#include "ops/pivot.h"

namespace {

// exp(log p) over `power`, so that the digits of a p below the normal numbers are there; what is below the range even
// so is 0. Where the largest is above 0, as no log-probability is, its exponent is set aside so that nothing wraps.
template <class C> struct Exponentials {
    using V = typename Vec<C>::V;
    using K = Constants<C>;
    V magic_bias, power;

    explicit Exponentials(V largest) {
        V top = largest > 0 ? largest : V{};
        top = top < K::exact_shift_limit ? top : splat(C(K::exact_shift_limit));
        const V exponent = nearest_exponent(top);
        magic_bias = magic_bias_for(exponent);
        power =
            bit_cast<V>(bit_cast<typename Vec<C>::I>(exponent + (K::magic_bias + K::exponent_of_one)) << K::mantissa) *
            K::inv_scale_bias;
        power = top < C(sizeof(C) == 4 ? 88.7 : 709.7) ? power : splat(C(infinity));
    }
    Exponentials(V magic_bias, V power) : magic_bias(magic_bias), power(power) {}
    template <class Row> Exponentials of(const Row& row) const { return {row.of(magic_bias), row.of(power)}; }
    ONESUM_INLINE V operator()(V logp) const {
        const V e = exp_parts<true>(max(splat(K::underflow_cutoff), logp), V{}, magic_bias).rounded();
        return logp <= K::underflow_cutoff ? V{} : e;
    }
};

// What log_softmax's derivatives have in common.
template <class W> struct FromLogarithms {
    using C = typename W::C;
    using V = typename W::V;
    static constexpr C nothing = C(-infinity);
    Pivot<W> pivot;
    V v_pivot, nan{};
    Exponentials<C> exponential;
    InverseTemperature<C> inverse;

    FromLogarithms(const RowBlock<W>& g, const Pivot<W>& pivot)
        : pivot(pivot), exponential(pivot.value), inverse(inverse_temperature(g)) {
        v_pivot = pick(g, pivot);
        v_pivot = pivot.value > nothing ? v_pivot : V{};
    }
};

// (w - S) / T with S = sum p w
struct LogSoftmaxJvp : FromOutput<true> {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class Path, class W> struct Run : FromLogarithms<W> {
        using C = typename W::C;
        using V = typename W::V;
        using FromLogarithms<W>::FromLogarithms;
        static constexpr C nothing = C(-infinity);
        V sum_hi, sum_lo;
        Excess<W> excess;

        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const V v_pivot = row.of(this->v_pivot);
                const auto c = Wide<C>::of(v_pivot);
                const auto exponential = this->exponential.of(row);
                V nan{};
                const V left = row.of(excess.left);
                row.accumulate(WideSum<C>(totals.sum), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    V logp = read<C>(p_at.at(j), lanes, splat(nothing));
                    V v = read<C>(v_at.at(j), lanes, V{});
                    if constexpr (Path::general) {
                        nan = logp != logp ? logp : nan;
                        v = logp == nothing ? v_pivot : v;
                    } else if constexpr (!lanes.all) {
                        v = keep_lanes(v, lanes.count, v_pivot);
                    }
                    add_weighted(sum.sum, Wide<C>::of(Excess<W>::of(exponential(logp), left)), Wide<C>::of(v), c);
                });
                if constexpr (Path::general) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            auto total = g.walk.sum_of(totals.sum);
            if (g.scaled) total = total * this->inverse.wide();
            const auto sum =
                excess.undone(total).scaled(this->exponential.power / Constants<C>::inv_scale_bias).two_words();
            if constexpr (Path::general) this->nan = g.walk.sum_of_views(totals.count).rounded();
            sum_hi = sum.hi + this->nan, sum_lo = sum.lo;
            return excess.too_much(g, sum_hi) ? Next::another_pass : Next::done;
        }
        ONESUM_NOINLINE void write(RowBlock<W>& g) const {
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]), out = row.of(g.out);
                const V v_pivot = row.of(this->v_pivot), nan = row.of(this->nan);
                const Sum2<V> sum{row.of(sum_hi), row.of(sum_lo)};
                InverseTemperature<C> inverse{};
                if (g.scaled) inverse = {row.of(this->inverse.hi), row.of(this->inverse.lo), V{}};
                row.for_each_by_lines(g.out, least_by_lines(g.streamed), [&](isize j, auto lanes) ONESUM_FORCE_INLINE {
                    V v = read<C>(v_at.at(j), lanes, V{});
                    const auto d = deviation(v, v_pivot, sum, inverse, g.scaled);
                    V y = d.hi + d.lo;
                    if constexpr (Path::general) y = read<C>(p_at.at(j), lanes, V{}) == nothing ? nan : y;
                    ::write_derivative<C>(out.at(j), lanes, y, g.streamed);
                });
            });
        }
    };
};

// (g_i - p_i sum g) / T; at the pivot g (1 - p) - p sum of the other g, with 1 - p the sum of the other p
struct LogSoftmaxVjp : FromOutput<true> {
    static constexpr ExpCache exp_cache = ExpCache::none;
    template <class W> static bool needs_general(const RowBlock<W>& g, const Pivot<W>& pivot) {
        return !pivot.finite || g.scaled;
    }
    template <class Path, class W> struct Run : FromLogarithms<W> {
        using C = typename W::C;
        using V = typename W::V;
        using I = typename W::I;
        using FromLogarithms<W>::FromLogarithms;
        static constexpr C nothing = C(-infinity);
        // Times the least power, inv_scale_bias, it is a normal number.
        static constexpr C least_all = sizeof(C) == 4 ? C(0x1p-60) : C(0x1p-500);
        Wide<C> others;
        V all, all_lo;  // sum g / T
        // exponential.power as a factor of p, or of all: neither may take digits from p sum g. Of p on the general
        // path.
        V p_power, all_power;

        ONESUM_NOINLINE void sum(RowBlock<W>& g, Totals<W>& totals) {
            const isize first = this->pivot.first - g.walk.first;
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const auto pivot = row.chosen(this->pivot.position, first);
                Prefetch<W, 2> next(g, row, 0);
                V nan{};
                row.accumulate(WideSum<C>(totals.sum), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    next.fetch();
                    if (Path::general || pivot.may_be_at(j)) {
                        V v = read<C>(v_at.at(j), lanes, V{});
                        v = pivot.at(j) ? V{} : v;
                        if constexpr (Path::general) {
                            V logp = read<C>(p_at.at(j), lanes, splat(nothing));
                            nan = logp != logp ? logp : nan;
                            v = logp == nothing ? V{} : v;
                        }
                        add_to(sum.sum, Wide<C>::of(v));
                    } else {
                        add_to(sum.sum, read_wide<C>(v_at.at(j), lanes));
                    }
                });
                if constexpr (Path::general) totals.count[row.r] = Wide<C>::of(nan);
            });
        }
        ONESUM_NOINLINE Next finish(RowBlock<W>& g, Totals<W>& totals) {
            if constexpr (Path::general) this->nan = g.walk.sum_of_views(totals.count).rounded();
            others = g.walk.sum_of(totals.sum);
            auto total = others + Wide<C>::of(this->v_pivot);
            if (g.scaled) total = total * this->inverse.wide();
            const auto words = total.two_words();
            all = words.hi + this->nan;
            const V one = splat(C(1)), size = all < 0 ? -all : all;
            const I small = (size > 0) & (size < least_all);
            p_power = small ? this->exponential.power : one;
            all_power = small ? one : this->exponential.power;
            all = all * all_power;
            all_lo = all - all == 0 ? words.lo * all_power : V{};
            return !Path::general && any_true(first_n<I>(g.walk.count) & small) ? Next::general_path : Next::done;
        }
        // On the way the other p are summed, for what comes last.
        ONESUM_NOINLINE void write(RowBlock<W>& g, Totals<W>& totals) const {
            const isize first = this->pivot.first - g.walk.first;
            g.walk.rows([&](auto row) ONESUM_FORCE_INLINE {
                const auto p_at = row.of(g.in[0]), v_at = row.of(g.in[1]);
                const auto pivot = row.chosen(this->pivot.position, first);
                const V all = row.of(this->all), all_lo = row.of(this->all_lo), p_power = row.of(this->p_power),
                        nan = row.of(this->nan), hi = row.of(this->inverse.hi), lo = row.of(this->inverse.lo);
                const auto exponential = this->exponential.of(row);
                Prefetch<W, 2> next(g, row, 1);
                const auto out = row.of(g.out);
                const bool streamed = g.streamed && reinterpret_cast<uintptr_t>(out.at(0)) % 64 == 0;
                row.accumulate(PairSum<C>(totals.sum), [&](isize j, auto lanes, auto& sum) ONESUM_FORCE_INLINE {
                    next.fetch();
                    V logp = read<C>(p_at.at(j), lanes, splat(nothing));
                    V p = exponential(logp);
                    Sum2<V> z{read<C>(v_at.at(j), lanes, V{}), V{}};
                    if constexpr (Path::general) {
                        p = p * p_power;
                        z = over<C>(z, {hi, lo, V{}});
                    }
                    V y;
                    if constexpr (fused) {
                        y = fma(-p, all, z.hi);
                        if constexpr (Path::general) y = y + z.lo;
                    } else {  // the product and the sum are rounded one by one
                        const auto d = two_sum(z.hi, -p * all);
                        y = d.hi - d.hi == 0 ? d.hi + (d.lo + (z.lo - p * all_lo)) : d.hi;
                    }
                    if constexpr (Path::general) y = logp == nothing ? nan : y;
                    if (pivot.may_be_at(j)) p = pivot.at(j) ? V{} : p;
                    sum.add(p);
                    ::write_derivative<C>(out.at(j), lanes, y, streamed);
                });
            });
        }
        void fix_pivot(RowBlock<W>& g, Totals<W>& totals) const {
            const auto p_pivot = Wide<C>::of(this->exponential(this->pivot.value) * this->exponential.power);
            auto there = Wide<C>::of(this->v_pivot), elsewhere = others;
            if (g.scaled) there = there * this->inverse.wide(), elsewhere = elsewhere * this->inverse.wide();
            const auto y = there.scaled(all_power) * g.walk.sum_of(totals.sum) - p_pivot * elsewhere;
            const V at_pivot =
                (this->pivot.value > nothing ? y.rounded() : V{}) + this->nan;  // 0 is +0, as write_derivative has it
            if constexpr (W::vertical)
                if (this->pivot.has_v) return store_vertical(g, at_pivot);
            for (int k = 0; k < g.walk.count; ++k)
                g.element.store(g.result.p + this->pivot.at(k) * g.result.class_stride + k * g.result.row_stride,
                                at_pivot[k]);
        }

      private:
        // Into a tile of whole rows.
        ONESUM_INLINE void store_vertical(const RowBlock<W>& g, V at_pivot) const {
            for (int k = 0; k < g.walk.count; ++k)
                memcpy(g.out.p + isize(this->pivot.position[k]) * g.out.class_stride + k * sizeof(C),
                       reinterpret_cast<const C*>(&at_pivot) + k, sizeof(C));
        }
    };
};

}  // namespace
