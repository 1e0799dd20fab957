// Written by tools/exp_table.py: 2^(j / 2^bits), its bits as exp.h adds them, and what they lack.
#pragma once

#include <cstdint>

namespace {

template <class C, int bits> struct ExpTable;

template <> struct ExpTable<float, 3> {
    alignas(64) static constexpr int32_t exponent_bits[8] = {
        0, -289342, -509968, -655657, -719629, -694486, -572163, -343865};
    alignas(64) static constexpr float correction[8] = {
        0x0.0p+0f, -0x1.9c0c220000000p-27f, 0x1.1250020000000p-25f, -0x1.0a35500000000p-25f,
        0x1.26055c0000000p-26f, 0x1.67a1ca0000000p-28f, -0x1.f9c3040000000p-27f, -0x1.a5217c0000000p-28f};
};

template <> struct ExpTable<float, 5> {
    alignas(64) static constexpr int32_t exponent_bits[32] = {
        0, -78457, -152893, -223217, -289342, -351174, -408621, -461584,
        -509968, -553670, -592590, -626621, -655657, -679589, -698305, -711690,
        -719629, -722001, -718684, -709555, -694486, -673346, -646004, -612322,
        -572163, -525384, -471841, -411385, -343865, -269126, -187011, -97357};
    alignas(64) static constexpr float correction[32] = {
        0x0.0p+0f, -0x1.9474140000000p-25f, 0x1.8d96d40000000p-25f, -0x1.dda2fc0000000p-25f,
        -0x1.9c0c220000000p-27f, -0x1.a2fbb20000000p-25f, 0x1.9649040000000p-25f, -0x1.2b0dbc0000000p-25f,
        0x1.1250020000000p-25f, -0x1.cde8ce0000000p-26f, 0x1.370be40000000p-25f, 0x1.336de20000000p-30f,
        -0x1.0a35500000000p-25f, -0x1.c541b40000000p-26f, -0x1.00d8ac0000000p-27f, -0x1.6cb2840000000p-25f,
        0x1.26055c0000000p-26f, 0x1.8b2bb80000000p-26f, -0x1.05cb440000000p-25f, -0x1.1c21420000000p-26f,
        0x1.67a1ca0000000p-28f, -0x1.348e560000000p-25f, 0x1.a3b5e40000000p-28f, -0x1.0b7ec80000000p-25f,
        -0x1.f9c3040000000p-27f, -0x1.e4c8860000000p-26f, -0x1.6961b40000000p-28f, -0x1.b5151e0000000p-28f,
        -0x1.a5217c0000000p-28f, -0x1.ab71320000000p-26f, 0x1.61428e0000000p-28f, -0x1.2ad5f80000000p-27f};
};

template <> struct ExpTable<double, 4> {
    alignas(64) static constexpr int64_t exponent_bits[16] = {
        0, -82083586668273, -155339362315909, -219376486358472, -273786814220523, -318144131222494, -352003352548825, -374899687795671,
        -386347768529971, -385840737222265, -372849295843109, -346820712337264, -307177783110739, -253317749583204, -184611166772089, -100400721784614};
    alignas(64) static constexpr double correction[16] = {
        0x0.0p+0, 0x1.79aa65d837b6dp-54, -0x1.01b15eaa59348p-55, 0x1.68efde3a8a894p-54,
        0x1.34d754db0abb6p-55, 0x1.59f48a72a4c6dp-55, 0x1.690cebb7aafb0p-56, 0x1.063e1e21c5409p-54,
        -0x1.3b3efbf5e2228p-54, -0x1.b32dcb94da51dp-56, 0x1.db72fc1f0eab4p-55, 0x1.1affc2b91ce27p-56,
        0x1.c1a7792cb3387p-55, 0x1.36eae30af0cb3p-56, 0x1.4a385a63d07a7p-56, -0x1.ff7128fd391f0p-55};
};

}  // namespace
