"""The objective and its metric, in the forms in which LightGBM and XGBoost call them.

Both call a native objective with the raw scores and the training data; LightGBM keeps scores class
by class (Fortran order) in float64, XGBoost row by row in float32. Both take float32 derivatives in
the order of the scores without copying them.
"""

from __future__ import annotations

import operator
from typing import Any, Protocol, SupportsIndex

import numpy as np

from .._arguments.masked import unmasked
from .._typing import ArrayLike, Curvature, NDArray, Number
from ._derivatives import gradient_and_curvature, log_loss

Array = Any


class Labelled(Protocol):
    """A `lightgbm.Dataset` or an `xgboost.DMatrix`."""

    def get_label(self) -> Any: ...
    def get_weight(self) -> Any: ...


class SoftmaxObjective:
    """Multiclass log loss as a custom objective, with its metric.

    Parameters
    ----------
    num_class : int
        K >= 2, as the library is told.
    curvature, label_smoothing, weight, gamma
        As in `gradient_and_curvature`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as said there. The methods raise what `gradient_and_curvature` does,
        and a ValueError if there are not scores for num_class classes.

    Notes
    -----
    The methods are passed as they are, uncalled:

    - to `lightgbm.train`, `lightgbm` in `params["objective"]` and `lightgbm_metric` as `feval`;
    - to `LGBMClassifier`, `lightgbm_sklearn` as `objective`, and to its `fit`
      `lightgbm_sklearn_metric` as `eval_metric`;
    - to `xgboost.train`, `xgboost` as `obj` and `xgboost_metric` as `custom_metric`;
    - to `XGBClassifier`, `xgboost_sklearn` as `objective` and `xgboost_sklearn_metric` as
      `eval_metric`.

    The metrics want raw scores, which both libraries pass where the objective is a custom one.

    Examples
    --------
    >>> import numpy as np
    >>> from onesum.boosting import SoftmaxObjective
    >>> objective = SoftmaxObjective(3, curvature="scaled")
    >>> gradient, curvature = objective.lightgbm_sklearn(np.array([2.0]), np.zeros((1, 3)))
    >>> gradient
    array([[ 0.33333334,  0.33333334, -0.6666667 ]], dtype=float32)
    >>> curvature
    array([[0.33333334, 0.33333334, 0.33333334]], dtype=float32)
    """

    def __init__(
        self,
        num_class: SupportsIndex,
        *,
        curvature: Curvature = "diagonal",
        label_smoothing: Number = 0.0,
        weight: ArrayLike | None = None,
        gamma: Number = 0.0,
    ):
        try:
            self.num_class = operator.index(num_class)
        except TypeError:
            raise TypeError(f"num_class: expected an int, got {num_class!r:.60}") from None
        if self.num_class < 2:
            raise ValueError(f"num_class: expected at least 2, got {self.num_class}")
        self.options: dict[str, Any] = {
            "label_smoothing": label_smoothing,
            "weight": weight,
            "gamma": gamma,
        }
        self.curvature: Curvature = curvature
        # What is wrong with them is said now, not in the first round of a training.
        nothing = np.empty((0, self.num_class)), np.empty(0, np.int64)
        gradient_and_curvature(*nothing, curvature=curvature, **self.options)

    def __repr__(self) -> str:
        options = {"curvature": self.curvature, **self.options}
        told = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"SoftmaxObjective({self.num_class}, {told})"

    # Objectives. The parameters have the libraries' names, or those that they look for: LightGBM
    # counts them, XGBoost wants one called sample_weight. To LightGBM's types labels may be None.

    def xgboost_sklearn(
        self, y_true: Any, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradient and curvature, for `XGBClassifier`."""
        return gradient_and_curvature(
            self._scores(y_true, y_pred),
            y_true,
            curvature=self.curvature,
            sample_weight=sample_weight,
            dtype=np.float32,
            **self.options,
        )

    lightgbm_sklearn = xgboost_sklearn

    def xgboost(
        self, preds: ArrayLike, data: Labelled
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradient and curvature, for `xgboost.train`."""
        return self.xgboost_sklearn(data.get_label(), preds, _weights_of(data))

    lightgbm = xgboost

    # Metrics

    def log_loss(
        self, y_true: Any, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """`onesum.boosting.log_loss`, with the options of the objective."""
        scores = self._scores(y_true, y_pred)
        return log_loss(scores, y_true, sample_weight=sample_weight, **self.options)

    xgboost_sklearn_metric = log_loss  # its name is the metric's

    def xgboost_metric(self, preds: ArrayLike, data: Labelled) -> tuple[str, float]:
        """The metric's name and its value, for `xgboost.train`."""
        return "log_loss", self.log_loss(data.get_label(), preds, _weights_of(data))

    def lightgbm_sklearn_metric(
        self, y_true: Any, y_pred: ArrayLike, weight: ArrayLike | None = None
    ) -> tuple[str, float, bool]:
        """The metric's name, its value, and that higher is not better, for `LGBMClassifier`."""
        return "log_loss", self.log_loss(y_true, y_pred, weight), False

    def lightgbm_metric(self, preds: ArrayLike, data: Labelled) -> tuple[str, float, bool]:
        """The metric's name, its value, and that higher is not better, for `lightgbm.train`."""
        return (*self.xgboost_metric(preds, data), False)

    def _scores(self, y_true: Any, y_pred: Any) -> Array:
        scores = np.asarray(unmasked("y_pred", y_pred))
        k = self.num_class
        if scores.ndim == 2 and scores.shape[1] == k:
            return scores
        found = np.unique(np.asarray(y_true))
        named = ", ".join(str(label).removesuffix(".0") for label in found.tolist())
        wanted = f"shape (n, {k}), a score for each of the classes 0 to {k - 1}"
        advice = f"the library has to be told num_class={k}"
        if len(found) < k:
            advice = "a classifier counts those that it is fitted on, and a fold may lack some"
        got = f"{scores.shape}, with {len(found)} classes in the labels ({named:.60})"
        raise ValueError(f"y_pred: expected {wanted}, got {got}: {advice}")


def _weights_of(data: Any) -> Any:
    """The row weights; where there are none, a Dataset says None, a DMatrix has an empty array."""
    weights = data.get_weight()
    return None if weights is None or np.size(weights) == 0 else weights
