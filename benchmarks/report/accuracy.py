"""The largest errors, in ulps."""

import math
import re

from onesum.bench.cases import LOSS
from onesum.bench.figures import NONE
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

from ..markdown import table
from .measured import BESIDE, measured

Errors = dict[str, float | None]

# For the README: an operation, a type and one of the inputs of the other tables.
BRIEF = {
    "softmax, float32, logits of spread 20": ("softmax", "float32", "normal, spread 20"),
    "softmax, float64, logits of spread 20": ("softmax", "float64", "normal, spread 20"),
    "log_softmax, float32, one class far ahead": (
        "log_softmax",
        "float32",
        "gaps 17 to 80, n = 2",
    ),
    "logsumexp, float16, 70 000 zeros": ("logsumexp", "float16", "zeros, n = 70 000"),
    "softmax_vjp, float64, one class far ahead": ("softmax_vjp", "float64", "gaps 17 to 80, n = 2"),
    "cross_entropy, float32, logits 20 and 0": (
        LOSS,
        "float32",
        "20 and 0; the likeliest class",
    ),
    "its gradient": (f"gradient of {LOSS}", "float32", "20 and 0; the likeliest class"),
}


def in_brief(result: Result) -> str:
    """A few inputs, beside the other libraries."""
    found = {(e["operation"], e["dtype"], e["input"]): e["errors"] for e in result["errors"]}
    rows = []
    for shown, key in BRIEF.items():
        errors = _by_library(found[key], [ONESUM, *BESIDE])
        rows.append([shown, *(_worst(errors.get(name, [])) for name in (ONESUM, *BESIDE))])
    return "\n\n".join([table(["ulps", ONESUM, *BESIDE], rows), measured(result, BESIDE)])


def largest(result: Result) -> str:
    """The worst over all inputs, by operation and dtype."""
    lanes = [name for name in result["errors"][0]["errors"] if name.endswith(f" by {ONESUM}")]
    columns = [ONESUM, *lanes, *BESIDE]
    worst: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for entry in result["errors"]:
        row = worst.setdefault((entry["operation"], entry["dtype"]), {})
        for name, errors in _by_library(entry["errors"], columns).items():
            row.setdefault(name, []).extend(errors)
    rows = [
        [f"{operation}, {dtype}", *(_worst(row.get(name, [])) for name in columns)]
        for (operation, dtype), row in sorted(worst.items(), key=lambda item: _order(*item[0]))
    ]
    return "\n\n".join([table(["ulps", *columns], rows), measured(result, BESIDE)])


def _by_library(errors: Errors, columns: list[str]) -> dict[str, list[float | None]]:
    """All implementations of onesum for NumPy under one name, of which the worst is shown."""
    found: dict[str, list[float | None]] = {}
    for name, error in errors.items():
        whose = name if name in columns else name.partition(" ")[0]
        found.setdefault(whose, []).append(error)
    return found


def _order(operation: str, dtype: str) -> tuple[int, int]:
    operations = ["softmax", "log_softmax", "logsumexp", "softmax_vjp", LOSS, f"gradient of {LOSS}"]
    return operations.index(operation), ["float32", "float64", "float16", "bfloat16"].index(dtype)


def _worst(errors: list[float | None]) -> str:
    """The largest, rounded up."""
    if not errors:
        return NONE
    finite = [error for error in errors if error is not None]
    if len(finite) < len(errors):
        return "not finite"
    error = max(finite)
    if error < 100:
        return f"{math.ceil(error * 100) / 100:.2f}"
    return re.sub(r"e\+0*", "e", f"{error:.1e}") if error >= 1e4 else f"{math.ceil(error)}"
