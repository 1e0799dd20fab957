// The vector types, and the few functions on them that the kernels use.
//
// One vector fills a register of the instruction set this file is compiled for. Arithmetic, comparison and choice (`mask ? a : b`) are the
// compiler's own operators on vector types; below stand only the operations that have no operator, each with intrinsics where the
// compiler's plain code is slower, and plain code otherwise (x86-64-v2, NEON and any other machine with 16-byte registers).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "isize.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define ONESUM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define ONESUM_VECTOR_BYTES 32
#else
#define ONESUM_VECTOR_BYTES 16
#endif

// The walks take what they do at each step as a lambda; a call per step would cost more than the step.
#define ONESUM_INLINED __attribute__((always_inline))  // behind a lambda's parameters
#define ONESUM_INLINE inline ONESUM_INLINED            // before a function
// A walk over all classes: compiled once, whoever calls it.
#define ONESUM_APART __attribute__((noinline))

namespace {

constexpr int vector_bytes = ONESUM_VECTOR_BYTES;
// Whether fma rounds once; else it is a product and a sum.
#if defined(__FMA__) || defined(__ARM_NEON)
constexpr bool fused = true;
#else
constexpr bool fused = false;
#endif

typedef float f32v __attribute__((vector_size(vector_bytes)));
typedef double f64v __attribute__((vector_size(vector_bytes)));
typedef int32_t i32v __attribute__((vector_size(vector_bytes)));
typedef int64_t i64v __attribute__((vector_size(vector_bytes)));
typedef float f32half __attribute__((vector_size(vector_bytes / 2)));
typedef int32_t i32half __attribute__((vector_size(vector_bytes / 2)));
typedef uint16_t u16half __attribute__((vector_size(vector_bytes / 2)));  // as many lanes as f32v

// The types that go with a compute type.
template <class C> struct Vec;
template <> struct Vec<float> {
    using V = f32v;
    using I = i32v;
    using Int = int32_t;
    static constexpr int lanes = vector_bytes / 4;
};
template <> struct Vec<double> {
    using V = f64v;
    using I = i64v;
    using Int = int64_t;
    static constexpr int lanes = vector_bytes / 8;
};

template <class To, class From> inline To bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}

inline f32v splat(float x) { return x - f32v{}; }
inline f64v splat(double x) { return x - f64v{}; }
inline i32v splat(int32_t x) { return x - i32v{}; }
inline i64v splat(int64_t x) { return x - i64v{}; }

// Stores that go past the caches, to a place aligned for a vector; whole lines only, or they cost more than they save. stream_end() before others read.
inline void stream(char* p, const void* bytes, int size) {
#if defined(__AVX512F__)
    if (size == 64) return _mm512_stream_si512((__m512i*)p, *(const __m512i_u*)bytes);
#endif
#if defined(__AVX__)
    if (size == 32) return _mm256_stream_si256((__m256i*)p, *(const __m256i_u*)bytes);
#endif
#if defined(__SSE2__)
    for (int i = 0; i < size; i += 16) {
        if (size - i >= 16) _mm_stream_si128((__m128i*)(p + i), _mm_loadu_si128((const __m128i*)((const char*)bytes + i)));
        else memcpy(p + i, (const char*)bytes + i, size - i);
    }
#else
    memcpy(p, bytes, size);
#endif
}
inline void stream_end() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

// True if any lane of a comparison's result holds.
template <class I> inline bool any(I mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_epi8((__m256i)mask) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)mask) != 0;
#else
    uint64_t words[sizeof mask / 8], all = 0;
    memcpy(words, &mask, sizeof mask);
    for (uint64_t word : words) all |= word;
    return all != 0;
#endif
}

