"""`TemperatureScaling`: what columns and labels stand for, and what a call leaves behind."""

from __future__ import annotations

import pickle
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch
from budget import PARTIAL_FIT, TEMPERATURE
from sklearn.exceptions import ConvergenceWarning

import onesum
from onesum.sklearn import TemperatureScaling


def data(n=300, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 3.0, (n, classes))
    return x, (x / 1.7 + rng.gumbel(size=x.shape)).argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_logits_relative_to_the_first_class(classes):
    """With one column less, which a decision function of two classes has too."""
    x, y = data(classes=classes)
    relative = x[:, 1:] - x[:, :1]
    names = np.array(["a", "b", "c", "d", "e"])[:classes]
    wanted = TemperatureScaling(classes=names).fit(x, names[y])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = TemperatureScaling(classes=names).fit(relative, names[y])
    assert got.temperature_ == pytest.approx(wanted.temperature_, rel=TEMPERATURE)
    assert list(got.classes_) == list(names)
    assert got.n_features_in_ == classes - 1
    p = got.predict_proba(relative)
    np.testing.assert_allclose(p, wanted.predict_proba(x), rtol=1e-11)
    assert np.array_equal(got.predict(relative), wanted.predict(x))
    parts = TemperatureScaling().partial_fit(relative[:9], names[y[:9]], classes=names)
    parts.partial_fit(relative[9:], names[y[9:]])
    assert parts.temperature_ == pytest.approx(wanted.temperature_, rel=1e-9)


def test_relative_logits_are_told_of_where_nobody_said_so():
    x, y = data()
    relative = x[:, 1:] - x[:, :1]
    with pytest.warns(
        UserWarning, match="y: 3 labels for 2 columns of X, .* relative to that of 0"
    ):
        TemperatureScaling().fit(relative, y)
    for labels in (np.where(y == 2, -100, y), y + 1):
        with pytest.raises(ValueError, match="y: expected 2 labels for X of 2 feature"):
            TemperatureScaling().fit(relative, labels)
    p = onesum.softmax(x)[:, 1:]
    with pytest.raises(ValueError, match="y: expected 2 labels for X of 2 feature"):
        TemperatureScaling("probabilities").fit(p, y)


@pytest.mark.parametrize("dtype", [str, object])
def test_mistaken_strings_are_shown(dtype):
    """As tables have them, which is as objects, too."""
    x, _ = data(3, 2)
    with pytest.raises(ValueError, match="two classes or more, got one class: 'b'"):
        TemperatureScaling(classes=np.array(["a", "b"], dtype)).fit(x, np.array(["b"] * 3, dtype))
    with pytest.raises(ValueError, match="y: expected one of the classes 'a', 'b', got 'c' in row"):
        TemperatureScaling(classes=["a", "b"]).fit(x, np.array(["a", "b", "c"], dtype))
    with pytest.warns(UserWarning, match="relative to that of 'a'"):
        TemperatureScaling().fit(data(6, 2)[0], np.array(["c", "a", "b"] * 2, dtype))


def test_a_mask_of_relative_logits():
    x, y = data()
    kept = np.ones(x.shape, bool)
    kept[y == 0, 2] = False
    wanted = TemperatureScaling().fit(x, y, where=kept)
    names = np.array(["a", "b", "c"])
    relative = np.where(kept[:, 1:], x[:, 1:] - x[:, :1], np.nan)
    got = TemperatureScaling(classes=names).fit(relative, names[y], where=kept[:, 1:])
    assert got.temperature_ == pytest.approx(wanted.temperature_, rel=TEMPERATURE)
    masked = np.ma.MaskedArray(relative, ~kept[:, 1:])
    assert got.fit(masked, names[y]).temperature_ == pytest.approx(
        wanted.temperature_, rel=TEMPERATURE
    )


def test_rows_without_weight_may_hold_anything():
    x, y = data()
    kept = np.arange(300) % 3 > 0
    damaged = np.where(kept[:, None], x, [np.nan, np.inf, -np.inf])
    wanted = TemperatureScaling().fit(x[kept], y[kept]).temperature_
    got = TemperatureScaling().fit(damaged, y, kept).temperature_
    assert got == pytest.approx(wanted, rel=TEMPERATURE)
    with pytest.raises(ValueError, match="y: expected labels of two classes or more, got one"):
        TemperatureScaling().fit(x, y, y == 1)
    parts = TemperatureScaling().partial_fit(damaged[:10], y[:10], kept[:10], classes=[0, 1, 2])
    assert parts.partial_fit(damaged[10:], y[10:], kept[10:]).temperature_ == pytest.approx(
        wanted, rel=1e-9
    )


