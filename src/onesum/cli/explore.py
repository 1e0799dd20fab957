"""`onesum explore`."""

from __future__ import annotations

import webbrowser
from typing import Annotated

from cyclopts import Parameter

from ..explorer import explore as page_of
from ..explorer import path
from .errors import FailedError, UserError


def explore(
    x: Annotated[list[float] | None, Parameter(name="X")] = None,
    /,
    *,
    grad: Annotated[list[float] | None, Parameter(consume_multiple=True, negative="")] = None,
    browser: Annotated[
        bool, Parameter(name="--browser", negative="--no-browser", show_default=False)
    ] = True,
    print_path: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Softmax and its derivatives on a page to move about, in the browser.

    The page is a file of this package and needs no network. Its address is printed; it holds the
    state, and changes with it.

    Parameters
    ----------
    x
        Logits to begin with, of 2 to 8 classes, as 1 2 3.
    grad
        The cotangent dL/dp, a number for each class, as 1 0 0.
    browser
        Open the page in the browser; with --no-browser the address is printed and no more.
    print_path
        Print where the page is, and do nothing else.
    """
    try:
        page = page_of(x, grad)
    except ValueError as error:
        raise UserError(_as_options(str(error))) from None
    if print_path:
        print(path())
        return 0
    print(page.url)
    if browser and not webbrowser.open(page.url):
        raise FailedError("no browser was found: open the address above in one")
    return 0


def _as_options(message: str) -> str:
    """The argument's name as the command line has it."""
    name, _, rest = message.partition(":")
    return f"{ {'x': 'X', 'g': '--grad'}[name] }:{rest}"
