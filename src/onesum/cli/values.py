"""What stands on a command line, as values."""

from __future__ import annotations

import math
import re

import numpy as np

from .._arguments.call import class_axes
from .errors import UserError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def axes_of(text: str, ndim: int) -> tuple[int, ...]:
    """The class axes that --axis names, counted from the front."""
    try:
        parts = None if text.strip().lower() == "none" else tuple(map(int, text.split(",")))
        return class_axes(parts, ndim)
    except np.exceptions.AxisError:
        got = f"got {text} for {ndim} dimension{'s' * (ndim != 1)}"
        raise UserError(f"--axis: expected from {-ndim} to {ndim - 1}, {got}") from None
    except ValueError:
        wanted = "a number, several different ones with commas, or none"
        raise UserError(f"--axis: expected {wanted}, got {text!r}") from None


def bytes_of(name: str, text: str | None) -> int | None:
    """A number of bytes, with or without a unit: 64M, 32MiB, 1000000."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kmg]?i?)b?", text.strip().lower())
    value = float(found[1]) * UNITS.get(found[2], 0) if found else 0.0
    if not 1.0 <= value < math.inf:
        raise UserError(f"{name}: expected a number of bytes, as 64M or 32MiB, got {text!r}")
    return int(value)


def temperature_of(value: float) -> float:
    if not (value > 0.0 and math.isfinite(value)):
        raise UserError(f"--temperature: expected a number above 0, got {value}")
    return value
