"""The exact answers of the losses, the entropy and chosen classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle_losses
from oracle import WIDE, Layout, Reference

from . import limits
from .answers import Answers, Wanted
from .functions import log_softmax_answer, unsaid
from .limits import LOW, NAN_ROW, NOTHING, PLAIN, Answer

Array = np.ndarray[Any, Any]
NAN = np.nan


def masses(of: Answers) -> tuple[Array, Array, Array, float]:
    """q, s (a column), which rows count (a column), and what a mean divides by."""
    rows, options = of.rows, of.call.options
    target = rows["target"]
    of_rows = oracle_losses.masses_of(
        Layout((rows.k, rows.n), -1),
        target,
        of.inside,
        WIDE,
        rows.get("weight"),
        options.get("label_smoothing", 0.0),
        options.get("ignore_index"),
        rows.get("sample_weight"),
    )
    reduction = options.get("reduction", "mean")
    divisor = float(of_rows.count) if reduction == "mean" else 1.0
    return of_rows.q, of_rows.s, np.broadcast_to(of_rows.counted, (rows.k, 1)), divisor


def _of_the_target(of: Answers, some: Array) -> dict[str, Any]:
    rows, options = of.rows, of.call.options
    sample = rows.get("sample_weight")
    return of.options(some) | {
        "weight": rows.get("weight"),
        "label_smoothing": options.get("label_smoothing", 0.0),
        "ignore_index": options.get("ignore_index"),
        "z_loss": options.get("z_loss", 0.0),
        "softcap": options.get("softcap"),
        "sample_weight": None if sample is None else sample[some],
        "reduction": "none",
    }


def _counting(of: Answers) -> tuple[Array, Array, float]:
    """q, 2 z s and the divisor, once the kinds of rows are known; ignored rows are NOTHING."""
    q, s, counted, divisor = masses(of)
    if "softcap" in of.call.options:  # -inf and inf become numbers
        of.kind = limits.kinds(np.where(np.isinf(of.x.astype(float)), 0, of.x), of.inside)
    of.kind = np.where(counted[:, 0], of.kind, NOTHING)
    missing = counted[:, 0] & np.isnan(q).any(axis=-1)
    of.kind[missing & (of.kind != limits.NOTHING)] = NAN_ROW
    return q, 2 * np.longdouble(of.call.options.get("z_loss", 0.0)) * s, divisor


def cross_entropy_answers(of: Answers) -> tuple[Answer, Answer, float]:
    """The losses of the rows, the gradient, and what the loss is divided by."""
    q, steep, divisor = _counting(of)
    x, target = of.x, of.rows["target"]
    loss, grad = limits.cross_entropy(x, of.inside, of.kind, q, steep, of.t)
    weightless = (of.kind == LOW) & (q == 0).all(axis=-1)
    references: list[Any] = []

    def plain(some: Array) -> Reference:
        references.append(
            oracle_losses.cross_entropy(x[some], target[some], **_of_the_target(of, some))
        )
        return references[0].loss

    silent = (of.kind == NAN_ROW) & (q == 0).all(axis=-1)  # 0 times NaN
    # The logsumexp of nothing is -inf, and its square inf.
    empty = (of.kind == NOTHING) & (steep[:, 0] > 0)
    losses = of.join(loss, plain, weightless | silent | empty)
    grads = of.join(grad, lambda some: references[0].grad, silent[:, np.newaxis])
    return losses, _divided(of, _sloped(of, grads), divisor), divisor


def _sloped(of: Answers, derivatives: Answer) -> Answer:
    """With a softcap an infinite logit has the derivative 0, also beside NaN.

    Where the slope of the cap is no normal number it is not known to all digits.
    """
    c = of.call.options.get("softcap")
    if c is None:
        return derivatives
    flat, x = derivatives, np.abs(of.x.astype(float))
    value, scale = (np.where(x == np.inf, 0, a) for a in flat[:2])
    return Answer(value, scale, flat.free | ((x > 350 * c) & (x < np.inf)))


def _divided(of: Answers, derivatives: Answer, divisor: float) -> Answer:
    """By what a mean divides; 0 for all that takes no part. The mean of nothing has none."""
    by = 1 / np.longdouble(divisor) if divisor else np.longdouble(NAN)
    live = of.inside & ~np.isneginf(of.x.astype(float)) & (of.kind != NOTHING)[:, np.newaxis]
    value, scale = (np.where(live, a * by, 0) for a in derivatives[:2])
    return Answer(value, scale, derivatives.free | (live & (divisor == 0)))


def _cross_entropy(of: Answers) -> list[Wanted]:
    losses, _, divisor = cross_entropy_answers(of)
    return [of.loss("loss", "cross_entropy", losses, divisor)]


def _cross_entropy_value_and_grad(of: Answers) -> list[Wanted]:
    losses, grads, divisor = cross_entropy_answers(of)
    return [
        of.loss("loss", "cross_entropy", losses, divisor),
        of.full("grad", "cross_entropy_grad", grads),
    ]


def _cross_entropy_hvp(of: Answers) -> list[Wanted]:
    q, steep, divisor = _counting(of)
    x, v, target = of.x, of.array("v"), of.rows["target"]
    special = limits.cross_entropy_hvp(x, of.inside, of.kind, v, steep, of.t)
    # What is 0 times NaN: rows of no mass, which have no second derivative to speak of.
    free = ((of.kind != PLAIN) & (q == 0).all(axis=-1)) | unsaid(v, of.inside)
    free = free[:, np.newaxis]
    answer = of.join(
        special,
        lambda some: oracle_losses.cross_entropy_hvp(
            x[some], target[some], v[some], **_of_the_target(of, some)
        ),
        free,
    )
    return [of.full("hv", "cross_entropy_hvp", _divided(of, _sloped(of, answer), divisor))]


def _entropy(of: Answers) -> list[Wanted]:
    x = of.x
    special = limits.entropy(of.kind)
    answer = of.join(special, lambda some: oracle_losses.entropy(x[some], **of.options(some)))
    return [of.reduced("value", "entropy", answer)]


def _selective(of: Answers) -> list[Wanted]:
    answer, index = log_softmax_answer(of), of.rows["index"].astype(int)
    several = index.ndim == 2
    place = index if several else index[:, np.newaxis]
    # A class outside has -inf; in a row without probabilities it may have NaN.
    free = ~np.isin(of.kind, (PLAIN, NOTHING))[:, np.newaxis]
    free = free & ~np.take_along_axis(of.inside, place, -1)
    value, scale = (np.take_along_axis(c, place, -1) for c in answer[:2])
    if not several:
        answer = Answer(value[:, 0], scale[:, 0], free[:, 0])
        return [of.reduced("logp", "selective_log_softmax", answer)]
    layout = of.rows.layout
    shape = list(layout.shape)
    shape[layout.axes[0]] = place.shape[1]
    batch = [shape[i] for i in layout.rest]

    def unrow(a: Array) -> Array:
        return np.moveaxis(a.reshape(*batch, place.shape[1]), -1, layout.axes[0])

    name = "selective_log_softmax"
    return [Wanted("logp", name, Answer(value, scale, free), tuple(shape), unrow, of.dtype)]


FUNCTIONS: dict[str, Callable[[Answers], list[Wanted]]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_value_and_grad": _cross_entropy_value_and_grad,
    "cross_entropy_hvp": _cross_entropy_hvp,
    "entropy": _entropy,
    "selective_log_softmax": _selective,
}
