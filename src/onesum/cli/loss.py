"""`onesum loss`."""

from __future__ import annotations

import json
import math
from typing import Annotated

from cyclopts import Parameter

from .._storage import open_array
from .errors import FailedError, UserError, say
from .evaluation import Labelled, evaluate
from .statistics import Evaluation
from .table import show_table
from .values import axes_of, bytes_of, temperature_of


def loss(
    logits: Annotated[str, Parameter(name="LOGITS")],
    labels: Annotated[str, Parameter(name="LABELS")],
    /,
    *,
    axis: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-1",
    temperature: float = 1.0,
    ignore_index: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None,
    top_k: int = 5,
    block: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    progress: Annotated[bool | None, Parameter(show_default=False)] = None,
) -> int:
    """Loss, perplexity and accuracy of logits whose labels are known, with standard errors.

    The loss is the mean over the rows of -log p of the label. Among equal logits the class with
    the lower index comes first, for the accuracy and for the first k.

    Parameters
    ----------
    logits
        Logits: a .npy file, a .safetensors file (FILE:NAME if it has several tensors), or a Zarr
        array. It may be larger than memory.
    labels
        Integers, one for each row: an array of the shape of LOGITS without the class axis.
    axis
        The class axis: a number, several with commas, or none for all.
    temperature
        T > 0: the logits are divided by it.
    ignore_index
        Rows with this label are not counted.
    top_k
        The k of the top-k accuracy.
    block
        Bytes that each thread works on at one time, as 8MiB; by default from 1MiB to
        32MiB.
    as_json
        Print one JSON object.
    progress
        Show how far it is; by default on a terminal.
    """
    x, y = open_array(logits), open_array(labels)
    axes = axes_of(axis, x.ndim)
    if top_k < 1:
        raise UserError(f"--top-k: expected at least 1, got {top_k}")
    room, t = bytes_of("--block", block), temperature_of(temperature)
    result = evaluate(Labelled(x, y, axes, t, ignore_index, top_k), room, progress)
    without = "no probabilities (all logits -inf, or several inf)"
    for rows, what in ((result.nan, "NaN logits"), (result.undefined, without)):
        if rows.number:
            raise FailedError(f"{x.name}: {rows.text(what)}")
    if not result.rows:
        raise UserError(f"{y.name}: expected a row that is counted, got none")
    if math.isinf(result.loss):
        say(f"{x.name}: the loss is infinite: a label's logit is -inf, or another class has inf")
    if as_json:
        print(json.dumps(_object(result, top_k)))
    else:
        _show(x.name, result, top_k)
    return 0


def _object(result: Evaluation, k: int) -> dict[str, float | int | None]:
    """As JSON has it, which knows no infinity and no NaN: null."""
    values = {
        "loss": result.loss,
        "loss_stderr": result.loss_stderr,
        "perplexity": result.perplexity,
        "perplexity_stderr": result.perplexity_stderr,
        "accuracy": result.accuracy,
        "accuracy_stderr": result.accuracy_stderr,
        "top_k": result.top_k,
        "top_k_stderr": result.top_k_stderr,
    }
    finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
    return {**finite, "k": k, "rows": result.rows}


def _show(name: str, result: Evaluation, k: int) -> None:
    rows = [
        ["loss", result.loss, result.loss_stderr],
        ["perplexity", result.perplexity, result.perplexity_stderr],
        ["accuracy", result.accuracy, result.accuracy_stderr],
        [f"top-{k} accuracy", result.top_k, result.top_k_stderr],
    ]
    table = [[str(what), f"{v:.6g}", f"{e:.2g}"] for what, v, e in rows]
    show_table(f"{name}: {result.rows} rows", ["", "value", "standard error"], table)
