#include "runtime/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "common/tuning.h"
#include "runtime/cpu.h"
#include "runtime/thread_pool.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace onesum {
namespace {

constexpr isize line = 64;  // bytes

enum class Write { none, ordinary, streaming };

typedef uint64_t Line __attribute__((vector_size(line), aligned(1), may_alias));

unsigned char folded(uint64_t x) {
    for (int shift : {32, 16, 8}) x ^= x >> shift;
    return x & 0xff;
}

// The empty asm keeps the compiler from finding memcpy in the loop, which chooses its kind of store itself.
template <Write how> uint64_t bytes(char* target, const char* a, const char* b, isize count) {
    uint64_t sum = 0;
    for (isize i = 0; i < count; ++i) {
        const char x = b ? a[i] ^ b[i] : a[i];
        if constexpr (how == Write::none) sum ^= uint8_t(x);
        else target[i] = x;
        asm volatile("" ::: "memory");
    }
    return sum;
}

#if defined(__x86_64__)
// 16 bytes a store: whole lines are written, so that wider ones are no faster.
template <bool two> inline void stream_line(char* target, const char* a, const char* b) {
    for (isize k = 0; k < line; k += 16) {
        __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + k));
        if constexpr (two) x = _mm_xor_si128(x, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + k)));
        _mm_stream_si128(reinterpret_cast<__m128i*>(target + k), x);
    }
}
inline void end_of_stream() { _mm_sfence(); }
#else
template <bool two> inline void stream_line(char* target, const char* a, const char* b) {
    Line x = *reinterpret_cast<const Line*>(a);
    if constexpr (two) x ^= *reinterpret_cast<const Line*>(b);
    *reinterpret_cast<Line*>(target) = x;
}
inline void end_of_stream() {}
#endif

// Whole lines, with the widest vectors of an instruction set: only a macro can say it for each.
#define ONESUM_LINES(name, attributes)                                                                                 \
    template <Write how, bool two> attributes uint64_t name(char* target, const char* a, const char* b, isize count) { \
        Line sum{};                                                                                                    \
        for (isize i = 0; i < count; i += line) {                                                                      \
            __builtin_prefetch(a + i + tuning::fetched_bytes);                                                         \
            if constexpr (two) __builtin_prefetch(b + i + tuning::fetched_bytes);                                      \
            if constexpr (how == Write::streaming) {                                                                   \
                stream_line<two>(target + i, a + i, two ? b + i : b);                                                  \
                continue;                                                                                              \
            }                                                                                                          \
            Line x = *reinterpret_cast<const Line*>(a + i);                                                            \
            if constexpr (two) x ^= *reinterpret_cast<const Line*>(b + i);                                             \
            if constexpr (how == Write::none) sum ^= x;                                                                \
            if constexpr (how == Write::ordinary) {                                                                    \
                *reinterpret_cast<Line*>(target + i) = x;                                                              \
                asm volatile("" ::: "memory");                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        if constexpr (how == Write::streaming) end_of_stream();                                                        \
        uint64_t result = 0;                                                                                           \
        for (int lane = 0; lane < line / 8; ++lane) result ^= sum[lane];                                               \
        return result;                                                                                                 \
    }
ONESUM_LINES(lines_narrow, )
#if defined(__x86_64__)
ONESUM_LINES(lines_avx2, __attribute__((target("avx2"))))
ONESUM_LINES(lines_avx512, __attribute__((target("avx512f"))))
#endif
#undef ONESUM_LINES

using Lines = uint64_t (*)(char*, const char*, const char*, isize);

template <Write how, bool two> Lines lines_of_this_cpu() {
#if defined(__x86_64__)
    if (cpu().avx512f) return lines_avx512<how, two>;
    if (cpu().avx2) return lines_avx2<how, two>;
#endif
    return lines_narrow<how, two>;
}

// Whatever the addresses: bytes up to a line of what is written, or else read, whole lines, and the bytes left.
template <Write how> uint64_t moved(char* target, const char* a, const char* b, isize count) {
    const char* first = how == Write::none ? a : target;
    const isize head = std::min(count, -reinterpret_cast<intptr_t>(first) & (line - 1));
    const isize whole = (count - head) / line * line, tail = head + whole;
    const auto at = [](auto* p, isize offset) { return p ? p + offset : nullptr; };
    const Lines lines = b ? lines_of_this_cpu<how, true>() : lines_of_this_cpu<how, false>();
    return bytes<how>(target, a, b, head) ^ lines(at(target, head), a + head, at(b, head), whole) ^
           bytes<how>(at(target, tail), a + tail, at(b, tail), count - tail);
}

// step(begin, end) for pieces of `count` units of so many bytes, by all threads; the exclusive or of what they return.
template <class F> uint64_t in_pieces(isize count, isize bytes, F step) {
    const isize most = threads() > 1 ? isize(threads()) * tuning::moves_per_thread : 1;
    const isize pieces = std::clamp<isize>(std::min(count, count * bytes / tuning::least_moved), 1, most);
    struct Job {
        F& step;
        isize count, piece;
        std::atomic<uint64_t> sum;
    } job{step, count, (count + pieces - 1) / pieces, {}};
    parallel(
        pieces,
        [](void* context, isize i) {
            Job& job = *static_cast<Job*>(context);
            const isize begin = i * job.piece, end = std::min(job.count, begin + job.piece);
            if (begin < end) job.sum.fetch_xor(job.step(begin, end), std::memory_order_relaxed);
        },
        &job);
    return job.sum;
}

// Cut where lines of what is written begin, or of what is read.
template <Write how> unsigned char run(char* target, const char* a, const char* b, isize count) {
    const isize head = -reinterpret_cast<intptr_t>(how == Write::none ? a : target) & (line - 1);
    const auto cut = [&](isize k) { return k ? std::min(count, head + k * line) : 0; };
    return folded(in_pieces(std::max<isize>((count - head + line - 1) / line, 1), line, [&](isize begin, isize end) {
        const isize from = cut(begin);
        const auto at = [&](auto* p) { return p ? p + from : nullptr; };
        return moved<how>(at(target), at(a), at(b), cut(end) - from);
    }));
}

// Each row by one thread, which reads it first.
template <Write how> unsigned char run_rows(const RowsToMove& rows, isize count) {
    return folded(in_pieces(count, rows.bytes, [&](isize begin, isize end) {
        uint64_t sum = 0;
        for (isize i = begin * rows.bytes; i < end * rows.bytes; i += rows.bytes) {
            const auto at = [&](const char* p) { return p ? p + i : nullptr; };
            sum ^= moved<Write::none>(nullptr, at(rows.first[0]), at(rows.first[1]), rows.bytes);
            sum ^= moved<how>(rows.target + i, at(rows.moved[0]), at(rows.moved[1]), rows.bytes);
        }
        return sum;
    }));
}

}  // namespace

void move(char* target, const char* a, const char* b, isize bytes, bool streaming) {
    streaming ? run<Write::streaming>(target, a, b, bytes) : run<Write::ordinary>(target, a, b, bytes);
}

unsigned char look(const char* a, const char* b, isize bytes) { return run<Write::none>(nullptr, a, b, bytes); }

unsigned char move_rows(const RowsToMove& rows, isize count, bool streaming) {
    return streaming ? run_rows<Write::streaming>(rows, count) : run_rows<Write::ordinary>(rows, count);
}

}  // namespace onesum
