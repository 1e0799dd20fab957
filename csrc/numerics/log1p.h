// log1p, for arguments >= 0. The polynomials are minimax fits (tools/minimax.py).
#pragma once

#include "numerics/exp.h"

namespace {

// log(1 + r), r >= 0 or NaN, r = hi + lo: about 0.7 ulp. 1 + r is split into 2^k f with f in [1/sqrt 2, sqrt 2], and
// log f = 2 atanh(s), s = g / (2 + g), g = f - 1; k = 0 for small r, so nothing is lost there.
inline f64v log1p(f64v hi, f64v lo) {
    using K = Constants<double>;
    auto u = two_sum(splat(1.0), hi);
    u.lo = u.lo + lo;
    i64v up = bit_cast<i64v>(u.hi) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
    i64v k = (up >> 52) - 1023;
    f64v down = bit_cast<f64v>((1023 - k) << 52);
    f64v g_hi = u.hi * down - 1.0, g_lo = u.lo * down;
    f64v g = g_hi + g_lo;
    f64v s = g / (2.0 + g);
    f64v z = s * s;
    constexpr double q[] = {
        0x1.5555555555593p-2, 0x1.999999997fb31p-3, 0x1.2492494217aafp-3, 0x1.c71c51e7f0d4ap-4,
        0x1.7466462dbade3p-4, 0x1.39a0f4e6da33ep-4, 0x1.2f0d8f96ccff2p-4};  // atanh(s) = s + s z q(z)
    f64v tail = splat(q[6]);
    for (int i = 5; i >= 0; --i) tail = fma(tail, z, splat(q[i]));
    tail = tail * (z + z);
    // 2 s = g - s g, so log f = g - s (g - tail), and with half = g^2 / 2: g - (half - s (half + tail))
    f64v half = 0.5 * g * g;
    f64v kd = __builtin_convertvector(k, f64v);
    f64v g_rest = (g_hi - g) + g_lo;
    f64v small = fma(kd, splat(K::ln2_lo * K::entries), g_rest * (1.0 - 2.0 * s));  // (1 - 2 s) for 1 / f
    f64v log = fma(kd, splat(K::ln2_hi * K::entries), g - (half - fma(s, half + tail, small)));
    return hi < infinity ? log : hi;
}

// The same to 2^-37, for what is rounded to float in the end.
inline f64v log1p(f64v r) {
    constexpr double ln2 = 0x1.62e42fefa39efp-1;
    constexpr double q[] = {0x1.555554fce5336p-2, 0x1.999a7becd7e3ap-3, 0x1.2438793cf5d4ep-3, 0x1.e30542e69ea2bp-4};
    const f64v u = 1.0 + r;
    const i64v biased = (bit_cast<i64v>(u) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd)) >> 52;  // k + 1023
    const f64v down = bit_cast<f64v>((2046 - biased) << 52),
               kd = bit_cast<f64v>(biased | 0x4330000000000000) - (0x1p52 + 1023);
    const f64v g = biased == 1023 ? r : u * down - 1.0;
    const f64v s = g / (2.0 + g), s2 = s + s;
    const f64v z = s * s, z2 = z * z;
    const f64v tail = fma(fma(splat(q[3]), z, splat(q[2])), z2, fma(splat(q[1]), z, splat(q[0])));
    const f64v log = fma(kd, splat(ln2), fma(s2 * z, tail, s2));
    return r < infinity ? log : r;
}

inline Wide<float> log1p(Wide<float> r) { return {log1p(r.a), log1p(r.b)}; }
inline Wide<double> log1p(Wide<double> r) { return Wide<double>::of(log1p(r.hi, r.lo)); }

}  // namespace