// The first lane of a comparison's result that holds; one of them does.
template <class I> inline int first_true(I mask) {
    [[maybe_unused]] constexpr int lane_bytes = sizeof mask[0];
#if defined(__AVX512F__)
    if constexpr (lane_bytes == 4) return __builtin_ctz(_mm512_test_epi32_mask((__m512i)mask, (__m512i)mask));
    else return __builtin_ctz(_mm512_test_epi64_mask((__m512i)mask, (__m512i)mask));
#elif defined(__AVX2__)
    return __builtin_ctz(_mm256_movemask_epi8((__m256i)mask)) / lane_bytes;
#elif defined(__SSE2__)
    return __builtin_ctz(_mm_movemask_epi8((__m128i)mask)) / lane_bytes;
#else
    int lane = 0;
    while (!mask[lane]) ++lane;
    return lane;
#endif
}

// The larger of the two; `keep` where either is NaN.
inline f32v max(f32v x, f32v keep) {
#if defined(__AVX512F__)
    return _mm512_max_ps(x, keep);
#elif defined(__AVX2__)
    return _mm256_max_ps(x, keep);
#elif defined(__SSE2__)
    return _mm_max_ps(x, keep);
#else
    return x > keep ? x : keep;
#endif
}
inline f64v max(f64v x, f64v keep) {
#if defined(__AVX512F__)
    return _mm512_max_pd(x, keep);
#elif defined(__AVX2__)
    return _mm256_max_pd(x, keep);
#elif defined(__SSE2__)
    return _mm_max_pd(x, keep);
#else
    return x > keep ? x : keep;
#endif
}

// How far a table of so many entries may be looked up in registers: the log2 of its size, 0 if not at all.
template <class C> constexpr int lookup_bits =
#if defined(__AVX512F__)
    sizeof(C) == 4 ? 5 : 4;
#elif defined(__AVX2__)
    sizeof(C) == 4 ? 3 : 0;
#else
    0;
#endif

// Lane by lane, the entry at the index's lowest bits.
template <class T> inline f32v lookup(const T* table, i32v index) {
#if defined(__AVX512F__)
    return _mm512_permutex2var_ps(_mm512_load_ps(table), (__m512i)index, _mm512_load_ps(table + 16));
#elif defined(__AVX2__)
    return _mm256_permutevar8x32_ps(_mm256_load_ps((const float*)table), (__m256i)index);
#else
    f32v x{};
    for (int k = 0; k < Vec<float>::lanes; ++k) memcpy((char*)&x + 4 * k, table + index[k], 4);
    return x;
#endif
}
template <class T> inline f64v lookup(const T* table, i64v index) {
#if defined(__AVX512F__)
    return _mm512_permutex2var_pd(_mm512_load_pd(table), (__m512i)index, _mm512_load_pd(table + 8));
#else
    f64v x{};
    for (int k = 0; k < Vec<double>::lanes; ++k) memcpy((char*)&x + 8 * k, table + index[k], 8);
    return x;
#endif
}

