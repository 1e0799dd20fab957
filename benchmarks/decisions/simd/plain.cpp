// Loops over numbers, left to the compiler to vectorise. The pragmas count under -fopenmp-simd only: they allow it to reorder the two
// reductions, which the language does not.
#include "softmax.h"

namespace {

inline float fma(float a, float b, float c) {
#if defined(__FMA__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

inline float exp(float y) {
    float r = fma(y, log2e, rounder);
    float n = r - rounder;
    float t = fma(n, -ln2_lo, fma(n, -ln2_hi, y));
    float tail = fma(fma(fma(fma(q[4], t, q[3]), t, q[2]), t, q[1]), t, q[0]);
    float scale = __builtin_bit_cast(float, __builtin_bit_cast(unsigned, r) << 23);
    return fma(fma(tail, t * t, t), scale, scale);
}

void softmax_row(const float* __restrict x, float* __restrict out, float* __restrict scratch, long n) {
    float m = -infinity;
#pragma omp simd reduction(max : m)
    for (long i = 0; i < n; ++i) m = x[i] > m ? x[i] : m;

    const float floor = m + below;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; ++i) {
#if defined(CLAMP_DIFFERENCE)  // the natural place; but GCC makes a branch of it, for exp(below) is a constant
        float y = x[i] - m;
        float e = exp(below > y ? below : y);
#else
        float e = exp((floor > x[i] ? floor : x[i]) - m);
#endif
        scratch[i] = e;
        sum += e;
    }

    const float inverse = 1 / sum;
    for (long i = 0; i < n; ++i) out[i] = scratch[i] * inverse;
}

}  // namespace

void softmax(const float* x, float* out, float* scratch, long rows, long n) {
    for (long row = 0; row < rows; ++row) softmax_row(x + row * n, out + row * n, scratch, n);
}
