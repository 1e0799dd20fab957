"""The temperature of rows: against exact arithmetic, scikit-learn's, and data that have none."""

from __future__ import annotations

import math
import pickle
import warnings

import mpmath
import numpy as np
import pytest
from budget import BY_VALUES, PARTIAL_FIT, TEMPERATURE
from scipy.optimize import brentq
from sklearn._loss.loss import HalfMultinomialLoss
from sklearn.calibration import _TemperatureScaling
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import onesum
from onesum._calibration import temperature as search
from onesum._calibration.moments import moments
from onesum._calibration.rows import Rows
from onesum._calibration.temperature import fit
from onesum.sklearn import TemperatureScaling

CHECKS = [
    case
    for case in estimator_checks_generator(TemperatureScaling())
    if "check_array_api_input" not in repr(case)  # it only says that it has no array API to try
]


@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=lambda a: getattr(getattr(a, "func", None), "__name__", "")
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:y. 3 labels for 2 columns")
def test_estimator(estimator, check):
    check(estimator)


def data(n, classes, temperature=1.7, seed=0):
    """Logits that are too large by a factor of that temperature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 3.0, (n, classes))
    return x, (x / temperature + rng.gumbel(size=x.shape)).argmax(axis=1)


def exact(x, y, weights=None, start=2.0):
    """The best T, and its standard error, of finite logits; 40 digits."""
    mp = mpmath.MPContext()
    mp.dps = 40
    rows = [[mp.mpf(float(v)) for v in row] for row in x]
    weights = [1.0] * len(rows) if weights is None else weights

    def derivatives(beta):
        slope = curvature = mp.mpf(0)
        for row, label, s in zip(rows, y, weights, strict=True):
            e = [mp.exp(beta * (v - max(row))) for v in row]
            mean = sum(a * v for a, v in zip(e, row, strict=True)) / sum(e)
            square = sum(a * (v - mean) ** 2 for a, v in zip(e, row, strict=True)) / sum(e)
            slope += float(s) * (mean - row[label])
            curvature += float(s) * square
        return slope, curvature

    beta = 1 / mp.mpf(start)
    for _ in range(60):
        slope, curvature = derivatives(beta)
        beta -= slope / curvature
        if abs(slope / curvature) < mp.mpf(10) ** -25:
            break
    # d^2 L / d(log T)^2 is beta^2 times that by beta, where the slope is 0.
    return float(1 / beta), float(1 / beta / mp.sqrt(beta**2 * derivatives(beta)[1]))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 300.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_against_exact_arithmetic(scale, weighted):
    x, y = data(60, 4)
    x *= scale
    weights = np.random.default_rng(1).integers(0, 3, 60) if weighted else None
    scaling = TemperatureScaling(classes=range(4)).fit(x, y, weights)
    t, stderr = exact(x, y, weights, 2.0 * scale)
    assert abs(scaling.temperature_ / t - 1) <= TEMPERATURE
    assert abs(scaling.temperature_stderr_ / stderr - 1) <= 10 * search.STEP


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "classes"), [(500, 2), (2000, 10), (6000, 1000)])
def test_as_scikit_learn(n, classes, dtype):
    """The same optimum, of which a search by values knows half the digits, and no larger loss."""
    x, y = data(n, classes)
    x = x.astype(dtype)
    ours = TemperatureScaling(classes=range(classes)).fit(x, y)
    theirs = _TemperatureScaling().fit(x.astype(np.float64), y.astype(np.float64))
    assert abs(ours.temperature_ * theirs.beta_ - 1) <= BY_VALUES
    wide = x.astype(np.float64)
    loss = onesum.cross_entropy(wide, y, temperature=ours.temperature_)
    other = onesum.cross_entropy(wide, y, temperature=1 / theirs.beta_)
    assert abs(loss - other) <= 1e-14 * other
    if n * classes > search.WORTH * search.SAMPLE:
        assert ours.n_iter_ <= 4  # from where a sample has its optimum


@pytest.mark.parametrize(("n", "classes"), [(500, 2), (2000, 10)])
def test_the_optimum_of_scikit_learns_loss(n, classes):
    """Where the slope that scikit-learn's own loss has is 0, which its search does not look at."""
    x, y = data(n, classes)
    loss = HalfMultinomialLoss(n_classes=classes)

    def slope(beta):
        return np.vdot(loss.gradient(y.astype(float), beta * x), x)

    beta = brentq(slope, 0.1, 10.0, xtol=1e-14, rtol=1e-14)
    ours = TemperatureScaling(classes=range(classes)).fit(x, y)
    assert abs(ours.temperature_ * beta - 1) <= TEMPERATURE


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_the_derivatives(temperature):
    """Against central differences of the loss, away from its optimum."""
    x, y = data(50, 4)
    rows = Rows(x, y)
    step = 1e-4
    below, here, above = (
        float(onesum.cross_entropy(x, y, temperature=temperature * math.exp(u), reduction="sum"))
        for u in (-step, 0.0, step)
    )
    of = moments(rows, rows.parts(), temperature)
    # They err by the square of the step; by a rounding of 2^-52 of the loss over it, or its square.
    assert of.slope == pytest.approx((above - below) / (2 * step), rel=1e-6)
    assert of.curvature == pytest.approx((above - 2 * here + below) / step**2, rel=1e-5)


