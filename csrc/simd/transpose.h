// Short rows, transposed: as many rows as a vector has lanes become the columns of a tile, over which loops/vertical.h
// goes.
#pragma once

#include "simd/storage.h"

namespace {

// f(k) for k < count, unrolled, so that an array of vectors indexed by k lives in registers.
template <int count, class F> ONESUM_INLINE void unrolled(F f) {
#pragma GCC unroll 16
    for (int k = 0; k < count; ++k) f(k);
}

// v[k] holds row k; afterwards v[j] holds class j, for the first `classes`. 2 d vectors.
template <int d, int classes, class V> ONESUM_INLINE void transpose(V* v) {
    unrolled<d>([&](int i) ONESUM_FORCE_INLINE { swap_blocks<d>(v[i], v[i + d]); });
    if constexpr (d > 1) {
        transpose < d / 2, classes<d ? classes : d>(v);
        if constexpr (classes > d) transpose<d / 2, classes - d>(v + d);
    }
}
// The way back. What stands behind the `classes` of a row is anything.
template <int d, int classes, class V> ONESUM_INLINE void transpose_back(V* v) {
    if constexpr (d > 1) transpose_back < d / 2, classes<d ? classes : d>(v);
    if constexpr (classes <= d) unrolled<d>([&](int i) ONESUM_FORCE_INLINE { v[i + d] = v[i]; });
    else if constexpr (d > 1) transpose_back<d / 2, classes - d>(v + d);
    unrolled<d>([&](int i) ONESUM_FORCE_INLINE { swap_blocks<d>(v[i], v[i + d]); });
}

// Rows of 2 or 4 without gaps: from `classes` vectors in which they lie one after the other to a vector for each class.
template <int classes, class V, size_t... L> ONESUM_INLINE void deinterleave(V* v, std::index_sequence<L...> lanes) {
    if constexpr (classes > 1) {
        constexpr int half = classes / 2;
        V even[half], odd[half];
        for (int i = 0; i < half; ++i) {
            even[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], (2 * L)...);
            odd[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], (2 * L + 1)...);
        }
        deinterleave<half>(even, lanes);
        deinterleave<half>(odd, lanes);
        for (int i = 0; i < half; ++i) v[2 * i] = even[i], v[2 * i + 1] = odd[i];
    }
}
template <int classes, class V, size_t... L> ONESUM_INLINE void interleave(V* v, std::index_sequence<L...> lanes) {
    if constexpr (classes > 1) {
        constexpr int half = classes / 2, count = sizeof...(L);
        V even[half], odd[half];
        for (int i = 0; i < half; ++i) even[i] = v[2 * i], odd[i] = v[2 * i + 1];
        interleave<half>(even, lanes);
        interleave<half>(odd, lanes);
        for (int i = 0; i < half; ++i) {
            v[2 * i] = __builtin_shufflevector(even[i], odd[i], (L / 2 + (L % 2) * count)...);
            v[2 * i + 1] = __builtin_shufflevector(even[i], odd[i], (count / 2 + L / 2 + (L % 2) * count)...);
        }
    }
}

