// exp(y) = 2^(n/N) (1 + hi + lo), n the integer nearest to y N log2 e. With a table, where registers can hold one: N
// entries (32 or 8 floats, 16 doubles), abs(y - n ln2/N) at most ln2/2N, few powers, and one word is enough for the
// small rest. Without: N = 1, and two words.
//
// hi = y - n LN2_HI is exact, for LN2_HI is so short (without a table) or the difference so small (with one); the rest
// is t = hi - n LN2_LO and t^2 q(t). So the parts are right to 2^-30 (2^-28 without a table; 2^-57 in double) of the
// whole before anything is rounded, and each kernel rounds once, where it writes. This is why a softmax here has an
// error below one ulp.
//
// The arguments are logits, not differences of logits: rounding x - m first costs up to 64 ulp at x - m = -80. What is
// subtracted is the *exponent* of the row's maximum, an integer (Shift). Only where abs(m) >= 256 (2048 in double) is m
// itself subtracted first: any x that still counts lies within a factor of two of such an m, so that difference is
// exact (Sterbenz).
//
// The polynomials are minimax fits (tools/minimax.py prints them with their errors).
#pragma once

#include "numerics/exp_table.h"
#include "numerics/wide.h"

namespace {

template <class C> struct Constants;

template <> struct Constants<float> {
    static constexpr int table_bits = table_lookup_bits<float>;
    static constexpr float entries = 1 << table_bits;
    static constexpr float n_log2e = 0x1.715476p+0f * entries;  // N log2 e
    // ln 2 / N: 14 bits and the rest, or all bits that a float has
    static constexpr float ln2_hi = (table_bits ? 0x1.62e430p-1f : 0x1.62e000p-1f) / entries;
    static constexpr float ln2_lo = (table_bits ? -0x1.05c610p-29f : 0x1.0bfbe8p-15f) / entries;
    static constexpr float magic_bias = 0x1.8p23f;  // adding it rounds to an integer
    static constexpr int mantissa = 23, exponent_of_one = 127;
    static constexpr int bias = 64;  // scales are kept 2^bias too large, so that small ones stay normal
    static constexpr float inv_scale_bias = 0x1p-64f;
    static constexpr float underflow_cutoff =
        -125;  // less counts as nothing: exp(-125) is 2^-180, and 2^bias times as much a normal number
    static constexpr float exact_shift_limit = 256;  // from here on the maximum itself is subtracted
    static constexpr float largest = 0x1.fffffep127f;
    // exp(t) = 1 + t + t^2 q(t), relative error 2^-28.3; with a table of 8, 2^-32.5; of 32, 2^-33.2
    static constexpr float q[] = {0x1.fffffcp-2f, 0x1.555490p-3f, 0x1.5558f8p-5f, 0x1.123b02p-7f, 0x1.6a2258p-10f};
    static constexpr float q8[] = {0.5f, 0x1.555c7cp-3f, 0x1.554834p-5f};
    static constexpr float q32[] = {0x1.000088p-1f, 0x1.555568p-3f};
};

template <> struct Constants<double> {
    static constexpr int table_bits = table_lookup_bits<double>;
    static constexpr double entries = 1 << table_bits;
    static constexpr double n_log2e = 0x1.71547652b82fep+0 * entries;
    static constexpr double ln2_hi = 0x1.62e42fefa2000p-1 / entries,
                            ln2_lo = 0x1.9ef35793c7673p-41 / entries;  // 40 bits and the rest
    static constexpr double magic_bias = 0x1.8p52;
    static constexpr int mantissa = 52, exponent_of_one = 1023;
    static constexpr int bias = 512;
    static constexpr double inv_scale_bias = 0x1p-512;
    static constexpr double underflow_cutoff = -760;
    static constexpr double exact_shift_limit = 2048;
    static constexpr double largest = 0x1.fffffffffffffp1023;
    // relative error 2^-57.9; with a table of 16, 2^-66.3
    static constexpr double q[] = {0x1.000000000000ap-1,  0x1.55555555554f8p-3,  0x1.5555555550754p-5,
                                   0x1.1111111128174p-7,  0x1.6c16c1846fc23p-10, 0x1.a01a0128fccbbp-13,
                                   0x1.a01999446a68bp-16, 0x1.71df272251699p-19, 0x1.28ae3458bcde7p-22,
                                   0x1.ad7e84e42476ep-26};
    static constexpr double q16[] = {0x1.0000000000004p-1, 0x1.5555555555545p-3,  0x1.555555547e811p-5,
                                     0x1.111111125e8d5p-7, 0x1.6c1842709c92fp-10, 0x1.a0191122bfef4p-13};
};

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

// t^2 q(t) + c, for the small t that a table leaves.
inline f32v short_polynomial(f32v t, f32v c) {
    using K = Constants<float>;
    f32v u = K::table_bits == 5 ? fma(splat(K::q32[1]), t, splat(K::q32[0]))
                                : fma(fma(splat(K::q8[2]), t, splat(K::q8[1])), t, splat(K::q8[0]));
    return fma(u, t * t, c);
}
inline f64v short_polynomial(f64v t, f64v c) {
    const auto& q = Constants<double>::q16;
    f64v t2 = t * t;
    f64v even = fma(fma(splat(q[4]), t2, splat(q[2])), t2, splat(q[0]));
    f64v odd = fma(fma(splat(q[5]), t2, splat(q[3])), t2, splat(q[1]));
    return fma(t2, fma(odd, t, even), c);
}

// scale (1 + hi + lo) is exp over 2^exponent.
template <class C> struct Exp {
    typename Vec<C>::V hi, lo, scale;
    static constexpr bool single_word = Constants<C>::table_bits > 0;  // lo is 0
    auto tail() const { return single_word ? hi : hi + lo; }
    auto rounded() const { return fma(scale, tail(), scale); }
};

// What rounds to an integer when added, and leaves (exponent of the argument - `exponent` + bias) N + index in the
// lower bits.
template <class V, class C = decltype(+V{}[0])> inline V magic_bias_for(V exponent) {
    using K = Constants<C>;
    return (K::magic_bias + (K::bias + K::exponent_of_one) * K::entries) - exponent * K::entries;
}

// exp(y + y_lo), abs(y) <= exact_shift_limit + abs(underflow_cutoff) and abs(y_lo) below an ulp of it. NaN gives NaN.
// The scale is 2^bias too large: a normal number for an exponent between that of underflow_cutoff and bias.
// `single_word`: y_lo is 0, which the compiler is not allowed to find out by itself.
template <bool single_word, class V, class C = decltype(+V{}[0])>
ONESUM_INLINE Exp<C> exp_parts(V y, V y_lo, V magic_bias) {
    using K = Constants<C>;
    using I = typename Vec<C>::I;
    V r = fma(y, splat(K::n_log2e), magic_bias);
    V n = r - magic_bias;
    V hi = fma(n, splat(-K::ln2_hi), y);
    const I bits_of_r = bit_cast<I>(r);
    const I scale = bits_of_r << (K::mantissa - K::table_bits);
    if constexpr (K::table_bits > 0) {
        // The index stands below the exponent in `scale`; the entries are less by just that.
        using Table = ExpTable<C, K::table_bits>;
        const I power = bit_cast<I>(table_lookup(Table::exponent_bits, bits_of_r)) + scale;
        V t = fma(n, splat(-K::ln2_lo), hi);
        if constexpr (!single_word) t = t + y_lo;
        return {short_polynomial(t, t + table_lookup(Table::correction, bits_of_r)), V{}, bit_cast<V>(power)};
    } else {
        V c = fma(n, splat(-K::ln2_lo), y_lo);
        return {hi, tail_polynomial(hi + c, c), bit_cast<V>(scale)};
    }
}

// The n for which exp(y) is nearest to 2^n.
template <class V, class C = decltype(+V{}[0])> inline V nearest_exponent(V y) {
    using K = Constants<C>;
    return fma(y, splat(K::n_log2e / K::entries), splat(K::magic_bias)) - K::magic_bias;
}

}  // namespace
