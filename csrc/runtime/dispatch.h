// Which instruction sets there are, and which one is in use.
#pragma once

#include "runtime/kernels.h"

namespace onesum {

struct Isa {
    const char* name;
    bool (*cpu_has_it)();
    const Kernels* kernels;
};

// Best first.
extern const Isa isas[];
extern const int isa_count;

// By name ("x86-64-v3", or short "v3", in any case); null if there is none of that name.
const Isa* find_isa(const char* name);
const Isa* best_isa();

// The one in use; calls under way keep the one they began with.
void use_isa(const Isa* isa);

// Every call of a kernel comes through here, and needs no GIL. Arguments as in kernels.h; `all_rows`: how many there
// are where these are some of them, for what is large is written past the caches; `loss`: of a loss. False: no memory.
bool call_kernel(int operation, int storage, char* const* args, isize rows, isize n, const isize* strides,
                 isize all_rows, const LossOptions* loss = nullptr);

// The same for two arrays of rows; `sums` gets six doubles a row.
void compare_rows(int storage, const char* x, const char* y, const double* known, double* sums, isize rows, isize n);

}  // namespace onesum
