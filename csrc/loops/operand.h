// Operands of a row block, and how their vectors are read and written.
#pragma once

#include "common/tuning.h"
#include "numerics/wide.h"
#include "simd/storage.h"

namespace {

using namespace onesum::tuning;

// A row is summed in so many partial sums, which are brought together halving by halving: on every machine with a fused
// multiply-add as many, whatever its vectors hold, so that all of them give the same bits.
template <class C> constexpr int partial_sums = fused ? 64 / sizeof(C) : Vec<C>::lanes;
template <class C> constexpr isize max_transposed_classes = max_transposed_classes_of(partial_sums<C>);
template <class C> constexpr isize tile_classes = tile_terms * partial_sums<C>;

// How many lanes of a vector count: all of them, known when compiling, or the first few.
struct AllLanes {
    static constexpr bool all = true;
    static constexpr int count = 0;
};
struct SomeLanes {
    static constexpr bool all = false;
    int count;
};

// From so many classes on a row is walked by whole lines; what is streamed always is.
inline isize least_by_lines(bool streamed) { return streamed ? 0 : read_by_lines; }

// An operand of a row block: from here, bytes between neighbouring classes and between neighbouring rows.
struct Operand {
    char* p;
    isize class_stride, row_stride;
};

// The lanes below `count` of x, `fill` in the others.
template <class V, class I = typename Vec<decltype(+V{}[0])>::I> inline V keep_lanes(V x, int count, V fill) {
    return first_n<I>(count) ? x : fill;
}

template <class S, class Lanes, class V> inline V read(const char* p, Lanes lanes, V fill) {
    if constexpr (Lanes::all) return load<S>(p);
    else return keep_lanes(load_n<S>(p, lanes.count), lanes.count, fill);
}
// The same, wider. Halves of a vector of floats are widened as they are loaded.
template <class S, class Lanes> inline auto read_wide(const char* p, Lanes lanes) {
    using C = typename Compute<S>::type;
    if constexpr (sizeof(S) == 4 && Lanes::all) return Wide<float>{load_widened(p), load_widened(p + vector_bytes / 2)};
    else return Wide<C>::of(read<S>(p, lanes, typename Vec<C>::V{}));
}
template <class S, class Lanes, class V> inline void write(char* p, Lanes lanes, V x, bool streamed) {
    if constexpr (!Lanes::all) {
        store_n<S>(p, x, lanes.count);
    } else if (streamed) {
        const auto raw = to_raw<S>(x);
        stream<sizeof raw>(p, &raw);
    } else {
        store<S>(p, x);
    }
}

// A derivative that is 0 is +0: the sign of what has underflowed depends on the path that computed it.
template <class S, class Lanes, class V> inline void write_derivative(char* p, Lanes lanes, V x, bool streamed) {
    write<S>(p, lanes, x + V{}, streamed);
}

}  // namespace
