// Rows as the lanes of tiles, packed: short rows, which are transposed or gathered, and rows side by side. A stager
// brings some tiles of rows from memory and back; the loop over them is one.
#pragma once

#include "loops/kernel_call.h"

namespace {

// Tiles that go through the steps of an operation at the same time.
template <class C> struct TileBatch {
    using W = Vertical<C>;
    using V = typename W::V;
    static constexpr int lanes = W::lanes;
    const KernelCall<C>& call;
    const size_t exp_cache;  // bytes of a tile's exponentials
    const int size;
    char* room = nullptr;
    RowBlock<W> blocks[tiles_per_batch];
    int used = 0;  // so many before

    static size_t exp_cache_of(const KernelCall<C>& call) {
        return call.caches_exp() ? size_t(call.n | 1) * sizeof(V) : 0;
    }
    TileBatch(const KernelCall<C>& call, int tiles)
        : call(call), exp_cache(exp_cache_of(call)),
          size(tiles < tiles_per_batch || exp_cache * tiles_per_batch > row_block_limit ? 1 : tiles_per_batch) {}
    size_t bytes() const { return size * (exp_cache + call.steps.vertical.bytes()); }
    void set(char* memory) {
        room = memory + size * exp_cache;
        for (int t = 0; t < size; ++t) {
            blocks[t].streamed = false;
            blocks[t].general_cache = {exp_cache ? memory + t * exp_cache : nullptr, sizeof(V), sizeof(C)};
        }
    }
    // The tiles from t on, of `width` rows from `row` on; meanwhile the vectors of `next` are fetched, if there are
    // any.
    void run(const Tiles<C>* tiles, isize row, int width, int t, const RunCursor* next) {
        int count = 0;
        for (; count < size && (t + count) * lanes < width; ++count) {
            const int first = (t + count) * lanes;
            auto& block = blocks[count];
            block.walk = {call.n, width - first < lanes ? width - first : lanes};
            call.per_row(block, row + first, block.walk.count, count >= used);
            if (count >= used || block.in[0].p != tiles[0].at(t + count).p) set_tile(block, tiles, t + count);
            for (int which = 0; next && which < call.inputs; ++which) {
                block.next[which] = next[which];
                block.next[which].advance(count * call.n);
            }
        }
        used = count > used ? count : used;
        call.steps.vertical.run(blocks, count, room);
        for (int k = 0; k < count; ++k) call.put_rows(blocks[k], row + (t + k) * lanes, blocks[k].walk.count);
    }

  private:
    void set_tile(RowBlock<W>& block, const Tiles<C>* tiles, int t) const {
        for (int which = 0; which < call.inputs; ++which) {
            block.in[which] = tiles[which].at(t);
            block.next[which] = nothing_new(tiles[which]);
        }
        block.out = block.in[0];  // every kernel may write over its operands
        call.set_walked_elements(block);
        call.set_caches(block, block.general_cache);
    }
};

// Short rows, one in each lane: transposed if their classes are next to each other, or gathered.
template <class C> struct TransposeStager {
    using V = typename Vec<C>::V;
    static constexpr int lanes = Vec<C>::lanes;
    const KernelCall<C>& call;
    const bool contiguous;
    const size_t tile;  // bytes
    const int vectors;  // tiles at a time
    Tiles<C> tiles[2];

    TransposeStager(const KernelCall<C>& call, bool contiguous)
        : call(call), contiguous(contiguous), tile(size_t(call.n | 1) * sizeof(V)), vectors(most_vectors()) {}
    size_t bytes() const { return call.inputs * vectors * tile; }
    void set(char* memory) {
        for (int which = 0; which < call.inputs; ++which)
            tiles[which] = {memory + which * vectors * tile, sizeof(V), isize(tile)};
    }
    // Rows from `row` on; how many.
    int load(isize row) const {
        const int width = call.rows - row < vectors * lanes ? int(call.rows - row) : vectors * lanes;
        for (int which = 0; which < call.inputs; ++which) {
            const Operand a = call.operand(which, row);
            for_each_tile(a, tiles[which], width, [&](char* p, V* tile, int count) {
                if (contiguous) return call.storage.transpose_in(p, a.row_stride, count, call.n, tile);
                for (isize j = 0; j < call.n; ++j)
                    for (int k = 0; k < count; ++k)
                        tile[j][k] = call.storage.load(p + j * a.class_stride + k * a.row_stride);
            });
        }
        return width;
    }
    void store(isize row, int width) const {
        const Operand a = call.operand(2, row);
        for_each_tile(a, tiles[0], width, [&](char* p, const V* tile, int count) {
            if (contiguous) return call.storage.transpose_out(tile, count, call.n, p, a.row_stride);
            for (isize j = 0; j < call.n; ++j)
                for (int k = 0; k < count; ++k)
                    call.storage.store(p + j * a.class_stride + k * a.row_stride, tile[j][k]);
        });
    }
    const Tiles<C>* loaded() const { return tiles; }
    // It loads all at once.
    const RunCursor* next() const { return nullptr; }
    void load_more(int, int) const {}

  private:
    int most_vectors() const {
        const isize all = (call.rows + lanes - 1) / lanes,
                    fit = row_block_limit / isize(call.inputs * tile + TileBatch<C>::exp_cache_of(call)),
                    most = fit < 1 ? 1 : fit;
        const isize vectors = all < most ? all : most;
        return vectors < tiles_per_batch ? int(vectors) : tiles_per_batch;
    }
    // f(where the first row is, tile, rows)
    template <class F>
    static ONESUM_INLINE void for_each_tile(const Operand& a, const Tiles<C>& tiles, int width, F f) {
        for (int first = 0; first < width; first += lanes)
            f(a.p + first * a.row_stride, reinterpret_cast<V*>(tiles.at(first / lanes).p),
              width - first < lanes ? width - first : lanes);
    }
};

// Rows side by side, in panels of tiles. While one is computed, the next is fetched, and packed bit by bit: lines of
// neighbouring classes may meet in the caches, so that those of a whole panel would not stay there.
template <class C> struct PackStager {
    using V = typename Vec<C>::V;
    static constexpr int lanes = Vec<C>::lanes;
    const KernelCall<C>& call;
    const int vectors;      // tiles of a panel
    const isize pitch;      // bytes from class to class
    Tiles<C> panels[2][2];  // by input
    int loading = 0;        // panel
    IncrementalPack<C> packs[2];
    isize to_pack = 0;  // vectors, of each
    RunCursor cursors[2];

    explicit PackStager(const KernelCall<C>& call)
        : call(call), vectors(most_vectors()), pitch((vectors | 1) * isize(sizeof(V))) {}
    size_t bytes() const { return 2 * call.inputs * call.n * pitch; }
    void set(char* memory) {
        for (auto& panel : panels)
            for (int which = 0; which < call.inputs; ++which, memory += call.n * pitch)
                panel[which] = {memory, pitch, sizeof(V)};
        begin(0);
        load_more(1, 1);
    }
    int load(isize row) {
        loading ^= 1;
        begin(row + width_of(row));
        return width_of(row);
    }
    void store(isize row, int width) const {
        call.storage.unpack(loaded()[0], width, call.n, call.operand(2, row), call.options.streamed);
    }
    const Tiles<C>* loaded() const { return panels[loading ^ 1]; }
    // What of the next panel is packed next.
    const RunCursor* next() {
        for (int which = 0; which < call.inputs; ++which) cursors[which] = packs[which].from;
        return to_pack > 0 ? cursors : nullptr;
    }
    // Step by step of so many.
    void load_more(int step, int steps) {
        for (int which = 0; which < call.inputs; ++which)
            call.storage.pack_vectors(packs[which], to_pack - to_pack * step / steps);
    }

  private:
    int most_vectors() const {
        const isize all = (call.rows + lanes - 1) / lanes;
        const int most = panel_vectors(call.n, call.inputs);
        return all < most ? int(all) : most;
    }
    void begin(isize row) {
        for (int which = 0; which < call.inputs; ++which)
            packs[which] = IncrementalPack<C>(call.operand(which, row), call.storage.size, width_of(row), call.n,
                                              panels[loading][which]);
        to_pack = packs[0].left;
    }
    // Rows of the panel from `row` on. The first one ends where a line of the output does, so that the others are whole
    // lines, if they are so in every class.
    int width_of(isize row) const {
        int panel = vectors * lanes;
        if (call.writes() && row == 0 && call.rows > panel && call.class_stride(2) % line_bytes == 0) {
            const int head =
                int(-reinterpret_cast<uintptr_t>(call.at(call.place(2), 0)) % line_bytes / call.storage.size);
            if (head > 0 && head < panel) panel = head;
        }
        return call.rows - row < panel ? int(call.rows - row) : panel;
    }
};

// All rows of a call, some at a time.
template <class C, class Stager> bool run_packed(const KernelCall<C>& call, Stager stager) {
    TileBatch<C> batch(call, stager.vectors);
    Scratch scratch(stager.bytes() + batch.bytes());
    if (!scratch) return false;
    stager.set(scratch.at(0));
    batch.set(scratch.at(stager.bytes()));
    int width;
    for (isize row = 0; row < call.rows; row += width) {
        width = stager.load(row);
        const int steps = (width - 1) / (batch.size * batch.lanes) + 1;
        for (int step = 0; step < steps; ++step) {
            batch.run(stager.loaded(), row, width, step * batch.size, stager.next());
            stager.load_more(step + 1, steps);
        }
        if (call.writes() && call.has(2)) stager.store(row, width);
    }
    return true;
}

}  // namespace
