"""`explain`: the arguments, and the parts of an explanation put together."""

from __future__ import annotations

import math
import operator
from decimal import Decimal, localcontext
from typing import Any, Literal, get_args

import numpy as np

from .._arguments.masked import unmasked
from .._library import as_array, as_floating, dtype_name, namespace, to_numpy
from . import _kronecker, _logarithm, _quotient, _words
from ._compared import Values, compared
from ._exact import ARITHMETIC, INFINITY, NAN, ONE, ZERO, ExactRow
from ._explanation import Explanation, shown_classes
from ._floating import naive, ours
from ._shifted import definition_steps, shifted_steps
from ._steps import Derivation, Section

Array = Any
Route = Literal["logarithm", "quotient", "kronecker", "all"]
ROUTES = {"quotient": _quotient, "logarithm": _logarithm, "kronecker": _kronecker}
DTYPES = ("float16", "float32", "float64")
MOST = 1000  # classes: a Jacobian of a million numbers, each in a hundred digits


def explain(
    x: Any,
    g: Any = None,
    target: int | None = None,
    route: Route = "all",
    *,
    dtype: Any = None,
) -> Explanation:
    r"""Derive softmax's derivatives step by step with these numbers, and see what rounding does.

    From :math:`p_i = e^{x_i} / \sum_k e^{x_k}` along one of three routes, or all, to

    .. math:: J_{ij} = \frac{\partial p_i}{\partial x_j} = p_i (\delta_{ij} - p_j), \qquad
        \frac{\partial L}{\partial x_i} = p_i \Bigl( g_i - \sum_j g_j p_j \Bigr), \qquad
        \frac{\partial (-\ln p_t)}{\partial x_i} = p_i - \delta_{it}.

    Each step has its reason, the formula, the formula with numbers, and the value. The results are
    exact, in a hundred digits; beside them stand those of the formulas as they are printed and
    those of onesum, both in floating point, with their errors in ulps.

    Parameters
    ----------
    x : array_like, shape (n,)
        The logits of one row, at most 1000: float16, float32, float64, integers or bool (which
        are computed with in float64). They are taken exactly as they are in that type. Up to eight
        classes are shown in full, of more some.
    g : array_like, shape (n,), optional
        The cotangent dL/dp of a loss L. Without it there is no dL/dx.
    target : int, optional
        A class, counted from 0: then the cross entropy :math:`\ell = -\ln p_t` and its gradient
        are explained too. Beside g that is a second loss, of its own.
    route : {"all", "quotient", "logarithm", "kronecker"}, optional
        The quotient rule case by case; logarithmic differentiation in base b = 2; or the natural
        logarithm and Kronecker's delta.
    dtype : dtype, optional
        float16, float32 or float64, to which x and g are rounded first; by default that of x.

    Returns
    -------
    Explanation
        `str` and `print` give text, notebooks show it, `to_latex()`, `figure()` and `to_dict()`
        give the rest.

    Raises
    ------
    TypeError
        If x or g are of another type, target is no int, or dtype is none of the three.
    ValueError
        If x is not one row of 1 to 1000 logits, g has another length, a number does not fit dtype,
        or route is unknown.
    IndexError
        If target is no class.

    Notes
    -----
    NaN, several +inf, nothing but -inf: what has no derivation is explained in words.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024 (logarithm). "Softmax", notes (quotient).
    J. Purcell, "Derivative of the Softmax Function", 2021 (kronecker).

    Examples
    --------
    >>> from onesum.explain import explain
    >>> result = explain([40.0, 0.0], g=[1.0, 0.0], route="logarithm")
    >>> [f"{value:.6e}" for value in result.exact.gradient]
    ['4.248354e-18', '-4.248354e-18']
    >>> float(result.naive.gradient[0]), float(result.ours.gradient[0])
    (0.0, 4.248354255291589e-18)
    >>> print(result.sections[1].title)
    Logarithmic differentiation in base b
    """
    row = _row("x", x, dtype)
    if row.ndim == 0:
        row = row.reshape(1)
    if row.ndim != 1 or not 1 <= len(row) <= MOST:
        raise ValueError(f"x: expected one row of 1 to {MOST} logits, got shape {row.shape}")
    cotangent = None
    if g is not None:
        cotangent = _row("g", g, row.dtype).reshape(-1 if np.ndim(g) == 0 else np.shape(g))
        if cotangent.shape != row.shape:
            wanted = f"one number for each logit, shape {row.shape}"
            raise ValueError(f"g: expected {wanted}, got {cotangent.shape}")
    index = _target(target, len(row))
    if not isinstance(route, str) or route not in get_args(Route):
        raise ValueError(f"route: expected one of {', '.join(get_args(Route))}, got {route!r:.60}")
    with localcontext(ARITHMETIC):
        return _explanation(row, cotangent, index, route)


