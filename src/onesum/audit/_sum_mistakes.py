"""Mistakes in the arithmetic of the sum and of the difference, known by what they return.

The sum of exp(x - m) that a function divided by can be told from what it gives the largest logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._audit import Audit
from ._compared import close, right, shown
from ._profile import NARROW

Array = Any

BITS = {"float16": 11, "bfloat16": 8}
STOPS = (2048.0, 256.0)  # where a sum of ones in these stands still
LARGEST = 65_504  # of a float16; what is more is inf


def divisor(kind: str, got: Array, m: Array) -> Array:
    """The sum of exp(x - m), of each row."""
    if kind == "softmax":
        return 1 / got.max(axis=-1)
    return np.exp(got - m) if kind == "logsumexp" else np.exp(-got.max(axis=-1))


def epsilon_added(audit: Audit) -> None:
    """What is added to the sum of one class is added to that of two."""
    excess, u = [], float(np.finfo(np.float64).eps)
    for n in (1, 2):
        got = audit.answer(np.zeros((1, n)))
        if got is None:
            return
        excess.append(float(divisor(audit.exact_kind, got, np.zeros(1))[0]) - n)
    first, second = excess
    if 4 * u <= first < 0.5 and abs(second - first) <= 0.01 * first + 8 * u:
        audit.accuse("epsilon_added", f"the sum of exponentials is {first:.2g} too large")


def half_precision_sum(audit: Audit) -> None:
    _sums_with_few_bits(audit)
    if audit.subject.kind != "cross_entropy":
        _sums_that_stop(audit)


def _sums_with_few_bits(audit: Audit) -> None:
    """Wrong sums that a 16-bit number holds exactly, row after row."""
    n = 64 if audit.subject.kind == "cross_entropy" else 3000
    for dtype in ("float64", "float32"):
        x = np.random.default_rng(11).normal(0, 1, (3, n)).astype(dtype)
        got = audit.answer(x)
        if got is None:
            return
        m = x.astype(np.float64).max(axis=-1)
        sums = divisor(audit.exact_kind, got, m)
        exact = np.exp(x - m[:, None], dtype=np.float64).sum(axis=-1)
        off = np.max(np.abs(sums / exact - 1))
        if not 2.0**-15 < off < 0.5:  # more than that is no rounding
            continue
        for name, bits in BITS.items():
            if np.all(_has_bits(sums, bits)) or np.all(_has_bits(np.log(sums), bits)):
                audit.accuse("half_precision_sum", f"every sum of {n} exponentials is a {name}")
                return
        if got.size > 100 and np.unique(got).size > 10:
            for name, narrow in (("float16", got.astype(np.float16)), ("bfloat16", bfloat16(got))):
                if np.all(got == narrow):
                    told = f"every result of {dtype} logits is a {name}"
                    audit.accuse("half_precision_sum", told)
                    return


def bfloat16(values: Array) -> Array:
    """Cut off: what is a bfloat16 stays as it is."""
    bits = np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def _sums_that_stop(audit: Audit) -> None:
    """Sums of ones that stand still, or are inf."""
    kind = audit.exact_kind
    for n, topic in ((4095, ""), (70_000, NARROW)):
        for dtype in ("float16", "float32"):
            got = audit.answer(np.zeros((1, n), dtype))
            if got is None:
                continue
            total = float(divisor(kind, got, np.zeros(1)).reshape(-1)[0])
            stops = any(abs(total / s - 1) < 0.01 for s in STOPS)
            if stops or (total == np.inf and n > LARGEST):
                told = f"the sum of {n} ones is {total:.5g} for {dtype} logits"
                audit.accuse("half_precision_sum", told, topic=topic)
                return


def _has_bits(values: Array, bits: int) -> Array:
    """Whether these are numbers of so many bits, but for the rounding of what they came from."""
    mantissa = np.frexp(values)[0] * 2.0**bits
    return np.abs(mantissa - np.round(mantissa)) < 2.0 ** (bits - 20)


def integer_overflow(audit: Audit) -> None:
    """Integers whose floats are right: the difference wraps around, or what was converted."""
    for dtype, row, topic in (
        ("int64", [100, -100, 99], ""),
        ("int64", [200, 100, -100], ""),
        ("int64", [40_000, -40_000, 39_999], ""),
        ("int64", [3_000_000_000, 1, 2_999_999_999], ""),
        ("uint8", [255, 0, 254], NARROW),
        ("int8", [100, -100, 99], NARROW),
        ("int16", [20_000, -20_000, 19_999], NARROW),
    ):
        x = np.array([row], dtype)
        got, floats = audit.answer(x), audit.answer(x.astype(np.float64))
        if got is None or not right(audit, x, floats) or right(audit, x, got):
            continue
        if right(audit, x, got, 1e-2):  # rounded, not wrapped around
            continue
        if any(close(got, wanted, 1e-2) for wanted in _wrapped(audit.exact_kind, x)):
            audit.accuse("integer_overflow", f"{shown(got)} for {row} of {dtype}", topic=topic)
            return


def _wrapped(kind: str, x: Array) -> list[Array]:
    """What comes out where the type of x, or one of fewer bits, has no room."""
    found = []
    for integer in dict.fromkeys([x.dtype.name, "int8", "uint8", "int16", "int32"]):
        for real in ("float16", "float32", "float64"):
            y = x.astype(integer)
            m = y.max(axis=-1, keepdims=True)
            d = (y - m).astype(real)
            e = np.exp(d)
            total = e.sum(axis=-1, keepdims=True)
            if kind == "softmax":
                found.append(e / total)
            elif kind == "log_softmax":
                found += [d - np.log(total), np.log(e / total)]
            else:
                found.append((np.log(total) + m)[..., 0])
    return [a.astype(np.float64) for a in found]
