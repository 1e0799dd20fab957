"""The Jacobians of softmax and log_softmax as lazy operators.

Dense, each row of p has a matrix of n * n elements. What one does with it, multiply and solve,
takes O(n) from p alone.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self

from . import backends
from ._arguments import Call
from ._functions import log_softmax_jvp, log_softmax_vjp, softmax_jvp, softmax_vjp
from .backends import _words as words
from .backends._library import device, finish, quiet, widen, widest

Array = Any


class _Jacobian:
    """What the two Jacobians have in common: the layouts and the products."""

    # The products J @ v and g @ J, and the solvers of J and its transpose.
    _jvp: ClassVar[Callable[..., Array]]
    _vjp: ClassVar[Callable[..., Array]]
    _solve: ClassVar[Callable[..., Array]]
    _solve_transposed: ClassVar[Callable[..., Array]]
    _argument: ClassVar[str]
    _nothing: ClassVar[float]  # what stands for a class without probability

    __array_ufunc__ = None  # array @ J is answered by __rmatmul__, not by NumPy

    def __init__(self, p: Any, axis: Any = -1, *, temperature: Any = 1.0):
        call = Call(self._argument, p, axis)
        self._t = call.temperature(temperature)
        self._p = call.filled(self._nothing)
        call.mask = None
        self._call = call
        self._axis, self._temperature = axis, temperature
        self._transposed = False
        self.dtype = call.dtype(None)
        self._n = math.prod(call.shape[i] for i in call.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(*batch, n, n): the axes of p that are no class axes, in order, and the classes."""
        return (*self._call.batch, self._n, self._n)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Self:  # noqa: N802
        """The transposed operator."""
        other = copy.copy(self)
        other._transposed = not self._transposed
        return other

    @property
    def H(self) -> Self:  # noqa: N802
        """The adjoint, which is the transposed operator: all is real."""
        return self.T

    def __repr__(self) -> str:
        turned = ".T" if self._transposed else ""
        return f"<{type(self).__name__}{turned} of shape {self.shape}, dtype {self.dtype}>"

    def __matmul__(self, v: Any) -> Array:
        """J @ v for a batch of vectors (the shape of p) or of matrices (*batch, n, m)."""
        return self._apply(self._vjp if self._transposed else self._jvp, "v", v, -2)

    def __rmatmul__(self, g: Any) -> Array:
        """g @ J for a batch of vectors (the shape of p) or of matrices (*batch, m, n)."""
        return self._apply(self._jvp if self._transposed else self._vjp, "g", g, -1)

    def dot(self, v: Any) -> Array:
        """J @ v."""
        return self @ v

    # The names that scipy.sparse.linalg.aslinearoperator looks for.
    matvec = matmat = dot

    def rmatvec(self, v: Any) -> Array:
        """J.T @ v."""
        return self.T @ v

    rmatmat = rmatvec

    def solve(self, b: Any) -> Array:
        """The least-squares solution of J @ v = b of least norm, pinv(J) @ b, in O(n).

        Parameters
        ----------
        b : array_like
            A batch of vectors (the shape of p) or of matrices (*batch, n, m).

        Returns
        -------
        v : array
            Of the shape of b; 0 where p is 0.
        """
        solver = self._solve_transposed if self._transposed else self._solve
        return self._apply(solver, "b", b, -2)

    def diagonal(self) -> Array:
        """The diagonal, of the shape of p."""
        call = self._call
        return call.result(self._diagonal(call.rows(self._p), call.axis, self._t, self.dtype))

    @quiet
    def to_dense(self) -> Array:
        """The matrices themselves, of shape (*batch, n, n)."""
        xp, p, t = self._last()
        p = xp.astype(p, widest(xp, p), copy=False)
        diagonal = self._diagonal(p, p.ndim - 1, t, p.dtype)
        index = xp.arange(self._n, device=device(p))
        on_diagonal = index[:, None] == index[None, :]
        off = self._off_diagonal(xp, p) / (t if isinstance(t, float) else t[..., None])
        dense = xp.where(on_diagonal, diagonal[..., None], off)
        if self._transposed:
            dense = xp.matrix_transpose(dense)
        return finish(xp, dense, self.dtype, None)

    def _diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        raise NotImplementedError

    def _off_diagonal(self, xp: Any, p: Array) -> Array:
        raise NotImplementedError

    def _last(self) -> tuple[Any, Array, Any]:
        """The namespace, p as (*batch, n) and the temperature, a float or (*batch, 1)."""
        xp, axis = self._call.xp, self._call.axis
        p = xp.moveaxis(self._call.rows(self._p), axis, -1)
        return xp, p, self._t if isinstance(self._t, float) else xp.moveaxis(self._t, axis, -1)

    def _apply(self, function: Callable[..., Array], name: str, v: Any, axis: int) -> Array:
        """Apply a function of (p, v, axis, temperature) to vectors, or to matrices along axis."""
        v = v if hasattr(v, "shape") else backends.as_array(name, v)
        shape, batch = tuple(v.shape), self._call.batch
        if shape == self._call.shape:
            return function(self._p, v, self._axis, temperature=self._temperature)
        if len(shape) != len(batch) + 2 or shape[:-2] != batch or shape[axis] != self._n:
            matrices = (*batch, self._n, "m") if axis == -2 else (*batch, "m", self._n)
            wanted = f"shape {self._call.shape} (vectors) or {matrices} (matrices)"
            raise ValueError(f"{name}: expected {wanted}, got {shape}".replace("'m'", "m"))
        xp, p, t = self._last()
        p = p[..., :, None] if axis == -2 else p[..., None, :]
        t = t if isinstance(t, float) else t[..., None]
        return function(xp.broadcast_to(p, shape), v, axis, temperature=t)


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
    b = xp.where(live, b, 0.0)
    count = xp.sum(xp.astype(live, b.dtype), axis=axis, keepdims=True)
    count = xp.where(count == 0.0, 1.0, count)
    mean = words.divide(xp, words.total(xp, (b, xp.zeros_like(b)), axis), (count, 0.0))
    centred = words.rounded(xp, words.add((b, 0.0), words.negative(mean)))
    return xp.where(live, centred, 0.0)


