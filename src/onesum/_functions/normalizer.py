# mypy: allow-untyped-calls
"""The normalizer of rows whose classes come in chunks: a small state that merges."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._arguments import Call
from .._backends.reference import chunks
from .._backends.reference.words import rounded
from .._library import dtype_name, library_name, namespace, promoted, widest_integer
from .._typing import AnyArray, ArrayLike, Axis
from .chunk_of_rows import chunk_of, last, need_no_derivative, need_same_rows, own

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
    It has no derivative: a tensor that requires one is refused; take it by the functions of
    derivatives. What it says of the rows has the labels of the chunks, and their masks where all
    chunks are masked.

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

    __slots__ = (
        "_count",
        "_ignored",
        "_labels",
        "_m",
        "_pivot",
        "_r",
        "_temperature",
        "axes",
        "classes",
        "dtype",
        "shape",
    )

    # One element per row, and a last axis of size 1, by which they are arrays and no scalars.
    _m: Array
    _r: tuple[Array, Array]
    _pivot: Array  # or None
    _count: Array  # or None where all were in `where`
    _temperature: Any  # or a float
    _ignored: Any  # which rows are masked whole: NumPy's bool of this shape, or None
    _labels: Any  # of the rows, or None
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
            As in `onesum.softmax`; if a tensor requires a gradient.
        """
        call = Call("x", x, axis)
        t = call.temperature(temperature)
        return cls._of_call(call, t, call.where(where))

    @classmethod
    def _of_call(cls, call: Call, temperature: Any, where: Any) -> Normalizer:
        rows = call.rows(call.x)
        need_no_derivative(x=rows, temperature=temperature)
        made, xp = cls._of_rows(call, temperature, where, rows), call.xp
        index = call.pivots(rows, where, xp.squeeze(made._m, axis=-1))
        made._pivot = xp.expand_dims(index, axis=-1)
        return made

    @classmethod
    def _of_rows(cls, call: Call, temperature: Any, where: Any, rows: Array) -> Normalizer:
        """That of the rows of a call, without the pivot."""
        xp, n = call.xp, call.classes
        if isinstance(n, float):  # NaN, of Dask
            wanted = f"a known number of classes (compute_chunk_sizes() finds it), got {call.shape}"
            raise ValueError(f"{call.name}: expected {wanted}")
        made: Normalizer = object.__new__(cls)
        arrays = call.backend.normalizer(rows, call.axis, where, temperature)
        made._m, *r = (xp.expand_dims(a, axis=-1) for a in arrays)
        made._r, made._pivot = (r[0], r[1]), None
        made.axes, made.shape, made.dtype = call.axes, call.batch, call.dtype(None)
        made._temperature = temperature
        if not isinstance(temperature, float):
            made._temperature = own(xp, last(xp, temperature, call.axis))
        made.classes, made._count = n, None
        if where is not None:
            made._count = last(xp, _count(xp, where, call.axis), call.axis)
        made._ignored = None if call.mask is None else np.array(call.ignored)
        made._labels = call.row_labels
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
        return self._rows(self._counted)

    @property
    def logsumexp(self) -> Array:
        """The logarithm of the sum of exp(x / T) over all classes, as from `onesum.logsumexp`."""
        value = rounded(self._xp, chunks.log_sum(self._m, self._r, self._temperature))
        return self._rows(self._xp.astype(value, self.dtype))

    @property
    def _counted(self) -> Array:
        """`count`, with a last axis of size 1."""
        if self._count is not None:
            return self._count
        integer = widest_integer(self._xp, self._m)
        return self._xp.astype(self._xp.full_like(self._m, self.classes), integer)

    @property
    def _xp(self) -> Any:
        return namespace(self._m)

    def _rows(self, a: Array) -> Array:
        """What has one element per row, for others: masked and labelled as these are."""
        a = self._xp.squeeze(a, axis=-1)
        if self._xp is np and self._ignored is not None:
            a = np.ma.MaskedArray(a, mask=self._ignored.copy())
        elif self._xp is np and a.ndim == 0:
            a = a[()]
        return a if self._labels is None else self._labels.wrap(a)

    def __repr__(self) -> str:
        what = f"shape={self.shape}, classes={self.classes}"
        return f"Normalizer({what}, {library_name(self._xp)}, {dtype_name(self.dtype)})"

    # --- merging ---

    def __or__(self, other: Normalizer) -> Normalizer:
        """The normalizer of the classes of both, those of the other after these."""
        if not isinstance(other, Normalizer):
            return NotImplemented
        need_same_rows(self, other)
        xp, made = self._xp, copy.copy(self)
        (made._m, *r), first = chunks.merged(
            (self._m, *self._r), (other._m, *other._r), self._temperature
        )
        made._r = r[0], r[1]
        if self._pivot is None or other._pivot is None:
            made._pivot = None
        else:
            made._pivot = chunks.first_of(first, self._pivot, other._pivot, self.classes)
        made.classes = self.classes + other.classes
        if self._count is not None or other._count is not None:
            made._count = chunks.added(self._counted, other._counted)
        made.dtype = promoted(xp, self.dtype, other.dtype)
        made._ignored = _ignored_by_both(self, other)
        made._labels = other._labels if self._labels is None else self._labels
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
        call = chunk_of(self, "x", x)
        merged = self | self._of_call(call, self._temperature_in(call), call.where(where))
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
        arrays = [self._m, *self._r, self._pivot, self._count, self._temperature]
        made._m, *r, made._pivot, made._count, made._temperature = all_by(name, arrays, options)
        made._r = r[0], r[1]
        return made

    # --- what becomes of a chunk ---

    def softmax(
        self, x: ArrayLike, where: ArrayLike | None = None, *, out: AnyArray | None = None
    ) -> Any:
        """Probabilities of the classes of a chunk, among all.

        Parameters
        ----------
        x : array_like
            Logits of a chunk that is in this normalizer. Of another, with a logit above m, the
            numbers mean nothing.
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
        call = chunk_of(self, "x", x)
        rows, mask, t = call.rows(call.x), call.where(where), self._temperature_in(call)
        need_no_derivative(x=rows)
        dtype = call.dtype(self.dtype)
        output = call.out(out, dtype)
        m, *words = (call.one_each(a) for a in (self._m, *words))
        function = getattr(call.backend, name)
        rows = function(rows, call.axis, mask, t, m, tuple(words), dtype, output.room)
        return call.result(rows, output)

    def _temperature_in(self, call: Call) -> Any:
        """T, beside the rows of a chunk."""
        t = self._temperature
        return t if isinstance(t, float) else call.one_each(t)


def _count(xp: Any, where: Array, axis: int) -> Array:
    """How many are in `where`, with size 1 along the axis."""
    if xp is np:  # of which a sum would take a copy in integers
        return np.count_nonzero(where, axis=axis, keepdims=True)
    return xp.sum(xp.astype(where, widest_integer(xp, where)), axis=axis, keepdims=True)


def _ignored_by_both(a: Normalizer, b: Normalizer) -> Any:
    """Which rows are masked whole in both; of no class it cannot be told."""
    if a.classes == 0:
        return b._ignored
    if b.classes == 0:
        return a._ignored
    return None if a._ignored is None or b._ignored is None else a._ignored & b._ignored
