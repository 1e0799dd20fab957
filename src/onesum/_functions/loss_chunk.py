# mypy: allow-untyped-calls
"""A chunk of the classes of a cross entropy: what it adds to the state, and its gradient."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from .._arguments import Call
from .._arguments.options import LossArguments
from .._arguments.output import Output
from .._arguments.targets import loss_arguments
from .._backends.reference import chunk_losses, chunks, words
from .._backends.reference.chunk_losses import Relative
from .._backends.reference.losses import capped
from .._backends.reference.normalizer import either, exact, fill, over
from .._backends.target import Target
from .._library import device, look_up, pick, put, quiet, select, widen, widest, widest_integer
from .normalizer import Normalizer, last

Array = Any


class OptionsOfAll(NamedTuple):
    """What holds for all chunks, as it was given."""

    label_smoothing: Any
    ignore_index: Any
    sample_weight: Any
    z_loss: Any
    softcap: Any
    temperature: Any


class LossChunk:
    """A chunk, with its arguments checked. Here arrays with one element per row have size 1 along
    the class axis.
    """

    @quiet
    def __init__(
        self,
        x: Any,
        target: Any,
        axis: Any,
        start: Any,
        weight: Any,
        where: Any,
        options: OptionsOfAll,
    ):
        call = self.call = Call("x", x, axis)
        smoothing, ignore_index, sample_weight, z_loss, softcap, temperature = options
        given = LossArguments(
            weight, smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
        )
        self.target, _, cap, self.where, self.temperature = loss_arguments(
            call, target, given, chunk=True
        )
        try:
            self.start = operator.index(start)
        except TypeError:
            raise TypeError(f"start: expected an int, got {start!r:.60}") from None
        if self.start < 0:
            raise ValueError(f"start: expected an int >= 0, got {self.start}")
        self.rows, self._slope = call.rows(call.x), None
        # What is rounded to a narrower type needs no second word for each of its elements.
        self._narrow = call.x.dtype != widest(call.xp, call.x)
        if cap is not None:
            xp, wide = widen(self.rows)
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
        return Normalizer.of_rows(self.call, self.temperature, self.where, self.rows)

    # --- what it adds to the state ---

    def on_target(self, normalizer: Normalizer) -> tuple[Relative, Array]:
        """R and Q of the targets, and which rows have their class here."""
        call, xp = self.call, self.call.xp
        m, r = normalizer.parts
        if self.target.probabilities is None:
            index, here = self._index_here()
            x, mass = self._logit_of(index), self._mass_of(index, here)
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
        m, _ = normalizer.parts
        choices = xp.astype(normalizer.counted, m.dtype)
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

    def _index_here(self) -> tuple[Array, Array]:
        """Where the class of each row is in this chunk, 0 if it is not, and whether it is."""
        call, xp = self.call, self.call.xp
        y = xp.expand_dims(self.target.classes, axis=call.axis)
        here = (y >= self.start) & (y < self.start + call.classes)
        return call.class_numbers(select(xp, here, y - self.start, 0)), here

    def _logit_of(self, index: Array) -> Array:
        """The logit there, -inf if the mask leaves it out."""
        call, xp = self.call, self.call.xp
        if call.classes == 0:
            return xp.zeros(index.shape, dtype=widest(xp, call.x), device=device(call.x)) - xp.inf
        _, x = widen(pick(xp, self.rows, index, call.axis))
        if self.where is None:
            return x
        return select(xp, pick(xp, self.where, index, call.axis), x, -xp.inf)

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
        masses: Any,
        z_slope: Any,
        counts: Array,
        by: Any,
        out: Any,
    ) -> Any:
        """by / T times (Q + z_slope) p - q, of Q without the weights s of the rows."""
        call, xp = self.call, self.call.xp
        dtype = call.dtype(None, role="loss")
        output = call.out(out, dtype)
        of_rows = normalizer.parts[0], *normalizer.parts[1], s, counts, *masses, *z_slope
        m, r, r_lo, s, counts, q, q_lo, z, z_lo = map(call.one_each, of_rows)
        row = _Row(m, (r, r_lo), s, chunk_losses.product(xp, exact(xp, s), (q, q_lo)), (z, z_lo))
        k = over(xp, exact(xp, by * xp.ones_like(m)), self.temperature)
        scale = words.multiply(xp, words.add(row.masses, row.z_slope), k)
        scale = words.multiply(xp, scale, chunks.share(row.r))
        scale = either(xp, counts, scale, (0.0, 0.0))

        bare = self.target.probabilities is None and not self.target.smoothing
        in_place = bare and self._slope is None
        still = self._still(m, r, counts, bare)  # before `out`, which may be x, is written
        kind, room = (dtype, output.room) if in_place else (call.dtype(widest(xp, call.x)), None)
        if bare:
            index, here = self._index_here()
            x = self._logit_of(index)
            t = self.temperature
            at_target = chunk_losses.at_target(x, row.masses, row.z_slope, m, row.r, t)
        p = call.backend.shifted_exp
        grad = p(self.rows, call.axis, self.where, self.temperature, m, scale, kind, room)
        if bare:
            value = words.rounded(xp, words.multiply(xp, at_target, k))
            here = here & counts & (x != -xp.inf)
            grad = put(xp, grad, index, here, value, call.axis)
        else:
            choices = call.one_each(xp.astype(normalizer.counted, m.dtype))
            grad = self._less_masses(grad, row, k, choices)
        if self._slope is not None:
            grad = select(xp, self._slope == 0.0, 0.0, grad * self._slope)
        for dead in still:
            grad = _cleared(xp, grad, dead)
        if in_place:
            return call.result(grad, output)
        return call.result(xp.astype(grad, dtype, copy=False), Output(output.given))

    def _still(self, m: Array, r: Array, counts: Array, bare: bool) -> list[Array]:
        """Where the gradient is 0 whatever the row holds: in all of it, or where x is -inf."""
        xp, concrete = self.call.xp, self.call.backend.is_concrete
        rows = ~counts | (m == -xp.inf)
        lost = xp.isnan(m + r)
        still = []
        if not concrete(rows) or bool(xp.any(rows)):
            still.append(rows)
        if not bare or not concrete(lost) or bool(xp.any(lost)):
            still.append(fill(xp, self.where, self.rows, -xp.inf) == -xp.inf)
        return still

    def _less_masses(self, grad: Array, row: _Row, k: Any, choices: Array) -> Array:
        """k (Q + z_slope) p less k q; at the pivot by what the other classes have."""
        xp, target, axis = self.call.xp, self.target, self.call.axis
        if self.call.classes == 0:
            return grad
        one = xp.ones_like(row.m)
        spread = words.divide(xp, exact(xp, target.smoothing * one), exact(xp, choices))
        kept = words.two_sum(one, -target.smoothing * one)
        by = words.multiply(xp, k, exact(xp, row.s))

        def masses(y: Array, w: Array | None) -> Any:
            """by q of the targets y and the weights w, in two words."""
            q = words.add(words.multiply(xp, exact(xp, y), kept), spread)
            q = q if w is None else words.multiply(xp, q, exact(xp, w))
            return words.multiply(xp, q, by)

        w = None if target.weight is None else self._of_classes(target.weight)
        y = self._targets(one)
        if self._narrow:
            q = y * words.rounded(xp, kept) + words.rounded(xp, spread)
            q = (q if w is None else q * w) * words.rounded(xp, by)
        else:
            q = words.rounded(xp, masses(y, w))
        grad = grad - (q if self.where is None else select(xp, self.where, q, 0.0))

        # The pivot, where it is here and no other class has its logit.
        rows = fill(xp, self.where, self.rows, -xp.inf)
        index = xp.argmax(rows, axis=axis, keepdims=True)
        here = (widen(pick(xp, rows, index, axis))[1] == row.m) & (row.r[0] < 1.0)
        if w is not None:
            w = look_up(xp, target.weight, index)
        q = masses(pick(xp, y, index, axis), w)
        others = words.add(words.multiply(xp, row.masses, k), words.negative(q))
        lost = words.multiply(xp, words.multiply(xp, row.masses, row.r), chunks.share(row.r))
        steep = chunk_losses.product(xp, row.z_slope, chunks.share(row.r))
        rest = words.multiply(xp, words.add(steep, words.negative(lost)), k)
        at_pivot = words.rounded(xp, words.add(others, rest))
        return put(xp, grad, index, here, at_pivot, axis)

    def _targets(self, one: Array) -> Array:
        """The probabilities, or 1 at the class of each row."""
        xp = self.call.xp
        if self.target.probabilities is not None:
            return widen(self.target.probabilities)[1]
        index, here = self._index_here()
        zeros = xp.zeros(self.rows.shape, dtype=one.dtype, device=device(one))
        ones = xp.broadcast_to(one, index.shape)
        return put(xp, zeros, index, here, ones, self.call.axis)


class _Row(NamedTuple):
    """What the gradient of a row needs."""

    m: Array
    r: Any
    s: Array
    masses: Any
    z_slope: Any


def _cleared(xp: Any, a: Array, dead: Array) -> Array:
    """The array with 0 in some places; it may be used up."""
    if xp is np:
        np.copyto(a, 0.0, where=dead)
        return a
    return select(xp, dead, 0.0, a)


def _capped(xp: Any, x: Array, softcap: float) -> tuple[Array, Array]:
    """As `capped`, with a slope of one word."""
    u = x / softcap
    root = 1.0 / xp.cosh(u)
    return softcap * xp.tanh(u), root * root
