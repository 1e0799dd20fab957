// What an operation is, and how it is run on a few row blocks.
#pragma once

#include "loops/row_block.h"
#include "loops/scratch.h"

namespace {

// What a group of rows may need. Each form gives the rows that need less the bits of the form before it.
struct Near { static constexpr bool general = false; };    // finite logits, the maxima near 0
struct General { static constexpr bool general = true; };  // maxima anywhere (see exp.h), a temperature, +inf among the logits, a mask

// What is to come after the end of the sums: nothing, the sums once more (of something else), or all in the careful form.
enum class Then { nothing, again, carefully };

// The partial sums of a group, of two kinds or more, and what is counted for every row.
template <class W_> struct Totals {
    using W = W_;
    static constexpr int kinds = 2;
    Wide<typename W::C> sum[W::lanes], other[W::lanes], count[W::views];
    auto* kind(int i) { return i == 0 ? sum : other; }
};
template <class T> void merge(T& totals, T& more) {
    using W = typename T::W;
    for (int i = 0; i < T::kinds; ++i)
        for (int k = 0; k < W::lanes; ++k) add_to(totals.kind(i)[k], more.kind(i)[k]);
    for (int k = 0; k < W::views; ++k) add_to(totals.count[k], more.count[k]);
}
template <class T> void rescale(T& totals, typename T::W::V powers_of_two) {
    for (int i = 0; i < T::kinds; ++i)
        for (int k = 0; k < T::W::lanes; ++k) totals.kind(i)[k] = totals.kind(i)[k].scaled(powers_of_two);
}

// What was counted, for every row.
template <class W> Wide<typename W::C> count_of(const W& walk, Wide<typename W::C>* counts) {
    if constexpr (W::across) return counts[0];
    else return walk.sum_of(counts);
}

// After `write` some operations have something left to do, with what was summed on the way.
template <class Run, class W, class T> constexpr bool has_last = requires(Run run, Group<W> g, T totals) { run.last(g, totals); };
template <class Run, class W, class T> ONESUM_INLINE void write(const Run& run, Group<W>& g, T& totals) {
    if constexpr (has_last<Run, W, T>) run.write(g, totals);
    else run.write(g);
}
template <class Run, class W, class T> ONESUM_INLINE void last(const Run& run, Group<W>& g, T& totals) {
    if constexpr (has_last<Run, W, T>) run.last(g, totals);
}
template <class Run, class W, class T> ONESUM_INLINE Then end(Run& run, Group<W>& g, T& totals) {
    if constexpr (std::is_void_v<decltype(run.end(g, totals))>) return run.end(g, totals), Then::nothing;
    else return run.end(g, totals);
}

// Groups of rows, step by step for all of them, so that one need not wait for the end of another.
template <class Op, int most, class W> void run_groups(Group<W>* groups, int count) {
    decltype(Op::known(groups[0])) known[most];
    int form = 0;
    for (int t = 0; t < count; ++t) {
        known[t] = Op::known(groups[t]);
        const int wanted = Op::form(groups[t], known[t]);
        form = wanted > form ? wanted : form;
    }
    for (bool done = false; !done; ++form)
        Op::with(form, [&](auto form) ONESUM_FORCE_INLINE {
            using Run = typename Op::template Run<decltype(form), W>;
            Room<Run, most> runs;
            typename Op::template Sums<W> totals[most];
            for (int t = 0; t < count; ++t) put(&runs[t], Run(groups[t], known[t]));
            for (int t = 0; t < count; ++t) runs[t].sum(groups[t], totals[t]);
            done = true;
            for (int t = 0; t < count; ++t) {
                Then then;
                while ((then = end(runs[t], groups[t], totals[t])) == Then::again) runs[t].sum(groups[t], totals[t]);
                done &= then != Then::carefully;
            }
            for (int t = 0; done && t < count && groups[t].writes; ++t) {
                write(runs[t], groups[t], totals[t]);
                last(runs[t], groups[t], totals[t]);
            }
        });
}

}  // namespace
