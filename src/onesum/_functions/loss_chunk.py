# mypy: allow-untyped-calls
"""A chunk of the classes of a cross entropy: what it adds to the state, and its gradient."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from .._arguments import Call
from .._arguments.options import (
    LossArguments,
    index_of,
    smoothing_of,
    softcap_of,
    z_loss_of,
)
from .._arguments.output import Output
from .._arguments.targets import loss_arguments
from .._backends.reference import chunk_gradient, chunk_losses, words
from .._backends.reference.chunk_gradient import Masses, Row
from .._backends.reference.chunk_losses import Relative
from .._backends.reference.losses import capped
from .._backends.reference.normalizer import exact, fill, over
from .._backends.target import Target
from .._library import (
    device,
    dtype_name,
    look_up,
    promoted,
    put,
    quiet,
    select,
    widen,
    widest,
    widest_integer,
)
from .chunk_of_rows import last, need_no_derivative
from .normalizer import Normalizer

Array = Any


class OptionsOfAll(NamedTuple):
    """The numbers that hold for all chunks."""

    label_smoothing: float
    ignore_index: int | None
    z_loss: float
    softcap: float | None

    @classmethod
    def checked(cls, smoothing: Any, ignore_index: Any, z_loss: Any, softcap: Any) -> OptionsOfAll:
        index = index_of("ignore_index", ignore_index)
        return cls(smoothing_of(smoothing), index, z_loss_of(z_loss), softcap_of(softcap))


class ArraysOfChunk(NamedTuple):
    """What a caller gives of a chunk beside its logits."""

    target: Any
    start: Any
    weight: Any
    where: Any


class LossChunk:
    """A chunk, with its arguments checked. Here arrays with one element per row have size 1 along
    the class axis.
    """

    @quiet
    def __init__(
        self,
        call: Call,
        given: ArraysOfChunk,
        options: OptionsOfAll,
        sample_weight: Any,
        temperature: Any,
    ):
        self.call, xp = call, call.xp
        smoothing, ignore_index, z_loss, softcap = options
        beside = LossArguments(
            weight=given.weight,
            label_smoothing=smoothing,
            ignore_index=ignore_index,
            sample_weight=sample_weight,
            z_loss=z_loss,
            softcap=softcap,
            temperature=temperature,
            where=given.where,
        )
        self.target, _, cap, self.where, self.temperature = loss_arguments(
            call, given.target, beside, chunk=True
        )
        need_no_derivative(
            x=call.x,
            target=self.target.probabilities,
            weight=self.target.weight,
            sample_weight=self.target.sample_weight,
            temperature=self.temperature,
        )
        self.start = _start_of(given.start, call)
        self.rows, self._slope = call.rows(call.x), None
        # What is rounded to a narrower type needs no second word for each of its elements.
        self._narrow = call.x.dtype != widest(xp, call.x)
        if cap is not None:
            xp, wide = widen(fill(xp, self.where, self.rows, 0.0))
            if self._narrow:
                self.rows, self._slope = _capped(xp, wide, cap)
            else:
                self.rows, slope = capped(xp, wide, cap)
                self._slope = words.rounded(xp, slope)
        self.classes = self._last(self.target.classes)
        self.sample_weight = self._last(self.target.sample_weight)

    def _last(self, a: Array) -> Array:
        """What has one element per row, as a state keeps it."""
        return None if a is None else self.call.xp.expand_dims(a, axis=-1)

    def normalizer(self) -> Normalizer:
        return Normalizer._of_rows(self.call, self.temperature, self.where, self.rows)

    # --- what it adds to the state ---

    def on_target(self, normalizer: Normalizer) -> tuple[Relative, Array]:
        """R and Q of the targets, and which rows have their class here."""
        call, xp = self.call, self.call.xp
        m, r = normalizer._m, normalizer._r
        if self.target.probabilities is None:
            index, here = self._place()
            x = chunk_losses.logit(xp, self.rows, index, call.axis, self.where)
            mass = self._mass_of(index, here)
            m, r = call.one_each(m), (call.one_each(r[0]), call.one_each(r[1]))
            part = chunk_losses.of_class(x, exact(xp, mass), m, r, self.temperature)
            return self._kept(part), last(xp, here, call.axis)
        mass = words.total(xp, self._probabilities(), call.axis)
        aim = Target(probabilities=self.target.probabilities, weight=self.target.weight)
        part = chunk_losses.of_masses(self._loss(aim), tuple(map(self._last_of, mass)), m)
        return part, m == m

    def on_all(self, normalizer: Normalizer) -> Relative:
        """R and Q of mass 1, or its weight, on each class."""
        call, xp = self.call, self.call.xp
        m = normalizer._m
        choices = xp.astype(normalizer._counted, m.dtype)
        mass = choices
        if self.target.weight is not None:
            masses = xp.broadcast_to(self._of_classes(self.target.weight), self.rows.shape)
            mass = xp.sum(fill(xp, self.where, masses, 0.0), axis=call.axis, keepdims=True)
            mass = last(xp, mass, call.axis)
        first = xp.zeros(call.batch, dtype=widest_integer(xp, call.x), device=device(call.x))
        loss = self._loss(Target(first, weight=self.target.weight, smoothing=1.0)) * choices
        part: Relative = chunk_losses.of_masses(loss, exact(xp, mass), m)
        return part

    def _loss(self, target: Target) -> Array:
        """The loss of this chunk alone, as a state keeps it: NaN where it has no choice."""
        call = self.call
        if call.classes == 0:
            wide, where = widest(call.xp, call.x), device(call.x)
            return call.xp.zeros((*call.batch, 1), dtype=wide, device=where)
        rows, t = self.rows, self.temperature
        losses, _ = call.backend.cross_entropy(
            rows, target, call.axis, 0.0, None, self.where, t, 1.0, False, rows.dtype, None
        )
        return self._last(losses)

    def _kept(self, part: Relative) -> Relative:
        return Relative(*(tuple(map(self._last_of, pair)) for pair in part))

    def _last_of(self, a: Array) -> Array:
        return last(self.call.xp, a, self.call.axis)

    # --- its targets ---

    def _place(self) -> tuple[Array, Array]:
        """Where the class of each row is in this chunk, 0 if it is not, and whether it is."""
        call, classes = self.call, self.target.classes
        index, here = chunk_losses.place(call.xp, classes, self.start, self.rows, call.axis)
        return call.class_numbers(index), here

    def _mass_of(self, index: Array, here: Array) -> Array:
        """The weight of that class; 0 where it is not here."""
        xp, weight = self.call.xp, self.target.weight
        if weight is None or self.call.classes == 0:
            return xp.astype(here, widest(xp, self.call.x))
        return select(xp, here, look_up(xp, weight, index), 0.0)

    def _probabilities(self) -> Any:
        """The masses of the classes, w y, in two words."""
        xp = self.call.xp
        q = fill(xp, self.where, widen(self.target.probabilities)[1], 0.0)
        if self.target.weight is None:
            return exact(xp, q)
        return words.multiply(xp, exact(xp, q), exact(xp, self._of_classes(self.target.weight)))

    def _of_classes(self, weight: Array) -> Array:
        """What has one element per class, beside x."""
        after = self.rows.ndim - 1 - self.call.axis
        return self.call.xp.reshape(weight, (-1,) + (1,) * after)

    # --- its gradient ---

    @quiet
    def gradient(
        self,
        normalizer: Normalizer,
        s: Array,
        mass: Any,
        z_slope: Any,
        counts: Array,
        by: Any,
        out: Any,
    ) -> Any:
        """by / T times (Q + z_slope) p - q, of Q without the weights s of the rows."""
        call, xp, target = self.call, self.call.xp, self.target
        dtype = call.dtype(None, role="loss")
        output = call.out(out, dtype)
        of_rows = normalizer._m, *normalizer._r, s, counts, *mass, *z_slope
        m, r, r_lo, s, counts, *pairs = map(call.one_each, of_rows)
        q = chunk_losses.product(xp, exact(xp, s), pairs[:2])
        by = over(xp, exact(xp, by * xp.ones_like(m)), self.temperature)
        row = Row(m, (r, r_lo), q, tuple(pairs[2:]), by, counts)
        beside = self.rows, call.axis, self.where, self.temperature, row
        kind, room = call.dtype(widest(xp, call.x)), None
        if target.probabilities is None and not target.smoothing:
            if self._slope is None:  # narrower than m, the kernel would round it
                kind = promoted(xp, dtype, normalizer.dtype)
                room = output.room if kind == dtype else None
            grad = chunk_gradient.of_class(*beside, *self._place(), self._slope, kind, room)
            if room is not None:
                return call.result(grad, output)
        else:
            w = None if target.weight is None else self._of_classes(target.weight)
            choices = call.one_each(xp.astype(normalizer._counted, m.dtype))
            masses = Masses(self._targets(m), w, s, target.smoothing, choices)
            grad = chunk_gradient.of_masses(*beside, masses, self._slope, self._narrow, kind)
        return call.result(xp.astype(grad, dtype, copy=False), Output(output.given))

    def _targets(self, m: Array) -> Array:
        """The probabilities, or 1 at the class of each row."""
        xp = self.call.xp
        if self.target.probabilities is not None:
            return widen(self.target.probabilities)[1]
        index, here = self._place()
        zeros = xp.zeros(self.rows.shape, dtype=m.dtype, device=device(m))
        return put(xp, zeros, index, here, xp.ones_like(m), self.call.axis)


def _start_of(value: Any, call: Call) -> int:
    """The index of the first class, which with all after it is to fit the integers of classes."""
    try:
        start = operator.index(value)
    except (TypeError, RuntimeError):  # the last is torch's, of a tensor under vmap
        raise TypeError(f"start: expected an int, got {value!r:.60}") from None
    bits = 63 if dtype_name(widest_integer(call.xp, call.x)) == "int64" else 31
    if not 0 <= start < 2**bits - call.classes:
        wanted = "an int >= 0" if start < 0 else f"an int with all indices below 2**{bits}"
        raise ValueError(f"start: expected {wanted}, got {start}")
    return start


def _capped(xp: Any, x: Array, softcap: float) -> tuple[Array, Array]:
    """As `capped`, with a slope of one word."""
    u = x / softcap
    root = 1.0 / xp.cosh(u)
    return softcap * xp.tanh(u), root * root
