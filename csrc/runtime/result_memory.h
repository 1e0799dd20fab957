// Memory for large results. What is given back is kept for the next, because new pages cost more than a softmax
// (decision 0006).
#pragma once

#include <cstddef>

#include "common/tuning.h"

namespace onesum {

using tuning::large_result;

// As malloc, calloc, realloc and free, of any size; each takes memory of these only.
void* allocate(size_t size);
void* allocate_zeros(size_t count, size_t size);
void* reallocate(void* data, size_t size);
void deallocate(void* data);

// Memory that is another's, about to be written from end to end: lets the system use huge pages for it, whose faults
// cost a quarter. To ask again is cheap.
void allow_huge_pages_within(void* data, size_t size);

// Whether anything is ever kept: not where ONESUM_KEEP_MEMORY is 0, and not yet on systems other than Linux.
bool keeps_memory();

// Gives what is kept back to the system; how many bytes it was.
isize release_memory();

// Lets as many bytes be kept as ONESUM_KEEP_MEMORY says; without it, a sixteenth of machine.h's. Its value if that
// makes no sense, otherwise null.
const char* memory_from_environment();

}  // namespace onesum
