// How the operands of a call lie in memory.
#pragma once

#include "guarded.h"

enum Pattern {
    in_rows,
    padded,
    apart,
    side_by_side,
    in_lines,
    backwards,
    upwards,
    side_by_side_backwards,
    repeated,
    constant
};

struct Strides { isize of_class, of_row; };
inline Strides strides_of(Pattern pattern, isize rows, isize n, isize size) {
    switch (pattern) {
        case in_rows: return {size, n * size};
        case padded: return {size, (n + 5) * size};
        case apart: return {3 * size, (3 * n + 1) * size};
        case side_by_side: return {rows * size, size};
        case in_lines: return {(rows * size + 63) / 64 * 64, size};
        case backwards: return {-size, -n * size};
        case upwards: return {size, -n * size};
        case side_by_side_backwards: return {-(rows + 1) * size, size};
        case repeated: return {size, 0};
        case constant: return {0, 0};
    }
    std::abort();
}

constexpr int nowhere = -1;
struct Layout {
    const char* name;
    Pattern inputs[2], mask, out;
    int in_place = nowhere;  // or over which input
};

// The first is what the others are compared with.
constexpr Layout layouts[] = {
    {"rows", {in_rows, in_rows}, in_rows, in_rows},
    {"padded rows", {padded, padded}, padded, padded},
    {"classes apart", {apart, apart}, apart, apart},
    {"classes backwards", {backwards, backwards}, backwards, backwards},
    {"rows upwards", {upwards, upwards}, upwards, upwards},
    {"side by side", {side_by_side, side_by_side}, side_by_side, side_by_side},
    {"side by side, in lines", {in_lines, in_lines}, in_lines, in_lines},
    {"side by side, classes backwards",
     {side_by_side_backwards, side_by_side_backwards},
     in_rows,
     side_by_side_backwards},
    {"out side by side", {in_rows, padded}, side_by_side, side_by_side},
    {"out in rows", {side_by_side, apart}, upwards, in_rows},
    {"in place", {in_rows, in_rows}, in_rows, in_rows, 0},
    {"over the second", {padded, upwards}, in_rows, upwards, 1},
    {"classes apart, in place", {apart, in_rows}, padded, apart, 0},
    {"side by side, in place", {in_lines, side_by_side}, side_by_side, in_lines, 0},
    {"side by side, over the second", {side_by_side, side_by_side}, side_by_side, side_by_side, 1},
};
// Where all rows are the same.
constexpr Layout broadcasts[] = {
    {"repeated rows", {repeated, constant}, repeated, in_rows},
    {"repeated rows, out side by side", {repeated, constant}, repeated, side_by_side},
    {"second repeated", {in_rows, repeated}, repeated, padded},
    {"side by side, second repeated", {side_by_side, constant}, repeated, side_by_side},
};
