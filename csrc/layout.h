// From NumPy's strided operands to a walk: along the classes where they are contiguous, across rows where the rows lie side by side, and
// otherwise along a copy of each row (O(n) scratch, never the whole array).
#pragma once

#include <cstdlib>

#include "columns.h"
#include "normalizer.h"
#include "rows.h"
#include "tile.h"

namespace {

// Where each operand stands in NumPy's list; -1 if the operation has none.
struct Places {
    int core[2] = {-1, -1}, mask = -1, row_in = -1, temperature = -1, out = -1;
    int core_strides[2] = {-1, -1}, mask_stride = -1, out_stride = -1;
    bool row_out = false;

    constexpr explicit Places(const char* operands) {
        int place = 0, cores = 0, inputs = 0;
        const char* c = operands;
        int order[4] = {};
        for (; *c != '>'; ++c, ++place) {
            if (*c == 'x') core[inputs++] = place;
            if (*c == 'm') mask = place;
            if (*c == 'r') row_in = place;
            if (*c == 'T') temperature = place;
            if (*c == 'x' || *c == 'm') order[cores++] = place;
        }
        out = place;
        row_out = c[1] == 'r';
        for (int i = 0; i < cores; ++i) {
            if (order[i] == mask) mask_stride = out + 1 + i;
            else core_strides[order[i] == core[0] ? 0 : 1] = out + 1 + i;
        }
        if (!row_out) out_stride = out + 1 + cores;
    }
};

// Room for a call: on the stack where it is little. Aligned for vectors.
class Scratch {
  public:
    explicit Scratch(size_t bytes) {
        p = bytes <= sizeof local ? local : heap = static_cast<char*>(aligned_alloc(64, (bytes + 63) / 64 * 64));
    }
    ~Scratch() { free(heap); }
    Scratch(const Scratch&) = delete;
    explicit operator bool() const { return p; }
    char* at(size_t offset) const { return p + offset; }

