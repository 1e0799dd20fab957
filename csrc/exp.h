// exp and log1p.
//
// exp(y) = 2^n (1 + hi + lo), n the integer nearest to y log2 e, hi = y - n LN2_HI, lo = t^2 q(t) - n LN2_LO with t = hi - n LN2_LO.
// LN2_HI has so few bits that n LN2_HI, and with it hi, is exact: the three parts are right to 2^-28 (float) and 2^-57 (double) of the whole
// before anything is rounded, and each kernel rounds once, where it writes. This is why a softmax here has an error below one ulp.
//
// The arguments are logits, not differences of logits: rounding x - m first costs up to 64 ulp at x - m = -80. What is subtracted is the
// *exponent* of the row's maximum, an integer (Shift::exponent). Only where abs(m) >= 256 (2048 in double) is m itself subtracted first: any x
// that still counts lies within a factor of two of such an m, so that difference is exact (Sterbenz).
//
// The polynomials are minimax fits (tools/minimax.py prints them with their errors).
#pragma once

#include "vec.h"
#include "wide.h"

namespace {

template <class C> struct Constants;

template <> struct Constants<float> {
    static constexpr float log2e = 0x1.715476p+0f;
    static constexpr float ln2_hi = 0x1.62e000p-1f, ln2_lo = 0x1.0bfbe8p-15f;  // 14 bits; abs(n) <= 2^10
    static constexpr float rounder = 0x1.8p23f;                                // adding it rounds to an integer
    static constexpr int mantissa = 23, exponent_of_one = 127;
    static constexpr int bias = 64;          // scales are kept 2^bias too large, so that small ones stay normal
    static constexpr float unbias = 0x1p-64f;
    static constexpr float below = -110;     // exp(-110) is far below half the least subnormal
    static constexpr float far = 256;        // from here on the maximum itself is subtracted
    static constexpr float largest = 0x1.fffffep127f;
    // exp(t) = 1 + t + t^2 q(t), relative error 2^-28.3
    static constexpr float q[] = {0x1.fffffcp-2f, 0x1.555490p-3f, 0x1.5558f8p-5f, 0x1.123b02p-7f, 0x1.6a2258p-10f};
};

template <> struct Constants<double> {
    static constexpr double log2e = 0x1.71547652b82fep+0;
    static constexpr double ln2_hi = 0x1.62e42fefa2000p-1, ln2_lo = 0x1.9ef35793c7673p-41;  // 40 bits; abs(n) <= 2^12
    static constexpr double rounder = 0x1.8p52;
    static constexpr int mantissa = 52, exponent_of_one = 1023;
    static constexpr int bias = 512;
    static constexpr double unbias = 0x1p-512;
    static constexpr double below = -760;
    static constexpr double far = 2048;
    static constexpr double largest = 0x1.fffffffffffffp1023;
    // relative error 2^-57.9
    static constexpr double q[] = {0x1.000000000000ap-1,  0x1.55555555554f8p-3,  0x1.5555555550754p-5,  0x1.1111111128174p-7,
                                   0x1.6c16c1846fc23p-10, 0x1.a01a0128fccbbp-13, 0x1.a01999446a68bp-16, 0x1.71df272251699p-19,
                                   0x1.28ae3458bcde7p-22, 0x1.ad7e84e42476ep-26};
};

constexpr double infinity = __builtin_inf();
constexpr double not_a_number = __builtin_nan("");

// t^2 q(t) + c. The leading half of t^2 is added last: the roundings on the way to q(t), near 1/2, would be felt.
inline f32v tail_polynomial(f32v t, f32v c) {
    const auto& q = Constants<float>::q;
    f32v t2 = t * t;
    f32v y = fma(fma(splat(q[4]), t, splat(q[3])), t2, fma(splat(q[2]), t, splat(q[1])));
    return fma(splat(0.5f), t2, fma(fma(y, t, splat(q[0] - 0.5f)), t2, c));
}
// Even and odd powers apart: half the latency, one multiplication more.
inline f64v tail_polynomial(f64v t, f64v c) {
    const auto& q = Constants<double>::q;
    f64v t2 = t * t;
    f64v even = splat(q[8]), odd = splat(q[9]);
    for (int k = 6; k >= 0; k -= 2) {
        even = fma(even, t2, splat(q[k]));
        odd = fma(odd, t2, splat(q[k + 1]));
    }
    return fma(t2, fma(odd, t, even), c);
}

// 2^n (1 + hi + lo), and 2^n over 2^exponent as `scale`
template <class C> struct Exp {
    typename Vec<C>::V n, hi, lo, scale;
    auto tail() const { return hi + lo; }
};

// What rounds to an integer when added, and leaves n - exponent + bias in the exponent's place when shifted up there.
template <class V, class C = decltype(+V{}[0])> inline V rounder_for(V exponent) {
    using K = Constants<C>;
    return (K::rounder + (K::bias + K::exponent_of_one)) - exponent;
}

// exp(y + y_lo), abs(y) <= far + abs(below) and abs(y_lo) below an ulp of it. NaN gives NaN. The scale is 2^(n - exponent + bias), for
// -2 bias < n - exponent <= bias.
template <class V, class C = decltype(+V{}[0])> ONESUM_INLINE Exp<C> exp_parts(V y, V y_lo, V rounder) {
    using K = Constants<C>;
    V r = fma(y, splat(K::log2e), rounder);
    V n = r - rounder;
    V hi = fma(n, splat(-K::ln2_hi), y);
    V c = fma(n, splat(-K::ln2_lo), y_lo);
    return {n, hi, tail_polynomial(hi + c, c), bits<V>(bits<typename Vec<C>::I>(r) << K::mantissa)};
}

// log(1 + r), r >= 0 or NaN, r = hi + lo: about 0.7 ulp. 1 + r is split into 2^k f with f in [1/sqrt 2, sqrt 2], and
// log f = 2 atanh(s), s = g / (2 + g), g = f - 1; k = 0 for small r, so nothing is lost there.
inline f64v log1p(f64v hi, f64v lo) {
    using K = Constants<double>;
    auto u = two_sum(splat(1.0), hi);
    u.lo = u.lo + lo;
    i64v up = bits<i64v>(u.hi) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
    i64v k = (up >> 52) - 1023;
    f64v down = bits<f64v>((1023 - k) << 52);
    f64v g_hi = u.hi * down - 1.0, g_lo = u.lo * down;
    f64v g = g_hi + g_lo;
    f64v s = g / (2.0 + g);
    f64v z = s * s;
    constexpr double q[] = {0x1.5555555555593p-2, 0x1.999999997fb31p-3, 0x1.2492494217aafp-3, 0x1.c71c51e7f0d4ap-4,
                            0x1.7466462dbade3p-4, 0x1.39a0f4e6da33ep-4, 0x1.2f0d8f96ccff2p-4};  // atanh(s) = s + s z q(z)
    f64v tail = splat(q[6]);
    for (int i = 5; i >= 0; --i) tail = fma(tail, z, splat(q[i]));
    tail = tail * (z + z);
    // 2 s = g - s g, so log f = g - s (g - tail), and with half = g^2 / 2: g - (half - s (half + tail))
    f64v half = 0.5 * g * g;
    f64v kd = __builtin_convertvector(k, f64v);
    f64v g_rest = (g_hi - g) + g_lo;
    f64v small = fma(kd, splat(K::ln2_lo), g_rest * (1.0 - 2.0 * s));  // (1 - 2 s) for 1 / f
    f64v log = fma(kd, splat(K::ln2_hi), g - (half - fma(s, half + tail, small)));
    return hi < infinity ? log : hi;
}

inline Wide<float> log1p(Wide<float> r) { return {log1p(r.a, f64v{}), log1p(r.b, f64v{})}; }
inline Wide<double> log1p(Wide<double> r) { return Wide<double>::of(log1p(r.hi, r.lo)); }

}  // namespace
