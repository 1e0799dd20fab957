"""The last steps of softmax, log_softmax and logsumexp: bounds in ulps of the result."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from constants import Log1p
from exponential import FORMATS
from gappa import dyadic, interval, magnitude, prove, sollya, within

ONE = Fraction(1)
# f = 1 + g is between 1/sqrt 2 and sqrt 2 and a little more, s = g / (2 + g), and log f.
LEAST_G, MOST_G = Fraction(-4799, 2**14), Fraction(6787, 2**14)
MOST_S, MOST_LOG = Fraction(11245, 2**16), Fraction(355, 2**10)
LEAST_EXPONENT = {"float32": -126, "float64": -1022}


def rounded(dtype: str, error: Fraction) -> Fraction:
    """A result between 1 and 2, which is rounded from something within `error` of it."""
    name, precision = FORMATS[dtype]
    ulp = ONE / 2 ** (precision - 1)
    last = 2 - ulp / 2  # from here on the exact result rounds to 2, whose ulp is twice as large
    cases = [
        ((ONE, 2 * ONE), (ONE / 2, 2 * ONE), ulp),
        ((ONE, last), (2 * ONE, 3 * ONE), ulp),
        ((last, 2 * ONE), (ONE, 3 * ONE), 2 * ulp),
    ]
    return max(
        magnitude(
            prove(
                "rounding",
                format=name,
                error=within(error),
                exact=interval(*exact),
                z=interval(*z),
            )["error"]
        )
        / unit
        for exact, z, unit in cases
        if exact[1] + error >= z[0]  # else z is not there
    )


def softmax(
    dtype: str, of_e: Fraction, of_inverse: Fraction, fused: bool, least: bool = False
) -> Fraction:
    """`least`: where the result is one of the smallest normal numbers, and e lo none."""
    exponent = LEAST_EXPONENT[dtype] if least else 0
    of_result = Fraction(2) ** exponent
    e = Fraction(2) ** (exponent // 2 + 2 if least else 0)
    inverse = of_result / e
    error = prove(
        "softmax",
        format=FORMATS[dtype][0],
        product="e*hi" if fused else "f(e*hi)",
        e=interval(e / 2, 2 * e),
        exact_e=interval(e * 15 / 32, e * 33 / 16),
        inverse=interval(inverse, 2 * inverse),
        exact=interval(of_result, 2 * of_result),
        of_e=within(of_e),
        of_inverse=within(of_inverse),
    )["error"]
    return rounded(dtype, magnitude(error) / of_result)


def log_softmax(dtype: str, of_log: Fraction) -> Fraction:
    ranges = (0, ONE / 2), (ONE / 2, ONE), (ONE, 2 * ONE)
    errors = [
        prove(
            "log_softmax",
            format=FORMATS[dtype][0],
            range=interval(*of_difference),
            of_log=within(of_log),
        )["error"]
        for of_difference in ranges
    ]
    return rounded(dtype, max(map(magnitude, errors)))


def logsumexp(of_log: Fraction) -> Fraction:
    error = prove("logsumexp", of_log=within(of_log))["error"]
    return rounded("float32", magnitude(error))


def known(c: Log1p) -> dict[str, str]:
    """What both logarithms are made of, and what Sollya knows about it."""
    nested = "0"
    for coefficient in reversed(c.q):
        nested = f"({dyadic(coefficient)} + x^2 * {nested})"
    s = f"[0; {dyadic(MOST_S)}]"
    ln2, (_, error) = sollya(
        ["evaluate(log(2), [0;0])", f"supnorm(x + x^3 * {nested}, atanh(x), {s}, relative, 1b-10)"]
    )
    return {
        "ln2": interval(*ln2),
        "ln2_hi": dyadic(c.ln2_hi),
        "ln2_lo": dyadic(c.ln2_lo),
        "approximation": within(error / (1 - error)),
        **{f"q{i}": dyadic(coefficient) for i, coefficient in enumerate(c.q)},
    }


def log1p_float(c: Log1p, fused: bool) -> Fraction:
    """The relative error of a logarithm that will be rounded to float."""
    values = known(c)
    tiny = ONE / 2**300  # below it z vanishes beside 1, and 2 s has had two roundings
    of_g = max(
        magnitude(prove("log1p_float", fused, **values, g=interval(*g))["log -/ exact"])
        for g in ((tiny, MOST_G), (LEAST_G, -tiny))
    )
    shifted = [
        prove(
            "log1p_float_shifted", fused, **values, k=interval(*k), log_g=within(MOST_LOG),
            of_log_g=within(of_g),
        )["relative"]
        for k in ((1, 1), (2, 1024))
    ]  # fmt: skip
    return max(of_g, *map(magnitude, shifted))


def log1p_double(c: Log1p, fused: bool) -> Fraction:
    """The relative error of a logarithm in double before its last rounding."""
    values = known(c)

    def error(k: tuple[int, int], g: tuple[Fraction, Fraction], size: Fraction) -> Fraction:
        # g is rounded, and then what it lacks; 1 / (1 + g) is a derivative at g, not between.
        rest = size / 2**53 + ONE / 2**105
        found = prove(
            "log1p_double", fused, **values, log_g="f=" if k[0] else "=", k=interval(*k),
            g=interval(*g), most_rest=dyadic(rest), second=within(rest**2 + ONE / 2**104),
        )  # fmt: skip
        return magnitude(found["relative"])

    # Below 2^-30, g - g^2 / 2 is the logarithm to 2^-59, and only its second word may be lost.
    errors = [ONE / 2**53]
    for exponent in range(1, 31):
        low = ONE / 2 ** (exponent + 1)
        cuts = [low + low * i / 8 for i in range(9 if exponent < 5 else 2)]
        cuts[-1] = 2 * low if exponent > 1 else MOST_G
        cuts = [cut for cut in cuts if cut <= MOST_G]
        errors += [error((0, 0), g, g[1]) for g in pairwise(cuts)]
    cuts = [LEAST_G + (MOST_G - LEAST_G) * i / 16 for i in range(17)]
    for k in (1, 1), (2, 2), (3, 7), (8, 63), (64, 1024):
        errors += [error(k, g, ONE / 2) for g in pairwise(cuts)]
    return max(errors)
