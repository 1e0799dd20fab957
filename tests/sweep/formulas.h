// What the kernels compute, as plain formulas in long double: not for the last digits, but so that an answer of the
// wrong kind is found.
#pragma once

#include <cmath>
#include <vector>

#include "runtime/kernels.h"

#define ONESUM_INDEX(name, Op, operands) op_##name,
enum Op { ONESUM_OPERATIONS(ONESUM_INDEX) ONESUM_CHUNKS(ONESUM_INDEX) ONESUM_LOSSES(ONESUM_INDEX) };
#undef ONESUM_INDEX

using Real = long double;
using Reals = std::vector<Real>;

// One row: its operands as in kernels.h.
struct Row {
    Reals x, second;
    std::vector<char> mask;
    Real g = 1, temperature = 1, sample = 1, masses = 1, word = 1;
    isize target = -1;
    onesum::LossOptions options{};
};

// What comes of it, and how large the terms are of which it is a difference.
struct Result {
    Reals out, size;
    Real value = 0, value_size = 0;  // of the row: a number, or a loss
    Real words = 0;                  // of the row: a number in two words
};

namespace formulas {

inline Real sum(const Reals& a, const Reals& b) {
    Real s = 0;
    for (size_t j = 0; j < a.size(); ++j) s += a[j] == 0 ? 0 : a[j] * b[j];
    return s;
}
inline Real total(const Reals& a) { return sum(Reals(a.size(), 1), a); }
inline Real size_of_sum(const Reals& a, const Reals& b) {
    Real s = 0;
    for (size_t j = 0; j < a.size(); ++j) s += a[j] == 0 ? 0 : std::fabs(a[j] * b[j]);
    return s;
}

// p, log p and the logsumexp of logits over T, the masked ones left out.
struct Softmax {
    Reals p, log_p;
    Real log_sum = -HUGE_VALL;

