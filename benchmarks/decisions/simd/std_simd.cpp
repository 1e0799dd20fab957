// std::experimental::simd (Parallelism TS 2). a * b + c is written with operators: stdx::fma works element by element.
#include "softmax.h"

#include <experimental/simd>

namespace {

namespace stdx = std::experimental;
using f32v = stdx::native_simd<float>;
using i32v = stdx::rebind_simd_t<int, f32v>;
using stdx::element_aligned;

constexpr int lanes = f32v::size();

inline f32v::mask_type first_lanes(int count) {
    return f32v([](int k) { return float(k); }) < float(count);
}
inline f32v load_part(const float* p, int count) {
    f32v x = -infinity;
    where(first_lanes(count), x).copy_from(p, element_aligned);
    return x;
}

inline f32v exp(f32v y) {
    f32v r = y * log2e + rounder;
    f32v n = r - rounder;
    f32v t = y - n * ln2_hi - n * ln2_lo;
    f32v tail = (((q[4] * t + q[3]) * t + q[2]) * t + q[1]) * t + q[0];
    f32v scale = __builtin_bit_cast(f32v, __builtin_bit_cast(i32v, r) << 23);
    return (tail * (t * t) + t) * scale + scale;
}

void softmax_row(const float* x, float* out, float* scratch, long n) {
    const long whole = n / lanes * lanes;
    const int rest = int(n - whole);

    f32v most = -infinity;
    for (long i = 0; i < whole; i += lanes) most = stdx::max(f32v(x + i, element_aligned), most);
    if (rest) most = stdx::max(load_part(x + whole, rest), most);
    const float m = stdx::hmax(most);

    const f32v floor = m + below;
    f32v sums = 0;
    auto step = [&](long i, f32v logits) {
        f32v e = exp(stdx::max(floor, logits) - m);
        e.copy_to(scratch + i, element_aligned);
        sums += e;
    };
    for (long i = 0; i < whole; i += lanes) step(i, f32v(x + i, element_aligned));
    if (rest) step(whole, load_part(x + whole, rest));

    const f32v inverse = 1 / stdx::reduce(sums);
    for (long i = 0; i < whole; i += lanes) {
        f32v p = f32v(scratch + i, element_aligned) * inverse;
        p.copy_to(out + i, element_aligned);
    }
    if (rest) {
        f32v p = f32v(scratch + whole, element_aligned) * inverse;
        where(first_lanes(rest), p).copy_to(out + whole, element_aligned);
    }
}

}  // namespace

void softmax(const float* x, float* out, float* scratch, long rows, long n) {
    for (long row = 0; row < rows; ++row) softmax_row(x + row * n, out + row * n, scratch, n);
}
