// The contract of an operation, and how one is run on a few row blocks.
//
// An operation is a struct. `prepass` finds what must be known of all classes before anything is summed, such as the
// maximum; `combine` makes one of what is known of two pieces of a row. `needs_general` says which path a row block has
// to take for it. A Run of that path then goes over the classes in `sum`, makes of the sums what each row needs in
// `finish`, and goes over the classes again in `write`; `fix_pivot`, where there is one, puts right what only that
// told.
#pragma once

#include "loops/row_block.h"
#include "loops/scratch.h"

namespace {

// Two paths: a row that could take the fast one has the same bits by the general one.
// Fast: finite numbers, the maxima near 0. General: maxima anywhere (numerics/exp.h), a temperature, infinities and
// NaN, a mask.
struct Fast { static constexpr bool general = false; };
struct General { static constexpr bool general = true; };

// Where exponentials are kept: in the output, where the fast path does not read the logits again once they are there
// (which may be the same memory); in scratch, as the general path always has it.
enum class ExpCache { none, scratch, output };

// What comes after `finish`: nothing more, `sum` once more (for something else), or everything by the general path.
enum class Next { done, another_pass, general_path };

template <class Op>
concept Operation = requires {
    typename Op::template Sums<Horizontal<float>>;  // Totals, or more kinds of sums
    Op::prepass_inputs;                             // how many inputs the prepass reads
    Op::online_max;      // the prepass is a maximum, and on the fast path sums taken by a smaller one can be rescaled
    Op::exp_cache;       // where `write` finds the exponentials that `sum` has computed
    Op::always_general;  // there is no fast path
};

// The partial sums of a row block, of two kinds or more, and what is counted for every row.
template <class W_> struct Totals {
    using W = W_;
    static constexpr int kinds = 2;
    Wide<typename W::C> sum[W::sums], other[W::sums], count[W::views];
    auto* kind(int i) { return i == 0 ? sum : other; }
};
template <class T> void merge(T& totals, T& more) {
    using W = typename T::W;
    for (int i = 0; i < T::kinds; ++i)
        for (int k = 0; k < W::sums; ++k) add_to(totals.kind(i)[k], more.kind(i)[k]);
    for (int k = 0; k < W::views; ++k) add_to(totals.count[k], more.count[k]);
}
template <class T> void rescale(T& totals, typename T::W::V powers_of_two) {
    for (int i = 0; i < T::kinds; ++i)
        for (int k = 0; k < T::W::sums; ++k) totals.kind(i)[k] = totals.kind(i)[k].scaled(powers_of_two);
}

template <class Op, class W, class P> ONESUM_INLINE bool needs_general(const RowBlock<W>& g, const P& prepass) {
    if constexpr (Op::always_general) return true;
    else return Op::needs_general(g, prepass);
}
// f(Fast{}) or f(General{}).
template <class Op, class F> ONESUM_INLINE void with_path(bool general, F f) {
    if constexpr (!Op::always_general)
        if (!general) return f(Fast{});
    f(General{});
}

template <class Run, class W, class T> constexpr bool has_fix_pivot =
    requires(Run run, RowBlock<W> g, T totals) { run.fix_pivot(g, totals); };
template <class Run, class W, class T> ONESUM_INLINE void write(const Run& run, RowBlock<W>& g, T& totals) {
    if constexpr (has_fix_pivot<Run, W, T>) run.write(g, totals);
    else run.write(g);
}
template <class Run, class W, class T> ONESUM_INLINE void fix_pivot(const Run& run, RowBlock<W>& g, T& totals) {
    if constexpr (has_fix_pivot<Run, W, T>) run.fix_pivot(g, totals);
}
template <class Run, class W, class T> ONESUM_INLINE Next finish(Run& run, RowBlock<W>& g, T& totals) {
    if constexpr (std::is_void_v<decltype(run.finish(g, totals))>) return run.finish(g, totals), Next::done;
    else return run.finish(g, totals);
}

template <class Run, class W, class T> ONESUM_INLINE Next sum_up(Run& run, RowBlock<W>& g, T& totals) {
    Next next;
    do run.sum(g, totals);
    while ((next = finish(run, g, totals)) == Next::another_pass);
    return next;
}

// Row blocks, step by step for all of them, so that one need not wait for the end of another.
template <Operation Op, int most, class W> void run_row_blocks(RowBlock<W>* blocks, int count) {
    decltype(Op::prepass(blocks[0])) prepass[most];
    bool general = false;
    for (int t = 0; t < count; ++t) {
        prepass[t] = Op::prepass(blocks[t]);
        general |= needs_general<Op>(blocks[t], prepass[t]);
    }
    for (bool done = false; !done; general = true)
        with_path<Op>(general, [&](auto path) ONESUM_FORCE_INLINE {
            using Run = typename Op::template Run<decltype(path), W>;
            Room<Run, most> runs;
            typename Op::template Sums<W> totals[most];
            for (int t = 0; t < count; ++t) put(&runs[t], Run(blocks[t], prepass[t]));
            for (int t = 0; t < count; ++t) runs[t].sum(blocks[t], totals[t]);
            done = true;
            for (int t = 0; t < count; ++t) {
                Next next = finish(runs[t], blocks[t], totals[t]);
                if (next == Next::another_pass) next = sum_up(runs[t], blocks[t], totals[t]);
                done &= next != Next::general_path;
            }
            for (int t = 0; done && t < count && blocks[t].writes; ++t) {
                write(runs[t], blocks[t], totals[t]);
                fix_pivot(runs[t], blocks[t], totals[t]);
            }
        });
}

// One row block by itself.
template <Operation Op, class W> void run_row_block(RowBlock<W>& block) {
    const auto prepass = Op::prepass(block);
    bool general = needs_general<Op>(block, prepass);
    for (bool done = false; !done; general = true)
        with_path<Op>(general, [&](auto path) ONESUM_FORCE_INLINE {
            typename Op::template Run<decltype(path), W> run(block, prepass);
            typename Op::template Sums<W> totals;
            done = sum_up(run, block, totals) == Next::done;
            if (!done || !block.writes) return;
            write(run, block, totals);
            fix_pivot(run, block, totals);
        });
}

}  // namespace
