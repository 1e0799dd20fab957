"""`onesum calibrate`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from .._calibration.rows import FROM, Rows
from .._calibration.temperature import BOUNDS, Fit, fit
from .._storage import Stored, open_array
from ..compare._gathered import NoSoftmaxError
from ..metrics._calibration import MOST_BINS
from .calibration import Quality, qualities
from .errors import FailedError, UserError, renamed, say
from .pictures import picture_path, save_figure
from .progress import progress_bar
from .table import show_table
from .values import axes_of


def calibrate(
    logits: Annotated[str, Parameter(name="LOGITS")],
    labels: Annotated[str, Parameter(name="LABELS")],
    /,
    *,
    from_: Annotated[str, Parameter(name="--from")] = "logits",
    axis: Annotated[int, Parameter(allow_leading_hyphen=True)] = -1,
    holdout: Annotated[float | None, Parameter(allow_leading_hyphen=True)] = None,
    ignore_index: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None,
    bins: Annotated[int, Parameter(allow_leading_hyphen=True)] = 15,
    confidence: Annotated[float, Parameter(allow_leading_hyphen=True)] = 0.95,
    seed: Annotated[int, Parameter(allow_leading_hyphen=True)] = 0,
    figure: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    progress: Annotated[bool | None, Parameter(show_default=False)] = None,
) -> int:
    """The temperature that calibrates a classifier: its probabilities become softmax(logits / T).

    T is where the mean negative log-likelihood of the labels is least. That, the Brier score and
    the calibration error are shown before and after, with intervals by the bootstrap.

    Parameters
    ----------
    logits
        Logits of rows that the classifier was not trained with: a .npy file, a .safetensors file
        (FILE:NAME if it has several tensors), or a Zarr array. It may be larger than memory.
    labels
        Integers, one for each row: an array of the shape of LOGITS without the class axis.
    from_
        What LOGITS holds: logits, log-probabilities or probabilities.
    axis
        The class axis.
    holdout
        So great a part of the rows, drawn at random, is kept out of the fit and is what the scores
        are of; by default all rows serve for both.
    ignore_index
        Rows with this label are not counted.
    bins
        Those of the calibration error, of equal width.
    confidence
        That of the intervals.
    seed
        Of all that is drawn at random.
    figure
        Draw the reliability diagrams into this file, .png, .svg or .pdf; one that is there is
        replaced.
    as_json
        Print one JSON object.
    progress
        Show how much has been read; by default on a terminal.
    """
    picture = None if figure is None else picture_path(figure)
    declared = from_.replace("-", "_")
    if declared not in FROM:
        wanted = ", ".join(FROM).replace("_", "-")
        raise UserError(f"--from: expected one of {wanted}, got {from_!r}")
    _need(1 <= bins <= MOST_BINS, "--bins", f"from 1 to {MOST_BINS}", bins)
    _need(seed >= 0, "--seed", "at least 0", seed)
    _need(0.0 < confidence < 1.0, "--confidence", "a number between 0 and 1", confidence)
    if holdout is not None:
        _need(0.0 < holdout < 1.0, "--holdout", "a number between 0 and 1", holdout)
    x, y = open_array(logits), open_array(labels)
    axis = axes_of(str(axis), x.ndim)[0]
    names = {"x": x.name, "labels": y.name}
    try:
        rows, counted = _rows(x, y, axis, declared, ignore_index)
        fitted, held = _split(counted, holdout, seed)
        with progress_bar("calibrate", None, 0, progress) as rows.advance:
            found = _fit(rows, fitted)
            rows.weights = held.astype(np.float64)
            both = qualities(rows, found.temperature, bins, confidence, seed)
    except NoSoftmaxError as error:
        raise FailedError(renamed(error, names)) from None
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(renamed(error, names)) from None
    if not np.isfinite(both[0].negative_log_likelihood.value):
        say(f"{x.name}: the loss is infinite: the logit of a label that was held out is -inf")
    about = {
        "temperature": found.temperature,
        "temperature_stderr": found.stderr,
        "rows_fitted": int(fitted.sum()),
        "rows_scored": int(held.sum()),
        "confidence": confidence,
    }
    if as_json:
        scores = {name: q.to_dict() for name, q in zip(("before", "after"), both, strict=True)}
        print(json.dumps({**about, **scores}, allow_nan=False))
    else:
        _show(x.name, found, about, both, holdout is not None)
    if picture is not None:
        _draw(both, found, picture)
    return 0


def _need(good: bool, option: str, wanted: str, got: Any) -> None:
    if not good:
        raise UserError(f"{option}: expected {wanted}, got {got}")


def _rows(
    x: Stored, y: Stored, axis: int, from_: str, ignore: int | None
) -> tuple[Rows, np.ndarray[Any, Any]]:
    """The rows, and which of them count."""
    labels: Any = y
    counted = np.ones(y.shape, np.bool_)
    if ignore is not None and y.dtype.kind in "iu":
        labels = y[...]
        counted = labels != ignore
        labels = np.where(counted, labels, 0)
    rows = Rows(x, labels, axis, from_)
    counted = counted.reshape(-1)
    if not counted.any():
        raise ValueError("labels: expected a row that is counted, got none")
    of = rows.labels[counted]
    if (of == of[0]).all():
        raise ValueError(f"labels: expected two classes or more, got class {of[0]} alone")
    return rows, counted


def _split(counted: Any, holdout: float | None, seed: int) -> tuple[Any, Any]:
    """The rows of the fit, and those of the scores."""
    if holdout is None:
        return counted, counted
    places = np.random.default_rng(seed).permutation(np.flatnonzero(counted))
    number = round(holdout * len(places))
    if not 0 < number < len(places):
        got = f"{number} of {len(places)}"
        raise UserError(f"--holdout: expected a part of the rows and not all, got {got}")
    held = np.zeros(len(counted), np.bool_)
    held[places[:number]] = True
    return counted & ~held, held


def _fit(rows: Rows, fitted: Any) -> Fit:
    if not fitted.all():
        rows.weights = fitted.astype(np.float64)
    found = fit(rows)
    if found.status == "constant":
        raise FailedError(f"{rows.given.source.name}: no temperature is best: {found.reason}")
    if found.status != "converged":
        where = f"{rows.given.source.name}: no temperature from {BOUNDS[0]:g} to {BOUNDS[1]:g}"
        raise FailedError(f"{where} is best: {found.reason}")
    return found


def _show(
    name: str,
    found: Fit,
    about: dict[str, Any],
    both: tuple[Quality, Quality],
    held_out: bool,
) -> None:
    fitted, scored = about["rows_fitted"], about["rows_scored"]
    held = f"{scored:,} row{'s' * (scored != 1)} held out" if held_out else "the same rows"
    rows = f"{fitted:,} row{'s' * (fitted != 1)}"
    print(f"T = {found.temperature:.6g} ± {found.stderr:.2g}, from {rows} of {name}")
    before, after = both
    table = [
        [title, _text(getattr(before, score)), _text(getattr(after, score))]
        for title, score in (
            ("negative log-likelihood", "negative_log_likelihood"),
            ("Brier score", "brier_score"),
            ("calibration error", "calibration_error"),
            ("accuracy", "accuracy"),
        )
    ]
    interval = f"{100 * about['confidence']:g} % intervals"
    show_table(f"On {held}, with {interval}", ["", "before", "after"], table)


def _text(estimate: Any) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _draw(both: tuple[Quality, Quality], found: Fit, path: Any) -> None:
    from ..metrics._figure import diagrams

    before, after = both
    names = "before", f"T = {found.temperature:.4g}"
    pair = dict(zip(names, (before.reliability, after.reliability), strict=True))
    save_figure(diagrams(pair), path)
