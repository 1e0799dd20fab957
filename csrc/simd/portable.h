// Every primitive in plain code. An instruction set's header defines those that intrinsics make faster, and takes the
// others from here by a using-declaration. What each primitive does is said here.
#pragma once

#include "simd/types.h"

namespace {
namespace portable {

// Stores `size` bytes past the caches, to a place aligned for as many; whole lines only, or it costs more than it
// saves. stream_fence() before others read.
template <int size> inline void stream(char* p, const void* bytes) { memcpy(p, bytes, size); }
inline void stream_fence() {}

// True if any lane of a comparison's result holds.
template <class I> inline bool any_true(I mask) {
    uint64_t words[sizeof mask / 8], all = 0;
    memcpy(words, &mask, sizeof mask);
    for (uint64_t word : words) all |= word;
    return all != 0;
}

// The first lane of a comparison's result that holds; one of them does.
template <class I> inline int find_first_true(I mask) {
    int lane = 0;
    while (!mask[lane]) ++lane;
    return lane;
}

// The larger of the two; `keep` where either is NaN.
inline f32v max(f32v x, f32v keep) { return x > keep ? x : keep; }
inline f64v max(f64v x, f64v keep) { return x > keep ? x : keep; }

// Lane by lane, the one of a table's eight entries at the index's lowest bits.
template <class T> inline f32v table_lookup(const T* table, i32v index) {
    f32v x{};
    for (int k = 0; k < Vec<float>::lanes; ++k) memcpy((char*)&x + 4 * k, table + (index[k] & 7), 4);
    return x;
}

// a b + c, rounded once if `fused`.
inline f32v fma(f32v a, f32v b, f32v c) { return a * b + c; }
inline f64v fma(f64v a, f64v b, f64v c) { return a * b + c; }

// Halves of a float vector as double vectors; as many floats from memory; and back.
template <size_t... I> inline f32half half_of(f32v x, size_t from, std::index_sequence<I...>) {
    return from ? __builtin_shufflevector(x, x, (I + sizeof...(I))...) : __builtin_shufflevector(x, x, I...);
}
inline f64v widen_lo(f32v x) {
    return __builtin_convertvector(half_of(x, 0, std::make_index_sequence<vector_bytes / 8>()), f64v);
}
inline f64v widen_hi(f32v x) {
    return __builtin_convertvector(half_of(x, 1, std::make_index_sequence<vector_bytes / 8>()), f64v);
}
inline f64v load_widened(const char* p) {
    f32half x;
    memcpy(&x, p, sizeof x);
    return __builtin_convertvector(x, f64v);
}
inline f32v narrow(f64v lo, f64v hi) {
    f32half halves[2] = {__builtin_convertvector(lo, f32half), __builtin_convertvector(hi, f32half)};
    f32v x;
    memcpy(&x, halves, sizeof x);
    return x;
}

// float16 as bits, widened without loss; and back, rounded to nearest, ties to even.
inline f32v widen_float16(u16half raw) {
    i32v h = __builtin_convertvector(raw, i32v);
    i32v magnitude = h & 0x7fff;
    // moved into float's fields the exponent is 112 too small, for subnormals too
    f32v scaled = bit_cast<f32v>(magnitude << 13) * 0x1p112f;
    i32v not_finite = magnitude >= 0x7c00 ? splat(0x7f800000) : i32v{};
    return bit_cast<f32v>(bit_cast<i32v>(scaled) | not_finite | (h & 0x8000) << 16);
}
inline u16half narrow_float16(f32v x) {
    i32v u = bit_cast<i32v>(x);
    i32v sign = (u >> 16) & 0x8000;
    i32v magnitude = u & 0x7fffffff;
    i32v capped = magnitude > 0x47800000 ? splat(0x47800000) : magnitude;  // 65536 rounds to inf
    i32v rebased = capped - (112 << 23);
    i32v normal = (rebased + 0xfff + ((rebased >> 13) & 1)) >> 13;
    // one ulp of 0.5 is the subnormals' spacing, so the addition rounds for us
    i32v subnormal = bit_cast<i32v>(bit_cast<f32v>(capped) + 0.5f) - bit_cast<i32v>(splat(0.5f));
    i32v h = capped < 0x38800000 ? subnormal : normal;
    h = magnitude > 0x7f800000 ? splat(0x7e00) : h;
    return __builtin_convertvector(h | sign, u16half);
}

// Keeps what was loaded in a register: a compiler may else make the load an operand of each use, and so repeat it.
template <class R> inline void load_once(R&) {}

// The first `count` lanes, 0 < count <= lanes; nothing behind them is touched, and the other lanes are 0.
template <class R> inline void load_first_n(R& raw, const char* p, int count) {
    constexpr int size = sizeof raw[0];
    char some[sizeof raw] = {};
    for (int i = 0; i < count; ++i) memcpy(some + i * size, p + i * size, size);
    memcpy(&raw, some, sizeof raw);
}
template <class R> inline void store_first_n(char* p, R raw, int count) {
    constexpr int size = sizeof raw[0];
    char some[sizeof raw];
    memcpy(some, &raw, sizeof raw);
    for (int i = 0; i < count; ++i) memcpy(p + i * size, some + i * size, size);
}

// A vector of blocks of four elements that lie `stride` bytes apart, and the way back; of one block, where it has
// fewer.
template <class R> constexpr int block_bytes = int(sizeof(R) < 4 * sizeof(R{}[0]) ? sizeof(R) : 4 * sizeof(R{}[0]));
template <class R> inline void load_blocks(R& raw, const char* p, isize stride) {
    constexpr int bytes = block_bytes<R>;
    for (int i = 0; i < int(sizeof raw); i += bytes, p += stride) memcpy((char*)&raw + i, p, bytes);
}
template <class R> inline void store_blocks(char* p, isize stride, R raw) {
    constexpr int bytes = block_bytes<R>;
    for (int i = 0; i < int(sizeof raw); i += bytes, p += stride) memcpy(p, (const char*)&raw + i, bytes);
}

}  // namespace portable
}  // namespace
