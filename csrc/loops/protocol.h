// The contract of an operation, and how the loops see it.
//
// An operation is a struct. `prepass` finds what must be known of all classes before anything is summed, such as the
// maximum; `combine` makes one of what is known of two pieces of a row. `needs_general` says which path a row block has
// to take for it. A Run of that path then goes over the classes in `sum`, makes of the sums what each row needs in
// `finish`, and goes over the classes again in `write`; `fix_pivot`, where there is one, puts right what only that
// told. The loops are compiled once for all operations: they have these steps as functions.
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

// What is counted for every row of a block, and the partial sums, of two kinds or more: one array after the other.
template <class W_> struct Totals {
    using W = W_;
    static constexpr int kinds = 2;
    Wide<typename W::C> count[W::views], sum[W::sums], other[W::sums];

    Wide<typename W::C>* begin() { return reinterpret_cast<Wide<typename W::C>*>(this); }
    Wide<typename W::C>* kind(int i) { return begin() + W::views + i * W::sums; }
};

// The steps of an operation over one walk. What they hand on lies in memory that the loops have for them, of the sizes
// that stand here: what the prepass found, a Run, the totals.
template <class W> struct Steps {
    using C = typename W::C;
    size_t prepass_bytes, run_bytes, totals_bytes;
    int kinds, prepass_inputs;
    bool online_max;
    ExpCache exp_cache;

    // All steps of some blocks of whole rows; `room` has bytes() for each.
    void (*run)(RowBlock<W>* blocks, int count, char* room);

    void (*prepass)(const RowBlock<W>&, void* prepass);
    void (*combine)(const W&, void* prepass, const void* of_later_classes);
    bool (*needs_general)(const RowBlock<W>&, const void* prepass);
    struct Path {
        void (*begin)(const RowBlock<W>&, const void* prepass, void* run);
        void (*sum)(void* run, RowBlock<W>&, Totals<W>&);
        Next (*finish)(void* run, RowBlock<W>&, Totals<W>&);
        void (*write)(const void* run, RowBlock<W>&, Totals<W>&);
        void (*fix_pivot)(const void* run, RowBlock<W>&, Totals<W>&);  // null if there is none
    } fast, general;

    const Path& path(bool general_path) const { return general_path ? general : fast; }
    size_t bytes() const { return prepass_bytes + run_bytes + totals_bytes; }
};

// Memory for the steps of one row block, from `room` on.
template <class W> struct StepMemory {
    void *prepass, *run;
    Totals<W>* totals;
    StepMemory(const Steps<W>& steps, char* room)
        : prepass(room), run(room + steps.prepass_bytes),
          totals(reinterpret_cast<Totals<W>*>(room + steps.prepass_bytes + steps.run_bytes)) {}
};

template <Operation Op, class W, class Path> constexpr typename Steps<W>::Path path_of() {
    using Run = typename Op::template Run<Path, W>;
    using Sums = typename Op::template Sums<W>;
    using Prepass = decltype(Op::prepass(RowBlock<W>{}));
    typename Steps<W>::Path path{};
    path.begin = [](const RowBlock<W>& g, const void* prepass, void* run) {
        make<Run>(run, g, *static_cast<const Prepass*>(prepass));
    };
    path.sum = [](void* run, RowBlock<W>& g, Totals<W>& totals) {
        static_cast<Run*>(run)->sum(g, static_cast<Sums&>(totals));
    };
    path.finish = [](void* run, RowBlock<W>& g, Totals<W>& totals) {
        Run& r = *static_cast<Run*>(run);
        auto& sums = static_cast<Sums&>(totals);
        if constexpr (std::is_void_v<decltype(r.finish(g, sums))>) return r.finish(g, sums), Next::done;
        else return r.finish(g, sums);
    };
    constexpr bool has_fix_pivot = requires(Run run, RowBlock<W> g, Sums sums) { run.fix_pivot(g, sums); };
    path.write = [](const void* run, RowBlock<W>& g, [[maybe_unused]] Totals<W>& totals) {
        const Run& r = *static_cast<const Run*>(run);
        if constexpr (has_fix_pivot) r.write(g, static_cast<Sums&>(totals));
        else r.write(g);
    };
    if constexpr (has_fix_pivot)
        path.fix_pivot = [](const void* run, RowBlock<W>& g, Totals<W>& totals) {
            static_cast<const Run*>(run)->fix_pivot(g, static_cast<Sums&>(totals));
        };
    return path;
}