    Softmax(const Reals& x, const std::vector<char>& mask, Real temperature)
        : p(x.size()), log_p(x.size(), -HUGE_VALL) {
        Real top = -HUGE_VALL, rest = 0;
        for (size_t j = 0; j < x.size(); ++j)
            if (mask[j]) top = std::fmax(top, x[j] / temperature);
        if (top == -HUGE_VALL) return;
        for (size_t j = 0; j < x.size(); ++j)
            if (mask[j]) rest += std::exp(x[j] / temperature - top);
        log_sum = top + std::log(rest);
        for (size_t j = 0; j < x.size(); ++j)
            if (mask[j]) log_p[j] = x[j] / temperature - log_sum, p[j] = std::exp(log_p[j]);
    }
};

// The derivatives that start from p or log p, whether or not the p sum to one: pivoted at the first largest.
inline Result derivative(Op op, const Row& row) {
    const size_t n = row.x.size();
    Reals p = row.x, w = row.second;
    size_t pivot = 0;
    for (size_t j = 0; j < n; ++j) pivot = row.x[j] > row.x[pivot] ? j : pivot;
    if (op != op_softmax_vjp)
        for (Real& q : p) q = std::exp(q);
    Result r{Reals(n), Reals(n)};
    if (n == 0) return r;
    if (op == op_log_softmax_vjp) {
        const Real all = total(w), size = size_of_sum(Reals(n, 1), w), at_pivot = w[pivot];
        for (size_t j = 0; j < n; ++j) r.out[j] = w[j] - p[j] * all, r.size[j] = std::fabs(w[j]) + p[j] * size;
        r.out[pivot] = at_pivot * (total(p) - p[pivot]) - p[pivot] * (all - at_pivot);
        r.size[pivot] += std::fabs(at_pivot) * total(p);
    } else {
        const Real at_pivot = w[pivot];
        for (Real& v : w) v -= at_pivot;
        const Real mean = sum(p, w), size = size_of_sum(p, w);
        for (size_t j = 0; j < n; ++j) {
            const Real factor = op == op_softmax_vjp ? p[j] : 1;
            r.out[j] = factor * (w[j] - mean), r.size[j] = factor * (std::fabs(w[j]) + std::fabs(at_pivot) + size);
        }
    }
    for (size_t j = 0; j < n; ++j) r.out[j] /= row.temperature, r.size[j] /= row.temperature;
    return r;
}

inline Result forward(Op op, const Row& row) {
    const size_t n = row.x.size();
    const Softmax s(row.x, row.mask, row.temperature);
    Result r{Reals(n), Reals(n)};
    for (size_t j = 0; j < n; ++j) {
        if (op == op_log_softmax)
            r.out[j] = s.log_p[j],
            r.size[j] = row.mask[j] ? std::fabs(row.x[j] / row.temperature) + std::fabs(s.log_sum) : 0;
        else r.out[j] = op == op_softmax ? s.p[j] : row.g * s.p[j] / row.temperature, r.size[j] = std::fabs(r.out[j]);
    }
    if (op == op_logsumexp) r.value = s.log_sum, r.value_size = std::fabs(s.log_sum) + 1;
    if (op == op_logsumexp_jvp)
        r.value = sum(s.p, row.second) / row.temperature, r.value_size = size_of_sum(s.p, row.second) / row.temperature;
    return r;
}

// The maximum is g, and word what multiplies or is subtracted.
inline Result chunk(Op op, const Row& row) {
    const size_t n = row.x.size();
    Result r{Reals(n), Reals(n)};
    if (op == op_normalizer) {
        r.value = -HUGE_VALL, r.words = -1;
        for (size_t j = 0; j < n; ++j)
            if (row.mask[j]) r.value = std::fmax(r.value, row.x[j]);
        for (size_t j = 0; j < n; ++j)
            if (row.mask[j]) r.words += std::exp((row.x[j] - r.value) / row.temperature);
        return r;
    }
    for (size_t j = 0; j < n; ++j) {
        const Real d = (row.x[j] - row.g) / row.temperature;
        if (op == op_shifted_exp) r.out[j] = row.mask[j] ? row.word * std::exp(d) : 0, r.size[j] = r.out[j];
        else r.out[j] = row.mask[j] ? d - row.word : -HUGE_VALL, r.size[j] = row.mask[j] ? std::fabs(d) + row.word : 0;
    }
    return r;
}

// The target's mass of every class, times s.
inline Reals masses(Op op, const Row& row) {
    const auto& o = row.options;
    const size_t n = row.x.size();
    Reals q(n);
    Real choices = 0;
    for (char inside : row.mask) choices += inside != 0;
    for (size_t j = 0; j < n; ++j) {
        if (op == op_soft_cross_entropy && row.mask[j])
            q[j] = o.smoothing / choices + (o.probabilities ? (1 - Real(o.smoothing)) * row.second[j] : 0);
        if (isize(j) == row.target) q[j] += op == op_soft_cross_entropy ? 1 - Real(o.smoothing) : 1;
        q[j] *= row.sample * (o.weight ? o.weight[j] : 1);
    }
    return q;
}

inline Result loss(Op op, const Row& row) {
    const auto& o = row.options;
    const size_t n = row.x.size();
    const Softmax s(row.x, row.mask, row.temperature);
    Result r{Reals(n), Reals(n)};
    if (row.target < 0 && !o.probabilities) return r;  // to be ignored
    if (o.wanted == onesum::wanted_entropy) {
        r.value = -sum(s.p, s.log_p), r.value_size = size_of_sum(s.p, s.log_p) + 1e-3L;
        return r;
    }
    const Reals q = masses(op, row);
    const Real all = total(q);
    r.value = r.value_size = all;
    if (o.wanted == onesum::wanted_masses) return r;
    const Real level = std::fabs(s.log_sum) + 1, slope = 2 * o.z_loss * row.sample * s.log_sum;
    r.value = o.z_loss * row.sample * s.log_sum * s.log_sum - sum(q, s.log_p);
    r.value_size = o.z_loss * row.sample * level * level + all * level + size_of_sum(q, row.x) / row.temperature;
    for (size_t j = 0; j < n; ++j) {
        r.out[j] = o.grad_scale * ((all + slope) * s.p[j] - q[j]) / row.temperature;
        r.size[j] = std::fabs(o.grad_scale) * ((all + std::fabs(slope)) * s.p[j] + q[j]) / row.temperature;
    }
    return r;
}

inline Result divergence(const Row& row) {
    const auto& o = row.options;
    const size_t n = row.x.size();
    const Softmax a(row.x, row.mask, row.temperature), b(row.second, row.mask, row.temperature);
    Result r{Reals(n), Reals(n)};
    for (size_t j = 0; j < n; ++j)
        if (a.p[j] > 0)
            r.value += a.p[j] * (a.log_p[j] - b.log_p[j]),
                r.value_size += a.p[j] * (std::fabs(a.log_p[j]) + std::fabs(b.log_p[j]));
    for (size_t j = 0; j < n; ++j) {
        if (!row.mask[j]) continue;
        const Real u = a.log_p[j] - b.log_p[j];
        r.out[j] = o.grad_scale / row.temperature *
                   (o.by_second   ? b.p[j] - a.p[j]
                    : a.p[j] == 0 ? 0
                                  : a.p[j] * (u - r.value));
        r.size[j] = std::fabs(o.grad_scale) / row.temperature *
                    (o.by_second ? b.p[j] + a.p[j] : a.p[j] * (std::fabs(u) + r.value_size));
    }
    return r;
}

inline Result hessian(const Row& row) {
    const auto& o = row.options;
    const size_t n = row.x.size();
    const Softmax s(row.x, row.mask, row.temperature);
    Result r{Reals(n), Reals(n)};
    if (row.target < 0 && !o.probabilities) return r;
    const Real b = 2 * o.z_loss * row.sample, a = row.masses + b * s.log_sum, mean = sum(s.p, row.second),
               size = size_of_sum(s.p, row.second);
    const Real factor = o.grad_scale / row.temperature / row.temperature;
    for (size_t j = 0; j < n; ++j) {
        const Real v = s.p[j] == 0 ? 0 : row.second[j];
        r.out[j] = factor * s.p[j] * (a * (v - mean) + b * mean);
        r.size[j] = std::fabs(factor) * s.p[j] *
                    ((std::fabs(row.masses) + std::fabs(b * s.log_sum)) * (std::fabs(v) + size) + std::fabs(b) * size);
    }
    return r;
}

Result capped(Op op, Row row);

}  // namespace formulas

