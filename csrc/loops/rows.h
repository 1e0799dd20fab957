// Rows whose classes lie one after the other, or copies of them that do: some at a time, or one in chunks.
#pragma once

#include "loops/chunked.h"
#include "loops/kernel_call.h"

namespace {

// The operands of horizontal blocks: where they lie, or copies of them in a room of the block's own.
template <class C> struct Staging {
    const KernelCall<C>& call;
    const isize classes;  // of a block, at most
    const int count;      // rows of it
    bool staged[3];

    Staging(const KernelCall<C>& call, isize classes, int count) : call(call), classes(classes), count(count) {
        for (int which = 0; which < 3; ++which)
            staged[which] =
                call.has(which) && (call.storage.size != sizeof(C) || call.class_stride(which) != sizeof(C));
    }
    isize pitch() const { return isize(whole_lines(size_t(classes) * sizeof(C))); }
    // Every kernel may write over its operands: the copy of the output is where that of the first input is.
    size_t bytes() const { return ((staged[0] || staged[2]) + staged[1]) * count * pitch(); }
    void load(RowBlock<Horizontal<C>>& g, isize row, isize first, char* room) const {
        for (int which = 0; which < call.inputs; ++which) g.in[which] = place(which, row, first, room);
        g.out = call.writes() ? place(2, row, first, room) : g.in[0];
        for (int which = 0; which < call.inputs; ++which) {
            if (!staged[which]) continue;
            const Operand a = call.operand(which, row, first);
            for (int r = 0; r < g.walk.count; ++r)
                call.storage.gather(a.p + r * a.row_stride, a.class_stride, g.walk.n,
                                    reinterpret_cast<C*>(g.in[which].p + r * pitch()));
        }
    }
    void store(const RowBlock<Horizontal<C>>& g, isize row, isize first) const {
        if (!staged[2] || !call.writes()) return;
        const Operand a = call.operand(2, row, first);
        for (int r = 0; r < g.walk.count; ++r)
            call.storage.scatter(reinterpret_cast<const C*>(g.out.p + r * pitch()), g.walk.n, a.p + r * a.row_stride,
                                 a.class_stride, call.options.streamed);
    }

    // The next block, of the same size, is from there on, if there is one.
    void set_ahead(RowBlock<Horizontal<C>>& g, bool is_next, isize row, isize first) const {
        for (int which = 0; which < call.inputs; ++which)
            g.ahead[which] = is_next && call.class_stride(which) == call.storage.size ? call.operand(which, row, first)
                                                                                      : Operand{g.in[which].p, 0, 0};
    }

  private:
    Operand place(int which, isize row, isize first, char* room) const {
        if (!staged[which]) return call.operand(which, row, first);
        const bool second = which == 1 && (staged[0] || staged[2]);
        return {room + (second ? count * pitch() : 0), sizeof(C), pitch()};
    }
};
template <class C> bool run_rows(const KernelCall<C>& call) {
    using W = Horizontal<C>;
    constexpr int lanes = W::lanes;
    const isize rows = call.rows, n = call.n;
    const isize fit = row_block_limit / ((call.inputs + call.writes()) * n * isize(sizeof(C)));
    const int count = fit < 1 ? 1 : fit > lanes ? lanes : int(fit);
    const Staging<C> staging(call, n, count);
    const size_t cache = call.caches_exp() ? count * staging.pitch() : 0, room = staging.bytes() + cache;
    Scratch scratch(room + call.steps.horizontal.bytes());
    if (!scratch) return false;
    RowBlock<W> g;
    g.streamed = call.options.streamed && !staging.staged[2] && call.exp_cache() != ExpCache::output;
    const bool streamed = g.streamed || (call.options.streamed && staging.staged[2]);
    for (isize row = 0; row < rows; row += count) {
        g.walk = {n, rows - row < count ? int(rows - row) : count};
        call.per_row(g, row, g.walk.count, row == 0);
        staging.load(g, row, 0, scratch.at(0));
        call.set_walked_elements(g);
        call.set_caches(g, {cache ? scratch.at(staging.bytes()) : nullptr, sizeof(C), staging.pitch()});
        staging.set_ahead(g, row + 2 * count <= rows, row + count, 0);
        for (int r = 0; streamed && r <= g.walk.count; ++r) fetch_shared_line(call.at(call.place(2), row + r));
        call.steps.horizontal.run(&g, 1, scratch.at(room));
        staging.store(g, row, 0);
        call.put_rows(g, row, g.walk.count);
    }
    return true;
}
template <class C> bool run_long_rows(const KernelCall<C>& call) {
    using W = Horizontal<C>;
    const isize n = call.n;
    const Staging<C> staging(call, row_chunk, 1);
    const isize chunks = (n + row_chunk - 1) / row_chunk, threads = onesum::free_threads(),
                tasks = threads < chunks ? threads : chunks;
    const Scratch scratch(tasks * staging.bytes());
    if (!scratch) return false;
    RowBlock<W> whole{};
    // Exponentials are kept in the output before it is known whether the logits are read once more.
    const bool keeps = call.exp_cache() == ExpCache::output && staging.bytes() == 0 &&
                       call.args[call.place(2)] != call.args[call.place(0)];
    for (isize row = 0; row < call.rows; ++row) {
        whole.walk = {n, 1};
        call.per_row(whole, row, 1, row == 0);
        call.set_elements(whole, row);
        call.set_caches(whole, {nullptr, 0, 0});
        if (keeps) whole.fast_cache = call.operand(2, row);
        whole.streamed = call.options.streamed && !staging.staged[2] && !keeps;
        if (!run_row_chunks(
                call.steps.horizontal, whole, tasks,
                [&](isize task, RowBlock<W>& g) {
                    staging.load(g, row, g.walk.first, scratch.at(task * staging.bytes()));
                    staging.set_ahead(g, g.walk.first + 2 * row_chunk <= n, row, g.walk.first + row_chunk);
                },
                [&](const RowBlock<W>& g) { staging.store(g, row, g.walk.first); }))
            return false;
        call.put_rows(whole, row, 1);
    }
    return true;
}

}  // namespace