def _reject(xp: Any, b: Array, p: Array, axis: int) -> Array:
    """b minus its part along p."""
    zero = xp.zeros_like(p)
    share = words.divide(
        xp, words.dot(xp, (p, zero), (b, zero), axis), words.dot(xp, (p, zero), (p, zero), axis)
    )
    return b - p * words.rounded(xp, share)


@_solver
def _softmax_solve(xp: Any, p: Array, b: Array, axis: int) -> Array:
    # J v = p (v - p.v) has the range sum(b) = 0, where v = b / p solves it; its null space is
    # constants. So centring before gives least squares, and centring after gives least norm.
    live = p != 0.0
    return _centre(xp, _centre(xp, b, live, axis) / p, live, axis)


@_solver
def _log_softmax_solve(xp: Any, logp: Array, b: Array, axis: int) -> Array:
    # J v = v - (p.v) 1 has the range p.b = 0, where v = b solves it; its null space is constants.
    live = logp != -xp.inf
    return _centre(xp, _reject(xp, xp.where(live, b, 0.0), xp.exp(logp), axis), live, axis)


@_solver
def _log_softmax_solve_transposed(xp: Any, logp: Array, b: Array, axis: int) -> Array:
    # J^T v = v - sum(v) p has the range sum(b) = 0, where v = b solves it; its null space is p.
    live = logp != -xp.inf
    return _reject(xp, _centre(xp, b, live, axis), xp.exp(logp), axis)


class SoftmaxJacobian(_Jacobian):
    r"""The Jacobian of softmax, a lazy operator: (diag(p) - p p^T) / T for every row of p.

    .. math:: J_{ij} = \frac{\partial p_i}{\partial x_j} = \frac{p_i (\delta_{ij} - p_j)}{T}

    Made by `softmax_jacobian`. ``J @ v`` and ``g @ J`` are `softmax_jvp` and `softmax_vjp`. Vectors
    have the shape of p. Matrices have the shape (*batch, n, m), or (*batch, m, n) to the left of J,
    where batch stands for the axes of p that are no class axes and n for all classes. For a single
    row the object is what `scipy.sparse.linalg.aslinearoperator` takes. p is kept, not copied.

    Attributes
    ----------
    shape : tuple of ints
        (*batch, n, n).
    dtype : dtype
        The type of p.
    T : SoftmaxJacobian
        The transposed operator: J itself, which is symmetric.
    """

    _argument, _nothing = "p", 0.0
    _jvp = staticmethod(softmax_jvp)
    _vjp = staticmethod(softmax_vjp)
    _solve = _solve_transposed = staticmethod(_softmax_solve)

    @property
    def T(self) -> Self:  # noqa: N802
        return self

    def _diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        return self._call.backend.softmax_diagonal(p, axis, temperature, dtype)

    def _off_diagonal(self, xp: Any, p: Array) -> Array:
        return 0.0 - p[..., :, None] * p[..., None, :]


class LogSoftmaxJacobian(_Jacobian):
    r"""The Jacobian of log_softmax, a lazy operator: (I - 1 p^T) / T for every row.

    .. math:: J_{ij} = \frac{\partial \log p_i}{\partial x_j} = \frac{\delta_{ij} - p_j}{T}

    Made by `log_softmax_jacobian`. ``J @ v`` and ``g @ J`` are `log_softmax_jvp` and
    `log_softmax_vjp`. Rows and columns of classes with p = 0 (log p = -inf) are 0. Layouts, and
    what the object can do, are those of `SoftmaxJacobian`; it is not symmetric.

    Attributes
    ----------
    shape : tuple of ints
        (*batch, n, n).
    dtype : dtype
        The type of logp.
    T : LogSoftmaxJacobian
        The transposed operator.
    """

    _argument, _nothing = "logp", -math.inf
    _jvp = staticmethod(log_softmax_jvp)
    _vjp = staticmethod(log_softmax_vjp)
    _solve = staticmethod(_log_softmax_solve)
    _solve_transposed = staticmethod(_log_softmax_solve_transposed)

    def _diagonal(self, p: Array, axis: int, temperature: Any, dtype: Any) -> Array:
        return self._call.backend.log_softmax_diagonal(p, axis, temperature, dtype)

    def _off_diagonal(self, xp: Any, p: Array) -> Array:
        live = xp.astype(p != -xp.inf, p.dtype)
        return 0.0 - live[..., :, None] * xp.exp(p)[..., None, :]


def softmax_jacobian(p: Any, axis: Any = -1, *, temperature: Any = 1.0) -> SoftmaxJacobian:
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


def log_softmax_jacobian(
    logp: Any, axis: Any = -1, *, temperature: Any = 1.0
) -> LogSoftmaxJacobian:
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
