// The steps of an operation: what must be known first, the sums, their end, what is written. For groups of rows at once, and for rows too long for that,
// whose pieces go through each step before the next begins.
//
// Pieces of a row are always cut at the same classes: neither the number of threads nor the layout decides about a bit.
#pragma once

#include <cstdlib>

#include "normalizer.h"
#include "pool.h"

namespace {

// Classes of a piece of a long row, which threads share.
constexpr long piece = 1 << 16;

// After `write` some operations have something left to do, with what was summed on the way.
template <class Run, class W> constexpr bool has_last = requires(Run run, Group<W> g, Totals<W> totals) { run.last(g, totals); };
template <class Run, class W> ONESUM_INLINE void write(const Run& run, Group<W>& g, Totals<W>& totals) {
    if constexpr (has_last<Run, W>) run.write(g, totals);
    else run.write(g);
}
template <class Run, class W> ONESUM_INLINE void last(const Run& run, Group<W>& g, Totals<W>& totals) {
    if constexpr (has_last<Run, W>) run.last(g, totals);
}
// False: something is not finite, and all is to be done again in the careful form.
template <class Run, class W> ONESUM_INLINE bool end(Run& run, Group<W>& g, Totals<W>& totals) {
    if constexpr (std::is_void_v<decltype(run.end(g, totals))>) return run.end(g, totals), true;
    else return run.end(g, totals);
}

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
            Totals<W> totals[most];
            for (int t = 0; t < count; ++t) put(&runs[t], Run(groups[t], known[t]));
            for (int t = 0; t < count; ++t) runs[t].sum(groups[t], totals[t]);
            done = true;
            for (int t = 0; t < count; ++t) done &= end(runs[t], groups[t], totals[t]);
            for (int t = 0; done && t < count; ++t) {
                write(runs[t], groups[t], totals[t]);
                last(runs[t], groups[t], totals[t]);
            }
        });
}

// Calls f(i) for all i below `count`, on all threads.
template <class F> void parallel(long count, F f) {
    onesum::parallel(count, [](void* context, long i) { (*static_cast<F*>(context))(i); }, &f);
}

// One row in pieces. `group` is the whole row. False: no memory.
template <class Op, class S> bool run_pieces(Group<Rows<S>>& group) {
    using W = Rows<S>;
    using Known = decltype(Op::known(group));
    struct Part { Wide<typename W::C> sum, other, count; };
    const long n = group.walk.n, pieces = (n + piece - 1) / piece;
    char* const memory = static_cast<char*>(aligned_alloc(64, (size_t(pieces) * (sizeof(Known) + sizeof(Part)) + 63) / 64 * 64));
    if (!memory) return false;
    Part* const parts = reinterpret_cast<Part*>(memory);
    Known* const known = reinterpret_cast<Known*>(memory + size_t(pieces) * sizeof(Part));

    const auto at = [&](long i) {
        Group<W> g = group;
        g.walk = {i + 1 < pieces ? piece : n - i * piece, 1, i * piece};
        for (Operand* a : {&g.in[0], &g.in[1], &g.out}) a->p += i * piece * long(sizeof(S));
        g.mask.p += i * piece * g.mask.along;
        return g;
    };
    const auto merge = [&](Totals<W>& totals) {
        for (long i = 0; i < pieces; ++i) {
            if (i == 0) totals.sum[0] = totals.other[0] = totals.count[0] = Wide<typename W::C>{};
            add_to(totals.sum[0], parts[i].sum);
            add_to(totals.other[0], parts[i].other);
            add_to(totals.count[0], parts[i].count);
        }
    };
    const auto keep = [&](long i, const Totals<W>& totals) { parts[i] = {totals.sum[0], totals.other[0], totals.count[0]}; };

    parallel(pieces, [&](long i) {
        const auto g = at(i);
        put(known + i, Op::known(g));
    });
    for (long i = 1; i < pieces; ++i) known[0] = Op::together(group.walk, known[0], known[i]);
    int form = Op::form(group, known[0]);
    for (bool done = false; !done; ++form)
        Op::with(form, [&](auto form) {
            using Run = typename Op::template Run<decltype(form), W>;
            Run run(group, known[0]);
            parallel(pieces, [&](long i) {
                auto g = at(i);
                Totals<W> totals{};
                run.sum(g, totals);
                keep(i, totals);
            });
            Totals<W> totals;
            merge(totals);
            done = end(run, group, totals);
            if (!done) return;
            parallel(pieces, [&](long i) {
                auto g = at(i);
                Totals<W> totals{};
                write(run, g, totals);
                keep(i, totals);
                if (g.streamed) stream_end();
            });
            merge(totals);
            last(run, group, totals);
        });
    free(memory);
    return true;
}

// Groups of rows side by side, in pieces that `load(first, count, which)` brings to where groups[t].in is, and `store(first, count)` takes from out.
// `whole` are the same groups as they are in memory.
template <class Op, int most, class W, class Load, class Store> void run_pieces(Group<W>* whole, Group<W>* groups, int count, long n, Load load, Store store) {
    constexpr long step = block * W::lanes;  // one flush of every partial sum
    decltype(Op::known(groups[0])) known[most];
    const auto each = [&](auto f) ONESUM_INLINED {
        for (long first = 0; first < n; first += step) {
            const long some = n - first < step ? n - first : step;
            f(first, some);
        }
    };
    const auto cut = [&](int t, long first, long some) {
        groups[t].walk = {some, whole[t].walk.count, first};
        groups[t].mask.p = whole[t].mask.p + first * whole[t].mask.along;
        groups[t].next_max_known = false;
    };
    each([&](long first, long some) {
        load(first, some, 0);
        for (int t = 0; t < count; ++t) {
            cut(t, first, some);
            const auto here = Op::known(groups[t]);
            known[t] = first == 0 ? here : Op::together(whole[t].walk, known[t], here);
        }
    });
    int form = 0;
    for (int t = 0; t < count; ++t) {
        const int wanted = Op::form(whole[t], known[t]);
        form = wanted > form ? wanted : form;
    }
    for (bool done = false; !done; ++form)
        Op::with(form, [&](auto form) {
            using Run = typename Op::template Run<decltype(form), W>;
            Room<Run, most> runs;
            Totals<W> totals[most], pieces[most];  // as run_pieces above sums a row
            for (int t = 0; t < count; ++t) {
                put(&runs[t], Run(whole[t], known[t]));
                totals[t] = pieces[t] = Totals<W>{};
            }
            const auto add = [&](int t, const Totals<W>& some, long end) {
                merge(pieces[t], some);
                if (end % piece != 0 && end != n) return;
                merge(totals[t], pieces[t]);
                pieces[t] = Totals<W>{};
            };
            const auto over_all = [&](auto step_of, auto after) {
                each([&](long first, long some) {
                    load(first, some, 0);
                    load(first, some, 1);
                    for (int t = 0; t < count; ++t) {
                        cut(t, first, some);
                        Totals<W> here{};
                        step_of(t, here);
                        add(t, here, first + some);
                    }
                    after(first, some);
                });
            };
            over_all([&](int t, Totals<W>& here) { runs[t].sum(groups[t], here); }, [](long, long) {});
            done = true;
            for (int t = 0; t < count; ++t) {
                done &= end(runs[t], whole[t], totals[t]);
                totals[t] = Totals<W>{};
            }
            if constexpr (!std::is_null_pointer_v<Store>) {
                if (!done) return;
                over_all([&](int t, Totals<W>& here) { write(runs[t], groups[t], here); }, store);
                for (int t = 0; t < count; ++t) last(runs[t], whole[t], totals[t]);
            }
        });
}

}  // namespace
