// Which instruction sets there are, and which one is in use.
#pragma once

#include "kernels.h"

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

}  // namespace onesum
