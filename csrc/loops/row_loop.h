// From strided operands to a walk: vertical where rows lie side by side or are short, else horizontal; over a copy of
// each row, or of a chunk of it, where the classes are not next to each other or of another type than what is computed
// with.
#pragma once

#include "loops/chunked.h"
#include "loops/row_operands.h"

namespace {

// An operation as the loops have it.
template <class C> struct OperationSteps {
    Steps<Horizontal<C>> horizontal;
    Steps<Vertical<C>> vertical;
};
template <Operation Op, class C>
constexpr OperationSteps<C> operation_steps = {steps_of<Op, Horizontal<C>>(), steps_of<Op, Vertical<C>>()};

template <class C> struct RowLoop : RowOperands<C> {
    using Operands = RowOperands<C>;
    using Operands::has, Operands::writes, Operands::place, Operands::at, Operands::class_stride, Operands::operand;
    using Operands::lanes, Operands::signature, Operands::storage, Operands::args, Operands::rows, Operands::n,
        Operands::strides, Operands::options, Operands::inputs;
    using Operands::per_row, Operands::set_elements, Operands::set_walked_elements, Operands::put_rows;
    using typename Operands::V;
    const OperationSteps<C>& steps;

    ONESUM_NOINLINE bool run() const {
        if (rows == 0 || (n == 0 && !signature.row_out)) return true;
        bool contiguous = true, side_by_side = true;
        for (int which = 0; which < 3; ++which) {
            if (!has(which)) continue;
            contiguous &=
                n == 1 || class_stride(which) == storage.size;  // one class has no neighbour: any stride will do
            side_by_side &= strides[place(which)] == storage.size;
        }
        bool done;
        if (side_by_side && rows > 1 && (!contiguous || n == 1))
            done = n <= tile_classes<C> ? run_panels() : run_columns();
        else if (n <= max_transposed_classes<C>) done = run_tiles(contiguous);
        else done = n <= row_chunk ? run_rows() : run_long_rows();
        if (options.streamed) stream_fence();
        return done;
    }

  private:
    // The exponentials of a block, for which there is room in `cache`, or none.
    template <class W> void set_caches(RowBlock<W>& g, const Operand& cache) const {
        g.general_cache = cache;
        g.fast_cache = cache.p && exp_cache() == ExpCache::output ? g.out : cache;
        g.cache_scale = splat(C(1));
    }
    ExpCache exp_cache() const { return writes() ? steps.vertical.exp_cache : ExpCache::none; }
    bool caches_exp() const { return exp_cache() != ExpCache::none; }

    // Tiles that go through the steps of an operation at the same time.
    struct TileBatch {
        using W = Vertical<C>;
        const RowLoop& loop;
        const size_t exp_cache;  // bytes of a tile's exponentials
        const int size;
        char* room = nullptr;
        RowBlock<W> blocks[tiles_per_batch];
        int used = 0;  // so many before

        TileBatch(const RowLoop& loop, size_t exp_cache, int tiles)
            : loop(loop), exp_cache(exp_cache),
              size(tiles < tiles_per_batch || exp_cache * tiles_per_batch > row_block_limit ? 1 : tiles_per_batch) {}
        size_t bytes() const { return size * (exp_cache + loop.steps.vertical.bytes()); }
        void set(char* memory) {
            room = memory + size * exp_cache;
            for (int t = 0; t < size; ++t) {
                blocks[t].streamed = false;
                blocks[t].general_cache = {exp_cache ? memory + t * exp_cache : nullptr, sizeof(V), sizeof(C)};
            }
        }
    };
    // A batch of tiles, from t on, of `width` rows from `row` on; meanwhile the vectors of `next` are fetched, if there
    // are any.
    void run_batch(TileBatch& batch, const Tiles<C>* tiles, isize row, int width, int t, const RunCursor* next) const {
        int count = 0;
        for (; count < batch.size && (t + count) * lanes < width; ++count) {
            const int first = (t + count) * lanes;
            auto& block = batch.blocks[count];
            block.walk = {n, width - first < lanes ? width - first : lanes};
            per_row(block, row + first, block.walk.count, count >= batch.used);
            if (count >= batch.used || block.in[0].p != tiles[0].at(t + count).p) set_tile(block, tiles, t + count);
            for (int which = 0; next && which < inputs; ++which) {
                block.next[which] = next[which];
                block.next[which].advance(count * n);
            }
        }
        batch.used = count > batch.used ? count : batch.used;
        steps.vertical.run(batch.blocks, count, batch.room);
        for (int k = 0; k < count; ++k) put_rows(batch.blocks[k], row + (t + k) * lanes, batch.blocks[k].walk.count);
    }
    // Nothing to prefetch: the same vector again and again.
    static RunCursor nothing_new(const Tiles<C>& tiles) { return {tiles.p, 0, 0, 1, 1}; }
    void set_tile(RowBlock<Vertical<C>>& block, const Tiles<C>* tiles, int t) const {
        for (int which = 0; which < inputs; ++which) {
            block.in[which] = tiles[which].at(t);
            block.next[which] = nothing_new(tiles[which]);
        }
        block.out = block.in[0];  // every kernel may write over its operands
        set_walked_elements(block);
        set_caches(block, block.general_cache);
    }

    // Short rows, one in each lane of a tile: transposed, or gathered.
    bool run_tiles(bool contiguous) const {
        const size_t tile = size_t(n | 1) * sizeof(V), exp_cache = caches_exp() ? tile : 0;
        int vectors = 1;
        const isize all = (rows + lanes - 1) / lanes;
        while (vectors < tiles_per_batch && vectors < all &&
               isize((vectors + 1) * (inputs * tile + exp_cache)) <= row_block_limit)
            ++vectors;
        TileBatch batch(*this, exp_cache, vectors);
        Scratch scratch(inputs * vectors * tile + batch.bytes());
        if (!scratch) return false;
        batch.set(scratch.at(inputs * vectors * tile));
        const Tiles<C> tiles[2] = {{scratch.at(0), sizeof(V), isize(tile)},
                                   {scratch.at((inputs - 1) * vectors * tile), sizeof(V), isize(tile)}};
        for (isize row = 0; row < rows; row += vectors * lanes) {
            const int width = rows - row < vectors * lanes ? int(rows - row) : vectors * lanes;
            for (int which = 0; which < inputs; ++which) tiles_in(operand(which, row), contiguous, width, tiles[which]);
            for (int t = 0; t * lanes < width; t += batch.size) run_batch(batch, tiles, row, width, t, nullptr);
            if (writes() && has(2)) tiles_out(tiles[0], width, operand(2, row), contiguous);
        }
        return true;
    }
    void tiles_in(const Operand& a, bool contiguous, int width, const Tiles<C>& tiles) const {
        for (int first = 0; first < width; first += lanes) {
            V* const tile = reinterpret_cast<V*>(tiles.at(first / lanes).p);
            const char* const p = a.p + first * a.row_stride;
            const int count = width - first < lanes ? width - first : lanes;
            if (contiguous) storage.transpose_in(p, a.row_stride, count, n, tile);
            else
                for (isize j = 0; j < n; ++j)
                    for (int k = 0; k < count; ++k)
                        tile[j][k] = storage.load(p + j * a.class_stride + k * a.row_stride);
        }
    }
    void tiles_out(const Tiles<C>& tiles, int width, const Operand& a, bool contiguous) const {
        for (int first = 0; first < width; first += lanes) {
            const V* const tile = reinterpret_cast<const V*>(tiles.at(first / lanes).p);
            char* const p = a.p + first * a.row_stride;
            const int count = width - first < lanes ? width - first : lanes;
            if (contiguous) storage.transpose_out(tile, count, n, p, a.row_stride);
            else
                for (isize j = 0; j < n; ++j)
                    for (int k = 0; k < count; ++k)
                        storage.store(p + j * a.class_stride + k * a.row_stride, tile[j][k]);
        }
    }

    // Rows side by side, in panels of tiles. While one is computed, the next is fetched, and filled bit by bit: lines
    // of neighbouring classes may meet in the caches, so that those of a whole panel would not stay there.
    bool run_panels() const {
        const isize all = (rows + lanes - 1) / lanes;
        const int most = panel_vectors(n, inputs), vectors = all < most ? int(all) : most, panel = vectors * lanes;
        const isize pitch = (vectors | 1) * isize(sizeof(V));
        TileBatch batch(*this, caches_exp() ? n * sizeof(V) : 0, vectors);
        Scratch scratch(2 * inputs * n * pitch + batch.bytes());
        if (!scratch) return false;
        batch.set(scratch.at(2 * inputs * n * pitch));
        const auto tiles_of = [&](int buffer, int which) {
            return Tiles<C>{scratch.at((buffer * inputs + which) * n * pitch), pitch, sizeof(V)};
        };
        const auto packing = [&](int buffer, isize row, int which) {
            return IncrementalPack<C>(operand(which, row), storage.size, width_of(row, panel), n,
                                      tiles_of(buffer, which));
        };
        for (int which = 0; which < inputs; ++which) {
            auto all = packing(0, 0, which);
            storage.pack_vectors(all, 0);
        }
        int buffer = 0;
        for (isize row = 0, next_row; row < rows; row = next_row, buffer ^= 1) {
            const int width = width_of(row, panel), steps = (width - 1) / (batch.size * lanes) + 1;
            next_row = row + width;
            const Tiles<C> tiles[2] = {tiles_of(buffer, 0), tiles_of(buffer, inputs - 1)};
            if (next_row == rows) {
                for (int step = 0; step < steps; ++step)
                    run_batch(batch, tiles, row, width, step * batch.size, nullptr);
            } else {
                IncrementalPack<C> packings[2] = {packing(buffer ^ 1, next_row, 0),
                                                  packing(buffer ^ 1, next_row, inputs - 1)};
                const isize vectors = packings[0].left;
                for (int step = 0; step < steps; ++step) {
                    const RunCursor next[2] = {packings[0].from, packings[1].from};
                    run_batch(batch, tiles, row, width, step * batch.size, next);
                    for (int which = 0; which < inputs; ++which)
                        storage.pack_vectors(packings[which], vectors - vectors * (step + 1) / steps);
                }
            }
            if (writes() && has(2)) storage.unpack(tiles[0], width, n, operand(2, row), options.streamed);
        }
        return true;
    }
    // Rows of the panel from `row` on. The first one ends where a line of the output does, so that the others are whole
    // lines, if they are so in every class.
    int width_of(isize row, int panel) const {
        if (writes() && row == 0 && rows > panel && class_stride(2) % 64 == 0) {
            const int head = int(-reinterpret_cast<uintptr_t>(at(place(2), 0)) % 64 / storage.size);
            if (head > 0 && head < panel) panel = head;
        }
        return rows - row < panel ? int(rows - row) : panel;
    }

    // Rows side by side that are too long for a tile of them all: tiles of several, for memory is read fastest without
    // gaps. What one task works on.
    struct ColumnWorkspace {
        using W = Vertical<C>;
        const RowLoop& loop;
        const isize row;
        const int width;
        Tiles<C> tiles[2];
        char* const run;
        RowBlock<W>* const blocks;

        static isize pitch(isize count) { return (count | 1) * isize(sizeof(V)); }
        static size_t tile_bytes(isize count) { return tile_classes<C> * pitch(count); }
        static size_t bytes(const RowLoop& loop, isize count) {
            return loop.inputs * tile_bytes(count) + run_bytes(loop) + count * sizeof(RowBlock<W>);
        }
        static size_t run_bytes(const RowLoop& loop) {  // or what a prepass finds
            const auto& steps = loop.steps.vertical;
            return steps.run_bytes > steps.prepass_bytes ? steps.run_bytes : steps.prepass_bytes;
        }
        ColumnWorkspace(const RowLoop& loop, isize row, int width, const RowBlock<W>* whole, int count, char* room)
            : loop(loop), row(row), width(width), run(room + loop.inputs * tile_bytes(count)),
              blocks(reinterpret_cast<RowBlock<W>*>(run + run_bytes(loop))) {
            const int inputs = loop.inputs;
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
            loop.storage.pack(from_class(which, first), width, classes, tiles[which]);
            const int vectors = (width + lanes - 1) / lanes;
            RunCursor runs = nothing_new(tiles[which]);
            if (soon > 0) {
                const Operand a = from_class(which, first + classes);
                const isize step = lanes * loop.storage.size;
                runs = {a.p, step, a.class_stride - vectors * step, vectors, vectors};
            }
            for (int t = 0; t < vectors; ++t) {
                blocks[t].next[which] = runs;
                if (soon > 0) runs.advance(soon);
            }
        }
        void store(isize first, isize classes) {
            loop.storage.unpack(tiles[0], width, classes, from_class(2, first), loop.options.streamed);
            if (loop.options.streamed) stream_fence();
        }

      private:
        Operand from_class(int which, isize first) const { return loop.operand(which, row, first); }
    };
    bool run_columns() const {
        using W = Vertical<C>;
        const isize all = (rows + lanes - 1) / lanes, bundles = (all - 1) / most_columns + 1,
                    vectors = (all - 1) / bundles + 1;
        const isize segments = segments_at_once(n), threads = onesum::free_threads(),
                    tasks = threads < segments ? threads : segments;
        const size_t bytes = ColumnWorkspace::bytes(*this, vectors);
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
                per_row(g, row + first, g.walk.count, row == 0);
                set_elements(g, row + first);
            }
            const auto workspace_of = [&](isize task) {
                return ColumnWorkspace(*this, row, width, whole, count, scratch.at(task * bytes));
            };
            if (!run_segments(steps.vertical, inputs, whole, count, n, tasks, workspace_of)) return false;
            for (int t = 0; t < count; ++t) put_rows(whole[t], row + t * lanes, whole[t].walk.count);
        }
        return true;
    }
    // The operands of horizontal blocks: where they lie, or copies of them in a room of the block's own.
    struct Staging {
        const RowLoop& loop;
        const isize classes;  // of a block, at most
        const int count;      // rows of it
        bool staged[3];

        Staging(const RowLoop& loop, isize classes, int count) : loop(loop), classes(classes), count(count) {
            for (int which = 0; which < 3; ++which)
                staged[which] =
                    loop.has(which) && (loop.storage.size != sizeof(C) || loop.class_stride(which) != sizeof(C));
        }
        isize pitch() const { return isize(whole_lines(size_t(classes) * sizeof(C))); }
        // Every kernel may write over its operands: the copy of the output is where that of the first input is.
        size_t bytes() const { return ((staged[0] || staged[2]) + staged[1]) * count * pitch(); }
        void load(RowBlock<Horizontal<C>>& g, isize row, isize first, char* room) const {
            for (int which = 0; which < loop.inputs; ++which) g.in[which] = place(which, row, first, room);
            g.out = loop.writes() ? place(2, row, first, room) : g.in[0];
            for (int which = 0; which < loop.inputs; ++which) {
                if (!staged[which]) continue;
                const Operand a = loop.operand(which, row, first);
                for (int r = 0; r < g.walk.count; ++r)
                    loop.storage.gather(a.p + r * a.row_stride, a.class_stride, g.walk.n,
                                        reinterpret_cast<C*>(g.in[which].p + r * pitch()));
            }
        }
        void store(const RowBlock<Horizontal<C>>& g, isize row, isize first) const {
            if (!staged[2] || !loop.writes()) return;
            const Operand a = loop.operand(2, row, first);
            for (int r = 0; r < g.walk.count; ++r)
                loop.storage.scatter(reinterpret_cast<const C*>(g.out.p + r * pitch()), g.walk.n,
                                     a.p + r * a.row_stride, a.class_stride, loop.options.streamed);
        }

        // The next block, of the same size, is from there on, if there is one.
        void set_ahead(RowBlock<Horizontal<C>>& g, bool is_next, isize row, isize first) const {
            for (int which = 0; which < loop.inputs; ++which)
                g.ahead[which] = is_next && loop.class_stride(which) == loop.storage.size
                                     ? loop.operand(which, row, first)
                                     : Operand{g.in[which].p, 0, 0};
        }

      private:
        Operand place(int which, isize row, isize first, char* room) const {
            if (!staged[which]) return loop.operand(which, row, first);
            const bool second = which == 1 && (staged[0] || staged[2]);
            return {room + (second ? count * pitch() : 0), sizeof(C), pitch()};
        }
    };
    // The lines that a row of the output has a part of are stored as usual: what is streamed after it would wait for
    // them.
    static void fetch_shared_lines(const Operand& out, int rows) {
        for (int r = 0; r <= rows; ++r) __builtin_prefetch(out.p + r * out.row_stride, 1);
    }
    bool run_rows() const {
        using W = Horizontal<C>;
        const isize fit = row_block_limit / ((inputs + writes()) * n * isize(sizeof(C)));
        const int count = fit < 1 ? 1 : fit > lanes ? lanes : int(fit);
        const Staging staging(*this, n, count);
        const size_t cache = caches_exp() ? count * staging.pitch() : 0, room = staging.bytes() + cache;
        Scratch scratch(room + steps.horizontal.bytes());
        if (!scratch) return false;
        RowBlock<W> g;
        g.streamed = options.streamed && !staging.staged[2] && exp_cache() != ExpCache::output;
        const bool streamed = g.streamed || (options.streamed && staging.staged[2]);
        for (isize row = 0; row < rows; row += count) {
            g.walk = {n, rows - row < count ? int(rows - row) : count};
            per_row(g, row, g.walk.count, row == 0);
            staging.load(g, row, 0, scratch.at(0));
            set_walked_elements(g);
            set_caches(g, {cache ? scratch.at(staging.bytes()) : nullptr, sizeof(C), staging.pitch()});
            staging.set_ahead(g, row + 2 * count <= rows, row + count, 0);
            if (streamed) fetch_shared_lines(operand(2, row), g.walk.count);
            steps.horizontal.run(&g, 1, scratch.at(room));
            staging.store(g, row, 0);
            put_rows(g, row, g.walk.count);
        }
        return true;
    }
    bool run_long_rows() const {
        using W = Horizontal<C>;
        const Staging staging(*this, row_chunk, 1);
        const isize chunks = (n + row_chunk - 1) / row_chunk, threads = onesum::free_threads(),
                    tasks = threads < chunks ? threads : chunks;
        const Scratch scratch(tasks * staging.bytes());
        if (!scratch) return false;
        RowBlock<W> whole{};
        // Exponentials are kept in the output before it is known whether the logits are read once more.
        const bool keeps = exp_cache() == ExpCache::output && staging.bytes() == 0 && args[place(2)] != args[place(0)];
        for (isize row = 0; row < rows; ++row) {
            whole.walk = {n, 1};
            per_row(whole, row, 1, row == 0);
            set_elements(whole, row);
            set_caches(whole, {nullptr, 0, 0});
            if (keeps) whole.fast_cache = operand(2, row);
            whole.streamed = options.streamed && !staging.staged[2] && !keeps;
            if (!run_row_chunks(
                    steps.horizontal, whole, tasks,
                    [&](isize task, RowBlock<W>& g) {
                        staging.load(g, row, g.walk.first, scratch.at(task * staging.bytes()));
                        staging.set_ahead(g, g.walk.first + 2 * row_chunk <= n, row, g.walk.first + row_chunk);
                    },
                    [&](const RowBlock<W>& g) { staging.store(g, row, g.walk.first); }))
                return false;
            put_rows(whole, row, 1);
        }
        return true;
    }
};

}  // namespace
