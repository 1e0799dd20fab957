"""Scores of rows: those without weight, infinite losses, and what would take too much memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from budget import METRICS

from onesum import metrics

SCORES = {
    "negative_log_likelihood": metrics.negative_log_likelihood,
    "brier_score": metrics.brier_score,
    "calibration_error": metrics.calibration_error,
    "classwise": lambda *a, **k: metrics.calibration_error(*a, per_class=True, **k),
    "by mass": lambda *a, **k: metrics.calibration_error(*a, strategy="mass", **k),
    "top_k_accuracy": lambda *a, **k: metrics.top_k_accuracy(*a, k=1, **k),
    "perplexity": metrics.perplexity,
    "bins": lambda *a, **k: metrics.reliability(*a, **k).accuracy,
    "bins of a class": lambda *a, **k: metrics.reliability(*a, label=1, **k).accuracy,
}


def data(n=60):
    rng = np.random.default_rng(0)
    x = rng.normal(0.0, 3.0, (n, 4))
    return x, (x / 1.7 + rng.gumbel(size=x.shape)).argmax(axis=1)


@pytest.mark.parametrize("name", SCORES)
def test_rows_without_weight(name, monkeypatch):
    """They may hold anything, in the middle of a block or as a whole one, and are not drawn."""
    monkeypatch.setattr("onesum._calibration.rows.PART", 16)
    x, y = data()
    weights = np.where(np.arange(60) % 5 < 3, 2.0, 0.0)
    weights[20:32] = 0.0
    kept = weights > 0.0
    damaged = np.where(kept[:, None], x, [np.nan, np.inf, -np.inf, 0.0])
    got = SCORES[name](damaged, y, sample_weight=weights)
    np.testing.assert_allclose(got, SCORES[name](x[kept], y[kept]), rtol=METRICS)
    if "bins" not in name:
        options = {"confidence": 0.9, "n_resamples": 50}
        got = SCORES[name](damaged, y, sample_weight=weights, rng=0, **options)
        wanted = SCORES[name](x[kept], y[kept], rng=0, **options)
        np.testing.assert_allclose(got, wanted, rtol=METRICS, atol=METRICS)


def test_the_row_at_fault_among_rows_without_weight():
    x, y = data()
    x[40] = np.nan
    with pytest.raises(ValueError, match="got nan in row 40"):
        metrics.brier_score(x, y, sample_weight=np.arange(60) >= 30)


def test_intervals_of_infinite_scores():
    """A resample with the row of infinite loss is infinite, and one without it is not."""
    x = np.zeros((40, 2))
    x[0, 1] = -np.inf
    y = (np.arange(40) < 1).astype(int)
    got = metrics.negative_log_likelihood(x, y, confidence=0.9, rng=0, n_resamples=200)
    assert got == (np.inf, pytest.approx(np.log(2.0), rel=METRICS), np.inf)
    x[0, 1] = -30000.0
    got = metrics.perplexity(x, y, confidence=0.9, rng=0, n_resamples=200)
    assert got.low == pytest.approx(2.0, rel=METRICS)
    assert got.value > 1e300
    assert got.high == np.inf


def test_bins_that_memory_would_not_hold():
    x, y = data()
    with pytest.raises(ValueError, match="bins: expected from 1 to 65536, got 10000000"):
        metrics.calibration_error(x, y, bins=10**7)
    assert metrics.reliability(x, y, bins=2**16).rows.sum() == 60


def test_tensors_beside():
    x, y = data()
    weights = torch.arange(60.0, requires_grad=True)
    wanted = metrics.brier_score(x, y, sample_weight=np.arange(60))
    assert metrics.brier_score(torch.from_numpy(x), y, sample_weight=weights) == wanted
