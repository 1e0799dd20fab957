// Memory that begins where a line of the caches does, for vectors; null if there is none. Each object has functions of
// its own (ops/kernels.cpp).
#pragma once

#include <cstddef>
#include <cstdlib>

#if defined(_WIN32)
#include <malloc.h>
#endif

namespace {

constexpr size_t line_bytes = 64;

constexpr size_t whole_lines(size_t bytes) { return (bytes + line_bytes - 1) / line_bytes * line_bytes; }

inline void* aligned_memory(size_t bytes) {
#if defined(_WIN32)
    return _aligned_malloc(bytes, line_bytes);
#else
    return aligned_alloc(line_bytes, whole_lines(bytes));
#endif
}

inline void release(void* memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    free(memory);
#endif
}

}  // namespace
