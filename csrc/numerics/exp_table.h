// Written by tools/exp_table.py: 2^(j / 8), its bits as exp.h adds them, and what they lack.
#pragma once

#include <cstdint>

namespace {
namespace exp_table {

alignas(32) constexpr int32_t exponent_bits[8] = {
    0, -289342, -509968, -655657, -719629, -694486, -572163, -343865};
alignas(32) constexpr float correction[8] = {
    0x0.0p+0f, -0x1.9c0c220000000p-27f, 0x1.1250020000000p-25f, -0x1.0a35500000000p-25f,
    0x1.26055c0000000p-26f, 0x1.67a1ca0000000p-28f, -0x1.f9c3040000000p-27f, -0x1.a5217c0000000p-28f};

}  // namespace exp_table
}  // namespace
