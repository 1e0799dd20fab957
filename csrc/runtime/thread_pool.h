// A small pool of threads that work on one job at a time: fork, join, nothing else.
#pragma once

#include "common/isize.h"

namespace onesum {

// Calls task(context, i) once for every i in [0, tasks), on up to threads() threads of which the caller is one, and
// returns when all are done. While the pool works, for this thread (a call from within a task) or for another, a call
// runs serially on the caller.
void parallel(isize tasks, void (*task)(void* context, isize i), void* context);

// How many threads a job may have; at least 1. Until set_threads() it is what machine.h finds.
int threads();
// How many a job would have that is given now: 1 while the pool works.
int free_threads();
void set_threads(int n);  // from 1 to most_threads, to which other numbers are brought
constexpr int most_threads = 1024;

// How many jobs the pool has been given, modulo 2^32. For tests.
unsigned jobs();

}  // namespace onesum
