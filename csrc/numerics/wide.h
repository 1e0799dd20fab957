// Wider arithmetic for what belongs to a whole row: its sums, and the few numbers made of them.
//
// The wide partner of float lanes is a pair of double vectors (Wide<float>); that of double lanes is a double-double,
// an unevaluated sum hi + lo (Wide<double>; Dekker 1971, Knuth's TwoSum). Both answer to the same names, so a kernel is
// written once.
#pragma once

#include "simd/vec.h"

namespace {

constexpr double infinity = __builtin_inf();
constexpr double not_a_number = __builtin_nan("");

template <class V> struct Sum2 { V hi, lo; };

// a + b = hi + lo exactly, whatever the magnitudes (Knuth).
template <class V> inline Sum2<V> two_sum(V a, V b) {
    V s = a + b;
    V b_part = s - a;
    return {s, (a - (s - b_part)) + (b - b_part)};
}
// The same where abs(a) >= abs(b) (Dekker).
template <class V> inline Sum2<V> fast_two_sum(V a, V b) {
    V s = a + b;
    return {s, b - (s - a)};
}

template <class C> struct Wide;

template <> struct Wide<float> {
    f64v a, b;  // lanes of the first and of the second half

    static Wide of(f32v x) { return {widen_lo(x), widen_hi(x)}; }
    static Wide of(f32v big, f32v small) { return of(big) + of(small); }
    static Wide count(i32v n) {
        i32half halves[2];
        memcpy(halves, &n, sizeof n);
        return {__builtin_convertvector(halves[0], f64v), __builtin_convertvector(halves[1], f64v)};
    }
    friend Wide operator+(Wide x, Wide y) { return {x.a + y.a, x.b + y.b}; }
    friend Wide operator-(Wide x, Wide y) { return {x.a - y.a, x.b - y.b}; }
    friend Wide operator-(Wide x) { return {-x.a, -x.b}; }
    friend Wide operator*(Wide x, Wide y) { return {x.a * y.a, x.b * y.b}; }
    friend Wide operator/(Wide x, Wide y) { return {x.a / y.a, x.b / y.b}; }
    Wide scaled(double power_of_two) const { return {a * power_of_two, b * power_of_two}; }
    Wide scaled(f32v powers_of_two) const { return {a * widen_lo(powers_of_two), b * widen_hi(powers_of_two)}; }
    static Wide choose(i32v mask, Wide x, Wide y) {
        i32half halves[2];
        memcpy(halves, &mask, sizeof mask);
        return {__builtin_convertvector(halves[0], i64v) ? x.a : y.a,
                __builtin_convertvector(halves[1], i64v) ? x.b : y.b};
    }
    Wide normalized() const { return *this; }
    f32v rounded() const { return narrow(a, b); }
    Sum2<f32v> two_words() const {
        f32v hi = rounded();
        return {hi, narrow(a - widen_lo(hi), b - widen_hi(hi))};
    }
};

template <> struct Wide<double> {
    f64v hi, lo;

    static Wide of(f64v x) { return {x, f64v{}}; }
    static Wide of(f64v big, f64v small) { return normal(two_sum(big, small)); }
    static Wide count(i64v n) { return of(__builtin_convertvector(n, f64v)); }
    static Wide normal(Sum2<f64v> s) { return {s.hi, s.lo}; }

    friend Wide operator+(Wide x, Wide y) {
        auto s = two_sum(x.hi, y.hi);
        return normal(fast_two_sum(s.hi, s.lo + (x.lo + y.lo)));
    }
    friend Wide operator-(Wide x) { return {-x.hi, -x.lo}; }
    friend Wide operator-(Wide x, Wide y) { return x + -y; }
    friend Wide operator*(Wide x, Wide y) {
        f64v p = x.hi * y.hi;
        return normal(fast_two_sum(p, two_prod_error(x.hi, y.hi, p) + (x.hi * y.lo + x.lo * y.hi)));
    }
    friend Wide operator/(Wide x, Wide y) {
        f64v q = x.hi / y.hi;
        f64v p = q * y.hi;
        f64v rest = ((x.hi - p) - two_prod_error(q, y.hi, p)) + (x.lo - q * y.lo);
        return normal(fast_two_sum(q, rest / y.hi));
    }
    Wide scaled(double power_of_two) const { return {hi * power_of_two, lo * power_of_two}; }
    Wide scaled(f64v powers_of_two) const { return {hi * powers_of_two, lo * powers_of_two}; }
    static Wide choose(i64v mask, Wide x, Wide y) { return {mask ? x.hi : y.hi, mask ? x.lo : y.lo}; }
    Wide normalized() const { return normal(fast_two_sum(hi, lo)); }
    f64v rounded() const { return hi + lo; }
    Sum2<f64v> two_words() const { return {hi, lo}; }
};

// Floats of 20 digits behind the point as doubles, without a conversion: their bits moved to where a double has them,
// which makes them less by a power of two. The even lanes and the odd ones.
constexpr double moved_bits_unit = 0x1p896;
inline Wide<float> moved_bits(f32v x) {
    const i64v words = bit_cast<i64v>(bit_cast<i32v>(x) >> 3);
    return {bit_cast<f64v>(words << 32), bit_cast<f64v>(words & ~i64v{} << 32)};
}
// From and to lanes of the first and of the second half.
template <size_t... L> inline Wide<float> alternate_lanes(Wide<float> x, std::index_sequence<L...>) {
    return {__builtin_shufflevector(x.a, x.b, (2 * L)...), __builtin_shufflevector(x.a, x.b, (2 * L + 1)...)};
}
template <size_t... L> inline Wide<float> lanes_in_order(Wide<float> x, std::index_sequence<L...>) {
    constexpr int half = sizeof...(L);
    return {__builtin_shufflevector(x.a, x.b, (L / 2 + L % 2 * half)...),
            __builtin_shufflevector(x.a, x.b, (half / 2 + L / 2 + L % 2 * half)...)};
}
inline Wide<float> alternate_lanes(Wide<float> x) {
    return alternate_lanes(x, std::make_index_sequence<vector_bytes / 8>());
}
inline Wide<float> lanes_in_order(Wide<float> x) {
    return lanes_in_order(x, std::make_index_sequence<vector_bytes / 8>());
}

// From and to one double for each lane.
inline Wide<float> wide_from(const double* p, float) {
    Wide<float> x;
    memcpy(&x, p, sizeof x);
    return x;
}
inline Wide<double> wide_from(const double* p, double) {
    Wide<double> x{};
    memcpy(&x.hi, p, sizeof x.hi);
    return x;
}
template <class C> Wide<C> wide_from(const double* p) { return wide_from(p, C()); }
inline void wide_to(double* p, Wide<float> x) { memcpy(p, &x, sizeof x); }
inline void wide_to(double* p, Wide<double> x) {
    const f64v rounded = x.rounded();
    memcpy(p, &rounded, sizeof rounded);
}

// The same in two words, which a Wide<float> needs not.
inline Wide<float> words_from(const double* hi, const double* lo, float) {
    return wide_from(hi, float()) + wide_from(lo, float());
}
inline Wide<double> words_from(const double* hi, const double* lo, double) {
    return {wide_from(hi, double()).hi, wide_from(lo, double()).hi};
}
template <class C> Wide<C> words_from(const double* hi, const double* lo) { return words_from(hi, lo, C()); }
inline void words_to(double* hi, double* lo, Wide<float> x) {
    wide_to(hi, x);
    memset(lo, 0, sizeof x);
}
inline void words_to(double* hi, double* lo, Wide<double> x) {
    memcpy(hi, &x.hi, sizeof x.hi);
    memcpy(lo, &x.lo, sizeof x.lo);
}

template <class C> Wide<C> wide_splat(double x) {
    double lanes[Vec<C>::lanes];
    for (double& lane : lanes) lane = x;
    return wide_from<C>(lanes);
}

// sum + a scale, for a scale that is a power of two or zero.
inline Wide<float> add_product(Wide<float> sum, Wide<float> a, f32v scale) {
    return {fma(a.a, widen_lo(scale), sum.a), fma(a.b, widen_hi(scale), sum.b)};
}
inline Wide<double> add_product(Wide<double> sum, Wide<double> a, f64v scale) {
    auto s = two_sum(sum.hi, a.hi * scale);
    return {s.hi, sum.lo + (s.lo + a.lo * scale)};
}

inline void add_to(Wide<float>& sum, Wide<float> x) { sum = sum + x; }
inline void add_to(Wide<double>& sum, Wide<double> x) {
    auto s = two_sum(sum.hi, x.hi);
    sum = {s.hi, s.lo + (sum.lo + x.lo)};
}

// sum + p (v - c), where p, v and c were read as they are: exact to far below an ulp of the product.
inline void add_weighted(Wide<float>& sum, Wide<float> p, Wide<float> v, Wide<float> c) {
    sum = {fma(p.a, v.a - c.a, sum.a), fma(p.b, v.b - c.b, sum.b)};
}
inline void add_weighted(Wide<double>& sum, Wide<double> p, Wide<double> v, Wide<double> c) {
    const auto w = two_sum(v.hi, -c.hi);
    const f64v product = p.hi * w.hi;
    const auto s = two_sum(sum.hi, product);
    sum = {s.hi, sum.lo + (s.lo + fma(p.hi, w.lo, two_prod_error(p.hi, w.hi, product)))};
}

template <int d> ONESUM_INLINE void swap_blocks(Wide<double>& a, Wide<double>& b) {
    swap_blocks<d>(a.hi, b.hi);
    swap_blocks<d>(a.lo, b.lo);
}

// Sums across lanes: each with the lane half a vector away, then a quarter, and so on; for one vector (every lane gets
// the sum), for as many as there are lanes (lane k gets the sum over the lanes of x[k]; x is used up), and, lane by
// lane, for the vectors of x.
inline Wide<float> sum_of_lanes(Wide<float> x) {
    const f64v s = reduce(x.a + x.b, [](f64v a, f64v b) ONESUM_FORCE_INLINE { return a + b; });
    return {s, s};
}
inline Wide<double> sum_of_lanes(Wide<double> x) {
    constexpr int lanes = Vec<double>::lanes;
    if constexpr (lanes >= 8) add_to(x, {rotate<4>(x.hi), rotate<4>(x.lo)});
    if constexpr (lanes >= 4) add_to(x, {rotate<2>(x.hi), rotate<2>(x.lo)});
    add_to(x, {rotate<1>(x.hi), rotate<1>(x.lo)});
    return x.normalized();
}
inline Wide<float> sums_of_lanes(Wide<float>* x) {
    constexpr int half = Vec<double>::lanes;
    const auto plus = [](f64v a, f64v b) ONESUM_FORCE_INLINE { return a + b; };
    f64v s[2 * half];
    for (int k = 0; k < 2 * half; ++k) s[k] = x[k].a + x[k].b;
    transpose_reduce<half / 2>(s, plus);
    transpose_reduce<half / 2>(s + half, plus);
    return {s[0], s[half]};
}
inline Wide<double> sums_of_lanes(Wide<double>* x) {
    transpose_reduce<Vec<double>::lanes / 2>(x, [](Wide<double> a, Wide<double> b) ONESUM_FORCE_INLINE {
        add_to(a, b);
        return a;
    });
    return x[0].normalized();
}
template <int most, class C> inline Wide<C> sum_of_vectors(Wide<C>* x, int count) {
    for (int by = most / 2; by > 0; by /= 2)
        for (int i = 0; i < by && i + by < count; ++i) add_to(x[i], x[i + by]);
    return x[0].normalized();
}

}  // namespace
