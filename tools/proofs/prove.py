"""Prove the bounds of exp, and of the last steps of softmax, log_softmax and logsumexp.

`python tools/proofs/prove.py` (a few minutes; Debian's gappa and sollya) proves what bounds.json
states, in ulps, and fails where it cannot. With `--write` it states what it has proven instead.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from constants import exp, fingerprint, log1p
from exponential import FORMATS, exponential
from gappa import NotProven, look_for_tools
from last_steps import log1p_double, log1p_float, log_softmax, logsumexp, rounded, softmax

STATED = Path(__file__).with_name("bounds.json")
# What is not proven here: the relative error of adding up a row's exponentials, as they are. In
# double-double it follows from the number of additions, 2^-104 each. In float32 the scales are
# summed as doubles, and the small rests of up to 16 terms as floats.
ACCUMULATED = {"float32": Fraction(1, 2**28), "float64": Fraction(1, 2**75)}
TERMS = 16

Bounds = dict[str, dict[str, float]]


def ceil(bound: Fraction) -> float:
    return math.ceil(bound * 1000) / 1000


def worst_accumulation(tail: Fraction, fused: bool) -> Fraction:
    """Of 16 rests of either sign, if each rounding went the same way (Higham's gamma)."""
    roundings = TERMS + (not fused)
    unit = Fraction(1, 2**24)
    return roundings * unit / (1 - roundings * unit) * tail + Fraction(1, 2**40)


def bounds(dtype: str, fused: bool) -> Iterator[tuple[str, Fraction]]:
    ulps = 2 ** (FORMATS[dtype][1] - 1)
    e = exponential(exp(dtype), fused)
    yield "exp, before it is rounded", e.parts
    yield "exp", rounded(dtype, e.parts / ulps)
    # 1 / S: a rounding in double, or two words; the second order of both
    of_sum = (e.words_relative + ACCUMULATED[dtype]) * (1 + Fraction(1, 2**20))
    yield "softmax", softmax(dtype, e.relative, of_sum, fused)
    yield "softmax, the least normal numbers", softmax(dtype, e.relative, of_sum, fused, least=True)
    # The other exponentials are summed, and divided by the largest. An error of their sum r counts
    # no more in log(1 + r).
    of_log1p = (log1p_float if dtype == "float32" else log1p_double)(log1p(dtype), fused)
    of_log = (2 * e.words_relative + ACCUMULATED[dtype] + of_log1p) * (1 + Fraction(1, 2**20))
    yield "log_softmax", log_softmax(dtype, of_log)
    if dtype == "float32":
        yield "logsumexp", logsumexp(of_log)
        worst = (e.words_relative + worst_accumulation(e.tail, fused)) * (1 + Fraction(1, 2**20))
        yield "softmax, whatever the sum", softmax(dtype, e.relative, worst, fused)


def proven() -> dict[str, Bounds]:
    result: dict[str, Bounds] = {}
    for dtype in FORMATS:
        for fused in (True, False):
            column = dtype if fused else f"{dtype}, two roundings in a * b + c"
            for name, bound in bounds(dtype, fused):
                result.setdefault(name, {})[column] = ceil(bound)
                print(f"{name}, {column}: {ceil(bound):.3f} ulp", flush=True)
    return result


def main(arguments: list[str]) -> int:
    look_for_tools()
    try:
        found = proven()
    except NotProven as failure:
        print(f"not proven: {failure}")
        return 1
    if arguments == ["--write"]:
        content = {"proven for": fingerprint(), "bounds": found}
        STATED.write_text(json.dumps(content, indent=2) + "\n")
        return 0
    stated = json.loads(STATED.read_text())
    missed = [
        f"{name}, {column}: {most} is stated, and {found[name][column]} proven"
        for name, columns in stated["bounds"].items()
        for column, most in columns.items()
        if not found[name][column] <= most
    ]
    if stated["proven for"] != fingerprint():
        missed.append("bounds.json is for other sources: `--write` states these")
    print("\n".join(missed) or "all proven")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
