"""The constants of csrc/numerics that are proven, read from there."""

from __future__ import annotations

import hashlib
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

NUMERICS = Path(__file__).parents[2] / "csrc" / "numerics"
NUMBER = r"-?0x[0-9a-f.]+p[+-]?\d+|-?\d+(?:\.\d*)?"


class Exp(NamedTuple):
    """`Constants<C>`, and the entries of the table with what they lack as it is stored."""

    dtype: str
    n_log2e: Fraction
    ln2_hi: Fraction
    ln2_lo: Fraction
    magic_bias: int
    entries: int
    bias: int  # of the scale, with that of the format
    most: int  # abs(y)
    most_exponent: int  # of the row's maximum
    q: list[Fraction]
    table: list[tuple[Fraction, Fraction]]


class Log1p(NamedTuple):
    ln2_hi: Fraction
    ln2_lo: Fraction
    q: list[Fraction]


def read(name: str) -> str:
    return re.sub(r"//.*", "", (NUMERICS / name).read_text())


def number(text: str) -> Fraction:
    return Fraction(float.fromhex(text)) if "x" in text else Fraction(text)


def numbers(text: str) -> list[Fraction]:
    return [number(n) for n in re.findall(NUMBER, text.lower())]


def field(name: str, text: str, entries: int = 1) -> Fraction:
    found = re.search(rf"\b{name} = ({NUMBER})f?( [*/] entries)?[,;]", text)
    if not found:
        raise SystemExit(f"csrc/numerics: where is the number {name}?")
    by = {None: Fraction(1), " * entries": Fraction(entries), " / entries": Fraction(1, entries)}
    return number(found[1]) * by[found[2]]


def array(name: str, text: str) -> list[Fraction]:
    found = re.search(rf"\b{name}\[\d*\] = {{([^}}]*)}}", text)
    if not found:
        raise SystemExit(f"csrc/numerics: where is the array {name}?")
    return numbers(found[1])


def table(bits: int) -> list[tuple[Fraction, Fraction]]:
    """2^(j / 8) as exp.h makes it: an entry, and the index above the 23 - 3 lower bits."""
    text = read("exp_table.h")
    one = 127 << 23
    stored = (int(n) + one + (j << (23 - bits)) for j, n in enumerate(array("exponent_bits", text)))
    scales = [Fraction(struct.unpack("<f", struct.pack("<i", n))[0]) for n in stored]
    return list(zip(scales, array("correction", text), strict=True))


def exp(dtype: str) -> Exp:
    cxx = {"float32": "float", "float64": "double"}[dtype]
    text = read("exp.h").split(f"struct Constants<{cxx}>")[1].split("\n};")[0]
    bits = int(field("table_bits", text))
    entries = 1 << bits
    limit = field("exact_shift_limit", text)
    cutoff = number(re.search(rf"underflow_cutoff =\s*({NUMBER})", text)[1])  # type: ignore[index]
    n_log2e, ln2_hi, ln2_lo = (field(f, text, entries) for f in ("n_log2e", "ln2_hi", "ln2_lo"))
    return Exp(
        dtype, n_log2e, ln2_hi, ln2_lo,
        magic_bias=int(field("magic_bias", text)),
        entries=entries,
        bias=int(field("bias", text) + field("exponent_of_one", text)),
        most=int(limit - cutoff) + 1,
        most_exponent=int(limit * n_log2e / entries) + 1,
        q=array("q", text),
        table=table(bits) if bits else [(Fraction(1), Fraction(0))],
    )  # fmt: skip


def log1p(dtype: str) -> Log1p:
    """Of what is rounded to float in the end, and of a double-double."""
    double, single = read("log1p.h").split("f64v log1p(")[1:3]
    if dtype == "float32":
        return Log1p(field("ln2", single), Fraction(0), array("q", single))
    c = exp("float64")
    return Log1p(c.ln2_hi * c.entries, c.ln2_lo * c.entries, array("q", double))


def flush_interval() -> int:
    """How many terms are added up before their sum moves on to a wide one."""
    found = re.search(r"\bflush_interval = choose\((\d+),", read("../common/tuning.h"))
    if not found:
        raise SystemExit("csrc/common/tuning.h: where is the number flush_interval?")
    return int(found[1])


def fingerprint() -> str:
    """Of what is proven: its files, but for their comments and white space."""
    code = "".join(read(name) for name in ("exp.h", "exp_table.h", "log1p.h"))
    code += str(flush_interval())
    return hashlib.sha256(re.sub(r"\s", "", code).encode()).hexdigest()[:16]
