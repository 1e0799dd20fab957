"""The mistakes that are known by name: the formula that shows each, and the mend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """What is said of a mistake."""

    formula: str
    what: str
    mend: str


@dataclass(frozen=True)
class Mistake:
    told: Told
    log: Told | None = None
    """What is said where the function returns logarithms, or is their derivative."""

    def of(self, kind: str) -> Told:
        logarithmic = kind in ("log_softmax", "logsumexp", "cross_entropy", "log_softmax_vjp")
        return self.log if logarithmic and self.log else self.told


def _mistake(formula: str, what: str, mend: str) -> Mistake:
    return Mistake(Told(formula, what, mend))


_SHIFT = "m = x.max(axis, keepdims=True); e = exp(x - m); p = e / e.sum(axis, keepdims=True)"
_LOG = "m = x.max(axis, keepdims=True); log p = (x - m) - log(exp(x - m).sum(axis, keepdims=True))"

MISTAKES = {
    "no_max_shift": Mistake(
        Told(
            "exp(x) / sum(exp(x))",
            "exp overflows, or all of it underflows: inf / inf or 0 / 0 is NaN",
            _SHIFT,
        ),
        Told(
            "log(sum(exp(x)))",
            "exp overflows, or all of it underflows: the logarithm is inf or -inf",
            _LOG,
        ),
    ),
    "global_max": _mistake(
        "exp(x - max(all rows))",
        "a row far below the largest of another row underflows to 0 / 0",
        "take the maximum of each row: x.max(axis, keepdims=True)",
    ),
    "log_of_softmax": _mistake(
        "log(softmax(x))",
        "p underflows to 0 where log p is an ordinary number, and its logarithm is -inf",
        _LOG,
    ),
    "clipped": _mistake(
        "clip(x, low, high), or clip(p, low, high)",
        "what lies beyond the bound gets the bound's value, and no gradient",
        "subtract the row's maximum in place of clipping",
    ),
    "epsilon_added": Mistake(
        Told(
            "e / (sum(e) + eps), or (e + eps) / sum",
            "the sum is at least 1 once the maximum is subtracted: eps only makes p wrong",
            "leave eps out",
        ),
        Told(
            "log(p + eps), or log(sum + eps)",
            "log p can be no less than log(eps), and the loss of a confident mistake stays small",
            f"leave eps out: {_LOG}",
        ),
    ),
    "wrong_axis": _mistake(
        "the sum runs over another axis than was asked for, or over all",
        "what should sum to 1 does not",
        "max and sum with the axis asked for, and keepdims=True",
    ),
    "integer_overflow": _mistake(
        "x - max(x) in the integer type of x",
        "the difference wraps around: for uint8, 0 - 255 is 1",
        "convert first: x = x.astype(float64)",
    ),
    "half_precision_sum": _mistake(
        "e.sum() in 16 bits",
        "a float16 sum has 11 bits, stands still at 2048 ones and is inf above 65 504",
        "sum in float32 or wider: e.sum(axis, dtype=float32)",
    ),
    "not_normalized": _mistake(
        "exp(x - m), or 1 / (1 + exp(-x)), without dividing by the sum",
        "the entries of a row do not sum to 1",
        "divide by the sum along the axis: p = e / e.sum(axis, keepdims=True)",
    ),
    "writes_input": _mistake(
        "x -= x.max(axis, keepdims=True)",
        "the caller's array is changed",
        "make a new array: e = x - x.max(axis, keepdims=True)",
    ),
    "depends_on_batch": _mistake(
        "a statistic of the batch enters the row",
        "a row has another result beside other rows than alone",
        "use nothing but the row: every reduction along axis",
    ),
    "p_minus_g": _mistake(
        "p - g",
        "that is the gradient of the cross entropy, with g for the target: no chain rule for p",
        "p * (g - (p * g).sum(axis, keepdims=True))",
    ),
    "elementwise": Mistake(
        Told(
            "g * p * (1 - p)",
            "that is the derivative of the sigmoid: every p depends on every x",
            "p * (g - (p * g).sum(axis, keepdims=True))",
        ),
        Told(
            "g * (1 - p)",
            "every log p depends on every x",
            "g - p * g.sum(axis, keepdims=True)",
        ),
    ),
    "diagonal_only": Mistake(
        Told(
            "diag(J) = p * (1 - p) in the place of J = diag(p) - p p^T",
            "the entries -p_i p_j off the diagonal are left out",
            "p * (g - (p * g).sum(axis, keepdims=True))",
        ),
        Told(
            "diag(J) = 1 - p in the place of J",
            "the entries -p_j off the diagonal are left out",
            "g - p * g.sum(axis, keepdims=True)",
        ),
    ),
    "missing_sum": Mistake(
        Told(
            "g * p",
            "the term -p * sum(p * g) is left out, which comes from the denominator",
            "p * (g - (p * g).sum(axis, keepdims=True))",
        ),
        Told(
            "g, or g - p",
            "the sum of g over the classes is left out",
            "g - p * g.sum(axis, keepdims=True)",
        ),
    ),
    "wrong_sign": Mistake(
        Told(
            "p * (sum(p * g) - g), or p * (g + sum(p * g))",
            "the gradient points uphill, or its two terms do not cancel",
            "p * (g - (p * g).sum(axis, keepdims=True))",
        ),
        Told(
            "p * sum(g) - g, or g + p * sum(g)",
            "the gradient points uphill, or its two terms do not cancel",
            "g - p * g.sum(axis, keepdims=True)",
        ),
    ),
    "sum_over_batch": _mistake(
        "(p * g).sum() over all rows, or over another axis",
        "a row's gradient depends on other rows",
        "the sum along the class axis alone: .sum(axis, keepdims=True)",
    ),
    "unshifted": Mistake(
        Told(
            "p * (g - sum(p * g))",
            "where p is near 1, g - sum(p * g) has lost its digits: 0 where 4e-18 is right",
            "measure g from the likeliest class: w = g - g[argmax p]; S = sum of p w over the "
            "others; p * (w - S), and -p S at that class",
        ),
        Told(
            "g - p * sum(g)",
            "where p is near 1, the difference has lost its digits: 0 where 4e-18 is right",
            "at the likeliest class: g * sum(other p) - p * sum(other g)",
        ),
    ),
}
