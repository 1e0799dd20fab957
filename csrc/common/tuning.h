// Every threshold of the core: where one way of doing something gives way to another, how much is done at a time, how
// far ahead is fetched. Measured on several machines; what a result means depends on none of them. Those of the sums
// decide in which order terms are added, and so about last bits.
//
// Compiled with ONESUM_SMALL_THRESHOLDS, a few hundred elements reach every regime: tests/kernel_sweep.cpp goes through
// them all under the sanitizers.
//
// Bounds of the arithmetic (numerics/exp.h, ops/probabilities.h) are not among them: they follow from the types.
#pragma once

#include <cstddef>

#include "common/isize.h"

namespace onesum::tuning {

consteval isize choose([[maybe_unused]] isize usual, [[maybe_unused]] isize small) {
#if defined(ONESUM_SMALL_THRESHOLDS)
    return small;
#else
    return usual;
#endif
}

// Sums, in classes

// Rows of up to so many classes are summed class by class, one row in a lane: transposed, where they do not lie so.
// Longer ones have as many partial sums as lanes.
constexpr isize transposed_vectors = 2, least_transposed_classes = choose(16, 4);
constexpr isize max_transposed_classes_of(int lanes) {
    return transposed_vectors * lanes > least_transposed_classes ? transposed_vectors * lanes
                                                                 : least_transposed_classes;
}
// So many residuals of exponentials, which are small beside them, are added up in their own type before they are added
// to a wide sum; and so many products or exponentials, for each that follows rounds the sum of those before it.
constexpr isize flush_interval = choose(16, 4), pair_terms = 2;
// Rows side by side are summed in tiles of so many terms for each partial sum, if they do not fit one.
constexpr isize tile_terms = choose(16, 4);
// The classes of a row are summed in segments of so many; threads share long rows side by side by these.
constexpr isize sum_segment = choose(1 << 10, 1 << 6);
// The sums of the segments of so many classes are added up first, and then these; threads share a long row by them.
constexpr isize row_chunk = choose(1 << 16, 1 << 7);
// From so many losses on they are summed in so many parts, which threads share.
constexpr isize least_summed_in_parts = choose(1 << 14, 1 << 5);
constexpr int parts_of_a_sum = 8;
// So many segments are summed before they are merged; their sums take memory.
constexpr isize max_segments_at_once = choose(16, 2);

consteval bool fits(int lanes) {
    return max_transposed_classes_of(lanes) < tile_terms * lanes && sum_segment % (tile_terms * lanes) == 0 &&
           tile_terms % flush_interval == 0 && flush_interval % pair_terms == 0;
}
static_assert(fits(2) && fits(4) && fits(8) && fits(16),
              "a tile of a longer row is no short row; a segment ends where partial sums are flushed");
static_assert(row_chunk % sum_segment == 0);

// What a walk works on at one time

// A row block has so many rows that what is read and written of them takes no more bytes, of the 32 KB or more of a
// first-level cache, which what is read next shares; but one at least.
constexpr isize row_block_limit = choose(20 << 10, 1 << 10);
// So many tiles of short rows go through an operation at the same time, step by step, so that one need not wait for the
// end of another.
constexpr int tiles_per_batch = 4;
// Rows side by side are copied to tiles, for the lines of neighbouring classes may meet in the caches: so many bytes,
// which stay in the second-level cache, and a run of so many vectors from each class.
constexpr size_t panel_limit = choose(512 << 10, 8 << 10);
constexpr int least_panel = choose(8, 2), most_panel = choose(64, 5);
// Rows side by side that are too long for a tile of them all: so many vectors of them, for memory is read fastest
// without gaps.
constexpr int most_columns = choose(128, 2);
// Logits are capped so many bytes at a time, which stay in the second-level cache; of rows whose classes are apart so
// many, for they share lines.
constexpr isize softcap_limit = choose(256 << 10, 4 << 10), softcap_limit_apart = choose(8 << 20, 16 << 10);
// Bytes of scratch that lie on the stack; more is allocated.
constexpr size_t stack_scratch = choose(16 << 10, 256);

static_assert(least_panel <= most_panel);
static_assert(most_panel > tiles_per_batch, "panels have more than one batch of tiles");

// Lines of the cache

// Where all arrays of a call together have so many bytes, its output is written past the caches: it would not stay
// there, and no line of it need be read first.
constexpr size_t streamed_bytes = choose(24 << 20, 4 << 10);
// From so many classes on rows are read and written by whole lines, where the order does not matter; the first and the
// last line of a shorter one would cost more than the others save.
constexpr isize read_by_lines = choose(128, 8);
// What bandwidth.cpp reads next is fetched so many bytes ahead; of rows side by side, so many classes before they are
// used.
constexpr isize fetched_bytes = 1024, fetched_classes = 8;

// Threads

// A chunk of so many elements takes a kernel about 10 us, several times as long as handing it out. Two of them are the
// least that is cut.
constexpr isize least_chunk = choose(20000, 100);
// Rows of so many elements the kernel can share among the threads itself, which balances better than one or two of them
// for each.
constexpr long long_row = choose(1 << 18, 1 << 8);
// Rows side by side too, if there are so few that threads would tear lines of less than so many bytes apart: by their
// segments, several for each.
constexpr isize least_line = choose(8192, 64), segments_per_thread = 2;
// A thread that is late leaves its chunks to the others. Of rows side by side the first panel of a chunk is waited for:
// fewer chunks.
constexpr isize chunks_per_thread = 8, chunks_of_columns = 3;
// Chunks are of whole tiles of so many short rows. Of rows side by side they are of whole runs of so many, or of the
// largest power of two that leaves a run for every thread.
constexpr isize rows_of_tiles = choose(64, 16), run_of_columns = choose(256, 16);
// For the next job, and for the last task of one, a thread asks the clock after so many looks and sleeps after so many
// microseconds. The next job often comes after some Python; to wake a thread takes 30 to 200 us. A caller knows that
// the rest is being done; asleep, it would be woken on the CPU of the worker that ends it.
constexpr int looks_without_clock = 100;
constexpr isize until_next_job = 200, until_last_task = 2000;
// Elements from which on a call leaves Python to other threads: some ten microseconds.
constexpr isize worth_releasing_the_gil = 20000;

static_assert(long_row > row_chunk, "the kernel shares rows by their chunks");
static_assert(rows_of_tiles % 16 == 0, "the lanes of every tile");

// Memory

// Bytes from which on a result lies in result_memory.h's. What is smaller malloc uses again by itself, and blocks are
// whole huge pages.
constexpr isize large_result = choose(16 << 20, 64 << 10);
// So many blocks are kept, of no more than this part of the memory there is. A block is used again for what leaves no
// more than this part of it unused.
constexpr int most_blocks = 8;
constexpr isize kept_part = 16, unused_part = 4;
// Results of so many bytes in memory that is not ours are worth asking the system for huge pages, as NumPy does for its
// own from the same size on.
constexpr isize least_huge = choose(4 << 20, 16 << 10);
// The bandwidth that benchmarks compare with (runtime/bandwidth.cpp): bytes worth another thread; pieces for each, so
// that a thread that starts late does not hold up the rest.
constexpr isize least_moved = 1 << 17, moves_per_thread = 4;

}  // namespace onesum::tuning
