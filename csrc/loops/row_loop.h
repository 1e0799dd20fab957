// From NumPy's strided operands to a walk: along the classes where they are contiguous, across rows where the rows lie side by side, and
// otherwise along a copy of each row (O(n) scratch, never the whole array).
#pragma once

#include "loops/chunked.h"
#include "loops/pack.h"
#include "simd/transpose.h"

namespace {

template <class S, class Op, const onesum::Signature& places> struct Driver {
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    static constexpr isize size = sizeof(S);
    static constexpr int lanes = lanes_of<S>;
    static constexpr int inputs = places.core[1] < 0 ? 1 : 2;
    char* const* args;
    isize rows, n;
    const isize* strides;
    bool streamed;

    static constexpr bool has(int which) { return which < 2 ? places.core[which] >= 0 : !places.row_out; }
    const onesum::LossOptions& options() const { return *reinterpret_cast<const onesum::LossOptions*>(args[places.options]); }
    bool writes() const {
        if constexpr (places.options >= 0) return options().gradient;
        else return has(2);
    }
    static constexpr int place(int which) { return which < 2 ? places.core[which] : places.out; }

    char* at(int place, isize row) const { return args[place] + row * strides[place]; }
    isize class_stride(int which) const {  // 0, 1: inputs; 2: output
        return strides[which < 2 ? places.core_strides[which] : places.out_stride];
    }
    Operand operand(int which, isize row) const { return {at(place(which), row), class_stride(which), strides[place(which)]}; }

    bool run() const {
        if (rows == 0 || (n == 0 && !places.row_out)) return true;
        bool along = true, across = true;
        for (int which = 0; which < 3; ++which) {
            if (!has(which)) continue;
            along &= n == 1 || class_stride(which) == size;  // one class has no neighbour: any stride will do
            across &= strides[place(which)] == size;
        }
        bool done;
        if (across && rows > 1 && (!along || n == 1)) done = n <= block * lanes ? run_panels() : run_columns();
        else if (n <= short_row<C>) done = run_tiles(along);
        else done = run_rows(along);
        if (streamed) stream_fence();
        return done;
    }

  private:
    // What a group of `count` rows from `first` has beside its core operands.
    template <class W> void per_row(Group<W>& g, isize first, int count, bool fresh) const {
        if (fresh) {
            g.classes = n;
            g.next_max_known = false;
            g.next_count = 0;
            g.writes = writes();
        }
        if (fresh || strides[places.temperature]) temperatures(g, first, count);
        if constexpr (places.mask >= 0)
            if (args[places.mask]) g.mask = {at(places.mask, first), strides[places.mask_stride], strides[places.mask]};
        if constexpr (places.row_in >= 0) {
            g.row_in = V{};
            for (int k = 0; k < count; ++k) g.row_in[k] = load_broadcast<S>(at(places.row_in, first + k))[0];
        }
        if constexpr (places.words_in[0] >= 0)
            for (int word = 0; word < 2; ++word)
                for (int k = 0; k < lanes; ++k) memcpy(&g.words[word][k], at(places.words_in[word], first + (k < count ? k : 0)), sizeof(double));
        if constexpr (places.options >= 0) aim(g, first, count);
    }
    template <class W> void aim(Group<W>& g, isize first, int count) const {
        auto& aims = g.aims;
        aims.options = &options();
        aims.logits = splat(C(-infinity)), aims.in_lanes = splat(typename W::Int(-1)), aims.ignored = typename W::I{};
        for (int k = 0; k < count; ++k) {
            isize y;
            memcpy(&y, at(places.classes, first + k), sizeof y);
            memcpy(&aims.sample[k], at(places.sample, first + k), sizeof aims.sample[k]);
            aims.classes[k] = y;
            if (y < 0) {
                if (options().probabilities) continue;
                aims.ignored[k] = -1, aims.sample[k] = 0;
            } else {
                aims.in_lanes[k] = typename W::Int(y);
                if (!args[places.mask] || *(at(places.mask, first + k) + y * strides[places.mask_stride])) aims.logits[k] = load_broadcast<S>(at(places.core[0], first + k) + y * class_stride(0))[0];
            }
        }
        for (int k = count; k < lanes; ++k) aims.classes[k] = -1, aims.sample[k] = 0;
        if constexpr (places.masses >= 0)
            for (int k = 0; k < lanes; ++k) memcpy(&aims.masses[k], at(places.masses, first + (k < count ? k : 0)), sizeof aims.masses[k]);
        for (int k = 0; k < lanes; ++k) aims.spread[k] = options().smoothing == 0 ? 0 : options().smoothing / double(choices(first + (k < count ? k : 0)));
    }
    isize choices(isize row) const {
        if (!args[places.mask]) return n;
        isize left = 0;
        for (isize j = 0; j < n; ++j) left += *(at(places.mask, row) + j * strides[places.mask_stride]) != 0;
        return left;
    }
    template <class T> static Elements<C> elements() {
        return {[](const char* p) { return C(load_broadcast<T>(p)[0]); }, [](char* p, C x) { store_first<T>(p, V{} + x); }};
    }
    template <class W> void in_memory(Group<W>& g, isize first) const {
        g.element = elements<S>();
        if constexpr (inputs == 2) g.v = operand(1, first);
        if constexpr (has(2)) g.result = operand(2, first);
    }
    template <class W> void temperatures(Group<W>& g, isize first, int count) const {
        g.scaled = false;
        for (int k = 0; k < lanes; ++k) {
            double t = 1;
            if (k < count || strides[places.temperature] == 0) memcpy(&t, at(places.temperature, first + k), sizeof t);
            g.temperature[k] = t;
            g.scaled |= t != 1;
        }
    }
    template <class W> void put_rows(const Group<W>& g, isize first, int count) const {
        if constexpr (places.loss >= 0)
            for (int k = 0; k < count; ++k) memcpy(at(places.loss, first + k), &g.aims.losses[k], sizeof(double));
        if constexpr (places.words_out[0] >= 0)
            for (int word = 0; word < 2; ++word)
                for (int k = 0; k < count; ++k) memcpy(at(places.words_out[word], first + k), &g.words[word][k], sizeof(double));
        if constexpr (places.row_out) {
            if (strides[places.out] == size) return store_n<S>(at(places.out, first), g.row_out, count);
            for (int k = 0; k < count; ++k) store_first<S>(at(places.out, first + k), V{} + g.row_out[k]);
        }
    }
    size_t memo_bytes(size_t steps) const {
        const size_t bytes = 2 * sizeof(V) * steps;
        return Op::needs_memo && writes() && bytes <= (streamed ? memo_limit_streamed : memo_limit) ? bytes : 0;
    }

    // Several tiles go through the steps of an operation together.
    struct Team {
        using W = Columns<C>;
        const size_t memo;
        const int size;
        Group<W> groups[together];
        int used = 0;  // so many before

        Team(size_t memo, int tiles) : memo(memo), size(tiles < together || 2 * memo * together > group_limit ? 1 : together) {}
        size_t bytes() const { return size * memo; }
        void set(char* room) {
            for (int t = 0; t < size; ++t) {
                groups[t].streamed = false;
                groups[t].memo = memo ? room + t * memo : nullptr;
                groups[t].memo_row = isize(memo);
            }
        }
    };
    // The tiles from t on, as many as go together, of `width` rows from `row` on; meanwhile the vectors of `next` are fetched, if there are any.
    void run_team(Team& team, const Tiles<C>* tiles, isize row, int width, int t, const Runs* next) const {
        int count = 0;
        for (; count < team.size && (t + count) * lanes < width; ++count) {
            const int first = (t + count) * lanes;
            auto& group = team.groups[count];
            group.walk = {n, width - first < lanes ? width - first : lanes};
            per_row(group, row + first, group.walk.count, count >= team.used);
            if (count >= team.used || group.in[0].p != tiles[0].at(t + count).p) place(group, tiles, t + count);
            for (int which = 0; next && which < inputs; ++which) {
                group.next[which] = next[which];
                group.next[which].advance(count * n);
            }
        }
        team.used = count > team.used ? count : team.used;
        run_groups<Op, together>(team.groups, count);
        for (int k = 0; k < count; ++k) put_rows(team.groups[k], row + (t + k) * lanes, team.groups[k].walk.count);
    }
    // To be fetched: the same vector again and again.
    static Runs nothing_new(const Tiles<C>& tiles) { return {tiles.p, 0, 0, 1, 1}; }
    void place(Group<Columns<C>>& group, const Tiles<C>* tiles, int t) const {
        for (int which = 0; which < inputs; ++which) {
            group.in[which] = tiles[which].at(t);
            group.next[which] = nothing_new(tiles[which]);
        }
        group.out = group.in[0];  // every kernel may write over its operands
        group.v = group.in[1];
        group.result = group.out;
        group.element = elements<C>();
    }

    // Short rows, one in each lane of a tile: turned, or gathered.
    bool run_tiles(bool along) const {
        const size_t memo = memo_bytes(n), tile = size_t(n | 1) * sizeof(V);
        int vectors = 1;
        while (vectors < together && (vectors + 1) * (inputs * tile + memo) <= group_limit) ++vectors;
        Team team(memo, vectors);
        Scratch scratch(inputs * vectors * tile + team.bytes());
        if (!scratch) return false;
        team.set(scratch.at(inputs * vectors * tile));
        const Tiles<C> tiles[2] = {{scratch.at(0), sizeof(V), isize(tile)}, {scratch.at((inputs - 1) * vectors * tile), sizeof(V), isize(tile)}};
        for (isize row = 0; row < rows; row += vectors * lanes) {
            const int width = rows - row < vectors * lanes ? int(rows - row) : vectors * lanes;
            for (int which = 0; which < inputs; ++which) tiles_in(operand(which, row), along, width, tiles[which]);
            for (int t = 0; t * lanes < width; t += team.size) run_team(team, tiles, row, width, t, nullptr);
            if constexpr (has(2))
                if (writes()) tiles_out(tiles[0], width, operand(2, row), along);
        }
        return true;
    }
    void tiles_in(const Operand& a, bool along, int width, const Tiles<C>& tiles) const {
        for (int first = 0; first < width; first += lanes) {
            V* const tile = reinterpret_cast<V*>(tiles.at(first / lanes).p);
            const char* const p = a.p + first * a.across;
            const int count = width - first < lanes ? width - first : lanes;
            if (along) TransposeTile<S, V>::in(p, a.across, count, n, tile);
            else for (isize j = 0; j < n; ++j)
                for (int k = 0; k < count; ++k) tile[j][k] = load_broadcast<S>(p + j * a.along + k * a.across)[0];
        }
    }
    void tiles_out(const Tiles<C>& tiles, int width, const Operand& a, bool along) const {
        for (int first = 0; first < width; first += lanes) {
            const V* const tile = reinterpret_cast<const V*>(tiles.at(first / lanes).p);
            char* const p = a.p + first * a.across;
            const int count = width - first < lanes ? width - first : lanes;
            if (along) TransposeTile<S, V>::out(tile, count, n, p, a.across);
            else for (isize j = 0; j < n; ++j)
                for (int k = 0; k < count; ++k) store_first<S>(p + j * a.along + k * a.across, V{} + tile[j][k]);
        }
    }

    // Rows side by side, in panels of tiles. While one is computed, the next is fetched, and filled bit by bit: lines of neighbouring classes may meet
    // in the caches, so that those of a whole panel would not stay there.
    bool run_panels() const {
        const isize all = (rows + lanes - 1) / lanes;
        const int most = panel_vectors(n, inputs), vectors = all < most ? int(all) : most, panel = vectors * lanes;
        const isize along = (vectors | 1) * isize(sizeof(V));
        Team team(memo_bytes(n), vectors);
        Scratch scratch(2 * inputs * n * along + team.bytes());
        if (!scratch) return false;
        team.set(scratch.at(2 * inputs * n * along));
        const auto tiles_of = [&](int buffer, int which) { return Tiles<C>{scratch.at((buffer * inputs + which) * n * along), along, sizeof(V)}; };
        const auto filling = [&](int buffer, isize row, int which) { return Filling<S>(operand(which, row), width_of(row, panel), n, tiles_of(buffer, which)); };
        for (int which = 0; which < inputs; ++which) filling(0, 0, which).fill(0);
        int buffer = 0;
        for (isize row = 0, next_row; row < rows; row = next_row, buffer ^= 1) {
            const int width = width_of(row, panel), steps = (width - 1) / (team.size * lanes) + 1;
            next_row = row + width;
            const Tiles<C> tiles[2] = {tiles_of(buffer, 0), tiles_of(buffer, inputs - 1)};
            if (next_row == rows) {
                for (int step = 0; step < steps; ++step) run_team(team, tiles, row, width, step * team.size, nullptr);
            } else {
                Filling<S> fillings[2] = {filling(buffer ^ 1, next_row, 0), filling(buffer ^ 1, next_row, inputs - 1)};
                const isize vectors = fillings[0].left;
                for (int step = 0; step < steps; ++step) {
                    const Runs next[2] = {fillings[0].from, fillings[1].from};
                    run_team(team, tiles, row, width, step * team.size, next);
                    for (int which = 0; which < inputs; ++which) fillings[which].fill(vectors - vectors * (step + 1) / steps);
                }
            }
            if constexpr (has(2))
                if (writes()) columns_out<S>(tiles[0], width, n, operand(2, row), streamed);
        }
        return true;
    }
    // Rows of the panel from `row` on. The first one ends where a line of the output does, so that the others are whole lines, if they are so in every class.
    int width_of(isize row, int panel) const {
        if (writes() && row == 0 && rows > panel && class_stride(2) % 64 == 0) {
            const int head = int(-reinterpret_cast<uintptr_t>(at(place(2), 0)) % 64 / size);
            if (head > 0 && head < panel) panel = head;
        }
        return rows - row < panel ? int(rows - row) : panel;
    }

    // Rows side by side that are too long for a tile of them all: tiles of several, for memory is read fastest without gaps.
    struct Desk {
        using W = Columns<C>;
        const Driver& driver;
        const isize row;
        const int width;
        Tiles<C> tiles[2];
        Group<W> groups[most_columns];

        static isize along(isize count) { return (count | 1) * isize(sizeof(V)); }
        static size_t bytes(isize count) { return inputs * block * lanes * along(count); }
        Desk(const Driver& driver, isize row, int width, const Group<W>* whole, int count, char* room) : driver(driver), row(row), width(width) {
            for (int which = 0; which < inputs; ++which) tiles[which] = {room + which * block * lanes * along(count), along(count), sizeof(V)};
            for (int t = 0; t < count; ++t) {
                groups[t] = whole[t];
                for (int which = 0; which < inputs; ++which) {
                    groups[t].in[which] = tiles[which].at(t);
                    groups[t].next[which] = nothing_new(tiles[which]);
                }
                groups[t].out = groups[t].in[0];
            }
        }
        // `soon`: classes of the tile after it, whose vectors are fetched meanwhile.
        void in(isize first, isize classes, isize soon, int which) {
            columns_in<S>(piece(which, first), width, classes, tiles[which]);
            const int vectors = (width + lanes - 1) / lanes;
            Runs runs = nothing_new(tiles[which]);
            if (soon > 0) {
                const Operand a = piece(which, first + classes);
                runs = {a.p, lanes * size, a.along - vectors * lanes * size, vectors, vectors};
            }
            for (int t = 0; t < vectors; ++t) {
                groups[t].next[which] = runs;
                if (soon > 0) runs.advance(soon);
            }
        }
        void out(isize first, isize classes) {
            columns_out<S>(tiles[0], width, classes, piece(2, first), driver.streamed);
            if (driver.streamed) stream_fence();
        }

      private:
        Operand piece(int which, isize first) const {
            const Operand a = driver.operand(which, row);
            return {a.p + first * a.along, a.along, a.across};
        }
    };
    bool run_columns() const {
        using W = Columns<C>;
        const isize all = (rows + lanes - 1) / lanes, bundles = (all - 1) / most_columns + 1, vectors = (all - 1) / bundles + 1;
        const isize parts = at_once(n), threads = onesum::free_threads(), team = threads < parts ? threads : parts;
        const Scratch scratch(team * Desk::bytes(vectors));
        if (!scratch) return false;
        Group<W> whole[most_columns];
        for (isize row = 0; row < rows; row += vectors * lanes) {
            const int width = rows - row < vectors * lanes ? int(rows - row) : int(vectors) * lanes, count = (width + lanes - 1) / lanes;
            for (int t = 0; t < count; ++t) {
                const int first = t * lanes;
                Group<W>& g = whole[t];
                g.walk = {n, width - first < lanes ? width - first : lanes};
                g.streamed = false;
                g.memo = nullptr;
                per_row(g, row + first, g.walk.count, row == 0);
                in_memory(g, row + first);
            }
            const auto desk_of = [&](isize task) { return Desk(*this, row, width, whole, count, scratch.at(task * Desk::bytes(vectors))); };
            if (!run_parts<Op, has(2), inputs>(whole, count, n, team, desk_of)) return false;
            for (int t = 0; t < count; ++t) put_rows(whole[t], row + t * lanes, whole[t].walk.count);
        }
        return true;
    }
    // Operands whose classes are apart are copied row by row.
    bool run_rows(bool along) const {
        using W = Rows<S>;
        const size_t steps = size_t(n + lanes - 1) / lanes, memo_row = memo_bytes(steps), row_bytes = (size_t(n) * size + 63) / 64 * 64;
        const size_t fit = group_limit / (memo_row ? memo_row : inputs * row_bytes);
        const int group = !along || n > piece || fit < 1 ? 1 : fit > lanes ? lanes : int(fit);
        Scratch scratch(group * memo_row + sizeof(V) + (along ? 0 : 3 * row_bytes));
        if (!scratch) return false;
        char* copies[3] = {};
        for (int which = 0; which < 3; ++which)
            if (!along && has(which) && (which < 2 || writes()) && class_stride(which) != size) copies[which] = scratch.at(memo_row + sizeof(V) + which * row_bytes);
        Group<W> g;
        g.streamed = streamed && along;
        g.memo = memo_row ? scratch.at(0) : nullptr;
        g.memo_row = isize(memo_row);
        for (isize row = 0; row < rows; row += group) {
            const int count = rows - row < group ? int(rows - row) : group;
            g.walk = {n, count};
            per_row(g, row, count, row == 0);
            for (int which = 0; which < inputs; ++which) {
                g.in[which] = operand(which, row);
                if (!copies[which]) continue;
                for (isize j = 0; j < n; ++j) memcpy(copies[which] + j * size, g.in[which].p + j * g.in[which].along, size);
                g.in[which] = {copies[which], size, 0};
            }
            g.out = g.in[0];
            if constexpr (has(2)) g.out = copies[2] ? Operand{copies[2], size, 0} : operand(2, row);
            in_memory(g, row);
            if (!along) g.v = g.in[1], g.result = g.out;
            const isize left = rows - row - count;
            g.next_count = copies[0] ? 0 : left < count ? int(left) : count;
            for (int which = 0; which < inputs; ++which) g.next[which] = g.next_count ? operand(which, row + count) : g.in[which];
            if (n <= piece) run_groups<Op, 1>(&g, 1);
            else if (!run_pieces<Op>(g)) return false;
            if constexpr (has(2))
                if (copies[2]) {
                    const Operand out = operand(2, row);
                    for (isize j = 0; j < n; ++j) memcpy(out.p + j * out.along, copies[2] + j * size, size);
                }
            put_rows(g, row, count);
        }
        return true;
    }
};

}  // namespace
