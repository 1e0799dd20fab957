// Vectors of the instruction set that this is compiled for: the only place that asks which. Its header says how wide a
// vector is (`vector_bytes`) and whether fma rounds once (`fused`), and defines the primitives that have no operator,
// of which portable.h tells what each does. What is made of these stands below, the same for all.
#pragma once

#if defined(__AVX512F__)
#include "simd/avx512.h"
#elif defined(__AVX2__)
#include "simd/avx2.h"
#elif defined(__SSE2__)
#include "simd/sse2.h"
#elif defined(__ARM_NEON)
#include "simd/neon.h"
#else
#include "simd/plain.h"
#endif

namespace {

// a b - product, exactly while nothing overflows, where there is no fused multiply-add (Dekker's product).
template <class V> inline V split_prod_error(V a, V b, V product) {
    const decltype(+a[0]) split = sizeof(a[0]) == 4 ? 4097 : 134217729;
    V a_big = a * split, b_big = b * split;
    V a_hi = a_big - (a_big - a), b_hi = b_big - (b_big - b);
    V a_lo = a - a_hi, b_lo = b - b_hi;
    return ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
}

// a b + c for a c much smaller than a b, rounded as good as once; a and b far from overflow.
template <class V> inline V fma_small(V a, V b, V c) {
    if constexpr (fused) return fma(a, b, c);
    const V product = a * b;
    return product + (split_prod_error(a, b, product) + c);
}

// a b - product, exactly, for product = a * b.
template <class V> inline V two_prod_error(V a, V b, V product) {
    if constexpr (fused) return fma(a, b, -product);
    // Large factors are made smaller first, for the splitting overflows.
    using C = decltype(+a[0]);
    const C large = sizeof(C) == 4 ? 0x1p100f : 0x1p990;
    const V one = V{} + C(1), less = one * C(0x1p-60), less_a = a > large || a < -large ? less : one,
            less_b = b > large || b < -large ? less : one;
    const V more = C(1) / less_a / less_b;
    return split_prod_error(a * less_a, b * less_b, product * (less_a * less_b)) * more;
}

// The lanes moved round by `by` places.
template <int by, class V, size_t... I> inline V rotate(V x, std::index_sequence<I...>) {
    return __builtin_shufflevector(x, x, ((I + by) % sizeof...(I))...);
}
template <int by, class V> inline V rotate(V x) {
    return rotate<by>(x, std::make_index_sequence<sizeof(V) / sizeof(x[0])>());
}

// Exchanges, in a pair of vectors, the blocks of d lanes that are on the wrong side of a transposition.
template <int d, class V, size_t... L> ONESUM_INLINE void swap_blocks(V& a, V& b, std::index_sequence<L...>) {
    constexpr int lanes = sizeof...(L);
    V upper = __builtin_shufflevector(a, b, ((L & d) ? lanes + L - d : L)...);
    V lower = __builtin_shufflevector(a, b, ((L & d) ? lanes + L : L + d)...);
    a = upper;
    b = lower;
}
template <int d, class V> ONESUM_INLINE void swap_blocks(V& a, V& b) {
    swap_blocks<d>(a, b, std::make_index_sequence<sizeof(V) / sizeof(a[0])>());
}

// As many vectors as they have lanes: lane k of the result is what `combine` makes of the lanes of v[k], in the order
// of reduce(). v is used up.
template <int d, class T, class F> ONESUM_INLINE void transpose_reduce(T* v, F combine) {
#pragma GCC unroll 16
    for (int i = 0; i < d; ++i) {
        swap_blocks<d>(v[i], v[i + d]);
        v[i] = combine(v[i], v[i + d]);
    }
    if constexpr (d > 1) transpose_reduce<d / 2>(v, combine);
}

// Every lane: the sum (or whatever `combine` does) over all lanes, halving by halving. The order is part of the result:
// loops/vertical.h repeats it.
template <class V, class F> inline V reduce(V x, F combine) {
    constexpr int lanes = sizeof(V) / sizeof(x[0]);
    if constexpr (lanes >= 16) x = combine(x, rotate<lanes / 16 * 8>(x));
    if constexpr (lanes >= 8) x = combine(x, rotate<lanes >= 16 ? 4 : lanes / 8 * 4>(x));
    if constexpr (lanes >= 4) x = combine(x, rotate<2>(x));
    return combine(x, rotate<1>(x));
}

}  // namespace
