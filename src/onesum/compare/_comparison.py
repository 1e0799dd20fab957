"""What came out of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ._distribution import Distribution, finite, perplexity_of, share_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two sets of logits, base and other, row by row. Logarithms are natural.

    What needs labels is None without them. `str` gives all of it as a table.

    Attributes
    ----------
    kl, reverse_kl, js : Distribution
        KL(base || other), KL(other || base) and the Jensen-Shannon divergence, which is at most
        log 2. Never negative.
    same_top, same_top_stderr : float
        The part of the rows in which both have the largest logit at one class.
    delta_p : Distribution or None
        The label's probability of other less that of base; its `rms` is a usual measure.
    log_likelihood_base, log_likelihood_other : Distribution or None
        log p of the label.
    perplexity_base, perplexity_other, perplexity_ratio : float or None
        exp of minus the mean log-likelihood, and the ratio other / base.
    perplexity_base_stderr, perplexity_other_stderr, perplexity_ratio_stderr : float or None
        Their standard errors, by the delta method; for the ratio base and other are taken as the
        pairs that they are, so that what they have in common cancels.
    log_ratio, log_ratio_stderr : float or None
        log(perplexity_other / perplexity_base).
    correlation : float or None
        Pearson's, of the two log-likelihoods; NaN if one of them is the same in all rows.
    mass_error_base, mass_error_other : Distribution or None
        For stored log-probabilities (`LlamaCppLogits`): by how much the probabilities of a row sum
        to more than 1. They are taken as logits, so that the divergences are not affected.
    rows : int

    Examples
    --------
    >>> from onesum.compare import compare
    >>> result = compare([[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.5], [0.0, 1.0]], labels=[0, 1])
    >>> result.rows, result.same_top, round(result.perplexity_ratio, 6)
    (2, 1.0, 1.037945)
    >>> print(result)  # doctest: +ELLIPSIS
    2 rows...
    """

    kl: Distribution
    reverse_kl: Distribution
    js: Distribution
    same_top: float
    log_likelihood_base: Distribution | None = None
    log_likelihood_other: Distribution | None = None
    mass_error_base: Distribution | None = None
    mass_error_other: Distribution | None = None

    @property
    def rows(self) -> int:
        return len(self.kl.values)

    @property
    def same_top_stderr(self) -> float:
        return share_error(self.same_top, self.rows)

    @cached_property
    def delta_p(self) -> Distribution | None:
        if self.log_likelihood_base is None or self.log_likelihood_other is None:
            return None
        base, other = self.log_likelihood_base.values, self.log_likelihood_other.values
        return Distribution(np.exp(other) - np.exp(base))

    @property
    def perplexity_base(self) -> float | None:
        return _perplexity(self.log_likelihood_base)[0]

    @property
    def perplexity_base_stderr(self) -> float | None:
        return _perplexity(self.log_likelihood_base)[1]

    @property
    def perplexity_other(self) -> float | None:
        return _perplexity(self.log_likelihood_other)[0]

    @property
    def perplexity_other_stderr(self) -> float | None:
        return _perplexity(self.log_likelihood_other)[1]

    @cached_property
    def _gain(self) -> Distribution | None:
        """The log-likelihoods of other less those of base, whose spread is theirs less twice their
        covariance."""
        if self.log_likelihood_base is None or self.log_likelihood_other is None:
            return None
        with np.errstate(invalid="ignore"):
            return Distribution(self.log_likelihood_other.values - self.log_likelihood_base.values)

    @property
    def log_ratio(self) -> float | None:
        return None if self._gain is None else 0.0 - self._gain.mean

    @property
    def log_ratio_stderr(self) -> float | None:
        return None if self._gain is None else self._gain.stderr

    @property
    def perplexity_ratio(self) -> float | None:
        return _perplexity(self._gain)[0]

    @property
    def perplexity_ratio_stderr(self) -> float | None:
        return _perplexity(self._gain)[1]

    @cached_property
    def correlation(self) -> float | None:
        if self.log_likelihood_base is None or self.log_likelihood_other is None:
            return None
        both = self.log_likelihood_base, self.log_likelihood_other
        with np.errstate(all="ignore"):
            a, b = (d.values - d.mean for d in both)
            return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it, by the names of the attributes.

        A distribution is its mean, standard error, rms, extremes and percentiles; None stands for
        what needs labels where there are none, and for what is not finite.
        """
        names = [field.name for field in fields(self)]
        names[4:4] = ["same_top_stderr", "delta_p"]
        names[-2:-2] = [
            *(f"perplexity_{of}{what}" for of in ("base", "other", "ratio") for what in _AND_ERROR),
            *(f"log_ratio{what}" for what in _AND_ERROR),
            "correlation",
        ]
        return {name: _plain(getattr(self, name)) for name in ("rows", *names)}

    def figure(self) -> Figure:
        """A matplotlib figure: how KL(base || other) is spread over the rows, and with labels the
        change of their probability."""
        from ._figure import histograms

        return histograms(self)

    def __str__(self) -> str:
        from ._table import text

        return text(self)

    __repr__ = __str__


_AND_ERROR = "", "_stderr"


def _perplexity(log_likelihood: Distribution | None) -> tuple[float | None, float | None]:
    if log_likelihood is None:
        return None, None
    return perplexity_of(-log_likelihood.mean, log_likelihood.stderr)


def _plain(value: Any) -> Any:
    if isinstance(value, Distribution):
        return value.to_dict()
    return finite(value) if isinstance(value, float) else value
