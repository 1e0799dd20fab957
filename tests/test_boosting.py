"""The boosting objectives: their formulas, and what the interfaces return."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import lightgbm
import mpmath
import numpy as np
import pytest
from budget import DIGITS_DIFFERENCES
from measure import BFLOAT16
from sklearn.base import clone

from onesum.boosting import (
    CURVATURES,
    SoftmaxObjective,
    _rows,
    gradient_and_curvature,
    log_loss,
)

# The arithmetic is float64's, in a few operations: 16 ulps of 2^-52. A curvature has also the error
# of 1 - p, which the docstring gives as 1e-15 of its mass.
ROUNDING = 16 * 2.0**-52
CURVATURE = 1e-15

OPTIONS = [
    {},
    {"weight": [0.5, 0.0, 2.0]},
    {"sample_weight": [0.0, 0.5, 1.0, 2.0, 3.0, 0.25]},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"label_smoothing": 0.1, "weight": [0.5, 0.0, 2.0], "sample_weight": [1, 2, 3, 4, 5, 0]},
    {"gamma": 0.5},
    {"gamma": 2.0, "weight": [0.5, 1.0, 2.0], "sample_weight": [0.0, 0.5, 1.0, 2.0, 3.0, 0.25]},
    {"gamma": 2.0, "label_smoothing": 0.25, "weight": [0.5, 1.0, 2.0]},
]
# Undecided, right, and hopelessly wrong, also next to p = 1.
X = np.array([[0.3, -0.7, 1.1], [0, 0, 0], [9, 0, 1], [-1, 2, 30], [25, 0, -3], [1e3, -1e3, 0.0]])
Y = np.array([0, 1, 2, 2, 1, 0])


def loss_of_row(x, i, label_smoothing=0.0, weight=None, sample_weight=None, gamma=0.0):
    """The loss of row i of the data above, as defined, in mpmath's numbers."""
    q = _masses(i, label_smoothing, weight, sample_weight)
    total = mpmath.fsum(map(mpmath.exp, x))
    p = [mpmath.exp(v) / total for v in x]
    terms = (
        q_c * (1 - p_c) ** mpmath.mpf(gamma) * -mpmath.log(p_c) if q_c else mpmath.mpf(0)
        for q_c, p_c in zip(q, p, strict=True)
    )
    return mpmath.fsum(terms)


def _masses(i, label_smoothing, weight, sample_weight):
    w = [1, 1, 1] if weight is None else weight
    s = 1 if sample_weight is None else sample_weight[i]
    e = mpmath.mpf(label_smoothing)
    return [s * w[c] * ((1 - e) * bool(c == Y[i]) + e / 3) for c in range(3)]


def derivative(function, x, c, order=1):
    """By x_c, with digits to spare."""
    with mpmath.workdps(400 * order):
        x = [mpmath.mpf(v) for v in x]
        step = mpmath.mpf(10) ** -100
        at = [function([*x[:c], x[c] + k * step, *x[c + 1 :]]) for k in (-1, 0, 1)]
        change = (at[2] - at[0]) / 2 if order == 1 else at[2] - 2 * at[1] + at[0]
        return change / step**order


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_gradient_is_that_of_the_loss(api, options):
    """To the last digits, also where it is tiny."""
    gradient, _ = gradient_and_curvature(X, Y, **options)
    for i, row in enumerate(X):
        wanted = [
            float(derivative(lambda x, i=i: loss_of_row(x, i, **options), row, c)) for c in range(3)
        ]
        np.testing.assert_allclose(gradient[i], wanted, rtol=ROUNDING, atol=1e-150)


def probabilities(row):
    total = mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in row)
    return [mpmath.exp(mpmath.mpf(v)) / total for v in row]


def mass(i, gamma=0.0, **options):
    """M: the masses q, each times how fast the focal loss of its class grows with -log p."""
    with mpmath.workdps(400):
        change = mpmath.mpf(10) ** -100

        def slope(p):
            if not gamma or p == 1:
                return mpmath.mpf(not gamma)
            near = [-mpmath.log(p) * (1 + sign * change) for sign in (-1, 1)]
            loss = [(1 - mpmath.exp(-v)) ** mpmath.mpf(gamma) * v for v in near]
            return (loss[1] - loss[0]) / (near[1] - near[0])

        options = {"label_smoothing": 0.0, "weight": None, "sample_weight": None} | options
        pairs = zip(_masses(i, **options), probabilities(X[i]), strict=True)
        return mpmath.fsum(q * slope(p) for q, p in pairs if q)


