// Walking rows that lie side by side, their class axis strided: each lane of a vector is a row of its own.
//
// To give the bits that rows.h gives, the class at position j adds to partial sum j mod lanes, and the partial sums are brought together
// in the order in which rows.h adds the lanes of its vector.
#pragma once

#include "rows.h"

namespace {

template <class S_> struct Columns {
    using S = S_;
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    using I = typename Vec<C>::I;
    using Int = typename Vec<C>::Int;
    static constexpr int lanes = Vec<C>::lanes;
    static constexpr bool across = true;
    static constexpr int views = 1;
    static constexpr long memo_step = sizeof(V);

    long n;
    int count;       // rows side by side, at most one per lane
    long first = 0;  // of the classes, where longer rows are walked piece by piece

    struct Row {
        long n;
        int count;
        static constexpr int r = 0;

        template <class F> ONESUM_INLINE void each(F f) const {
            if (count == lanes)
                for (long j = 0; j < n; ++j) f(j, AllLanes{});
            else
                for (long j = 0; j < n; ++j) f(j, SomeLanes{count});
        }
        template <class F> ONESUM_INLINE void each_line(const Operand&, bool, F f) const { each(f); }
        template <class F, class Sum> ONESUM_INLINE void accumulate(Sum& sum, F f) const {
            if (count == lanes) chains(sum, f, AllLanes{});
            else chains(sum, f, SomeLanes{count});
        }
        static V of(const V& v) { return v; }
        struct Classes {
            char* p;
            long along;
            char* at(long j) const { return p + j * along; }
        };
        static Classes of(const Operand& a) { return {a.p, a.along}; }
        static char* at(const Operand& a, long j, int k) { return a.p + j * a.along + k * long(sizeof(S)); }
        struct Chosen {
            I class_;
            static bool may_be_at(long) { return true; }
            I at(long j) const { return class_ == Int(j); }
        };
        Chosen chosen(const long* classes) const {
            I v{};
            for (int k = 0; k < lanes; ++k) v[k] = Int(classes[k]);
            return {v};
        }

      private:
        template <class F, class Sum, class Lanes> ONESUM_INLINE void chains(Sum& sum, F f, Lanes lanes_) const {
            const long chains = n <= short_row ? 1 : lanes;
            for (long k = 0; k < chains; ++k) {
                sum.begin(k);
                for (long j = k; j < n;) {
                    const long end = n - j > block * chains ? j + block * chains : n;
                    for (; j < end; j += chains) f(j, lanes_);
                    sum.flush(k);
                }
            }
        }
    };
    template <class F> ONESUM_INLINE void rows(F f) const { f(Row{n, count}); }

    static V max_of(V* partial) { return partial[0]; }
    Wide<C> sum_of(Wide<C>* partial) const {
        return sum_of_vectors(partial, n <= short_row ? 1 : n < lanes ? int(n) : lanes);
    }
};

}  // namespace
