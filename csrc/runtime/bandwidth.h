// The floor that memory sets: reading one or two arrays, and writing one, with nothing to compute. For the benchmark.
#pragma once

#include "common/isize.h"

namespace onesum {

// target = a, or a ^ b where b is not null; past the cache if `streaming`. With the threads of parallel().
void move(char* target, const char* a, const char* b, isize bytes, bool streaming);

// Reads only: the exclusive or of all bytes of a, and of b where it is not null.
unsigned char look(const char* a, const char* b, isize bytes);

// Rows of so many bytes, gone over twice, as a function that needs something of a whole row goes over it: one or two
// arrays are read, and then one or two moved as move() does. What is returned depends on every byte read first.
struct RowsToMove {
    char* target;
    const char *first[2], *moved[2];
    isize bytes;
};
unsigned char move_rows(const RowsToMove& rows, isize count, bool streaming);

}  // namespace onesum
