# mypy: allow-untyped-calls
"""The cross entropy of rows whose classes come in chunks: a small state that merges."""

from __future__ import annotations

import copy
from typing import Any, SupportsIndex

from .._arguments import Call
from .._arguments.masked import unmasked
from .._arguments.options import number_of, reduction_of
from .._arguments.values import number
from .._backends.reference import chunk_losses, chunks
from .._backends.reference.chunk_losses import Relative
from .._backends.registry import backend_of
from .._library import as_floating, dtype_name, library_name, quiet, select, widen
from .._typing import AnyArray, ArrayLike, Axis, Number, Reduction
from .chunk_of_rows import chunk_of, need_no_derivative, need_same_rows, own, same_where_known
from .loss_chunk import ArraysOfChunk, LossChunk, OptionsOfAll
from .normalizer import Normalizer
from .reductions import gradient_factor, reduced, rows_divisor

Array = Any


class CrossEntropyState:
    r"""What the classes seen so far tell about a cross entropy of all.

    Beside the `Normalizer` it holds, for each row, the loss relative to the logarithm of the sum
    over the classes seen, and the target masses on them,

    .. math:: R = \sum_c q_c \Bigl(\log \sum_j e^{x_j / T} - \frac{x_c}{T}\Bigr), \quad
              Q = \sum_c q_c,

    which are :math:`R + Q (L' - L)` under the logarithm L' of a larger sum: no term is negative.
    Smoothing is kept apart until all classes are in it, so that it is spread over them all.

    Made by `CrossEntropyState.of`; `a | b` merges, in any order. Then `loss` is that of all
    classes, and `gradient` the part of its derivative that belongs to a chunk.

    Attributes
    ----------
    normalizer : Normalizer
        That of the logits, capped if there is a softcap.

    See Also
    --------
    onesum.Normalizer, onesum.cross_entropy

    Notes
    -----
    With a softcap `of` and `gradient` have some arrays of float64 of the shape of the chunk, as has
    `gradient` with label smoothing or probabilities: of float32 some ten times its bytes. Then
    smaller chunks are better. It has no derivative: a tensor that requires one is refused.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> x, y = np.array([[0.0, 1.0, 2.0, 3.0]]), np.array([2])
    >>> left, right = x[:, :2], x[:, 2:]
    >>> state = onesum.CrossEntropyState.of(left, y)
    >>> state |= onesum.CrossEntropyState.of(right, y, start=2)
    >>> state.loss() == onesum.cross_entropy(x, y)
    np.True_
    >>> state.gradient(right, y, start=2)
    array([[-0.76311...,  0.64391...]])
    """

    __slots__ = (
        "_classes",
        "_dtype",
        "_even",
        "_found",
        "_mass",
        "_options",
        "_sample_weight",
        "_target",
        "normalizer",
    )

    # One element per row, and a last axis of size 1.
    _target: Relative
    _even: Relative | None  # of mass 1, or its weight, on every class: for the smoothing
    _mass: Array  # of the class of each row, which a mean divides by
    _classes: Array  # or None beside probabilities
    _found: Array  # whether a chunk had the row's class
    _sample_weight: Array  # or None
    _options: OptionsOfAll
    _dtype: Any
    normalizer: Normalizer

    def __init__(self) -> None:
        raise TypeError("CrossEntropyState: make one by CrossEntropyState.of(x, target)")

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        target: ArrayLike,
        axis: Axis = -1,
        *,
        start: SupportsIndex = 0,
        weight: ArrayLike | None = None,
        label_smoothing: Number = 0.0,
        ignore_index: SupportsIndex | None = None,
        sample_weight: ArrayLike | None = None,
        z_loss: Number = 0.0,
        softcap: Number | None = None,
        temperature: ArrayLike = 1.0,
        where: ArrayLike | None = None,
    ) -> CrossEntropyState:
        """That of some of the classes.

        Parameters
        ----------
        x, axis, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature
            As in `onesum.cross_entropy`; all but x the same for every chunk.
        target : array_like
            Class indices, counted from the first class of all; or the probabilities of the classes
            of this chunk.
        start : int, optional
            The index of the first class of this chunk. Without effect beside probabilities.
        weight, where
            As in `onesum.cross_entropy`, those of the classes of this chunk.

        Returns
        -------
        state : CrossEntropyState
            In arrays of the library of x.

        Raises
        ------
        IndexError, TypeError, ValueError, numpy.exceptions.AxisError
            As in `onesum.cross_entropy`; if x requires a gradient.
        """
        call = Call("x", x, axis)
        options = OptionsOfAll.checked(label_smoothing, ignore_index, z_loss, softcap)
        given = ArraysOfChunk(target, start, weight, where)
        chunk = LossChunk(call, given, options, sample_weight, temperature)
        made: CrossEntropyState = object.__new__(cls)
        made.normalizer = n = chunk.normalizer()
        made._target, made._found = chunk.on_target(n)
        made._even = chunk.on_all(n) if options.label_smoothing else None
        made._mass, made._classes = made._target.mass[0], own(call.xp, chunk.classes)
        made._sample_weight = own(call.xp, chunk.sample_weight)
        made._options, made._dtype = options, call.dtype(None, role="loss")
        return made

    def __or__(self, other: CrossEntropyState) -> CrossEntropyState:
        """That of the classes of both."""
        if not isinstance(other, CrossEntropyState):
            return NotImplemented
        self._need_same(other)
        made, a, b = copy.copy(self), self.normalizer, other.normalizer
        made.normalizer = n = a | b
        of_parts = [(part._m, part._r) for part in (a, b, n)]

        def merged(ours: Relative, theirs: Relative) -> Relative:
            both = ours, of_parts[0], theirs, of_parts[1], of_parts[2]
            return chunk_losses.merged(*both, a._temperature)  # type: ignore[no-any-return]

        made._target = merged(self._target, other._target)
        if self._even is not None and other._even is not None:
            made._even = merged(self._even, other._even)
        made._mass = chunks.added(self._mass, other._mass)
        made._found = chunks.any_of(self._found, other._found)
        made._dtype = n.dtype if self._dtype != other._dtype else self._dtype
        return made

    def _need_same(self, other: CrossEntropyState) -> None:
        """That the rows, their targets and the options are the same, and no class is in both."""
        need_same_rows(self.normalizer, other.normalizer)
        self._need_same_target("other", other._classes)
        for name, ours, theirs in zip(
            OptionsOfAll._fields, self._options, other._options, strict=True
        ):
            if ours != theirs:
                raise ValueError(f"other: expected {name}={ours!r}, got {theirs!r}")
        ours, theirs = self._sample_weight, other._sample_weight
        if not same_where_known(ours, theirs):
            raise ValueError(f"other: expected sample_weight={ours!r:.60}, got {theirs!r:.60}")
        if self._classes is not None and (bad := self._first(self._found & other._found)):
            wanted = "chunks without common classes"
            raise ValueError(f"other: expected {wanted}, got two with class {bad}")

    def _need_same_target(self, name: str, classes: Array) -> None:
        """That another chunk has the target of those before, as far as it is the same for all."""
        if (classes is None) != (self._classes is None):
            kinds = ["probabilities", "class indices"]
            wanted, got = kinds if self._classes is None else reversed(kinds)
            raise ValueError(f"{name}: expected {wanted}, as the chunks before, got {got}")
        if classes is None or classes is self._classes:
            return
        if bad := self._first(self._classes != classes):
            wanted = f"the target of the chunks before, with class {bad}"
            raise ValueError(f"{name}: expected {wanted}, got another")

    def __repr__(self) -> str:
        n = self.normalizer
        what = f"shape={n.shape}, classes={n.classes}"
        name = library_name(n._xp)
        return f"CrossEntropyState({what}, {name}, {dtype_name(self._dtype)})"

    @quiet
    def loss(self, reduction: Reduction = "mean") -> Any:
        """The cross entropy of all classes.

        Parameters
        ----------
        reduction : {"mean", "sum", "none"}, optional
            As in `onesum.cross_entropy`.

        Returns
        -------
        loss : scalar or array
            One number; with "none" one for each row.

        Raises
        ------
        IndexError
            If a class index of target names no class of the chunks.
        ValueError
            If reduction is none of these.
        """
        kind = reduction_of(reduction)
        rows, n = self._rows(), self.normalizer
        s, relative, (z, _) = self._whole(rows)
        xp = rows.xp
        lost = (n._m == -xp.inf) & (n._counted > 0)
        losses = select(xp, lost, xp.nan, chunk_losses.of_rows(relative, s, z))
        losses = xp.squeeze(select(xp, self._counts(), losses, 0.0), axis=-1)
        return reduced(rows, losses, kind, self._divisor(rows, kind), self._dtype)

    @quiet
    def gradient(
        self,
        x: ArrayLike,
        target: ArrayLike,
        *,
        start: SupportsIndex = 0,
        weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
        reduction: Reduction = "mean",
        g: Any = 1.0,
        out: AnyArray | None = None,
    ) -> Any:
        """The derivative of the loss of all classes by the logits of a chunk.

        Parameters
        ----------
        x, target, start, weight, where
            As they were given for this chunk.
        reduction : {"mean", "sum", "none"}, optional
            That of the loss; with "none", of the losses' sum.
        g : number or array, optional
            What it is multiplied by before it is rounded: the derivative of a later result by the
            loss. Of shape () or, one for each row, `normalizer.shape`.
        out : array, optional
            Where to put the result, as in `onesum.softmax`; perhaps x itself.

        Returns
        -------
        grad : array
            Of the shape of x.

        Raises
        ------
        IndexError, TypeError, ValueError
            As from `of` and `loss`; if x does not fit this state.
        """
        kind = reduction_of(reduction)
        n = self.normalizer
        call = chunk_of(n, "x", x)
        by = _factor(call, g)
        t = n._temperature
        t = t if isinstance(t, float) else call.xp.squeeze(t, axis=-1)
        given = ArraysOfChunk(target, start, weight, where)
        chunk = LossChunk(call, given, self._options, None, t)
        self._need_same_target("target", chunk.classes)
        s, relative, (_, z_slope) = self._whole(self._rows())
        by = self.factor(kind) * by
        return chunk.gradient(n, s, relative.mass, z_slope, self._counts(), by, out)

    def factor(self, reduction: str) -> Any:
        """What the gradient of the losses' sum is multiplied by: 1 but in a mean."""
        rows = self._rows()
        return gradient_factor(rows, self._divisor(rows, reduction))

    # --- the rows ---

    def _rows(self) -> Call:
        """A call on the rows, each of which is a number."""
        n = self.normalizer
        call = Call("x", n.m, ())
        call.add_mask(n._ignored)
        return call

    def _counts(self) -> Array:
        """Which rows are not ignored."""
        n, classes = self.normalizer, self._classes
        counts = (n._m == n._m) | (n._m != n._m) if classes is None else classes >= 0
        if n._ignored is None:
            return counts
        return counts & n._xp.expand_dims(self._rows().ours(~n._ignored), axis=-1)

    def _whole(self, rows: Call) -> tuple[Array, Relative, Any]:
        """The weights of the rows, R and Q without these, and what z_loss adds to both."""
        self._need_all_classes()
        n, xp = self.normalizer, rows.xp
        s = xp.ones_like(n._m) if self._sample_weight is None else self._sample_weight
        s = select(xp, self._counts(), s, 0.0)
        relative = self._target
        if self._even is not None:
            choices = xp.astype(n._counted, n._m.dtype)
            smoothing = self._options.label_smoothing
            relative = chunk_losses.smoothed(relative, self._even, smoothing, choices)
        z = chunk_losses.z_terms_of(n._m, n._r, s, self._options.z_loss, n._temperature)
        return s, relative, z

    def _divisor(self, rows: Call, reduction: str) -> Any:
        """What the sum of the losses is divided by, as in `onesum.cross_entropy`."""
        if reduction != "mean" or self._classes is None:
            return rows_divisor(rows, reduction)
        mass = select(rows.xp, self._counts(), self._mass, 0.0)
        return number(rows, rows.backend.total(mass))

    def _need_all_classes(self) -> None:
        """That there is a class at all, and that the class of each row is one of them."""
        if self.normalizer.classes == 0:
            raise ValueError("x: expected at least one class in all chunks together, got none")
        if self._classes is None:
            return
        if bad := self._first((self._classes >= 0) & ~self._found):
            wanted = "class indices of the classes of all chunks"
            raise IndexError(f"target: expected {wanted}, got {bad}, which none of them has")

    def _first(self, bad: Array) -> str:
        """The class index of the first of some rows, and its position; "" if there is none, or if
        they are not known yet.
        """
        xp = self.normalizer._xp
        if not backend_of(bad).is_concrete(bad) or not bool(xp.any(bad)):
            return ""
        bad = xp.squeeze(bad, axis=-1)
        position = tuple(int(i[0]) for i in xp.nonzero(bad)) if bad.ndim else ()
        classes = xp.broadcast_to(xp.squeeze(self._classes, axis=-1), bad.shape)
        value = int(classes[position])
        at = f" at position {position[0] if len(position) == 1 else position}" if position else ""
        return f"{value}{at}"


def _factor(call: Call, g: Any) -> Any:
    """A number, or one for each row of the call, in no narrow type that a product would take."""
    if isinstance(g, (int, float)):
        return number_of("g", g)
    if getattr(g, "ndim", 1) == 0:
        g = as_floating(call.xp, "g", call.converted("g", unmasked("g", g)))
    else:
        g = call.one_per_row("g", g, False)
    need_no_derivative(g=g)
    return widen(g)[1]
