// NEON, of arm64: the compiler's plain code, but for what has no operator.
#pragma once

#include <arm_neon.h>

namespace {
constexpr int vector_bytes = 16;
constexpr bool fused = true;
}  // namespace

#include "simd/portable.h"

namespace {

using portable::stream, portable::stream_fence, portable::any_true, portable::find_first_true, portable::max,
    portable::table_lookup, portable::widen_lo, portable::widen_hi, portable::load_widened, portable::narrow,
    portable::widen_float16, portable::narrow_float16, portable::load_first_n, portable::store_first_n,
    portable::load_blocks, portable::store_blocks, portable::load_once;

inline f32v fma(f32v a, f32v b, f32v c) { return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
inline f64v fma(f64v a, f64v b, f64v c) { return (f64v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }

}  // namespace
