// The error of csrc/numerics/exp.h's exponential over every float32 from -104 to 0: all for which exp is a normal or subnormal number.
//
// Prints the largest error in ulps of the parts 1 + hi + lo before rounding, of the rounded result where it is normal, and of the subnormal results
// (in units of the least one). The reference is the C library's exp in double, good to 2^-52. The program fails above the bounds found when it was
// written, rounded up.
#include <cmath>
#include <cstdio>

#include "numerics/exp.h"

int main() {
    constexpr int lanes = Vec<float>::lanes;
    const uint32_t last = 0x42d00000;  // bits of 104
    double worst_parts = 0, worst_normal = 0, worst_subnormal = 0;
    uint64_t count = 0;
    for (uint32_t first = 0; first <= last; first += lanes) {
        float x[lanes], hi[lanes], lo[lanes], scale[lanes], rounded[lanes];
        for (int k = 0; k < lanes; ++k) x[k] = -bit_cast<float>(first + k <= last ? first + k : last);
        f32v v;
        memcpy(&v, x, sizeof v);
        const auto e = exp_parts<true>(v, f32v{}, magic_bias_for(f32v{}));
        const f32v product = fma(e.scale, e.tail(), e.scale) * Constants<float>::inv_scale_bias;
        memcpy(hi, &e.hi, sizeof hi);
        memcpy(lo, &e.lo, sizeof lo);
        memcpy(scale, &e.scale, sizeof scale);
        memcpy(rounded, &product, sizeof rounded);
        for (int k = 0; k < lanes; ++k, ++count) {
            const double truth = std::exp(double(x[k]));
            if (truth >= 0x1p-126) {
                const double ulp = std::ldexp(1.0, std::ilogb(truth) - 23);
                const double parts = (1.0 + hi[k] + double(lo[k])) * scale[k] * 0x1p-64;
                worst_parts = std::fmax(worst_parts, std::fabs(parts - truth) / ulp);
                worst_normal = std::fmax(worst_normal, std::fabs(rounded[k] - truth) / ulp);
            } else {
                worst_subnormal = std::fmax(worst_subnormal, std::fabs(rounded[k] - truth) / 0x1p-149);
            }
        }
    }
    std::printf("%llu arguments: parts %.4f ulp, rounded %.4f ulp, subnormal %.4f\n", (unsigned long long)count, worst_parts, worst_normal,
                worst_subnormal);
    return !(worst_parts <= 0.08 && worst_normal <= 0.59 && worst_subnormal <= 0.78);
}
