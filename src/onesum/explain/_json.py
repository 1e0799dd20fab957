"""An explanation as JSON can hold it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ._latex import LATEX
from ._plain import PLAIN
from ._text import words

if TYPE_CHECKING:
    from ._explanation import Explanation
    from ._steps import Step

DIGITS = 30  # of the exact results


def as_dict(result: Explanation) -> dict[str, Any]:
    exact = result.exact
    return {
        "dtype": result.x.dtype.name,
        "x": _plain(result.x.tolist()),
        "g": None if result.g is None else _plain(result.g.tolist()),
        "target": result.target,
        "route": result.route,
        "notes": list(result.notes),
        "exact": {
            "p": _plain(exact.p),
            "jacobian": _plain(exact.jacobian),
            "gradient": _plain(exact.gradient),
            "loss": _plain(exact.loss),
            "target_gradient": _plain(exact.target_gradient),
        },
        "sections": [
            {"title": section.title, "steps": list(map(_step, section.steps))}
            for section in result.sections
        ],
        "results": [
            {
                "name": line.name.write(PLAIN),
                "exact": _plain(line.exact),
                "naive": _plain(float(line.naive)),
                "naive_ulps": _plain(line.naive_ulps),
                "onesum": _plain(float(line.ours)),
                "onesum_ulps": _plain(line.ours_ulps),
            }
            for line in result.lines
        ],
        "naive_ulps": _plain(result.naive_ulps),
        "onesum_ulps": _plain(result.ours_ulps),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "reason": words(step.reason),
        "formula": step.formula.write(LATEX),
        "at": dict(step.at),
        "numbers": None if step.numbers is None else step.numbers.write(LATEX),
        "value": _plain(step.value),
        "whole": None if step.whole is None else step.whole.write(LATEX),
    }


def _plain(value: Any) -> Any:
    """Exact numbers as text, which holds their digits; None for what is not finite."""
    if isinstance(value, list):
        return list(map(_plain, value))
    if isinstance(value, Decimal):
        return f"{value:.{DIGITS - 1}e}" if value.is_finite() else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
