# mypy: allow-untyped-calls
"""The normalizer of rows whose classes come in chunks: a small state that merges."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._arguments import Call
from .._backends.reference import chunks
from .._backends.reference.words import rounded
from .._backends.registry import backend_of
from .._library import dtype_name, library_name, namespace, promoted, widest_integer
from .._typing import AnyArray, ArrayLike, Axis

Array = Any


class Normalizer:
    r"""What the classes seen so far tell about the softmax of all: the pair (m, r) of each row.

    .. math:: m = \max_j x_j, \qquad r = \sum_{j \ne j^*} e^{(x_j - m) / T},

    where j* is the pivot, the first class that attains m. Of two sets of classes with
    :math:`m_1 \ge m_2` the pair is

    .. math:: m = m_1, \qquad r = r_1 + e^{(m_2 - m_1) / T} (1 + r_2),

    so that a class axis may be gone through in chunks: in a stream, in several processes, on
    several machines, in any order. Once all are in it, each chunk has its part of the result,
    :math:`p_i = e^{(x_i - m) / T} / (1 + r)`.

    Made by `Normalizer.of`. It is of the size of the rows, and pickles so; `a | b` and `update`
    merge. r is kept in two words, so that the order of merging does not show in a result beyond its
    last ulp.

    Attributes
    ----------
    shape : tuple of ints
        The shape of x without the class axes: one normalizer per row.
    dtype : dtype
        The type of the chunks, to which those of several types promote.
    classes : int
        How many classes there were, along the class axes.

    See Also
    --------
    onesum.CrossEntropyState : the same for a loss.

    Notes
    -----
    It has no derivative: of what requires one, take it by the functions of derivatives.

    References
    ----------
    M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018, section 3.1,
    for the merge; there the pivot's own 1 is in the sum.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> x = np.array([[0.0, 1.0, 2.0, 3.0]])
    >>> normalizer = onesum.Normalizer.of(x[:, :2]) | onesum.Normalizer.of(x[:, 2:])
    >>> bool(np.all(normalizer.softmax(x[:, 2:]) == onesum.softmax(x)[:, 2:]))
    True
    >>> normalizer.pivot, normalizer.count
    (array([3]), array([4]))
    """

    __slots__ = ("_count", "_m", "_pivot", "_r", "axes", "classes", "dtype", "shape", "temperature")

    # One element per row, and a last axis of size 1, by which they are arrays and no scalars.
    _m: Array
    _r: tuple[Array, Array]
    _pivot: Array  # or None
    _count: Array  # or None where all were in `where`
    temperature: Any  # or a float
    axes: tuple[int, ...]
    classes: int
    dtype: Any
    shape: tuple[int, ...]

    def __init__(self) -> None:
        raise TypeError("Normalizer: make one by Normalizer.of(x)")

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        axis: Axis = -1,
        where: ArrayLike | None = None,
        temperature: ArrayLike = 1.0,
    ) -> Normalizer:
        """The normalizer of some classes.

        Parameters
        ----------
        x, axis, where, temperature
            As in `onesum.softmax`. x may have no class at all: that changes nothing when merged.

        Returns
        -------
        normalizer : Normalizer
            In arrays of the library of x.

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As in `onesum.softmax`; if x requires a gradient.
        """
        call = Call("x", x, axis)
        t = call.temperature(temperature)
        mask = call.where(where)
        return cls._of_call(call, t, mask)

    @classmethod
    def _of_call(cls, call: Call, temperature: Any, where: Any) -> Normalizer:
        """With its pivot."""
        made, xp = cls.of_rows(call, temperature, where, call.rows(call.x)), call.xp
        rows, m = call.rows(call.x), xp.squeeze(made._m, axis=-1)
        index = call.pivots(rows, where, m)
        made._pivot = xp.expand_dims(index, axis=-1)
        return made

    @classmethod
    def of_rows(cls, call: Call, temperature: Any, where: Any, rows: Array) -> Normalizer:
        """That of the rows of a call, for what is built upon it and needs no pivot."""
        xp, n = call.xp, call.classes
        if isinstance(n, float):  # NaN, of Dask
            wanted = f"a known number of classes (compute_chunk_sizes() finds it), got {call.shape}"
            raise ValueError(f"{call.name}: expected {wanted}")
        made: Normalizer = object.__new__(cls)
        arrays = call.backend.normalizer(rows, call.axis, where, temperature)
        made._m, *r = (xp.expand_dims(a, axis=-1) for a in arrays)
        made._r, made._pivot = (r[0], r[1]), None
        made.axes, made.shape, made.dtype = call.axes, call.batch, call.dtype(None)
        made.temperature = temperature
        if not isinstance(temperature, float):
            made.temperature = last(xp, temperature, call.axis)
        made.classes, made._count = n, None
        if where is not None:
            counted = xp.astype(where, widest_integer(xp, call.x))
            made._count = last(xp, xp.sum(counted, axis=call.axis, keepdims=True), call.axis)
        return made

    # --- what it says ---

    @property
    def m(self) -> Array:
        """The maximum of each row, in the widest type: -inf of no class, NaN where one is."""
        return self._rows(self._m)

    @property
    def r(self) -> Array:
        """The sum of the exponentials of all classes but the pivot, over that of the pivot."""
        return self._rows(rounded(self._xp, self._r))

    @property
    def pivot(self) -> Array:
        """The first class that attains m, counted in the order of merging: -1 where m is -inf."""
        if self._pivot is None:
            raise ValueError("pivot: it is known of a normalizer made by Normalizer.of only")
        return self._rows(self._pivot)

    @property
    def count(self) -> Array:
        """How many classes of each row were in `where`."""
        return self._rows(self.counted)

    @property
    def logsumexp(self) -> Array:
        """The logarithm of the sum of exp(x / T) over all classes, as from `onesum.logsumexp`."""
        value = rounded(self._xp, chunks.log_sum(self._m, self._r, self.temperature))
        return self._rows(self._xp.astype(value, self.dtype))

    @property
    def parts(self) -> tuple[Array, tuple[Array, Array]]:
        """m and the two words of r, with a last axis of size 1: for what is built upon it."""
        return self._m, self._r

    @property
    def counted(self) -> Array:
        """`count`, likewise."""
        if self._count is not None:
            return self._count
        integer = widest_integer(self._xp, self._m)
        return self._xp.astype(self._xp.full_like(self._m, self.classes), integer)

    @property
    def _xp(self) -> Any:
        return namespace(self._m)

    def _rows(self, a: Array) -> Array:
        """What has one element per row, for others."""
        a = self._xp.squeeze(a, axis=-1)
        return a[()] if self._xp is np and a.ndim == 0 else a

    def __repr__(self) -> str:
        what = f"shape={self.shape}, classes={self.classes}"
        return f"Normalizer({what}, {library_name(self._xp)}, {dtype_name(self.dtype)})"

    # --- merging ---

    def __or__(self, other: Normalizer) -> Normalizer:
        """The normalizer of the classes of both, those of the other after these."""
        if not isinstance(other, Normalizer):
            return NotImplemented
        self._need_same(other)
        xp, made = self._xp, copy.copy(self)
        (made._m, *r), first = chunks.merged(
            (self._m, *self._r), (other._m, *other._r), self.temperature
        )
        made._r = r[0], r[1]
        if self._pivot is None or other._pivot is None:
            made._pivot = None
        else:
            made._pivot = chunks.first_of(first, self._pivot, other._pivot, self.classes)
        made.classes = self.classes + other.classes
        if self._count is not None or other._count is not None:
            made._count = chunks.added(self.counted, other.counted)
        made.dtype = promoted(xp, self.dtype, other.dtype)
        return made

    def update(self, x: ArrayLike, where: ArrayLike | None = None) -> None:
        """Add the classes of a chunk, which come after those that were there.

        Parameters
        ----------
        x : array_like
            Logits: the rows of this normalizer, with any number of classes along the same axes.
        where : array_like of bool, optional
            As in `onesum.softmax`.

        Raises
        ------
        TypeError, ValueError
            If x does not fit. Then nothing is changed.
        """
        call, t, mask = self._chunk("x", x, where)
        merged = self | self._of_call(call, t, mask)
        for name in self.__slots__:
            setattr(self, name, getattr(merged, name))

    # --- in arrays of Dask ---

    def persist(self, **options: Any) -> Normalizer:
        """This normalizer of Dask arrays, computed, its chunks kept where Dask keeps them.

        So its chunks of logits need not wait in memory for one another: those that come after, in
        `softmax` or `log_softmax`, are read anew, and each is done by itself.

        Parameters
        ----------
        **options
            Of `dask.persist`, as the scheduler.

        Returns
        -------
        normalizer : Normalizer

        Raises
        ------
        TypeError
            If it is not one of Dask arrays.

        Examples
        --------
        >>> import dask.array as da
        >>> import onesum
        >>> x = da.zeros((2, 4), chunks=(2, 2))
        >>> onesum.Normalizer.of(x).persist().softmax(x[:, 2:]).compute()
        array([[0.25, 0.25],
               [0.25, 0.25]])
        """
        return self._by_dask("persist", options)

    def compute(self, **options: Any) -> Normalizer:
        """This normalizer of Dask arrays in the arrays that their chunks are, as of NumPy.

        Parameters
        ----------
        **options
            Of `dask.compute`, as the scheduler.

        Returns
        -------
        normalizer : Normalizer

        Raises
        ------
        TypeError
            If it is not one of Dask arrays.
        """
        return self._by_dask("compute", options)

    def _by_dask(self, name: str, options: dict[str, Any]) -> Normalizer:
        ours = library_name(self._xp)
        if not ours.startswith("dask"):
            raise TypeError(f"{name}: expected a normalizer in arrays of dask.array, got {ours}")
        from .._backends.dask.graph import all_by

        made = copy.copy(self)
        arrays = [self._m, *self._r, self._pivot, self._count, self.temperature]
        made._m, *r, made._pivot, made._count, made.temperature = all_by(name, arrays, options)
        made._r = r[0], r[1]
        return made

    def _need_same(self, other: Normalizer) -> None:
        """That the rows are the same, and T."""
        if self._xp is not other._xp:
            ours, theirs = library_name(self._xp), library_name(other._xp)
            raise TypeError(f"other: expected a normalizer in arrays of {ours}, got {theirs}")
        if self.shape != other.shape:
            wanted = f"a normalizer of rows of shape {self.shape}"
            raise ValueError(f"other: expected {wanted}, got {other.shape}")
        ours, theirs = self.temperature, other.temperature
        if ours is theirs:
            return
        same = ours == theirs
        if not isinstance(same, bool):  # arrays
            same = not backend_of(same).is_concrete(same) or bool(namespace(same).all(same))
        if not same:
            raise ValueError(f"other: expected the temperature {ours!r:.60}, got {theirs!r:.60}")

    # --- as numbers to be sent ---

    def packed(self) -> Array:
        """m, the two words of r, and count of each row: an array of shape (\\*shape, 4).

        It is of the widest type. Processes that share the rows send it, where no object can go;
        `unpacked` is the way back. The pivot is not in it.
        """
        xp, numbers = self._xp, (self._m, *self._r, self.counted)
        return xp.concat([xp.astype(a, self._m.dtype, copy=False) for a in numbers], axis=-1)

    def unpacked(self, numbers: Array, classes: int) -> Normalizer:
        """The normalizer that was packed, of so many other classes of the rows of this one."""
        xp, made = self._xp, copy.copy(self)
        made._m, r, r_lo, count = (numbers[..., i : i + 1] for i in range(4))
        made._r, made._pivot = (r, r_lo), None
        made._count = xp.astype(count, widest_integer(xp, numbers))
        made.classes = classes
        return made

    # --- what becomes of a chunk ---

    def softmax(
        self, x: ArrayLike, where: ArrayLike | None = None, *, out: AnyArray | None = None
    ) -> Any:
        """Probabilities of the classes of a chunk, among all.

        Parameters
        ----------
        x : array_like
            Logits of a chunk that is in this normalizer.
        where : array_like of bool, optional
            As it was given for this chunk.
        out : array, optional
            Where to put the result, as in `onesum.softmax`.

        Returns
        -------
        p : array
            The part of `onesum.softmax` of all classes that belongs to these, of the shape of x.

        Raises
        ------
        TypeError, ValueError
            If x does not fit this normalizer.
        """
        return self._of_chunk("shifted_exp", chunks.share(self._r), x, where, out)

    def log_softmax(
        self, x: ArrayLike, where: ArrayLike | None = None, *, out: AnyArray | None = None
    ) -> Any:
        """The logarithms of these probabilities.

        Parameters
        ----------
        x, where, out
            As in `softmax`.

        Returns
        -------
        logp : array
            The part of `onesum.log_softmax` of all classes that belongs to these.

        Raises
        ------
        TypeError, ValueError
            If x does not fit this normalizer.
        """
        return self._of_chunk("shifted_logits", chunks.log_rest(self._r), x, where, out)

    def _of_chunk(self, name: str, words: Any, x: Any, where: Any, out: Any) -> Any:
        call, t, mask = self._chunk("x", x, where)
        dtype = call.dtype(self.dtype)
        output = call.out(out, dtype)
        function = getattr(call.backend, name)
        m, *words = (call.one_each(a) for a in (self._m, *words))
        rows = call.rows(call.x)
        rows = function(rows, call.axis, mask, t, m, tuple(words), dtype, output.room)
        return call.result(rows, output)

    def _chunk(self, name: str, x: Any, where: Any) -> tuple[Call, Any, Any]:
        """A chunk of these rows, with T and where."""
        self.need_dimensions(name, x)
        call = Call(name, x, self.axes)
        if self._xp is not call.xp:
            ours, theirs = library_name(self._xp), library_name(call.xp)
            raise TypeError(f"{name}: expected an array of {ours}, got one of {theirs}")
        self.need_rows(call)
        t = self.temperature
        return call, t if isinstance(t, float) else call.one_each(t), call.where(where)

    def need_dimensions(self, name: str, x: Any) -> None:
        """That an array has the axes of these rows."""
        ndim = np.ndim(x) if not hasattr(x, "ndim") else x.ndim
        if ndim != len(self.shape) + len(self.axes):
            wanted = f"{len(self.shape) + len(self.axes)} dimensions, as the chunks before"
            raise ValueError(f"{name}: expected {wanted}, got {ndim}")

    def need_rows(self, call: Call) -> None:
        """That the rows of a call are as many as these."""
        if call.batch != self.shape:
            wanted = f"rows of shape {self.shape} beside the class axes {self.axes}"
            raise ValueError(f"{call.name}: expected {wanted}, got shape {call.shape}")


def last(xp: Any, a: Array, axis: int) -> Array:
    """An array with size 1 along an axis, with that axis last."""
    return xp.expand_dims(xp.squeeze(a, axis=axis), axis=-1)
