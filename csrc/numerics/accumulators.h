// Sums that are better than what is summed.
#pragma once

#include "common/tuning.h"
#include "numerics/exp.h"

namespace {

using namespace onesum::tuning;

// An accumulator sums one partial sum after the other: begin(k), terms, flush(k), which puts the total into totals[k].
// After end_segment(k) it begins again, and the total is that of all segments. It has to be flushed after `interval`
// terms, if that is not 0.

// Sums that are wide from the start.
template <class C> struct WideSum {
    static constexpr isize interval = 0;
    Wide<C> sum{}, segments{};
    Wide<C>* totals;

    ONESUM_INLINE explicit WideSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { sum = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush(isize k) { totals[k] = sum; }
    ONESUM_INLINE void end_segment(isize k) {
        add_to(segments, sum);
        totals[k] = segments;
        sum = Wide<C>{};
    }
};

// Sums of exponentials, good to far below an ulp of the sum. With a table, the scales are summed, and the small rest of
// each term apart; without, a term's rest is as large as the term, and the rounded terms are summed and what the
// rounding took apart. Floats are summed as doubles, doubles by Knuth's TwoSum; flushed, its two words and the
// residuals move on to a wide total.
//
// Terms multiplied by a power of two give the sum so multiplied, bit for bit. So it does not matter by which exponent
// they were shifted, and a maximum that is met late only rescales what was summed before it.
template <class C> struct ExpSum {
    static constexpr isize interval = flush_interval;
    using V = typename Vec<C>::V;
    Wide<C> sum{}, total{}, segments{};
    V residuals{};
    Wide<C>* totals;

    ONESUM_INLINE explicit ExpSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { total = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush(isize k) {
        add_to(total, sum + Wide<C>::of(residuals));
        totals[k] = total;
        sum = Wide<C>{};
        residuals = V{};
    }
    ONESUM_INLINE void end_segment(isize k) {
        add_to(segments, total);
        totals[k] = segments;
        total = Wide<C>{};
    }
    ONESUM_INLINE void add(const Exp<C>& e) {
        const V term = Exp<C>::single_word ? e.scale : e.rounded();
        if constexpr (sizeof(C) == 4) {
            sum = sum + Wide<C>::of(term);
        } else {
            const auto s = two_sum(sum.hi, term);
            sum = {s.hi, sum.lo + s.lo};
        }
        if constexpr (Exp<C>::single_word) residuals = fma(e.hi, e.scale, residuals);
        else residuals = residuals + fma(e.lo, e.scale, fma(e.hi, e.scale, e.scale - term));
    }
};

// Several sums over the same classes: Self::for_each(f) calls f for each of them.
template <class Self, isize terms> struct JointSum {
    static constexpr isize interval = terms;
    ONESUM_INLINE void begin(isize k, bool fresh) {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.begin(k, fresh); });
    }
    ONESUM_INLINE void flush(isize k) {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.flush(k); });
    }
    ONESUM_INLINE void end_segment(isize k) {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.end_segment(k); });
    }

  private:
    ONESUM_INLINE Self& self() { return static_cast<Self&>(*this); }
};

// Sums of products: a few are added up in their own type before they move on to a wide total.
template <class C> struct ProductSum {
    static constexpr isize interval = product_interval;
    using V = typename Vec<C>::V;
    V sum{};
    Wide<C> total{}, segments{};
    Wide<C>* totals;

    ONESUM_INLINE explicit ProductSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { total = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush(isize k) {
        add_to(total, Wide<C>::of(sum));
        totals[k] = total;
        sum = V{};
    }
    ONESUM_INLINE void end_segment(isize k) {
        add_to(segments, total);
        totals[k] = segments;
        total = Wide<C>{};
    }
    ONESUM_INLINE void add(V a, V b) { sum = fma(a, b, sum); }
};

}  // namespace
