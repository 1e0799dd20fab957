// A number of rows, classes or bytes, and what steps from one to the next. (C++'s long has 32 bits on Windows.)
#pragma once

#include <cstddef>

using isize = std::ptrdiff_t;
