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
template <int d, int lanes, class V> ONESUM_INLINE void transpose_from(V* v) {
    if constexpr (d < lanes) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i)
            if (!(i & d)) exchange<d>(v[i], v[i + d], std::make_index_sequence<lanes>());
        transpose_from<2 * d, lanes>(v);
    }
}

// f(k) for every lane k, unrolled, so that an array of vectors indexed by k lives in registers.
template <int lanes, class F> ONESUM_INLINE void for_lanes(F f) {
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) f(k);
}

// tile[j] = class j of `width` rows of n classes each, the rows `stride` bytes apart; widened to the compute type.
template <class S, class V> void turn_in(const char* rows, long stride, int width, long n, V* tile) {
    constexpr int lanes = lanes_of<S>;
    for (long j = 0; j < n; j += lanes, rows += lanes * sizeof(S)) {
        const int count = n - j < lanes ? int(n - j) : lanes;
        V block[lanes];
        if (width < lanes)
            for_lanes<lanes>([&](int k) ONESUM_INLINED {
                block[k] = k < width ? load_part<S>(rows + k * stride, count) : V{};
            });
        else if (count < lanes)
            for_lanes<lanes>([&](int k) ONESUM_INLINED { block[k] = load_part<S>(rows + k * stride, count); });
        else
            for_lanes<lanes>([&](int k) ONESUM_INLINED { block[k] = load<S>(rows + k * stride); });
        transpose_from<1, lanes>(block);
        for_lanes<lanes>([&](int k) ONESUM_INLINED {
            if (k < count) tile[j + k] = block[k];
        });
    }
}

// The way back, rounded to the storage type.
template <class S, class V> void turn_out(const V* tile, int width, long n, char* rows, long stride) {
    constexpr int lanes = lanes_of<S>;
    for (long j = 0; j < n; j += lanes, rows += lanes * sizeof(S)) {
        const int count = n - j < lanes ? int(n - j) : lanes;
        V block[lanes];
        for_lanes<lanes>([&](int k) ONESUM_INLINED { block[k] = k < count ? tile[j + k] : V{}; });
        transpose_from<1, lanes>(block);
        if (width < lanes)
            for_lanes<lanes>([&](int k) ONESUM_INLINED {
                if (k < width) store_part<S>(rows + k * stride, block[k], count);
            });
        else if (count < lanes)
            for_lanes<lanes>([&](int k) ONESUM_INLINED { store_part<S>(rows + k * stride, block[k], count); });
        else
            for_lanes<lanes>([&](int k) ONESUM_INLINED { store<S>(rows + k * stride, block[k]); });
    }
}

}  // namespace
