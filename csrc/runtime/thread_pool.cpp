#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#endif

#include "common/tuning.h"
#include "runtime/machine.h"

namespace onesum {
namespace {

// Nothing here has a destructor and the workers are detached: at exit they sleep, or do what they were given, until the
// process is gone.

std::atomic<int> wanted_threads{0};  // 0: to be found out
std::atomic<bool> busy{
    false};  // who sets it owns the pool: what follows up to `unfinished`, and the right to start workers

int workers = 0;  // how many are running
struct {
    void (*task)(void*, isize);
    void* context;
    isize tasks, share;  // how many, and how many are taken at a time
    // The caller's rounding and flushing of denormals, so that the bits are the same whoever does the task.
    std::fenv_t environment;
} job;

// The generation of the job in the upper half; in the lower which shares of its tasks nobody has taken yet: the first
// of them, and the one after the last, in 16 bits each. Who takes one may read `job`: it stays as it is until that
// share is finished. Who comes late finds another generation or no tasks, and has read nothing else.
//
// The caller takes from the front and its first helper from the back: in the next call on the same arrays each finds
// the rows it had in its own cache.
std::atomic<uint64_t> untaken{0};
constexpr isize most_shares = 0xffff;

uint32_t first_of(uint64_t word) { return uint32_t(word) >> 16; }
uint32_t end_of(uint64_t word) { return uint32_t(word) & 0xffff; }
std::atomic<int> unfinished{0};

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Returns when the word is no longer `old`, and what it is then. The next job or the last task often comes within
// microseconds, in which case to sleep would cost more than to wait; but the CPU is offered to whoever needs it.
template <class T, class Yield, class Sleep>
T changed(const std::atomic<T>& word, T old, isize patience, Yield yield, Sleep sleep) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(patience);
    for (int i = 0; word.load(std::memory_order_acquire) == old; ++i) {
        if (i < tuning::looks_without_clock) {
            pause();
        } else if (std::chrono::steady_clock::now() < end) {
            yield();
        } else {
            sleep();
        }
    }
    return word.load(std::memory_order_acquire);
}

// On the CPU of who wakes it a worker stands in line for milliseconds, until the system finds that another CPU is idle.
// That is where a sleeper is often woken, and where one that waits may have come to be. So that one CPU is forbidden to
// it until it has seen its job.
struct alignas(64) Worker {
    static constexpr int nowhere = -1, anywhere = -2;
    std::atomic<uint32_t> called{0};  // the generation it is to help with; every worker is woken for itself
    std::atomic<int> cpu{nowhere};    // where it waits; anywhere: asleep
    std::atomic<bool> confined{false};
#if !defined(_WIN32)
    pthread_t id;
#endif

#if defined(__linux__)
    uint32_t next(uint32_t generation) {
        cpu_set_t allowed;
        const bool known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
        generation = changed(
            called, generation, tuning::until_next_job,
            [&] {
                cpu.store(sched_getcpu(), std::memory_order_relaxed);
                std::this_thread::yield();
            },
            [&] {
                cpu.store(anywhere, std::memory_order_relaxed);
                called.wait(generation, std::memory_order_acquire);
            });
        cpu.store(nowhere, std::memory_order_relaxed);
        if (confined.exchange(false, std::memory_order_relaxed) && known)
            sched_setaffinity(0, sizeof allowed, &allowed);
        return generation;
    }

    void wake(uint32_t generation) {
        cpu_set_t others;
        const int here = sched_getcpu(), there = cpu.load(std::memory_order_relaxed);
        if ((there == anywhere || there == here) && here >= 0 && here < CPU_SETSIZE &&
            sched_getaffinity(0, sizeof others, &others) == 0) {
            CPU_CLR(here, &others);
            if (CPU_COUNT(&others) > 0) {
                confined.store(true, std::memory_order_relaxed);
                pthread_setaffinity_np(id, sizeof others, &others);
            }
        }
        called.store(generation, std::memory_order_release);
        called.notify_one();
    }
#else
    uint32_t next(uint32_t generation) {
        return changed(
            called, generation, tuning::until_next_job, [] { std::this_thread::yield(); },
            [&] { called.wait(generation, std::memory_order_acquire); });
    }

