// Storage types: how float16, bfloat16, float32 and float64 are read into a vector and written back.
//
// The 16-bit types are widened to float without loss and rounded once on the way out, to nearest, ties to even.
#pragma once

#include "vec.h"

namespace {

struct float16 { uint16_t bits; };
struct bfloat16 { uint16_t bits; };

// The type that a storage type is computed in.
template <class S> struct Compute { using type = float; };
template <> struct Compute<double> { using type = double; };

inline f32v widen(u16half raw, float16) {
#if defined(__AVX512F__)
    return _mm512_cvtph_ps((__m256i)raw);
#elif defined(__F16C__)
    return _mm256_cvtph_ps((__m128i)raw);
#else
    i32v h = __builtin_convertvector(raw, i32v);
    i32v magnitude = h & 0x7fff;
    // moved into float's fields the exponent is 112 too small, for subnormals too
    f32v scaled = bits<f32v>(magnitude << 13) * 0x1p112f;
    i32v not_finite = magnitude >= 0x7c00 ? splat(0x7f800000) : i32v{};
    return bits<f32v>(bits<i32v>(scaled) | not_finite | (h & 0x8000) << 16);
#endif
}

inline u16half shorten(f32v x, float16) {
#if defined(__AVX512F__)
    return (u16half)_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
    return (u16half)_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
#else
    i32v u = bits<i32v>(x);
    i32v sign = (u >> 16) & 0x8000;
    i32v magnitude = u & 0x7fffffff;
    i32v capped = magnitude > 0x47800000 ? splat(0x47800000) : magnitude;  // 65536 rounds to inf
    i32v rebased = capped - (112 << 23);
    i32v normal = (rebased + 0xfff + ((rebased >> 13) & 1)) >> 13;
    // one ulp of 0.5 is the subnormals' spacing, so the addition rounds for us
    i32v subnormal = bits<i32v>(bits<f32v>(capped) + 0.5f) - bits<i32v>(splat(0.5f));
    i32v h = capped < 0x38800000 ? subnormal : normal;
    h = magnitude > 0x7f800000 ? splat(0x7e00) : h;
    return __builtin_convertvector(h | sign, u16half);
#endif
}

inline f32v widen(u16half raw, bfloat16) { return bits<f32v>(__builtin_convertvector(raw, i32v) << 16); }

inline u16half shorten(f32v x, bfloat16) {
    i32v u = bits<i32v>(x);
    i32v rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    i32v quiet = (u >> 16) | 0x40;
    return __builtin_convertvector(x != x ? quiet : rounded, u16half);
}

// What a vector of a storage type looks like in memory.
template <class S> struct Raw { using type = u16half; };
template <> struct Raw<float> { using type = f32v; };
template <> struct Raw<double> { using type = f64v; };

template <class S> inline auto from_raw(typename Raw<S>::type raw) {
    if constexpr (sizeof(S) == 2) return widen(raw, S{}); else return raw;
}
template <class S, class V> inline typename Raw<S>::type to_raw(V x) {
    if constexpr (sizeof(S) == 2) return shorten(x, S{}); else return x;
}

template <class S> constexpr int lanes_of = Vec<typename Compute<S>::type>::lanes;

template <class S> inline auto load(const char* p) {
    typename Raw<S>::type raw;
    memcpy(&raw, p, sizeof raw);
    return from_raw<S>(raw);
}

template <class S, class V> inline void store(char* p, V x) {
    auto raw = to_raw<S>(x);
    memcpy(p, &raw, sizeof raw);
}

// 0, 1, 2, ...
template <class I, size_t... K> inline I iota(std::index_sequence<K...>) { return I{K...}; }
template <class I> inline I iota() { return iota<I>(std::make_index_sequence<sizeof(I) / sizeof(I{}[0])>()); }
// A mask of the first `count` lanes.
template <class I> inline I first_lanes(int count) { return iota<I>() < count; }

// The first `count` lanes, 0 < count <= lanes; nothing behind them is touched.
template <class S> inline auto load_part(const char* p, int count) {
    typename Raw<S>::type raw;
#if defined(__AVX512F__)
    const unsigned some = (1u << count) - 1;
    if constexpr (sizeof(S) == 8) raw = _mm512_maskz_loadu_pd((__mmask8)some, p);
    else if constexpr (sizeof(S) == 4) raw = _mm512_maskz_loadu_ps((__mmask16)some, p);
    else raw = (u16half)_mm256_maskz_loadu_epi16((__mmask16)some, p);
    return from_raw<S>(raw);
#else
#if defined(__AVX2__)
    if constexpr (sizeof(S) == 8) return f64v(_mm256_maskload_pd((const double*)p, (__m256i)first_lanes<i64v>(count)));
    else if constexpr (sizeof(S) == 4) return f32v(_mm256_maskload_ps((const float*)p, (__m256i)first_lanes<i32v>(count)));
    else
#endif
    {
        S part[lanes_of<S>] = {};
        for (int i = 0; i < count; ++i) memcpy(part + i, p + i * sizeof(S), sizeof(S));
        memcpy(&raw, part, sizeof raw);
        return from_raw<S>(raw);
    }
#endif
}

template <class S, class V> inline void store_part(char* p, V x, int count) {
    auto raw = to_raw<S>(x);
#if defined(__AVX512F__)
    const unsigned some = (1u << count) - 1;
    if constexpr (sizeof(S) == 8) _mm512_mask_storeu_pd(p, (__mmask8)some, raw);
    else if constexpr (sizeof(S) == 4) _mm512_mask_storeu_ps(p, (__mmask16)some, raw);
    else _mm256_mask_storeu_epi16(p, (__mmask16)some, (__m256i)raw);
#else
#if defined(__AVX2__)
    if constexpr (sizeof(S) == 8) _mm256_maskstore_pd((double*)p, (__m256i)first_lanes<i64v>(count), raw);
    else if constexpr (sizeof(S) == 4) _mm256_maskstore_ps((float*)p, (__m256i)first_lanes<i32v>(count), raw);
    else
#endif
    {
        S part[lanes_of<S>];
        memcpy(part, &raw, sizeof raw);
        for (int i = 0; i < count; ++i) memcpy(p + i * sizeof(S), part + i, sizeof(S));
    }
#endif
}

// One element, in every lane; and the first lane, as one element.
template <class S> inline auto load_one(const char* p) {
    if constexpr (sizeof(S) == 2) {
        uint16_t one;
        memcpy(&one, p, 2);
        return widen(one - u16half{}, S{});
    } else {
        S one;
        memcpy(&one, p, sizeof one);
        return splat(one);
    }
}
template <class S, class V> inline void store_one(char* p, V x) {
    auto raw = to_raw<S>(x);
    memcpy(p, &raw, sizeof(S));
}

}  // namespace
