# mypy: allow-untyped-calls
"""The cross entropy of rows whose classes come in chunks: a small state that merges."""

from __future__ import annotations

import copy
from typing import Any, SupportsIndex

from .._arguments import Call
from .._arguments.options import number_of, reduction_of, smoothing_of, z_loss_of
from .._arguments.values import number
from .._backends.reference import chunk_losses, chunks
from .._backends.reference.chunk_losses import Relative
from .._backends.registry import backend_of
from .._library import dtype_name, library_name, namespace, quiet, select, widen
from .._typing import AnyArray, ArrayLike, Axis, Number, Reduction
from .loss_chunk import LossChunk, OptionsOfAll
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
        options = OptionsOfAll(
            label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature
        )
        chunk = LossChunk(x, target, axis, start, weight, where, options)
        made: CrossEntropyState = object.__new__(cls)
        made.normalizer = n = chunk.normalizer()
        made._target, made._found = chunk.on_target(n)
        made._even = chunk.on_all(n) if chunk.target.smoothing else None
        made._mass, made._classes = made._target.mass[0], chunk.classes
        made._sample_weight = chunk.sample_weight
        made._options, made._dtype = options, chunk.call.dtype(None, role="loss")
        return made

    def __or__(self, other: CrossEntropyState) -> CrossEntropyState:
        """That of the classes of both."""
        if not isinstance(other, CrossEntropyState):
            return NotImplemented
        if (self._classes is None) != (other._classes is None):
            raise ValueError("other: expected class indices in both targets, or probabilities")
        for name, ours, theirs in zip(
            OptionsOfAll._fields, self._options, other._options, strict=True
        ):
            if name != "temperature" and not _equal(ours, theirs):  # which the normalizers compare
                raise ValueError(f"other: expected {name}={ours!r:.60}, got {theirs!r:.60}")
        made, a, b = copy.copy(self), self.normalizer, other.normalizer
        made.normalizer = a | b
        parts = a.parts, b.parts, made.normalizer.parts

        def merged(ours: Relative, theirs: Relative) -> Relative:
            both = ours, parts[0], theirs, parts[1], parts[2]
            return chunk_losses.merged(*both, a.temperature)  # type: ignore[no-any-return]

        made._target = merged(self._target, other._target)
        if self._even is not None and other._even is not None:
            made._even = merged(self._even, other._even)
        made._mass = chunks.added(self._mass, other._mass)
        made._found = chunks.any_of(self._found, other._found)
        made._dtype = made.normalizer.dtype if self._dtype != other._dtype else self._dtype
        return made

    def packed(self) -> Array:
        """The numbers of each row, of shape (\\*shape, 9), or 13 where there is smoothing.

        As `Normalizer.packed`, whose numbers come first: for processes that share the rows.
        """
        n = self.normalizer
        xp, wide = namespace(n.parts[0]), n.parts[0].dtype
        parts = [xp.astype(self._found, wide)]
        for relative in filter(None, (self._target, self._even)):
            parts += [*relative.loss, *relative.mass]
        return xp.concat([n.packed(), *parts], axis=-1)

    def unpacked(self, numbers: Array, classes: int) -> CrossEntropyState:
        """The state that was packed, of so many other classes of the rows of this one."""
        made = copy.copy(self)
        made.normalizer = self.normalizer.unpacked(numbers, classes)
        found, *others = (numbers[..., i : i + 1] for i in range(4, numbers.shape[-1]))
        made._found = found != 0.0
        made._target = Relative((others[0], others[1]), (others[2], others[3]))
        made._mass = made._target.mass[0]
        if self._even is not None:
            made._even = Relative((others[4], others[5]), (others[6], others[7]))
        return made

    def __repr__(self) -> str:
        n = self.normalizer
        what = f"shape={n.shape}, classes={n.classes}"
        name = library_name(namespace(n.parts[0]))
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
        lost = (n.parts[0] == -xp.inf) & (n.counted > 0)
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
        n.need_dimensions("x", x)
        chunk = LossChunk(x, target, n.axes, start, weight, where, self._options)
        n.need_rows(chunk.call)
        rows = self._rows()
        s, relative, (_, z_slope) = self._whole(rows)
        by = self.factor(kind) * _wide_factor(chunk.call, g)
        return chunk.gradient(n, s, relative.mass, z_slope, self._counts(), by, out)

    def factor(self, reduction: str) -> Any:
        """What the gradient of the losses' sum is multiplied by: 1 but in a mean."""
        rows = self._rows()
        return gradient_factor(rows, self._divisor(rows, reduction))

    # --- the rows ---

    def _rows(self) -> Call:
        """A call on the rows, each of which is a number."""
        n = self.normalizer
        xp = namespace(n.parts[0])
        return Call("x", xp.squeeze(n.parts[0], axis=-1), ())

    def _counts(self) -> Array:
        """Which rows are not ignored."""
        return self._found | ~self._found if self._classes is None else self._classes >= 0

    def _whole(self, rows: Call) -> tuple[Array, Relative, Any]:
        """The weights of the rows, R and Q without these, and what z_loss adds to both."""
        self._need_found(rows)
        n, xp = self.normalizer, rows.xp
        s = xp.ones_like(n.parts[0]) if self._sample_weight is None else self._sample_weight
        s = select(xp, self._counts(), s, 0.0)
        relative = self._target
        if self._even is not None:
            choices = xp.astype(n.counted, n.parts[0].dtype)
            smoothing = smoothing_of(self._options.label_smoothing)
            relative = chunk_losses.smoothed(relative, self._even, smoothing, choices)
        z_loss = z_loss_of(self._options.z_loss)
        return s, relative, chunk_losses.z_terms_of(*n.parts, s, z_loss, n.temperature)

    def _divisor(self, rows: Call, reduction: str) -> Any:
        """What the sum of the losses is divided by, as in `onesum.cross_entropy`."""
        if reduction != "mean" or self._classes is None:
            return rows_divisor(rows, reduction)
        mass = select(rows.xp, self._counts(), self._mass, 0.0)
        return number(rows, rows.backend.total(mass))

    def _need_found(self, rows: Call) -> None:
        """That the class of each row is one of those that were seen."""
        if self._classes is None:
            return
        xp = rows.xp
        missing = xp.squeeze((self._classes >= 0) & ~self._found, axis=-1)
        if not rows.backend.is_concrete(missing) or not bool(xp.any(missing)):
            return
        position = tuple(int(i[0]) for i in xp.nonzero(missing)) if missing.ndim else ()
        value = int(xp.squeeze(self._classes, axis=-1)[position])
        at = f" at position {position[0] if len(position) == 1 else position}" if position else ""
        wanted = "class indices of the classes of all chunks"
        raise IndexError(f"target: expected {wanted}, got {value}{at}, which none of them has")


def _wide_factor(call: Call, g: Any) -> Any:
    """A number, or one for each row of the call, in no narrow type that a product would take."""
    if not hasattr(g, "ndim"):
        return number_of("g", g)
    return widen(g if g.ndim == 0 else call.one_per_row("g", g, False))[1]


def _equal(a: Any, b: Any) -> bool:
    """Whether two options are the same, where that can be known."""
    if a is b:
        return True
    if a is None or b is None:
        return False
    same = a == b
    if isinstance(same, bool) or not hasattr(same, "shape"):
        return bool(same)
    return not backend_of(same).is_concrete(same) or bool(namespace(same).all(same))
