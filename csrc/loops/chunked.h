// Rows too long to be gone over at once: cut along the classes, so that threads share them and what is read is still at
// hand when it is used. Each step of an operation (protocol.h) is done for all pieces before the next begins.
//
// Rows are always cut at the same classes, and what the pieces sum is always merged in the same order: neither the
// number of threads nor the layout decides about a bit. A row that lies in memory as one is cut into row chunks; rows
// side by side into sum segments, whose sums are merged chunk by chunk.
#pragma once

#include "loops/protocol.h"
#include "numerics/exp.h"
#include "runtime/thread_pool.h"

namespace {

// Calls f(i) for all i below `count`, on all threads.
template <class F> void parallel(isize count, F f) {
    onesum::parallel(count, [](void* context, isize i) { (*static_cast<F*>(context))(i); }, &f);
}

template <class W> void merge(const Steps<W>& steps, Totals<W>& totals, Totals<W>& more) {
    for (int k = 0; k < W::views + steps.kinds * W::sums; ++k) add_to(totals.begin()[k], more.begin()[k]);
}
template <class W> void clear(const Steps<W>& steps, Totals<W>& totals) { memset(&totals, 0, steps.totals_bytes); }
// Brings sums to a larger maximum; the counts stay.
template <class W> void rescale(const Steps<W>& steps, Totals<W>& totals, typename W::V from, typename W::V to) {
    const auto power = rescaling(from, to);
    Wide<typename W::C>* const sums = totals.kind(0);
    for (int k = 0; k < steps.kinds * W::sums; ++k) sums[k] = sums[k].scaled(power);
}

// What exponentials were kept over their chunk's own maximum are computed again, if that is so much less than the row's
// that what multiplies them might leave the normal numbers.
template <class C> constexpr C least_cache_scale = C(0x1p-20);

// One row in chunks; `block` is the whole row. load(task, g) brings the operands of chunk g to where one of `tasks`
// tasks has them, and store(g) takes the output from there. False: no memory.
//
// With an online maximum each chunk is summed by its own as soon as that is known, while the chunk is at hand; and so
// are the exponentials that are kept, in the output.
template <class C, class Load, class Store> bool run_row_chunks(const Steps<Horizontal<C>>& steps,
                                                                RowBlock<Horizontal<C>>& block, isize tasks, Load load,
                                                                Store store) {
    using W = Horizontal<C>;
    using V = typename W::V;
    const isize n = block.walk.n, chunks = (n + row_chunk - 1) / row_chunk;
    // Of a chunk: what its prepass found, the count, and its part of each kind of sum. Of a task, and of the row: all.
    const size_t chunk_bytes = steps.prepass_bytes + (1 + steps.kinds * W::sum_vectors) * sizeof(Wide<C>);
    char* const memory = memory_of(size_t(tasks + 1) * steps.bytes() + size_t(chunks) * chunk_bytes);
    if (!memory) return false;
    const auto of_task = [&](isize task) { return StepMemory<W>(steps, memory + task * steps.bytes()); };
    const StepMemory<W> whole = of_task(tasks);
    const auto prepass_of = [&](isize i) -> void* { return memory + (tasks + 1) * steps.bytes() + i * chunk_bytes; };
    const auto sums_of = [&](isize i) {
        return reinterpret_cast<Wide<C>*>(static_cast<char*>(prepass_of(i)) + steps.prepass_bytes);
    };

    // step(g, task, i) for every chunk, the totals of its task kept.
    const auto for_each_chunk = [&](bool writes, auto step) {
        isize next = 0;
        parallel(tasks, [&](isize task) {
            Totals<W>& totals = *of_task(task).totals;
            for (isize i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < chunks;) {
                RowBlock<W> g = block;
                g.walk = {i + 1 < chunks ? row_chunk : n - i * row_chunk, 1, i * row_chunk};
                g.mask.p += i * row_chunk * g.mask.class_stride;
                load(task, g);
                if (g.fast_cache.p) g.fast_cache = g.out;
                clear(steps, totals);
                step(g, task, i);
                if (writes) store(g), stream_fence();
                Wide<C>* kept = sums_of(i);
                *kept++ = totals.count[0];
                for (int kind = 0; kind < steps.kinds; ++kind)
                    for (int k = 0; k < W::sum_vectors; ++k) *kept++ = totals.kind(kind)[k];
            }
        });
    };
    const auto merge_chunks = [&] {
        Totals<W>& totals = *whole.totals;
        clear(steps, totals);
        for (isize i = 0; i < chunks; ++i) {
            const Wide<C>* kept = sums_of(i);
            add_to(totals.count[0], *kept++);
            for (int kind = 0; kind < steps.kinds; ++kind)
                for (int k = 0; k < W::sum_vectors; ++k) add_to(totals.kind(kind)[k], *kept++);
        }
    };

    for_each_chunk(false, [&](RowBlock<W>& g, isize task, isize i) {
        steps.prepass(g, prepass_of(i));
        if (!steps.online_max || steps.needs_general(g, prepass_of(i))) return;
        steps.fast.begin(g, prepass_of(i), of_task(task).run);
        steps.fast.sum(of_task(task).run, g, *of_task(task).totals);
    });
    memcpy(whole.prepass, prepass_of(0), steps.prepass_bytes);
    for (isize i = 1; i < chunks; ++i) steps.combine(block.walk, whole.prepass, prepass_of(i));
    bool general = steps.needs_general(block, whole.prepass), summed = steps.online_max && !general;
    const auto max_of = [](const void* prepass) { return *static_cast<const V*>(prepass); };
    if (summed) {
        for (isize i = 0; i < chunks; ++i)
            summed &= max_of(prepass_of(i))[0] == -infinity || !steps.needs_general(block, prepass_of(i));
        for (isize i = 0; summed && i < chunks; ++i) {
            const V power = rescaling(max_of(prepass_of(i)), max_of(whole.prepass));
            for (int k = 1; k <= steps.kinds * W::sum_vectors; ++k) sums_of(i)[k] = sums_of(i)[k].scaled(power);
        }
    }
    for (bool done = false, online = summed; !done; general = true, online = false) {
        const auto& path = steps.path(general);
        path.begin(block, whole.prepass, whole.run);
        Next next;
        do {
            if (!summed)
                for_each_chunk(
                    false, [&](RowBlock<W>& g, isize task, isize) { path.sum(whole.run, g, *of_task(task).totals); });
            summed = false;
            merge_chunks();
        } while ((next = path.finish(whole.run, block, *whole.totals)) == Next::another_pass);
        done = next == Next::done;
        if (!done || !block.writes) continue;
        for_each_chunk(true, [&](RowBlock<W>& g, isize task, isize i) {
            if (online) {
                g.cache_scale = rescaling(max_of(prepass_of(i)), max_of(whole.prepass));
                if (!(g.cache_scale[0] >= least_cache_scale<C>)) g.fast_cache.p = nullptr;
            }
            path.write(whole.run, g, *of_task(task).totals);
        });
        merge_chunks();
        if (path.fix_pivot) path.fix_pivot(whole.run, block, *whole.totals);
    }
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
// blocks like them, of tiles, and room for a Run: workspace.load(first, classes, soon, which) brings an input to where
// blocks[t].in is, while the `soon` classes after them are fetched, and workspace.store(first, classes) takes from
// blocks[t].out. False: no memory.
//
// With an online maximum sums are taken by the maximum so far.
template <class W, class Workspace> bool run_segments(const Steps<W>& steps, int inputs, RowBlock<W>* whole, int count,
                                                      isize n, isize tasks, Workspace workspace_of) {
    using V = typename W::V;
    constexpr isize tile = tile_classes<typename W::C>;
    const isize segments = (n + sum_segment - 1) / sum_segment, round = segments_at_once(n);
    // Of each block: what a segment sums and its prepass finds; the same of the whole rows up to the last chunk, with
    // their Run; what the chunk sums that is under way; and what is next for the rows.
    const size_t segment_bytes = steps.prepass_bytes + steps.totals_bytes,
                 state_bytes = steps.bytes() + steps.totals_bytes + line_bytes;
    char* const memory = memory_of((round * segment_bytes + state_bytes) * size_t(count));
    if (!memory) return false;
    struct Segment {
        void* prepass;
        Totals<W>* totals;
    };
    const auto segment_of = [&](isize i, int t) {
        char* const p = memory + (i * count + t) * segment_bytes;
        return Segment{p, reinterpret_cast<Totals<W>*>(p + steps.prepass_bytes)};
    };
    const auto state_of = [&](int t) { return memory + round * count * segment_bytes + t * state_bytes; };
    const auto row_of = [&](int t) { return StepMemory<W>(steps, state_of(t)); };
    const auto chunk_of = [&](int t) -> Totals<W>& {
        return *reinterpret_cast<Totals<W>*>(state_of(t) + steps.bytes());
    };
    const auto next_of = [&](int t) -> Next& {
        return *reinterpret_cast<Next*>(state_of(t) + steps.bytes() + steps.totals_bytes);
    };

    // step(workspace, segment, t) for every tile and block, with the sums of the tile's segment; then merge(i, segment,
    // t) for every segment and block.
    const auto for_each_segment = [&](int read, bool write, auto step, auto merge) {
        for (isize from = 0; from < segments; from += round) {
            const isize some = segments - from < round ? segments - from : round;
            isize next = 0;
            parallel(tasks, [&](isize task) {
                auto workspace = workspace_of(task);
                for (isize i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < some;) {
                    for (int t = 0; t < count; ++t) clear(steps, *segment_of(i, t).totals);
                    const isize begin = (from + i) * sum_segment,
                                end = n - begin < sum_segment ? n : begin + sum_segment;
                    for (isize first = begin; first < end; first += tile) {
                        const isize classes = end - first < tile ? end - first : tile,
                                    soon = end - first - classes < tile ? end - first - classes : tile;
                        for (int which = 0; which < read; ++which) workspace.load(first, classes, soon, which);
                        for (int t = 0; t < count; ++t) {
                            RowBlock<W>& g = workspace.blocks[t];
                            const Segment segment = segment_of(i, t);
                            g.walk = {classes, whole[t].walk.count, first};
                            g.mask.p = whole[t].mask.p + first * whole[t].mask.class_stride;
                            const auto counted =
                                segment.totals->count[0];  // sums go on from tile to tile, counts begin again
                            step(workspace, segment, t);
                            add_to(segment.totals->count[0], counted);
                        }
                        if (write) workspace.store(first, classes);
                    }
                }
            });
            for (isize i = 0; i < some; ++i)
                for (int t = 0; t < count; ++t) merge(from + i, segment_of(i, t), t);
        }
    };
    const auto add_up = [&](isize i, const Segment& segment, int t) {
        Totals<W>&row = *row_of(t).totals, &chunk = chunk_of(t);
        if (i == 0) clear(steps, row), clear(steps, chunk);
        merge(steps, chunk, *segment.totals);
        if ((i + 1) * sum_segment % row_chunk != 0 && i + 1 < segments) return;
        merge(steps, row, chunk);
        clear(steps, chunk);
    };
    const auto copy = [&](void* to, const void* from) { memcpy(to, from, steps.prepass_bytes); };

    const bool online = steps.online_max && !whole[0].mask.p;
    bool summed = online;
    if (online) {
        // Makes `max` that of `here` too, and brings the totals that it belongs to there.
        const auto raise = [&](const W& walk, void* max, const void* here, auto&... totals) {
            const V before = *static_cast<V*>(max);
            steps.combine(walk, max, here);
            const V after = *static_cast<V*>(max);
            if (any_true(after != before)) (rescale(steps, totals, before, after), ...);
        };
        const auto lowest = splat(typename W::C(-infinity));
        for_each_segment(
            inputs, false,
            [&](auto& workspace, const Segment& segment, int t) {
                RowBlock<W>& g = workspace.blocks[t];
                if (g.walk.first % sum_segment == 0) put(static_cast<V*>(segment.prepass), lowest);
                alignas(64) V here;
                steps.prepass(g, &here);
                raise(g.walk, segment.prepass, &here, *segment.totals);
                steps.fast.begin(g, segment.prepass, workspace.run);
                steps.fast.sum(workspace.run, g, *segment.totals);
            },
            [&](isize i, const Segment& segment, int t) {
                void* const max = row_of(t).prepass;
                if (i == 0) copy(max, segment.prepass);
                raise(whole[t].walk, max, segment.prepass, *row_of(t).totals, chunk_of(t));
                raise(whole[t].walk, segment.prepass, max, *segment.totals);
                add_up(i, segment, t);
            });
    } else {
        for_each_segment(
            steps.prepass_inputs, false,
            [&](auto& workspace, const Segment& segment, int t) {
                RowBlock<W>& g = workspace.blocks[t];
                if (g.walk.first % sum_segment == 0) return steps.prepass(g, segment.prepass);
                steps.prepass(g, workspace.run);
                steps.combine(g.walk, segment.prepass, workspace.run);
            },
            [&](isize i, const Segment& segment, int t) {
                if (i == 0) copy(row_of(t).prepass, segment.prepass);
                else steps.combine(whole[t].walk, row_of(t).prepass, segment.prepass);
            });
    }
    bool general = false;
    for (int t = 0; t < count; ++t) general |= steps.needs_general(whole[t], row_of(t).prepass);
    summed &= !general;
    for (bool once_more = true; once_more; general = true) {
        once_more = false;
        const auto& path = steps.path(general);
        for (int t = 0; t < count; ++t) {
            path.begin(whole[t], row_of(t).prepass, row_of(t).run);
            next_of(t) = Next::another_pass;
        }
        for (bool again = true; again; summed = false) {
            if (!summed)
                for_each_segment(
                    inputs, false,
                    [&](auto& workspace, const Segment& segment, int t) {
                        if (next_of(t) == Next::another_pass)
                            path.sum(row_of(t).run, workspace.blocks[t], *segment.totals);
                    },
                    add_up);
            again = false;
            for (int t = 0; t < count; ++t) {
                if (next_of(t) == Next::another_pass)
                    next_of(t) = path.finish(row_of(t).run, whole[t], *row_of(t).totals);
                again |= next_of(t) == Next::another_pass;
                once_more |= next_of(t) == Next::general_path;
            }
        }
        if (once_more || !whole[0].writes) continue;
        for_each_segment(
            inputs, true,
            [&](auto& workspace, const Segment& segment, int t) {
                path.write(row_of(t).run, workspace.blocks[t], *segment.totals);
            },
            add_up);
        for (int t = 0; path.fix_pivot && t < count; ++t) path.fix_pivot(row_of(t).run, whole[t], *row_of(t).totals);
    }
    release(memory);
    return true;
}

}  // namespace
