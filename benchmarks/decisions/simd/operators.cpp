// Vector types, and nothing but the compiler's own operators on them.
#include "softmax.h"

#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int bytes = 64;
#elif defined(__AVX2__)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif
constexpr int lanes = bytes / 4;

typedef float f32v __attribute__((vector_size(bytes)));
typedef int i32v __attribute__((vector_size(bytes)));

inline f32v splat(float x) { return x - f32v{}; }
inline f32v max(f32v x, f32v y) { return x > y ? x : y; }
inline f32v fma(f32v a, f32v b, f32v c) { return a * b + c; }

inline f32v load(const float* p) {
    f32v x;
    memcpy(&x, p, sizeof x);
    return x;
}
inline void store(float* p, f32v x) { memcpy(p, &x, sizeof x); }

inline f32v load_part(const float* p, int count) {
    f32v x = splat(-infinity);
    for (int k = 0; k < count; ++k) x[k] = p[k];
    return x;
}
inline void store_part(float* p, f32v x, int count) {
    for (int k = 0; k < count; ++k) p[k] = x[k];
}

inline f32v exp(f32v y) {
    f32v r = fma(y, splat(log2e), splat(rounder));
    f32v n = r - rounder;
    f32v t = fma(n, splat(-ln2_lo), fma(n, splat(-ln2_hi), y));
    f32v tail = fma(fma(fma(fma(splat(q[4]), t, splat(q[3])), t, splat(q[2])), t, splat(q[1])), t, splat(q[0]));
    f32v scale = (f32v)((i32v)r << 23);
    return fma(fma(tail, t * t, t), scale, scale);
}

void softmax_row(const float* x, float* out, float* scratch, long n) {
    const long whole = n / lanes * lanes;
    const int rest = int(n - whole);

    f32v most = splat(-infinity);
    for (long i = 0; i < whole; i += lanes) most = max(load(x + i), most);
    if (rest) most = max(load_part(x + whole, rest), most);
    float m = most[0];
    for (int k = 1; k < lanes; ++k) m = most[k] > m ? most[k] : m;

    const f32v floor = splat(m + below);
    f32v sums{};
    auto step = [&](long i, f32v logits) __attribute__((always_inline)) {
        f32v e = exp(max(floor, logits) - m);
        store(scratch + i, e);
        sums += e;
    };
    for (long i = 0; i < whole; i += lanes) step(i, load(x + i));
    if (rest) step(whole, load_part(x + whole, rest));
    float sum = 0;
    for (int k = 0; k < lanes; ++k) sum += sums[k];

    const f32v inverse = splat(1 / sum);
    for (long i = 0; i < whole; i += lanes) store(out + i, load(scratch + i) * inverse);
    if (rest) store_part(out + whole, load(scratch + whole) * inverse, rest);
}

}  // namespace

void softmax(const float* x, float* out, float* scratch, long rows, long n) {
    for (long row = 0; row < rows; ++row) softmax_row(x + row * n, out + row * n, scratch, n);
}
