# mypy: allow-untyped-calls
"""A chunk of classes, or another state, beside the rows of a state: that these are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._arguments import Call
from .._backends.registry import backend_of
from .._library import as_array, is_dask, is_torch, library_name, namespace

if TYPE_CHECKING:
    from .normalizer import Normalizer

Array = Any


def chunk_of(rows: Normalizer, name: str, x: Any) -> Call:
    """The call of a chunk that has these rows."""
    ndim = x.ndim if hasattr(x, "ndim") else as_array(name, x).ndim
    if ndim != len(rows.shape) + len(rows.axes):
        wanted = f"{len(rows.shape) + len(rows.axes)} dimensions, as the chunks before"
        raise ValueError(f"{name}: expected {wanted}, got {ndim}")
    call = Call(name, x, rows.axes)
    if call.xp is not rows._xp:
        ours, theirs = library_name(rows._xp), library_name(call.xp)
        raise TypeError(f"{name}: expected an array of {ours}, got one of {theirs}")
    if call.batch != rows.shape:
        wanted = f"rows of shape {rows.shape} beside the class axes {rows.axes}"
        raise ValueError(f"{name}: expected {wanted}, got shape {call.shape}")
    need_same_labels(name, rows._labels, call.row_labels)
    call.add_mask(rows._ignored, call.kept)
    return call


def need_same_rows(ours: Normalizer, theirs: Normalizer) -> None:
    """That two states are of the same rows and the same T."""
    if ours._xp is not theirs._xp:
        names = [library_name(a._xp) for a in (ours, theirs)]
        raise TypeError(f"other: expected a state in arrays of {names[0]}, got {names[1]}")
    if ours.shape != theirs.shape:
        raise ValueError(f"other: expected rows of shape {ours.shape}, got {theirs.shape}")
    need_same_labels("other", ours._labels, theirs._labels)
    t, other = ours._temperature, theirs._temperature
    if not same_where_known(t, other):
        raise ValueError(f"other: expected the temperature {t!r:.60}, got {other!r:.60}")


def need_same_labels(name: str, ours: Any, theirs: Any) -> None:
    """That the rows have the same labels in the same order, if both have any."""
    if ours is None or theirs is None:
        return
    if type(ours) is not type(theirs):
        raise ValueError(
            f"{name}: expected labels of {ours.library}, got those of {theirs.library}"
        )
    ours.need_same(name, theirs)


def same_where_known(a: Any, b: Any) -> bool:
    """Whether two values, numbers or arrays with one element per row, are the same; True where that
    cannot be known yet.
    """
    if a is b:
        return True
    if a is None or b is None:
        return False
    same = a == b
    if isinstance(same, bool):
        return same
    return not backend_of(same).is_concrete(same) or bool(namespace(same).all(same))


def need_no_derivative(**arrays: Any) -> None:
    """A state has no derivative: what torch would take one by is refused, not silently detached."""
    for name, a in arrays.items():
        if is_torch(a):
            from .._backends.torch.kernels import is_differentiated

            if is_differentiated(a):
                wanted = "a tensor that requires no gradient, for a state has no derivative"
                advice = f"{name}.detach() has the same values"
                raise ValueError(f"{name}: expected {wanted}; got one that does: {advice}")


def own(xp: Any, a: Array) -> Array:
    """A copy, so that a state holds no memory of its caller's. Dask's arrays do not change."""
    return a if a is None or is_dask(a) else xp.asarray(a, copy=True)


def last(xp: Any, a: Array, axis: int) -> Array:
    """An array with size 1 along an axis, with that axis last."""
    return xp.expand_dims(xp.squeeze(a, axis=axis), axis=-1)
