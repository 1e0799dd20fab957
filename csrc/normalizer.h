// The normalizer of a row: its maximum m, and r, the sum of exp(x_j - m) over all classes but the first that attains it.
//
// Everything a row's outputs need follows from the two: p = exp(x - m) / (1 + r), log p = (x - m) - log1p(r), and m + log1p(r). Leaving the
// pivot's own 1 out of the sum is what keeps log p and 1 - p right when p is close to one.
#pragma once

#include "columns.h"
#include "exp.h"
#include "rows.h"

namespace {

// What a group of rows may need. Each form gives the rows that need less the bits of the form before it.
struct Near { static constexpr bool far = false, general = false, masked = false; };     // finite logits, the maxima near 0
struct Plain { static constexpr bool far = true, general = false, masked = false; };     // maxima anywhere: see exp.h
struct General { static constexpr bool far = true, general = true, masked = false; };    // a temperature, or +inf among the logits
struct Masked { static constexpr bool far = true, general = true, masked = true; };

// A bool operand, its lanes at any distance from each other.
struct MaskOperand {
    const char* p = nullptr;
    long step = 0, lane = 0;

    template <class W, class Lanes> typename W::I at(long i, Lanes lanes, W) const {
        const char* here = p + i * step;
        if (Lanes::all && lane == 1) {
            typedef int8_t Bytes __attribute__((vector_size(W::lanes)));
            Bytes flags;
            memcpy(&flags, here, sizeof flags);
            return __builtin_convertvector(flags, typename W::I) != 0;
        }
        typename W::I mask{};
        const int count = Lanes::all ? W::lanes : lanes.count;
        for (int k = 0; k < count; ++k) mask[k] = -(here[k * lane] != 0);
        return mask;
    }
};

// The rows a kernel works on at one time: one row, or one per lane.
template <class W> struct Group {
    using V = typename W::V;
    W walk;
    Operand in[2], out;
    MaskOperand mask;
    V row_in, row_out;            // operands with one element per row
    double temperature[W::lanes];
    bool scaled;                  // some temperature is not 1
    V* memo;                      // room for two vectors a step, or null if that is too much
    long next;                    // from an element to the same one of the rows that come next; 0 if none do
    mutable V next_max;           // their maximum, where it is known already
    mutable bool next_max_known;
};

template <class C> struct InverseTemperature {
    typename Vec<C>::V hi, lo, temperature;
    Wide<C> wide() const { return Wide<C>::of(hi, lo); }
};

// 1 / T in two words. Where it leaves the type's range, as for T below 3e-39 in float, it stays at the end of the range.
template <class W> InverseTemperature<typename W::C> inverse_temperature(const Group<W>& group) {
    using K = Constants<typename W::C>;
    using C = typename W::C;
    InverseTemperature<C> result{};
    for (int lane = 0; lane < W::lanes; ++lane) {
        double t = group.temperature[lane];
        double inverse = 1 / t;
        if (!(inverse < K::largest)) inverse = K::largest;
        C hi = C(inverse);
        result.hi[lane] = hi;
        if constexpr (sizeof(C) == 4) {
            result.lo[lane] = C(inverse - hi);
        } else {  // what 1 / t lacks: (1 - t inverse) inverse, with t inverse to double the digits
            double rest = 1 - t * inverse;
            rest -= product_error(splat(t), splat(inverse), splat(t * inverse))[0];
            rest *= inverse;
            result.lo[lane] = rest - rest == 0 ? rest : 0;
        }
        result.temperature[lane] = t < K::largest ? C(t) : K::largest;
    }
    return result;
}

template <class Form, class W> typename W::V read_logits(const Group<W>& g, long i, auto lanes) {
    using C = typename W::C;
    auto x = read<typename W::S>(g.in[0], i, lanes, splat(C(-infinity)));
    if constexpr (Form::masked) x = g.mask.at(i, lanes, g.walk) ? x : splat(C(-infinity));
    return x;
}

template <bool masked, class W> ONESUM_INLINE typename W::V row_max(const Group<W>& g) {
    using C = typename W::C;
    typename W::V m = splat(C(-infinity));
    g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
        using Form = std::conditional_t<masked, Masked, Plain>;
        m = max(read_logits<Form>(g, i, lanes), m);
    });
    return W::max_of(m);
}

