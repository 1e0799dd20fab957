"""From the target of a loss, as a caller may write it, to the one form that a backend takes."""

from __future__ import annotations

import math
from typing import Any

from .._backends.target import Target
from .._library import (
    FLOATING,
    as_floating,
    device,
    dtype_name,
    is_integral,
    select,
    widest,
    widest_integer,
)
from .call import Call
from .labelled import Span
from .masked import split_mask
from .options import LossArguments, index_of, smoothing_of, softcap_of, z_loss_of
from .values import class_indices, need_weights

Array = Any


def loss_arguments(
    call: Call, target: Any, options: LossArguments, *, chunk: bool = False
) -> tuple[Target, float, float | None, Any, Any]:
    """What a cross entropy takes beside its logits: target, z_loss, softcap, where, temperature.

    Of a chunk of the classes, the indices count them all, whose number is not known; and only all
    chunks together say which rows are masked whole.
    """
    aim = target_of(
        call,
        target,
        options.weight,
        options.label_smoothing,
        options.ignore_index,
        options.sample_weight,
        may_ignore=True,
        chunk=chunk,
    )
    z, softcap = z_loss_of(options.z_loss), softcap_of(options.softcap)
    temperature = call.temperature(options.temperature)
    where = call.where(options.where)
    aim = aim if chunk else without_ignored(call, aim)
    return aim, z, softcap, where, temperature


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
    chunk: bool = False,
) -> Target:
    """The target of the rows of a call, checked; whether its user can name an index to ignore."""
    classes_there = None if chunk else call.with_classes().classes
    span: Span = "all" if getattr(target, "ndim", 0) == len(call.shape) else "rows"
    smoothing = smoothing_of(label_smoothing)
    ignore_index = index_of("ignore_index", ignore_index)
    call.ignores = ignore_index is not None
    target, mask = _indices(call, "target", target, span, in_step=True)
    shape, kind = tuple(target.shape), dtype_name(target.dtype)
    classes = probabilities = None
    if is_integral(kind):
        if shape != call.batch:
            wanted = f"class indices of shape {call.batch}, one per row of {call.name}"
            raise ValueError(f"target: expected {wanted}, got {shape}")
        classes = class_indices(call, "target", target, classes_there, ignore_index, may_ignore)
        classes = call.cut(classes, call.batch_axes)
        classes = classes if chunk else call.class_numbers(classes)
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
    span: Span | None = "rows" if getattr(value, "ndim", 0) == len(call.batch) else None
    a, mask = _indices(call, name, value, span)
    if not is_integral(dtype_name(a.dtype)):
        raise TypeError(f"{name}: expected integers, got dtype {a.dtype}")
    return a, mask


def _indices(
    call: Call, name: str, value: Any, span: Span | None, in_step: bool = False
) -> tuple[Array, Any]:
    """What may be class indices, and its mask. A list of nothing has the dtype of indices."""
    value = call.unlabelled(name, value, span)
    typed = hasattr(value, "dtype")
    value, mask = split_mask(value, hidden=0)
    a = call.converted(name, value, in_step)
    return (a if typed or 0 not in a.shape else call.xp.astype(a, widest_integer(call.xp, a))), mask


def _weights(
    call: Call, name: str, value: Any, shape: tuple[int, ...], beside: tuple[int, ...]
) -> Array:
    """Numbers from 0 on of this shape, in the widest type; `beside` x they have the other."""
    if value is None:
        return None
    xp = call.xp
    span: Span = "classes" if name == "weight" else "rows"
    value, mask = split_mask(call.unlabelled(name, value, span), hidden=1)
    weights = as_floating(xp, name, call.converted(name, value))
    if tuple(weights.shape) != shape:
        what = "class" if name == "weight" else "row"
        wanted = f"shape {shape}, one number per {what}"
        raise ValueError(f"{name}: expected {wanted}, got {tuple(weights.shape)}")
    weights = xp.astype(need_weights(call, name, weights), widest(xp, call.x), copy=False)
    call.add_mask(mask, beside)
    if name == "weight":
        return call.class_weights(weights)
    return call.cut(weights, call.batch_axes)