@pytest.mark.parametrize("weight", [1e101, 1e-101, 1e308])
def test_weights_beyond_sums(weight):
    x, y = data()
    with pytest.raises(ValueError, match="sample_weight: expected 0, or numbers from 1e-100 to"):
        TemperatureScaling().fit(x, y, np.full(300, weight))
    near = 1e99 if weight > 1 else 1e-99
    got = TemperatureScaling().fit(x, y, np.full(300, near))
    assert got.temperature_ == pytest.approx(
        TemperatureScaling().fit(x, y).temperature_, rel=TEMPERATURE
    )


def test_a_first_part_that_is_refused():
    x, y = data()
    scaling = TemperatureScaling()
    with pytest.raises(ValueError, match="got nan in row 0"):
        scaling.partial_fit(np.full((20, 3), np.nan), y[:20])
    assert not hasattr(scaling, "classes_")
    wanted = TemperatureScaling().fit(x, y).temperature_
    assert scaling.partial_fit(x, y).temperature_ == pytest.approx(wanted, rel=TEMPERATURE)


def test_rows_that_are_kept_are_pickled():
    x, y = data()
    scaling = TemperatureScaling().partial_fit(x[:30], y[:30])
    again = pickle.loads(pickle.dumps(scaling)).partial_fit(x[30:], y[30:])
    assert again.temperature_ == scaling.partial_fit(x[30:], y[30:]).temperature_


def test_parts_of_other_classes():
    x, y = data()
    scaling = TemperatureScaling().partial_fit(x, y, classes=[0, 1, 2])
    scaling.partial_fit(x, y, classes=[2, 1, 0])
    with pytest.raises(ValueError, match=r"classes: expected labels of the first call, .*7"):
        scaling.partial_fit(x, y, classes=[0, 1, 7])


def test_parts_whose_optimum_is_beyond_a_bound():
    """What was learnt before is not forgotten there."""
    x, y = data(6000)
    x[1500:3000] /= 1.3
    x[3000:] *= 1.15
    whole = TemperatureScaling().fit(x, y)
    scaling = TemperatureScaling(bounds=(1.6, 1e4)).fit(x[:1500], y[:1500])
    assert scaling.temperature_ > 1.6
    with pytest.warns(ConvergenceWarning, match="the loss falls as T falls to the lower bound: T"):
        scaling.partial_fit(x[1500:3000], y[1500:3000])
    assert scaling.temperature_ == 1.6
    scaling.partial_fit(x[3000:], y[3000:])
    off = scaling.temperature_ - whole.temperature_
    assert abs(off) <= PARTIAL_FIT * whole.temperature_stderr_
    assert scaling.temperature_stderr_ == pytest.approx(whole.temperature_stderr_, rel=0.05)


@pytest.mark.parametrize(
    ("bounds", "told"), [((2, 5), "falls to the lower"), ((0.1, 0.5), "grows to the upper")]
)
def test_what_is_said_at_a_bound(bounds, told):
    x, y = data()
    with pytest.warns(ConvergenceWarning, match=f"^the loss falls as T {told} bound") as said:
        scaling = TemperatureScaling(bounds=bounds).fit(x, y)
    assert scaling.temperature_ in bounds
    assert "every label has the largest" not in str(said[0].message)


def test_tensors():
    x, y = data()
    wanted = TemperatureScaling().fit(x, y)
    tensor = torch.from_numpy(x).requires_grad_()
    assert TemperatureScaling().fit(tensor, y).temperature_ == wanted.temperature_
    assert np.array_equal(wanted.transform(tensor), wanted.transform(x))
    half = torch.from_numpy(x).bfloat16()
    same = TemperatureScaling().fit(half.double().numpy(), y).temperature_
    assert TemperatureScaling().fit(half, y).temperature_ == pytest.approx(same, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16])
@pytest.mark.parametrize("from_", ["probabilities", "log_probabilities"])
def test_what_was_rounded_to_16_bits(from_, dtype):
    """Such rows do not sum to 1 as others do."""
    x, y = data(classes=50)
    given = {"probabilities": onesum.softmax, "log_probabilities": onesum.log_softmax}[from_](x)
    scaling = TemperatureScaling(from_, classes=range(50)).fit(given.astype(dtype), y)
    wanted = TemperatureScaling(classes=range(50)).fit(x, y)
    assert scaling.temperature_ == pytest.approx(wanted.temperature_, rel=2**-8)
    assert scaling.predict_proba(given.astype(dtype)).shape == (300, 50)