// a b + c, rounded once where the machine has it. No result may lean on that: x86-64-v2 has it not.
inline f32v fma(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON)
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
inline f64v fma(f64v a, f64v b, f64v c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#elif defined(__ARM_NEON)
    return (f64v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

// a b + c for a c much smaller than a b, rounded as good as once; a and b far from overflow.
template <class V> inline V fma_small(V a, V b, V c) {
#if defined(__FMA__) || defined(__ARM_NEON)
    return fma(a, b, c);
#else
    const decltype(+a[0]) split = sizeof(a[0]) == 4 ? 4097 : 134217729;
    V a_big = a * split, b_big = b * split;
    V a_hi = a_big - (a_big - a), b_hi = b_big - (b_big - b);
    V a_lo = a - a_hi, b_lo = b - b_hi;
    V product = a * b;
    return product + ((((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo) + c);
#endif
}

// a b - product, exactly, for product = a * b.
template <class V> inline V product_error(V a, V b, V product) {
#if defined(__FMA__) || defined(__ARM_NEON)
    return fma(a, b, -product);
#else  // Dekker's splitting; large factors are made smaller first, for it overflows
    using C = decltype(+a[0]);
    const C split = sizeof(C) == 4 ? 4097 : 134217729, large = sizeof(C) == 4 ? 0x1p100f : 0x1p990;
    const V one = V{} + C(1), less = one * C(0x1p-60), less_a = a > large || a < -large ? less : one, less_b = b > large || b < -large ? less : one;
    const V more = C(1) / less_a / less_b;
    a *= less_a, b *= less_b, product *= less_a * less_b;
    V a_big = a * split, b_big = b * split;
    V a_hi = a_big - (a_big - a), b_hi = b_big - (b_big - b);
    V a_lo = a - a_hi, b_lo = b - b_hi;
    return (((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo) * more;
#endif
}

// The lanes moved round by `by` places.
template <int by, class V, size_t... I> inline V rotate(V x, std::index_sequence<I...>) {
    return __builtin_shufflevector(x, x, ((I + by) % sizeof...(I))...);
}
template <int by, class V> inline V rotate(V x) {
    return rotate<by>(x, std::make_index_sequence<sizeof(V) / sizeof(x[0])>());
}

// Exchanges, in a pair of vectors, the blocks of d lanes that are on the wrong side of a transposition.
template <int d, class V, size_t... L> ONESUM_INLINE void exchange(V& a, V& b, std::index_sequence<L...>) {
    constexpr int lanes = sizeof...(L);
    V upper = __builtin_shufflevector(a, b, ((L & d) ? lanes + L - d : L)...);
    V lower = __builtin_shufflevector(a, b, ((L & d) ? lanes + L : L + d)...);
    a = upper;
    b = lower;
}
template <int d, class V> ONESUM_INLINE void exchange(V& a, V& b) {
    exchange<d>(a, b, std::make_index_sequence<sizeof(V) / sizeof(a[0])>());
}

// As many vectors as they have lanes: lane k of the result is what `combine` makes of the lanes of v[k], in the order of reduce(). v is used up.
template <int d, class T, class F> ONESUM_INLINE void fold(T* v, F combine) {
#pragma GCC unroll 16
    for (int i = 0; i < d; ++i) {
        exchange<d>(v[i], v[i + d]);
        v[i] = combine(v[i], v[i + d]);
    }
    if constexpr (d > 1) fold<d / 2>(v, combine);
}

// Every lane: the sum (or whatever `combine` does) over all lanes, halving by halving. The order is part of the result: columns.h repeats it.
template <class V, class F> inline V reduce(V x, F combine) {
    constexpr int lanes = sizeof(V) / sizeof(x[0]);
    if constexpr (lanes >= 16) x = combine(x, rotate<lanes / 16 * 8>(x));
    if constexpr (lanes >= 8) x = combine(x, rotate<lanes >= 16 ? 4 : lanes / 8 * 4>(x));
    if constexpr (lanes >= 4) x = combine(x, rotate<2>(x));
    return combine(x, rotate<1>(x));
}

// Halves of a float vector as double vectors, and back.
template <size_t... I> inline f32half half_of(f32v x, size_t from, std::index_sequence<I...>) {
    return from ? __builtin_shufflevector(x, x, (I + sizeof...(I))...) : __builtin_shufflevector(x, x, I...);
}
inline f64v widen_lo(f32v x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
#elif defined(__SSE2__)
    return _mm_cvtps_pd(x);
#else
    return __builtin_convertvector(half_of(x, 0, std::make_index_sequence<vector_bytes / 8>()), f64v);
#endif
}
inline f64v widen_hi(f32v x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#elif defined(__SSE2__)
    return _mm_cvtps_pd(_mm_movehl_ps(x, x));
#else
    return __builtin_convertvector(half_of(x, 1, std::make_index_sequence<vector_bytes / 8>()), f64v);
#endif
}
inline f32v narrow(f64v lo, f64v hi) {
#if defined(__AVX512F__)
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
#elif defined(__AVX2__)
    return _mm256_set_m128(_mm256_cvtpd_ps(hi), _mm256_cvtpd_ps(lo));
#elif defined(__SSE2__)
    return _mm_movelh_ps(_mm_cvtpd_ps(lo), _mm_cvtpd_ps(hi));
#else
    f32half halves[2] = {__builtin_convertvector(lo, f32half), __builtin_convertvector(hi, f32half)};
    f32v x;
    memcpy(&x, halves, sizeof x);
    return x;
#endif
}

}  // namespace
