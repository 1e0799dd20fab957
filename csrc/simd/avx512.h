// x86-64-v4: AVX-512 with BW, DQ and VL.
#pragma once

#include <immintrin.h>

namespace {
constexpr int vector_bytes = 64;
constexpr bool fused = true;
}  // namespace

#include "simd/portable.h"

namespace {

template <int size> inline void stream(char* p, const void* bytes) {
    if constexpr (size == 64) _mm512_stream_si512((__m512i*)p, *(const __m512i_u*)bytes);
    else _mm256_stream_si256((__m256i*)p, *(const __m256i_u*)bytes);
}
inline void stream_fence() { _mm_sfence(); }

template <class I> inline bool any_true(I mask) { return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0; }
template <class I> inline int find_first_true(I mask) {
    if constexpr (sizeof mask[0] == 4) return __builtin_ctz(_mm512_test_epi32_mask((__m512i)mask, (__m512i)mask));
    else return __builtin_ctz(_mm512_test_epi64_mask((__m512i)mask, (__m512i)mask));
}

inline f32v max(f32v x, f32v keep) { return _mm512_max_ps(x, keep); }
inline f64v max(f64v x, f64v keep) { return _mm512_max_pd(x, keep); }

template <class T> inline f32v table_lookup(const T* table, i32v index) {
    return _mm512_permutexvar_ps((__m512i)index, _mm512_broadcast_f32x8(_mm256_load_ps((const float*)table)));
}

inline f32v fma(f32v a, f32v b, f32v c) { return _mm512_fmadd_ps(a, b, c); }
inline f64v fma(f64v a, f64v b, f64v c) { return _mm512_fmadd_pd(a, b, c); }

inline f64v widen_lo(f32v x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline f64v widen_hi(f32v x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }
inline f64v load_widened(const char* p) { return _mm512_cvtps_pd(_mm256_loadu_ps((const float*)p)); }
inline f32v narrow(f64v lo, f64v hi) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
}

inline f32v widen_float16(u16half raw) { return _mm512_cvtph_ps((__m256i)raw); }
inline u16half narrow_float16(f32v x) { return (u16half)_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }

template <class R> inline void load_once(R& raw) { __asm__("" : "+v"(raw)); }

inline unsigned first_bits(int count) { return (1u << count) - 1; }
inline void load_first_n(f32v& raw, const char* p, int count) {
    raw = _mm512_maskz_loadu_ps((__mmask16)first_bits(count), p);
}
inline void load_first_n(f64v& raw, const char* p, int count) {
    raw = _mm512_maskz_loadu_pd((__mmask8)first_bits(count), p);
}
inline void load_first_n(u16half& raw, const char* p, int count) {
    raw = (u16half)_mm256_maskz_loadu_epi16((__mmask16)first_bits(count), p);
}
inline void store_first_n(char* p, f32v raw, int count) { _mm512_mask_storeu_ps(p, (__mmask16)first_bits(count), raw); }
inline void store_first_n(char* p, f64v raw, int count) { _mm512_mask_storeu_pd(p, (__mmask8)first_bits(count), raw); }
inline void store_first_n(char* p, u16half raw, int count) {
    _mm256_mask_storeu_epi16(p, (__mmask16)first_bits(count), (__m256i)raw);
}

inline void load_blocks(f32v& raw, const char* p, isize stride) {
    const auto block = [&](int i) { return _mm_loadu_ps((const float*)(p + i * stride)); };
    const __m256 lo = _mm256_insertf128_ps(_mm256_castps128_ps256(block(0)), block(1), 1),
                 hi = _mm256_insertf128_ps(_mm256_castps128_ps256(block(2)), block(3), 1);
    raw = _mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1);
}
inline void load_blocks(f64v& raw, const char* p, isize stride) {
    raw = _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd((const double*)p)),
                             _mm256_loadu_pd((const double*)(p + stride)), 1);
}
inline void load_blocks(u16half& raw, const char* p, isize stride) {
    const auto block = [&](int i) { return _mm_loadl_epi64((const __m128i*)(p + i * stride)); };
    __m256i x = _mm256_broadcastq_epi64(block(0));
    x = _mm256_mask_broadcastq_epi64(x, 2, block(1));
    x = _mm256_mask_broadcastq_epi64(x, 4, block(2));
    raw = (u16half)_mm256_mask_broadcastq_epi64(x, 8, block(3));
}
inline void store_blocks(char* p, isize stride, f32v raw) {
    _mm_storeu_ps((float*)p, _mm512_castps512_ps128(raw));
    _mm_storeu_ps((float*)(p + stride), _mm512_extractf32x4_ps(raw, 1));
    _mm_storeu_ps((float*)(p + 2 * stride), _mm512_extractf32x4_ps(raw, 2));
    _mm_storeu_ps((float*)(p + 3 * stride), _mm512_extractf32x4_ps(raw, 3));
}
inline void store_blocks(char* p, isize stride, f64v raw) {
    _mm256_storeu_pd((double*)p, _mm512_castpd512_pd256(raw));
    _mm256_storeu_pd((double*)(p + stride), _mm512_extractf64x4_pd(raw, 1));
}
inline void store_blocks(char* p, isize stride, u16half raw) {
    const __m128i lo = _mm256_castsi256_si128((__m256i)raw), hi = _mm256_extracti128_si256((__m256i)raw, 1);
    _mm_storel_epi64((__m128i*)p, lo);
    _mm_storeh_pd((double*)(p + stride), (__m128d)lo);
    _mm_storel_epi64((__m128i*)(p + 2 * stride), hi);
    _mm_storeh_pd((double*)(p + 3 * stride), (__m128d)hi);
}

}  // namespace
