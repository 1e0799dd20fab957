"""From the target of a loss, as a caller may write it, to the one form that a backend takes."""

import math
import operator
from typing import Any

import numpy as np

from ._arguments import Call
from ._dtypes import FLOATING, as_float, as_floating, dtype_name, is_integral
from ._masks import split_mask, unmasked
from .backends._library import device, select, widest
from .backends._target import Target

Array = Any

_TORCH_IGNORES = -100  # PyTorch's ignore_index, where none is given


def loss_arguments(
    call: Call,
    target: Any,
    weight: Any,
    label_smoothing: Any,
    ignore_index: Any,
    sample_weight: Any,
    z_loss: Any,
    temperature: Any,
    where: Any,
) -> tuple[Target, float, Any, Any]:
    """What a cross entropy takes beside its logits: target, z_loss, where and temperature."""
    aim = target_of(
        call, target, weight, label_smoothing, ignore_index, sample_weight, may_ignore=True
    )
    z = _z_loss_of(z_loss)
    temperature = call.temperature(temperature)
    where = call.where(where)
    return without_ignored(call, aim), z, where, temperature


def without_ignored(call: Call, target: Target) -> Target:
    """The target less the rows that are masked whole, by whatever argument.

    Beside probabilities they have no weight; as nothing of them is in `where`, all they give is 0.
    """
    if call.ignored is None:
        return target
    xp, ignored = call.xp, call.ours(call.ignored)
    if target.classes is not None:
        return target._replace(classes=select(xp, ignored, -1, target.classes))
    s = target.sample_weight
    if s is None:
        s = xp.ones(call.batch, dtype=widest(xp, call.x), device=device(call.x))
    return target._replace(sample_weight=select(xp, ignored, 0.0, s))


def target_of(
    call: Call,
    target: Any,
    weight: Any,
    label_smoothing: Any,
    ignore_index: Any,
    sample_weight: Any,
    *,
    may_ignore: bool = False,
) -> Target:
    """The target of the rows of a call, checked; whether its user can name an index to ignore."""
    call.with_classes()
    smoothing = number_of("label_smoothing", label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a number from 0 to 1, got {smoothing}")
    if ignore_index is not None:
        ignore_index = _index("ignore_index", ignore_index)
    target, mask = _indices(call, "target", target, in_step=True)
    shape, kind = tuple(target.shape), dtype_name(target.dtype)
    classes = probabilities = None
    if is_integral(kind):
        if shape != call.batch:
            wanted = f"class indices of shape {call.batch}, one per row of {call.name}"
            raise ValueError(f"target: expected {wanted}, got {shape}")
        classes = class_indices(call, "target", target, ignore_index, may_ignore)
        call.add_mask(mask, call.kept)
    else:
        if kind not in FLOATING or (shape == call.batch != call.shape):
            wanted = f"integers of shape {call.batch} or floating numbers of shape {call.shape}"
            got = f"dtype {target.dtype}, shape {shape}"
            raise TypeError(f"target: expected {wanted}, got {got}")
        if shape != call.shape:
            wanted = f"probabilities of the shape of {call.name}, {call.shape}"
            raise ValueError(f"target: expected {wanted}, got {shape}")
        if ignore_index is not None:
            wanted = "None, for target has probabilities"
            raise ValueError(f"ignore_index: expected {wanted}, got {ignore_index}")
        call.add_mask(mask)
        probabilities = call.rows(target)
    sizes = tuple(n if i in call.axes else 1 for i, n in enumerate(call.shape))
    return Target(
        classes,
        probabilities,
        _weights(call, "weight", weight, (math.prod(sizes),), sizes),
        smoothing,
        _weights(call, "sample_weight", sample_weight, call.batch, call.kept),
    )


def integers(call: Call, name: str, value: Any) -> tuple[Array, Any]:
    """An array of integers, and its mask."""
    a, mask = _indices(call, name, value)
    if not is_integral(dtype_name(a.dtype)):
        raise TypeError(f"{name}: expected integers, got dtype {a.dtype}")
    return a, mask


def _indices(call: Call, name: str, value: Any, in_step: bool = False) -> tuple[Array, Any]:
    """What may be class indices, and its mask. A list of nothing has the dtype of indices."""
    typed = hasattr(value, "dtype")
    value, mask = split_mask(value, hidden=0)
    a = call.converted(name, value, in_step)
    return (a if typed or 0 not in a.shape else call.xp.astype(a, call.xp.int64)), mask


def class_indices(
    call: Call,
    name: str,
    index: Array,
    ignore_index: int | None = None,
    may_ignore: bool = False,
) -> Array:
    """int64, with -1 for what is to be ignored; all else is a class."""
    xp = call.xp
    n = math.prod(call.shape[i] for i in call.axes)
    unsigned = dtype_name(index.dtype).startswith("u")
    # Other libraries compare little with uint64: there its upper half wraps to negative numbers.
    wide = index if xp is np else xp.astype(index, xp.int64, copy=False)
    outside = (wide < 0) | (wide >= n)
    ignored = None
    if ignore_index is not None:
        first, end = 0 if unsigned else -(2**63), 2**64 if xp is np else 2**63
        ignored = wide == ignore_index if first <= ignore_index < end else outside & ~outside
        outside = outside & ~ignored
    if bool(xp.any(outside)):
        position = tuple(int(i[0]) for i in xp.nonzero(outside)) if index.ndim else ()
        value = int(wide[position]) % 2**64 if unsigned else int(wide[position])
        at = f" at position {position[0] if len(position) == 1 else position}" if position else ""
        if value == _TORCH_IGNORES and may_ignore and ignore_index is None:
            at += f" (such rows are ignored with ignore_index={value})"
        raise IndexError(f"{name}: expected class indices from 0 to {n - 1}, got {value}{at}")
    wide = xp.astype(wide, xp.int64, copy=False)
    return wide if ignored is None else select(xp, ignored, -1, wide)


def number_of(name: str, value: Any) -> float:
    """A real number, not an array of several."""
    if isinstance(value, int):
        return as_float(name, value)
    value = unmasked(name, value)
    try:
        if isinstance(value, (str, bytes)) or np.iscomplexobj(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r:.60}") from None


def _z_loss_of(value: Any) -> float:
    z = number_of("z_loss", value)
    if not 0 <= z < math.inf:
        raise ValueError(f"z_loss: expected a number >= 0, got {z}")
    return z


def _index(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int or None, got {value!r:.60}") from None


def _weights(
    call: Call, name: str, value: Any, shape: tuple[int, ...], beside: tuple[int, ...]
) -> Array:
    """Numbers from 0 on of this shape, in the widest type; `beside` x they have the other."""
    if value is None:
        return None
    xp = call.xp
    value, mask = split_mask(value, hidden=1)
    weights = as_floating(xp, name, call.converted(name, value))
    if tuple(weights.shape) != shape:
        what = "class" if name == "weight" else "row"
        wanted = f"shape {shape}, one number per {what}"
        raise ValueError(f"{name}: expected {wanted}, got {tuple(weights.shape)}")
    weights = xp.astype(weights, widest(xp, call.x), copy=False)
    good = (weights >= 0) & xp.isfinite(weights)
    if not bool(xp.all(good)):
        bad = float(xp.reshape(weights[~good], (-1,))[0])
        raise ValueError(f"{name}: expected finite numbers >= 0, got {bad} among them")
    call.add_mask(mask, beside)
    return weights
