// What an x86-64 CPU can do, and the system lets it. (The compilers' __builtin_cpu_supports knows neither F16C in all
// of them, nor Clang's works everywhere.)
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>

namespace onesum {

struct Cpu {
    bool v2 = false, v3 = false, v4 = false;  // the versions of x86-64
    bool avx2 = false, avx512f = false;       // alone

    Cpu() {
        unsigned a, b, c, d, b7 = 0, c7, d7;
        if (!__get_cpuid(1, &a, &b, &c, &d)) return;
        __get_cpuid_count(7, 0, &a, &b7, &c7, &d7);
        v2 = has(c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT);
        if (!has(c, bit_OSXSAVE)) return;
        unsigned saved, rest;  // which registers the system saves
        asm("xgetbv" : "=a"(saved), "=d"(rest) : "c"(0));
        avx2 = has(saved, ymm) && has(c, bit_AVX) && has(b7, bit_AVX2);
        v3 = v2 && avx2 && has(c, bit_FMA | bit_F16C) && has(b7, bit_BMI | bit_BMI2);
        avx512f = avx2 && has(saved, ymm | zmm) && has(b7, bit_AVX512F);
        v4 = v3 && avx512f && has(b7, bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL);
    }

  private:
    static constexpr unsigned ymm = 0x06, zmm = 0xe0;
    static bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }
};

inline const Cpu& cpu() {
    static const Cpu found;
    return found;
}

}  // namespace onesum
#endif