@pytest.mark.parametrize("options", [o for o in OPTIONS if "gamma" not in o], ids=str)
def test_the_diagonal_curvature_is_the_second_derivative(api, options):
    _, curvature = gradient_and_curvature(X, Y, **options)
    for i, row in enumerate(X):
        for c in range(3):
            wanted = derivative(lambda x, i=i: loss_of_row(x, i, **options), row, c, 2)
            limit = ROUNDING * abs(wanted) + CURVATURE * mass(i, **options)
            assert abs(curvature[i, c] - max(wanted, 1e-16)) <= limit


@pytest.mark.parametrize("mode", CURVATURES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_curvatures(api, mode, options):
    gradient, curvature = gradient_and_curvature(X, Y, curvature=mode, **options)
    if mode == "absolute":
        np.testing.assert_array_equal(curvature, np.maximum(abs(gradient), 1e-16))
        return
    k = {"diagonal": 1, "scaled": mpmath.mpf(3) / 2, "upper_bound": 2}[mode]
    with mpmath.workdps(60):
        for i, row in enumerate(X):
            m = k * mass(i, **options)
            for c, p in enumerate(probabilities(row)):
                wanted = m * p * (1 - p)
                limit = ROUNDING * wanted + CURVATURE * m
                assert abs(curvature[i, c] - max(wanted, 1e-16)) <= limit


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_metric_is_the_mean_of_the_loss(api, options):
    """Of all rows, and of each, however small it is."""
    weights = np.array(options.get("weight", np.ones(3)))[Y]
    weights = weights * np.array(options.get("sample_weight", np.ones(6)))
    with mpmath.workdps(60):
        losses = [
            loss_of_row([mpmath.mpf(v) for v in row], i, **options) for i, row in enumerate(X)
        ]
        wanted = float(mpmath.fsum(losses) / sum(weights))
        each = [float(loss / w) if w else np.nan for loss, w in zip(losses, weights, strict=True)]
    assert log_loss(X, Y, **options) == pytest.approx(wanted, rel=ROUNDING)
    for i in range(6):
        own = {k: v[i : i + 1] if k == "sample_weight" else v for k, v in options.items()}
        got = log_loss(X[i : i + 1], Y[i : i + 1], **own)
        assert got == pytest.approx(each[i], rel=ROUNDING, abs=0, nan_ok=True)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradient_and_metric_belong_together(api, options):
    """The gradient is that of the metric, by central differences."""
    x, step = X[:5].astype(float), 2.0**-17
    own = {k: v[:5] if k == "sample_weight" else v for k, v in options.items()}
    count = np.ones(3) if own.get("weight") is None else np.array(own["weight"])
    count = np.sum(count[Y[:5]] * np.array(own.get("sample_weight", np.ones(5))))
    gradient, _ = gradient_and_curvature(x, Y[:5], **own)
    for at in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] += sign * step
            ends.append(log_loss(moved, Y[:5], **own))
        slope = count * (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(gradient[at], abs=DIGITS_DIFFERENCES)


# How the arrays lie, and in what portions they are taken


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks(api, monkeypatch, options, order, dtype):
    """The same bits in one block or in several, in either memory order; float32 is rounded once."""
    x = np.asarray(X, dtype=dtype, order=order)
    wanted = gradient_and_curvature(np.asarray(X.astype(dtype), np.float64), Y, **options)
    whole = log_loss(x, Y, **options)
    for size in (1, 2, 4, 6):  # rows
        monkeypatch.setattr(_rows, "BLOCK", 3 * size)
        for got, exact in zip(gradient_and_curvature(x, Y, **options), wanted, strict=True):
            assert got.dtype == dtype
            assert got.flags[f"{order}_CONTIGUOUS"]
            np.testing.assert_array_equal(got, exact.astype(dtype))
        assert log_loss(x, Y, **options) == pytest.approx(whole, rel=ROUNDING)


def test_targets_of_any_real_type():
    wanted = gradient_and_curvature(X, Y)
    for dtype in (np.int8, np.uint64, np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(gradient_and_curvature(X, Y.astype(dtype)), wanted)
    np.testing.assert_array_equal(gradient_and_curvature(X.tolist(), Y.tolist()), wanted)


def test_the_least_curvature():
    """No type lacks one, and none has one below 1e-16; in float16 that is its smallest number."""
    least = {"float16": 2.0**-24, BFLOAT16: 1e-16, "float32": 1e-16, "float64": 1e-16}
    for dtype, wanted in least.items():
        for mode in CURVATURES:
            _, h = gradient_and_curvature([[80.0, 0.0]], [0], curvature=mode, dtype=dtype)
            assert h.dtype == np.dtype(dtype)
            assert np.all(h.astype(float) >= 1e-16)
            np.testing.assert_array_equal(h, np.full((1, 2), wanted).astype(dtype))
    _, h = gradient_and_curvature([[0.0, 14.0]], [0], dtype=np.float16)
    assert h[0, 0] == np.float16(8.315e-07)  # subnormal there, and told as it is


def test_no_rows():
    for a in gradient_and_curvature(np.empty((0, 3), np.float32), []):
        assert a.shape == (0, 3)
        assert a.dtype == np.float32
    assert np.isnan(log_loss(np.empty((0, 3)), []))
    assert np.isnan(log_loss(X, Y, sample_weight=np.zeros(6)))


# What is refused


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"x": X[0]}, ValueError, r"x: expected shape \(n, K\).*got \(3,\)"),
        ({"x": X[:, :1]}, ValueError, r"x: expected shape \(n, K\).*K >= 2.*got \(6, 1\)"),
        ({"x": X * 1j}, TypeError, "x: expected float16.*complex128"),
        ({"x": np.where(X == 30, np.nan, X)}, ValueError, "x: expected finite scores.*in row 3"),
        ({"x": np.where(X == 25, np.inf, X)}, ValueError, "x: expected finite scores.*in row 4"),
        ({"target": Y + 1}, IndexError, "target: expected class indices from 0 to 2, got 3 at"),
        ({"target": Y - 1.0}, IndexError, "target: expected class indices from 0 to 2, got -1 at"),
        ({"target": Y + 0.5}, ValueError, "target: expected whole numbers, got 0.5 at position 0"),
        ({"target": np.where(Y == 2, np.nan, Y)}, ValueError, "whole numbers, got nan at position"),
        ({"target": Y[:5]}, ValueError, r"target: expected class indices of shape \(6,\).*\(5,\)"),
        ({"target": None}, TypeError, "target: expected integers"),
        ({"curvature": "exact"}, ValueError, "curvature: expected one of diagonal, .*'exact'"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing: expected .* from 0 to 1, got 1.5"),
        ({"weight": [1, 2]}, ValueError, r"weight: expected shape \(3,\).*got \(2,\)"),
        ({"weight": [1, -2, 1]}, ValueError, "weight: expected finite numbers >= 0, got -2.0"),
        ({"sample_weight": -Y}, ValueError, "sample_weight: expected finite numbers >= 0, got -1"),
        ({"sample_weight": Y * np.nan}, ValueError, "sample_weight: expected finite .* got nan"),
        ({"sample_weight": [1.0]}, ValueError, r"sample_weight: expected shape \(6,\).*got \(1,\)"),
        ({"gamma": -0.5}, ValueError, "gamma: expected a number >= 0, got -0.5"),
        ({"gamma": np.inf}, ValueError, "gamma: expected a number >= 0, got inf"),
        ({"gamma": "2"}, TypeError, "gamma: expected a number, got '2'"),
        ({"dtype": int}, TypeError, "dtype: expected one of float16"),
        ({"x": np.ma.masked_equal(X, 30)}, ValueError, r"x: expected no masked .* \(3, 2\)"),
        ({"target": np.ma.masked_equal(Y, 2)}, ValueError, "target: expected no masked .* 2"),
        (
            {"weight": np.ma.masked_equal([1, 2, 3], 2)},
            ValueError,
            "weight: expected no masked .* 1",
        ),
        ({"sample_weight": np.ma.masked_less(Y, 1)}, ValueError, "sample_weight: expected no .* 0"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_arguments(changed, error, text):
    with pytest.raises(error, match=text):
        gradient_and_curvature(**{"x": X, "target": Y} | changed)
    if not {"curvature", "dtype"} & changed.keys():
        with pytest.raises(error, match=text):
            log_loss(**{"x": X, "target": Y} | changed)
    if not {"x", "target", "sample_weight", "dtype"} & changed.keys():
        with pytest.raises(error, match=text):  # before any training
            SoftmaxObjective(3, **changed)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"gamma": 2.0}], ids=str)
