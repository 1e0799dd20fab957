// Arrays of exactly the size they have: the page after the last byte, or before the first, cannot be touched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(_WIN32)
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#undef far
#undef near
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "common/isize.h"

// Memory that may be used, between two pages that may not.
inline char* between_forbidden_pages(size_t page, size_t size) {
#if defined(_WIN32)
    DWORD before;
    char* const reserved =
        static_cast<char*>(VirtualAlloc(nullptr, size + 2 * page, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS));
    if (!reserved || !VirtualProtect(reserved + page, size, PAGE_READWRITE, &before)) std::abort();
#else
    void* const mapped = mmap(nullptr, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED || mprotect(static_cast<char*>(mapped) + page, size, PROT_READ | PROT_WRITE)) std::abort();
    char* const reserved = static_cast<char*>(mapped);
#endif
    return reserved + page;
}
inline size_t page_size() {
#if defined(_WIN32)
    return 4096;
#else
    return size_t(sysconf(_SC_PAGESIZE));
#endif
}

// Memory between two such pages. (Where an array lies at the end, an element too far after it is found, by vectors
// under a mask too, which no sanitizer sees; where it lies at the start, one before it.)
class Arena {
  public:
    Arena() {
        const size_t size = size_t(16) << 20;  // of which only what is used takes memory
        first = between_forbidden_pages(page_size(), size);
        last = first + size;
    }
    char* place(size_t bytes, bool at_end) const {
        if (bytes > size_t(last - first)) std::abort();
        return at_end ? last - bytes : first;
    }
    char* begin() const { return first; }
    char* end() const { return last; }

  private:
    char *first, *last;
};

// `rows` times n elements in an arena, from one to the next by strides in bytes. What lies between them, and before and
// behind, has a content of its own.
class Array {
  public:
    isize rows = 0, n = 0, size = 0, class_stride = 0, row_stride = 0;

    Array(const Arena& arena, isize rows, isize n, isize size, isize class_stride, isize row_stride, bool at_end)
        : rows(rows), n(n), size(size), class_stride(class_stride), row_stride(row_stride) {
        isize before = 0, after = 0;
        if (rows > 0 && n > 0) {
            for (isize reach : {(n - 1) * class_stride, (rows - 1) * row_stride})
                (reach < 0 ? before : after) += std::abs(reach);
            after += size;
        }
        char* const place = arena.place(size_t(before + after), at_end);
        p = place + before;
        begin = std::max(arena.begin(), place - margin);
        end = std::min(arena.end(), place + before + after + margin);
        memset(begin, 0xa5, size_t(end - begin));
    }
    char* data() const { return p; }
    char* at(isize row, isize j = 0) const { return p + row * row_stride + j * class_stride; }

    // The elements, row by row; and into the array.
    std::vector<char> packed() const {
        std::vector<char> all(size_t(rows * n * size));
        for (isize i = 0; i < rows * n; ++i) memcpy(all.data() + i * size, at(i / n, i % n), size_t(size));
        return all;
    }
    void fill(const std::vector<char>& elements) {
        for (isize i = 0; i < rows * n; ++i) memcpy(at(i / n, i % n), elements.data() + i * size, size_t(size));
    }
    void remember() { before.assign(begin, end); }
    // Nothing was written since remember(), but for elements if `elements`.
    bool intact(bool elements) {
        if (elements)
            for (isize i = 0; i < rows * n; ++i)
                memcpy(before.data() + (at(i / n, i % n) - begin), at(i / n, i % n), size_t(size));
        return !memcmp(before.data(), begin, before.size());
    }

  private:
    static constexpr isize margin = 256;
    char *p, *begin, *end;
    std::vector<char> before;
};
