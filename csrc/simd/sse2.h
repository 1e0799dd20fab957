// x86-64-v2, of which SSE2 is what serves here.
#pragma once

#include <emmintrin.h>

namespace {
constexpr int vector_bytes = 16;
constexpr bool fused = false;
}  // namespace

#include "simd/portable.h"

namespace {

using portable::table_lookup, portable::fma, portable::widen_float16, portable::narrow_float16, portable::load_first_n,
    portable::store_first_n, portable::load_blocks, portable::store_blocks, portable::load_once;

template <int size> inline void stream(char* p, const void* bytes) {
    if constexpr (size == 16) _mm_stream_si128((__m128i*)p, _mm_loadu_si128((const __m128i*)bytes));
    else memcpy(p, bytes, size);
}
inline void stream_fence() { _mm_sfence(); }

template <class I> inline bool any_true(I mask) { return _mm_movemask_epi8((__m128i)mask) != 0; }
template <class I> inline int find_first_true(I mask) {
    return __builtin_ctz(_mm_movemask_epi8((__m128i)mask)) / int(sizeof mask[0]);
}

inline f32v max(f32v x, f32v keep) { return _mm_max_ps(x, keep); }
inline f64v max(f64v x, f64v keep) { return _mm_max_pd(x, keep); }

inline f64v widen_lo(f32v x) { return _mm_cvtps_pd(x); }
inline f64v widen_hi(f32v x) { return _mm_cvtps_pd(_mm_movehl_ps(x, x)); }
inline f64v load_widened(const char* p) { return _mm_cvtps_pd(_mm_castpd_ps(_mm_load_sd((const double*)p))); }
inline f32v narrow(f64v lo, f64v hi) { return _mm_movelh_ps(_mm_cvtpd_ps(lo), _mm_cvtpd_ps(hi)); }

}  // namespace
