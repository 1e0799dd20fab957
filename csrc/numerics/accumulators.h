// Sums that are better than what is summed.
#pragma once

#include "numerics/exp.h"

namespace {

// Sums that are wide from the start. After `end_part` they begin again, and the totals are those of all parts.
template <class C> struct WideSum {
    static constexpr bool in_blocks = false;
    Wide<C> sum{}, parts{};
    Wide<C>* totals;

    ONESUM_INLINE explicit WideSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { sum = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush(isize k) { totals[k] = sum; }
    ONESUM_INLINE void end_part(isize k) {
        add_to(parts, sum);
        totals[k] = parts;
        sum = Wide<C>{};
    }
};

// Sums of exponentials, good to far below an ulp of the sum. With a table, the scales are summed, and the small rest of each term apart; without, a term's
// rest is as large as the term, and the rounded terms are summed and what the rounding took apart. Floats are summed as doubles, doubles by Knuth's TwoSum;
// after every block its two words and the rests move on to a wide total.
//
// Terms multiplied by a power of two give the sum so multiplied, bit for bit. So it does not matter by which exponent they were shifted, and a maximum
// that is met late only rescales what was summed before it.
template <class C> struct ExpSum {
    static constexpr bool in_blocks = true;
    using V = typename Vec<C>::V;
    Wide<C> sum{}, total{}, parts{};
    V rests{};
    Wide<C>* totals;

    ONESUM_INLINE explicit ExpSum(Wide<C>* totals) : totals(totals) {}
    ONESUM_INLINE void begin(isize k, bool fresh) { total = fresh ? Wide<C>{} : totals[k]; }
    ONESUM_INLINE void flush(isize k) {
        add_to(total, sum + Wide<C>::of(rests));
        totals[k] = total;
        sum = Wide<C>{};
        rests = V{};
    }
    ONESUM_INLINE void end_part(isize k) {
        add_to(parts, total);
        totals[k] = parts;
        total = Wide<C>{};
    }
    ONESUM_INLINE void add(const Exp<C>& e) {
        const V term = Exp<C>::one_word ? e.scale : e.rounded();
        if constexpr (sizeof(C) == 4) {
            sum = sum + Wide<C>::of(term);
        } else {
            const auto s = two_sum(sum.hi, term);
            sum = {s.hi, sum.lo + s.lo};
        }
        if constexpr (Exp<C>::one_word) rests = fma(e.hi, e.scale, rests);
        else rests = rests + fma(e.lo, e.scale, fma(e.hi, e.scale, e.scale - term));
    }
};

}  // namespace
