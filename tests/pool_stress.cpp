// The pool, and how calls are split for it: every task runs exactly once.
//   alone       one caller: no more threads than it may have, and calls from within tasks stay on theirs
//   many        more tasks than the pool has room for one by one
//   meet        two tasks that wait for each other, after the workers fell asleep
//   callers     several callers at once, nested calls, changing numbers of threads
//   fork        forks meanwhile; the children use the pool too
//   few         a system that has no more threads to give
//   split       how a kernel call is cut
//   cpus ROOT   prints usable_cpus(ROOT)
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/tuning.h"
#include "runtime/machine.h"
#include "runtime/parallel_rows.h"
#include "runtime/thread_pool.h"
#include "stress.h"

namespace {

// Plain counts: what orders the tasks before the caller's reading of them is the pool alone.
struct Counts {
    std::vector<int> of;
    std::vector<std::thread::id> by;
    std::thread::id caller = std::this_thread::get_id();
    pid_t process = getpid();
    bool nested = false, alone = false;  // make calls of their own; while nobody else does
    explicit Counts(isize tasks) : of(size_t(tasks)), by(size_t(tasks)) {}
    void check() const {
        for (int n : of) expect(n == 1, "a task did not run once");
    }
};

std::atomic<isize> helped{0};  // tasks that a worker did

struct Inner {
    bool alone;
    std::thread::id caller = std::this_thread::get_id();
    Counts counts{7};
};

void count_inner(void* context, isize i) {
    Inner& inner = *static_cast<Inner*>(context);
    expect(!inner.alone || std::this_thread::get_id() == inner.caller, "a nested call left its thread");
    ++inner.counts.of[size_t(i)];
}

void count(void* context, isize i) {
    Counts& counts = *static_cast<Counts*>(context);
    expect(getpid() == counts.process, "a child did a task of its parent's");
    if (counts.nested) {
        Inner inner{counts.alone};
        onesum::parallel(7, count_inner, &inner);
        inner.counts.check();
    }
    ++counts.of[size_t(i)];
    counts.by[size_t(i)] = std::this_thread::get_id();
    if (std::this_thread::get_id() != counts.caller) ++helped;
    if (i % 8 == 0) std::this_thread::yield();  // leave some to the others
}

void rounds(int n, unsigned seed) {
    std::mt19937 random(seed);
    while (n-- > 0) {
        Counts counts(isize(random() % 40));
        counts.nested = random() % 4 == 0;
        if (random() % 8 == 0) onesum::set_threads(int(1 + random() % 6));
        if (random() % 32 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // the workers fall asleep
        onesum::parallel(isize(counts.of.size()), count, &counts);
        counts.check();
    }
}

void alone() {
    for (int i = 0; i < 3000; ++i) {
        onesum::set_threads(2 + i % 5);
        Counts counts(20);
        counts.nested = counts.alone = true;
        onesum::parallel(20, count, &counts);
        counts.check();
        expect(int(std::set(counts.by.begin(), counts.by.end()).size()) <= onesum::threads(),
               "too many threads took part");
    }
    expect(onesum::jobs() == 3000, "a nested call was a job for the pool, or an outer one was not");
}

void many() {
    for (isize tasks : std::initializer_list<isize>{65535, 65536, 70001, 131071, 200000}) {
        onesum::set_threads(3);
        Counts counts(tasks);
        onesum::parallel(tasks, count, &counts);
        counts.check();
    }
}

// Neither of the two ends before the other has begun: a worker that nobody wakes is waited for in vain.
void meet() {
    onesum::set_threads(2);
    for (int i = 0; i < 200; ++i) {
        std::atomic<int> begun{0};
        if (i % 2) std::this_thread::sleep_for(std::chrono::microseconds(20 * onesum::tuning::until_next_job));
        onesum::parallel(
            2,
            [](void* context, isize) {
                auto& begun = *static_cast<std::atomic<int>*>(context);
                ++begun;
                while (begun < 2) std::this_thread::yield();  // who runs this gives up on it after a while
            },
            &begun);
    }
}

void several_callers(int n) {
    do {
        std::vector<std::thread> callers;
        for (unsigned seed = 1; seed <= 3; ++seed) callers.emplace_back(rounds, n, seed);
        for (std::thread& caller : callers) caller.join();
    } while (helped == 0);  // who runs this gives up on it after a while
}

void forks() {
    std::thread busy(several_callers, 20000);
    for (unsigned i = 0; i < 50; ++i) {
        const pid_t child = fork();
        expect(child >= 0, "fork failed");
        if (child == 0) {
            alarm(60);  // a deadlock ends here
            const unsigned before = onesum::jobs();
            helped = 0;
            onesum::set_threads(16);
            for (unsigned seed = i; helped == 0; ++seed) rounds(100, seed);
            expect(onesum::jobs() != before, "a serial call was helped");
            std::_Exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed");
    }
    busy.join();
}

void few() {
    rlimit none{1, 1};
    setrlimit(RLIMIT_AS, &none);  // no room for a stack
    onesum::set_threads(4);
    Counts counts(10);
    onesum::parallel(10, count, &counts);
    counts.check();
}

// A kernel of two operands: adds one to every row's number, and has no memory for a row that begins with -1.
std::atomic<isize> calls{0}, odd{0};  // odd: how many calls were not for whole tiles
bool count_rows(char* const* args, isize rows, isize n, const isize* strides, const onesum::CallOptions&) {
    ++calls;
    if (rows % onesum::tuning::rows_of_tiles != 0) ++odd;
    bool memory = n >= 0;
    for (isize i = 0; i < rows; ++i) {
        memory &= *reinterpret_cast<signed char*>(args[0] + i * strides[0]) != -1;
        ++*reinterpret_cast<int*>(args[1] + i * strides[1]);
    }
    return memory;
}

// How many calls the rows are cut into.
isize cut(isize rows, isize n, bool memory = true) {
    std::vector<signed char> first(size_t(rows) * 3);  // every third byte
    std::vector<int> second(static_cast<size_t>(rows));
    if (!memory) first[size_t(rows / 2) * 3] = -1;
    char* args[] = {reinterpret_cast<char*>(first.data()), reinterpret_cast<char*>(second.data() + rows - 1)};
    const isize strides[] = {3, -isize(sizeof(int)), 1};  // of rows, one of them backwards; of the classes of the first
    calls = odd = 0;
    expect(onesum::run({count_rows, 2, 1, {}}, args, rows, n, strides) == memory, "wrong about memory");
    for (int row : second) expect(row == 1, "a row was not done once");
    return calls;
}

void split() {
    constexpr isize least = 2 * onesum::tuning::least_chunk / 1000, long_row = onesum::tuning::long_row;
    onesum::set_threads(1);
    expect(cut(100000, 1000) == 1, "cut for one thread");
    onesum::set_threads(4);
    expect(cut(least - 1, 1000) == 1 && cut(1, 1000000) == 1 && cut(0, 10) == 1 && cut(10, 0) == 1,
           "cut what is small");
    expect(cut(7, long_row) == 1, "cut a few isize rows");
    expect(cut(7, long_row - 1) == 7, "left rows that are not isize to one thread");
    expect(cut(8, long_row) == 8, "did not cut rows enough for all");
    expect(cut(least, 1000) == 2, "did not cut what is just large enough");
    for (isize rows : {1000, 4096, 100001}) {
        const isize chunks = cut(rows, 1000);
        expect(chunks >= 16 && chunks <= 40, "not a few chunks for each thread");
        expect(rows < 4096 || odd <= 1, "cut through tiles");
        cut(rows, 1000, false);
    }
}

}  // namespace

void stress_pool(const char* mode, const char* argument) {
    if (!std::strcmp(mode, "alone")) alone();
    if (!std::strcmp(mode, "many")) many();
    if (!std::strcmp(mode, "meet")) meet();
    if (!std::strcmp(mode, "callers")) several_callers(3000);
    if (!std::strcmp(mode, "fork")) forks();
    if (!std::strcmp(mode, "few")) few();
    if (!std::strcmp(mode, "split")) split();
    if (!std::strcmp(mode, "cpus")) std::printf("%d\n", onesum::usable_cpus(argument));
}
