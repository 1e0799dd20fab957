// One kernel call as a job for the pool.
#pragma once

#include "runtime/kernels.h"

namespace onesum {

struct Job {
    Kernel kernel;
    int operands;
    int size;  // bytes of an element
    CallOptions options;
};

// job.kernel(args, rows, n, strides, job.options), in chunks of rows side by side where that pays. The rows are
// independent: how they are cut has no part in the result. False: no memory; some rows may have been done.
bool run(const Job& job, char* const* args, isize rows, isize n, const isize* strides);

}  // namespace onesum
