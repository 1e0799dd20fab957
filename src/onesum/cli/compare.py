"""`onesum compare`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from .._storage import StorageError, Stored, open_array
from .._storage.errors import unusable
from ..compare import Comparison, LinearLogits, LlamaCppLogits
from ..compare import compare as compare_logits
from ..compare._gathered import NoSoftmaxError
from ..compare._table import distributions, summary
from ..compare.llama_cpp import is_llama_cpp
from .errors import FailedError, UserError, renamed, say
from .pictures import picture_path, save_figure
from .progress import progress_bar
from .table import show_table
from .values import axes_of


def compare(
    base: Annotated[str, Parameter(name="BASE")],
    other: Annotated[str | None, Parameter(name="OTHER")] = None,
    /,
    *,
    labels: str | None = None,
    hidden: str | None = None,
    head: str | None = None,
    base_head: str | None = None,
    other_head: str | None = None,
    axis: Annotated[int, Parameter(allow_leading_hyphen=True)] = -1,
    figure: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    quiet: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    progress: Annotated[bool | None, Parameter(show_default=False)] = None,
) -> int:
    """How far the softmax of two sets of logits is apart: a model's, and its quantised copy's.

    For every row the Kullback-Leibler divergence KL(BASE || OTHER), the reverse, and
    Jensen-Shannon's; whether the likeliest class is the same; with labels the change of their
    probability, and both perplexities.

    Parameters
    ----------
    base
        Logits: a .npy file, a .safetensors file (FILE:NAME if it has several tensors), a Zarr
        array, or a file of llama.cpp's --kl-divergence-base. It may be larger than memory.
    other
        Those of the same rows, of the same shape, in any of these formats.
    labels
        Integers, one for each row: an array of the shape of BASE without the class axis. A file of
        llama.cpp's has its own.
    hidden
        Hidden states in the place of OTHER: --head makes their logits as they are read.
    head
        The output matrix of these, of shape (classes, features).
    base_head
        Such a matrix: BASE holds hidden states too.
    other_head
        The same for OTHER, as --hidden OTHER --head has it.
    axis
        The class axis.
    figure
        Draw histograms into this file, .png, .svg or .pdf; one that is there is replaced.
    as_json
        Print one JSON object.
    quiet
        Print nothing but what --json asks for.
    progress
        Show how far it is; by default on a terminal.
    """
    picture = None if figure is None else picture_path(figure)
    other, other_head = _other(other, hidden, head, other_head)
    sides = _side(base, base_head), _side(other, other_head)
    names = {"base": base, "other": other, "labels": labels or _labelled(base, other, sides)}
    y = None if labels is None else open_array(labels)
    axes = axes_of(str(axis), sides[0].ndim)
    axis = axes[0] if axes else axis  # a number has none, and is refused as it is compared
    result = _compared(sides, y, axis, names, False if quiet else progress)
    if result.kl.infinite or result.reverse_kl.infinite:
        say("a divergence is infinite where a class has a logit of -inf in one of the two alone")
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    elif not quiet:
        _show(result, base, other)
    if picture is not None:
        drawn = result.figure()
        drawn.suptitle(f"{Path(other).name} against {Path(base).name}")
        save_figure(drawn, picture)
    return 0


def _other(
    other: str | None, hidden: str | None, head: str | None, other_head: str | None
) -> tuple[str, str | None]:
    """OTHER and its head, in whichever way they were given."""
    if hidden is None and head is None:
        if other is None:
            raise UserError("OTHER: expected a file, or --hidden and --head; got neither")
        return other, other_head
    if hidden is None or head is None:
        raise UserError("--hidden, --head: expected both or neither, got one")
    if other is not None or other_head is not None:
        raise UserError("OTHER, --other-head: expected neither beside --hidden, which is OTHER")
    return hidden, head


def _side(name: str, head: str | None) -> Any:
    """Stored logits, or those that a head makes of stored hidden states."""
    if head is None:
        try:
            if os.path.isfile(name) and is_llama_cpp(name):
                return LlamaCppLogits(name)
        except OSError as error:
            raise unusable(name, error) from None
        except ValueError as error:
            raise UserError(str(error)) from None
    try:
        stored = open_array(name)
    except StorageError as error:
        if head is None and os.path.isfile(name):
            error.add_note("nor does it start as a file of llama.cpp's, with _logits_")
        raise
    if head is None:
        return stored
    try:
        return LinearLogits(stored, open_array(head))
    except (TypeError, ValueError) as error:
        raise UserError(renamed(error, {"hidden": name, "head": head})) from None


def _labelled(base: str, other: str, sides: tuple[Any, Any]) -> str:
    """The file that labels are taken from if none are given."""
    return base if isinstance(sides[0], LlamaCppLogits) else other


def _compared(
    sides: tuple[Any, Any],
    labels: Stored | None,
    axis: int,
    names: dict[str, str],
    shown: bool | None,
) -> Comparison:
    nbytes = sum(side.nbytes for side in sides)
    told = 0
    try:
        with progress_bar("compare", nbytes, 0, shown) as advance:

            def progress(done: int, rows: int) -> None:
                nonlocal told
                now = nbytes * done // rows
                advance(now - told)
                told = now

            return compare_logits(*sides, labels, axis, progress=progress)
    except NoSoftmaxError as error:
        raise FailedError(renamed(error, names)) from None
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(renamed(error, names)) from None


def _show(result: Comparison, base: str, other: str) -> None:
    rows = f"{result.rows:,} row{'s' * (result.rows != 1)}"
    title = f"{other} against {base}: {rows}, in nats"
    for heading, table in ((title, distributions(result)), ("", summary(result))):
        show_table(heading, table.headings, table.lines)
