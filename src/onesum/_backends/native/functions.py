"""Softmax and its derivatives, compiled: each function calls one generalized ufunc of the core.

The arguments are as `protocol.py` has them. The core reads any strides; what is left is to choose
the type the kernel computes in, and the layout of a new result. bfloat16, which is another
package's, goes into the core and comes back as its bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Temperature = float | NDArray[np.float64]

_ONE = np.asarray(1.0)
_FIRST_USER_DTYPE = 256  # NumPy's numbers for dtypes that other packages define


def computed_in(x: Array, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the kernel: the wider of input and result."""
    wide = x.dtype if x.dtype.itemsize > dtype.itemsize else dtype
    if x.dtype.itemsize == wide.itemsize == 2 and x.dtype.num != wide.num:
        wide = np.dtype(np.float32)  # float16 and bfloat16: neither holds the other
    return wide


def as_core(a: Array, dtype: np.dtype[Any]) -> Array:
    """An array of this dtype as the core takes it: its bits, if it is bfloat16."""
    return a.view(np.uint16) if dtype.num >= _FIRST_USER_DTYPE else a


def from_core(result: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """What the core answered, which is of this dtype and perhaps in `out`."""
    if out is not None:
        return out
    return result.view(dtype) if dtype.num >= _FIRST_USER_DTYPE else result


def row_temperature(temperature: Temperature, axis: int) -> Any:
    """The temperature as the core takes it: float64, one per row."""
    if isinstance(temperature, float):
        return _ONE if temperature == 1.0 else np.asarray(temperature)
    return np.squeeze(temperature, axis)


def rounded(result: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """A result computed in a wider type."""
    with np.errstate(all="ignore"):  # underflow and overflow are values, as in the core
        if out is None:
            return result.astype(dtype)
        out[...] = result
        return out


def _map(
    ufunc: np.ufunc,
    arrays: tuple[Array, ...],
    rows: tuple[Any, ...],
    axis: int,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """Call an operation whose result has the shape of its first operand.

    `rows` holds the operands with one element a row; the last is the temperature.
    """
    x = arrays[0]
    wide = computed_in(x, dtype)
    if wide != dtype:
        return rounded(_map(ufunc, arrays, rows, axis, wide, None), dtype, out)
    if out is None and axis != x.ndim - 1:
        # NumPy would put the class axis last in memory; the result keeps the layout of x
        out = np.empty_like(x, dtype=wide, subok=False)
    rows = (*(as_core(r.astype(wide, copy=False), wide) for r in rows[:-1]), rows[-1])
    room = None if out is None else as_core(out, wide)
    return from_core(ufunc(*_operands(arrays, wide), *rows, room, axis=axis), wide, out)


def _reduce(
    ufunc: np.ufunc,
    arrays: tuple[Array, ...],
    temperature: Any,
    axis: int,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """Call an operation that drops the class axis."""
    wide = computed_in(arrays[0], dtype)
    if wide != dtype:
        return rounded(_reduce(ufunc, arrays, temperature, axis, wide, None), dtype, out)
    axes = [axis] * len(arrays) + [(), ()]
    room = None if out is None else as_core(out, wide)
    return from_core(ufunc(*_operands(arrays, wide), temperature, room, axes=axes), wide, out)


def _operands(arrays: tuple[Array, ...], dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Arrays of logits as kernels take them, and masks as they are."""
    return tuple(
        a if a.dtype == bool else as_core(a.astype(dtype, copy=False), dtype) for a in arrays
    )


def softmax(
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    if where is None:
        return _map(_core.softmax, (x,), (t,), axis, dtype, out)
    return _map(_core.softmax_where, (x, where), (t,), axis, dtype, out)


def log_softmax(
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    if where is None:
        return _map(_core.log_softmax, (x,), (t,), axis, dtype, out)
    return _map(_core.log_softmax_where, (x, where), (t,), axis, dtype, out)


def logsumexp(
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    if where is None:
        return _reduce(_core.logsumexp, (x,), t, axis, dtype, out)
    return _reduce(_core.logsumexp_where, (x, where), t, axis, dtype, out)


def softmax_vjp(
    p: Array, g: Array, axis: int, temperature: Temperature, dtype: np.dtype[Any], out: Array | None
) -> Array:
    t = row_temperature(temperature, axis)
    return _map(_core.softmax_vjp, (p, g), (t,), axis, dtype, out)


def log_softmax_vjp(
    logp: Array,
    g: Array,
    axis: int,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    return _map(_core.log_softmax_vjp, (logp, g), (t,), axis, dtype, out)


def log_softmax_jvp(
    logp: Array,
    v: Array,
    axis: int,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    return _map(_core.log_softmax_jvp, (logp, v), (t,), axis, dtype, out)


def logsumexp_vjp(
    x: Array,
    g: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    rows = np.squeeze(g, axis), row_temperature(temperature, axis)
    if where is None:
        return _map(_core.logsumexp_vjp, (x,), rows, axis, dtype, out)
    return _map(_core.logsumexp_vjp_where, (x, where), rows, axis, dtype, out)


def logsumexp_jvp(
    x: Array,
    v: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    t = row_temperature(temperature, axis)
    if where is None:
        return _reduce(_core.logsumexp_jvp, (x, v), t, axis, dtype, out)
    return _reduce(_core.logsumexp_jvp_where, (x, where, v), t, axis, dtype, out)
