// Two rows of logits compared: the sums that both Kullback-Leibler divergences follow from, and Jensen-Shannon's.
//
// With p and q the probabilities of a class and d = log q - log p, the divergences are sums of F(p, q) = q - p - p d,
// of F(q, p), and of (p + q) / 4 (d tanh(d / 2) - 2 log cosh(d / 2)): no term is negative. Everything is computed in
// double, whatever the logits are stored in.
#pragma once

#include "loops/operand.h"
#include "numerics/log1p.h"

namespace {

// The terms of a class, where p is the larger. With m = (p + q) / 2, `skew` is p log(p / m) - q log(q / m), to some
// 2^-14: by it the divergences change where p and q do not quite sum to 1.
struct ComparisonTerms {
    f64v kl, reverse, js, skew;
    f64v q, change;  // and q - p
};

// For 0 <= t <= 1, relative errors below 2^-55: cosh t - 1 = z c(z), sinh t - t = t z s(z), t tanh(t / 2) - 2 log
// cosh(t / 2) = z j(z), with z = t^2.
inline ComparisonTerms near_terms(f64v larger, f64v t) {
    constexpr double c[] = {0x1.0000000000000p-1,  0x1.5555555555502p-5,  0x1.6c16c16c212c0p-10, 0x1.a01a01907b7eep-16,
                            0x1.27e5069de9344p-22, 0x1.1ee5640e638a2p-29, 0x1.99848a67700e4p-37};
    constexpr double s[] = {0x1.5555555555555p-3,  0x1.11111111110fdp-7,  0x1.a01a01a01ee70p-13, 0x1.71de3a4e14f40p-19,
                            0x1.ae6460fae3728p-26, 0x1.611cb330c1fe8p-33, 0x1.b41232cf9950fp-41};
    constexpr double j[] = {0x1.0000000000000p-2,   -0x1.fffffffffffa9p-6,  0x1.c71c71c715a03p-9,
                            -0x1.82d82d7f81cfbp-12, 0x1.427a8d385be43p-15,  -0x1.0a3a3bf56768cp-18,
                            0x1.b52c92a680924p-22,  -0x1.65705943d2a43p-25, 0x1.20b90c63704a4p-28,
                            -0x1.b13b8ddf4775ep-32, 0x1.c484636c6a304p-36};
    const f64v z = t * t;
    f64v cosh = splat(c[6]), sinh = splat(s[6]), middle = splat(j[10]);
    for (int i = 5; i >= 0; --i) cosh = fma(cosh, z, splat(c[i])), sinh = fma(sinh, z, splat(s[i]));
    for (int i = 9; i >= 0; --i) middle = fma(middle, z, splat(j[i]));
    cosh = cosh * z, sinh = sinh * z * t;
    const f64v less = cosh - sinh, smaller = larger * (1.0 + (less - t));  // exp(-t) - 1 + t
    const f64v both = larger + smaller, change = larger * (less - t);
    const f64v log_cosh = z * fma(fma(splat(1.0 / 2880), z, splat(-1.0 / 192)), z, splat(0.125));  // of t / 2
    return {larger * less,
            smaller * (cosh + sinh),
            both * 0.25 * (middle * z),
            fma(change, log_cosh, 0.5 * both * t),
            smaller,
            change};
}

// For t >= 1, with the smaller one too; an infinite t is of a class that only one of the two has.
inline ComparisonTerms far_terms(f64v larger, f64v smaller, f64v e, f64v t) {
    constexpr double log2 = 0x1.62e42fefa39efp-1;
    const i64v nothing = smaller == 0;
    const f64v product = nothing ? f64v{} : smaller * t, difference = larger - smaller;
    const f64v beyond = t == infinity ? splat(infinity) : larger * t - difference,
               log_half = log2 - log1p(e, f64v{});  // log(2 / (1 + e))
    return {beyond,
            difference - product,
            (larger + smaller) * 0.5 * log_half - 0.5 * product,
            fma(difference, log_half, product),
            smaller,
            -difference};
}

// Sums of a row that stay good to the last digits however long it is; partial sums as everywhere (loops/operand.h).
struct ComparisonSum {
    static constexpr int lanes = Vec<double>::lanes, vectors = partial_sums<double> / lanes;
    f64v recent[vectors]{};
    Wide<double> total[vectors]{};
    ONESUM_INLINE void flush() {
        for (int i = 0; i < vectors; ++i) {
            add_to(total[i], Wide<double>::of(recent[i]));
            recent[i] = f64v{};
        }
    }
    double value() const {
        double hi = 0, lo = 0;
        for (const auto& sum : total)
            for (int k = 0; k < lanes; ++k) hi += sum.hi[k], lo += sum.lo[k];
        return lo - lo == 0 ? hi + lo : hi;  // beside an infinity it is NaN
    }
};

// What is known of the two rows beforehand: their maxima and log1p(r).
struct RowsCompared { double top_x, top_y, rest_x, rest_y; };

// C: float if the logits have no more digits, so that no difference of two of them has more than a double holds.
template <class C> struct Comparison {
    const RowsCompared known;
    ComparisonSum sums[6];

    ONESUM_INLINE static f64v exponential(f64v y) {
        using K = Constants<double>;
        const f64v floor = splat(K::underflow_cutoff);
        const auto e = exp_parts<true>(max(y, floor), f64v{}, magic_bias_for(f64v{}));
        return y > floor ? e.rounded() * K::inv_scale_bias : f64v{};
    }
    // What rounding takes of x - top.
    ONESUM_INLINE static f64v rounding_of(f64v x, f64v top, f64v difference) {
        const f64v part = difference - x, low = (x - (difference - part)) - (top + part);
        return low - low == 0 ? low : f64v{};
    }
    ONESUM_INLINE void add(f64v x, f64v y, int part) {
        const f64v top_x = splat(known.top_x), top_y = splat(known.top_y), below_x = x - top_x, below_y = y - top_y;
        f64v d = below_y - below_x;
        if constexpr (sizeof(C) == 8) {
            const f64v low =
                rounding_of(below_y, below_x, d) + (rounding_of(y, top_y, below_y) - rounding_of(x, top_x, below_x));
            d = (d - (known.rest_y - known.rest_x)) + low;
        } else {
            d = d - (known.rest_y - known.rest_x);
        }
        d = below_x == -infinity ? (below_y == -infinity ? f64v{} : splat(infinity)) : d;
        const i64v q_is_larger = d > 0;
        const f64v t = d > 0 ? d : -d, larger = exponential(max(below_y - known.rest_y, below_x - known.rest_x));
        ComparisonTerms terms = near_terms(larger, t < 1.0 ? t : f64v{});
        const i64v far = ~(t < 1.0);
        if (any_true(far)) {
            const f64v e = exponential(-t);
            const ComparisonTerms others = far_terms(larger, larger * e, e, t);
            terms = {far ? others.kl : terms.kl, far ? others.reverse : terms.reverse,
                     far ? others.js : terms.js, far ? others.skew : terms.skew,
                     far ? others.q : terms.q,   far ? others.change : terms.change};
        }
        sums[0].recent[part] += q_is_larger ? terms.reverse : terms.kl;
        sums[1].recent[part] += q_is_larger ? terms.kl : terms.reverse;
        sums[2].recent[part] += terms.js;
        sums[3].recent[part] += q_is_larger ? terms.q : larger;
        sums[4].recent[part] += q_is_larger ? -terms.change : terms.change;
        sums[5].recent[part] += q_is_larger ? -terms.skew : terms.skew;
    }
    void flush() {
        for (auto& sum : sums) sum.flush();
    }
};

template <class S> ONESUM_INLINE void for_each_double(const char* p, const char* q, auto lanes, auto f) {
    using C = typename Compute<S>::type;
    const auto fill = splat(C(-infinity));  // of both: no class
    const auto x = read<S>(p, lanes, fill), y = read<S>(q, lanes, fill);
    if constexpr (sizeof(C) == 8) {
        f(x, y, 0);
    } else {
        f(widen_lo(x), widen_lo(y), 0);
        f(widen_hi(x), widen_hi(y), 1);
    }
}

// Rows of n classes that lie one after the other; `known` has four numbers a row, `sums` gets six.
template <class S> void compare(const char* x, const char* y, const double* known, double* sums, isize rows, isize n) {
    constexpr isize lanes = lanes_of<S>;
    for (isize row = 0; row < rows; ++row, x += n * isize(sizeof(S)), y += n * isize(sizeof(S))) {
        Comparison<typename Compute<S>::type> comparison{
            {known[4 * row], known[4 * row + 1], known[4 * row + 2], known[4 * row + 3]}, {}};
        isize j = 0;
        const auto add = [&](f64v a, f64v b, int half) ONESUM_FORCE_INLINE {
            comparison.add(a, b, int(j / ComparisonSum::lanes + half) % ComparisonSum::vectors);
        };
        for (; j + lanes <= n; j += lanes) {
            for_each_double<S>(x + j * isize(sizeof(S)), y + j * isize(sizeof(S)), AllLanes{}, add);
            if ((j + lanes) % sum_segment == 0) comparison.flush();
        }
        if (j < n) for_each_double<S>(x + j * isize(sizeof(S)), y + j * isize(sizeof(S)), SomeLanes{int(n - j)}, add);
        comparison.flush();
        for (int k = 0; k < 6; ++k) sums[6 * row + k] = comparison.sums[k].value();
    }
}

}  // namespace
