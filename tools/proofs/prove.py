"""Prove the bounds of exp, and of the last steps of softmax, log_softmax and logsumexp.

`python tools/proofs/prove.py` (a few minutes; Debian's gappa and sollya) proves what bounds.json
states, in ulps, and fails where it cannot. With `--write` it states what it has proven instead,
there and in docs/numerics.md.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from constants import exp, fingerprint, flush_interval, log1p
from exponential import FORMATS, exponential
from gappa import ProofError, look_for_tools
from last_steps import log1p_double, log1p_float, log_softmax, logsumexp, rounded, softmax

STATED = Path(__file__).with_name("bounds.json")
PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"
BLOCK = re.compile(r"(?<=<!-- begin: proven -->\n).*?(?=<!-- end: proven -->)", re.DOTALL)
# What is assumed of sums: the relative error of adding up exponentials that are as they are. In
# double-double it follows from the number of additions, 2^-104 each. In float32 the scales are
# summed as doubles, but the small rests of some terms as floats, whose worst is another line.
ACCUMULATED = {"float32": Fraction(1, 2**28), "float64": Fraction(1, 2**75)}
TERMS = flush_interval()

# x86-64-v2 has no fused multiply-add.
COLUMNS = {
    f"{dtype}{', v2' * (not fused)}": (dtype, fused) for dtype in FORMATS for fused in (True, False)
}
Bounds = dict[str, dict[str, float]]


def ceil(bound: Fraction) -> float:
    return math.ceil(bound * 100) / 100


def worst_accumulation(tail: Fraction, fused: bool) -> Fraction:
    """Of that many rests of either sign, if each rounding went the same way (Higham's gamma)."""
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
    yield "the same, least normal numbers", softmax(dtype, e.relative, of_sum, fused, least=True)
    # The other exponentials are summed, and divided by the largest. An error of their sum r counts
    # no more in log(1 + r).
    of_log1p = (log1p_float if dtype == "float32" else log1p_double)(log1p(dtype), fused)
    of_log = (2 * e.words_relative + ACCUMULATED[dtype] + of_log1p) * (1 + Fraction(1, 2**20))
    yield "log_softmax", log_softmax(dtype, of_log)
    if dtype == "float32":
        yield "logsumexp", logsumexp(of_log)
        worst = (e.words_relative + worst_accumulation(e.tail, fused)) * (1 + Fraction(1, 2**20))
        yield "softmax, whatever the rests' sum", softmax(dtype, e.relative, worst, fused)


def proven() -> Bounds:
    result: Bounds = {}
    for column, (dtype, fused) in COLUMNS.items():
        for name, bound in bounds(dtype, fused):
            result.setdefault(name, {})[column] = ceil(bound)
            print(f"{name}, {column}: {ceil(bound):.2f} ulp", flush=True)
    return result


def table(stated: Bounds) -> str:
    """The table of docs/numerics.md."""
    rows = [f"| | {' | '.join(COLUMNS)} |", "|---|" + len(COLUMNS) * "---:|"]
    for name, row in stated.items():
        cells = (f"{row[column]:.2f}" if column in row else "" for column in COLUMNS)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def write(found: Bounds) -> None:
    content = {"proven for": fingerprint(), "bounds": found}
    STATED.write_text(json.dumps(content, indent=2) + "\n")
    PAGE.write_text(BLOCK.sub(lambda _: table(found), PAGE.read_text()))


def main(arguments: list[str]) -> int:
    look_for_tools()
    try:
        found = proven()
    except ProofError as failure:
        print(f"not proven: {failure}")
        return 1
    if arguments == ["--write"]:
        write(found)
        return 0
    stated = json.loads(STATED.read_text())
    missed = [
        f"not proven: {name}, {column}: {most} is stated, {found[name][column]} follows"
        for name, row in stated["bounds"].items()
        for column, most in row.items()
        if not found[name][column] <= most
    ]
    if stated["proven for"] != fingerprint():
        missed.append("bounds.json is for other sources: --write states what is proven for these")
    print("\n".join(missed) or "all proven")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
