// From NumPy's strided operands to a walk: along the classes where they are contiguous, across rows where the rows lie side by side, and
// otherwise along a copy of each row (O(n) scratch, never the whole array).
#pragma once

#include <cstdlib>

#include "columns.h"
#include "normalizer.h"
#include "rows.h"
#include "steps.h"
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

// What one walk computed is kept for the next where it takes no more than this for a row: it stays in the second-level cache. Beside arrays that go past
// the caches it has less room; to compute again costs less than to wait for it.
constexpr size_t memo_limit = 256 << 10, memo_limit_streamed = 48 << 10;
// A group has so many rows that what is read or kept of them stays in the first-level cache, but one at least.
constexpr size_t group_limit = 10 << 10;
// Rows side by side are copied to a tile of their own, whose lines are not a row apart: so many bytes of it stay in the second-level cache.
constexpr size_t panel_limit = 512 << 10;
constexpr int panel_vectors = 8;
// Of few classes a tile takes wider runs, up to so many bytes: each stands in a page of its own.
constexpr size_t wide_panel_limit = 128 << 10;
constexpr int wide_panel_vectors = 64;
// Lines of rows side by side are fetched so many classes before they are read or written.
constexpr long fetched = 8;
// So many tiles of short rows go together, step by step.
constexpr int together = 4;

