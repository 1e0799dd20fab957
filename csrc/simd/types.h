// The vector types: one vector fills a register of the instruction set whose header has said how wide that is (vec.h).
// Arithmetic, comparison and choice
// (`mask ? a : b`) are the compiler's own operators on them.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "common/isize.h"

// Loops take what they do at each step as a lambda; a call per step would cost more than the step.
#define ONESUM_FORCE_INLINE __attribute__((always_inline))  // behind a lambda's parameters
#define ONESUM_INLINE inline ONESUM_FORCE_INLINE            // before a function
// A loop over all classes: compiled once, whoever calls it.
#define ONESUM_NOINLINE __attribute__((noinline))

namespace {

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

template <class To, class From> inline To bit_cast(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}

inline f32v splat(float x) { return x - f32v{}; }
inline f64v splat(double x) { return x - f64v{}; }
inline i32v splat(int32_t x) { return x - i32v{}; }
inline i64v splat(int64_t x) { return x - i64v{}; }

// 0, 1, 2, ...
template <class I, size_t... K> inline I iota(std::index_sequence<K...>) { return I{K...}; }
template <class I> inline I iota() { return iota<I>(std::make_index_sequence<sizeof(I) / sizeof(I{}[0])>()); }
// A mask of the first `count` lanes.
template <class I> inline I first_n(int count) { return iota<I>() < count; }

}  // namespace
