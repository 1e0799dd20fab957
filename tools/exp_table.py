"""Write csrc/numerics/exp_table.h: powers of two for the exponential of floats.

Entry j of 8 stands for 2^(j/8). Its first word is rounded to the digits that fit the upper half of
a double (see accumulators.h); what is stored are its bits as a float less those that the index
leaves behind in the shifted integer (see exp.h), so that one integer addition makes 2^(n/8). The
second word is what the first one's logarithm lacks, which the argument takes.
"""

from pathlib import Path

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
HEADER = Path(__file__).parent.parent / "csrc" / "numerics" / "exp_table.h"
BITS = 3
MANTISSA = 23
DIGITS = 20  # behind the point


def entries():
    one = int(np.float32(1).view(np.uint32))
    exponent_bits, correction = [], []
    for j in range(2**BITS):
        exact = mpf(2) ** (mpf(j) / 2**BITS)
        rounded = np.float32(mp.nint(exact * 2**DIGITS) / 2**DIGITS)
        exponent_bits.append(int(rounded.view(np.uint32)) - one - (j << (MANTISSA - BITS)))
        correction.append(float(np.float32(mp.log(exact / mpf(float(rounded))))))
    return exponent_bits, correction


def header():
    exponent_bits, correction = entries()
    corrections = [value.hex() + "f" for value in correction]
    return "\n".join(
        [
            "// Written by tools/exp_table.py: 2^(j / 8), its bits as exp.h adds them, "
            "and what their logarithms lack.",
            "#pragma once",
            "",
            "#include <cstdint>",
            "",
            "namespace {",
            "namespace exp_table {",
            "",
            f"alignas(32) constexpr int32_t exponent_bits[{len(exponent_bits)}] = {{",
            f"    {', '.join(map(str, exponent_bits))}}};",
            f"alignas(32) constexpr float correction[{len(correction)}] = {{",
            f"    {', '.join(corrections[:4])},",
            f"    {', '.join(corrections[4:])}}};",
            "",
            "}  // namespace exp_table",
            "}  // namespace",
            "",
        ]
    )


if __name__ == "__main__":
    HEADER.write_text(header())
