// Any other machine: 16 bytes, and what the compiler makes of plain code.
#pragma once

namespace {
constexpr int vector_bytes = 16;
constexpr bool fused = false;
template <class C> constexpr int table_lookup_bits = 0;
}  // namespace

#include "simd/portable.h"

namespace {
using namespace portable;
}
