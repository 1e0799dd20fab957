"""`onesum explain`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from cyclopts import Parameter

from ..explain import Explanation
from ..explain import explain as explain_logits
from ..explain._html import page
from ..explain._plain import PLAIN
from ..explain._text import (
    HEADS,
    cells,
    comparison,
    formulas,
    given,
    introduction,
    table_title,
    title,
    words,
)
from .errors import UserError
from .pictures import file_path, picture_path, save, save_figure
from .table import show_table

# In a terminal narrower than this the comparison has fewer digits.
WIDE, FEW_DIGITS = 100, 8


def explain(
    logits: Annotated[
        list[float], Parameter(name="LOGITS", allow_leading_hyphen=True, negative="")
    ],
    /,
    *,
    grad: Annotated[
        list[float] | None,
        Parameter(consume_multiple=True, negative=""),
    ] = None,
    target: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None,
    route: Literal["all", "quotient", "logarithm", "kronecker"] = "all",
    dtype: Literal["float16", "float32", "float64"] = "float64",
    latex: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    html: str | None = None,
    figure: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Derive softmax's derivatives step by step with these numbers, and see what rounding does.

    From the definition along each of three routes to the probabilities p, the Jacobian J and the
    gradient dL/dx: every step with its reason, the formula, and the formula with numbers. Then the
    exact results beside those of the naive formulas and of onesum, with errors in ulps.

    Parameters
    ----------
    logits
        The logits of one row; -inf, inf and nan too.
    grad
        The cotangent dL/dp, one number for each logit.
    target
        A class, counted from 0: explain its cross entropy too.
    route
        The quotient rule case by case, logarithms in base b, or the natural logarithm with
        Kronecker's delta.
    dtype
        The floating-point type to compute in.
    latex
        Write a LaTeX document into this file, or with - print it in the place of text.
    html
        Write a page into this file.
    figure
        Draw p, J, the gradients and the routes into this file, .png, .svg or .pdf.
    as_json
        Print one JSON object.
    """
    picture = None if figure is None else picture_path(figure)
    web = None if html is None else file_path("--html", html)
    paper = None if latex in (None, "-") else file_path("--latex", str(latex))
    if latex == "-" and as_json:
        raise UserError("--latex, --json: expected one of them on stdout, got both")
    result = _explained(logits, grad, target, route, dtype)
    if web is not None:
        save(page(result).encode(), web)
    if paper is not None:
        save(result.to_latex(document=True).encode(), paper)
    if picture is not None:
        save_figure(result.figure(), picture)
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    elif latex == "-":
        print(result.to_latex(document=True), end="")
    else:
        _show(result)
    return 0


def _explained(
    logits: list[float],
    grad: list[float] | None,
    target: int | None,
    route: Literal["all", "quotient", "logarithm", "kronecker"],
    dtype: str,
) -> Explanation:
    try:
        return explain_logits(logits, grad, target, route, dtype=dtype)
    except (TypeError, ValueError, IndexError) as error:
        argument, colon, text = str(error).partition(": ")
        names = {"x": "LOGITS", "g": "--grad", "target": "--target"}
        raise UserError(f"{names.get(argument, argument)}{colon}{text}") from None


def _show(result: Explanation) -> None:
    from rich.console import Console

    console = Console()

    def line(text: str, style: str = "") -> None:
        # Lines that are not written to a terminal are not broken.
        console.print(
            text, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal
        )

    line(title(result), "bold")
    line(introduction(result))
    for equation in given(result):
        line(equation.write(PLAIN), "cyan")
    for note in result.notes:
        line(f"Note: {note}", "yellow")
    for section in result.sections:
        line("")
        line(section.title, "bold underline")
        for number, step in enumerate(section.steps, 1):
            line(f"{number:2}. {words(step.reason)}")
            for formula in formulas(step):
                line(f"     {formula}", "cyan")
    print()
    digits = 0 if console.width >= WIDE else FEW_DIGITS
    show_table(table_title(result), HEADS, cells(comparison(result, digits)))
