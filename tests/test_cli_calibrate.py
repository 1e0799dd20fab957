"""`onesum calibrate`: files in, a table, JSON or a picture out, and a line for every mistake."""

from __future__ import annotations

import json

import numpy as np
import pytest
from budget import METRICS, TEMPERATURE
from stored_files import FORMATS, save

import onesum
from onesum import metrics
from onesum._calibration.rows import Rows
from onesum._calibration.temperature import fit


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(0.0, 3.0, (600, 5))
    y = (x / 1.7 + rng.gumbel(size=x.shape)).argmax(axis=1)
    return x, y, save(tmp_path, "npy", x), save(tmp_path, "npy", y, "y")


def answered(cli, *argv):
    status, told, errors = cli("calibrate", *argv, "--json")
    assert (status, errors) == (0, "")
    return json.loads(told)


def need_scores(got, x, y, t):
    for name, at in (("before", 1.0), ("after", t)):
        for score in ("negative_log_likelihood", "brier_score", "calibration_error"):
            wanted = getattr(metrics, score)(x / at, y, confidence=0.95, rng=0)
            assert got[name][score] == pytest.approx(wanted._asdict(), rel=METRICS, abs=1e-9)
        accuracy = metrics.top_k_accuracy(x, y, k=1)
        assert got[name]["accuracy"]["value"] == pytest.approx(accuracy, rel=METRICS)


@pytest.mark.parametrize("form", FORMATS)
def test_formats(cli, form, files, tmp_path):
    x, y, _, labels = files
    wanted = fit(Rows(x, y))
    got = answered(cli, save(tmp_path, form, x, "z"), labels)
    assert got["temperature"] == pytest.approx(wanted.temperature, rel=TEMPERATURE)
    assert got["temperature_stderr"] == pytest.approx(wanted.stderr, rel=1e-9)
    assert got["rows_fitted"] == got["rows_scored"] == 600
    if form == "npy":
        need_scores(got, x, y, got["temperature"])


def test_blocks_and_axis(cli, files, tmp_path, monkeypatch):
    """The rows in many blocks, and the class axis first."""
    monkeypatch.setattr("onesum._calibration.rows.BLOCK", 64)
    x, y, _, labels = files
    got = answered(
        cli, save(tmp_path, "zarr 3", np.ascontiguousarray(x.T), "t"), labels, "--axis=0"
    )
    assert got["temperature"] == pytest.approx(fit(Rows(x, y)).temperature, rel=TEMPERATURE)


def test_declared(cli, files, tmp_path):
    x, y, _, labels = files
    wanted = fit(Rows(x, y)).temperature
    for from_, given in (
        ("probabilities", onesum.softmax(x)),
        ("log-probabilities", onesum.log_softmax(x)),
    ):
        got = answered(cli, save(tmp_path, "npy", given, "p"), labels, "--from", from_)
        assert got["temperature"] == pytest.approx(wanted, rel=TEMPERATURE)


def test_holdout(cli, files, tmp_path):
    """Both parts are disjoint, and the scores are of what was held out."""
    x, y, logits, labels = files
    got = answered(cli, logits, labels, "--holdout=0.25", "--seed=7")
    assert (got["rows_fitted"], got["rows_scored"]) == (450, 150)
    held = np.zeros(600, bool)
    held[np.random.default_rng(7).permutation(600)[:150]] = True
    assert got["temperature"] == pytest.approx(
        fit(Rows(x[~held], y[~held])).temperature, rel=TEMPERATURE
    )
    wanted = metrics.negative_log_likelihood(x[held], y[held])
    assert got["before"]["negative_log_likelihood"]["value"] == pytest.approx(wanted, rel=METRICS)
    assert got != answered(cli, logits, labels, "--holdout=0.25", "--seed=8")


def test_ignored_rows(cli, files, tmp_path):
    x, y, logits, _ = files
    labels = np.where(np.arange(600) % 3, y, -100)
    got = answered(cli, logits, save(tmp_path, "npy", labels, "i"), "--ignore-index=-100")
    counted = labels >= 0
    t = fit(Rows(x[counted], y[counted])).temperature
    assert got["rows_fitted"] == 400
    assert got["temperature"] == pytest.approx(t, rel=TEMPERATURE)


