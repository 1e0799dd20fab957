"""Solving with the Jacobians in O(n): least squares of least norm."""

from collections.abc import Callable
from typing import Any

from .._arguments import Call
from .._backends.reference import words
from .._library import finish, quiet, select, widen

Array = Any


def _solver(formula: Callable[..., Array]) -> Callable[..., Array]:
    """Make a function of (p, b, axis, temperature) from a formula for rows."""

    @quiet
    def solve(p: Array, b: Any, axis: Any, *, temperature: Any) -> Array:
        call = Call("p", p, axis)
        b = call.same_shape("b", b)
        t, dtype = call.temperature(temperature), call.dtype(None, b)
        xp, p, b = widen(call.rows(call.x), call.rows(b))
        v = formula(xp, p, b, call.axis) * t
        return call.result(finish(xp, v, dtype, None))

    return solve


def _centre(xp: Any, b: Array, live: Array, axis: int) -> Array:
    """b minus its mean over the classes that are live, 0 elsewhere."""
    b = select(xp, live, b, 0.0)
    count = xp.sum(xp.astype(live, b.dtype), axis=axis, keepdims=True)
    count = select(xp, count == 0.0, 1.0, count)
    mean = words.divide(xp, words.total(xp, (b, xp.zeros_like(b)), axis), (count, 0.0))
    centred = words.rounded(xp, words.add((b, 0.0), words.negative(mean)))
    return select(xp, live, centred, 0.0)


def _reject(xp: Any, b: Array, p: Array, axis: int) -> Array:
    """b minus its part along p."""
    zero = xp.zeros_like(p)
    share = words.divide(
        xp, words.dot(xp, (p, zero), (b, zero), axis), words.dot(xp, (p, zero), (p, zero), axis)
    )
    return b - p * words.rounded(xp, share)


@_solver
def softmax_solve(xp: Any, p: Array, b: Array, axis: int) -> Array:
    # J v = p (v - p.v) has the range sum(b) = 0, where v = b / p solves it; its null space is
    # constants. So centring before gives least squares, and centring after gives least norm.
    live = p != 0.0
    return _centre(xp, _centre(xp, b, live, axis) / p, live, axis)


@_solver
def log_softmax_solve(xp: Any, logp: Array, b: Array, axis: int) -> Array:
    # J v = v - (p.v) 1 has the range p.b = 0, where v = b solves it; its null space is constants.
    live = logp != -xp.inf
    return _centre(xp, _reject(xp, select(xp, live, b, 0.0), xp.exp(logp), axis), live, axis)


@_solver
def log_softmax_solve_transposed(xp: Any, logp: Array, b: Array, axis: int) -> Array:
    # J^T v = v - sum(v) p has the range sum(b) = 0, where v = b solves it; its null space is p.
    live = logp != -xp.inf
    return _reject(xp, _centre(xp, b, live, axis), xp.exp(logp), axis)