// tile[j] = class j of `width` rows of n classes each, the rows `stride` bytes apart; widened to the compute type.
template <class S, class V> struct TransposeTile {
    static constexpr int lanes = lanes_of<S>;
    static constexpr auto sequence = std::make_index_sequence<lanes>();

    static void in(const char* rows, isize stride, int width, isize n, V* tile) {
        if (width == lanes && stride == n * isize(sizeof(S))) {
            if (n == 2) return deinterleaved<2>(rows, tile);
            if (n == 4) return deinterleaved<4>(rows, tile);
        }
        isize j = 0;
        for (; n - j >= lanes; j += lanes, rows += lanes * sizeof(S))
            some_in<lanes>(rows, stride, width, lanes, tile + j);
        const int rest = int(n - j);
        if (rest == 0) return;
        if (rest <= lanes / 4) some_in<(lanes >= 4 ? lanes / 4 : 1)>(rows, stride, width, rest, tile + j);
        else if (rest <= lanes / 2) some_in<lanes / 2>(rows, stride, width, rest, tile + j);
        else if (rest <= lanes / 4 * 3)
            some_in<(lanes >= 4 ? lanes / 4 * 3 : lanes)>(rows, stride, width, rest, tile + j);
        else some_in<lanes>(rows, stride, width, rest, tile + j);
    }
    // The way back, rounded to the storage type.
    static void out(const V* tile, int width, isize n, char* rows, isize stride) {
        if (width == lanes && stride == n * isize(sizeof(S))) {
            if (n == 2) return interleaved<2>(tile, rows);
            if (n == 4) return interleaved<4>(tile, rows);
        }
        isize j = 0;
        for (; n - j >= lanes; j += lanes, rows += lanes * sizeof(S))
            some_out<lanes>(tile + j, width, lanes, rows, stride);
        const int rest = int(n - j);
        if (rest == 0) return;
        if (rest <= lanes / 4) some_out<(lanes >= 4 ? lanes / 4 : 1)>(tile + j, width, rest, rows, stride);
        else if (rest <= lanes / 2) some_out<lanes / 2>(tile + j, width, rest, rows, stride);
        else if (rest <= lanes / 4 * 3)
            some_out<(lanes >= 4 ? lanes / 4 * 3 : lanes)>(tile + j, width, rest, rows, stride);
        else some_out<lanes>(tile + j, width, rest, rows, stride);
    }

  private:
    template <int classes> static void deinterleaved(const char* rows, V* tile) {
        V v[classes];
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { v[i] = load<S>(rows + i * lanes * sizeof(S)); });
        deinterleave<classes>(v, sequence);
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { tile[i] = v[i]; });
    }
    template <int classes> static void interleaved(const V* tile, char* rows) {
        V v[classes];
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { v[i] = tile[i]; });
        interleave<classes>(v, sequence);
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { store<S>(rows + i * lanes * sizeof(S), v[i]); });
    }
    // `count` classes of each row, at most `classes`.
    template <int classes> static void some_in(const char* rows, isize stride, int width, int count, V* tile) {
        V v[lanes];
        if (width < lanes)
            unrolled<lanes>([&](int k)
                                ONESUM_FORCE_INLINE { v[k] = k < width ? load_n<S>(rows + k * stride, count) : V{}; });
        else if (count < lanes)
            unrolled<lanes>([&](int k) ONESUM_FORCE_INLINE { v[k] = load_n<S>(rows + k * stride, count); });
        else unrolled<lanes>([&](int k) ONESUM_FORCE_INLINE { v[k] = load<S>(rows + k * stride); });
        transpose<lanes / 2, classes>(v);
        if (count == classes) unrolled<classes>([&](int j) ONESUM_FORCE_INLINE { tile[j] = v[j]; });
        else
            unrolled<classes>([&](int j) ONESUM_FORCE_INLINE {
                if (j < count) tile[j] = v[j];
            });
    }
    template <int classes> static void some_out(const V* tile, int width, int count, char* rows, isize stride) {
        V v[lanes];
        if (count == classes) unrolled<classes>([&](int j) ONESUM_FORCE_INLINE { v[j] = tile[j]; });
        else unrolled<classes>([&](int j) ONESUM_FORCE_INLINE { v[j] = j < count ? tile[j] : V{}; });
        transpose_back<lanes / 2, classes>(v);
        if (width < lanes)
            unrolled<lanes>([&](int k) ONESUM_FORCE_INLINE {
                if (k < width) store_n<S>(rows + k * stride, v[k], count);
            });
        else if (count < lanes)
            unrolled<lanes>([&](int k) ONESUM_FORCE_INLINE { store_n<S>(rows + k * stride, v[k], count); });
        else unrolled<lanes>([&](int k) ONESUM_FORCE_INLINE { store<S>(rows + k * stride, v[k]); });
    }
};

}  // namespace