def test_scores_that_are_not_finite_in_a_late_block(monkeypatch, options):
    """The row is told by its number among all."""
    monkeypatch.setattr(_rows, "BLOCK", 3 * 2)  # two rows
    x = np.where(np.arange(6)[:, np.newaxis] == 5, np.nan, X)
    for call in (gradient_and_curvature, log_loss):
        with pytest.raises(ValueError, match=r"got \[nan nan nan\] in row 5$"):
            call(x, Y, **options)


def test_bad_objectives():
    for n, error in ((1, ValueError), (-3, ValueError), (2.5, TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"num_class: expected .*, got {n}"):
            SoftmaxObjective(n)
    objective = SoftmaxObjective(4)
    for preds in (X, X[0], np.zeros((6, 5))):
        text = r"y_pred: expected shape \(n, 4\), a score for each of the classes 0 to 3, got "
        for call in (objective.xgboost_sklearn, objective.log_loss):
            with pytest.raises(ValueError, match=text):
                call(Y, preds)
    with pytest.raises(ValueError, match=r"y_pred: expected no masked elements.*\(3, 2\)"):
        SoftmaxObjective(3).xgboost_sklearn(Y, np.ma.masked_equal(X, 30))
    masked = data_like(np.ma.masked_less([0, 1, 1, 1, 1, 1], 1))
    with pytest.raises(ValueError, match=r"sample_weight: expected no masked elements.* 0"):
        SoftmaxObjective(3).lightgbm(X, masked)
    gradient_and_curvature(np.ma.array(X), np.ma.array(Y), sample_weight=np.ma.array(Y + 1.0))


# The interfaces


def data_like(weight):
    """What a Dataset and a DMatrix have in common."""
    return SimpleNamespace(get_label=lambda: Y.astype(np.float32), get_weight=lambda: weight)


@pytest.mark.parametrize("options", [o for o in OPTIONS if "sample_weight" not in o], ids=str)
@pytest.mark.parametrize("mode", CURVATURES)
def test_what_the_objectives_return(options, mode):
    """Each interface gets the same derivatives, in float32, in its own order."""
    objective = SoftmaxObjective(3, curvature=mode, **options)
    s = np.array([0.5, 1.0, 2.0, 0.0, 1.0, 3.0], np.float32)
    for preds in (np.asfortranarray(X), X.astype(np.float32)):
        for weights, empty in ((s, s), (None, None), (None, np.empty(0, np.float32))):
            wanted = gradient_and_curvature(
                preds, Y, curvature=mode, sample_weight=weights, dtype=np.float32, **options
            )
            data = data_like(empty)
            for got in (
                objective.lightgbm(preds, data),
                objective.xgboost(preds, data),
                objective.lightgbm_sklearn(Y, preds, weights),
                objective.xgboost_sklearn(Y, preds, sample_weight=weights),
            ):
                np.testing.assert_array_equal(got, wanted)
            loss = log_loss(preds, Y, sample_weight=weights, **options)
            assert objective.lightgbm_metric(preds, data) == ("log_loss", loss, False)
            assert objective.xgboost_metric(preds, data) == ("log_loss", loss)
            assert objective.lightgbm_sklearn_metric(Y, preds, weights) == ("log_loss", loss, False)
            assert objective.xgboost_sklearn_metric(Y, preds, sample_weight=weights) == loss


def test_the_libraries_need_not_copy():
    """LightGBM takes float32 class by class, as its scores are; XGBoost row by row, as its are."""
    objective, data = SoftmaxObjective(3), data_like(None)
    for result in objective.lightgbm(np.asfortranarray(X), data):
        assert result.dtype == np.float32
        assert np.shares_memory(result.ravel(order="F"), result)
    for result in objective.xgboost(X.astype(np.float32), data):
        assert result.dtype == np.float32
        assert result.flags.c_contiguous


def test_objectives_are_copied_and_pickled():
    """As the libraries and scikit-learn do with what they are given."""
    objective = SoftmaxObjective(3, curvature="scaled", weight=np.array([1.0, 2.0, 3.0]), gamma=1.0)
    wanted = objective.lightgbm_sklearn(Y, X)
    model = lightgbm.LGBMClassifier(objective=objective.lightgbm_sklearn)
    for same in (
        copy.deepcopy(objective).lightgbm_sklearn,
        pickle.loads(pickle.dumps(objective.lightgbm_sklearn)),
        clone(model).objective,
    ):
        np.testing.assert_array_equal(same(Y, X), wanted)
    assert repr(objective).startswith("SoftmaxObjective(3, curvature='scaled', label_smoothing=0.0")
