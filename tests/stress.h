// What the stress tests have in common.
#pragma once

#include <cstdio>
#include <cstdlib>

inline void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "stress: %s\n", what);
    std::_Exit(1);
}

void stress_pool(const char* mode, const char* argument);
void stress_memory(const char* mode, const char* argument);