// A look at the next rows while there is much to compute on these: rows in order get their maximum on the way, others are fetched.
template <class Form, class W> class Ahead {
    using V = typename W::V;
    static constexpr bool finds_max = W::chains == 1 && !Form::masked;
    static constexpr long distance = 1024;  // bytes
    const Group<W>& g;
    const Operand x;
    V m;

  public:
    ONESUM_INLINE explicit Ahead(const Group<W>& g)
        : g(g), x{g.in[0].p + g.next, g.in[0].step}, m(splat(typename W::C(-infinity))) {}
    ONESUM_INLINE void step(long i, auto lanes) {
        __builtin_prefetch(x.at(i) + (finds_max ? distance : 0));
        if constexpr (finds_max) m = max(read<typename W::S>(x, i, lanes, splat(typename W::C(-infinity))), m);
    }
    ONESUM_INLINE void done() const {
        if constexpr (finds_max) g.next_max = W::max_of(m);
        g.next_max_known = finds_max && g.next != 0;
    }
};

// A sum of exponentials, in two words of the lanes' own type; after `block` steps both move on to a wide total.
//
// On a grid: added to a large number of fixed magnitude, an addend is rounded to a grid, exactly, and what the grid leaves of it is exact too and goes
// into the residue. Good to far below an ulp of the maximum's exponential, in seven operations. Not on a grid: Knuth's TwoSum, good to far below an
// ulp of the sum itself, however small (r, beside a maximum left out of it).
template <class W, bool on_grid> class ExpSum {
    using C = typename W::C;
    using V = typename W::V;
    static constexpr int block = 64;
    // 2^bias times room for `block` terms below sqrt 2
    static constexpr C start = !on_grid ? C(0) : sizeof(C) == 4 ? C(0x1p71) : C(0x1p519);
    V main[W::chains], residue[W::chains];
    Wide<C> total[W::chains];
    int live;
    bool single;  // one term to a chain

    ONESUM_INLINE void flush() {
        for (int k = 0; k < live; ++k) {
            add_to(total[k], Wide<C>::of(main[k] - start, residue[k]));
            main[k] = splat(start);
            residue[k] = V{};
        }
    }

  public:
    ONESUM_INLINE explicit ExpSum(const W& walk) : live(walk.live_chains()), single(walk.n <= W::lanes) {
        for (int k = 0; k < live && !(single && W::chains > 1); ++k) {
            main[k] = splat(start);
            residue[k] = V{};
            total[k] = Wide<C>{};
        }
        if (walk.n == 0) total[0] = Wide<C>{};
    }
    // scale (1 + hi + lo), tail = hi + lo rounded
    ONESUM_INLINE void add(long i, V hi, V lo, V tail, V scale) {
        const int k = W::chain(i);
        const V term = fma(tail, scale, scale);
        const V old = single ? splat(start) : main[k];
        V sum, rest;
        if constexpr (on_grid) {
            sum = old + term;
            rest = fma(lo, scale, fma(hi, scale, scale - (sum - old)));
        } else {
            const auto s = two_sum(old, term);
            sum = s.hi;
            rest = s.lo + fma(lo, scale, fma(hi, scale, scale - term));
        }
        if (single) {
            total[k] = Wide<C>::of(sum - start, rest);
            return;
        }
        main[k] = sum;
        residue[k] = residue[k] + rest;
        if ((i + 1) % (block * W::chains) == 0) flush();
    }
    ONESUM_INLINE Wide<C> sum(const W& walk) {
        if (!single) flush();
        return walk.sum_of(total).scaled(Constants<C>::unbias);
    }
};

