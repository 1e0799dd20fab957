// How many CPUs and how much memory there are for us, and what the environment says of threads.
#pragma once

#include "common/isize.h"

namespace onesum {

// The CPUs that this process may run on, no more of them than the quota of its cgroup comes to (rounded up); at
// least 1. What /proc and /sys say is read under `root`, so that a test can say something else.
int usable_cpus(const char* root = "");

// The bytes of memory that the machine has, no more of them than our cgroup may use. On Linux.
isize usable_memory(const char* root = "");

// Gives the pool the number of threads in ONESUM_NUM_THREADS, or else in OMP_NUM_THREADS (the first, if it is a list);
// without them, or if the latter makes no sense, nothing happens. The value of ONESUM_NUM_THREADS if that makes no
// sense, otherwise null.
const char* threads_from_environment();

}  // namespace onesum
