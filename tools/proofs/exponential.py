"""The exponential of csrc/numerics/exp.h, proven piece by piece of its reduced argument."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import NamedTuple

from constants import Exp
from gappa import Interval, ProofError, dyadic, interval, magnitude, prove, sollya, up, within

PIECES = 32  # of each side of 0
FORMATS = {"float32": ("ieee_32", 24), "float64": ("ieee_64", 53)}


class Proven(NamedTuple):
    parts: Fraction  # the error of scale (1 + hi + lo) before it is rounded, in ulps
    parts_relative: Fraction
    relative: Fraction  # the error of the rounded exponential
    words_relative: Fraction  # of scale (1 + hi + lo) where hi + lo is not rounded either
    tail: Fraction  # abs(tail) / (1 + tail)


def power_below(x: Fraction) -> Fraction:
    power = Fraction(2) ** (x.numerator.bit_length() - x.denominator.bit_length())
    return power if power <= x else power / 2


def reduction(c: Exp, ln2: Interval, fused: bool) -> tuple[int, Fraction]:
    """The largest abs(n) and abs(t)."""
    middle = c.magic_bias + c.bias * c.entries
    found = prove(
        "reduction",
        fused,
        format=FORMATS[c.dtype][0],
        n_log2e=dyadic(c.n_log2e),
        ln2_hi=dyadic(c.ln2_hi),
        ln2=interval(*ln2),
        least=dyadic(power_below(Fraction(1, 2) / c.n_log2e)),
        most=dyadic(c.most),
        biases=interval(middle - c.most_exponent * c.entries, middle + c.most_exponent * c.entries),
    )
    for exact in ("hi_inexact", "product_inexact"):
        if magnitude(found[exact]):
            raise ProofError(f"{c.dtype}: {exact.replace('_', ' ')}")
    return int(magnitude(found["n"])) + 1, up(magnitude(found["rest"]), 20)


def polynomial(c: Exp) -> str:
    nested = "0"
    for coefficient in reversed(c.q):
        nested = f"({dyadic(coefficient)} + x * {nested})"
    return f"1 + x + x^2 * {nested}"


def exponential(c: Exp, fused: bool) -> Proven:
    format_name, precision = FORMATS[c.dtype]
    ln2, ln2_rest, *corrections = sollya(
        [
            f"evaluate(log(2) / {c.entries}, [0;0])",
            f"evaluate(log(2) / {c.entries} - {dyadic(c.ln2_hi + c.ln2_lo)}, [0;0])",
        ]
        + [
            f"evaluate(log(2) * {j} / {c.entries} - log({dyadic(scale)}), [0;0])"
            for j, (scale, _) in enumerate(c.table)
        ]
    )
    most_n, most_t = reduction(c, ln2, fused)
    most_t += up(max(map(magnitude, corrections)), 40)
    domain = f"[{dyadic(-most_t)}; {dyadic(most_t)}]"
    ((_, error),) = sollya([f"supnorm({polynomial(c)}, exp(x), {domain}, relative, 1b-10)"])
    common = {
        "format": format_name,
        "most_n": most_n,
        "ln2_lo": dyadic(c.ln2_lo),
        "ln2_rest": interval(*ln2_rest),
        "approximation": within(error / (1 - error)),
        **{f"q{i}": dyadic(q) for i, q in enumerate(c.q)},
    }

    def piece(j: int, k: int) -> tuple[Interval, dict[str, Interval]]:
        t = interval(most_t * k / PIECES, most_t * (k + 1) / PIECES)
        if c.entries == 1:
            found = prove("exp_double", fused, **common, t=t)
        else:
            scale, stored = c.table[j]
            if not stored and magnitude(corrections[j]):
                raise ProofError(f"entry {j} is no power of two: what does it lack?")
            found = prove(
                "exp_float",
                fused,
                **common,
                t=t,
                j=f"{j}/{c.entries}",
                scale=dyadic(scale),
                stored=dyadic(stored),
                correction=interval(*corrections[j]),
            )
        return found["exact"], found

    jobs = [(j, k) for j in range(c.entries) for k in range(-PIECES, PIECES)]
    with ThreadPoolExecutor(2) as pool:
        pieces = list(pool.map(lambda job: piece(*job), jobs))

    def largest(name: str) -> Fraction:
        return max(magnitude(found[name]) for _, found in pieces)

    return Proven(
        max(
            magnitude(found["parts"]) / power_below(exact[0]) for exact, found in pieces
        ) * 2 ** (precision - 1),
        largest("parts_relative"),
        largest("relative"),
        largest("words_relative" if c.entries == 1 else "parts_relative"),
        max(magnitude(found["tail"]) / (1 + found["tail"][0]) for _, found in pieces),
    )  # fmt: skip
