"""`TemperatureScaling`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .._arguments.masked import split_mask
from .._calibration.rows import Rows, kept_of, off_of
from .._calibration.temperature import BOUNDS, ITERATIONS, Fit, Past, fit, limits_of
from .._functions.log_softmax import log_softmax
from .._functions.softmax import softmax
from .._library import is_torch, to_numpy
from .._typing import From
from ._labels import classes_of, indices_of, joined, need_two_classes, with_first

Array = Any

# Rows are kept by partial_fit until log T is known to a tenth: the inverse of its square.
ENOUGH = 100.0


class TemperatureScaling(ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Calibrate a classifier by one number: its probabilities become softmax(logits / T).

    T is where the mean cross entropy of the labels is least. With p = softmax(x / T), the
    derivatives of the loss of a row x with the label y by u = log T are

    .. math:: \frac{dL}{du} = -\frac{E_p x - x_y}{T}, \qquad
        \frac{d^2 L}{du^2} = \frac{\mathrm{Var}_p\, x}{T^2} - \frac{dL}{du},

    and Newton's method on u, kept on the right side of every sign of the first, finds the optimum.
    The class that is likeliest stays so.

    Parameters
    ----------
    from_ : {"logits", "log_probabilities", "probabilities"}, default="logits"
        What X holds; it is declared and never guessed. A probability of 0 is a logit of -inf.
        Probabilities outside [0, 1], or of which a row does not sum to 1 within 0.001, are refused.
    classes : array-like of shape (n_classes,), default=None
        The labels that the columns of X stand for, in their order. By default the sorted labels
        of y, if there are as many as columns; else 0, 1, ..., if y has no other integers. Logits
        may have one column less than there are classes, as the one column of a decision function
        for two classes: they are then relative to that of the first class.
    bounds : tuple of two floats, default=(1e-4, 1e4)
        From where to where T may be.
    max_iter : int, default=100
        How many times `fit` may go through X. A handful are enough.

    Attributes
    ----------
    temperature_ : float
        T.
    temperature_stderr_ : float
        The standard error of T, from the observed information (the second derivative of the summed
        loss) by the delta method; a weight counts as that many rows. NaN where there is no optimum.
    classes_ : ndarray of shape (n_classes,)
        The labels that the columns stand for.
    n_features_in_ : int
        The number of columns.
    feature_names_in_ : ndarray of str
        The names of the columns, if X has any that are strings.
    n_iter_ : int
        How many times all of X was gone through; of `partial_fit`, for the last rows.

    Notes
    -----
    There is no optimum, and a `ConvergenceWarning` says so, where every label has the largest
    logit (T is the lower bound), where the labels' logits are on average no larger than the others
    (T is the upper bound), and where the logits of each row are equal (T is 1).

    Logits of -inf take no part; beside `where`, which does the same, the mask of a `numpy.ma` array
    is heeded.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from onesum.sklearn import TemperatureScaling
    >>> X = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    >>> scaling = TemperatureScaling().fit(X, ["cat", "cat", "dog", "dog"])
    >>> round(scaling.temperature_, 6)
    1.835684
    >>> scaling.predict_proba(X[:1]).round(3)
    array([[0.748, 0.252]])
    """

    def __init__(
        self,
        from_: From = "logits",
        *,
        classes: Any = None,
        bounds: tuple[float, float] = BOUNDS,
        max_iter: int = ITERATIONS,
    ) -> None:
        self.from_ = from_
        self.classes = classes
        self.bounds = bounds
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, where: Any = None) -> Self:  # noqa: N803
        """Find the temperature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes)
            What `from_` says, of rows that the classifier was not trained with. float32 is computed
            with in float64.
        y : array-like of shape (n_samples,)
            The labels: integers, strings, or whatever `classes` has.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, >= 0.
        where : array-like of bool, default=None
            The classes that a row may be of, broadcast to the shape of X.

        Returns
        -------
        self : TemperatureScaling

        Raises
        ------
        ValueError, TypeError
            If X is not what `from_` says, a row of it has no softmax, a label is no class or has a
            logit of -inf; if an argument or a parameter is not as said above.
        """
        rows, labels = self._labelled(X, y, sample_weight, where, None, True)
        need_two_classes(rows.labels[rows.counted], labels)
        found = fit(rows, *limits_of(self.bounds, self.max_iter))
        self._learn(found, labels)
        self._past: Past = found.past
        self._kept: Rows | None = None
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        *,
        classes: Any = None,
        where: Any = None,
    ) -> Self:
        """Take some more rows into account.

        Until all rows so far tell log T to a tenth (some hundred rows do), they are kept, and the
        temperature is exactly that of `fit` with all of them. From then on what is kept of them is
        the parabola of their loss at the temperature found, as a function of log T. The next rows'
        loss is added to it, and the least of both found by Newton's method. The
        result is near that of `fit` with all rows, closer than its standard error by a factor that
        grows with their number, and depends, as little, on their order.

        Parameters
        ----------
        X, y, sample_weight, where
            As in `fit`.
        classes : array-like, default=None
            All labels that there are: for the first call, in the place of those of y, if not every
            label is in these rows. As the parameter of this name, which comes before it.

        Returns
        -------
        self : TemperatureScaling

        Raises
        ------
        ValueError, TypeError
            As from `fit`.
        """
        first = not hasattr(self, "_past")
        if classes is not None:
            classes = np.unique(np.asarray(classes))
            if not first and not np.isin(classes, self.classes_).all():
                wanted = f"labels of the first call, {self.classes_.tolist()!s:.60}"
                raise ValueError(f"classes: expected {wanted}, got {classes.tolist()!s:.60}")
        rows, labels = self._labelled(X, y, sample_weight, where, classes, first)
        past = Past() if first else self._past
        if not past.information:
            rows = joined(rows, None if first else self._kept)
        found = fit(rows, *limits_of(self.bounds, self.max_iter), past)
        self._learn(found, labels)
        known = found.information >= ENOUGH or past.information > 0.0
        self._past, self._kept = (found.past, None) if known else (past, rows)
        return self

    def transform(self, X: Any, *, where: Any = None) -> Array:  # noqa: N803
        """The calibrated log-probabilities: the logarithms of `predict_proba`, no digit lost.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes)
            What `from_` says.
        where : array-like of bool, default=None
            As in `fit`.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            float32 or float64 as X is, else float64. Its softmax is `predict_proba`, so that it may
            stand for logits wherever these are asked for.
        """
        return self._calibrated(log_softmax, X, where)

    def predict_log_proba(self, X: Any, *, where: Any = None) -> Array:  # noqa: N803
        """The same as `transform`.

        Parameters
        ----------
        X, where
            As in `transform`.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            As from `transform`.
        """
        return self.transform(X, where=where)

    def predict_proba(self, X: Any, *, where: Any = None) -> Array:  # noqa: N803
        """The calibrated probabilities.

        Parameters
        ----------
        X, where
            As in `transform`.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Of the type of `transform`.
        """
        return self._calibrated(softmax, X, where)

    def _calibrated(self, function: Callable[..., Array], X: Any, where: Any) -> Array:  # noqa: N803
        check_is_fitted(self)
        data, kept = self._data(X, where, False)
        rows = self._rows(X, data, kept, self.classes_, np.zeros(len(data), int))
        x = np.concatenate([part.x for part in rows.parts()])
        dtype = np.float32 if rows.given.source.dtype == np.float32 else np.float64
        return function(x, temperature=self.temperature_).astype(dtype, copy=False)

    def predict(self, X: Any, *, where: Any = None) -> Array:  # noqa: N803
        """The likeliest class of each row, the first of equal ones, whatever the temperature.

        Parameters
        ----------
        X, where
            As in `transform`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of `classes_`.
        """
        best = np.argmax(self.transform(X, where=where), axis=1)
        return self.classes_[best]

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the columns of `transform`: the classes."""
        check_is_fitted(self)
        return np.array([str(label) for label in self.classes_], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "temperature_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags.poor_score = True  # it learns no classes
        return tags

    def _learn(self, found: Fit, labels: Array) -> None:
        problem = found.problem(self.bounds)
        if problem is not None:
            warnings.warn(problem, ConvergenceWarning, stacklevel=3)
        self.classes_ = labels
        self.temperature_ = found.temperature
        self.temperature_stderr_ = found.stderr
        self.n_iter_ = found.iterations

    def _labelled(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any,
        where: Any,
        known: Any,
        reset: bool,
    ) -> tuple[Rows, Array]:
        """Rows, of each the number of its class; and the labels of the classes, which are those
        known or, with reset, found."""
        data, kept = self._data(X, where, reset)
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        check_consistent_length(data, y)
        check_classification_targets(y)
        columns = data.shape[1]
        labels = classes_of(y, columns, self.classes, known, self.from_) if reset else self.classes_
        indices = indices_of(y, labels)
        return self._rows(X, data, kept, labels, indices, sample_weight), labels

    def _rows(
        self,
        X: Any,  # noqa: N803
        data: Array,
        kept: Array | None,
        classes: Array,
        indices: Array,
        sample_weight: Any = None,
    ) -> Rows:
        """The rows of X, which data has in single or double precision."""
        if len(classes) > data.shape[1]:
            data, kept = with_first(data, kept)
        rows = Rows(data, indices, -1, self.from_, sample_weight, kept, "X")
        rows.off = off_of(X)
        return rows

    def _data(self, X: Any, where: Any, reset: bool) -> tuple[Array, Array | None]:  # noqa: N803
        """X as an array, and what of it is not left out."""
        data, mask = split_mask(to_numpy(X) if is_torch(X) else X, hidden=0.0)
        types = (np.float64, np.float32)
        data = validate_data(self, data, dtype=types, ensure_all_finite=False, reset=reset)
        return data, kept_of(where, mask, data.shape)
