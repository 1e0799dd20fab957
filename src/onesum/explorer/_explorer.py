"""The page in a notebook, and where it is."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from ._state import fragment_of


def path() -> Path:
    """The page, a file that any browser opens; nothing is fetched from elsewhere.

    Returns
    -------
    pathlib.Path
        One HTML file within the installed package.

    Examples
    --------
    >>> from onesum.explorer import path
    >>> path().name
    'explorer.html'
    >>> path().as_uri()
    'file:///.../onesum/explorer/explorer.html'
    """
    return Path(__file__).with_name("explorer.html")


class Explorer:
    """The page with a state; what `explore` returns. A notebook shows it.

    Attributes
    ----------
    fragment : str
        The state, as the address has it after ``#``: ``x=1,2,3&g=1,0,0``. Empty for the one that
        the page begins with.
    url : str
        The address of the page with this state.

    Examples
    --------
    >>> from onesum.explorer import explore
    >>> explore([1, 2, 3]).url
    'file:///.../onesum/explorer/explorer.html#x=1,2,3'
    """

    def __init__(self, fragment: str) -> None:
        self.fragment = fragment

    @property
    def url(self) -> str:
        address = path().as_uri()
        return f"{address}#{self.fragment}" if self.fragment else address

    def _repr_html_(self) -> str:
        """A frame that holds the whole page, and can reach neither the notebook nor a network."""
        state = f'data-state="{html.escape(self.fragment)}"'
        page = path().read_text(encoding="utf-8").replace('data-state=""', state, 1)
        return (
            f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" '
            'title="onesum explorer: softmax and its derivatives" '
            'style="width: 100%; height: 50rem; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Explorer({self.fragment!r})"


def explore(x: Any = None, g: Any = None) -> Explorer:
    """The explorer, in a notebook: logits to drag, and all that follows from them.

    Parameters
    ----------
    x : array_like, shape (n,), optional
        Logits to begin with, of 2 to 8 classes, real and from -1000 to 1000; by default 1, 2, 3.
        Any real dtype; computed in float64.
    g : array_like, shape (n,), optional
        The cotangent dL/dp, within the same limits; by default 1 for the first class, else 0.

    Returns
    -------
    Explorer
        Shown by a notebook as the page with this state; `.url` is its address for a browser.

    Raises
    ------
    TypeError
        Where the numbers are not real.
    ValueError
        For another number of classes, another shape, numbers out of range or not finite.

    See Also
    --------
    path : where the page is.

    Notes
    -----
    The page computes what ``docs/derivation.md`` derives: softmax, its Jacobian, the pivoted VJP
    and JVP, the cross entropy with its gradient; to 1e-12 the numbers of this package.

    Examples
    --------
    >>> from onesum.explorer import explore
    >>> explore([1, 2, 3], g=[1, 0, 0])
    Explorer('x=1,2,3&g=1,0,0')
    """
    return Explorer(fragment_of(x, g))
