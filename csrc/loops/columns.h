// Rows side by side that are too long for a tile of them all.
#pragma once

#include "loops/chunked.h"
#include "loops/kernel_call.h"

namespace {

// What one task works on: tiles of several rows, for memory is read fastest without gaps.
template <class C> struct ColumnWorkspace {
    using W = Vertical<C>;
    using V = typename W::V;
    static constexpr int lanes = W::lanes;
    const KernelCall<C>& call;
    const isize row;
    const int width;
    Tiles<C> tiles[2];
    char* const run;
    RowBlock<W>* const blocks;

    static isize pitch(isize count) { return (count | 1) * isize(sizeof(V)); }
    static size_t tile_bytes(isize count) { return tile_classes<C> * pitch(count); }
    static size_t bytes(const KernelCall<C>& call, isize count) {
        return call.inputs * tile_bytes(count) + run_bytes(call) + count * sizeof(RowBlock<W>);
    }
    static size_t run_bytes(const KernelCall<C>& call) {  // or what a prepass finds
        const auto& steps = call.steps.vertical;
        return steps.run_bytes > steps.prepass_bytes ? steps.run_bytes : steps.prepass_bytes;
    }
    ColumnWorkspace(const KernelCall<C>& call, isize row, int width, const RowBlock<W>* whole, int count, char* room)
        : call(call), row(row), width(width), run(room + call.inputs * tile_bytes(count)),
          blocks(reinterpret_cast<RowBlock<W>*>(run + run_bytes(call))) {
        const int inputs = call.inputs;
        for (int which = 0; which < inputs; ++which)
            tiles[which] = {room + which * tile_bytes(count), pitch(count), sizeof(V)};
        for (int t = 0; t < count; ++t) {
            put(&blocks[t], whole[t]);
            for (int which = 0; which < inputs; ++which) {
                blocks[t].in[which] = tiles[which].at(t);
                blocks[t].next[which] = nothing_new(tiles[which]);
            }
            blocks[t].out = blocks[t].in[0];
        }
    }
    // `soon`: classes of the tile after it, whose vectors are fetched meanwhile.
    void load(isize first, isize classes, isize soon, int which) {
        call.storage.pack(from_class(which, first), width, classes, tiles[which]);
        const int vectors = (width + lanes - 1) / lanes;
        RunCursor runs = nothing_new(tiles[which]);
        if (soon > 0) {
            const Operand a = from_class(which, first + classes);
            const isize step = lanes * call.storage.size;
            runs = {a.p, step, a.class_stride - vectors * step, vectors, vectors};
        }
        for (int t = 0; t < vectors; ++t) {
            blocks[t].next[which] = runs;
            if (soon > 0) runs.advance(soon);
        }
    }
    void store(isize first, isize classes) {
        call.storage.unpack(tiles[0], width, classes, from_class(2, first), call.options.streamed);
        if (call.options.streamed) stream_fence();
    }

  private:
    Operand from_class(int which, isize first) const { return call.operand(which, row, first); }
};
template <class C> bool run_columns(const KernelCall<C>& call) {
    using W = Vertical<C>;
    constexpr int lanes = W::lanes;
    const isize rows = call.rows, n = call.n;
    const isize all = (rows + lanes - 1) / lanes, bundles = (all - 1) / most_columns + 1,
                vectors = (all - 1) / bundles + 1;
    const isize segments = segments_at_once(n), threads = onesum::free_threads(),
                tasks = threads < segments ? threads : segments;
    const size_t bytes = ColumnWorkspace<C>::bytes(call, vectors);
    const Scratch scratch(tasks * bytes + vectors * sizeof(RowBlock<W>));
    if (!scratch) return false;
    RowBlock<W>* const whole = reinterpret_cast<RowBlock<W>*>(scratch.at(tasks * bytes));
    for (isize t = 0; t < vectors; ++t) put(&whole[t], RowBlock<W>{});
    for (isize row = 0; row < rows; row += vectors * lanes) {
        const int width = rows - row < vectors * lanes ? int(rows - row) : int(vectors) * lanes,
                  count = (width + lanes - 1) / lanes;
        for (int t = 0; t < count; ++t) {
            const int first = t * lanes;
            RowBlock<W>& g = whole[t];
            g.walk = {n, width - first < lanes ? width - first : lanes};
            call.per_row(g, row + first, g.walk.count, row == 0);
            call.set_elements(g, row + first);
        }
        const auto workspace_of = [&](isize task) {
            return ColumnWorkspace<C>(call, row, width, whole, count, scratch.at(task * bytes));
        };
        if (!run_segments(call.steps.vertical, call.inputs, whole, count, n, tasks, workspace_of)) return false;
        for (int t = 0; t < count; ++t) call.put_rows(whole[t], row + t * lanes, whole[t].walk.count);
    }
    return true;
}

}  // namespace
