// The steps of an operation: what must be known first, the sums, their end, what is written. For groups of rows at once, and for rows too long for that,
// whose pieces go through each step before the next begins.
//
// Pieces of a row are always cut at the same classes: neither the number of threads nor the layout decides about a bit.
#pragma once

#include "aligned.h"
#include "normalizer.h"
#include "pool.h"

namespace {

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

// Memory for vectors, or null; to be released.
inline char* memory_of(size_t bytes) { return static_cast<char*>(aligned_memory(bytes)); }

// Puts an object where there is room for it. (A placement new would be a function that the instruction sets share.)
template <class T> void put(T* room, const T& made) {
    static_assert(std::is_trivially_copyable_v<T>);
    memcpy(static_cast<void*>(room), &made, sizeof made);
}
// Room for objects that are made one by one.
template <class T, int most> struct Room {
    alignas(T) char bytes[most * sizeof(T)];
    T& operator[](int i) { return *reinterpret_cast<T*>(bytes + i * sizeof(T)); }
};

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
        Op::with(form, [&](auto form) ONESUM_INLINED {
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

// Calls f(i) for all i below `count`, on all threads.
template <class F> void parallel(isize count, F f) {
    onesum::parallel(count, [](void* context, isize i) { (*static_cast<F*>(context))(i); }, &f);
}

// One row in pieces. `group` is the whole row. False: no memory.
//
// Where sums can be rescaled, each piece is summed by its own maximum as soon as that is known, while the piece is at hand.
template <class Op, class S> bool run_pieces(Group<Rows<S>>& group) {
    using W = Rows<S>;
    using Known = decltype(Op::known(group));
    using Sums = typename Op::template Sums<W>;
    struct Part { Wide<typename W::C> sums[Sums::kinds], count; };
    const isize n = group.walk.n, pieces = (n + piece - 1) / piece;
    char* const memory = memory_of(size_t(pieces) * (sizeof(Known) + sizeof(Part)));
    if (!memory) return false;
    Part* const parts = reinterpret_cast<Part*>(memory);
    Known* const known = reinterpret_cast<Known*>(memory + size_t(pieces) * sizeof(Part));

    const auto at = [&](isize i) {
        Group<W> g = group;
        g.walk = {i + 1 < pieces ? piece : n - i * piece, 1, i * piece};
        for (Operand* a : {&g.in[0], &g.in[1], &g.out}) a->p += i * piece * isize(sizeof(S));
        g.mask.p += i * piece * g.mask.along;
        return g;
    };
    // step(g, totals) for every piece, its sums kept. Until they are written, the output's lines would be fetched in vain.
    const auto each = [&](bool writes, auto step) {
        parallel(pieces, [&](isize i) {
            auto g = at(i);
            if (!writes) g.out = g.in[0];
            Sums totals{};
            step(g, totals, i);
            for (int kind = 0; kind < Sums::kinds; ++kind) parts[i].sums[kind] = totals.kind(kind)[0];
            parts[i].count = totals.count[0];
        });
    };
    const auto merge = [&](Sums& totals) {
        for (int kind = 0; kind < Sums::kinds; ++kind) totals.kind(kind)[0] = Wide<typename W::C>{};
        totals.count[0] = Wide<typename W::C>{};
        for (isize i = 0; i < pieces; ++i) {
            for (int kind = 0; kind < Sums::kinds; ++kind) add_to(totals.kind(kind)[0], parts[i].sums[kind]);
            add_to(totals.count[0], parts[i].count);
        }
    };

    each(false, [&](Group<W>& g, Sums& totals, isize i) {
        put(known + i, Op::known(g));
        if constexpr (Op::rescales) {
            typename Op::template Run<Near, W> run(g, known[i]);
            if (Op::form(g, known[i]) == 0) run.sum(g, totals);
        }
    });
    Known all = known[0];
    for (isize i = 1; i < pieces; ++i) all = Op::together(group.walk, all, known[i]);
    int form = Op::form(group, all);
    bool summed = false;
    if constexpr (Op::rescales) {
        summed = form == 0;
        for (isize i = 0; i < pieces; ++i) summed &= Op::form(group, known[i]) == 0 || known[i][0] == -infinity;
        const typename Op::template Run<Near, W> run(group, all);
        for (isize i = 0; summed && i < pieces; ++i) {
            const auto power = run.rescaling(known[i]);
            for (auto& sum : parts[i].sums) sum = sum.scaled(power);
        }
    }
    for (bool done = false; !done; ++form)
        Op::with(form, [&](auto form) {
            using Run = typename Op::template Run<decltype(form), W>;
            Run run(group, all);
            Sums totals;
            Then then;
            do {
                if (!summed) each(false, [&](Group<W>& g, Sums& totals, isize) { run.sum(g, totals); });
                summed = false;
                merge(totals);
            } while ((then = end(run, group, totals)) == Then::again);
            done = then == Then::nothing;
            if (!done || !group.writes) return;
            each(true, [&](Group<W>& g, Sums& totals, isize) {
                write(run, g, totals);
                if (g.streamed) stream_end();
            });
            merge(totals);
            last(run, group, totals);
        });
    release(memory);
    return true;
}

}  // namespace
