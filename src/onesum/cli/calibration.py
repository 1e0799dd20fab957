"""How good stored probabilities are, before and after they are calibrated."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._calibration.rows import Rows
from ..metrics import Estimate, Reliability
from ..metrics._bootstrap import RESAMPLES, Resampling
from ..metrics._calibration import confidence_of_part, error
from ..metrics._reliability import binned, normal_quantile
from ..metrics._scores import losses, mean, squares


class Quality(NamedTuple):
    """The scores of some rows at one temperature."""

    negative_log_likelihood: Estimate
    brier_score: Estimate
    calibration_error: Estimate
    accuracy: Estimate
    reliability: Reliability

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, which knows no infinity: null."""
        scores = {
            name: {end: v if math.isfinite(v) else None for end, v in score._asdict().items()}
            for name, score in self._asdict().items()
            if name != "reliability"
        }
        return {**scores, "reliability": self.reliability.to_dict()}


def qualities(
    rows: Rows, temperature: float, bins: int, confidence: float, seed: int
) -> tuple[Quality, Quality]:
    """Of the rows with weight, before and after, from one reading. All resamples are the same."""
    temperatures = 1.0, temperature
    found: dict[float, list[Any]] = {t: [] for t in temperatures}
    for part in rows.parts():
        for t in temperatures:
            at = part if t == 1.0 else part._replace(x=part.x / t, p=None)
            found[t].append((losses(at), squares(at), *confidence_of_part(at)))
    before, after = (_quality(found[t], bins, confidence, seed) for t in temperatures)
    return before, after


def _quality(found: list[Any], bins: int, confidence: float, seed: int) -> Quality:
    loss, square, share, right = (np.concatenate(parts) for parts in zip(*found, strict=True))

    def resampling() -> Resampling:
        return Resampling.of(confidence, RESAMPLES, seed)

    return Quality(
        mean(loss, None, resampling()),
        mean(square, None, resampling(), most=2.0),
        error(share, right, None, resampling(), bins),
        mean(right.astype(np.float64), None, resampling(), most=1.0),
        binned(share, right, None, bins, z=normal_quantile(confidence)),
    )
