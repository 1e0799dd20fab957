// A small pool of threads that work on one job at a time: fork, join, nothing else.
#pragma once

namespace onesum {

// Calls task(context, i) once for every i in [0, tasks), on up to threads() threads of which the caller is one, and returns when all are done.
// A call from within a task, or while the pool works for another thread, runs serially on the caller.
void parallel(long tasks, void (*task)(void* context, long i), void* context);

// How many threads a job may have; at least 1.
int threads();
void set_threads(int n);

}  // namespace onesum
