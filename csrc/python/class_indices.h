// The classes of a loss's rows: checked, and as the kernels take them.
#pragma once

#include "python/array_view.h"
#include "python/compensated_sum.h"

namespace onesum {

// Class indices as the kernels take them, with -1 for `ignored`, and the weights of those that count, summed. False if
// one is out of range.
template <class T> bool read_classes(const ArrayView& given, const ArraySpec& spec, npy_intp count,
                                     const double* weight, bool ignores, isize ignored, isize* classes,
                                     double& counted) {
    const npy_intp n = spec.dims[spec.axis];
    npy_intp at[NPY_MAXDIMS] = {};
    const char* p = given.data;
    npy_intp rows = 0;
    CompensatedSum weights;
    for (npy_intp i = 0; i < count; ++i) {
        T y;
        memcpy(&y, p, sizeof y);
        if (ignores && isize(y) == ignored) {
            classes[i] = -1;
        } else {
            if (y < 0 || y >= n) return false;
            classes[i] = y;
            ++rows;
            if (weight) weights.add(i, weight[y]);
        }
        for (int d = spec.ndim - 1; d >= 0; --d) {
            if (d == spec.axis) continue;
            p += given.strides[d];
            if (++at[d] < spec.dims[d]) break;
            p -= given.strides[d] * spec.dims[d];
            at[d] = 0;
        }
    }
    counted = weight ? weights.total() : double(rows);
    return true;
}

// Class indices that can be taken as they are: neither y nor n - 1 - y is negative.
inline bool all_below(int64_t n, const int64_t* classes, npy_intp count) {
    typedef int64_t Lanes __attribute__((vector_size(64)));
    constexpr npy_intp lanes = 8;
    Lanes negative{};
    npy_intp i = 0;
    for (; i + lanes <= count; i += lanes) {
        Lanes y;
        memcpy(&y, classes + i, sizeof y);
        negative |= y | (n - 1 - y);
    }
    for (; i < count; ++i) negative[0] |= classes[i] | (n - 1 - classes[i]);
    for (int k = 1; k < lanes; ++k) negative[0] |= negative[k];
    return negative[0] >= 0;
}

}  // namespace onesum
