// Short rows, turned: as many rows as a vector has lanes become the columns of a small tile, and columns.h serves them.
#pragma once

#include "half.h"

namespace {

// Exchanges, in vectors i and i + d of every pair, the blocks of d lanes that are on the wrong side.
template <int d, class V, size_t... L> inline void exchange(V& a, V& b, std::index_sequence<L...>) {
    constexpr int lanes = sizeof...(L);
    V upper = __builtin_shufflevector(a, b, ((L & d) ? lanes + L - d : L)...);
    V lower = __builtin_shufflevector(a, b, ((L & d) ? lanes + L : L + d)...);
    a = upper;
    b = lower;
}
template <int d, int lanes, class V> inline void transpose_from(V* v) {
    if constexpr (d < lanes) {
        for (int i = 0; i < lanes; ++i)
            if (!(i & d)) exchange<d>(v[i], v[i + d], std::make_index_sequence<lanes>());
        transpose_from<2 * d, lanes>(v);
    }
}
template <class V> inline void transpose(V* v) { transpose_from<1, sizeof(V) / sizeof(v[0][0])>(v); }

// tile[j] = class j of `width` rows of n classes each, the rows `stride` bytes apart; widened to the compute type.
template <class S, class V> void turn_in(const char* rows, long stride, int width, long n, V* tile) {
    constexpr int lanes = lanes_of<S>;
    for (long j = 0; j < n; j += lanes) {
        const int count = n - j < lanes ? int(n - j) : lanes;
        V block[lanes];
        for (int k = 0; k < lanes; ++k) {
            const char* p = rows + k * stride + j * long(sizeof(S));
            block[k] = k >= width ? V{} : count == lanes ? load<S>(p) : load_part<S>(p, count);
        }
        transpose(block);
        for (int k = 0; k < count; ++k) tile[j + k] = block[k];
    }
}

// The way back, rounded to the storage type.
template <class S, class V> void turn_out(const V* tile, int width, long n, char* rows, long stride) {
    constexpr int lanes = lanes_of<S>;
    for (long j = 0; j < n; j += lanes) {
        const int count = n - j < lanes ? int(n - j) : lanes;
        V block[lanes];
        for (int k = 0; k < lanes; ++k) block[k] = k < count ? tile[j + k] : V{};
        transpose(block);
        for (int k = 0; k < width; ++k) {
            char* p = rows + k * stride + j * long(sizeof(S));
            if (count == lanes) store<S>(p, block[k]);
            else store_part<S>(p, block[k], count);
        }
    }
}

}  // namespace
