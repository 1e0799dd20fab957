// Rows too long to be gone over at once: cut along the classes, so that threads share them and what is read is still at
// hand when it is used. Each step of an operation (protocol.h) is done for all pieces before the next begins.
//
// Rows are always cut at the same classes, and what the pieces sum is always merged in the same order: neither the
// number of threads nor the layout decides about a bit. A row that lies in memory as one is cut into row chunks; rows
// side by side into sum segments, whose sums are merged chunk by chunk.
#pragma once

#include "loops/protocol.h"
#include "runtime/thread_pool.h"

namespace {

// Calls f(i) for all i below `count`, on all threads.
template <class F> void parallel(isize count, F f) {
    onesum::parallel(count, [](void* context, isize i) { (*static_cast<F*>(context))(i); }, &f);
}

// One row in chunks; `block` is the whole row. load(task, g) brings the operands of chunk g to where one of `tasks` tasks
// has them, and store(g) takes the output from there. False: no memory.
//
// With an online maximum each chunk is summed by its own as soon as that is known, while the chunk is at hand.
template <Operation Op, class C, class Load, class Store>
bool run_row_chunks(RowBlock<Horizontal<C>>& block, isize tasks, Load load, Store store) {
    using W = Horizontal<C>;
    using Prepass = decltype(Op::prepass(block));
    using Sums = typename Op::template Sums<W>;
    struct ChunkSums { Wide<C> sums[Sums::kinds][W::sum_vectors], count; };
    const isize n = block.walk.n, chunks = (n + row_chunk - 1) / row_chunk;
    char* const memory = memory_of(size_t(chunks) * (sizeof(Prepass) + sizeof(ChunkSums)));
    if (!memory) return false;
    ChunkSums* const of_chunk = reinterpret_cast<ChunkSums*>(memory);
    Prepass* const prepass = reinterpret_cast<Prepass*>(memory + size_t(chunks) * sizeof(ChunkSums));

    // step(g, totals, i) for every chunk, its sums kept.
    const auto for_each_chunk = [&](bool writes, auto step) {
        isize next = 0;
        parallel(tasks, [&](isize task) {
            for (isize i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < chunks;) {
                RowBlock<W> g = block;
                g.walk = {i + 1 < chunks ? row_chunk : n - i * row_chunk, 1, i * row_chunk};
                g.mask.p += i * row_chunk * g.mask.class_stride;
                load(task, g);
                Sums totals{};
                step(g, totals, i);
                if (writes) store(g);
                for (int kind = 0; kind < Sums::kinds; ++kind)
                    for (int k = 0; k < W::sum_vectors; ++k) of_chunk[i].sums[kind][k] = totals.kind(kind)[k];
                of_chunk[i].count = totals.count[0];
            }
        });
    };
    const auto merge = [&](Sums& totals) {
        totals = Sums{};
        for (isize i = 0; i < chunks; ++i) {
            for (int kind = 0; kind < Sums::kinds; ++kind)
                for (int k = 0; k < W::sum_vectors; ++k) add_to(totals.kind(kind)[k], of_chunk[i].sums[kind][k]);
            add_to(totals.count[0], of_chunk[i].count);
        }
    };

    for_each_chunk(false, [&](RowBlock<W>& g, Sums& totals, isize i) {
        put(prepass + i, Op::prepass(g));
        if constexpr (Op::online_max) {
            typename Op::template Run<Fast, W> run(g, prepass[i]);
            if (!Op::needs_general(g, prepass[i])) run.sum(g, totals);
        }
    });
    Prepass all = prepass[0];
    for (isize i = 1; i < chunks; ++i) all = Op::combine(block.walk, all, prepass[i]);
    bool general = needs_general<Op>(block, all), summed = false;
    if constexpr (Op::online_max) {
        summed = !general;
        for (isize i = 0; i < chunks; ++i)
            summed &= !Op::needs_general(block, prepass[i]) || prepass[i][0] == -infinity;
        const typename Op::template Run<Fast, W> run(block, all);
        for (isize i = 0; summed && i < chunks; ++i) {
            const auto power = run.rescaling(prepass[i]);
            for (auto& sums : of_chunk[i].sums)
                for (auto& sum : sums) sum = sum.scaled(power);
        }
    }
    for (bool done = false; !done; general = true)
        with_path<Op>(general, [&](auto path) {
            using Run = typename Op::template Run<decltype(path), W>;
            Run run(block, all);
            Sums totals;
            Next next;
            do {
                if (!summed) for_each_chunk(false, [&](RowBlock<W>& g, Sums& totals, isize) { run.sum(g, totals); });
                summed = false;
                merge(totals);
            } while ((next = finish(run, block, totals)) == Next::another_pass);
            done = next == Next::done;
            if (!done || !block.writes) return;
            for_each_chunk(true, [&](RowBlock<W>& g, Sums& totals, isize) {
                write(run, g, totals);
                if (g.streamed) stream_fence();
            });
            merge(totals);
            fix_pivot(run, block, totals);
        });
    release(memory);
    return true;
}

// How many segments of n classes are summed before their sums are merged.
inline isize segments_at_once(isize n) {
    const isize segments = (n + sum_segment - 1) / sum_segment;
    return segments < max_segments_at_once ? segments : max_segments_at_once;
}

// Rows side by side that are too long for a tile of them all: segment by segment, and tile by tile. `whole` are blocks
// of the same n classes as they are in memory. workspace_of(i) makes the workspace of one of `tasks` tasks, which has
// blocks like them, of tiles: workspace.load(first, classes, soon, which) brings an input to where blocks[t].in is,
// while the `soon` classes after them are fetched, and workspace.store(first, classes) takes from blocks[t].out. False:
// no memory.
//
// With an online maximum sums are taken by the maximum so far.
template <Operation Op, bool writes, int inputs, class W, class Workspace>
bool run_segments(RowBlock<W>* whole, int count, isize n, isize tasks, Workspace workspace_of) {
    using Prepass = decltype(Op::prepass(whole[0]));
    constexpr isize tile = flush_classes<typename W::C>;
    using Totals = typename Op::template Sums<W>;
    // Of one block: what a segment sums; what the whole rows do, up to the last chunk, and the chunk that is under way.
    struct Segment {
        Totals totals;
        Prepass prepass;
    };
    struct State {
        Totals row, chunk;
        Prepass prepass;
        Next next;
    };
    const isize segments = (n + sum_segment - 1) / sum_segment, round = segments_at_once(n);
    char* const memory = memory_of((round * sizeof(Segment) + sizeof(State)) * size_t(count));
    if (!memory) return false;
    Segment* const of_segment = reinterpret_cast<Segment*>(memory);
    State* const state = reinterpret_cast<State*>(memory + round * count * sizeof(Segment));

    // step(g, segment, t) for every tile and block, with the sums of the tile's segment; then merge(i, segment, t) for
    // every segment and block.
    const auto for_each_segment = [&](int read, bool write, auto step, auto merge) ONESUM_FORCE_INLINE {
        for (isize from = 0; from < segments; from += round) {
            const isize some = segments - from < round ? segments - from : round;
            isize next = 0;
            parallel(tasks, [&](isize task) {
                auto workspace = workspace_of(task);
                for (isize i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < some;) {
                    Segment* const segment = of_segment + i * count;
                    for (int t = 0; t < count; ++t) segment[t].totals = Totals{};
                    const isize begin = (from + i) * sum_segment,
                                end = n - begin < sum_segment ? n : begin + sum_segment;
                    for (isize first = begin; first < end; first += tile) {
                        const isize classes = end - first < tile ? end - first : tile,
                                    soon = end - first - classes < tile ? end - first - classes : tile;
                        for (int which = 0; which < read; ++which) workspace.load(first, classes, soon, which);
                        for (int t = 0; t < count; ++t) {
                            RowBlock<W>& g = workspace.blocks[t];
                            g.walk = {classes, whole[t].walk.count, first};
                            g.mask.p = whole[t].mask.p + first * whole[t].mask.class_stride;
                            const auto counted =
                                segment[t].totals.count[0];  // sums go on from tile to tile, counts begin again
                            step(g, segment[t], t);
                            add_to(segment[t].totals.count[0], counted);
                        }
                        if (write) workspace.store(first, classes);
                    }
                }
            });
            for (isize i = 0; i < some; ++i)
                for (int t = 0; t < count; ++t) merge(from + i, of_segment[i * count + t], t);
        }
    };
    const auto add_up = [&](isize i, Segment& segment, int t) {
        State& s = state[t];
        if (i == 0) s.row = s.chunk = Totals{};
        merge(s.chunk, segment.totals);
        if ((i + 1) * sum_segment % row_chunk != 0 && i + 1 < segments) return;
        merge(s.row, s.chunk);
        s.chunk = Totals{};
    };

    const bool online = Op::online_max && !whole[0].mask.p;
    bool summed = online, done = true;
    if constexpr (Op::online_max)
        if (online) {
            using Run = typename Op::template Run<Fast, W>;
            const auto lowest = splat(typename W::C(-infinity));
            // Brings sums to a larger maximum.
            const auto raise = [](const Run& run, auto top, Prepass& prepass, auto... totals) ONESUM_FORCE_INLINE {
                if (!any_true(top != prepass)) return;
                const auto power = run.rescaling(prepass);
                (rescale(*totals, power), ...);
                prepass = top;
            };
            for_each_segment(
                inputs, false,
                [&](RowBlock<W>& g, Segment& segment, int) {
                    if (g.walk.first % sum_segment == 0) segment.prepass = lowest;
                    const auto top = Op::combine(g.walk, segment.prepass, Op::prepass(g));
                    Run run(g, top);
                    raise(run, top, segment.prepass, &segment.totals);
                    run.sum(g, segment.totals);
                },
                [&](isize i, Segment& segment, int t) {
                    if (i == 0) state[t].prepass = lowest;
                    const auto top = Op::combine(whole[t].walk, state[t].prepass, segment.prepass);
                    const Run run(whole[t], top);
                    if (i > 0) raise(run, top, state[t].prepass, &state[t].row, &state[t].chunk);
                    state[t].prepass = top;
                    raise(run, top, segment.prepass, &segment.totals);
                    add_up(i, segment, t);
                });
        }
    if (!online) {
        for_each_segment(
            Op::prepass_inputs, false,
            [&](RowBlock<W>& g, Segment& segment, int) {
                const auto here = Op::prepass(g);
                segment.prepass = g.walk.first % sum_segment == 0 ? here : Op::combine(g.walk, segment.prepass, here);
            },
            [&](isize i, Segment& segment, int t) {
                state[t].prepass =
                    i == 0 ? segment.prepass : Op::combine(whole[t].walk, state[t].prepass, segment.prepass);
            });
    }
    bool general = false;
    for (int t = 0; t < count; ++t) general |= needs_general<Op>(whole[t], state[t].prepass);
    summed &= !general;
    for (bool once_more = true; done && once_more; general = true) {
        once_more = false;
        with_path<Op>(general, [&](auto path) ONESUM_FORCE_INLINE {
            using Run = typename Op::template Run<decltype(path), W>;
            Run* const runs = reinterpret_cast<Run*>(memory_of(count * sizeof(Run)));
            done = runs;
            for (int t = 0; done && t < count; ++t) {
                put(runs + t, Run(whole[t], state[t].prepass));
                state[t].next = Next::another_pass;
            }
            for (bool again = true; done && again; summed = false) {
                if (!summed)
                    for_each_segment(
                        inputs, false,
                        [&](RowBlock<W>& g, Segment& segment, int t) {
                            if (state[t].next == Next::another_pass) runs[t].sum(g, segment.totals);
                        },
                        add_up);
                again = false;
                for (int t = 0; t < count; ++t) {
                    if (state[t].next == Next::another_pass) state[t].next = finish(runs[t], whole[t], state[t].row);
                    again |= state[t].next == Next::another_pass;
                    once_more |= state[t].next == Next::general_path;
                }
            }
            if constexpr (writes) {
                if (done && !once_more && whole[0].writes) {
                    for_each_segment(
                        inputs, true,
                        [&](RowBlock<W>& g, Segment& segment, int t) { write(runs[t], g, segment.totals); }, add_up);
                    for (int t = 0; t < count; ++t) fix_pivot(runs[t], whole[t], state[t].row);
                }
            }
            release(runs);
        });
    }
    release(memory);
    return done;
}

}  // namespace
