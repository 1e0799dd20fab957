"""Batches of n by n matrices known by what they do, and their algebra."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator
from typing import Any, Generic, NoReturn, Self

import numpy as np

from ..._arguments import Call
from ..._arguments.options import number_of
from ..._library import library_name
from ..._typing import A, ArrayLike, BatchIndex, NDArray, Number
from ..arithmetic import added, scaled
from .index import batch_index

Array = Any


class Operator(Generic[A]):
    """What all lazy operators have in common: the algebra, and the ways to the products.

    An operator is what its class stands for, times a number over a number: both 1 until somebody
    multiplies. The classes compute without these two, and here results are multiplied.
    """

    __array_ufunc__ = None  # array @ J is answered by __rmatmul__, not by NumPy

    _times = 1.0
    _over = 1.0

    # What a class has to tell. The call is one with the shape, the class axes and the library of
    # its vectors.
    @property
    def _call(self) -> Call:
        raise NotImplementedError

    @property
    def dtype(self) -> Any:
        raise NotImplementedError

    @property
    def T(self) -> Self:  # noqa: N802
        raise NotImplementedError

    def _from_left(self, v: Any) -> Array:
        raise NotImplementedError

    def _from_right(self, g: Any) -> Array:
        raise NotImplementedError

    def _diagonal(self) -> Array:
        raise NotImplementedError

    def _dense(self) -> Array:
        raise NotImplementedError

    def _part(self, entries: list[Any]) -> Self:
        raise NotImplementedError

    # --- as an array ---

    @property
    def shape(self) -> tuple[int, ...]:
        """``(*batch, n, n)``: the axes of p that are no class axes, in order, and the classes."""
        call = self._call
        n = math.prod(call.shape[i] for i in call.axes)
        return (*call.batch, n, n)

    @property
    def ndim(self) -> int:
        """How many axes that are."""
        return len(self.shape)

    @property
    def H(self) -> Self:  # noqa: N802
        """The adjoint, which is the transposed operator: all is real."""
        return self.T

    def diagonal(self) -> A:
        """The diagonal, of the shape of p."""
        return self._scaled(self._diagonal())

    def to_dense(self) -> A:
        """The matrices themselves, of shape ``(*batch, n, n)``."""
        return self._scaled(self._dense())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The dense matrices as a NumPy array, for `numpy.asarray`."""
        if copy is False:
            raise ValueError(
                "copy: expected None or True, for a lazy operator has no array to share"
            )
        return np.asarray(self.to_dense(), dtype=dtype)

    def __getitem__(self, index: BatchIndex | tuple[BatchIndex, ...]) -> Self:
        """The operator of a part of the batch; a view of p, unless the index has an array.

        Parameters
        ----------
        index : int, slice, Ellipsis or array_like, or a tuple of these
            An entry for each axis of the batch, from the first on. One may be a 1-d array of ints
            or of bools. The axes that remain stay in order, also beside an array.

        Returns
        -------
        operator
            Of the same class; its vectors are those parts of a vector of the whole.

        Raises
        ------
        IndexError
            If the index is something else, out of range, or reaches into the matrices.
        """
        return self._part(batch_index(index, self._call.batch))

    def __iter__(self) -> Iterator[Self]:
        batch = self._call.batch
        if not batch:
            raise TypeError(f"{type(self).__name__}: there is no batch to iterate over")
        return (self[i] for i in range(batch[0]))

    def __repr__(self) -> str:
        times = "" if self._times == 1.0 else f"{self._times!r} * "
        over = "" if self._over == 1.0 else f" / {self._over!r}"
        return f"<{times}{self._name()}{over} of shape {self.shape}, dtype {self.dtype}>"

    def _name(self) -> str:
        return type(self).__name__

    # --- products ---

    def __matmul__(self, v: ArrayLike) -> A:
        """J @ v for a batch of vectors (the shape of p) or of matrices ``(*batch, n, m)``."""
        return self._scaled(self._from_left(v))

    def __rmatmul__(self, g: ArrayLike) -> A:
        """g @ J for a batch of vectors (the shape of p) or of matrices ``(*batch, m, n)``."""
        return self._scaled(self._from_right(g))

    def dot(self, v: ArrayLike) -> A:
        """J @ v."""
        return self @ v

    # The names that scipy.sparse.linalg.aslinearoperator looks for.
    matvec = matmat = dot

    def rmatvec(self, v: ArrayLike) -> A:
        """J.T @ v."""
        return self.T @ v

    rmatmat = rmatvec

    # --- multiples and sums ---

    def __mul__(self, factor: Number) -> Self:
        """The operator times a finite number, which costs each result one more rounding."""
        return self._changed(_times=_product("factor", self._times, factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Number) -> Self:
        """The operator over a finite number other than 0, with one more rounding."""
        over = _product("divisor", self._over, divisor)
        if over == 0.0:
            raise ValueError(f"divisor: expected a number other than 0, got {divisor!r:.60}")
        return self._changed(_over=over)

    def __neg__(self) -> Self:
        return self * -1.0

    def __pos__(self) -> Self:
        return self

    def __add__(self, other: Operator[A]) -> JacobianSum[A]:
        """The sum with another operator on the same vectors."""
        return JacobianSum(self, _summand(self, other))

    def __sub__(self, other: Operator[A]) -> JacobianSum[A]:
        return JacobianSum(self, -_summand(self, other))

    def _scaled(self, result: A) -> A:
        if self._times != 1.0 or self._over != 1.0:
            result = scaled(result, self._times, self._over)
        return result

    def _changed(self, **changes: Any) -> Self:
        other = copy.copy(self)
        vars(other).update(changes)
        return other


class JacobianSum(Operator[A]):
    """The sum of two Jacobians, or of sums or multiples of them, a lazy operator.

    Made by ``J + K`` and ``J - K``. ``(J + K) @ v`` is ``J @ v + K @ v``, and so for whatever else
    it can do, which is what `SoftmaxJacobian` can, but for solving. Each term is rounded as it is
    alone, and the sum once more: an error is in proportion to the terms, also where they cancel.

    Attributes
    ----------
    shape : tuple of ints
        ``(*batch, n, n)``.
    dtype : dtype
        What the types of the two promote to.
    T : JacobianSum
        The transposed operator.

    Examples
    --------
    >>> import onesum
    >>> J, K = onesum.softmax_jacobian([0.5, 0.5]), onesum.softmax_jacobian([0.75, 0.25])
    >>> J - K
    <JacobianSum of shape (2, 2), dtype float64>
    >>> (J - K) @ [1.0, 0.0]
    array([ 0.0625, -0.0625])
    """

    def __init__(self, a: Operator[A], b: Operator[A]):
        self._a, self._b = a, b

    @property
    def _call(self) -> Call:
        return self._a._call

    @property
    def dtype(self) -> Any:
        return self._call.dtype(None, self._a, self._b)

    @property
    def T(self) -> Self:  # noqa: N802
        return self._changed(_a=self._a.T, _b=self._b.T)

    def solve(self, b: ArrayLike) -> NoReturn:
        """Not there: a sum has no solution in O(n)."""
        wanted = "a Jacobian, or a multiple of one"
        raise TypeError(f"solve: expected {wanted}, got a sum; numpy.linalg has to_dense() solved")

    def _from_left(self, v: Any) -> Array:
        return added(self._a @ v, self._b @ v)

    def _from_right(self, g: Any) -> Array:
        return added(g @ self._a, g @ self._b)

    def _diagonal(self) -> Array:
        return added(self._a.diagonal(), self._b.diagonal())

    def _dense(self) -> Array:
        return added(self._a.to_dense(), self._b.to_dense())

    def _part(self, entries: list[Any]) -> Self:
        return self._changed(_a=self._a._part(entries), _b=self._b._part(entries))


def _product(name: str, factor: float, value: Any) -> float:
    """A factor times one more number. An array might mean one per row, or one per class."""
    if getattr(value, "ndim", 0):
        got = f"{type(value).__name__} of shape {tuple(value.shape)}"
        raise TypeError(f"{name}: expected a number, got {got}")
    number = number_of(name, value)
    product = factor * number
    if not math.isfinite(product) or (factor and number and abs(product) < sys.float_info.min):
        wanted = "a finite number" if factor == 1.0 else f"a number whose product with {factor} is"
        raise ValueError(f"{name}: expected {wanted} within the normal range, got {value!r:.60}")
    return product


def _summand(a: Operator[A], b: Any) -> Operator[A]:
    """The other term of a sum with a."""
    if not isinstance(b, Operator):
        got = f"{type(b).__module__}.{type(b).__qualname__}"
        raise TypeError(f"other: expected a Jacobian, got {got}; to_dense() gives an array")
    ours, theirs = a._call, b._call
    if ours.xp is not theirs.xp:
        names = library_name(ours.xp), library_name(theirs.xp)
        raise TypeError(f"other: expected a Jacobian of {names[0]} arrays, got {names[1]}")
    if (ours.shape, ours.axes) != (theirs.shape, theirs.axes):
        wanted = f"vectors of shape {ours.shape} with the class axes {ours.axes}"
        got = f"{theirs.shape} with {theirs.axes}"
        raise ValueError(f"other: expected a Jacobian for {wanted}, got {got}")
    return b
