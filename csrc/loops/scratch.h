// Memory for the time of a call.
#pragma once

#include <cstring>
#include <type_traits>

#include "common/aligned.h"
#include "common/tuning.h"

namespace {

struct InPlace { void* room; };

}  // namespace

// The standard library's would be a function that the instruction sets share.
__attribute__((always_inline)) inline void* operator new(size_t, InPlace at) noexcept { return at.room; }

namespace {

// Memory for vectors, or null; to be released.
inline char* memory_of(size_t bytes) { return static_cast<char*>(aligned_memory(bytes)); }

// Puts an object where there is room for it; or makes it there, which spares copying a large one.
template <class T> void put(T* room, const T& made) {
    static_assert(std::is_trivially_copyable_v<T>);
    memcpy(static_cast<void*>(room), &made, sizeof made);
}

template <class T, class... Args> void make(void* room, const Args&... args) {
    static_assert(std::is_trivially_copyable_v<T>);
    new (InPlace{room}) T(args...);
}

// Room for a call: on the stack where it is little. Aligned for vectors.
class Scratch {
  public:
    explicit Scratch(size_t bytes) { p = bytes <= sizeof local ? local : heap = memory_of(bytes); }
    ~Scratch() { release(heap); }
    Scratch(const Scratch&) = delete;
    explicit operator bool() const { return p; }
    char* at(size_t offset) const { return p + offset; }

  private:
    alignas(64) char local[onesum::tuning::stack_scratch];
    char* heap = nullptr;
    char* p;
};

}  // namespace
