// Sums of doubles beside which no rounding is felt.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/tuning.h"
#include "runtime/thread_pool.h"

namespace onesum {

// A sum, as good as if twice the digits had been kept. Term i goes to lane i mod 8, so that several are added at once;
// terms of 0 may be left out.
class CompensatedSum {
  public:
    static constexpr int lanes = 8;
    typedef double Lanes __attribute__((vector_size(8 * lanes)));

    void add(const Lanes& terms) {
        const Lanes s = sum + terms, part = s - sum;
        rest += (sum - (s - part)) + (terms - part);
        sum = s;
    }
    void add(isize i, double term) {
        Lanes terms{};
        terms[i % lanes] = term;
        add(terms);
    }
    void add(const double* x, isize count) {
        isize i = 0;
        for (; i + lanes <= count; i += lanes) {
            Lanes terms;
            memcpy(&terms, x + i, sizeof terms);
            add(terms);
        }
        for (; i < count; ++i) add(i, x[i]);
    }
    void add(const CompensatedSum& other) {
        add(other.sum);
        rest += other.rest;
    }
    double total() {
        double others = 0;
        for (int k = 1; k < lanes; ++k) add(0, sum[k]), others += rest[k];
        const double all = rest[0] + others;
        return std::isfinite(all) ? sum[0] + all : sum[0];
    }

  private:
    Lanes sum{}, rest{};
};
// Many numbers in parts, always the same ones, which the threads share.
inline double sum_of(const double* x, isize count) {
    constexpr int parts = tuning::parts_of_a_sum;
    struct Job {
        const double* x;
        isize count, part;
        CompensatedSum sums[parts];
    } job{x,
          count,
          count < tuning::least_summed_in_parts ? count
                                                : (count / parts / CompensatedSum::lanes + 1) * CompensatedSum::lanes,
          {}};
    const auto sum_part = [](void* context, isize i) {
        Job& job = *static_cast<Job*>(context);
        job.sums[i].add(job.x + i * job.part, std::min(job.part, job.count - i * job.part));
    };
    if (count > 0) parallel((count - 1) / job.part + 1, sum_part, &job);
    for (isize i = 1; i < parts; ++i) job.sums[0].add(job.sums[i]);
    return job.sums[0].total();
}

}  // namespace onesum
