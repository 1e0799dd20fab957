// exp(y) = 2^(n/N) (1 + hi + lo), n the integer nearest to y N log2 e; the same numbers by every instruction set that
// has a fused multiply-add. Floats have a table of N = 8 powers, which a register holds everywhere: abs(y - n ln2/8) is
// at most 0.044, a polynomial of three terms is enough, and so is one word for the small rest. For doubles no register
// is so wide: N = 1, and two words.
//
// hi = y - n LN2_HI is exact, for LN2_HI is so short; the rest is t = hi - n LN2_LO, with what the logarithm of the
// table's entry lacks, and t^2 q(t). So the parts are
// right to 2^-29 (2^-57 in double) of the whole before anything is rounded; tools/proofs proves it.
//
// The arguments are logits, not differences of logits: rounding x - m first costs up to 64 ulp at x - m = -80. What is
// subtracted is the *exponent* of the row's maximum, an integer (ops/shift.h). Only where abs(m) >= 256 (2048 in
// double) is m itself subtracted first: any x that still counts lies within a factor of two of such an m, so that
// difference is exact (Sterbenz).
//
// The polynomials are minimax fits (tools/minimax.py prints them with their errors).
#pragma once

#include "numerics/exp_table.h"
#include "numerics/wide.h"

namespace {

template <class C> struct Constants;

template <> struct Constants<float> {
    static constexpr int table_bits = 3;
    static constexpr float entries = 1 << table_bits;
    static constexpr float n_log2e = 0x1.715476p+0f * entries;  // N log2 e
    static constexpr float ln2_hi = 0x1.62e000p-1f / entries,
                           ln2_lo = 0x1.0bfbe8p-15f / entries;  // 12 bits and the rest
    static constexpr float magic_bias = 0x1.8p23f;              // adding it rounds to an integer
    static constexpr int mantissa = 23, exponent_of_one = 127;
    static constexpr int bias = 64;  // scales are kept 2^bias too large, so that small ones stay normal
    static constexpr float inv_scale_bias = 0x1p-64f;
    static constexpr float underflow_cutoff =
        -125;  // less counts as nothing: exp(-125) is 2^-180, and 2^bias times as much a normal number
    static constexpr float exact_shift_limit = 256;  // from here on the maximum itself is subtracted
    static constexpr float largest = 0x1.fffffep127f;
    static constexpr float q[] = {0.5f, 0x1.555c7cp-3f, 0x1.554834p-5f};  // exp(t) = 1 + t + t^2 q(t), to 2^-32.5
};

template <> struct Constants<double> {
    static constexpr int table_bits = 0;
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
    // relative error 2^-57.9
    static constexpr double q[] = {0x1.000000000000ap-1,  0x1.55555555554f8p-3,  0x1.5555555550754p-5,
                                   0x1.1111111128174p-7,  0x1.6c16c1846fc23p-10, 0x1.a01a0128fccbbp-13,
                                   0x1.a01999446a68bp-16, 0x1.71df272251699p-19, 0x1.28ae3458bcde7p-22,
                                   0x1.ad7e84e42476ep-26};
};

// t^2 q(t) + c
inline f32v tail_polynomial(f32v t, f32v c) {
    const auto& q = Constants<float>::q;
    return fma(fma(fma(splat(q[2]), t, splat(q[1])), t, splat(q[0])), t * t, c);
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
        const I power = bit_cast<I>(table_lookup(exp_table::exponent_bits, bits_of_r)) + scale;
        V c = fma(n, splat(-K::ln2_lo), table_lookup(exp_table::correction, bits_of_r));
        if constexpr (!single_word) c = c + y_lo;
        const V t = hi + c;
        return {tail_polynomial(t, t), V{}, bit_cast<V>(power)};
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

// What multiplies sums of exponentials over the exponent of one maximum to make them those of another, larger one.
template <class V, class C = decltype(+V{}[0])> V rescaling(V from, V to) {
    using K = Constants<C>;
    const auto exponent_of = [](V m) { return nearest_exponent(m == C(-infinity) ? V{} : m); };
    const V by = exponent_of(from) - exponent_of(to);
    const V power = bit_cast<V>(
        bit_cast<typename Vec<C>::I>(max(splat(C(-K::exponent_of_one)), by) + (K::magic_bias + K::exponent_of_one))
        << K::mantissa);
    return from == C(-infinity) ? V{} : power;
}

}  // namespace
