// The steps of an operation for rows side by side that are too long for tiles of them all: part by part, which threads share, and tile by tile.
//
// What parts sum is merged in their order, as steps.h and rows.h merge the parts and pieces of one row: to the same bits.
#pragma once

#include "steps.h"

namespace {

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
    const auto each = [&](int read, bool write, auto step, auto merge) ONESUM_INLINED {
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
        const auto raise = [](const Run& run, auto top, Known& known, auto... totals) ONESUM_INLINED {
            if (!any(top != known)) return;
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
        Op::with(form, [&](auto form) ONESUM_INLINED {
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
