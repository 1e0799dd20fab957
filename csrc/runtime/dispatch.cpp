#include "runtime/dispatch.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstring>
#include <string_view>

#include "common/tuning.h"
#include "runtime/cpu.h"
#include "runtime/parallel_rows.h"
#include "runtime/thread_pool.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

// The build says for which versions of x86-64 there are kernels: X(v4) X(v3) X(v2)
#define X(version) extern const onesum::Kernels onesum_x86_64_##version;
ONESUM_VERSIONS
#undef X
#else
extern const onesum::Kernels onesum_baseline;
#endif

namespace onesum {
namespace {

std::atomic<const Isa*> in_use{nullptr};

#define ONESUM_OPERANDS(name, Op, operands) operands,
const char* const operands[] = {ONESUM_OPERATIONS(ONESUM_OPERANDS) ONESUM_CHUNKS(ONESUM_OPERANDS)
                                    ONESUM_LOSSES(ONESUM_OPERANDS)};
#undef ONESUM_OPERANDS

constexpr int size_of[] = {2, 2, 4, 8};  // by storage

#if defined(__x86_64__)
// What the kernels do to the floating-point flags on the way (exp of a masked lane underflows, say) is no news to the
// user. They compute in vector registers alone; feclearexcept looks after the x87's flags too, which takes 70 ns, half
// of what a short row does.
void clear_flags() { _mm_setcsr(_mm_getcsr() & ~_MM_EXCEPT_MASK); }

[[maybe_unused]] bool has_v2() { return cpu().v2; }
[[maybe_unused]] bool has_v3() { return cpu().v3; }
[[maybe_unused]] bool has_v4() { return cpu().v4; }
#else
void clear_flags() { std::feclearexcept(FE_ALL_EXCEPT); }

bool always() { return true; }
#endif

// In any case, of ASCII.
bool same_name(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

const Isa isas[] = {
#if defined(__x86_64__)
#define X(version) {"x86-64-" #version, has_##version, &onesum_x86_64_##version},
    ONESUM_VERSIONS
#undef X
#elif defined(__ARM_NEON)
    {"neon", always, &onesum_baseline},
#else
    {"baseline", always, &onesum_baseline},
#endif
};
const int isa_count = sizeof isas / sizeof *isas;

const Isa* find_isa(const char* name) {
    for (const Isa& isa : isas) {
        const char* dash = strrchr(isa.name, '-');
        if (same_name(isa.name, name) || (dash && same_name(dash + 1, name))) return &isa;
    }
    return nullptr;
}

const Isa* best_isa() {
    for (const Isa& isa : isas)
        if (isa.cpu_has_it()) return &isa;
    return nullptr;
}

void use_isa(const Isa* isa) { in_use = isa; }

bool call_kernel(int operation, int storage, char* const* args, isize rows, isize n, const isize* strides,
                 isize all_rows, const LossOptions* loss) {
    const Kernels& kernels = *in_use.load(std::memory_order_relaxed)->kernels;
    const char* const letters = operands[operation];
    const size_t arrays = size_t(std::count(letters, letters + strlen(letters), 'x'));
    const bool streamed = (!loss || loss->gradient) && letters[strlen(letters) - 1] == 'x' &&
                          arrays * size_t(all_rows) * size_t(n) * size_of[storage] >= tuning::streamed_bytes;
    const Job job{kernels.kernel[operation][storage], operand_count(letters), size_of[storage], {streamed, loss}};
    const bool done = run(job, args, rows, n, strides);
    clear_flags();
    return done;
}

void compare_rows(int storage, const char* x, const char* y, const double* known, double* sums, isize rows, isize n) {
    struct Job {
        Comparer compare;
        const char *x, *y;
        const double* known;
        double* sums;
        isize rows, n, row_bytes, chunk;
    };
    const isize chunk = std::max<isize>(1, std::min(rows, tuning::least_chunk / std::max<isize>(n, 1)));
    Job job{in_use.load(std::memory_order_relaxed)->kernels->compare[storage],
            x,
            y,
            known,
            sums,
            rows,
            n,
            n * size_of[storage],
            chunk};
    parallel((rows + chunk - 1) / chunk,
             [](void* context, isize i) {
                 const Job& j = *static_cast<Job*>(context);
                 const isize first = i * j.chunk;
                 j.compare(j.x + first * j.row_bytes, j.y + first * j.row_bytes, j.known + 4 * first,
                           j.sums + 6 * first, std::min(j.chunk, j.rows - first), j.n);
             },
             &job);
    clear_flags();
}

}  // namespace onesum
