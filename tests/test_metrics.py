"""Scores of probabilities: against scikit-learn's and torchmetrics', and intervals that cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from budget import METRICS, METRICS_FLOAT32
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error

import onesum
from onesum import metrics

SCORES = {
    "negative_log_likelihood": metrics.negative_log_likelihood,
    "brier_score": metrics.brier_score,
    "calibration_error": metrics.calibration_error,
    "top_k_accuracy": metrics.top_k_accuracy,
    "perplexity": metrics.perplexity,
}


def data(n=2000, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 3.0, (n, classes))
    y = (x / 1.7 + rng.gumbel(size=x.shape)).argmax(axis=1)
    return x, y, onesum.softmax(x), rng.integers(0, 4, n).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
def test_against_scikit_learn(weighted):
    x, y, p, weights = data()
    s = weights if weighted else None
    close = {"rel": METRICS}
    loss = metrics.negative_log_likelihood(x, y, sample_weight=s)
    assert loss == pytest.approx(log_loss(y, p, sample_weight=s), **close)
    assert metrics.perplexity(x, y, sample_weight=s) == pytest.approx(math.exp(loss), **close)
    wanted = brier_score_loss(y, p, sample_weight=s, scale_by_half=False)
    assert metrics.brier_score(x, y, sample_weight=s) == pytest.approx(wanted, **close)
    for k in (1, 3):
        wanted = top_k_accuracy_score(y, p, k=k, sample_weight=s)
        got = metrics.top_k_accuracy(x, y, k=k, sample_weight=s)
        assert got == pytest.approx(wanted, **close)
    if not weighted:
        assert loss == pytest.approx(float(onesum.cross_entropy(x, y)), **close)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_against_torchmetrics(bins):
    x, y, p, _ = data()
    wanted = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(y), 7, bins)
    got = metrics.calibration_error(x, y, bins=bins)
    assert got == pytest.approx(float(wanted), rel=METRICS_FLOAT32)
    reliability = metrics.reliability(x, y, bins=bins)
    assert reliability.calibration_error == pytest.approx(got, rel=METRICS)
    wanted = multiclass_calibration_error(
        torch.from_numpy(p), torch.from_numpy(y), 7, bins, norm="max"
    )
    assert reliability.max_calibration_error == pytest.approx(float(wanted), rel=METRICS_FLOAT32)


@pytest.mark.parametrize(("strategy", "theirs"), [("width", "uniform"), ("mass", "quantile")])
def test_bins_against_scikit_learn(strategy, theirs):
    """The probability of each class in bins, and by their definition the errors."""
    x, y, p, _ = data()
    errors = []
    for label in range(7):
        right, confidence = calibration_curve(y == label, p[:, label], n_bins=10, strategy=theirs)
        r = metrics.reliability(x, y, bins=10, strategy=strategy, label=label)
        there = r.rows > 0
        np.testing.assert_allclose(r.accuracy[there], right, rtol=METRICS)
        np.testing.assert_allclose(r.confidence[there], confidence, rtol=METRICS)
        errors.append((r.share[there] * abs(right - confidence)).sum())
    got = metrics.calibration_error(x, y, bins=10, strategy=strategy, per_class=True)
    np.testing.assert_allclose(got, errors, rtol=METRICS)


def test_edges_belong_to_the_bin_below():
    """Probabilities are put into bins as they are given."""
    p = np.linspace(0.5, 1.0, 6)
    r = metrics.reliability(
        np.stack([1 - p, p], axis=-1), [1] * 6, bins=10, from_="probabilities", label=1
    )
    inner = np.linspace(0.0, 1.0, 11)[1:-1]
    assert list(r.rows) == [int((np.searchsorted(inner, p) == i).sum()) for i in range(10)]
    assert r.rows[-1] == 1


def test_bins_of_equal_mass():
    x, y, _, weights = data()
    rows = metrics.reliability(x, y, bins=8, strategy="mass").rows
    assert (rows == 250).all()
    shares = metrics.reliability(x, y, bins=8, strategy="mass", sample_weight=weights).share
    np.testing.assert_allclose(shares, 1 / 8, atol=4 / weights.sum())
    equal = metrics.reliability(0 * x, y, bins=8, strategy="mass")
    assert sorted(equal.rows) == [0] * 7 + [2000]


@pytest.mark.parametrize("name", SCORES)
def test_the_same_however_it_is_given(name):
    x, y, p, weights = data(400)
    score = SCORES[name]
    wanted = score(x, y, sample_weight=weights)
    kept = weights > 0
    close = pytest.approx(wanted, rel=METRICS)
    assert score(p, y, from_="probabilities", sample_weight=weights) == close
    log_p = onesum.log_softmax(x)
    assert score(log_p, y, from_="log_probabilities", sample_weight=weights) == close
    assert score(x.T, y, 0, sample_weight=weights) == close
    assert score(x[kept], y[kept], sample_weight=weights[kept]) == close
    repeated = weights.astype(int)
    assert score(x.repeat(repeated, 0), y.repeat(repeated)) == close
    shape = (20, 20)
    cube = x.reshape(*shape, 7), y.reshape(shape)
    assert score(*cube, sample_weight=weights.reshape(shape)) == close
    wide = np.concatenate([x, np.full((400, 1), np.nan)], axis=1)
    where = np.arange(8) < 7
    assert score(wide, y, where=where, sample_weight=weights) == close
    assert score(torch.from_numpy(x), y, sample_weight=weights) == close
    assert isinstance(wanted, float)


@pytest.mark.parametrize("name", SCORES)
def test_intervals(name, monkeypatch):
    """Seeded; the value is within; wider with more confidence; groups of rows do as rows."""
    x, y, _, _ = data(3000)
    score = SCORES[name]
    options = {"confidence": 0.9, "n_resamples": 400}
    one = score(x, y, rng=3, **options)
    assert one == score(x, y, rng=np.random.default_rng(3), **options)
    assert one != score(x, y, rng=4, **options)
    assert one.low < one.value < one.high
    assert one.value == score(x, y)
    wider = score(x, y, rng=3, confidence=0.99, n_resamples=400)
    assert wider.low < one.low
    assert wider.high > one.high
    monkeypatch.setattr(metrics._bootstrap, "GROUPS", (300, 300))
    groups = score(x, y, rng=3, **options)
    assert groups.value == pytest.approx(one.value, rel=METRICS)
    assert groups.high - groups.low == pytest.approx(one.high - one.low, rel=0.25)


def test_intervals_are_those_of_means():
    """Of a mean, the bootstrap is next to the normal interval: 1.96 standard errors."""
    x, y, _, _ = data(4000)
    losses = onesum.cross_entropy(x, y, reduction="none")
    stderr = losses.std() / math.sqrt(4000)
    got = metrics.negative_log_likelihood(x, y, confidence=0.95, n_resamples=4000, rng=0)
    assert (got.high - got.low) / (2 * 1.96 * stderr) == pytest.approx(1.0, abs=0.06)


def test_the_calibration_error_of_a_calibrated_model():
    """Never negative, and its interval has the value in it, in spite of the bias."""
    rng = np.random.default_rng(0)
    x = rng.normal(0.0, 2.0, (300, 5))
    y = (x + rng.gumbel(size=x.shape)).argmax(axis=1)
    got = metrics.calibration_error(x, y, confidence=0.95, rng=0)
    assert 0.0 <= got.low < got.value < got.high
    per_class = metrics.calibration_error(x, y, per_class=True, confidence=0.95, rng=0)
    assert (per_class.low < per_class.value).all()
    assert (per_class.value < per_class.high).all()


def test_intervals_of_a_bin():
    x, y, _, _ = data(500)
    r = metrics.reliability(x, y, bins=5, confidence=0.9)
    for n, accuracy, low, high in zip(r.rows, r.accuracy, r.low, r.high, strict=True):
        if n:
            wanted = binomtest(round(n * accuracy), n).proportion_ci(0.9, method="wilson")
            assert (low, high) == pytest.approx(tuple(wanted), rel=1e-12, abs=1e-15)


def test_small_numbers():
    """Where the label has all but nothing, the scores keep their digits."""
    assert metrics.brier_score([[60.0, 0.0]], [0]) == pytest.approx(2 * math.exp(-120), rel=1e-12)
    assert metrics.negative_log_likelihood([[60.0, 0.0]], [0]) == pytest.approx(
        math.exp(-60), rel=1e-12
    )
    assert metrics.negative_log_likelihood([[0.0, -np.inf]], [1]) == math.inf
    assert metrics.perplexity([[0.0, -1000.0]], [1]) == math.inf
    assert metrics.brier_score([[0.0, -np.inf]], [1]) == 2.0


def test_ties_and_masks_in_top_k():
    x = [[1.0, 1.0, 1.0]] * 3
    assert metrics.top_k_accuracy(x, [0, 1, 2], k=1) == pytest.approx(1 / 3)
    assert metrics.top_k_accuracy(x, [0, 1, 2], k=3) == 1.0
    assert metrics.top_k_accuracy(x, [1, 1, 1], k=1, where=[False, True, True]) == 1.0


def test_the_figure():
    x, y, _, _ = data()
    for strategy in ("width", "mass"):
        r = metrics.reliability(x, y, strategy=strategy)
        diagram, rows = r.figure().axes
        assert f"{r.calibration_error:.3g}" in diagram.get_title()
        assert [bar.get_height() for bar in rows.patches] == list(r.rows)
        points = diagram.containers[0].lines[0].get_xydata()
        np.testing.assert_array_equal(points[:, 1], r.accuracy[r.rows > 0])
    assert r.to_dict()["rows"] == r.rows.tolist()


@pytest.mark.parametrize("name", SCORES)
def test_refused(name):
    x, y, _, _ = data(10)
    score = SCORES[name]
    nan = x.copy()
    nan[4, 2] = np.nan
    for message, *given in [
        ("x: expected logits, .* got nan in row 4", nan, y),
        ("labels: expected class indices from 0 to 6, got 7 in row 0", x, y * 0 + 7),
        ("labels: expected integers", x, y + 0.5),
        ("labels: expected shape", x, y[:3]),
        ("axis: expected an int", x, y, "x"),
        ("x: expected at least one row", x[:0], y[:0]),
        ("x: expected float16, .* got dtype complex", x + 1j, y),
    ]:
        with pytest.raises((TypeError, ValueError, IndexError), match=message):
            score(*given)
    for message, options in {
        "x: expected probabilities from 0 to 1, got -": {"from_": "probabilities"},
        "from_: expected one of logits": {"from_": "p"},
        "confidence: expected a number between 0 and 1, got 95": {"confidence": 95},
        "n_resamples: expected at least 1": {"n_resamples": 0},
        "n_resamples: expected an int": {"n_resamples": 2.5},
        "rng: expected None, a seed": {"rng": "x"},
        "sample_weight: expected a number above zero": {"sample_weight": np.zeros(10)},
        "sample_weight: expected numbers": {"sample_weight": np.full(10, "x")},
    }.items():
        with pytest.raises((TypeError, ValueError), match=message):
            score(x, y, **options)


def test_refused_by_some():
    x, y, _, _ = data(10)
    for message, call in {
        "bins: expected from 1 to 65536, got 0": lambda: metrics.calibration_error(x, y, bins=0),
        "bins: expected an int": lambda: metrics.reliability(x, y, bins=1.5),
        "strategy: expected one of width, mass": lambda: metrics.reliability(x, y, strategy="q"),
        "label: expected a class from 0 to 6, got 7": lambda: metrics.reliability(x, y, label=7),
        "label: expected an int": lambda: metrics.reliability(x, y, label="a"),
        "k: expected at least 1": lambda: metrics.top_k_accuracy(x, y, k=0),
        "k: expected an int": lambda: metrics.top_k_accuracy(x, y, k=1.5),
    }.items():
        with pytest.raises((TypeError, ValueError, IndexError), match=message):
            call()
