// Numbers for the sweep: drawn by a hash of where they stand, and in the four storage types without rounding.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "runtime/kernels.h"

inline uint64_t hash(uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}
template <class... More> uint64_t hash(uint64_t x, uint64_t y, More... more) { return hash(hash(x) ^ y, more...); }

inline isize size_of(int storage) {
    return storage == onesum::storage_float64 ? 8 : storage == onesum::storage_float32 ? 4 : 2;
}

// Of a 16-bit type: how many bits of the number are fraction.
inline int fraction_of(int storage) { return storage == onesum::storage_float16 ? 10 : 7; }

inline double decode(int storage, const char* p) {
    if (storage == onesum::storage_float64) {
        double x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    if (storage == onesum::storage_float32) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    const int fraction = fraction_of(storage), most = (1 << (15 - fraction)) - 1, exponent = bits >> fraction & most;
    const double sign = bits >> 15 ? -1 : 1, part = bits & ((1 << fraction) - 1);
    if (exponent == most) return part != 0 ? NAN : sign * HUGE_VAL;
    return sign * std::ldexp(exponent ? part + (1 << fraction) : part, (exponent ? exponent : 1) - most / 2 - fraction);
}

// x is a number of the type.
inline void encode(int storage, double x, char* p) {
    if (storage == onesum::storage_float64) {
        memcpy(p, &x, sizeof x);
        return;
    }
    if (storage == onesum::storage_float32) {
        const float narrow = float(x);
        memcpy(p, &narrow, sizeof narrow);
        return;
    }
    const int fraction = fraction_of(storage), most = (1 << (15 - fraction)) - 1;
    int exponent;
    const double size = std::fabs(x), half = std::frexp(size, &exponent);  // in [1/2, 1)
    int bits;
    if (x != x) bits = most << fraction | 1 << (fraction - 1);
    else if (size == HUGE_VAL) bits = most << fraction;
    else if (size == 0 || exponent + most / 2 - 1 <= 0) bits = int(std::ldexp(size, most / 2 - 1 + fraction));
    else bits = (exponent + most / 2 - 1) << fraction | (int(std::ldexp(half, fraction + 1)) & ((1 << fraction) - 1));
    const auto word = uint16_t(bits | (std::signbit(x) ? 1 << 15 : 0));
    memcpy(p, &word, sizeof word);
}
