// Written by tools/exp_table.py: 2^(j / 8), its bits as exp.h adds them, and what their logarithms lack.
#pragma once

#include <cstdint>

namespace {
namespace exp_table {

alignas(32) constexpr int32_t exponent_bits[8] = {
    0, -289344, -509968, -655656, -719632, -694488, -572160, -343864};
alignas(32) constexpr float correction[8] = {
    0x0.0p+0f, 0x1.bbc0ce0000000p-23f, 0x1.1250020000000p-25f, -0x1.07f47e0000000p-23f,
    0x1.21e7c60000000p-22f, 0x1.573abe0000000p-23f, -0x1.e843fe0000000p-23f, -0x1.317d9a0000000p-24f};

}  // namespace exp_table
}  // namespace
