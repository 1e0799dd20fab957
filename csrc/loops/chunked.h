// The steps of an operation: what must be known first, the sums, their end, what is written. For groups of rows at once, and for rows too long for that,
// whose pieces go through each step before the next begins.
//
// Pieces of a row are always cut at the same classes: neither the number of threads nor the layout decides about a bit.
// The steps of an operation for rows side by side that are too long for tiles of them all: part by part, which threads share, and tile by tile.
//
// What parts sum is merged in their order, as steps.h and rows.h merge the parts and pieces of one row: to the same bits.
#pragma once

#include "loops/protocol.h"
#include "runtime/thread_pool.h"

namespace {

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
                if (g.streamed) stream_fence();
            });
            merge(totals);
            last(run, group, totals);
        });
    release(memory);
    return true;
}

inline isize at_once(isize n) {
    const isize parts = (n + part - 1) / part;
    return parts < parts_at_once ? parts : parts_at_once;
}

// `whole` are groups of the same n classes as they are in memory. desk_of(i) makes the desk of one of `team` tasks, which has groups like them, of tiles:
// desk.in(first, classes, soon, which) brings an input to where groups[t].in is, while the `soon` classes after them are fetched, and
// desk.out(first, classes) takes from groups[t].out.
// False: no memory.
//
// Where sums can be rescaled, they are taken by the maximum so far.
template <class Op, bool writes, int inputs, class W, class Desk> bool run_parts(Group<W>* whole, int count, isize n, isize team, Desk desk_of) {
    using Known = decltype(Op::known(whole[0]));
    constexpr isize tile = block * W::lanes;  // one flush of every partial sum
    using Totals = typename Op::template Sums<W>;
    struct Share { Totals totals; Known known; };  // of a part
    struct Sums { Totals row, piece; Known known; Then then; };
    const isize parts = (n + part - 1) / part, round = at_once(n);
    char* const memory = memory_of((round * sizeof(Share) + sizeof(Sums)) * size_t(count));
    if (!memory) return false;
    Share* const shares = reinterpret_cast<Share*>(memory);
    Sums* const sums = reinterpret_cast<Sums*>(memory + round * count * sizeof(Share));

    // step(group, share, t) for every tile and group, share those of its part; then merge(i, share, t) for every part and group.
    const auto each = [&](int read, bool write, auto step, auto merge) ONESUM_FORCE_INLINE {
        for (isize from = 0; from < parts; from += round) {
            const isize some = parts - from < round ? parts - from : round;
            isize next = 0;
            parallel(team, [&](isize task) {
                auto desk = desk_of(task);
                for (isize i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < some;) {
                    Share* const share = shares + i * count;
                    for (int t = 0; t < count; ++t) share[t].totals = Totals{};
                    const isize begin = (from + i) * part, end = n - begin < part ? n : begin + part;
                    for (isize first = begin; first < end; first += tile) {
                        const isize classes = end - first < tile ? end - first : tile;
                        for (int which = 0; which < read; ++which) desk.in(first, classes, end - first - classes < tile ? end - first - classes : tile, which);
                        for (int t = 0; t < count; ++t) {
                            Group<W>& g = desk.groups[t];
                            g.walk = {classes, whole[t].walk.count, first};
                            g.mask.p = whole[t].mask.p + first * whole[t].mask.along;
                            g.next_max_known = false;
                            const auto counted = share[t].totals.count[0];  // sums go on from tile to tile, counts begin again
                            step(g, share[t], t);
                            add_to(share[t].totals.count[0], counted);
                        }
                        if (write) desk.out(first, classes);
                    }
                }
            });
            for (isize i = 0; i < some; ++i)
                for (int t = 0; t < count; ++t) merge(from + i, shares[i * count + t], t);
        }
    };
    const auto add_up = [&](isize i, Share& share, int t) {
        Sums& s = sums[t];
        if (i == 0) s.row = s.piece = Totals{};
        merge(s.piece, share.totals);
        if ((i + 1) * part % piece != 0 && i + 1 < parts) return;
        merge(s.row, s.piece);
        s.piece = Totals{};
    };
    const auto add_up_known = [&](isize i, Share& share, int t) {
        sums[t].known = i == 0 ? share.known : Op::together(whole[t].walk, sums[t].known, share.known);
    };

    const bool rescales = Op::rescales && !whole[0].mask.p;
    bool summed = rescales, done = true;
    if constexpr (Op::rescales) if (rescales) {
        using Run = typename Op::template Run<Near, W>;
        const auto lowest = splat(typename W::C(-infinity));
        // To a larger maximum.
        const auto raise = [](const Run& run, auto top, Known& known, auto... totals) ONESUM_FORCE_INLINE {
            if (!any_true(top != known)) return;
            const auto power = run.rescaling(known);
            (rescale(*totals, power), ...);
            known = top;
        };
        each(inputs, false, [&](Group<W>& g, Share& share, int) {
            if (g.walk.first % part == 0) share.known = lowest;
            const auto top = Op::together(g.walk, share.known, Op::known(g));
            Run run(g, top);
            raise(run, top, share.known, &share.totals);
            run.sum(g, share.totals);
        }, [&](isize i, Share& share, int t) {
            if (i == 0) sums[t].known = lowest;
            const auto top = Op::together(whole[t].walk, sums[t].known, share.known);
            const Run run(whole[t], top);
            if (i > 0) raise(run, top, sums[t].known, &sums[t].row, &sums[t].piece);
            sums[t].known = top;
            raise(run, top, share.known, &share.totals);
            add_up(i, share, t);
        });
    }
    if (!rescales) {
        each(Op::known_from, false, [&](Group<W>& g, Share& share, int) {
            const auto here = Op::known(g);
            share.known = g.walk.first % part == 0 ? here : Op::together(g.walk, share.known, here);
        }, add_up_known);
    }
    int form = 0;
    for (int t = 0; t < count; ++t) {
        const int wanted = Op::form(whole[t], sums[t].known);
        form = wanted > form ? wanted : form;
    }
    summed &= form == 0;
    for (; done; ++form) {
        bool carefully = false;
        Op::with(form, [&](auto form) ONESUM_FORCE_INLINE {
            using Run = typename Op::template Run<decltype(form), W>;
            Run* const runs = reinterpret_cast<Run*>(memory_of(count * sizeof(Run)));
            done = runs;
            for (int t = 0; done && t < count; ++t) {
                put(runs + t, Run(whole[t], sums[t].known));
                sums[t].then = Then::again;
            }
            for (bool again = true; done && again; summed = false) {
                if (!summed)
                    each(inputs, false, [&](Group<W>& g, Share& share, int t) {
                        if (sums[t].then == Then::again) runs[t].sum(g, share.totals);
                    }, add_up);
                again = false;
                for (int t = 0; t < count; ++t) {
                    if (sums[t].then == Then::again) sums[t].then = end(runs[t], whole[t], sums[t].row);
                    again |= sums[t].then == Then::again;
                    carefully |= sums[t].then == Then::carefully;
                }
            }
            if constexpr (writes) {
                if (done && !carefully && whole[0].writes) {
                    each(inputs, true, [&](Group<W>& g, Share& share, int t) { write(runs[t], g, share.totals); }, add_up);
                    for (int t = 0; t < count; ++t) last(runs[t], whole[t], sums[t].row);
                }
            }
            release(runs);
        });
        if (!carefully) break;
    }
    release(memory);
    return done;
}

}  // namespace
