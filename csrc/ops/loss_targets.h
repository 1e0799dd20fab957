// What the losses with targets have in common.
#pragma once

#include "ops/probabilities.h"

namespace {

// The target class of a row.
template <class W> ONESUM_INLINE typename W::Row::Chosen target_of(const RowBlock<W>& g, const typename W::Row& row) {
    if constexpr (W::vertical) return {g.targets.in_lanes - typename W::Int(g.walk.first)};
    else return {g.targets.classes[row.r] - g.walk.first};
}

// Whether the mask leaves nothing of a row.
template <class W> bool nothing_left(const RowBlock<W>& g, int k) {
    for (isize j = 0; g.mask.p && j < g.classes; ++j)
        if (g.mask.p[j * g.mask.class_stride + k * g.mask.row_stride]) return false;
    return g.mask.p;
}

// e q over 2^bias, for an e that is 2^bias too large, as exponentials and their sums are. The factor that is large
// takes the division, so that the other keeps its digits though it may be below the normal numbers.
inline Wide<float> unbiased_product(Wide<float> e, Wide<float> q) {
    return (e * q).scaled(Constants<float>::inv_scale_bias);
}
inline Wide<double> unbiased_product(Wide<double> e, Wide<double> q) {
    const f64v one = splat(1.0), inv_scale_bias = splat(Constants<double>::inv_scale_bias);
    const i64v large = (q.hi >= 1) | (q.hi <= -1);
    return e.scaled(large ? one : inv_scale_bias) * q.scaled(large ? inv_scale_bias : one);
}

// Adds z s (log sum)^2 to the losses; 2 z s (log sum).
template <class W> Wide<typename W::C> add_z_loss(RowBlock<W>& g, typename W::V m, Wide<typename W::C> log_sum) {
    using C = typename W::C;
    double log_sums[W::lanes], z_grad[W::lanes];
    wide_to(log_sums, log_sum);
    const double z = g.targets.options->z_loss;
    for (int k = 0; k < W::lanes; ++k) {
        const double s = g.targets.row_weight[k], top = m[k];
        double l = top - top == 0 ? log_sums[k] : top;
        if (l != l && top - top == 0) l = top * infinity;  // m / T is beyond a number
        if (s != 0) g.targets.losses[k] += z * s * l * l;
        z_grad[k] = s != 0 && top != -infinity ? 2 * z * s * l : 0;
    }
    return wide_from<C>(z_grad);
}

}  // namespace
