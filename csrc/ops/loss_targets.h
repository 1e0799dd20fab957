// What the losses with targets have in common.
#pragma once

#include "ops/probabilities.h"

namespace {

// The class that the loss of a row aims at.
template <class W> ONESUM_INLINE typename W::Row::Chosen aimed_at(const Group<W>& g, const typename W::Row& row) {
    if constexpr (W::across) return {g.aims.in_lanes - typename W::Int(g.walk.first)};
    else return {g.aims.classes[row.r] - g.walk.first};
}

// Whether the mask leaves nothing of a row.
template <class W> bool nothing_left(const Group<W>& g, int k) {
    for (isize j = 0; g.mask.p && j < g.classes; ++j)
        if (g.mask.p[j * g.mask.along + k * g.mask.across]) return false;
    return g.mask.p;
}

// e q for an e that is 2^bias too large, as sums of exponentials are, and they themselves: a q from 1 on makes up for that, so that no digits of an e below the normal
// numbers are lost; elsewhere e does.
inline Wide<float> unbiased_product(Wide<float> e, Wide<float> q) { return (e * q).scaled(Constants<float>::unbias); }
inline Wide<double> unbiased_product(Wide<double> e, Wide<double> q) {
    const f64v one = splat(1.0), unbias = splat(Constants<double>::unbias);
    const i64v large = (q.hi >= 1) | (q.hi <= -1);
    return e.scaled(large ? one : unbias) * q.scaled(large ? unbias : one);
}

// Adds z s (log sum)^2 to the losses; 2 z s (log sum).
template <class W> Wide<typename W::C> add_z_loss(Group<W>& g, typename W::V m, Wide<typename W::C> log_sum) {
    using C = typename W::C;
    double log_sums[W::lanes], rising[W::lanes];
    wide_to(log_sums, log_sum);
    const double z = g.aims.options->z_loss;
    for (int k = 0; k < W::lanes; ++k) {
        const double s = g.aims.sample[k], top = m[k];
        double l = top - top == 0 ? log_sums[k] : top;
        if (l != l && top - top == 0) l = top * infinity;  // m / T is beyond a number
        if (s != 0) g.aims.losses[k] += z * s * l * l;
        rising[k] = s != 0 && top != -infinity ? 2 * z * s * l : 0;
    }
    return wide_from<C>(rising);
}

}  // namespace
