// From NumPy's strided operands to a walk: along the classes where they are contiguous, across rows where the rows lie side by side, and
// otherwise along a copy of each row (O(n) scratch, never the whole array).
#pragma once

#include <cstdlib>

#include "columns.h"
#include "normalizer.h"
#include "rows.h"

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

// A row of an operand in order, copied when it has to be.
class Packed {
  public:
    Packed(long n, long stride, size_t size) : n(n), stride(stride), size(size), needed(stride != long(size)) {}
    ~Packed() { free(copy); }
    Packed(const Packed&) = delete;
    bool ready() { return !needed || (copy = static_cast<char*>(malloc(n * size))); }
    char* row(char* p) { return needed ? copy : p; }
    void fill(const char* p) {
        if (needed)
            for (long j = 0; j < n; ++j) memcpy(copy + j * size, p + j * stride, size);
    }
    void spill(char* p) {
        if (needed)
            for (long j = 0; j < n; ++j) memcpy(p + j * stride, copy + j * size, size);
    }

  private:
    long n, stride;
    size_t size;
    bool needed;
    char* copy = nullptr;
};

template <class S, class Op, const Places& places> struct Driver {
    static constexpr long size = sizeof(S);
    static constexpr int lanes = lanes_of<S>;
    char* const* args;
    long rows, n;
    const long* strides;

    long row_stride(int place) const { return strides[place]; }
    char* at(int place, long row) const { return args[place] + row * strides[place]; }
    long class_stride(int which) const {  // 0, 1: inputs; 2: output
        return strides[which < 2 ? places.core_strides[which] : places.out_stride];
    }
    static constexpr bool has(int which) { return which < 2 ? places.core[which] >= 0 : !places.row_out; }
    static constexpr int place(int which) { return which < 2 ? places.core[which] : places.out; }

    bool run() const {
        if (n == 0 && !places.row_out) return true;
        bool along = true, across = rows > 1;
        for (int which = 0; which < 3; ++which) {
            if (!has(which)) continue;
            along &= class_stride(which) == size;
            across &= row_stride(place(which)) == size;
        }
        if (across && (n == 1 || !along)) return run_columns();
        return run_rows();
    }

    template <class W> void per_row(Group<W>& g, long first, int count) const {
        g.scaled = false;
        for (int k = 0; k < W::lanes; ++k) {
            double t = 1;
            if (k < count) memcpy(&t, at(places.temperature, first + k), sizeof t);
            g.temperature[k] = t;
            g.scaled |= t != 1;
        }
    }
    template <class W> void mask(Group<W>& g, long row, long step, long lane) const {
        if constexpr (places.mask >= 0) g.mask = {at(places.mask, row), step, lane};
    }

    bool run_columns() const {
        using W = Columns<S>;
        for (long row = 0; row < rows; row += lanes) {
            const int width = rows - row < lanes ? int(rows - row) : lanes;
            Group<W> g;
            g.walk = {n, width};
            per_row(g, row, width);
            for (int which = 0; which < 2; ++which)
                if (has(which)) g.in[which] = {at(place(which), row), class_stride(which)};
            if constexpr (places.mask >= 0) mask(g, row, strides[places.mask_stride], row_stride(places.mask));
            if constexpr (places.row_in >= 0)
                for (int k = 0; k < width; ++k) g.row_in[k] = load_one<S>(at(places.row_in, row + k))[0];
            if constexpr (!places.row_out) g.out = {at(places.out, row), class_stride(2)};
            Op::run(g);
            if constexpr (places.row_out)
                for (int k = 0; k < width; ++k) store_one<S>(at(places.out, row + k), typename W::V{} + g.row_out[k]);
        }
        return true;
    }

    bool run_rows() const {
        using W = Rows<S>;
        const long unit = n == 1 ? size : 0;  // one class has no neighbour: any stride will do
        Packed first(n, unit ? unit : class_stride(0), size);
        Packed second(n, unit || !has(1) ? size : class_stride(1), size);
        Packed result(n, unit || !has(2) ? size : class_stride(2), size);
        if (!(first.ready() && second.ready() && result.ready())) return false;
        for (long row = 0; row < rows; ++row) {
            Group<W> g;
            g.walk = {n};
            double t;
            memcpy(&t, at(places.temperature, row), sizeof t);
            for (double& lane : g.temperature) lane = t;
            g.scaled = t != 1;
            first.fill(at(place(0), row));
            g.in[0] = {first.row(at(place(0), row)), W::step_bytes};
            if constexpr (has(1)) {
                second.fill(at(place(1), row));
                g.in[1] = {second.row(at(place(1), row)), W::step_bytes};
            }
            if constexpr (places.mask >= 0) {
                const long lane = strides[places.mask_stride];
                mask(g, row, lane * lanes, lane);
            }
            if constexpr (places.row_in >= 0) g.row_in = load_one<S>(at(places.row_in, row));
            if constexpr (!places.row_out) g.out = {result.row(at(places.out, row)), W::step_bytes};
            Op::run(g);
            if constexpr (places.row_out) store_one<S>(at(places.out, row), g.row_out);
            else result.spill(at(places.out, row));
        }
        return true;
    }
};

}  // namespace