def test_the_sample_changes_nothing(monkeypatch):
    x, y = data(2000, 5)
    whole = fit(Rows(x, y))
    monkeypatch.setattr(search, "SAMPLE", 300)
    sampled = fit(Rows(x, y))
    assert sampled.iterations < whole.iterations
    assert abs(sampled.temperature / whole.temperature - 1) <= TEMPERATURE


def test_far_away():
    """From T = 1 to the other end of the bounds, and from where Newton's step would leave them."""
    x, y = data(300, 3)
    wanted = fit(Rows(x, y)).temperature
    for scale in (2e-3, 2e3):
        found = fit(Rows(x * scale, y))
        assert abs(found.temperature / (wanted * scale) - 1) <= TEMPERATURE
        assert found.iterations < 20


def test_masks():
    """-inf, `where` and a masked array are the same, and what is masked is not read."""
    x, y = data(400, 5)
    rng = np.random.default_rng(3)
    kept = rng.random(x.shape) < 0.7
    kept[np.arange(400), y] = True
    wanted = TemperatureScaling().fit(np.where(kept, x, -np.inf), y)
    damaged = np.where(kept, x, np.nan)
    assert TemperatureScaling().fit(damaged, y, where=kept).temperature_ == wanted.temperature_
    masked = TemperatureScaling().fit(np.ma.MaskedArray(damaged, ~kept), y)
    assert masked.temperature_ == wanted.temperature_
    compact = sum(
        onesum.cross_entropy(
            row[k][None], [int(k[:label].sum())], temperature=wanted.temperature_, reduction="sum"
        )
        for row, k, label in zip(x, kept, y, strict=True)
    )
    above = below = 0.0
    for factor in (0.999, 1.001):
        t = wanted.temperature_ * factor
        loss = onesum.cross_entropy(x, y, temperature=t, where=kept, reduction="sum")
        below, above = below + (loss > compact), above + 1
    assert below == above == 2
    p = wanted.predict_proba(damaged, where=kept)
    assert (p[~kept] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize("from_", ["probabilities", "log_probabilities"])
def test_declared(from_):
    x, y = data(300, 4)
    given = onesum.softmax(x) if from_ == "probabilities" else onesum.log_softmax(x)
    wanted = TemperatureScaling().fit(x, y)
    got = TemperatureScaling(from_).fit(given, y)
    assert abs(got.temperature_ / wanted.temperature_ - 1) <= TEMPERATURE
    np.testing.assert_allclose(got.predict_proba(given), wanted.predict_proba(x), rtol=1e-12)


def test_a_probability_of_zero_is_no_class():
    x, y = data(300, 3)
    p = np.concatenate([onesum.softmax(x), np.zeros((300, 1))], axis=1)
    with_zeros = TemperatureScaling("probabilities", classes=range(4)).fit(p, y)
    assert abs(with_zeros.temperature_ / fit(Rows(x, y)).temperature - 1) <= TEMPERATURE
    assert (with_zeros.predict_proba(p)[:, 3] == 0).all()


def test_what_it_answers():
    x, y = data(300, 3)
    scaling = TemperatureScaling().fit(x, y)
    log_p = onesum.log_softmax(x, temperature=scaling.temperature_)
    assert np.array_equal(scaling.transform(x), log_p)
    assert np.array_equal(scaling.predict_log_proba(x), log_p)
    far = 20 * x  # where the exponential of a rounded logarithm is off by more
    p = onesum.softmax(far, temperature=scaling.temperature_)
    assert np.array_equal(scaling.predict_proba(far), p)
    assert not np.array_equal(np.exp(scaling.transform(far)), p)
    assert np.array_equal(scaling.predict(x), x.argmax(axis=1))
    assert scaling.transform(x.astype("f4")).dtype == np.float32
    assert list(scaling.get_feature_names_out()) == ["0", "1", "2"]
    losses = -cross_val_score(TemperatureScaling(), x, y, scoring="neg_log_loss")
    assert losses.mean() < onesum.cross_entropy(x, y)
    again = pickle.loads(pickle.dumps(scaling))
    assert again.partial_fit(x, y).temperature_ == scaling.partial_fit(x, y).temperature_


def test_labels():
    x, y = data(300, 3)
    wanted = TemperatureScaling().fit(x, y).temperature_
    names = np.array(["b", "c", "a"])
    by_name = TemperatureScaling(classes=names).fit(x, names[y])
    assert by_name.temperature_ == wanted
    assert by_name.predict(x[:1])[0] == names[x[0].argmax()]
    order = np.argsort(names)
    assert TemperatureScaling().fit(x[:, order], names[y]).temperature_ == pytest.approx(
        wanted, rel=TEMPERATURE
    )
    few = y < 2
    assert list(TemperatureScaling().fit(x[few], y[few]).classes_) == [0, 1, 2]


NONE = {
    "separable": (lambda x: x, lambda x: x.argmax(axis=1), 1e-4, "the loss falls as T -> 0"),
    "inverse": (lambda x: x, lambda x: x.argmin(axis=1), 1e4, "the loss falls as T grows"),
    "constant": (lambda x: 0 * x, lambda x: x.argmax(axis=1), 1.0, "T changes nothing"),
}


@pytest.mark.parametrize("kind", NONE)
@pytest.mark.parametrize("scale", [1.0, 1e200])
def test_without_an_optimum(kind, scale):
    make, label, temperature, told = NONE[kind]
    x, _ = data(50, 3)
    with pytest.warns(ConvergenceWarning, match=told):
        scaling = TemperatureScaling().fit(make(x) * scale, label(x))
    assert scaling.temperature_ == temperature
    assert math.isnan(scaling.temperature_stderr_)
    assert scaling.n_iter_ < 30


def test_one_row_that_is_not_separated():
    x = np.array([[3.0, 0.0]] * 200 + [[1e-3, 0.0]])
    y = np.array([0] * 200 + [1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaling = TemperatureScaling().fit(x, y)
    assert abs(scaling.temperature_ / exact(x, y)[0] - 1) <= TEMPERATURE


def test_too_few_iterations():
    x, y = data(300, 3)
    with pytest.warns(ConvergenceWarning, match="iterations ended"):
        TemperatureScaling(max_iter=1).fit(x, y)


@pytest.mark.parametrize(("classes", "chunk"), [(3, 7), (10, 50), (100, 500)])
def test_partial_fit(classes, chunk):
    x, y = data(3000, classes)
    whole = TemperatureScaling(classes=range(classes)).fit(x, y)
    parts = TemperatureScaling(classes=range(classes))
    exact_so_far = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for start in range(0, 3000, chunk):
            at = slice(0, start + chunk)
            parts.partial_fit(x[start : start + chunk], y[start : start + chunk])
            if parts._kept is not None and start:
                so_far = TemperatureScaling(classes=range(classes)).fit(x[at], y[at])
                assert parts.temperature_ == pytest.approx(so_far.temperature_, rel=1e-9)
                exact_so_far += 1
    assert exact_so_far or chunk >= 50
    off = parts.temperature_ - whole.temperature_
    assert abs(off) <= PARTIAL_FIT * whole.temperature_stderr_
    assert parts.temperature_stderr_ == pytest.approx(whole.temperature_stderr_, rel=0.05)
    assert parts._kept is None


def test_partial_fit_adds_to_fit():
    x, y = data(4000, 5)
    whole = TemperatureScaling().fit(x, y)
    scaling = TemperatureScaling().fit(x[:2000], y[:2000])
    half = scaling.temperature_
    scaling.partial_fit(x[2000:], y[2000:])
    off = whole.temperature_stderr_ * PARTIAL_FIT
    assert abs(scaling.temperature_ - whole.temperature_) <= off
    assert abs(half - whole.temperature_) > off


def test_partial_fit_refused_leaves_it_as_it_was():
    x, y = data(300, 3)
    scaling = TemperatureScaling().partial_fit(x[:20], y[:20], classes=[0, 1, 2])
    bad = x[20:40].copy()
    bad[3, y[23]] = -np.inf
    with pytest.raises(ValueError, match="-inf in row 3"):
        scaling.partial_fit(bad, y[20:40])
    scaling.partial_fit(x[20:], y[20:])
    assert scaling.temperature_ == pytest.approx(fit(Rows(x, y)).temperature, rel=1e-9)


def refused(message, x, y=(0, 1), weights=None, where=None, **parameters):
    with pytest.raises((ValueError, TypeError), match=message):
        TemperatureScaling(**parameters).fit(np.array(x), np.array(y), weights, where=where)


def test_refused():
    good = [[0.25, 0.75], [0.5, 0.5]]
    refused("X: expected logits, .* got nan in row 1", [[0.0, 1.0], [np.nan, 0.0]])
    refused("X: expected logits, .* got inf in row 0", [[np.inf, 1.0], [1.0, 0.0]])
    refused("X: expected logits, .* got -inf in row 0", [[-np.inf, -np.inf], [1.0, 0.0]])
    refused("X: .* finite, got -inf in row 1", [[0.0, 1.0], [0.0, -np.inf]])
    refused("X: expected probabilities from 0 to 1, got -1 in row 1", [*good[:1], [-1, 2]],
            from_="probabilities")  # fmt: skip
    refused("X: expected probabilities that sum to 1, got 1.5 in all in row 1", [good[0], [1, 0.5]],
            from_="probabilities")  # fmt: skip
    refused("X: .* finite, got a probability of 0 in row 0", [[0, 1], [0.5, 0.5]],
            from_="probabilities")  # fmt: skip
    refused("X: expected logarithms .* got 0.75 in row 0", good, from_="log_probabilities")
    refused("X: expected logarithms .* that sum to 1, got 0.735759 in all in row 0",
            [[-1, -1], [-1, -1]], from_="log_probabilities")  # fmt: skip
    refused("from_: expected one of logits, .*, got 'odds'", good, from_="odds")
    refused("y: expected labels of two classes or more, got one class: 1", good, [1, 1])
    refused("y: expected one of the classes 'a', 'b', got 'c' in row 1", good, ["a", "c"],
            classes=["a", "b"])  # fmt: skip
    refused("y: expected one of the classes 'a', 'b', got 0 in row 0", good, classes=["a", "b"])
    refused("classes: expected 2 different labels", good, classes=["a", "a"])
    refused("y: expected 3 labels .*, got 2: \\['a', 'b'\\]", np.zeros((2, 3)), ["a", "b"])
    refused("one class", [[1.0], [1.0]], from_="probabilities")
    refused("bounds: expected 0 < low < high", good, bounds=(1, 1))
    refused("bounds: expected two numbers", good, bounds=3)
    refused("max_iter: expected at least 1, got 0", good, max_iter=0)
    refused("sample_weight: expected 0, or numbers from .* got -1 in row 1", good, weights=[1, -1])
    refused("sample_weight: expected shape", good, weights=[1, 1, 1])
    refused("where: expected bool", good, where=np.ones((2, 2)))
    refused("where: expected a shape that broadcasts", good, where=np.ones((3, 2), bool))
    with pytest.raises(NotFittedError):
        TemperatureScaling().transform(good)
