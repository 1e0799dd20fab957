// x86-64-v3: AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

namespace {
constexpr int vector_bytes = 32;
constexpr bool fused = true;
}  // namespace

#include "simd/portable.h"

namespace {

using portable::load_once;

template <int size> inline void stream(char* p, const void* bytes) {
    if constexpr (size == 32) _mm256_stream_si256((__m256i*)p, *(const __m256i_u*)bytes);
    else _mm_stream_si128((__m128i*)p, _mm_loadu_si128((const __m128i*)bytes));
}
inline void stream_fence() { _mm_sfence(); }

template <class I> inline bool any_true(I mask) { return _mm256_movemask_epi8((__m256i)mask) != 0; }
template <class I> inline int find_first_true(I mask) {
    return __builtin_ctz(_mm256_movemask_epi8((__m256i)mask)) / int(sizeof mask[0]);
}

inline f32v max(f32v x, f32v keep) { return _mm256_max_ps(x, keep); }
inline f64v max(f64v x, f64v keep) { return _mm256_max_pd(x, keep); }

template <class T> inline f32v table_lookup(const T* table, i32v index) {
    return _mm256_permutevar8x32_ps(_mm256_load_ps((const float*)table), (__m256i)index);
}

inline f32v fma(f32v a, f32v b, f32v c) { return _mm256_fmadd_ps(a, b, c); }
inline f64v fma(f64v a, f64v b, f64v c) { return _mm256_fmadd_pd(a, b, c); }

inline f64v widen_lo(f32v x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
inline f64v widen_hi(f32v x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
inline f64v load_widened(const char* p) { return _mm256_cvtps_pd(_mm_loadu_ps((const float*)p)); }
inline f32v narrow(f64v lo, f64v hi) { return _mm256_set_m128(_mm256_cvtpd_ps(hi), _mm256_cvtpd_ps(lo)); }

inline f32v widen_float16(u16half raw) { return _mm256_cvtph_ps((__m128i)raw); }
inline u16half narrow_float16(f32v x) { return (u16half)_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }

inline void load_first_n(f32v& raw, const char* p, int count) {
    raw = _mm256_maskload_ps((const float*)p, (__m256i)first_n<i32v>(count));
}
inline void load_first_n(f64v& raw, const char* p, int count) {
    raw = _mm256_maskload_pd((const double*)p, (__m256i)first_n<i64v>(count));
}
inline void load_first_n(u16half& raw, const char* p, int count) { portable::load_first_n(raw, p, count); }
// By halves: a masked store takes Zen processors a dozen cycles.
inline void store_first_n(char* p, f32v raw, int count) {
    if (count & 8) return _mm256_storeu_ps((float*)p, raw);
    __m128 rest = _mm256_castps256_ps128(raw);
    if (count & 4) {
        _mm_storeu_ps((float*)p, rest);
        rest = _mm256_extractf128_ps(raw, 1), p += 16;
    }
    if (count & 2) {
        _mm_storel_pi((__m64*)p, rest);
        rest = _mm_movehl_ps(rest, rest), p += 8;
    }
    if (count & 1) _mm_store_ss((float*)p, rest);
}
inline void store_first_n(char* p, f64v raw, int count) {
    if (count & 4) return _mm256_storeu_pd((double*)p, raw);
    __m128d rest = _mm256_castpd256_pd128(raw);
    if (count & 2) {
        _mm_storeu_pd((double*)p, rest);
        rest = _mm256_extractf128_pd(raw, 1), p += 16;
    }
    if (count & 1) _mm_store_sd((double*)p, rest);
}
inline void store_first_n(char* p, u16half raw, int count) { portable::store_first_n(p, raw, count); }

inline void load_blocks(f32v& raw, const char* p, isize stride) {
    raw = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float*)p)),
                               _mm_loadu_ps((const float*)(p + stride)), 1);
}
inline void load_blocks(f64v& raw, const char* p, isize) { raw = _mm256_loadu_pd((const double*)p); }
inline void load_blocks(u16half& raw, const char* p, isize stride) {
    raw = (u16half)_mm_loadh_pi((__m128)_mm_loadl_epi64((const __m128i*)p), (const __m64*)(p + stride));
}
inline void store_blocks(char* p, isize stride, f32v raw) {
    _mm_storeu_ps((float*)p, _mm256_castps256_ps128(raw));
    _mm_storeu_ps((float*)(p + stride), _mm256_extractf128_ps(raw, 1));
}
inline void store_blocks(char* p, isize, f64v raw) { _mm256_storeu_pd((double*)p, raw); }
inline void store_blocks(char* p, isize stride, u16half raw) {
    _mm_storel_epi64((__m128i*)p, (__m128i)raw);
    _mm_storeh_pi((__m64*)(p + stride), (__m128)raw);
}

}  // namespace