// How the logits of a row become exponents: everything but the sums. See exp.h.
template <class Form, class W> struct Shift {
    using C = typename W::C;
    using V = typename W::V;
    using I = typename W::I;
    using K = Constants<C>;

    V m;
    V base, floor;  // subtracted first; below this nothing counts
    V rounder;      // for exponents less that of exp(m)
    Wide<C> pivot;  // exp(m) over 2^exponent
    InverseTemperature<C> inverse;

    ONESUM_INLINE Shift(const Group<W>& g, V m) : m(m) {
        V size = m < 0 ? -m : m;
        base = V{};
        if constexpr (Form::general) {
            inverse = inverse_temperature(g);
            I large = size * inverse.hi >= K::far || m == C(infinity);
            base = large ? m : base;
        } else if constexpr (Form::far) {
            base = size >= K::far ? m : base;
        }
        base = m == C(-infinity) ? V{} : base;
        V top = size < C(infinity) ? m - base : V{};
        rounder = rounder_for(V{});
        auto e = exponential(top);
        rounder = rounder_for(e.n);
        pivot = (Wide<C>::of(splat(C(1)), e.hi) + Wide<C>::of(e.lo)).normalized();
        floor = top + K::below;
        if constexpr (Form::general) floor = max(top + K::below * inverse.temperature, splat(-K::largest));
    }

    ONESUM_INLINE Exp<C> exponential(V y) const {
        if constexpr (!Form::general) return exp_parts(y, V{}, rounder);
        V z = y * inverse.hi;
        return exp_parts(z, fma(y, inverse.lo, product_error(y, inverse.hi, z)), rounder);
    }
    // exp(x / T) over 2^exponent. A logit of +inf counts as the maximum that it is; one too far below the maximum as nothing, exactly, or
    // else (in the plain form) as exp(below) of it, which no sum that has the maximum in it can feel.
    template <bool exactly = true> ONESUM_INLINE Exp<C> term(V x) const {
        V y = max(floor, Form::far ? x - base : x);
        if constexpr (Form::general) y = x == C(infinity) ? V{} : y;
        auto e = exponential(y);
        if constexpr (exactly || Form::general) e.scale = y > floor ? e.scale : V{};
        return e;
    }

    I no_finite_logit() const { return m == C(-infinity); }
    I infinite() const { return m == C(infinity); }
};

// 0 where one class only attains m = +inf, else NaN; NaN too where the row's sum is.
template <class V> inline V one_hot_or_nan(V how_many, V sum) {
    using C = decltype(+sum[0]);
    return how_many == C(1) ? sum - sum : splat(C(not_a_number));
}

template <class Form, class W> struct Normalizer : Shift<Form, W> {
    using typename Shift<Form, W>::C;
    using typename Shift<Form, W>::V;
    using typename Shift<Form, W>::I;

    Wide<C> rest, count;  // the sum over the classes below m, over 2^exponent; how many attain m

    ONESUM_INLINE Normalizer(const Group<W>& g, V m) : Shift<Form, W>(g, m) {
        ExpSum<W, false> others(g.walk);
        Ahead<Form, W> ahead(g);
        I at_max{};
        g.walk.each([&](long i, auto lanes) ONESUM_INLINED {
            V x = read_logits<Form>(g, i, lanes);
            ahead.step(i, lanes);
            auto e = this->term(x);
            I is_max = x == m;
            at_max -= is_max;
            others.add(i, e.hi, e.lo, e.tail(), is_max ? V{} : e.scale);
        });
        ahead.done();
        rest = others.sum(g.walk);
        count = W::sum_across(Wide<C>::count(at_max));
    }
    Wide<C> r() const { return rest / this->pivot + (count - Wide<C>::of(splat(C(1)))); }
    V one_hot() const { return one_hot_or_nan(count.rounded(), rest.rounded()); }
};

}  // namespace
