#include "runtime/parallel_rows.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "common/tuning.h"
#include "runtime/thread_pool.h"

namespace onesum {
namespace {

using namespace tuning;

// `side_by_side`: where rows lie side by side, the bytes of an element; else 0.
isize rows_of_a_chunk(isize rows, isize n, isize side_by_side) {
    const isize team = threads();
    if (team < 2 || rows < 2 || rows * n < 2 * least_chunk || (rows < 2 * team && n >= long_row)) return rows;
    if (side_by_side && rows * side_by_side < team * least_line && n >= team * segments_per_thread * sum_segment)
        return rows;
    const isize chunk = std::max((rows - 1) / (team * (side_by_side ? chunks_of_columns : chunks_per_thread)) + 1,
                                 (least_chunk - 1) / n + 1);
    if (side_by_side) {
        const isize run = std::clamp<isize>(isize(std::bit_floor(size_t(rows / team))), 1, run_of_columns);
        return (chunk + run - 1) / run * run;
    }
    return chunk < rows_of_tiles ? isize(std::bit_ceil(size_t(chunk)))
                                 : (chunk + rows_of_tiles - 1) / rows_of_tiles * rows_of_tiles;
}

struct Call {
    const Job& job;
    char* const* args;
    isize rows, n;
    const isize* strides;
    isize chunk;
    std::atomic<bool> no_memory{false};
};

void run_chunk(void* context, isize i) {
    Call& call = *static_cast<Call*>(context);
    const isize first = i * call.chunk;
    char* args[max_operands];
    for (int k = 0; k < call.job.operands; ++k) args[k] = call.args[k] + first * call.strides[k];
    if (!call.job.kernel(args, std::min(call.chunk, call.rows - first), call.n, call.strides, call.job.options))
        call.no_memory.store(true, std::memory_order_relaxed);
}

}  // namespace

bool run(const Job& job, char* const* args, isize rows, isize n, const isize* strides) {
    const bool side_by_side = strides[0] == job.size && strides[job.operands - 1] == job.size &&
                              strides[job.operands] > job.size;  // the first operand and the last
    const isize chunk = rows_of_a_chunk(rows, n, side_by_side ? job.size : 0);
    if (chunk >= rows) return job.kernel(args, rows, n, strides, job.options);
    Call call{job, args, rows, n, strides, chunk};
    parallel((rows - 1) / chunk + 1, run_chunk, &call);
    return !call.no_memory.load(std::memory_order_relaxed);
}

}  // namespace onesum