def _row(name: str, value: Any, dtype: Any) -> Array:
    """Real numbers of one of the three types, as an array of their own."""
    value = as_array(name, unmasked(name, value))
    array = to_numpy(as_floating(namespace(value), name, value))
    try:
        wanted = array.dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r:.60}") from None
    if dtype_name(wanted) not in DTYPES:
        where = name if dtype is None else "dtype"
        raise TypeError(f"{where}: expected one of {', '.join(DTYPES)}, got {wanted}")
    with np.errstate(over="ignore"):
        rounded = np.array(array, dtype=wanted)
    lost = np.flatnonzero(np.isinf(rounded) & np.isfinite(array))
    if lost.size:
        got = array.reshape(-1)[lost[0]]
        raise ValueError(f"{name}: expected numbers that fit {wanted}, got {got:g}")
    return rounded


def _target(target: Any, classes: int) -> int | None:
    if target is None:
        return None
    try:
        if isinstance(target, (bool, np.bool_)):
            raise TypeError
        index = operator.index(target)
    except TypeError:
        raise TypeError(f"target: expected an int or None, got {target!r:.60}") from None
    if not 0 <= index < classes:
        raise IndexError(f"target: expected a class from 0 to {classes - 1}, got {index}")
    return index


def _explanation(x: Array, g: Array | None, target: int | None, route: str) -> Explanation:
    row = _words.undefined(x) is None and not np.any(x == np.inf)
    exact = ExactRow(x.tolist()) if row else None
    values = _undefined_or_limit(x, g, target) if exact is None else _values(exact, g, target)
    notes = [why] if (why := _words.undefined(x) or _words.without_steps(x)) else []
    sections = _sections(exact, values, g, target, route) if exact and not notes else ()
    if _words.undefined(x) is None:
        notes += _words.of_the_logits(x) + _words.of_the_losses(x, g, target)
    printed, computed = naive(x, g, target), ours(x, g, target)
    lines = compared(values, printed, computed, shown_classes(x, target))
    notes += _words.of_the_errors(x, lines)
    return Explanation(
        x, g, target, route, values, printed, computed, sections, tuple(notes), lines
    )


def _values(row: ExactRow, g: Array | None, target: int | None) -> Values:
    n = len(row.x)
    jacobian = [[row.jacobian(i, j) for j in range(n)] for i in range(n)]
    gradient = None
    if g is not None:
        if all(math.isfinite(a) or not p for a, p in zip(g, row.p, strict=True)):
            gradient = row.vjp(list(map(Decimal, g.tolist())))
        else:
            gradient = [NAN if p else ZERO for p in row.p]
    if target is None:
        return Values(row.p, jacobian, gradient, None, None)
    loss, target_gradient = row.cross_entropy(target)
    if loss.is_infinite():  # it has no derivative by the target's logit
        target_gradient[target] = NAN
    return Values(row.p, jacobian, gradient, loss, target_gradient)


def _undefined_or_limit(x: Array, g: Array | None, target: int | None) -> Values:
    """Of one infinite logit, what softmax goes to as that grows; else nothing but NaN."""
    n, top = len(x), np.flatnonzero(x == np.inf)
    undefined = _words.undefined(x) is not None
    p = [NAN] * n if undefined else [ONE if i == top[0] else ZERO for i in range(n)]
    none = NAN if undefined else ZERO
    jacobian = [[none] * n for _ in range(n)]
    gradient = None
    if g is not None:
        gradient = [none if not a or np.isfinite(b) else NAN for a, b in zip(p, g, strict=True)]
    if target is None:
        return Values(p, jacobian, gradient, None, None)
    loss = none if undefined or p[target] else INFINITY
    target_gradient = [a - int(i == target) for i, a in enumerate(p)]
    return Values(p, jacobian, gradient, loss, target_gradient)


def _sections(
    row: ExactRow, values: Values, g: Array | None, target: int | None, route: str
) -> tuple[Section, ...]:
    gradient, target_gradient = values.gradient, values.target_gradient
    if gradient is not None and any(a.is_nan() for a in gradient):
        gradient = None
    if target_gradient is not None and any(a.is_nan() for a in target_gradient):
        target_gradient = target = None
    cotangent = None if g is None else list(map(Decimal, g.tolist()))

    def of() -> Derivation:
        return Derivation(row, cotangent, target)

    sections = [definition_steps(of())]
    for name, derivation in ROUTES.items():
        if route in (name, "all"):
            sections.append(derivation.jacobian_steps(of()))
            if gradient is not None:
                sections.append(derivation.backward_steps(of(), gradient))
            if target_gradient is not None:
                sections.append(derivation.cross_entropy_steps(of(), target_gradient))
    sections.append(shifted_steps(of(), gradient, target_gradient))
    return tuple(sections)
