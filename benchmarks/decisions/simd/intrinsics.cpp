// Vector types with what csrc/simd adds to the operators: max, fma, masked ends, the sum over the lanes.
#include "softmax.h"

#include "simd/storage.h"

namespace {

constexpr int lanes = Vec<float>::lanes;

inline f32v read(const float* p) { return load<float>((const char*)p); }
inline void write(float* p, f32v x) { store<float>((char*)p, x); }
inline f32v read_part(const float* p, int count) {
    return first_n<i32v>(count) ? load_n<float>((const char*)p, count) : splat(-__builtin_inff());
}

inline f32v exp(f32v y) {
    f32v r = fma(y, splat(log2e), splat(rounder));
    f32v n = r - rounder;
    f32v t = fma(n, splat(-ln2_lo), fma(n, splat(-ln2_hi), y));
    f32v tail = fma(fma(fma(fma(splat(q[4]), t, splat(q[3])), t, splat(q[2])), t, splat(q[1])), t, splat(q[0]));
    f32v scale = bit_cast<f32v>(bit_cast<i32v>(r) << 23);
    return fma(fma(tail, t * t, t), scale, scale);
}

void softmax_row(const float* x, float* out, float* scratch, long n) {
    const long whole = n / lanes * lanes;
    const int rest = int(n - whole);

    f32v m = splat(-infinity);
    for (long i = 0; i < whole; i += lanes) m = max(read(x + i), m);
    if (rest) m = max(read_part(x + whole, rest), m);
    m = reduce(m, [](f32v a, f32v b) ONESUM_FORCE_INLINE { return max(a, b); });

    const f32v floor = m + below;
    f32v sum{};
    auto step = [&](long i, f32v logits) ONESUM_FORCE_INLINE {
        f32v e = exp(max(floor, logits) - m);
        write(scratch + i, e);
        sum += e;
    };
    for (long i = 0; i < whole; i += lanes) step(i, read(x + i));
    if (rest) step(whole, read_part(x + whole, rest));
    sum = reduce(sum, [](f32v a, f32v b) ONESUM_FORCE_INLINE { return a + b; });

    const f32v inverse = 1 / sum;
    for (long i = 0; i < whole; i += lanes) write(out + i, read(scratch + i) * inverse);
    if (rest) store_n<float>((char*)(out + whole), read(scratch + whole) * inverse, rest);
}

}  // namespace

void softmax(const float* x, float* out, float* scratch, long rows, long n) {
    for (long row = 0; row < rows; ++row) softmax_row(x + row * n, out + row * n, scratch, n);
}
