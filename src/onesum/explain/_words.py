"""In words: what the formulas cannot be applied to, and where floating point goes wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._compared import Line
from ._exact import LARGEST

Array = Any
WRONG = 1000.0  # ulps from which an error is more than rounding: three digits and more are lost


def undefined(x: Array) -> str | None:
    """Why these logits have no softmax, if they have none."""
    nan, high = np.flatnonzero(np.isnan(x)), np.flatnonzero(x == np.inf)
    if nan.size:
        return (
            f"{_classes(nan)} {_has(nan)} the logit NaN, which is no number: the sum of the "
            "exponentials is NaN, and so is every probability."
        )
    if high.size > 1:
        return (
            f"{_classes(high)} {_has(high)} the logit +inf. How they share the probability depends "
            "on how they came to be infinite: there is no limit, and the answer is NaN."
        )
    if np.all(x == -np.inf):
        return (
            "All logits are -inf: every exponential is 0, and 0/0 is no number. The answer is NaN."
        )
    return None


def without_steps(x: Array) -> str | None:
    """Why there is a result, and yet no derivation with these numbers."""
    high = np.flatnonzero(x == np.inf)
    if high.size:
        return (
            f"Class {high[0]} has the logit +inf: the formula has inf/inf. The results are the "
            "limit as that logit grows: its probability is 1, all others are 0, and no derivative "
            "is left."
        )
    finite = x[np.isfinite(x)]
    if np.any(np.abs(finite.astype(np.float64)) > LARGEST):
        return (
            f"A logit is beyond {LARGEST:g}, and its exponential has more digits in its exponent "
            "than can be written here: the results are those of the shifted form; there are no "
            "steps."
        )
    return None


def of_the_logits(x: Array) -> list[str]:
    """What is special about a row that has a derivation."""
    notes = []
    low = np.flatnonzero(x == -np.inf)
    if low.size:
        notes.append(
            f"{_classes(low)} {_has(low)} the logit -inf: the exponential is 0, and with it the "
            "probability and every derivative. The logarithm of 0 is -inf; the routes over "
            "logarithms hold for the other classes, and for this one as a limit."
        )
    if len(x) == 1:
        notes.append("There is one class: it has all the probability, and nothing changes that.")
    elif np.all(x == x[0]):
        notes.append("All logits are equal, and so are the probabilities.")
    return notes


def of_the_losses(x: Array, g: Array | None, target: int | None) -> list[str]:
    """What is special about the cotangent and the target."""
    notes = []
    if g is not None:
        odd = np.flatnonzero(~np.isfinite(g) & (x != -np.inf))
        if odd.size:
            notes.append(
                f"g: {_classes(odd, 'class')} {_has(odd)} no finite number, but {g[odd[0]]:g}: "
                "the gradient by x is not defined."
            )
        elif np.all(g == g[0]):
            notes.append(
                "g is the same for all classes: the probabilities sum to 1 whatever x is, so that "
                "such a loss does not change, and its gradient is 0."
            )
    if target is not None and x[target] == -np.inf:
        notes.append(
            f"The target, class {target}, has the logit -inf: its probability is 0 and the cross "
            "entropy infinite. p - y would be -1 there; onesum gives 0, as to every logit of -inf, "
            "which no step can change."
        )
    return notes


def of_the_errors(x: Array, lines: list[Line]) -> list[str]:
    """Where the naive formulas lose what is right, and why."""
    notes = []
    name, info = x.dtype.name, np.finfo(x.dtype)
    top, low = math.log(float(info.max)), math.log(float(info.smallest_subnormal))
    finite = x[np.isfinite(x)]
    if finite.size and finite.max() > top:
        notes.append(
            f"Naive, overflow: exp({finite.max():g}) is more than {name} can hold "
            f"({info.max:.3g}, the exponential of {top:.4g}): inf/inf is NaN."
        )
    elif finite.size and finite.max() < low:
        notes.append(
            f"Naive, underflow: exp({finite.max():g}), the largest exponential, is less than half "
            f"the smallest number of {name} ({info.smallest_subnormal:.3g}): 0/0 is NaN."
        )
    zero = [line for line in lines if line.naive == 0 and line.ours != 0]
    small = [line for line in zero if line.what == "p"]
    lost = [line for line in zero if line.what in ("J", "dL/dx", "dℓ/dx")]
    if small:
        notes.append(
            f"Naive, underflow: of {_counted(small, 'probabilit', 'y', 'ies')} the exponential is "
            "0 before it is divided by the small sum of all."
        )
    elif lost:
        notes.append(
            f"Naive, cancellation: {_counted(lost)} that {_is(lost)} not 0 come{_s(lost)} out as "
            "0: a difference from a probability that was rounded to 1 has no digits left."
        )
    residue = [line for line in lines if line.exact == 0 and 0 < abs(line.naive) < math.inf]
    if residue:
        notes.append(
            f"Naive, residue: {_counted(residue)} that {_is(residue)} 0 come{_s(residue)} out as "
            "what rounding left."
        )
    rest = [line for line in lines if line.naive != 0 and WRONG < line.naive_ulps < math.inf]
    if rest:
        digits = math.log10(max(line.naive_ulps for line in rest))
        notes.append(
            f"Naive, lost digits: {_counted(rest)} {_is(rest)} wrong by "
            f"more than {WRONG:g} ulps; at worst {digits:.0f} digits are lost."
        )
    return notes


def _counted(lines: list[Line], word: str = "number", one: str = "", more: str = "s") -> str:
    return f"{len(lines)} {word}{one if len(lines) == 1 else more}"


def _is(lines: list[Line]) -> str:
    return "is" if len(lines) == 1 else "are"


def _s(lines: list[Line]) -> str:
    return "s" * (len(lines) == 1)


def _classes(places: Array, word: str = "Class") -> str:
    if len(places) == 1:
        return f"{word} {places[0]}"
    some = ", ".join(map(str, places[:5]))
    return f"{word}es {some}{', ...' if len(places) > 5 else ''}"


def _has(places: Array) -> str:
    return "has" if len(places) == 1 else "have"
