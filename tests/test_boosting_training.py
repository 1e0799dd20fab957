"""LightGBM and XGBoost, trained with our objectives, are what they are with their own."""

from __future__ import annotations

import itertools
import json
import pickle
from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from test_benchmarks import benchmarks, load

import onesum
from onesum.boosting import CURVATURES, SoftmaxObjective, gradient_and_curvature, log_loss

# Raw scores after some rounds, ours and the built-in objective's. LightGBM's derivatives are
# computed in float64 and rounded to float32, as ours: here and there one falls on the other side.
# XGBoost computes in float32: a gradient is off by 2^-23, which a leaf divides by its curvature and
# the next round builds upon. (Where two splits are all but equally good, such a difference may
# choose the other, and all after it differs; it does not in these data.)
SCORES = {"lightgbm": 1e-6, "xgboost": 1e-5}
METRIC = 1e-6  # XGBoost's own is float32, and is printed with six digits
ROUNDS = 6


def points(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points about one centre per class, the last class thrice as frequent; or, for ten classes,
    handwritten digits."""
    if n_classes == 10:
        x, y = load_digits(return_X_y=True)
        return x[:1200], y[:1200]
    rng = np.random.default_rng(n_classes)
    y = np.minimum(rng.integers(0, n_classes + 2, 25 * n_classes + 400), n_classes - 1)
    return rng.normal(size=(n_classes, 8))[y] + rng.normal(size=(len(y), 8)), y


def train_lightgbm(x, y, n_classes, objective, metric=None, weight=None, rounds=ROUNDS):
    data, record = lightgbm.Dataset(x, y, weight=weight), {}
    params = {
        "num_class": n_classes,
        "objective": objective or "multiclass",
        "metric": "None" if metric else "multi_logloss",
        "boost_from_average": False,  # as with any objective that is not built in
        "num_threads": 1,
        "verbose": -1,
    }
    model = lightgbm.train(
        params,
        data,
        rounds,
        valid_sets=[data],
        valid_names=["train"],
        feval=metric,
        callbacks=[lightgbm.record_evaluation(record)],
    )
    (history,) = record["train"].values()
    trees = model.dump_model()["tree_info"]
    return SimpleNamespace(
        scores=model.predict(x, raw_score=True),
        history=history,
        sums=[tree["tree_structure"].get("internal_weight") for tree in trees[:n_classes]],
    )


def train_xgboost(x, y, n_classes, objective, metric=None, weight=None, rounds=ROUNDS):
    data, record = xgboost.DMatrix(x, y, weight=weight), {}
    params = {
        "num_class": n_classes,
        "objective": "multi:softprob",
        "base_score": [1 / n_classes] * n_classes,  # estimated only without a custom objective
        "disable_default_eval_metric": metric is not None,
        "nthread": 1,
    }
    model = xgboost.train(
        params,
        data,
        rounds,
        obj=objective,
        custom_metric=metric,
        evals=[(data, "train")],
        evals_result=record,
        verbose_eval=False,
    )
    (history,) = record["train"].values()
    trees = json.loads(bytes(model.save_raw("json")))["learner"]["gradient_booster"]["model"]
    return SimpleNamespace(
        scores=model.predict(data, output_margin=True),
        history=history,
        sums=[tree["sum_hessian"][0] for tree in trees["trees"][:n_classes]],
    )


TRAIN = {"lightgbm": train_lightgbm, "xgboost": train_xgboost}


def of(objective: SoftmaxObjective, library: str, suffix: str = "") -> Any:
    return getattr(objective, library + suffix)


def own_curvature(library: str) -> str:
    """The one whose sums over the rows, in the first round, are those of the library's own trees.

    Later versions of XGBoost may have another than 3.2 has.
    """
    x, y = points(4)
    sums = TRAIN[library](x, y, 4, None, rounds=1).sums
    (found,) = (
        mode
        for mode in CURVATURES
        if np.allclose(
            gradient_and_curvature(np.zeros((len(y), 4)), y, curvature=mode)[1].sum(axis=0),
            sums,
            rtol=0.01,  # LightGBM tells whole numbers
        )
    )
    return found


@pytest.fixture(scope="module", params=TRAIN)
def library(request):
    return request.param


@pytest.fixture(scope="module")
def curvature(library):
    return own_curvature(library)


def test_the_curvature_named_after_a_library_is_its_own(library, curvature):
    if library == "lightgbm":
        assert curvature == "scaled"
    else:
        assert curvature == "upper_bound" or int(xgboost.__version__.split(".")[1]) > 2


@pytest.mark.parametrize(
    ("n_classes", "weighted"), [(4, False), (4, True), (10, True), (50, False)]
)
def test_training_as_with_the_built_in_objective(library, curvature, n_classes, weighted):
    """The same scores, and the same metric after every round."""
    x, y = points(n_classes)
    weight = np.random.default_rng(0).integers(1, 5, len(y)) / 2 if weighted else None
    objective = SoftmaxObjective(n_classes, curvature=curvature)
    wanted = TRAIN[library](x, y, n_classes, None, weight=weight)
    got = TRAIN[library](
        x, y, n_classes, of(objective, library), of(objective, library, "_metric"), weight
    )
    assert np.ptp(wanted.scores) > 1  # they have learned something
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=0, atol=SCORES[library])
    np.testing.assert_allclose(got.history, wanted.history, rtol=0, atol=METRIC)


def test_starting_where_the_built_in_objectives_start(library, curvature):
    """From the class frequencies: in the scores that each library is told to begin with."""
    x, y = points(4)
    start = np.log(np.bincount(y) / len(y))
    objective = SoftmaxObjective(4, curvature=curvature)
    if library == "lightgbm":
        params = {"num_class": 4, "num_threads": 1, "verbose": -1}
        wanted = lightgbm.train(
            {**params, "objective": "multiclass"}, lightgbm.Dataset(x, y), ROUNDS
        ).predict(x, raw_score=True)
        data = lightgbm.Dataset(x, y, init_score=np.tile(start, (len(y), 1)))
        model = lightgbm.train({**params, "objective": objective.lightgbm}, data, ROUNDS)
        got = model.predict(x) + start
    else:
        data = xgboost.DMatrix(x, y)
        params = {"num_class": 4, "nthread": 1, "objective": "multi:softprob"}
        wanted = xgboost.train(params, data, ROUNDS).predict(data, output_margin=True)
        params["base_score"] = (start - start.mean()).tolist()
        model = xgboost.train(params, data, ROUNDS, obj=objective.xgboost)
        got = model.predict(data, output_margin=True)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=SCORES[library])


FITTED = {
    "lightgbm": lambda o, **given: lightgbm.LGBMClassifier(
        objective=o.lightgbm_sklearn, n_estimators=2, n_jobs=1, verbose=-1, **given
    ),
    "xgboost": lambda o, **given: xgboost.XGBClassifier(
        objective=o.xgboost_sklearn, n_estimators=2, n_jobs=1, **given
    ),
}


@pytest.mark.parametrize("fitted", [3, 2])
def test_a_fold_without_a_class(library, fitted):
    """A classifier counts the classes it is fitted on: what it found is said, and what is wanted.

    With the native interface the number of classes is told, and such a fold is one like any other.
    """
    x, y = points(4)
    some, objective = y < fitted, SoftmaxObjective(4)
    text = rf"of the classes 0 to 3, got .* {fitted} classes in the labels \(0, 1.*a fold may lack"
    with pytest.raises(ValueError, match=text):
        FITTED[library](objective).fit(x[some], y[some])
    scores = TRAIN[library](x[some], y[some], 4, of(objective, library)).scores
    assert scores.shape == (some.sum(), 4)
    assert np.all(scores.argmax(axis=1) < fitted)


def test_a_fold_of_cross_validation_without_a_class():
    """`lightgbm.cv` tells the number of classes."""
    x, y = points(4)
    order, objective = np.argsort(y, kind="stable"), SoftmaxObjective(4)
    params = {"num_class": 4, "objective": objective.lightgbm, "metric": "None", "verbose": -1}
    folds = [(np.flatnonzero(y[order] < 3), np.flatnonzero(y[order] == 3))]
    data = lightgbm.Dataset(x[order], y[order])
    history = lightgbm.cv(params, data, 3, folds=folds, feval=objective.lightgbm_metric)
    losses = history["valid log_loss-mean"]
    assert losses == sorted(losses)  # of a class that is never seen


def test_the_number_of_classes_has_to_be_told():
    x, y = points(4)
    params = {"objective": SoftmaxObjective(4).lightgbm, "num_threads": 1, "verbose": -1}
    for few in ({}, {"num_class": 3}):
        with pytest.raises(ValueError, match=r"4 classes in the labels .* num_class=4"):
            lightgbm.train({**params, **few}, lightgbm.Dataset(x, y), 1)


@pytest.mark.parametrize("mode", CURVATURES)
def test_every_curvature_learns(library, mode):
    x, y = points(10)
    objective = SoftmaxObjective(10, curvature=mode)
    history = TRAIN[library](
        x, y, 10, of(objective, library), of(objective, library, "_metric")
    ).history
    assert all(later < earlier for earlier, later in itertools.pairwise(history))


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"gamma": 2.0}, {"weight": np.linspace(0.5, 2, 10)}]
)
def test_options_reach_the_training(library, options):
    """The trees are made of the curvature with them, and the metric with them goes down."""
    x, y = points(10)
    objective = SoftmaxObjective(10, **options)
    found = TRAIN[library](x, y, 10, of(objective, library), of(objective, library, "_metric"))
    _, curvature = gradient_and_curvature(np.zeros((len(y), 10)), y, **options)
    np.testing.assert_allclose(found.sums, curvature.sum(axis=0), rtol=0.01)
    assert all(later < earlier for earlier, later in itertools.pairwise(found.history))
    assert found.history[-1] == pytest.approx(log_loss(found.scores, y, **options), abs=METRIC)


def test_class_weights_are_row_weights(library):
    x, y = points(10)  # of few values: XGBoost would choose its bins of many by the row weights
    w = np.linspace(0.5, 4, 10)
    by_class, by_row = SoftmaxObjective(10, weight=w), SoftmaxObjective(10)
    found = [
        TRAIN[library](x, y, 10, of(by_class, library), of(by_class, library, "_metric")),
        TRAIN[library](x, y, 10, of(by_row, library), of(by_row, library, "_metric"), w[y]),
    ]
    np.testing.assert_allclose(found[0].scores, found[1].scores, rtol=0, atol=SCORES[library])
    np.testing.assert_allclose(found[0].history, found[1].history, rtol=0, atol=METRIC)


# scikit-learn


def classifier(library: str, objective: SoftmaxObjective, **options: Any) -> Any:
    if library == "lightgbm":
        return lightgbm.LGBMClassifier(
            objective=objective.lightgbm_sklearn, verbose=-1, num_threads=1, **options
        )
    return xgboost.XGBClassifier(
        objective=objective.xgboost_sklearn,
        eval_metric=objective.xgboost_sklearn_metric,
        base_score=[1 / objective.num_class] * objective.num_class,
        n_jobs=1,
        **options,
    )


@pytest.mark.filterwarnings("ignore:.*eval_set.*")  # which LightGBM had alone before 4.7
@pytest.mark.parametrize("weighted", [False, True])
def test_classifiers(library, curvature, weighted):
    """What the classifier learns is what the native interface does; its metric on held-out rows
    is ours."""
    x, y = points(10)
    x, y, held_x, held_y = x[:900], y[:900], x[900:], y[900:]
    weight = np.random.default_rng(0).integers(1, 5, 1200) / 2 if weighted else np.ones(1200)
    own, held = (weight[:900], weight[900:]) if weighted else (None, None)
    objective = SoftmaxObjective(10, curvature=curvature, label_smoothing=0.05)
    model = classifier(library, objective, n_estimators=ROUNDS)
    if library == "lightgbm":
        model.fit(
            x,
            y,
            sample_weight=own,
            eval_set=[(held_x, held_y)],
            eval_sample_weight=[held] if weighted else None,
            eval_metric=objective.lightgbm_sklearn_metric,
        )
        history = model.evals_result_["valid_0"]["log_loss"]
        scores = model.predict(x, raw_score=True)
        held_scores = model.predict(held_x, raw_score=True)
    else:
        model.fit(
            x,
            y,
            sample_weight=own,
            eval_set=[(held_x, held_y)],
            sample_weight_eval_set=[held] if weighted else None,
            verbose=False,
        )
        history = model.evals_result()["validation_0"]["log_loss"]
        scores = model.predict(x, output_margin=True)
        held_scores = model.predict(held_x, output_margin=True)
        p = model.predict_proba(held_x)
        np.testing.assert_allclose(p, onesum.softmax(held_scores), rtol=1e-5)
    native = TRAIN[library](x, y, 10, of(objective, library), weight=own)
    np.testing.assert_allclose(scores, native.scores, rtol=0, atol=SCORES[library])
    wanted = log_loss(held_scores, held_y, sample_weight=held, label_smoothing=0.05)
    assert history[-1] == pytest.approx(wanted, abs=METRIC)
    assert np.mean(held_scores.argmax(axis=1) == held_y) > 0.7
    same = pickle.loads(pickle.dumps(model))
    raw = "raw_score" if library == "lightgbm" else "output_margin"
    np.testing.assert_array_equal(same.predict(x, **{raw: True}), scores)


def test_cross_validation(library):
    """scikit-learn copies the objective with the classifier."""
    x, y = points(10)
    model = classifier(library, SoftmaxObjective(10), n_estimators=ROUNDS)

    def accuracy(fitted, x, y):
        raw = "raw_score" if library == "lightgbm" else "output_margin"
        return np.mean(fitted.predict(x, **{raw: True}).argmax(axis=1) == y)

    assert cross_val_score(model, x, y, cv=2, scoring=accuracy, error_score="raise").min() > 0.7


@pytest.mark.parametrize(
    ("n_classes", "labels", "error", "text"),
    [
        (4, lambda y: y + 1, IndexError, "expected class indices from 0 to 3, got 4"),
        (4, lambda y: y + 0.5, ValueError, "expected whole numbers, got"),
        (5, lambda y: y, ValueError, r"expected shape \(n, 5\)"),
    ],
)
def test_errors_come_through(library, n_classes, labels, error, text):
    """The libraries raise what the objective does."""
    x, y = points(4)
    objective = SoftmaxObjective(n_classes)
    with pytest.raises(error, match=text):
        TRAIN[library](x, labels(y), 4, of(objective, library), of(objective, library, "_metric"))


# The benchmark


def test_the_benchmark(tmp_path):
    from benchmarks.report import boosting

    benchmarks("boosting", "--quick", "--threads", "1", "--results", tmp_path)
    result = load(tmp_path / "boosting.json")
    assert [cell["library"] for cell in result["cells"]] == ["LightGBM", "XGBoost"]
    for cell in result["cells"]:
        assert cell["alone"].keys() == {"onesum", "NumPy", "loops"}
        assert cell["round"].keys() == {"onesum", "NumPy", "built-in"}
        assert cell["within"].keys() == {"onesum", "NumPy"}
        for what in ("alone", "round", "within"):
            for low, middle, high in cell[what].values():
                assert 0 < low <= middle <= high
        for name, within in cell["within"].items():
            assert within[1] < cell["round"][name][1]
    text = boosting.tables(result)
    assert "| LightGBM, 4 classes |" in text
    assert "XGBoost 3" in text
