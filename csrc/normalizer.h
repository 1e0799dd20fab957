// The normalizer of a row: its maximum m, and r, the sum of exp(x_j - m) over all classes but the first that attains it.
//
// Everything a row's outputs need follows from the two: p = exp(x - m) / (1 + r), log p = (x - m) - log1p(r), and m + log1p(r). Leaving the
// pivot's own 1 out of the sum is what keeps log p and 1 - p right when p is close to one.
#pragma once

#include "ahead.h"
#include "sums.h"

namespace {

// What a group of rows may need. Each form gives the rows that need less the bits of the form before it.
struct Near { static constexpr bool general = false; };    // finite logits, the maxima near 0
struct General { static constexpr bool general = true; };  // maxima anywhere (see exp.h), a temperature, +inf among the logits, a mask

// The logits of one row.
template <class Form, class W> struct Logits {
    using C = typename W::C;
    const Group<W>& g;
    const typename W::Row row;
    const typename W::Row::Classes x;

    ONESUM_INLINE Logits(const Group<W>& g, const typename W::Row& row, int which = 0) : g(g), row(row), x(row.of(g.in[which])) {}
    ONESUM_INLINE typename W::V at(isize j, auto lanes) const {
        auto v = read<typename W::S>(x.at(j), lanes, splat(C(-infinity)));
        if constexpr (Form::general)
            if (g.mask.p) v = g.mask.template at<W>(row, j, lanes) ? v : splat(C(-infinity));
        return v;
    }
};

template <class Form, class W> ONESUM_APART typename W::V max_of_form(const Group<W>& g, int which) {
    using V = typename W::V;
    V partial[W::views];
    g.walk.rows([&](auto row) ONESUM_INLINED {
        const Logits<Form, W> logits(g, row, which);
        V m = splat(typename W::C(-infinity));
        row.each([&](isize j, auto lanes) ONESUM_INLINED { m = max(logits.at(j, lanes), m); });
        partial[row.r] = m;
    });
    return g.walk.max_of(partial);
}

template <class W> typename W::V row_max(const Group<W>& g, int which = 0) { return g.mask.p ? max_of_form<General>(g, which) : max_of_form<Near>(g, which); }

// A look ahead while there is much to compute on these rows: those next in order get their maxima on the way, others are fetched; so is the output.
template <class Form, class W> struct Ahead {
    using V = typename W::V;
    static constexpr bool finds_max = !W::across;
    static constexpr isize distance = finds_max ? fetched_bytes / sizeof(typename W::S) : 0;  // in classes
    V partial[W::views];

    struct View {
        Ahead& ahead;
        const int r;
        Next<W> next;
        const FetchOutput<W> fetch_output;
        V m;

        ONESUM_INLINE View(Ahead& ahead, const Group<W>& g, const typename W::Row& row)
            : ahead(ahead), r(row.r), next(g, row, 0), fetch_output(g, row), m(splat(typename W::C(-infinity))) {}
        ONESUM_INLINE void step(isize j, auto lanes) {
            next.fetch(j + distance);
            fetch_output(j);
            if constexpr (finds_max) m = max(read<typename W::S>(next.p + j * isize(sizeof(typename W::S)), lanes, splat(typename W::C(-infinity))), m);
        }
        ONESUM_INLINE ~View() { ahead.partial[r] = m; }
    };
    void done(const Group<W>& g) {
        g.next_max_known = finds_max && !g.mask.p && g.next_count > 0;
        if (g.next_max_known) g.next_max = W{g.walk.n, g.walk.count}.max_of(partial);
    }
};

// How the logits of a row become exponents: everything but the sums. See exp.h.
template <class Form, class C> struct Terms {
    using V = typename Vec<C>::V;
    V base, floor;  // subtracted first; below this nothing counts
    V rounder;      // for exponents less that of exp(m)
    V inverse_hi, inverse_lo;

    ONESUM_INLINE Exp<C> exponential(V y) const {
        if constexpr (!Form::general) return exp_parts<true>(y, V{}, rounder);
        V z = y * inverse_hi;
        return exp_parts<false>(z, fma(y, inverse_lo, product_error(y, inverse_hi, z)), rounder);
    }
    // exp(x / T) over 2^exponent. A logit of +inf counts as the maximum that it is; one too far below the maximum as nothing, exactly, or
    // else (in the near form) as exp(below) of it, which no sum that has the maximum in it can feel.
    template <bool exactly = true> ONESUM_INLINE Exp<C> term(V x) const {
        V y = max(floor, Form::general ? x - base : x);
        if constexpr (Form::general) y = x == C(infinity) ? V{} : y;
        auto e = exponential(y);
        if constexpr (exactly || Form::general) e.scale = y > floor ? e.scale : V{};
        return e;
    }
};

template <class Form, class W> struct Shift {
    using C = typename W::C;
    using V = typename W::V;
    using I = typename W::I;
    using K = Constants<C>;

    V m;
    Terms<Form, C> terms;
    InverseTemperature<C> inverse;

    Shift(const Group<W>& g, V m) : m(m) {
        V size = m < 0 ? -m : m, base = V{};
        if constexpr (Form::general) {
            inverse = inverse_temperature(g);
            terms.inverse_hi = inverse.hi, terms.inverse_lo = inverse.lo;
            I large = size * inverse.hi >= K::far || m == C(infinity);
            base = large ? m : base;
        }
        terms.base = m == C(-infinity) ? V{} : base;
        terms.floor = top() + K::below;
        if constexpr (Form::general) terms.floor = max(top() + K::below * inverse.temperature, splat(-K::largest));
        V exponent = top();
        if constexpr (Form::general) exponent = exponent * inverse.hi;
        terms.rounder = rounder_for(nearest_exponent(exponent));
    }
    ONESUM_INLINE Terms<Form, C> of(const typename W::Row& row) const {
        Terms<Form, C> result;
        result.floor = row.of(terms.floor);
        result.rounder = row.of(terms.rounder);
        if constexpr (Form::general) result.base = row.of(terms.base);
        if constexpr (Form::general) result.inverse_hi = row.of(terms.inverse_hi), result.inverse_lo = row.of(terms.inverse_lo);
        return result;
    }
    // exp(m / T) over 2^exponent, and that of any logits, one for each row, 2^bias too large
    Wide<C> pivot() const { return biased(terms.exponential(top())).scaled(K::unbias); }
    Wide<C> biased_exponential_of(V x) const { return biased(terms.term(x)); }
    // What multiplies sums of terms that were shifted for another maximum. Near form only: there the shift is an exponent.
    V rescaling(V other) const {
        const V by = exponent_of(other) - exponent_of(m);
        const V power = bits<V>(bits<I>(max(splat(C(-K::exponent_of_one)), by) + (K::rounder + K::exponent_of_one)) << K::mantissa);
        return other == C(-infinity) ? V{} : power;
    }
    I no_finite_logit() const { return m == C(-infinity); }
    I infinite() const { return m == C(infinity); }

  private:
    static Wide<C> biased(const Exp<C>& e) { return (Wide<C>::of(splat(C(1)), e.hi) + Wide<C>::of(e.lo)).normalized() * Wide<C>::of(e.scale); }
    static V exponent_of(V m) { return nearest_exponent(m == C(-infinity) ? V{} : m); }
    V top() const {
        V size = m < 0 ? -m : m;
        return size < C(infinity) ? m - terms.base : V{};
    }
};

// 0 where one class only attains m = +inf, else NaN; NaN too where the row's sum is.
template <class V> inline V one_hot_or_nan(V how_many, V sum) {
    using C = decltype(+sum[0]);
    return how_many == C(1) ? sum - sum : splat(C(not_a_number));
}

// What is to come after the end of the sums: nothing, the sums once more (of something else), or all in the careful form.
enum class Then { nothing, again, carefully };

// Sums of exponentials times something have the excess of the scales, 2^bias. Where that is too much for a double, there is a second sum without it.
template <class W> struct Excess {
    using C = typename W::C;
    using V = typename W::V;
    using K = Constants<C>;
    V left = splat(C(1));  // of each row: what takes it out beforehand, or 1

    static ONESUM_INLINE V of(V scale, V left) { return sizeof(C) == 4 ? scale : scale * left; }
    Wide<C> undone(Wide<C> sum) const { return sum.scaled(K::unbias / left); }
    bool too_much(const Group<W>& g, V sum) {
        if (sizeof(C) == 4) return false;
        const auto again = first_lanes<typename W::I>(g.walk.count) & (sum - sum != 0) & (left == 1);
        left = again ? splat(K::unbias) : left;
        return any(again);
    }
};

// r leaves out those that attain m and adds their number less 1. In long rows, where the maximum may be known late, r is the sum over all, over exp(m),
// less 1; if that leaves little there is a second sum.
template <class Form, class W> struct Normalizer : Shift<Form, W> {
    using typename Shift<Form, W>::C;
    using typename Shift<Form, W>::V;
    using typename Shift<Form, W>::I;
    static constexpr C little = C(0.0625);  // below this the rounding of the rests in the sum would be felt

    Wide<C> r;
    I is_little;
    bool others, late = false;  // sum those below m; for the second time
    V how_many;                 // attain m

    Normalizer(const Group<W>& g, V m) : Shift<Form, W>(g, m), others(g.classes <= block * W::lanes) {}
    ONESUM_APART void sum(const Group<W>& g, Totals<W>& totals) {
        if (others) pass<true>(g, totals);
        else pass<false>(g, totals);
    }
    Then end(const Group<W>& g, Totals<W>& totals) {
        const auto one = Wide<C>::of(splat(C(1))), sum = g.walk.sum_of(totals.sum).scaled(Constants<C>::unbias) / this->pivot();
        if (others) {
            const auto count = count_of(g.walk, totals.count), below = sum + (count - one);
            how_many = count.rounded();
            r = late ? Wide<C>::choose(is_little, below, r) : below;
            return Then::nothing;
        }
        if constexpr (Form::general) how_many = count_of(g.walk, totals.count).rounded();
        r = sum - one;
        is_little = r.rounded() < little;
        others = late = any(first_lanes<I>(g.walk.count) & is_little);
        return late ? Then::again : Then::nothing;
    }
    V one_hot() const { return one_hot_or_nan(how_many, r.rounded()); }

  private:
    template <bool others> ONESUM_INLINE void pass(const Group<W>& g, Totals<W>& totals) {
        Ahead<Form, W> looks;
        g.walk.rows([&](auto row) ONESUM_INLINED {
            const auto terms = this->of(row);
            const V m = row.of(this->m);
            const Logits<Form, W> logits(g, row);
            ExpSum<C> sum(totals.sum);
            typename Ahead<Form, W>::View ahead(looks, g, row);
            I at_max{};
            row.accumulate(sum, [&](isize j, auto lanes) ONESUM_INLINED {
                const V x = logits.at(j, lanes);
                ahead.step(j, lanes);
                auto e = terms.term(x);
                if constexpr (others || Form::general) {
                    const I is_max = x == m;
                    at_max -= is_max;
                    if constexpr (others) e.scale = is_max ? V{} : e.scale;
                }
                sum.add(e);
            });
            totals.count[row.r] = Wide<C>::count(at_max);
        });
        looks.done(g);
    }
};

}  // namespace
