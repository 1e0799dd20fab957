"""The numbers of the rows, gathered block by block, and the rows that have none."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._functions.divergences import divergences, log_likelihoods
from .._library import to_numpy
from ._comparison import Comparison
from ._distribution import Distribution
from ._labels import need_classes, need_labels
from ._logits import Logits, readable

Array = Any


class Gathered:
    """What is known of the rows that were taken so far: `done` of them, in whatever order."""

    def __init__(self, base: Logits, other: Logits, labels: Array | None) -> None:
        self.base, self.other, self.labels = base, other, labels
        self.done = 0
        self._numbers: dict[str, Array] = {}
        self._same_top = 0
        self._without = _WithoutSoftmax(base), _WithoutSoftmax(other)

    def take(self, rows: Array, x: Array, y: Array) -> None:
        """Rows of base and of other, with their numbers."""
        self.done += len(rows)
        of = divergences(x, y)
        undefined = np.flatnonzero(np.isnan(of.kl))
        for logits, without in zip((x, y), self._without, strict=True):
            without.look_at(logits[undefined], rows[undefined])
        self._keep(rows, kl=of.kl, reverse_kl=of.reverse_kl, js=of.js)
        self._same_top += int(np.count_nonzero(x.argmax(axis=-1) == y.argmax(axis=-1)))
        if self.labels is not None:
            labels = self.labels[rows]
            base = log_likelihoods(x, labels, of.top_x, of.rest_x)
            other = log_likelihoods(y, labels, of.top_y, of.rest_y)
            self._keep(rows, base=base, other=other)
        log_sums = {"base": of.top_x + of.rest_x, "other": of.top_y + of.rest_y}
        for side, log_sum in log_sums.items():
            if getattr(getattr(self, side).source, "log_probabilities", False):
                self._keep(rows, **{f"mass_{side}": np.expm1(log_sum)})

    def comparison(self) -> Comparison:
        """Of all rows, which must have been taken."""
        for without in self._without:
            without.need_none()
        distributions = {name: Distribution(values) for name, values in self._numbers.items()}
        return Comparison(
            kl=distributions["kl"],
            reverse_kl=distributions["reverse_kl"],
            js=distributions["js"],
            same_top=self._same_top / self.base.rows,
            log_likelihood_base=distributions.get("base"),
            log_likelihood_other=distributions.get("other"),
            mass_error_base=distributions.get("mass_base"),
            mass_error_other=distributions.get("mass_other"),
        )

    def _keep(self, rows: Array, **blocks: Array) -> None:
        for name, block in blocks.items():
            if name not in self._numbers:
                self._numbers[name] = np.empty(self.base.rows)
            self._numbers[name][rows] = block


class NoSoftmaxError(ValueError):
    """Some rows have no probabilities to compare."""


class _WithoutSoftmax:
    """The rows of one of the two that have no softmax: how many, and the first."""

    def __init__(self, given: Logits) -> None:
        self.given = given
        self._found: dict[str, list[int]] = {}

    def look_at(self, logits: Array, rows: Array) -> None:
        largest = logits.max(axis=-1, initial=-np.inf)
        several = np.count_nonzero(logits == np.inf, axis=-1) > 1
        for what, bad in (
            ("NaN", np.isnan(largest)),
            ("nothing but -inf", largest == -np.inf),
            ("several inf", (largest == np.inf) & several),
        ):
            if bad.any():
                found = self._found.setdefault(what, [0, self.given.rows])
                found[0] += int(np.count_nonzero(bad))
                found[1] = min(found[1], int(rows[bad].min()))

    def need_none(self) -> None:
        if self._found:
            got = "; ".join(
                f"{what} in {count} of {self.given.rows} rows, "
                f"the first of them {self.given.row_name(first)}"
                for what, (count, first) in self._found.items()
            )
            wanted = "rows of logits with a softmax"
            raise NoSoftmaxError(f"{self.given.name}: expected {wanted}, got {got}")


def labels_of(labels: Any, base: Logits) -> Array:
    """One class a row, int64."""
    a = readable("labels", labels)
    need_labels("labels", a, base.batch)
    a = to_numpy(a[(slice(None),) * len(a.shape)])
    need_classes("labels", a, base.classes)
    return a.reshape(-1).astype(np.int64)
