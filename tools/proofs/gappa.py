"""Gappa and Sollya: numbers as they write them, and what they prove."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from string import Template

Interval = tuple[Fraction, Fraction]
NUMBER = r"(-?\d+)(?:b(-?\d+))?"


class ProofError(Exception):
    """What is asked for does not follow, or not in the steps that are given."""


def look_for_tools() -> None:
    missing = [tool for tool in ("gappa", "sollya") if not shutil.which(tool)]
    if missing:
        names = " and ".join(missing)
        raise SystemExit(f"{names}: not here (Debian, Ubuntu: apt-get install {' '.join(missing)})")


def dyadic(x: Fraction | int) -> str:
    x = Fraction(x)
    if x.denominator & (x.denominator - 1):
        raise ValueError(f"{x} is no binary fraction")
    return f"{x.numerator}b-{x.denominator.bit_length() - 1}"


def interval(low: Fraction | int, high: Fraction | int) -> str:
    return f"[{dyadic(low)}, {dyadic(high)}]"


def within(most: Fraction) -> str:
    """The numbers of magnitude `most`, or of a little more."""
    most = up(most)
    return interval(-most, most)


def up(x: Fraction, bits: int = 40) -> Fraction:
    """A binary fraction of so many bits, no smaller than x >= 0, which is not 0."""
    scale = Fraction(2) ** (bits + x.denominator.bit_length() - x.numerator.bit_length())
    return Fraction(-(-x * scale // 1)) / scale


def parsed(digits: str, exponent: str | None) -> Fraction:
    return int(digits) * Fraction(2) ** int(exponent or 0)


def sollya(expressions: Iterable[str]) -> list[Interval]:
    """The value of each, which is an interval, as bounds."""
    program = "prec = 300!; display = dyadic!;" + "".join(f"print({e});" for e in expressions)
    run = subprocess.run(
        ["sollya", "--warnonstderr"], input=program, capture_output=True, text=True
    )
    lines = [re.findall(NUMBER, line) for line in run.stdout.splitlines() if line.startswith("[")]
    wanted = program.count("print(")
    if run.stderr.strip() or len(lines) != wanted or any(len(line) != 2 for line in lines):
        raise ProofError(f"sollya: {run.stdout}{run.stderr}")
    return [(parsed(*low), parsed(*high)) for low, high in lines]


def prove(template: str, /, fused: bool = True, **values: object) -> dict[str, Interval]:
    """What Gappa finds for each quantity that the template asks for.

    `x fma= a*b + c` is rounded once, or, where there is no fused multiply-add, each operation.
    """
    text = Template(Path(__file__).with_name(f"{template}.gappa").read_text()).substitute(values)
    text = re.sub(r" fma= (.*);", r" = f(\1);" if fused else r" f= \1;", text)
    run = subprocess.run(["gappa"], input=text, capture_output=True, text=True)
    output = run.stdout + run.stderr
    # A step of ours that is none, or assumptions that cannot be met, are an error too.
    if run.returncode or re.search("Error|not trivially equal|anything can be proved", output):
        raise ProofError(f"{template}.gappa: {output[:2000]}\nof\n{text}")
    output = re.sub(r" {.*?}", "", output)  # the same in decimals
    found = re.findall(rf"^  (.*) in \[{NUMBER}, {NUMBER}\]$", output, re.MULTILINE)
    return {name: (parsed(*bounds[:2]), parsed(*bounds[2:])) for name, *bounds in found}


def magnitude(of: Interval) -> Fraction:
    return max(abs(of[0]), abs(of[1]))