template <Operation Op, class W> constexpr size_t prepass_bytes =
    whole_lines(sizeof(decltype(Op::prepass(RowBlock<W>{}))));
template <Operation Op, class W> constexpr size_t run_bytes =
    whole_lines(sizeof(typename Op::template Run<General, W>));

// f(Fast{}) or f(General{}).
template <class Op, class F> ONESUM_INLINE void with_path(bool general, F f) {
    if constexpr (!Op::always_general)
        if (!general) return f(Fast{});
    f(General{});
}
// Row blocks, step by step for all of them, so that one need not wait for the end of another.
template <Operation Op, class W> void run_blocks(RowBlock<W>* blocks, int count, char* room) {
    using Prepass = decltype(Op::prepass(blocks[0]));
    using Sums = typename Op::template Sums<W>;
    constexpr size_t bytes = prepass_bytes<Op, W> + run_bytes<Op, W> + sizeof(Sums);
    const auto prepass = [&](int t) ONESUM_FORCE_INLINE { return reinterpret_cast<Prepass*>(room + t * bytes); };
    bool general = Op::always_general;
    for (int t = 0; t < count; ++t) {
        put(prepass(t), Op::prepass(blocks[t]));
        if constexpr (!Op::always_general) general |= Op::needs_general(blocks[t], *prepass(t));
    }
    for (bool done = false; !done; general = true)
        with_path<Op>(general, [&](auto path) ONESUM_FORCE_INLINE {
            using Run = typename Op::template Run<decltype(path), W>;
            constexpr auto steps = path_of<Op, W, decltype(path)>();
            const auto run = [&](int t) ONESUM_FORCE_INLINE {
                return reinterpret_cast<Run*>(room + t * bytes + prepass_bytes<Op, W>);
            };
            const auto totals = [&](int t) ONESUM_FORCE_INLINE -> Sums& {
                return *reinterpret_cast<Sums*>(room + t * bytes + prepass_bytes<Op, W> + run_bytes<Op, W>);
            };
            for (int t = 0; t < count; ++t) make<Run>(run(t), blocks[t], *prepass(t));
            for (int t = 0; t < count; ++t) run(t)->sum(blocks[t], totals(t));
            done = true;
            for (int t = 0; t < count; ++t) {
                Next next;
                while ((next = steps.finish(run(t), blocks[t], totals(t))) == Next::another_pass)
                    run(t)->sum(blocks[t], totals(t));
                done &= next != Next::general_path;
            }
            for (int t = 0; done && t < count && blocks[t].writes; ++t) {
                steps.write(run(t), blocks[t], totals(t));
                if constexpr (steps.fix_pivot != nullptr) steps.fix_pivot(run(t), blocks[t], totals(t));
            }
        });
}

template <Operation Op, class W> constexpr Steps<W> steps_of() {
    using Prepass = decltype(Op::prepass(RowBlock<W>{}));
    using GeneralRun = typename Op::template Run<General, W>;
    using Sums = typename Op::template Sums<W>;
    Steps<W> steps{};
    steps.prepass_bytes = prepass_bytes<Op, W>, steps.run_bytes = run_bytes<Op, W>;
    steps.totals_bytes = sizeof(Sums);
    steps.kinds = Sums::kinds;
    static_assert(sizeof(Sums) == (W::views + Sums::kinds * W::sums) * sizeof(Wide<typename W::C>));
    steps.prepass_inputs = Op::prepass_inputs, steps.online_max = Op::online_max, steps.exp_cache = Op::exp_cache;
    steps.run = run_blocks<Op, W>;
    steps.prepass = [](const RowBlock<W>& g, void* prepass) { put(static_cast<Prepass*>(prepass), Op::prepass(g)); };
    steps.combine = [](const W& walk, void* prepass, const void* later) {
        Prepass* const all = static_cast<Prepass*>(prepass);
        put(all, Op::combine(walk, *all, *static_cast<const Prepass*>(later)));
    };
    steps.general = path_of<Op, W, General>();
    if constexpr (Op::always_general) {
        steps.needs_general = [](const RowBlock<W>&, const void*) { return true; };
    } else {
        static_assert(sizeof(typename Op::template Run<Fast, W>) <= sizeof(GeneralRun));
        steps.needs_general = [](const RowBlock<W>& g, const void* prepass) {
            return bool(Op::needs_general(g, *static_cast<const Prepass*>(prepass)));
        };
        steps.fast = path_of<Op, W, Fast>();
    }
    return steps;
}

}  // namespace
