"""Write csrc/numerics/exp_table.h: powers of two for the table-driven exponential.

Entry j of 2^B stands for 2^(j/2^B). Its first word is rounded to the type; what is stored are its
bits less those that the index leaves behind in the shifted integer (see exp.h), so that one integer
addition makes 2^(n/2^B). The second word is what the first lacks, relative to it.
"""

from pathlib import Path

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
HEADER = Path(__file__).parent.parent / "csrc" / "numerics" / "exp_table.h"
TYPES = {
    "float": (np.float32, np.uint32, 23, (3, 5)),
    "double": (np.float64, np.uint64, 52, (4,)),
}


def entries(name, bits):
    kind, unsigned, mantissa, _ = TYPES[name]
    one = int(np.array(1, kind).view(unsigned))
    first, second = [], []
    for j in range(2**bits):
        exact = mpf(2) ** (mpf(j) / 2**bits)
        rounded = kind(exact)
        shifted = int(rounded.view(unsigned)) - one - (j << (mantissa - bits))
        first.append(shifted)
        second.append(float(kind((exact - mpf(float(rounded))) / mpf(float(rounded)))))
    return first, second


def lines(values, width=8):
    return ",\n        ".join(
        ", ".join(values[i : i + width]) for i in range(0, len(values), width)
    )


def header():
    text = [
        "// Written by tools/exp_table.py: 2^(j / 2^bits), its bits as exp.h adds them, "
        "and what they lack.",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        "namespace {",
        "",
        "template <class C, int bits> struct ExpTable;",
    ]
    for name, (_, _, _, sizes) in TYPES.items():
        suffix, integer = ("f", "int32_t") if name == "float" else ("", "int64_t")
        for bits in sizes:
            first, second = entries(name, bits)
            count = 2**bits
            text += [
                "",
                f"template <> struct ExpTable<{name}, {bits}> {{",
                f"    alignas(64) static constexpr {integer} exponent_bits[{count}] = {{",
                f"        {lines([str(v) for v in first])}}};",
                f"    alignas(64) static constexpr {name} correction[{count}] = {{",
                f"        {lines([v.hex() + suffix for v in second], 4)}}};",
                "};",
            ]
    return "\n".join([*text, "", "}  // namespace", ""])


if __name__ == "__main__":
    HEADER.write_text(header())
