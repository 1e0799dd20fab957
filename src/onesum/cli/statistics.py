"""Means over rows that come in parts, with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..compare._distribution import perplexity_of, share_error
from .rows import NONE, Rows
from .transform import Array


@dataclass
class Moments:
    """The mean of numbers that come in parts, and the sum of the squares of what they differ by.

    Notes
    -----
    The merge is that of T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances", 1979.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Array) -> None:
        if not values.size:
            return
        n, mean = values.size, float(np.mean(values))
        if not math.isfinite(mean + self.mean):
            self.n, self.mean, self.squares = self.n + n, self.mean + mean, math.nan
            return
        more = mean - self.mean
        total = self.n + n
        self.squares += float(np.sum((values - mean) ** 2)) + more * more * (self.n / total) * n
        self.mean += more * (n / total)
        self.n = total

    @property
    def stderr(self) -> float:
        """Of the mean: the sample's standard deviation over the root of the number."""
        return math.sqrt(self.squares / (self.n - 1) / self.n) if self.n > 1 else math.nan


@dataclass
class Evaluation:
    """What is known of some rows."""

    losses: Moments = field(default_factory=Moments)
    first: int = 0  # rows whose label comes first
    within: int = 0  # rows whose label is among the first k
    nan: Rows = NONE  # rows with NaN logits
    undefined: Rows = NONE  # other rows without probabilities

    @property
    def rows(self) -> int:
        return self.losses.n

    @property
    def loss(self) -> float:
        return self.losses.mean

    @property
    def loss_stderr(self) -> float:
        return self.losses.stderr

    @property
    def perplexity(self) -> float:
        return perplexity_of(self.loss, self.loss_stderr)[0]

    @property
    def perplexity_stderr(self) -> float:
        return perplexity_of(self.loss, self.loss_stderr)[1]

    @property
    def accuracy(self) -> float:
        return self.first / self.rows

    @property
    def accuracy_stderr(self) -> float:
        return share_error(self.accuracy, self.rows)

    @property
    def top_k(self) -> float:
        return self.within / self.rows

    @property
    def top_k_stderr(self) -> float:
        return share_error(self.top_k, self.rows)
