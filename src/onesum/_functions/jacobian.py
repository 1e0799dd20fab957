"""The Jacobians of softmax and log_softmax as lazy operators.

Dense, each row of p has a matrix of n * n elements. What one does with it, multiply and solve,
takes O(n) from p alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Self, overload

from .._arguments import Call
from .._backends.reference import words
from .._library import as_array, finish, places, quiet, widest
from .._typing import A, ArrayLike, Axis, NDArray, NumPyLike
from .arithmetic import scaled
from .log_softmax import log_softmax_jvp, log_softmax_vjp
from .operators import Operator, taken
from .softmax import softmax_jvp, softmax_vjp
from .solve import log_softmax_solve, log_softmax_solve_transposed, softmax_solve

Array = Any


class _Jacobian(Operator[A]):
    """What the two Jacobians have in common: the layouts and the products.

    It holds numbers, arrays and nothing else, so that it can be copied and pickled.
    """

    # The products J @ v and g @ J, and the solvers of J and its transpose.
    _jvp: ClassVar[Callable[..., Array]]
    _vjp: ClassVar[Callable[..., Array]]
    _solve: ClassVar[Callable[..., Array]]
    _solve_transposed: ClassVar[Callable[..., Array]]
    _argument: ClassVar[str]
    _nothing: ClassVar[float]  # what stands for a class without probability

    _transposed = False

    @overload
    def __init__(
        self: _Jacobian[NDArray[Any]],
        p: NumPyLike,
        axis: Axis = -1,
        *,
        temperature: ArrayLike = 1.0,
    ): ...
    @overload
    def __init__(self, p: A, axis: Axis = -1, *, temperature: ArrayLike = 1.0): ...
    @overload
    def __init__(
        self: _Jacobian[Any], p: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
    ): ...
    def __init__(self, p: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0):
        call = Call(self._argument, p, axis)
        t = call.temperature(temperature)
        self._temperature = t if isinstance(t, float) else call.xp.reshape(t, call.kept)
        p = call.filled(self._nothing)
        self._p: Any = p if call.labels is None else call.labels.wrap(p)
        self._axes = call.axes

    @property
    def _call(self) -> Call:
        return Call(self._argument, self._p, self._axes)

    @property
    def dtype(self) -> Any:
        """The type of p."""
        return self._call.dtype(None)

    @property
    def T(self) -> Self:  # noqa: N802
        """The transposed operator."""
        return self._changed(_transposed=not self._transposed)

    def solve(self, b: ArrayLike) -> A:
        """The least-squares solution of J @ v = b of least norm, pinv(J) @ b, in O(n).

        Parameters
        ----------
        b : array_like
            A batch of vectors (the shape of p) or of matrices
            ``(*batch, n, m)``.

        Returns
        -------
        v : array
            Of the shape of b; 0 where p is 0.
        """
        solver = self._solve_transposed if self._transposed else self._solve
        v: A = self._apply(solver, "b", b, -2)
        if self._times != 1.0 or self._over != 1.0:
            # The matrices 0 have the pseudo-inverse 0.
            v = scaled(v, self._over, self._times) if self._times else scaled(v, 0.0)
        return v

    def _from_left(self, v: Any) -> Array:
        return self._apply(self._vjp if self._transposed else self._jvp, "v", v, -2)

    def _from_right(self, g: Any) -> Array:
        return self._apply(self._jvp if self._transposed else self._vjp, "g", g, -1)

    def _apply(self, function: Callable[..., Array], name: str, v: Any, axis: int) -> Array:
        """Apply a function of (p, v, axis, temperature) to vectors, or to matrices along axis."""
        v = v if hasattr(v, "shape") else as_array(name, v)
        shape = tuple(v.shape)
        if shape == tuple(self._p.shape):
            axes = self._axes[0] if len(self._axes) == 1 else self._axes
            return function(self._p, v, axes, temperature=self._temperature)
        call, n = self._call, self.shape[-1]
        if len(shape) != len(call.batch) + 2 or shape[:-2] != call.batch or shape[axis] != n:
            matrices = (*call.batch, n, "m") if axis == -2 else (*call.batch, "m", n)
            wanted = f"shape {call.shape} (vectors) or {matrices} (matrices)"
            raise ValueError(f"{name}: expected {wanted}, got {shape}".replace("'m'", "m"))
        xp, p, t = self._last()
        p = p[..., :, None] if axis == -2 else p[..., None, :]
        t = t if isinstance(t, float) else t[..., None]
        return function(xp.broadcast_to(p, shape), v, axis, temperature=t)

    def _diagonal(self) -> Array:
        call = self._call
        t = call.temperature(self._temperature)
        return call.result(self._on_diagonal(call.rows(call.x), call.axis, t, self.dtype))

    @quiet
    def _dense(self) -> Array:
        xp, p, t = self._last()
        p = xp.astype(p, widest(xp, p), copy=False)
        diagonal = self._on_diagonal(p, p.ndim - 1, t, p.dtype)
        index = places(xp, p, p.ndim - 1)
        on_diagonal = index[:, None] == index[None, :]
        off = self._off_diagonal(xp, p, t)
        dense = xp.where(on_diagonal, diagonal[..., None], off)
        if self._transposed:
            dense = xp.matrix_transpose(dense)
        return finish(xp, dense, self.dtype, None)

    def _on_diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        raise NotImplementedError

    def _off_diagonal(self, xp: Any, p: Array, t: Any) -> Array:
        raise NotImplementedError

    def _last(self) -> tuple[Any, Array, Any]:
        """The namespace, p as (*batch, n) and the temperature, a float or (*batch, 1)."""
        call = self._call
        xp, t = call.xp, call.temperature(self._temperature)
        order = (*(i for i in range(len(call.batch) + 1) if i != call.axis), call.axis)
        p = xp.permute_dims(call.in_order(call.x), order)
        return xp, p, t if isinstance(t, float) else xp.permute_dims(t, order)

    def _part(self, entries: list[Any]) -> Self:
        call, t = self._call, self._temperature
        gone = [i for i, e in zip(call.batch_axes, entries, strict=True) if isinstance(e, int)]
        return self._changed(
            _p=taken(call.xp, call.x, call.batch_axes, entries),
            _temperature=t if isinstance(t, float) else taken(call.xp, t, call.batch_axes, entries),
            _axes=tuple(a - sum(i < a for i in gone) for a in self._axes),
        )

    def _name(self) -> str:
        return super()._name() + (".T" if self._transposed else "")


class SoftmaxJacobian(_Jacobian[A]):
    r"""The Jacobian of softmax, a lazy operator: (diag(p) - p p^T) / T for every row of p.

    .. math:: J_{ij} = \frac{\partial p_i}{\partial x_j} = \frac{p_i (\delta_{ij} - p_j)}{T}

    Made by `softmax_jacobian`. ``J @ v`` and ``g @ J`` are `softmax_jvp` and `softmax_vjp`. Vectors
    have the shape of p. Matrices have the shape ``(*batch, n, m)``, to the left of J
    ``(*batch, m, n)``, where batch stands for the axes of p that are no class axes and n for all
    classes. For a single row the object is what `scipy.sparse.linalg.aslinearoperator` takes. p is
    kept, not copied.

    What is made of an operator is lazy, too: ``J[i]``, a part of the batch; ``2 * J``, ``J / 2``
    and ``-J``, whose results are those of J multiplied in float64 and rounded once more (those in
    float64 once for each number); ``J + K`` and ``J - K``, a ``JacobianSum``. ``iter(J)`` goes
    through the first axis of the batch. ``numpy.asarray(J)`` is ``J.to_dense()`` as a NumPy array.
    An operator can be copied and pickled if its arrays can.

    Parameters
    ----------
    p, axis, temperature
        As in `softmax_jacobian`.

    Attributes
    ----------
    shape : tuple of ints
        ``(*batch, n, n)``.
    dtype : dtype
        The type of p.
    T : SoftmaxJacobian
        The transposed operator: J itself, which is symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> J = onesum.softmax_jacobian([[0.5, 0.5], [0.75, 0.25]])
    >>> 2 * J[1]
    <2.0 * SoftmaxJacobian of shape (2, 2), dtype float64>
    >>> np.asarray(2 * J[1])
    array([[ 0.375, -0.375],
           [-0.375,  0.375]])
    """

    _argument, _nothing = "p", 0.0
    _jvp = staticmethod(softmax_jvp)
    _vjp = staticmethod(softmax_vjp)
    _solve = _solve_transposed = staticmethod(softmax_solve)

    @property
    def T(self) -> Self:  # noqa: N802
        """The transposed operator: J itself, which is symmetric."""
        return self

    def _on_diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        return self._call.backend.softmax_diagonal(p, axis, temperature, dtype)

    def _off_diagonal(self, xp: Any, p: Array, t: Any) -> Array:
        return 0.0 - p[..., :, None] * (p / t)[..., None, :]  # a product may be no normal number


class LogSoftmaxJacobian(_Jacobian[A]):
    r"""The Jacobian of log_softmax, a lazy operator: (I - 1 p^T) / T for every row.

    .. math:: J_{ij} = \frac{\partial \log p_i}{\partial x_j} = \frac{\delta_{ij} - p_j}{T}

    Made by `log_softmax_jacobian`. ``J @ v`` and ``g @ J`` are `log_softmax_jvp` and
    `log_softmax_vjp`. Rows and columns of classes with p = 0 (log p = -inf) are 0. Layouts, and
    what the object can do, are those of `SoftmaxJacobian`; it is not symmetric.

    Parameters
    ----------
    p, axis, temperature
        As in `log_softmax_jacobian`, whose logp is p here.

    Attributes
    ----------
    shape : tuple of ints
        ``(*batch, n, n)``.
    dtype : dtype
        The type of logp.
    T : LogSoftmaxJacobian
        The transposed operator.

    Examples
    --------
    >>> import onesum
    >>> J = onesum.log_softmax_jacobian(onesum.log_softmax([0.0, 0.0]))
    >>> J @ [1.0, 0.0], J.T @ [1.0, 0.0]
    (array([ 0.5, -0.5]), array([ 0.5, -0.5]))
    """

    _argument, _nothing = "logp", -math.inf
    _jvp = staticmethod(log_softmax_jvp)
    _vjp = staticmethod(log_softmax_vjp)
    _solve = staticmethod(log_softmax_solve)
    _solve_transposed = staticmethod(log_softmax_solve_transposed)

    def _on_diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        return self._call.backend.log_softmax_diagonal(p, axis, temperature, dtype)

    def _off_diagonal(self, xp: Any, p: Array, t: Any) -> Array:
        live = xp.astype(p != -xp.inf, p.dtype)
        e, root = words.scaled_exp(xp, (p, xp.zeros_like(p)))
        columns = words.rounded(xp, e) / t * root * root
        return 0.0 - live[..., :, None] * columns[..., None, :]


@overload
def softmax_jacobian(
    p: NumPyLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> SoftmaxJacobian[NDArray[Any]]: ...
@overload
def softmax_jacobian(
    p: A, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> SoftmaxJacobian[A]: ...
@overload
def softmax_jacobian(
    p: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> SoftmaxJacobian[Any]: ...
def softmax_jacobian(
    p: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> SoftmaxJacobian[Any]:
    r"""The Jacobian of softmax as a lazy operator.

    .. math:: J = \frac{\operatorname{diag}(p) - p\, p^\mathsf{T}}{T}

    Parameters
    ----------
    p : array_like
        Probabilities, the result of `softmax`.
    axis, temperature
        As given to `softmax`.

    Returns
    -------
    J : SoftmaxJacobian
        One n by n matrix for each row of p. Nothing of that size is made but by ``to_dense()``.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024: the layer for a batch, whose Jacobian has the
    shape k by n by n. J. Purcell, "Derivative of the Softmax Function", 2021, equation (5).

    Examples
    --------
    >>> import onesum
    >>> J = onesum.softmax_jacobian([0.5, 0.25, 0.25])
    >>> J
    <SoftmaxJacobian of shape (3, 3), dtype float64>
    >>> J @ [1.0, 0.0, 0.0]
    array([ 0.25 , -0.125, -0.125])
    >>> J.to_dense()
    array([[ 0.25  , -0.125 , -0.125 ],
           [-0.125 ,  0.1875, -0.0625],
           [-0.125 , -0.0625,  0.1875]])
    """
    return SoftmaxJacobian(p, axis, temperature=temperature)


@overload
def log_softmax_jacobian(
    logp: NumPyLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> LogSoftmaxJacobian[NDArray[Any]]: ...
@overload
def log_softmax_jacobian(
    logp: A, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> LogSoftmaxJacobian[A]: ...
@overload
def log_softmax_jacobian(
    logp: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> LogSoftmaxJacobian[Any]: ...
def log_softmax_jacobian(
    logp: ArrayLike, axis: Axis = -1, *, temperature: ArrayLike = 1.0
) -> LogSoftmaxJacobian[Any]:
    r"""The Jacobian of log_softmax as a lazy operator.

    .. math:: J_{ij} = \frac{\delta_{ij} - p_j}{T}

    Parameters
    ----------
    logp : array_like
        Log-probabilities, the result of `log_softmax`.
    axis, temperature
        As given to `log_softmax`.

    Returns
    -------
    J : LogSoftmaxJacobian
        One n by n matrix for each row of logp, lazy as in `softmax_jacobian`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> J = onesum.log_softmax_jacobian(onesum.log_softmax([0.0, 0.0]))
    >>> J.to_dense()
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    return LogSoftmaxJacobian(logp, axis, temperature=temperature)
