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

// Of 2 d vectors: lane k of v[j] for lane j of v[k], in every block of 2 d lanes.
template <int d, class V> ONESUM_INLINE void transpose(V* v) {
    unrolled<d>([&](int i) ONESUM_FORCE_INLINE { swap_blocks<d>(v[i], v[i + d]); });
    if constexpr (d > 1) transpose<d / 2>(v), transpose<d / 2>(v + d);
}

// Rows of 2 to 4 without gaps: from `classes` vectors in which they lie one after the other to a vector for each class.
template <int classes, class V, size_t... L> ONESUM_INLINE void deinterleave(V* v, std::index_sequence<L...> lanes) {
    if constexpr (classes == 3) {
        constexpr int count = sizeof...(L);
        const V rows[3] = {v[0], v[1], v[2]};
        const auto pick = [&]<int c>(std::integral_constant<int, c>) ONESUM_FORCE_INLINE {
            const V early = __builtin_shufflevector(rows[0], rows[1], (3 * L + c < 2 * count ? 3 * L + c : 0)...);
            v[c] = __builtin_shufflevector(early, rows[2], (3 * L + c < 2 * count ? L : 3 * L + c - count)...);
        };
        pick(std::integral_constant<int, 0>()), pick(std::integral_constant<int, 1>());
        pick(std::integral_constant<int, 2>());
    } else if constexpr (classes > 1) {
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
    constexpr int count = sizeof...(L);
    if constexpr (classes == 3) {
        const V of_class[3] = {v[0], v[1], v[2]};
        const auto pick = [&]<size_t i>(std::integral_constant<size_t, i>) ONESUM_FORCE_INLINE {
            constexpr size_t first = i * count;  // element of the rows
            const V two = __builtin_shufflevector(of_class[0], of_class[1],
                                                  ((first + L) / 3 + ((first + L) % 3 == 1) * count)...);
            v[i] = __builtin_shufflevector(two, of_class[2], ((first + L) % 3 == 2 ? count + (first + L) / 3 : L)...);
        };
        pick(std::integral_constant<size_t, 0>()), pick(std::integral_constant<size_t, 1>());
        pick(std::integral_constant<size_t, 2>());
    } else if constexpr (classes > 1) {
        constexpr int half = classes / 2;
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
//
// Four classes at a time: a vector is loaded by blocks of four from as many rows, and then only lanes of a block change
// places. The last four may have some of those before them.
template <class S, class V> struct TransposeTile {
    static constexpr int lanes = lanes_of<S>, size = sizeof(S);
    static constexpr int block = lanes < 4 ? lanes : 4;  // classes
    static constexpr auto sequence = std::make_index_sequence<lanes>();

    static void in(const char* rows, isize stride, int width, isize n, V* tile) {
        if (width == lanes && stride == n * size) {
            if (n == 2) return deinterleaved<2>(rows, tile);
            if (n == 3) return deinterleaved<3>(rows, tile);
            if (n == 4) return deinterleaved<4>(rows, tile);
        }
        if (width < lanes || n < block) return few_in(rows, stride, width, n, tile);
        for_each_block(n, [&](isize j) ONESUM_FORCE_INLINE { block_in(rows + j * size, stride, tile + j, block); });
    }
    // The way back, rounded to the storage type.
    static void out(const V* tile, int width, isize n, char* rows, isize stride) {
        if (width == lanes && stride == n * size) {
            if (n == 2) return interleaved<2>(tile, rows);
            if (n == 3) return interleaved<3>(tile, rows);
            if (n == 4) return interleaved<4>(tile, rows);
        }
        if (width < lanes || n < block) return few_out(tile, width, n, rows, stride);
        for_each_block(n, [&](isize j) ONESUM_FORCE_INLINE { block_out(tile + j, block, rows + j * size, stride); });
    }

  private:
    // f(first class)
    template <class F> static ONESUM_INLINE void for_each_block(isize n, F f) {
        isize j = 0;
        for (; j + block <= n; j += block) f(j);
        if (j < n) f(n - block);
    }
    // Fewer rows or classes than make whole blocks: by a copy that has room for them.
    static ONESUM_NOINLINE void few_in(const char* rows, isize stride, int width, isize n, V* tile) {
        for (isize j = 0; j < n; j += block) {
            alignas(64) char copy[lanes * block * size] = {};
            const int count = n - j < block ? int(n - j) : block;
            copy_rows(rows + j * size, stride, width, count, copy, block * size);
            block_in(copy, block * size, tile + j, count);
        }
    }
    static ONESUM_NOINLINE void few_out(const V* tile, int width, isize n, char* rows, isize stride) {
        for (isize j = 0; j < n; j += block) {
            alignas(64) char copy[lanes * block * size];
            const int count = n - j < block ? int(n - j) : block;
            block_out(tile + j, count, copy, block * size);
            copy_rows(copy, block * size, width, count, rows + j * size, stride);
        }
    }
    static ONESUM_INLINE void copy_rows(const char* from, isize stride, int width, int count, char* to, isize pitch) {
        for (int k = 0; k < width; ++k, from += stride, to += pitch) {
            if (count == block) memcpy(to, from, block * size);
            else
                for (int j = 0; j < count; ++j) memcpy(to + j * size, from + j * size, size);
        }
    }
    static ONESUM_INLINE void block_in(const char* rows, isize stride, V* tile, int count) {
        V v[block];
        unrolled<block>([&](int i) ONESUM_FORCE_INLINE {
            typename Raw<S>::type raw;
            load_blocks(raw, rows + i * stride, block * stride);
            v[i] = from_raw<S>(raw);
        });
        transpose<block / 2>(v);
        unrolled<block>([&](int j) ONESUM_FORCE_INLINE {
            if (j < count) tile[j] = v[j];
        });
    }
    static ONESUM_INLINE void block_out(const V* tile, int count, char* rows, isize stride) {
        V v[block];
        unrolled<block>([&](int j) ONESUM_FORCE_INLINE { v[j] = j < count ? tile[j] : V{}; });
        transpose<block / 2>(v);
        unrolled<block>([&](int i)
                            ONESUM_FORCE_INLINE { store_blocks(rows + i * stride, block * stride, to_raw<S>(v[i])); });
    }
    template <int classes> static void deinterleaved(const char* rows, V* tile) {
        V v[classes];
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { v[i] = load<S>(rows + i * lanes * size); });
        deinterleave<classes>(v, sequence);
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { tile[i] = v[i]; });
    }
    template <int classes> static void interleaved(const V* tile, char* rows) {
        V v[classes];
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { v[i] = tile[i]; });
        interleave<classes>(v, sequence);
        unrolled<classes>([&](int i) ONESUM_FORCE_INLINE { store<S>(rows + i * lanes * size, v[i]); });
    }
};

}  // namespace
