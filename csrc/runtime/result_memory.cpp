#include "runtime/result_memory.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

#if defined(__linux__)
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "common/aligned.h"
#include "runtime/machine.h"

namespace onesum {
namespace {

std::atomic<isize> limit{-1};  // of what is kept, in bytes; -1: to be found out

}  // namespace

#if defined(__linux__)
namespace {

constexpr size_t huge_page = 2 << 20;

// What the system is told of a block: that it may have huge pages, which cost a fourth of small ones to get and are
// quickly given; and that nobody needs its content. The pages stay until memory is short, and who writes to them before
// that has them again without a fault.
void allow_huge_pages(void* data, size_t size) { madvise(data, size, MADV_HUGEPAGE); }
void offer(void* data, size_t size) { madvise(data, size, MADV_FREE); }

// Before the data, on a page of its own if they are mapped. Nothing that the memory is given back with needs to be
// believed.
struct alignas(line_bytes) Head {
    size_t size;  // of the data; of mapped ones, whole huge pages
    isize forks;  // how many there had been before
    bool mapped;
    char* data() { return reinterpret_cast<char*>(this + 1); }
};
Head* head_of(void* data) { return static_cast<Head*>(data) - 1; }

// Nothing here has a destructor: arrays may die as late as they like.
std::mutex mutex;                     // of the following three
Head* kept[tuning::most_blocks + 1];  // the last that came first; in the last place only what is about to go
int kept_blocks = 0;
size_t kept_bytes = 0;

std::atomic<isize> forks{0};

isize most_bytes() {
    isize none = -1;
    if (limit.load(std::memory_order_relaxed) < 0)
        limit.compare_exchange_strong(none, std::max<isize>(0, usable_memory() / tuning::kept_part),
                                      std::memory_order_relaxed);
    return limit.load(std::memory_order_relaxed);
}

size_t whole(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

void unmap(Head* head) {
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    munmap(head->data() - page, page + head->size);
}

// The data begin at a huge page. What was mapped to find one goes back.
Head* map(size_t size) {
    const isize forks_before = forks.load(std::memory_order_relaxed);
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), reserve = page + huge_page + size;
    void* reserved = mmap(nullptr, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) return nullptr;
    char* start = static_cast<char*>(reserved);
    const size_t before =
        whole(reinterpret_cast<uintptr_t>(start) + page, huge_page) - page - reinterpret_cast<uintptr_t>(start);
    char* data = start + before + page;
    if (before) munmap(start, before);
    if (const size_t after = reserve - before - page - size) munmap(data + size, after);
    allow_huge_pages(data, size);
    Head* head = head_of(data);
    *head = {size, forks_before, true};
    return head;
}

// Under the mutex: the block at i, which is no longer kept.
Head* take(int i) {
    Head* head = kept[i];
    kept_bytes -= head->size;
    std::copy(kept + i + 1, kept + kept_blocks--, kept + i);
    return head;
}

// The smallest kept block that fits and wastes little of itself, or null.
Head* find(size_t size) {
    std::lock_guard lock(mutex);
    int best = -1;
    for (int i = 0; i < kept_blocks; ++i)
        if (kept[i]->size >= size && kept[i]->size - size <= size / tuning::unused_part &&
            (best < 0 || kept[i]->size < kept[best]->size))
            best = i;
    return best < 0 ? nullptr : take(best);
}

// Keeps the block, and lets the oldest go until what is kept is within its limits.
void keep(Head* head) {
    Head* gone[tuning::most_blocks + 1];
    int count = 0;
    const size_t most = size_t(most_bytes());
    offer(head->data(), head->size);
    {
        std::lock_guard lock(mutex);
        if (head->forks != forks.load(std::memory_order_relaxed) || head->size > most) {
            gone[count++] = head;
        } else {
            std::copy_backward(kept, kept + kept_blocks, kept + kept_blocks + 1);
            kept[0] = head;
            ++kept_blocks;
            kept_bytes += head->size;
            while (kept_blocks > tuning::most_blocks || kept_bytes > most) gone[count++] = take(kept_blocks - 1);
        }
    }
    while (count) unmap(gone[--count]);
}

isize unmap_all() {
    const isize bytes = isize(kept_bytes);
    while (kept_blocks) unmap(take(kept_blocks - 1));
    return bytes;
}

// Nothing is kept across a fork, and nothing that parent and child have both had: to write to it would be to copy it,
// page by small page. The mutex is held meanwhile, so that the child finds it whole.
void before_fork() {
    mutex.lock();
    forks.fetch_add(1, std::memory_order_relaxed);
    unmap_all();
}
void after_fork() { mutex.unlock(); }
[[maybe_unused]] const int registered = pthread_atfork(before_fork, after_fork, after_fork);

}  // namespace

void* allocate(size_t size) {
    if (size > PTRDIFF_MAX - 2 * huge_page) return nullptr;
    Head* head;
    if (size < size_t(large_result)) {  // an array made while a large one is: by a finalizer that runs just then
        const size_t bytes = whole(size, alignof(Head));
        head = static_cast<Head*>(aligned_memory(sizeof(Head) + bytes));
        if (head) *head = {bytes, 0, false};
    } else {
        const size_t bytes = whole(size, huge_page);
        head = find(bytes);
        if (!head) head = map(bytes);
        if (!head && release_memory() > 0) head = map(bytes);  // there may be a limit to what is mapped
    }
    return head ? head->data() : nullptr;
}

void* allocate_zeros(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
    void* data = allocate(bytes);
    return data ? memset(data, 0, bytes) : nullptr;
}

void* reallocate(void* data, size_t size) {
    if (!data) return allocate(size);
    const size_t had = head_of(data)->size;
    if (size <= had && size >= had / 2) return data;
    void* moved = allocate(size);
    if (!moved) return nullptr;
    memcpy(moved, data, std::min(size, had));
    deallocate(data);
    return moved;
}

void deallocate(void* data) {
    if (!data) return;
    Head* head = head_of(data);
    if (head->mapped) keep(head);
    else release(head);
}

void allow_huge_pages_within(void* data, size_t size) {
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)),
                    first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page,
                    end = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
    if (end > first) allow_huge_pages(reinterpret_cast<void*>(first), end - first);
}

bool keeps_memory() { return limit.load(std::memory_order_relaxed) != 0; }

isize release_memory() {
    std::lock_guard lock(mutex);
    return unmap_all();
}
#else
// No other system was looked at: results are in NumPy's memory.
bool keeps_memory() { return false; }
void* allocate(size_t) { return nullptr; }
void* allocate_zeros(size_t, size_t) { return nullptr; }
void* reallocate(void*, size_t) { return nullptr; }
void deallocate(void*) {}
void allow_huge_pages_within(void*, size_t) {}
isize release_memory() { return 0; }
#endif

const char* memory_from_environment() {
    const char* text = getenv("ONESUM_KEEP_MEMORY");
    if (!text || !*text) return nullptr;
    char* end;
    const isize n = strtoll(text, &end, 10);  // what is too large is the largest
    if (end == text || n < 0) return text;
    while (*end == ' ') ++end;
    if (*end) return text;
    limit.store(n, std::memory_order_relaxed);
    return nullptr;
}

}  // namespace onesum