def test_the_table_and_the_picture(cli, files, tmp_path):
    _, _, logits, labels = files
    status, told, errors = cli("calibrate", logits, labels, "--figure", "f.png", "--holdout=0.5")
    assert (status, errors) == (0, "")
    first, *lines = told.splitlines()
    assert first.startswith("T = 1.")
    assert "from 300 rows" in first
    assert "300 rows held out" in lines[0]
    words = [" ".join(line.split()[:2]) for line in lines]
    assert {"negative log-likelihood", "Brier score", "calibration error"} <= set(words)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes(cli, files, tmp_path):
    x, y, logits, labels = files
    nan = x.copy()
    nan[3, 2] = np.nan
    other = {
        "nan": nan,
        "constant": 0 * x,
        "separable": x.argmax(axis=1),
        "inverse": x.argmin(axis=1),
        "one": 0 * y,
        "beyond": y + 5,
        "names": y.astype(float),
    }
    name = {key: save(tmp_path, "npy", value, key) for key, value in other.items()}
    for status, message, argv in [
        (1, "got nan in row 3", [name["nan"], labels]),
        (1, "T changes nothing", [name["constant"], labels]),
        (1, "the loss falls as T -> 0", [logits, name["separable"]]),
        (1, "the loss falls as T grows", [logits, name["inverse"]]),
        (2, "one.npy: expected two classes or more, got class 0 alone", [logits, name["one"]]),
        (2, "beyond.npy: expected class indices from 0 to 4", [logits, name["beyond"]]),
        (2, "names.npy: expected integers", [logits, name["names"]]),
        (2, "x.npy: expected probabilities", [logits, labels, "--from=probabilities"]),
        (2, "--from: expected one of", [logits, labels, "--from=odds"]),
        (2, "--holdout: expected a number between 0 and 1", [logits, labels, "--holdout=1"]),
        (2, "--holdout: expected a part", [logits, labels, "--holdout=1e-6"]),
        (2, "--bins: expected from 1 to 65536, got 0", [logits, labels, "--bins=0"]),
        (2, "--bins: expected from 1 to 65536, got 1000000", [logits, labels, "--bins=1000000"]),
        (2, "--confidence: expected", [logits, labels, "--confidence=95"]),
        (2, "--seed: expected at least 0", [logits, labels, "--seed=-1"]),
        (2, "--figure: expected a name", [logits, labels, "--figure=f.txt"]),
        (2, "--axis: expected from -2 to 1", [logits, labels, "--axis=2"]),
        (2, "No such file", [logits, "nothing.npy"]),
        (2, "y.npy: expected shape", [labels, labels]),
    ]:
        got, told, errors = cli("calibrate", *argv)
        assert got == status, argv
        assert told == ""
        assert message in errors
        assert errors.count("\n") == 1


@pytest.mark.parametrize("padding", [np.nan, -np.inf])
def test_ignored_rows_may_hold_anything(cli, files, tmp_path, padding):
    x, y, _, _ = files
    counted = np.arange(600) % 3 > 0
    labels = save(tmp_path, "npy", np.where(counted, y, -100), "i")
    given = save(tmp_path, "npy", np.where(counted[:, None], x, padding), "z")
    got = answered(cli, given, labels, "--ignore-index=-100", "--holdout=0.5")
    assert (got["rows_fitted"], got["rows_scored"]) == (200, 200)
    clean = save(tmp_path, "npy", np.where(counted[:, None], x, 0.0), "c")
    assert got == answered(cli, clean, labels, "--ignore-index=-100", "--holdout=0.5")


def test_one_row(cli, tmp_path):
    logits, label = save(tmp_path, "npy", np.zeros(5), "a"), save(tmp_path, "npy", np.array(2), "b")
    status, _, errors = cli("calibrate", logits, label)
    assert status == 2
    assert "b.npy: expected two classes or more, got class 2 alone" in errors