inline Result expected(Op op, const Row& row) {
    if (row.options.softcap != 0) return formulas::capped(op, row);
    switch (op) {
        case op_softmax_vjp:
        case op_log_softmax_vjp:
        case op_log_softmax_jvp: return formulas::derivative(op, row);
        case op_normalizer:
        case op_shifted_exp:
        case op_shifted_logits: return formulas::chunk(op, row);
        case op_cross_entropy:
        case op_soft_cross_entropy: return formulas::loss(op, row);
        case op_kl_divergence: return formulas::divergence(row);
        case op_cross_entropy_hvp: return formulas::hessian(row);
        default: return formulas::forward(op, row);
    }
}

// Of logits that become c tanh(x / c) first: the derivatives are those by x.
inline Result formulas::capped(Op op, Row row) {
    const size_t n = row.x.size();
    const Real c = row.options.softcap;
    row.options.softcap = 0;
    const Reals v = row.second;
    Reals slope(n);
    for (size_t j = 0; j < n; ++j) {
        const Real sech = 1 / std::cosh(row.x[j] / c);
        slope[j] = sech * sech, row.x[j] = c * std::tanh(row.x[j] / c);
        if (op == op_cross_entropy_hvp) row.second[j] = slope[j] == 0 ? 0 : slope[j] * v[j];
    }
    Result r = expected(op, row);
    if (op == op_cross_entropy_hvp) {
        const Result gradient = expected(op_cross_entropy, row);
        for (size_t j = 0; j < n; ++j) {
            const Real bend = gradient.out[j] == 0 ? 0 : -2 * row.x[j] / c / c * v[j];
            r.out[j] += bend * gradient.out[j], r.size[j] += std::fabs(bend * gradient.size[j]);
        }
    }
    for (size_t j = 0; j < n; ++j) r.out[j] = slope[j] == 0 ? 0 : r.out[j] * slope[j], r.size[j] *= slope[j];
    return r;
}
