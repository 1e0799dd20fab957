// std::experimental::simd (Parallelism TS 2). Two of its functions do not serve: stdx::fma is a call for every vector, and for every
// element where there is no such instruction; stdx::max is compiled as if there were no NaN, so that libstdc++ 12 keeps one for
// x86-64-v3 and loses it for v2 and v4. (The maximum may lose it, for what follows brings it back; the floor may not.)
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

#if defined(STDX_FMA)
using stdx::fma;
#else
inline f32v fma(f32v a, f32v b, f32v c) { return a * b + c; }
#endif

inline f32v exp(f32v y) {
    f32v r = fma(y, f32v(log2e), f32v(rounder));
    f32v n = r - rounder;
    f32v t = fma(n, f32v(-ln2_lo), fma(n, f32v(-ln2_hi), y));
    f32v tail = fma(fma(fma(fma(f32v(q[4]), t, f32v(q[3])), t, f32v(q[2])), t, f32v(q[1])), t, f32v(q[0]));
    f32v scale = __builtin_bit_cast(f32v, __builtin_bit_cast(i32v, r) << 23);
    return fma(fma(tail, t * t, t), scale, scale);
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
    auto step = [&](long i, f32v logits) __attribute__((always_inline)) {
#if defined(STDX_MAX)
        logits = stdx::max(floor, logits);
#else
        where(floor > logits, logits) = floor;
#endif
        f32v e = exp(logits - m);
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