template <class S, class Op, const Places& places> struct Driver {
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    static constexpr long size = sizeof(S);
    static constexpr int lanes = lanes_of<S>;
    static constexpr int inputs = places.core[1] < 0 ? 1 : 2;
    char* const* args;
    long rows, n;
    const long* strides;
    bool streamed;

    static constexpr bool has(int which) { return which < 2 ? places.core[which] >= 0 : !places.row_out; }
    static constexpr int place(int which) { return which < 2 ? places.core[which] : places.out; }

    char* at(int place, long row) const { return args[place] + row * strides[place]; }
    long class_stride(int which) const {  // 0, 1: inputs; 2: output
        return strides[which < 2 ? places.core_strides[which] : places.out_stride];
    }
    Operand operand(int which, long row) const { return {at(place(which), row), class_stride(which), strides[place(which)]}; }

    bool run() const {
        if (rows == 0 || (n == 0 && !places.row_out)) return true;
        bool along = true, across = true;
        for (int which = 0; which < 3; ++which) {
            if (!has(which)) continue;
            along &= n == 1 || class_stride(which) == size;  // one class has no neighbour: any stride will do
            across &= strides[place(which)] == size;
        }
        bool done;
        if (across && rows > 1 && (!along || n == 1)) done = n <= block * lanes ? run_tiles<From::columns>() : run_columns();
        else if (n <= short_row) done = along ? run_tiles<From::rows>() : run_tiles<From::anywhere>();
        else done = run_rows(along);
        if (streamed) stream_end();
        return done;
    }

  private:
    // What a group of `count` rows from `first` has beside its core operands.
    template <class W> void per_row(Group<W>& g, long first, int count, bool fresh) const {
        if (fresh) {
            g.next_max_known = false;
            g.next = g.next_count = 0;
        }
        if (fresh || strides[places.temperature] || count < lanes) temperatures(g, first, count);
        if constexpr (places.mask >= 0) g.mask = {at(places.mask, first), strides[places.mask_stride], strides[places.mask]};
        if constexpr (places.row_in >= 0) {
            g.row_in = V{};
            for (int k = 0; k < count; ++k) g.row_in[k] = load_one<S>(at(places.row_in, first + k))[0];
        }
    }
    template <class T> static Elements<C> elements() {
        return {[](const char* p) { return C(load_one<T>(p)[0]); }, [](char* p, C x) { store_one<T>(p, V{} + x); }};
    }
    template <class W> void in_memory(Group<W>& g, long first) const {
        g.element = elements<S>();
        if constexpr (inputs == 2) g.v = operand(1, first);
        if constexpr (has(2)) g.result = operand(2, first);
    }
    template <class W> void temperatures(Group<W>& g, long first, int count) const {
        g.scaled = false;
        for (int k = 0; k < lanes; ++k) {
            double t = 1;
            if (k < count) memcpy(&t, at(places.temperature, first + k), sizeof t);
            g.temperature[k] = t;
            g.scaled |= t != 1;
        }
    }
    template <class W> void put_rows(const Group<W>& g, long first, int count) const {
        if constexpr (places.row_out) {
            if (strides[places.out] == size) return store_part<S>(at(places.out, first), g.row_out, count);
            for (int k = 0; k < count; ++k) store_one<S>(at(places.out, first + k), V{} + g.row_out[k]);
        }
    }
    size_t memo_bytes(size_t steps) const {
        const size_t bytes = 2 * sizeof(V) * steps;
        return Op::needs_memo && bytes <= (streamed ? memo_limit_streamed : memo_limit) ? bytes : 0;
    }

    // One row in each lane, in a tile: turned, copied side by side, or gathered.
    enum class From { rows, columns, anywhere };
    template <From from> bool run_tiles() const {
        using W = Columns<C>;
        const size_t memo = memo_bytes(n), tile = sizeof(V) * size_t(n | 1);  // odd: tiles must not meet in the caches
        int vectors = 1;
        if (from == From::columns) {
            while (vectors < panel_vectors && inputs * (vectors + 1) * tile <= panel_limit) ++vectors;
            while (vectors < wide_panel_vectors && inputs * (vectors + 1) * tile <= wide_panel_limit) ++vectors;
        } else {
            while (vectors < together && (vectors + 1) * (inputs * tile + memo) <= group_limit) ++vectors;
        }
        const int at_once = vectors < together || 2 * memo * together > group_limit ? 1 : together;
        Scratch scratch(inputs * vectors * tile + at_once * memo);
        if (!scratch) return false;
        V* tiles[2] = {reinterpret_cast<V*>(scratch.at(at_once * memo)), reinterpret_cast<V*>(scratch.at(at_once * memo + vectors * tile))};
        Group<W> g[together];
        for (int t = 0; t < at_once; ++t) {
            g[t].streamed = false;
            g[t].memo = memo ? scratch.at(t * memo) : nullptr;
            g[t].memo_row = long(memo);
        }
        for (long row = 0; row < rows; row += vectors * lanes) {
            const int width = rows - row < vectors * lanes ? int(rows - row) : vectors * lanes;
            for (int which = 0; which < inputs; ++which) tile_in<from>(operand(which, row), width, tiles[which]);
            for (int t = 0; t * lanes < width; t += at_once) {
                int groups = 0;
                for (; groups < at_once && (t + groups) * lanes < width; ++groups) {
                    const int first = (t + groups) * lanes, count = width - first < lanes ? width - first : lanes;
                    Group<W>& group = g[groups];
                    group.walk = {n, count};
                    per_row(group, row + first, count, row == 0 && t == 0);
                    for (int which = 0; which < inputs; ++which)
                        group.in[which] = {reinterpret_cast<char*>(tiles[which] + (t + groups) * (n | 1)), sizeof(V), sizeof(C)};
                    group.out = group.in[0];  // every kernel may write over its operands
                    group.v = {group.in[1].p, sizeof(V), sizeof(C)};
                    group.result = {group.out.p, sizeof(V), sizeof(C)};
                    group.element = elements<C>();
                }
                run_groups<Op, together>(g, groups);
                for (int k = 0; k < groups; ++k) put_rows(g[k], row + (t + k) * lanes, g[k].walk.count);
            }
            if constexpr (has(2)) tile_out<from>(tiles[0], width, operand(2, row));
        }
        return true;
    }
    template <From from> void tile_in(const Operand& a, int width, V* tile) const {
        if constexpr (from == From::rows) {
            for (int first = 0; first < width; first += lanes)
                Turn<S, V>::in(a.p + first * a.across, a.across, width - first < lanes ? width - first : lanes, n, tile + first / lanes * (n | 1));
        } else if constexpr (from == From::columns) {
            columns_in(a, width, n, tile, n | 1);
        } else {
            for (long j = 0; j < n; ++j) {
                V x{};
                for (int k = 0; k < width; ++k) {
                    x[k % lanes] = load_one<S>(a.p + j * a.along + k * a.across)[0];
                    tile[k / lanes * (n | 1) + j] = x;
                }
            }
        }
    }
    template <From from> void tile_out(const V* tile, int width, const Operand& a) const {
        if constexpr (from == From::rows) {
            for (int first = 0; first < width; first += lanes)
                Turn<S, V>::out(tile + first / lanes * (n | 1), width - first < lanes ? width - first : lanes, n, a.p + first * a.across, a.across);
        } else if constexpr (from == From::columns) {
            columns_out(tile, width, n, a, n | 1);
        } else {
            for (long j = 0; j < n; ++j)
                for (int k = 0; k < width; ++k) store_one<S>(a.p + j * a.along + k * a.across, V{} + tile[k / lanes * (n | 1) + j][k % lanes]);
        }
    }

    // Rows side by side that are too long for a tile of them all.
    bool run_columns() const {
        using W = Columns<C>;
        constexpr long step = block * lanes;  // classes of a tile
        constexpr long fit = panel_limit / (inputs * step * sizeof(V));
        constexpr int vectors = fit < 1 ? 1 : fit > panel_vectors ? panel_vectors : int(fit);
        // An odd number of vectors from tile to tile: they must not meet in the caches.
        Scratch scratch(inputs * vectors * (step + 1) * sizeof(V));
        if (!scratch) return false;
        V* const tiles[2] = {reinterpret_cast<V*>(scratch.at(0)), reinterpret_cast<V*>(scratch.at(0)) + vectors * (step + 1)};
        Group<W> whole[vectors], groups[vectors];
        for (long row = 0; row < rows; row += vectors * lanes) {
            const int width = rows - row < vectors * lanes ? int(rows - row) : vectors * lanes, count = (width + lanes - 1) / lanes;
            for (int t = 0; t < count; ++t) {
                const int first = t * lanes;
                Group<W>& g = whole[t];
                g.walk = {n, width - first < lanes ? width - first : lanes};
                g.streamed = false;
                g.memo = nullptr;
                per_row(g, row + first, g.walk.count, row == 0);
                in_memory(g, row + first);
                groups[t] = g;
                for (int which = 0; which < inputs; ++which) groups[t].in[which] = {reinterpret_cast<char*>(tiles[which] + t * (step + 1)), 0, 0};
                groups[t].out = groups[t].in[0];
            }
            const auto piece_of = [&](int which, long first) {
                const Operand a = operand(which, row);
                return Operand{a.p + first * a.along, a.along, a.across};
            };
            const auto load = [&](long first, long some, int which) {
                if (which < inputs) columns_in(piece_of(which, first), width, some, tiles[which], step + 1);
            };
            const auto store = [&](long first, long some) { columns_out(tiles[0], width, some, piece_of(2, first), step + 1); };
            if constexpr (has(2)) run_pieces<Op, vectors>(whole, groups, count, n, load, store);
            else run_pieces<Op, vectors>(whole, groups, count, n, load, nullptr);
            for (int t = 0; t < count; ++t) put_rows(whole[t], row + t * lanes, whole[t].walk.count);
        }
        return true;
    }
    // `some` classes of rows side by side; `apart` vectors from tile to tile.
    static void columns_in(const Operand& a, int width, long some, V* tile, long apart) {
        for (long j = 0; j < some; ++j) {
            const char* p = a.p + j * a.along;
            const char* const soon = p + (j + fetched < some ? fetched : 0) * a.along;
            for (int i = 0; i < width * size; i += 64) __builtin_prefetch(soon + i);
            int t = 0;
            for (; (t + 1) * lanes <= width; ++t) tile[t * apart + j] = load<S>(p + t * lanes * size);
            if (t * lanes < width) tile[t * apart + j] = load_part<S>(p + t * lanes * size, width - t * lanes);
        }
    }
    static void columns_out(const V* tile, int width, long some, const Operand& a, long apart) {
        for (long j = 0; j < some; ++j) {
            char* p = a.p + j * a.along;
            const char* const soon = p + (j + fetched < some ? fetched : 0) * a.along;
            for (int i = 0; i < width * size; i += 64) __builtin_prefetch(soon + i, 1);
            int t = 0;
            for (; (t + 1) * lanes <= width; ++t) store<S>(p + t * lanes * size, tile[t * apart + j]);
            if (t * lanes < width) store_part<S>(p + t * lanes * size, tile[t * apart + j], width - t * lanes);
        }
    }

    // Operands whose classes are apart are copied row by row.
    bool run_rows(bool along) const {
        using W = Rows<S>;
        const size_t steps = size_t(n + lanes - 1) / lanes, memo_row = memo_bytes(steps), row_bytes = (size_t(n) * size + 63) / 64 * 64;
        const size_t fit = group_limit / (memo_row ? memo_row : inputs * row_bytes);
        const int group = !along || fit < 1 ? 1 : fit > lanes ? lanes : int(fit);
        Scratch scratch(group * memo_row + sizeof(V) + (along ? 0 : 3 * row_bytes));
        if (!scratch) return false;
        char* copies[3] = {};
        for (int which = 0; which < 3; ++which)
            if (!along && has(which) && class_stride(which) != size) copies[which] = scratch.at(memo_row + sizeof(V) + which * row_bytes);
        Group<W> g;
        g.streamed = streamed && along;
        g.memo = memo_row ? scratch.at(0) : nullptr;
        g.memo_row = long(memo_row);
        for (long row = 0; row < rows; row += group) {
            const int count = rows - row < group ? int(rows - row) : group;
            g.walk = {n, count};
            per_row(g, row, count, row == 0);
            for (int which = 0; which < inputs; ++which) {
                g.in[which] = operand(which, row);
                if (!copies[which]) continue;
                for (long j = 0; j < n; ++j) memcpy(copies[which] + j * size, g.in[which].p + j * g.in[which].along, size);
                g.in[which] = {copies[which], size, 0};
            }
            if constexpr (has(2)) g.out = copies[2] ? Operand{copies[2], size, 0} : operand(2, row);
            in_memory(g, row);
            if (!along) g.v = g.in[1], g.result = g.out;
            const long left = rows - row - count;
            g.next = count * strides[places.core[0]];
            g.next_count = copies[0] ? 0 : left < count ? int(left) : count;
            if (n <= piece) run_groups<Op, 1>(&g, 1);
            else if (!run_pieces<Op>(g)) return false;
            if constexpr (has(2))
                if (copies[2]) {
                    const Operand out = operand(2, row);
                    for (long j = 0; j < n; ++j) memcpy(out.p + j * out.along, copies[2] + j * size, size);
                }
            put_rows(g, row, count);
        }
        return true;
    }
};

}  // namespace
