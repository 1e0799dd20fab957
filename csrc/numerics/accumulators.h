// Sums that are better than what is summed.
#pragma once

#include "common/tuning.h"
#include "numerics/exp.h"

namespace {

using namespace onesum::tuning;

// An accumulator sums one partial sum after the other: begin(k), terms, end(k), which puts the total into totals[k]. It
// has to be flushed after `interval` terms, if that is not 0 and more follow. A row of more than one segment has
// end_segment() after each, and what it ends with is the sum of the segments.

// Sums that are wide from the start.
template <class C> struct WideSum {
    static constexpr isize interval = 0;
    Wide<C> sum{}, segments{};
    Wide<C>* totals;

    ONESUM_INLINE explicit WideSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { sum = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush() {}
    ONESUM_INLINE void end_segment() {
        add_to(segments, sum);
        sum = Wide<C>{};
    }
    // Chosen by a mask: a choice between addresses would keep the sums out of the registers.
    ONESUM_INLINE void end(isize k, bool segmented) {
        totals[k] = Wide<C>::choose(splat(typename Vec<C>::Int(-int(segmented))), segments, sum);
    }
};

// Sums of exponentials, good to far below an ulp of the sum. Of floats the scales are summed, as doubles, and the small
// rest of each term apart; a scale has so few digits that it becomes a double by moving its bits (alternate_lanes), and
// the sum is that of even and odd lanes until it ends. Of doubles, whose rest is as large as the term, the rounded
// terms by Knuth's TwoSum, and what the rounding took. A few of these residuals are added up in their own type before
// they move on to the sum.
//
// Terms multiplied by a power of two give the sum so multiplied, bit for bit. So it does not matter by which exponent
// they were shifted, and a maximum that is met late only rescales what was summed before it.
template <class C> struct ExpSum : WideSum<C> {
    static constexpr isize interval = flush_interval;
    using V = typename Vec<C>::V;
    using WideSum<C>::WideSum;
    using WideSum<C>::sum;
    V residuals{};

    ONESUM_INLINE void begin(isize k, bool fresh) {
        WideSum<C>::begin(k, fresh);
        if constexpr (moved) sum = alternate_lanes(sum).scaled(1 / moved_bits_unit);
    }
    ONESUM_INLINE void flush() {
        if constexpr (moved) sum = sum + alternate_lanes(Wide<C>::of(residuals)).scaled(1 / moved_bits_unit);
        else add_to(sum, Wide<C>::of(residuals));
        residuals = V{};
    }
    ONESUM_INLINE void add(const Exp<C>& e) {
        if constexpr (moved) {
            sum = sum + moved_bits(e.scale);
            residuals = fma(e.hi, e.scale, residuals);
        } else {
            const V term = e.rounded();
            const auto s = two_sum(sum.hi, term);
            sum = {s.hi, sum.lo + s.lo};
            residuals = residuals + fma(e.lo, e.scale, fma(e.hi, e.scale, e.scale - term));
        }
    }
    ONESUM_INLINE void end_segment() {
        complete();
        WideSum<C>::end_segment();
    }
    ONESUM_INLINE void end(isize k, bool segmented) {
        complete();
        WideSum<C>::end(k, segmented);
    }

  private:
    static constexpr bool moved = Exp<C>::single_word;
    ONESUM_INLINE void complete() {
        if constexpr (moved) sum = lanes_in_order(sum).scaled(moved_bits_unit);
        add_to(sum, Wide<C>::of(residuals));
        residuals = V{};
    }
};

// Several sums over the same classes: Self::for_each(f) calls f for each of them.
template <class Self, isize terms> struct JointSum {
    static constexpr isize interval = terms;
    ONESUM_INLINE void begin(isize k, bool fresh) {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.begin(k, fresh); });
    }
    ONESUM_INLINE void flush() {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.flush(); });
    }
    ONESUM_INLINE void end_segment() {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.end_segment(); });
    }
    ONESUM_INLINE void end(isize k, bool segmented) {
        self().for_each([&](auto& sum) ONESUM_FORCE_INLINE { sum.end(k, segmented); });
    }

  private:
    ONESUM_INLINE Self& self() { return static_cast<Self&>(*this); }
};

// Sums of which a few terms, or products, are added up in their own type before they move on to a wide sum.
template <class C> struct PairSum : WideSum<C> {
    static constexpr isize interval = pair_terms;
    using V = typename Vec<C>::V;
    using WideSum<C>::WideSum;
    V pair{};

    ONESUM_INLINE void flush() {
        add_to(this->sum, Wide<C>::of(pair));
        pair = V{};
    }
    ONESUM_INLINE void add(V x) { pair = pair + x; }
    ONESUM_INLINE void add(V a, V b) { pair = fma(a, b, pair); }
    ONESUM_INLINE void end_segment() {
        flush();
        WideSum<C>::end_segment();
    }
    ONESUM_INLINE void end(isize k, bool segmented) {
        flush();
        WideSum<C>::end(k, segmented);
    }
};

}  // namespace
