// The pool of threads and the memory of large results, hammered. Exits with 0 if all was well, and with 1 or a report
// of the sanitizer otherwise. Compiled by stress.py, plain and under the sanitizers.
//   stress pool MODE [ARGUMENT]      see pool_stress.cpp
//   stress memory MODE [ARGUMENT]    see memory_stress.cpp
#include "stress.h"

#include <cstring>

int main(int argc, char** argv) {
    expect(argc > 2, "what?");
    const char* const argument = argc > 3 ? argv[3] : "";
    if (!std::strcmp(argv[1], "pool")) stress_pool(argv[2], argument);
    if (!std::strcmp(argv[1], "memory")) stress_memory(argv[2], argument);
    return 0;
}
