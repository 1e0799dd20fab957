"""All that a call has for each of its rows, and some of them at a time."""

import math
from typing import Any

import numpy as np

from ..._arguments import Call
from ..._backends.target import Target
from ..._library import device, select

Array = Any


class Rows:
    """The rows of a call, as matrices. Those to be ignored are left out: they need no product."""

    def __init__(self, call: Call, target: Target, where: Any, temperature: Any, wide: Any):
        xp = self.xp = call.xp
        self.batch, self.wide = call.batch, wide
        self.all = self.number = math.prod(call.batch)
        self._live = self._place = None
        self.h = xp.reshape(call.x, (self.all, call.x.shape[-1]))
        if target.classes is not None:
            counted = xp.reshape(target.classes >= 0, (-1,))
            if not call.backend.is_concrete(counted):  # they stay, and may hold anything
                self.h = select(xp, counted[:, None], self.h, 0.0)
            elif not bool(xp.all(counted)):
                self._live = xp.nonzero(counted)[0]
                self.number = self._live.shape[0]
                # Where a row's result is among theirs, or behind them all.
                order = xp.argsort(xp.astype(~counted, xp.int8), stable=True)
                self._place = select(xp, counted, xp.argsort(order), self.number)
        self.target = target._replace(
            classes=self._column(target.classes),
            probabilities=self._matrix(target.probabilities),
            sample_weight=self._column(target.sample_weight),
        )
        self.where = self._matrix(where)
        if not isinstance(temperature, float):
            temperature = xp.reshape(temperature, (self.all, 1))
        self.temperature = temperature

    def _column(self, a: Array) -> Array:
        return None if a is None else self.xp.reshape(a, (self.all,))

    def _matrix(self, a: Array) -> Array:
        """An array as large as the logits as a matrix, where that takes no copy."""
        if a is None:
            return None
        shape = (self.all, a.shape[-1])
        if self.xp is not np:
            return self.xp.reshape(a, shape)
        try:
            return np.reshape(a, shape, copy=False)
        except ValueError:  # broadcast along one of several batch axes
            return a

    def pick(self, a: Any, rows: slice, classes: slice = slice(None)) -> Any:
        """These rows of an array, and of them these classes."""
        if a is None or isinstance(a, float):
            return a
        live = None if self._live is None else self._live[rows]
        if a.ndim > 2:  # no matrix
            index = np.arange(rows.start, rows.stop) if live is None else live
            return a[(*np.unravel_index(index, self.batch), classes)]
        a = a if a.ndim == 1 else a[:, classes]
        return a[rows, ...] if live is None else self.xp.take(a, live, axis=0)

    def whole(self, parts: list[Array], dtype: Any, *shape: int) -> Array:
        """The results of all parts as one array, with 0 for the rows left out."""
        nothing = self.xp.zeros((1, *shape), dtype=dtype, device=device(self.h))
        if self._place is not None:
            return self.xp.take(self.xp.concat([*parts, nothing]), self._place, axis=0)
        return self.xp.concat(parts) if parts else nothing[:0, ...]


class Part:
    """Some of the rows; what is as large as their logits is there when it is asked for."""

    def __init__(self, rows: Rows, span: slice):
        self._rows, self._span = rows, span
        self.h = rows.xp.astype(rows.pick(rows.h, span), rows.wide, copy=False)
        self.target = rows.target._replace(
            classes=rows.pick(rows.target.classes, span),
            probabilities=None,
            sample_weight=rows.pick(rows.target.sample_weight, span),
        )
        self.temperature = rows.pick(rows.temperature, span)

    def where(self, classes: slice) -> Array:
        return self._rows.pick(self._rows.where, self._span, classes)

    def probabilities(self, classes: slice) -> Array:
        return self._rows.pick(self._rows.target.probabilities, self._span, classes)

    @property
    def masked(self) -> bool:
        return self._rows.where is not None
