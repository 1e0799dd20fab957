// Any other machine: 16 bytes, and what the compiler makes of plain code.
#pragma once

namespace {
constexpr int vector_bytes = 16;
constexpr bool fused = false;
}  // namespace

#include "simd/portable.h"

namespace {
using namespace portable;
}
