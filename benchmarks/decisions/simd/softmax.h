// What the four variants share: the numbers (csrc/numerics/exp.h explains them), and the signature.
//
// Each variant computes, along a row: m = max x; e = exp(x - m) * 2^64 into `scratch`, and the sum of e in float lanes; e / sum. The
// exponential is 2^n (1 + t + t^2 q(t)), n the integer nearest to (x - m) log2 e, and 2^n is made of the bits of the number that rounds.
#pragma once

namespace {

constexpr float infinity = __builtin_inff();
constexpr float log2e = 0x1.715476p+0f;
constexpr float ln2_hi = 0x1.62e000p-1f, ln2_lo = 0x1.0bfbe8p-15f;
constexpr float rounder = 0x1.8p23f + 64 + 127;
constexpr float below = -110;
constexpr float q[] = {0x1.fffffcp-2f, 0x1.555490p-3f, 0x1.5558f8p-5f, 0x1.123b02p-7f, 0x1.6a2258p-10f};

}  // namespace

// `scratch` has room for a row and a vector more.
extern "C" __attribute__((visibility("default"))) void softmax(const float* x, float* out, float* scratch, long rows, long n);