    void wake(uint32_t generation) {
        called.store(generation, std::memory_order_release);
        called.notify_one();
    }
#endif
} worker[most_threads - 1];

// Takes shares of one generation until there are none.
void work(uint32_t generation, bool as_caller, bool from_back) {
    uint64_t now = untaken.load(std::memory_order_acquire);
    while (uint32_t(now >> 32) == generation && first_of(now) < end_of(now)) {
        const isize share = from_back ? end_of(now) - 1 : first_of(now);
        if (!untaken.compare_exchange_weak(now, from_back ? now - 1 : now + (1 << 16), std::memory_order_acquire))
            continue;
        if (!as_caller) std::fesetenv(&job.environment);
        for (isize i = share * job.share, end = std::min(i + job.share, job.tasks); i < end; ++i)
            job.task(job.context, i);
        if (unfinished.fetch_sub(1, std::memory_order_release) == 1) unfinished.notify_one();
        now = untaken.load(std::memory_order_acquire);
    }
}

void* live(void* argument) {
    Worker& self = *static_cast<Worker*>(argument);
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "onesum");
#endif
    for (uint32_t generation = 0;;) {
        generation = self.next(generation);
        work(generation, false, (&self - worker) % 2 == 0);
    }
    return nullptr;
}

// Starts workers until there are n, or as many as the system allows.
#if defined(_WIN32)
void start_workers(int n) {
    try {
        for (; workers < n; ++workers) std::thread(live, &worker[workers]).detach();
    } catch (const std::system_error&) {
    }
}
#else
// Signals go to the threads that Python knows of; only faults of a worker are its own.
void start_workers(int n) {
    if (workers >= n) return;
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    for (; workers < n && pthread_create(&worker[workers].id, nullptr, live, &worker[workers]) == 0; ++workers)
        pthread_detach(worker[workers].id);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Of a forked process's threads only the one that forked goes on. A job that another thread was at is none of the
// child's.
void after_fork_in_child() {
    for (int i = 0; i < workers; ++i) {
        worker[i].cpu.store(Worker::nowhere, std::memory_order_relaxed);
        worker[i].confined.store(false, std::memory_order_relaxed);
    }
    workers = 0;
    untaken.store(uint64_t(jobs()) << 32, std::memory_order_relaxed);
    busy.store(false, std::memory_order_relaxed);
}
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
#endif

}  // namespace

void parallel(isize tasks, void (*task)(void*, isize), void* context) {
    const int team = threads();
    if (tasks < 2 || team < 2 || busy.exchange(true, std::memory_order_acquire)) {
        for (isize i = 0; i < tasks; ++i) task(context, i);
        return;
    }
    const int helpers = int(std::min<isize>(tasks, team)) - 1;
    start_workers(helpers);
    job.task = task;
    job.context = context;
    job.tasks = tasks;
    job.share = (tasks - 1) / most_shares + 1;
    const int shares = int((tasks - 1) / job.share + 1);
    std::fegetenv(&job.environment);
    const uint32_t generation = jobs() + 1;
    unfinished.store(shares, std::memory_order_relaxed);
    untaken.store(uint64_t(generation) << 32 | uint64_t(shares), std::memory_order_release);
    for (int i = 0; i < helpers && i < workers; ++i) worker[i].wake(generation);
    work(generation, true, false);
    for (int left = unfinished.load(std::memory_order_acquire); left > 0;)
        left = changed(
            unfinished, left, tuning::until_last_task, [] { std::this_thread::yield(); },
            [&] { unfinished.wait(left, std::memory_order_acquire); });
    busy.store(false, std::memory_order_release);
}

int threads() {
    if (const int n = wanted_threads.load(std::memory_order_relaxed)) return n;
    int none = 0;  // or what another thread has set meanwhile
    wanted_threads.compare_exchange_strong(none, std::min(usable_cpus(), most_threads), std::memory_order_relaxed);
    return wanted_threads.load(std::memory_order_relaxed);
}

int free_threads() { return busy.load(std::memory_order_relaxed) ? 1 : threads(); }

void set_threads(int n) { wanted_threads.store(std::clamp(n, 1, most_threads), std::memory_order_relaxed); }

unsigned jobs() { return unsigned(untaken.load(std::memory_order_relaxed) >> 32); }

}  // namespace onesum

#if defined(_WIN32)
#define ONESUM_EXPORT __declspec(dllexport)
#else
#define ONESUM_EXPORT __attribute__((visibility("default")))
#endif

// By these two threadpoolctl knows the library (_threads.py).
extern "C" {
ONESUM_EXPORT int onesum_get_num_threads() { return onesum::threads(); }
ONESUM_EXPORT void onesum_set_num_threads(int n) { onesum::set_threads(n); }
}
