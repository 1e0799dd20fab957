// Storage types: how float16, bfloat16, float32 and float64 are read into a vector and written back.
//
// The 16-bit types are widened to float without loss and rounded once on the way out, to nearest, ties to even.
#pragma once

#include "simd/vec.h"

namespace {

struct float16 { uint16_t bits; };
struct bfloat16 { uint16_t bits; };

// The type that a storage type is computed in.
template <class S> struct Compute { using type = float; };
template <> struct Compute<double> { using type = double; };

inline f32v widen(u16half raw, float16) { return widen_float16(raw); }
inline u16half narrow(f32v x, float16) { return narrow_float16(x); }

inline f32v widen(u16half raw, bfloat16) { return bit_cast<f32v>(__builtin_convertvector(raw, i32v) << 16); }

inline u16half narrow(f32v x, bfloat16) {
    i32v u = bit_cast<i32v>(x);
    i32v rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    i32v quiet = (u >> 16) | 0x40;
    return __builtin_convertvector(x != x ? quiet : rounded, u16half);
}

// What a vector of a storage type looks like in memory.
template <class S> struct Raw { using type = u16half; };
template <> struct Raw<float> { using type = f32v; };
template <> struct Raw<double> { using type = f64v; };

template <class S> inline auto from_raw(typename Raw<S>::type raw) {
    if constexpr (sizeof(S) == 2) return widen(raw, S{});
    else return raw;
}
template <class S, class V> inline typename Raw<S>::type to_raw(V x) {
    if constexpr (sizeof(S) == 2) return narrow(x, S{});
    else return x;
}

template <class S> constexpr int lanes_of = Vec<typename Compute<S>::type>::lanes;

template <class S> inline auto load(const char* p) {
    typename Raw<S>::type raw;
    memcpy(&raw, p, sizeof raw);
    load_once(raw);
    return from_raw<S>(raw);
}

template <class S, class V> inline void store(char* p, V x) {
    auto raw = to_raw<S>(x);
    memcpy(p, &raw, sizeof raw);
}

// The first `count` lanes, 0 < count <= lanes; nothing behind them is touched.
template <class S> inline auto load_n(const char* p, int count) {
    typename Raw<S>::type raw;
    load_first_n(raw, p, count);
    return from_raw<S>(raw);
}
template <class S, class V> inline void store_n(char* p, V x, int count) { store_first_n(p, to_raw<S>(x), count); }

// One element, in every lane; and the first lane, as one element.
template <class S> inline auto load_broadcast(const char* p) {
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
template <class S, class V> inline void store_first(char* p, V x) {
    auto raw = to_raw<S>(x);
    memcpy(p, &raw, sizeof(S));
}

}  // namespace