  private:
    alignas(64) char local[16384];
    char* heap = nullptr;
    char* p;
};

// Up to here what one walk computed is kept for the next: it stays in the second-level cache.
constexpr size_t memo_limit = 256 << 10;
// Rows of at most so many vectors are turned into a tile, if there are enough of them.
constexpr int tile_vectors = 4;

template <class S, class Op, const Places& places> struct Driver {
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    static constexpr long size = sizeof(S);
    static constexpr int lanes = lanes_of<S>;
    char* const* args;
    long rows, n;
    const long* strides;

    static constexpr bool has(int which) { return which < 2 ? places.core[which] >= 0 : !places.row_out; }
    static constexpr int place(int which) { return which < 2 ? places.core[which] : places.out; }

    char* at(int place, long row) const { return args[place] + row * strides[place]; }
    long class_stride(int which) const {  // 0, 1: inputs; 2: output
        return strides[which < 2 ? places.core_strides[which] : places.out_stride];
    }
    long mask_stride() const { return strides[places.mask_stride]; }

    bool run() const {
        if (n == 0 && !places.row_out) return true;
        bool along = true, across = rows > 1;
        for (int which = 0; which < 3; ++which) {
            if (!has(which)) continue;
            along &= n == 1 || class_stride(which) == size;  // one class has no neighbour: any stride will do
            across &= strides[place(which)] == size;
        }
        if (across && (n == 1 || !along)) return run_columns();
        if (along && rows >= lanes / 2 && n <= tile_vectors * lanes) return run_tiles();
        return run_rows(along);
    }

    // What a group of `count` rows from `first` has beside its core operands.
    template <class W> void per_row(Group<W>& g, long first, int count, char* memo) const {
        if (first == 0 || strides[places.temperature]) temperatures(g, first, count);
        if constexpr (places.mask >= 0) {
            const long along = mask_stride(), across = strides[places.mask];
            if (W::chains == 1) g.mask = {at(places.mask, first), along * W::lanes, along};
            else g.mask = {at(places.mask, first), along, across};
        }
        if constexpr (places.row_in >= 0) {
            g.row_in = load_one<S>(at(places.row_in, first));
            for (int k = 1; k < count; ++k) g.row_in[k] = load_one<S>(at(places.row_in, first + k))[0];
        }
        g.memo = reinterpret_cast<V*>(memo);
        g.next = 0;
        if (first == 0) g.next_max_known = false;
    }
    template <class W> void temperatures(Group<W>& g, long first, int count) const {
        g.scaled = false;
        for (int k = 0; k < W::lanes; ++k) {
            double t = 1;
            if (W::chains == 1 || k < count) memcpy(&t, at(places.temperature, first + (W::chains == 1 ? 0 : k)), sizeof t);
            g.temperature[k] = t;
            g.scaled |= t != 1;
        }
    }
    template <class W> void put_rows(const Group<W>& g, long first, int count) const {
        if constexpr (places.row_out)
            for (int k = 0; k < count; ++k) store_one<S>(at(places.out, first + k), V{} + g.row_out[k]);
    }
    static size_t memo_bytes(long steps) {
        const size_t bytes = 2 * sizeof(V) * size_t(steps);
        return Op::needs_memo && bytes <= memo_limit ? bytes : 0;
    }

    bool run_columns() const {
        using W = Columns<S>;
        const size_t memo = memo_bytes(n);
        Scratch scratch(memo);
        if (!scratch) return false;
        Group<W> g;
        for (long row = 0; row < rows; row += lanes) {
            const int width = rows - row < lanes ? int(rows - row) : lanes;
            g.walk = {n, width};
            per_row(g, row, width, memo ? scratch.at(0) : nullptr);
            for (int which = 0; which < 2; ++which)
                if (has(which)) g.in[which] = {at(place(which), row), class_stride(which)};
            if constexpr (has(2)) g.out = {at(places.out, row), class_stride(2)};
            if (row + lanes < rows) g.next = lanes * size;
            Op::run(g);
            put_rows(g, row, width);
        }
        return true;
    }

    bool run_tiles() const {
        using W = Columns<C>;
        const size_t memo = memo_bytes(n), tile = sizeof(V) * size_t(n);
        Scratch scratch(2 * tile + memo);
        if (!scratch) return false;
        V* tiles[2] = {reinterpret_cast<V*>(scratch.at(memo)), reinterpret_cast<V*>(scratch.at(memo + tile))};
        Group<W> g;
        for (long row = 0; row < rows; row += lanes) {
            const int width = rows - row < lanes ? int(rows - row) : lanes;
            g.walk = {n, width};
            per_row(g, row, width, memo ? scratch.at(0) : nullptr);
            for (int which = 0; which < 2; ++which) {
                if (!has(which)) continue;
                turn_in<S>(at(place(which), row), strides[place(which)], width, n, tiles[which]);
                g.in[which] = {reinterpret_cast<char*>(tiles[which]), sizeof(V)};
            }
            g.out = g.in[0];  // every kernel may write over its operands
            Op::run(g);
            if constexpr (has(2)) turn_out<S>(tiles[0], width, n, at(places.out, row), strides[places.out]);
            put_rows(g, row, width);
        }
        return true;
    }

    // Operands whose classes are apart are copied row by row.
    bool run_rows(bool along) const {
        using W = Rows<S>;
        const size_t memo = memo_bytes((n + lanes - 1) / lanes), row_bytes = (size_t(n) * size + 63) / 64 * 64;
        Scratch scratch(memo + (along ? 0 : 3 * row_bytes));
        if (!scratch) return false;
        char* copies[3] = {};
        for (int which = 0; which < 3; ++which)
            if (!along && has(which) && class_stride(which) != size) copies[which] = scratch.at(memo + which * row_bytes);
        Group<W> g;
        for (long row = 0; row < rows; ++row) {
            g.walk = {n};
            per_row(g, row, 1, memo ? scratch.at(0) : nullptr);
            for (int which = 0; which < 2; ++which) {
                if (!has(which)) continue;
                g.in[which] = {at(place(which), row), W::step_bytes};
                if (!copies[which]) continue;
                for (long j = 0; j < n; ++j) memcpy(copies[which] + j * size, g.in[which].p + j * class_stride(which), size);
                g.in[which].p = copies[which];
            }
            if constexpr (has(2)) g.out = {copies[2] ? copies[2] : at(places.out, row), W::step_bytes};
            if (row + 1 < rows && !copies[0]) g.next = strides[places.core[0]];
            Op::run(g);
            if constexpr (has(2))
                if (copies[2])
                    for (long j = 0; j < n; ++j) memcpy(at(places.out, row) + j * class_stride(2), copies[2] + j * size, size);
            put_rows(g, row, 1);
        }
        return true;
    }
};

}  // namespace
