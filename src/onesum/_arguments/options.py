"""Options that are no arrays: numbers, names, and those of a loss together."""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple, get_args

import numpy as np

from .._backends import registry
from .._library import is_torch, torch_compiles
from .._typing import Reduction
from .masked import unmasked

REDUCTIONS = get_args(Reduction)


class LossArguments(NamedTuple):
    """What a cross entropy takes beside logits, target, axis and reduction, as it was given."""

    weight: Any
    label_smoothing: Any
    ignore_index: Any
    sample_weight: Any
    z_loss: Any
    softcap: Any
    temperature: Any
    where: Any


def as_float(name: str, value: Any) -> float:
    """A number as a float. Too large an int is no inf."""
    try:
        return float(value)
    except OverflowError:
        got = f"an integer of {value.bit_length()} bits"
        raise ValueError(f"{name}: expected a number that fits float64, got {got}") from None


def number_of(name: str, value: Any) -> float:
    """A real number, not an array of several."""
    if isinstance(value, (int, float)):
        return as_float(name, value)
    value = unmasked(name, value)
    try:
        # Of a tensor the derivative would be lost.
        derived = getattr(value, "requires_grad", False) or _is_traced(value)
        if derived or isinstance(value, (str, bytes)) or np.iscomplexobj(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # the last is torch's, of a tensor under vmap
        raise TypeError(f"{name}: expected a number, got {value!r:.60}") from None


def _is_traced(value: Any) -> bool:
    """Whether a tensor is derived or mapped. torch.compile leaves its graph to read a number."""
    if not is_torch(value) or torch_compiles():
        return False
    return not registry.backend_of(value).is_concrete(value)


def index_of(name: str, value: Any) -> int | None:
    try:
        return None if value is None else operator.index(value)
    except (TypeError, RuntimeError):
        raise TypeError(f"{name}: expected an int or None, got {value!r:.60}") from None


def count_of(name: str, value: Any, most: int | None = None) -> int:
    """An int of at least 1."""
    number = index_of(name, value)
    if number is None:
        raise TypeError(f"{name}: expected an int, got None")
    if number < 1 or (most is not None and number > most):
        wanted = "at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name}: expected {wanted}, got {number}")
    return number


def smoothing_of(value: Any) -> float:
    smoothing = number_of("label_smoothing", value)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a number from 0 to 1, got {smoothing}")
    return smoothing


def z_loss_of(value: Any) -> float:
    z = number_of("z_loss", value)
    if not 0 <= z < math.inf:
        raise ValueError(f"z_loss: expected a number >= 0, got {z}")
    return z


def softcap_of(value: Any) -> float | None:
    if value is None:
        return None
    cap = number_of("softcap", value)
    if not 0 < cap < math.inf:
        raise ValueError(f"softcap: expected a number > 0 or None, got {cap}")
    return cap


def reduction_of(value: Any) -> str:
    if not isinstance(value, str) or value not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {value!r}")
    return str(value)
